"""Weights as 16-bit floats, with a Cast in front that ONNX Runtime folds when it loads the model.

So the file is half as large and the arithmetic is the float model's own: ONNX Runtime's CPU kernels for half floats
are few, and a graph of half floats would be cast to and fro around all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from toolkit.core.errors import ModelError
from toolkit.targets.onnx import graph
from toolkit.targets.onnx.graph import Model

SMALLEST = 64
"""Constants of fewer values stay as they are: the Cast would outweigh them."""
BEYOND = "it holds values beyond the range of 16-bit floats"


def quantize(model: Model) -> dict[str, str]:
    """Store the float constants of a prepared model in 16 bits, in place, and say which layers were left and why.

    Raises:
        ModelError: no constant is worth it.
    """
    made, left_out = _stored(model, graph.initializers(model))
    if not made:
        raise ModelError("This model has no weights that would be smaller in 16 bits.", hint="Use the recipe float32.")
    return left_out


def store(model: Model, layers: frozenset[str]) -> None:
    """Store the float weights of some layers in 16 bits, in place; what is small, integer or too large stays."""
    constants = graph.initializers(model)
    named = [node for node in model.graph.node if node.name in layers]
    _stored(model, {name: constants[name] for node in named for name in node.input if name in constants})


def _stored(model: Model, constants: Mapping[str, Any]) -> tuple[int, dict[str, str]]:
    """Return how many constants have 16 bits now, and the layers of those that hold too large a value."""
    from onnx import TensorProto, helper

    left_out: dict[str, str] = {}
    made = 0
    for name, constant in constants.items():
        if constant.data_type != TensorProto.FLOAT or len(constant.dims) < 2:
            continue
        values = graph.array_of(constant)
        if values.size < SMALLEST:
            continue
        if not np.abs(values).max() <= np.finfo(np.float16).max:
            left_out |= {node.name: BEYOND for node in model.graph.node if name in node.input}
            continue
        half = graph.own_name(name)
        graph.add_constant(model, half, values.astype(np.float16))
        constant.name = graph.own_name(name, "was")
        model.graph.node.append(helper.make_node("Cast", [half], [name], half, to=TensorProto.FLOAT))
        made += 1
    graph.sort(model)
    graph.drop_unused(model)
    return made, left_out
