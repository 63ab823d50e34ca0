"""Images sampled at computed points, by ONNX's ``GridSample``.

Points are first put in pixels, then in the unit that ``GridSample`` wants. Its two ways to count, from the centres of
the corner pixels or from their edges, decide about what a reflection is reflected: ``reflection`` leaves the border
pixels out and wants the first, ``symmetric`` repeats them and wants the second.
"""

from __future__ import annotations

import numpy as np

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering, onnx_type

_PADDINGS = {"constant": "zeros", "border": "border", "reflection": "reflection", "symmetric": "reflection"}
_CORNERS = {
    "CORNERS_HEIGHT_FIRST": (0, 1, 2, 3),
    "CORNERS_WIDTH_FIRST": (1, 0, 3, 2),
    "CENTER_SIZE_HEIGHT_FIRST": (0, 1, 2, 3),
    "CENTER_SIZE_WIDTH_FIRST": (1, 0, 3, 2),
}


def resample(layer: Layer) -> None:
    """``resample`` at coordinates (x, y), bilinear or of the nearest pixel."""
    padding, sampling = layer.word("padding_mode").lower(), layer.word("sampling_mode").lower()
    if padding not in _PADDINGS or sampling not in ("bilinear", "nearest"):
        raise layer.refusal(f"has the padding {padding!r} and sampling {sampling!r}, which are not known")
    if padding == "constant" and layer.number("padding_value", 0.0):
        raise layer.refusal("pads with another value than zero")
    points = _pixels(layer, layer.step("Cast", layer.tensor("coordinates"), to=onnx_type("float32")))
    centres = padding != "symmetric"
    layer.emit(
        "GridSample",
        layer.tensor("x"),
        _grid(layer, points, centres=centres),
        mode="linear" if sampling == "bilinear" else "nearest",
        padding_mode=_PADDINGS[padding],
        align_corners=int(centres),
    )


def affine(layer: Layer) -> None:
    """``affine``: output point (x, y) is taken from ``matrix (x, y, 1)``, all between -1 and 1 corner to corner."""
    batch, _, height, width = layer.output.shape
    across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    base = np.stack([across, down, np.ones_like(across)], -1).reshape(1, -1, 3)
    matrix = layer.step("Reshape", layer.tensor("transform_matrix"), layer.ints([-1, 2, 3]))
    points = layer.step("MatMul", layer.floats(base), layer.step("Transpose", matrix, perm=[0, 2, 1]))
    grid = layer.step("Reshape", points, layer.ints([-1, height, width, 2]))
    grid = layer.step("Expand", grid, layer.ints([batch, height, width, 2]))
    layer.emit("GridSample", layer.tensor("x"), grid, mode="linear", padding_mode="zeros", align_corners=1)


def crop_resize(layer: Layer) -> None:
    """``crop_resize``: boxes cut out and resized, points spread from corner to corner of each box.

    A point outside the image has ``pad_value``.
    """
    mode = layer.word("sampling_mode", "DEFAULT")
    if mode not in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        raise layer.refusal(f"has the sampling mode {mode!r}; those that align corners are executed")
    images, boxes, count = _boxes(layer)
    size = layer.type("x").shape[-2:]
    lines = [_line(layer, boxes, axis, layer.output.shape[axis - 2], mode == "ALIGN_CORNERS") for axis in range(2)]
    down = layer.step("Unsqueeze", lines[0], layer.ints([2, 3]))  # [count, out, 1, 1]
    across = layer.step("Unsqueeze", lines[1], layer.ints([1, 3]))
    shape = layer.ints([count, *layer.output.shape[-2:], 1])
    points = layer.step("Concat", *[layer.step("Expand", part, shape) for part in (across, down)], axis=3)
    grid = _grid(layer, points, centres=True)
    made = layer.step("GridSample", images, grid, mode="linear", padding_mode="border", align_corners=1)
    inside = _inside(layer, points, (size[1], size[0]))
    made = layer.step("Where", inside, made, layer.floats(layer.number("pad_value", 0.0)))
    layer.emit("Reshape", made, layer.ints(layer.output.shape))


