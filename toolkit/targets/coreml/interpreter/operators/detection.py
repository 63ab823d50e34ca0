"""Non-maximum suppression."""

from __future__ import annotations

import numpy as np

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering, onnx_type

_NOTHING = -3e38
_CHOSEN = -1e38


def non_maximum_suppression(layer: Layer) -> None:
    """``non_maximum_suppression``: the best boxes that overlap no better one, best first, padded with zeros.

    Boxes are (x, y, width, height) around their centre; a box's score is that of its best class. The form of iOS 17
    has the boxes on the last axis, and neither a score threshold nor a count of what was found.
    """
    newer = not layer.has("score_threshold")
    boxes, scores = (layer.tensor(key) for key in ("boxes", "scores"))
    if newer:
        boxes, scores = (layer.step("Transpose", name, perm=[0, 2, 1]) for name in (boxes, scores))
    most = layer.integer("max_boxes")
    best = layer.step("ReduceMax", scores, layer.ints([2]), keepdims=0)
    top, places, count = _kept(layer, boxes, best, _by_class(layer, scores, best))
    valid = layer.step("Greater", top, layer.floats(_CHOSEN))
    tuples = layer.step("Unsqueeze", places, layer.ints([2]))
    weight = layer.step("Unsqueeze", layer.step("Cast", valid, to=onnx_type("float32")), layer.ints([2]))
    found = []
    for tensor in (boxes, scores):
        rows = layer.step("Mul", layer.step("GatherND", tensor, tuples, batch_dims=1), weight)
        rows = layer.step("Pad", rows, layer.ints([0, 0, 0, 0, most - count, 0]))
        found.append(layer.step("Transpose", rows, perm=[0, 2, 1]) if newer else rows)
    indices = layer.step("Where", valid, places, layer.ints(-1))
    found.append(layer.step("Pad", indices, layer.ints([0, 0, 0, most - count]), layer.ints(-1)))
    found.append(layer.step("ReduceSum", layer.step("Cast", valid, to=onnx_type("int64")), layer.ints([1]), keepdims=0))
    for value, name in zip(layer.operation.outputs, found, strict=False):
        dtype = "float32" if value.type.dtype.startswith("fp") else "int32"
        layer.graph.add("Cast", [name], [layer.graph.name_of(value)], to=onnx_type(dtype))


def _by_class(layer: Layer, scores: str, best: str) -> str:
    """Return scores [batch, groups, boxes]: boxes of one group suppress each other."""
    line = layer.step("Unsqueeze", best, layer.ints([1]))
    if not layer.flag("per_class_suppression", False):
        return line
    shape = layer.type("scores").shape
    classes = shape[2] if layer.has("score_threshold") else shape[1]
    own = layer.step("Unsqueeze", layer.step("ArgMax", scores, axis=2, keepdims=0), layer.ints([1]))
    mine = layer.step("Equal", own, layer.ints(np.arange(classes).reshape(1, -1, 1)))
    return layer.step("Where", mine, line, layer.floats(_NOTHING))


def _kept(layer: Layer, boxes: str, best: str, grouped: str) -> tuple[str, str, int]:
    """Return the scores and places of the boxes that survive, best first, and how many are looked at."""
    shape, most = layer.type("boxes").shape, layer.integer("max_boxes")
    number = shape[1] if layer.has("score_threshold") else shape[2]
    limits = [layer.ints([most]), layer.floats([layer.number("iou_threshold")])]
    threshold = layer.floats([max(layer.number("score_threshold", _CHOSEN), _CHOSEN)])
    picked = layer.step("NonMaxSuppression", boxes, grouped, *limits, threshold, center_point_box=1)
    pairs = layer.step("Gather", picked, layer.ints([0, 2]), axis=1)
    nothing = layer.floats(np.full((shape[0], number), _NOTHING))
    kept = layer.step("ScatterND", nothing, pairs, layer.step("GatherND", best, pairs))
    count = min(most, number)
    names = [layer.graph.fresh(layer.operation.name) for _ in range(2)]
    layer.graph.add("TopK", [kept, layer.ints([count])], names, axis=1, largest=1, sorted=1)
    return names[0], names[1], count


LOWERINGS: dict[str, Lowering] = {"non_maximum_suppression": non_maximum_suppression}
