"""Weights as 16-bit floats, with a Cast in front that ONNX Runtime folds when it loads the model.

So the file is half as large and the arithmetic is the float model's own: ONNX Runtime's CPU kernels for half floats
are few, and a graph of half floats would be cast to and fro around all others.
"""

from __future__ import annotations

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
    from onnx import TensorProto, helper

    left_out: dict[str, str] = {}
    made = 0
    for name, constant in graph.initializers(model).items():
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
    if not made:
        raise ModelError("This model has no weights that would be smaller in 16 bits.", hint="Use the recipe float32.")
    graph.sort(model)
    graph.drop_unused(model)
    return left_out
