"""Pooling that rounds its sizes up (``ceil_mode``), written as pooling that rounds down over a longer input.

PyTorch exports it so; TFLite and the translator to it know sizes rounded down alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Model = Any
"""An ``onnx.ModelProto``."""
_POOLS = ("MaxPool", "AveragePool")
_TO_THE_END = 2**31 - 1


def with_floors(model: Model) -> Model:
    """Return the model with every such pool written anew that can be; others are left as they are.

    A maximum sees the last row and column again as often as its windows reach over the end: they are in those windows
    already, and unlike padding by the lowest float they quantize. An average is padded, if it leaves padding out.
    """
    import onnx
    from onnx import helper

    if not any(node.op_type in _POOLS and _value(node, "ceil_mode", 0) for node in model.graph.node):
        return model
    shapes = _shapes(onnx.shape_inference.infer_shapes(model))
    nodes: list[Any] = []
    constants: list[Any] = []
    for node in model.graph.node:
        size = shapes.get(node.input[0], ())[2:] if node.op_type in _POOLS and _value(node, "ceil_mode", 0) else ()
        if size and _is_plain(node):
            nodes += _rounded_down(node, size, constants)
        else:
            nodes.append(node)
    graph = helper.make_graph(
        nodes, model.graph.name, model.graph.input, model.graph.output, [*model.graph.initializer, *constants]
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def _is_plain(node: Any) -> bool:
    spread = max(_value(node, "dilations", None) or [1])
    counted = _value(node, "count_include_pad", 0)
    return _value(node, "auto_pad", b"NOTSET") == b"NOTSET" and not counted and spread == 1 and len(node.output) == 1


def _rounded_down(node: Any, size: tuple[int, ...], constants: list[Any]) -> list[Any]:
    """Return nodes that compute a pool; what they need of constants is appended."""
    from onnx import helper

    pads = list(_value(node, "pads", None) or [0] * (2 * len(size)))
    source = node.input[0]
    before: list[Any] = []
    for axis in range(len(size)):
        needed = _reach_over(node, size[axis], axis, pads)
        place = axis + len(size)
        if node.op_type == "AveragePool" or needed <= pads[place]:
            pads[place] = max(needed, pads[place])
        else:
            pads[place] = 0
            source = _longer(source, (axis + 2, needed), f"{node.output[0]}/longer_{axis}", before, constants)
    made = helper.make_node(node.op_type, [source], node.output, node.name)
    made.attribute.extend(item for item in node.attribute if item.name not in ("ceil_mode", "pads"))
    made.attribute.append(helper.make_attribute("pads", pads))
    return [*before, made]


def _reach_over(node: Any, size: int, axis: int, pads: list[int]) -> int:
    """Return how far the windows along an axis reach over the input's end."""
    kernel = _value(node, "kernel_shape", ())[axis]
    stride = (_value(node, "strides", None) or [1] * (axis + 1))[axis]
    begin, end = pads[axis], pads[axis + len(pads) // 2]
    windows = math.ceil((size + begin + end - kernel) / stride) + 1
    if (windows - 1) * stride >= size + begin:
        windows -= 1  # the operator's definition leaves out a window that begins in the padding at the end
    return int((windows - 1) * stride + kernel - size - begin)


def _longer(source: str, extent: tuple[int, int], name: str, nodes: list[Any], constants: list[Any]) -> str:
    """Append the last row of an axis to a tensor some times; return the new tensor's name."""
    from onnx import helper, numpy_helper

    axis, times = extent
    bounds = {"starts": -1, "ends": _TO_THE_END, "axes": axis}
    for word, number in bounds.items():
        constants.append(numpy_helper.from_array(np.array([number], np.int64), f"{name}/{word}"))
    inputs = [source, *(f"{name}/{word}" for word in bounds)]
    nodes.append(helper.make_node("Slice", inputs, [f"{name}/last"], f"{name}/slice"))
    nodes.append(helper.make_node("Concat", [source, *[f"{name}/last"] * times], [name], f"{name}/join", axis=axis))
    return name


def _shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Return the tensors' fixed shapes by name."""
    found = {}
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        if all(size > 0 for size in sizes):
            found[value.name] = tuple(sizes)
    return found


def _value(node: Any, name: str, default: Any) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)
