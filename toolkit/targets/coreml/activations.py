"""8-bit activations for ML Programs on any host: our own ranges behind coremltools' quantize/dequantize insertion.

coremltools learns activation ranges by ``predict``, which needs macOS, and of several samples it keeps the last one
only. One function of it returns those ranges, ``_get_activation_calibration_stats``; while it inserts, that function is
replaced by one that returns ours, learned from all samples. The version is pinned, and that the replacement was asked
is asserted: another coremltools is refused rather than trusted to work alike.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from toolkit.core.artifacts import Range
from toolkit.core.errors import ModelError, ToolMissing
from toolkit.targets.coreml.half import HALF_MAX
from toolkit.targets.coreml.interpreter.program import Operation, Program, Value

COREMLTOOLS = "9.0"
"""The version whose insertion is known to ask the function that is replaced."""

QUANTIZED_OPERATORS = ("add", "avg_pool", "conv", "linear", "max_pool")
"""Operators that coremltools puts between quantize/dequantize pairs."""
FOLLOWERS = frozenset({"leaky_relu", "relu", "relu6", "scaled_tanh", "sigmoid", "tanh"})
"""Activation functions that coremltools fuses with the operator before them, so that the pair comes after both."""

_ROOM = "coremltools.optimize.coreml._post_training_quantization"
_STATISTICS = "_get_activation_calibration_stats"
_NARROWEST = 255 * 2.0**-14
"""A range of 256 integers below this would need a scale that float16 holds as a subnormal, or not at all."""
_EVEN = 0.9
"""A range whose two sides are more alike than this is made symmetric, at the loss of a tenth of its integers."""

Statistics = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Ranges in coremltools' words by tensor, and the layers that must stay float with the reason."""

    statistics: Statistics
    excluded: dict[str, str]


def plan(program: Program, ranges: Mapping[str, Range], floats: Mapping[str, str]) -> Plan:
    """Match ranges learned on the float32 program to the tensors of its float16 form.

    Tensors joined by a ``concat`` share one range, so that joining needs no arithmetic. A tensor that is zero on every
    sample gets the range [-1, 1]: any scale serves it. ``floats`` are layers to leave float, with the reason.

    Raises:
        ModelError: a tensor takes values that float16 cannot hold.
    """
    known = _known(program, ranges)
    for name, seen in known.items():
        if max(-seen.low, seen.high) > HALF_MAX:
            raise ModelError(
                f"The tensor {name!r} takes values up to {max(-seen.low, seen.high):.3g}, more than float16 holds.",
                hint="8-bit activations need a float16 program; scale the model's values down, or take weight-int8.",
            )
    for group in concat_groups(program):
        members = [name for name in group if name in known]
        if members:
            low, high = min(known[name].low for name in members), max(known[name].high for name in members)
            known.update(dict.fromkeys(members, Range(low=low, high=high)))
    consumers = _consumers(program)
    excluded = {}
    for operation in program.operations:
        if operation.operator in QUANTIZED_OPERATORS:
            reason = floats.get(operation.name) or _obstacle(operation, consumers, known)
            if reason:
                excluded[operation.name] = reason
    statistics = {name: _limits(seen) for name, seen in known.items()}
    return Plan(statistics=statistics, excluded=excluded)


def insert(model: Any, chosen: Plan) -> Any:
    """Return the float16 coremltools model with pairs of ``quantize`` and ``dequantize`` around its layers.

    Raises:
        ToolMissing: another version of coremltools is installed than the one this was checked against.
    """
    import coremltools.optimize.coreml as cto

    # with zero points: what follows a ReLU or a swish would else leave half of the integers unused
    settings = cto.OpLinearQuantizerConfig(mode="linear")
    config = cto.OptimizationConfig(global_config=settings, op_name_configs=dict.fromkeys(chosen.excluded))
    with _substituted(chosen.statistics) as asked:
        made = cto.linear_quantize_activations(model, config, [])
    if asked != [True]:
        raise AssertionError(f"coremltools asked {len(asked)} times for activation ranges, not once")
    return made


