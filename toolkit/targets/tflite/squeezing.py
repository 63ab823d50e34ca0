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
    made = type(model)()
    made.CopyFrom(model)
    for node in made.graph.node:
        after = shapes.get(node.output[0], ())
        if node.op_type == "Squeeze" and _mixes(shapes.get(node.input[0], ()), after):
            shape = numpy_helper.from_array(np.asarray(after, np.int64), f"{node.output[0]}/shape")
            made.graph.initializer.append(shape)
            node.CopyFrom(helper.make_node("Reshape", [node.input[0], shape.name], list(node.output), node.name))
    return made


def _mixes(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Whether an image keeps several channels and more than one place, so that their order counts."""
    image = len(before) == _IMAGE_AXES and all(size > 0 for size in (*before, *after))
    return image and len(after) > 0 and before[1] > 1 and max(before[2:]) > 1


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    return {value.name: tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim) for value in values}
