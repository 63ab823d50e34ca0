"""Compute what does not depend on the model's inputs, with ONNX's own reference implementation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.core.errors import ModelError
from toolkit.targets.coreml.lowering.node import Known, NotExpressible, count

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
        ModelError: ONNX's reference fails on it.
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