def _boxes(layer: Layer) -> tuple[str, str, int]:
    """Return the images [count, C, H, W], one a box, and the boxes [count, 4] as corners in pixels, height first."""
    height, width = layer.type("x").shape[-2:]
    images, boxes = layer.tensor("x"), layer.tensor("boxes" if layer.has("boxes") else "roi")
    if layer.has("boxes"):
        count = layer.type("boxes").shape[0]
        which = layer.tensor("box_indices") if layer.has("box_indices") else layer.ints(np.arange(count))
        boxes = layer.step("Cast", boxes, to=onnx_type("float32"))
    else:
        shape, batch = layer.type("roi").shape, layer.type("x").shape[0]
        flat = layer.step("Reshape", boxes, layer.ints([shape[0], shape[2]]))
        if shape[2] == 5:
            count = shape[0]
            which = layer.step("Reshape", layer.step("Gather", flat, layer.ints([0]), axis=1), layer.ints([-1]))
            boxes = layer.step("Gather", flat, layer.ints([1, 2, 3, 4]), axis=1)
        else:
            count = shape[0] * batch
            which = layer.ints(np.tile(np.arange(batch), shape[0]))
            boxes = layer.step("Gather", flat, layer.ints(np.repeat(np.arange(shape[0]), batch)), axis=0)
    images = layer.step("Gather", images, layer.step("Cast", which, to=onnx_type("int64")), axis=0)
    word = layer.word("box_coordinate_mode", "CORNERS_HEIGHT_FIRST")
    if word not in _CORNERS:
        raise layer.refusal(f"has the box coordinates {word!r}, which are not known")
    boxes = layer.step("Gather", boxes, layer.ints(_CORNERS[word]), axis=1)
    if word.startswith("CENTER"):
        spread = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]])
        boxes = layer.step("MatMul", boxes, layer.floats(spread))
    scale = layer.number("spatial_scale", 1.0) * np.ones(4)
    if layer.flag("normalized_coordinates", False):
        scale = scale * np.array([height - 1, width - 1, height - 1, width - 1])
    return images, layer.step("Mul", boxes, layer.floats(scale)), count


def _line(layer: Layer, boxes: str, axis: int, out: int, centred: bool) -> str:
    """Return the points [count, out] from the first to the last corner of each box; one alone lies in the middle."""
    share = np.linspace(0, 1, out) if out > 1 or not centred else np.array([0.5])
    ends = layer.step("Gather", boxes, layer.ints([axis, axis + 2]), axis=1)
    return layer.step("MatMul", ends, layer.floats(np.stack([1 - share, share])))


def _inside(layer: Layer, points: str, size: tuple[int, int]) -> str:
    low = layer.step("GreaterOrEqual", points, layer.floats(0))
    high = layer.step("LessOrEqual", points, layer.floats(np.array(size) - 1))
    both = layer.step("Cast", layer.step("And", low, high), to=onnx_type("int32"))
    every = layer.step("ReduceMin", both, layer.ints([3]), keepdims=0)
    return layer.step("Cast", layer.step("Unsqueeze", every, layer.ints([1])), to=onnx_type("bool"))


def _pixels(layer: Layer, points: str) -> str:
    """Turn coordinates of any mode into pixels; the centre of the first pixel is 0."""
    mode = layer.word("coordinates_mode").lower()
    if mode == "unnormalized":
        return points
    if mode not in ("normalized_minus_one_to_one", "normalized_zero_to_one"):
        raise layer.refusal(f"has the coordinates {mode!r}, which are not known")
    size = np.array(layer.type("x").shape[:-3:-1], np.float64)
    low, span = (-1.0, 2.0) if "minus" in mode else (0.0, 1.0)
    first, length = (0.0, size - 1) if layer.flag("align_corners") else (-0.5, size)
    scaled = layer.step("Mul", points, layer.floats(length / span))
    return layer.step("Add", scaled, layer.floats(first - low * length / span))


def _grid(layer: Layer, pixels: str, *, centres: bool) -> str:
    size = np.array(layer.type("x").shape[:-3:-1], np.float64)
    length, shift = (np.maximum(size - 1, 1), 0.0) if centres else (size, 0.5)
    scaled = layer.step("Mul", pixels, layer.floats(2 / length))
    return layer.step("Add", scaled, layer.floats(2 * shift / length - 1))


LOWERINGS: dict[str, Lowering] = {"affine": affine, "crop_resize": crop_resize, "resample": resample}
