"""Rewrite a float32 ML Program in float16, every tensor under the name it had.

coremltools' pass casts each operation's tensors and renames them (``conv_1`` becomes ``conv_1_cast_fp16``). The names
are put back, so that ranges, per-layer errors and layer patterns mean the same tensor in every build of a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from toolkit.targets.coreml.interpreter.program import Operation, Program, Value

HALF_MAX = 65504.0
"""The largest finite float16 (IEEE 754 binary16)."""

_SUFFIX = "_cast_fp16"
_GUARDS = frozenset({"add", "clip", "maximum"})
_ARITHMETIC = frozenset(
    {*_GUARDS, "abs", "exp", "minimum", "mul", "pow", "real_div", "reduce_l1_norm", "reduce_l2_norm", "reduce_max"}
    | {"reduce_mean", "reduce_min", "reduce_sum", "reduce_sum_square", "sqrt", "square", "sub"}
)
_LINEAR = frozenset({"conv", "conv_transpose", "einsum", "linear", "matmul"})
ARRANGEMENT = frozenset(
    {"concat", "expand_dims", "gather", "pad", "reshape", "reverse", "slice_by_index", "split", "squeeze", "stack"}
    | {"tile", "transpose"}
)
"""Operators that compute nothing."""
_HELD = 0.01
"""Float16 holds a constant if rounding changes it by at most this share."""


def to_float16(ct: Any, model: Any, program: Program, specification_version: int) -> Any:
    """Return the coremltools model with float16 inside and its interface unchanged.

    Operations with a constant beyond float16 stay float32, as coremltools decides; so do those of :func:`logarithms`.

    Args:
        ct: the imported coremltools.
        model: a float32 ``MLModel``, not loaded for execution.
        program: what :func:`.interpreter.program.read_package` reads from the same model.
        specification_version: the least that the result may have.
    """
    from coremltools.models import utils

    float32 = logarithms(program)
    casting = ct.transform.FP16ComputePrecision(op_selector=lambda operation: operation.name not in float32)
    made = utils._apply_graph_pass(  # noqa: SLF001 - the only way to apply a pass to a saved model; pinned
        model, casting, spec_version=specification_version
    )
    spec = made.get_spec()
    for function in spec.mlProgram.functions.values():
        _rename(function, program)
    return ct.models.MLModel(spec, weights_dir=made.weights_dir, skip_model_load=True)


def logarithms(program: Program) -> frozenset[str]:
    """Return the layers of logarithms that tell apart values smaller than float16 has, and of what leads to them.

    ``log(x * x + 1e-10)`` is how spectra become decibels: float16 ends at 6e-8, and rounding the transform before it
    alone puts a floor under the quiet bands. The sign of it is a constant, added or compared, that float16 does not
    hold. What leads there is linear or arithmetic, from the program's inputs or the last other layer on.
    """
    makers = {value.name: operation for operation in program.operations for value in operation.outputs}
    exact = {value.name for value in program.inputs}
    found: set[str] = set()
    for operation in program.operations:
        if operation.operator == "log":
            chain = _chain(operation, makers, exact)
            if any(item.operator in _GUARDS and any(map(_is_lost, _arguments(item))) for item in chain.values()):
                found |= chain.keys()
    return frozenset(found)


def _chain(end: Operation, makers: Mapping[str, Operation], start: set[str]) -> dict[str, Operation]:
    """Return an operation and what leads to it; not what merely arranges values that are float16 already."""
    chain, left = {end.name: end}, [end]
    while left:
        for value in _arguments(left.pop()):
            maker = makers.get(value.name)
            if maker is not None and maker.name not in chain and maker.operator in _ARITHMETIC | ARRANGEMENT | _LINEAR:
                chain[maker.name] = maker
                left.append(maker)
    exact, kept = set(start), {}
    for operation in dict.fromkeys(makers.values()):
        fed = any(value.name in exact for value in _arguments(operation))
        if operation.name in chain and (fed or operation.operator not in ARRANGEMENT):
            kept[operation.name] = operation
            exact |= {value.name for value in operation.outputs}
    return kept


def _arguments(operation: Operation) -> Iterator[Value]:
    for values in operation.inputs.values():
        yield from values


def _is_lost(value: Value) -> bool:
    """Whether a value is a number that is too small for float16."""
    if value.constant is None or value.type.dtype != "fp32" or value.type.count != 1:
        return False
    number = float(np.asarray(value.constant).reshape(-1)[0])
    return abs(float(np.float16(min(abs(number), HALF_MAX))) - min(abs(number), HALF_MAX)) > _HELD * abs(number)


def raised(model: Any, specification_version: int) -> Any:
    """Return the coremltools model in at least this specification version, else unchanged."""
    if model.get_spec().specificationVersion >= specification_version:
        return model
    from coremltools.models import utils

    return utils._apply_graph_pass(model, [], spec_version=specification_version)  # noqa: SLF001 - as above


def _rename(function: Any, program: Program) -> None:
    block = function.block_specializations[function.opset]
    taken = {item.name for item in function.inputs}
    taken |= {output.name for operation in block.operations for output in operation.outputs}
    mapping = {half: name for half, name in _pairs(program) if half in taken and name not in taken}
    layers = {f"{operation.name}{_SUFFIX}": operation.name for operation in program.operations}
    for operation in block.operations:
        _rename_layer(operation, layers)
        for argument in operation.inputs.values():
            for item in argument.arguments:
                if item.WhichOneof("binding") == "name":
                    item.name = mapping.get(item.name, item.name)
        for output in operation.outputs:
            output.name = mapping.get(output.name, output.name)
    block.outputs[:] = [mapping.get(name, name) for name in block.outputs]


def _rename_layer(operation: Any, names: dict[str, str]) -> None:
    if "name" in operation.attributes:
        words = operation.attributes["name"].immediateValue.tensor.strings.values
        words[:] = [names.get(word, word) for word in words]


def _pairs(program: Program) -> Iterator[tuple[str, str]]:
    """Yield the name that coremltools' pass gives to each tensor, and the tensor's own."""
    for operation in program.operations:
        single = len(operation.outputs) == 1
        for index, output in enumerate(operation.outputs):
            yield f"{operation.name}{_SUFFIX}{'' if single else f'_{index}'}", output.name