def concat_groups(program: Program) -> list[set[str]]:
    """Return the sets of tensors that ``concat`` operations join, directly or by way of one another."""
    groups: list[set[str]] = []
    for operation in program.operations:
        if operation.operator != "concat":
            continue
        names = {value.name for value in operation.inputs["values"] if value.constant is None}
        merged = names | {operation.outputs[0].name}
        apart = []
        for group in groups:
            if group & merged:
                merged |= group
            else:
                apart.append(group)
        groups = [*apart, merged]
    return groups


@contextmanager
def _substituted(statistics: Statistics) -> Iterator[list[bool]]:
    """Let coremltools get these ranges while it inserts; yield a list with one item a time it asked."""
    version = importlib.metadata.version("coremltools")
    module = importlib.import_module(_ROOM)
    if version != COREMLTOOLS or not hasattr(module, _STATISTICS):
        raise ToolMissing(
            f"8-bit activations for Core ML need coremltools {COREMLTOOLS}; {version} is installed.",
            hint=f"`pip install coremltools=={COREMLTOOLS}`",
        )
    asked: list[bool] = []

    def ours(*_: object) -> Statistics:
        asked.append(True)
        return statistics

    theirs = getattr(module, _STATISTICS)
    setattr(module, _STATISTICS, ours)
    try:
        yield asked
    finally:
        setattr(module, _STATISTICS, theirs)


def _known(program: Program, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Carry ranges over casts between floats, which the float32 program does not have, in either direction."""
    known = {value.name: ranges[value.name] for value in program.inputs if value.name in ranges}
    casts = []
    for operation in program.operations:
        for value in operation.outputs:
            if value.name in ranges:
                known[value.name] = ranges[value.name]
        if operation.operator == "cast":
            casts.append((operation.inputs["x"][0].name, operation.outputs[0].name))
    for before, after in casts:
        if before in known and after not in known:
            known[after] = known[before]
    for before, after in reversed(casts):
        if after in known and before not in known:
            known[before] = known[after]
    return known


def _limits(seen: Range) -> dict[str, float]:
    """Return a range that coremltools makes a scale and a zero point of.

    Core ML is quickest where the zero point is zero, says coremltools' ``nullify_redundant_quantization_zero_point``;
    that pass takes out those of ranges from zero on, which become unsigned. Ranges that are nearly symmetric are made
    so: -128 to 127 steps. One that is a little too narrow for a float16 scale is widened.
    """
    if seen.low == seen.high == 0:
        return {"rmin": -1.0, "rmax": 1.0}
    largest = max(-seen.low, seen.high)
    if _width(seen) >= max(2 * _EVEN * largest, _NARROWEST):
        return {"rmin": -128 / 127 * largest, "rmax": largest}
    missing = max(_NARROWEST - _width(seen), 0.0)
    return {"rmin": seen.low, "rmax": max(seen.high, 0.0) + missing if missing else seen.high}


def _width(seen: Range) -> float:
    """Return how far a range reaches with zero in it, which 8-bit integers always hold."""
    return max(seen.high, 0.0) - min(seen.low, 0.0)


def _consumers(program: Program) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = {}
    for operation in program.operations:
        for arguments in operation.inputs.values():
            for value in arguments:
                found.setdefault(value.name, []).append(operation)
    return found


def _obstacle(operation: Operation, consumers: Mapping[str, list[Operation]], known: Mapping[str, Range]) -> str:
    """Say why a layer's activations cannot be quantized, in a few words; empty when they can."""
    sides = [value for key in ("x", "y") for value in operation.inputs.get(key, ())]
    if any(value.constant is not None for value in sides):
        return "one side of it is a constant"
    output = operation.outputs[0]
    after = [item.outputs[0] for item in consumers.get(output.name, ()) if item.operator in FOLLOWERS]
    return next(filter(None, (_flaw(value, known) for value in _unique([*sides, output, *after]))), "")


def _flaw(value: Value, known: Mapping[str, Range]) -> str:
    if value.type.dtype != "fp16":
        return f"its tensor {value.name!r} is not float16"
    seen = known.get(value.name)
    if seen is None:
        return f"calibration never saw its tensor {value.name!r}"
    width = _width(seen)
    if 0 < width < _NARROWEST / 2:
        return f"its tensor {value.name!r} stays within {width:.2g}, too little for a float16 scale"
    return ""


def _unique(values: Iterable[Value]) -> list[Value]:
    return list({value.name: value for value in values}.values())
