"""Compute what does not depend on the model's inputs, with ONNX's own reference implementation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.core.errors import ModelError
from toolkit.targets.coreml.lowering.node import Known, NotExpressible, count

MAX_ELEMENTS = 2**28
"""Elements of a tensor computed while lowering (1 GiB of float32): what grows from a few numbers can be absurd."""

MAX_AXES = 64
"""Numbers of a shape that are looked at."""

_RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")


def _shape(shape: tuple[int, ...], attributes: Mapping[str, Any]) -> Known:
    start, end = attributes.get("start", 0), attributes.get("end", len(shape))
    return np.asarray(shape[slice(start, end)], np.int64)


def _size(shape: tuple[int, ...], attributes: Mapping[str, Any]) -> Known:
    return np.asarray(count(shape), np.int64)


FOLDED_SHAPES: Mapping[str, Callable[[tuple[int, ...], Mapping[str, Any]], Known]] = {"Shape": _shape, "Size": _size}
"""Operators that ask for the shape of their argument only, which is known."""


def fold(
    spec: Any, layer: str, given: Mapping[str, Known | None], opsets: Mapping[str, int], functions: Sequence[Any]
) -> list[Known | None]:
    """Return what a node yields from arguments that are all known.

    Raises:
        NotExpressible: it draws random numbers, or its output is no tensor.
        ModelError: ONNX's reference fails on it, or its output would be absurdly large.
    """
    if spec.op_type in _RANDOM:
        raise NotExpressible(
            f"The ONNX operator {spec.op_type} of layer {layer!r} draws random numbers while the model runs.",
            hint="Make it a constant of the model, or leave out this target.",
        )
    from onnx import ValueInfoProto, helper
    from onnx.reference import ReferenceEvaluator

    wanted = [ValueInfoProto(name=name) for name in spec.output if name]
    feeds = {name: np.asarray(array) for name, array in given.items() if name and array is not None}
    number = _grown(spec.op_type, [np.asarray(given[name]) for name in spec.input if name])
    if number > MAX_ELEMENTS:
        raise ModelError(
            f"The constant layer {layer!r} ({spec.op_type}) would have {number:,} elements.",
            hint="The model is damaged or malicious; export it again.",
        )
    graph = helper.make_graph([spec], "fold", [ValueInfoProto(name=name) for name in feeds], wanted)
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    try:
        made = ReferenceEvaluator(helper.make_model(graph, opset_imports=imports, functions=functions)).run(None, feeds)
    except Exception as error:
        raise ModelError(
            f"The constant layer {layer!r} ({spec.op_type}) cannot be computed: {' '.join(str(error).split())[:240]}",
            hint="Simplify the model first, for example with onnxslim.",
        ) from error
    by_name = dict(zip((item.name for item in wanted), made, strict=True))
    if any(not isinstance(value, np.ndarray | np.generic) for value in by_name.values()):
        raise NotExpressible(
            f"The ONNX operator {spec.op_type} of layer {layer!r} yields something else than a tensor.",
            hint="Replace it in the model, or leave out this target.",
        )
    return [np.asarray(by_name[name]) if name else None for name in spec.output]


def _grown(operator: str, arrays: Sequence[Known]) -> int:
    """Return how many elements come of an operator whose output may be larger than its arguments, else 0."""
    listed = [
        [int(item) for item in array.reshape(-1)[:MAX_AXES]] if array.dtype.kind in "iu" else [] for array in arrays
    ]
    if operator == "ConstantOfShape" and arrays:
        return math.prod(abs(item) for item in listed[0])
    if operator in ("Expand", "Tile") and len(arrays) > 1:
        return arrays[0].size * math.prod(max(item, 1) for item in listed[1])
    if operator == "Range" and len(arrays) > 2:
        start, limit, step = (float(array.reshape(-1)[0]) for array in arrays[:3])
        return int(min(abs((limit - start) / step), 2**62)) if step else 0
    if operator == "OneHot" and len(arrays) > 1:
        return arrays[0].size * abs(int(arrays[1].reshape(-1)[0]))
    if operator == "Pad" and len(arrays) > 1:
        pairs = zip(arrays[0].shape, listed[1], listed[1][arrays[0].ndim :], strict=False)
        return math.prod(size + max(before, 0) + max(after, 0) for size, before, after in pairs)
    return 0
