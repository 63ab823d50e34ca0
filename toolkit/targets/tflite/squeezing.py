"""Dropped axes that leave channels beside places, written as reshaping.

The translator to TFLite holds images channels-last and drops the axis where it lies there: what is left of
``[1, 120, 1, 40]`` would be ``[1, 40, 120]``. Before it reshapes, it turns images back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Model = Any
"""An ``onnx.ModelProto``."""
_IMAGE_AXES = 4


def with_reshapes(model: Model) -> Model:
    """Return the model with each such Squeeze as a Reshape; those whose shapes are not known are left as they are."""
    import onnx
    from onnx import helper, numpy_helper

    if not any(node.op_type == "Squeeze" for node in model.graph.node):
        return model
    shapes = _shapes(onnx.shape_inference.infer_shapes(model))
    nodes: list[Any] = []
    constants: list[Any] = []
    for node in model.graph.node:
        before, after = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
        if node.op_type == "Squeeze" and _mixes(before, after):
            constants.append(numpy_helper.from_array(np.asarray(after, np.int64), f"{node.output[0]}/shape"))
            node = helper.make_node("Reshape", [node.input[0], constants[-1].name], node.output, node.name)  # noqa: PLW2901
        nodes.append(node)
    graph = helper.make_graph(
        nodes, model.graph.name, model.graph.input, model.graph.output, [*model.graph.initializer, *constants]
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _mixes(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether an image keeps several channels and more than one place, so that their order counts."""
    image = len(before) == _IMAGE_AXES and all(size > 0 for size in (*before, *after))
    return image and len(after) > 0 and before[1] > 1 and max(before[2:]) > 1


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    return {value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim) for value in values}
