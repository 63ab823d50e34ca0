"""Slices with fixed bounds."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering

_FAR = 2**31 - 1


def slice_by_index(layer: Layer) -> None:
    """``slice_by_index``: numpy's slices; masks drop a bound, a squeezed axis keeps only its first element."""
    rank = len(layer.type("x").shape)
    none = [0] * rank
    masks = {key: layer.integers(f"{key}_mask", none) for key in ("begin", "end", "squeeze")}
    strides = [
        1 if squeezed else stride
        for squeezed, stride in zip(masks["squeeze"], layer.integers("stride", [1] * rank), strict=True)
    ]
    begin = [
        (0 if stride > 0 else _FAR) if masked else first
        for masked, first, stride in zip(masks["begin"], layer.integers("begin"), strides, strict=True)
    ]
    end = [
        (_FAR if stride > 0 else -_FAR) if masked else last
        for masked, last, stride in zip(masks["end"], layer.integers("end"), strides, strict=True)
    ]
    end = [
        (first + 1 or _FAR) if squeezed else last
        for squeezed, first, last in zip(masks["squeeze"], begin, end, strict=True)
    ]
    _slice(layer, begin, end, strides)


def bounds_of(layer: Layer) -> tuple[slice | int, ...]:
    """Return the fixed bounds of ``begin``, ``end``, ``stride`` and their masks as numpy takes them."""
    rank = len(layer.type("x").shape)
    none = [0] * rank
    masks = [layer.integers(f"{key}_mask", none) for key in ("squeeze", "begin", "end")]
    numbers = [layer.integers("begin"), layer.integers("end"), layer.integers("stride", [1] * rank)]
    rows = zip(*masks, *numbers, strict=True)
    return tuple(
        begin if squeezed else slice(None if from_start else begin, None if to_end else end, stride)
        for squeezed, from_start, to_end, begin, end, stride in rows
    )


def slice_by_size(layer: Layer) -> None:
    """``slice_by_size``: size -1 means up to the end."""
    shape = layer.type("x").shape
    begin = [
        first + length if first < 0 else first for first, length in zip(layer.integers("begin"), shape, strict=True)
    ]
    end = [first + size if size >= 0 else _FAR for first, size in zip(begin, layer.integers("size"), strict=True)]
    _slice(layer, begin, end, [1] * len(shape))


def reverse(layer: Layer) -> None:
    """``reverse`` along axes, all of them when none is given."""
    axes = layer.integers("axes", range(len(layer.type("x").shape)))
    ends = [[-1] * len(axes), [-_FAR] * len(axes), axes, [-1] * len(axes)]
    layer.emit("Slice", layer.tensor("x"), *[layer.ints(part) for part in ends])


def _slice(layer: Layer, begin: Sequence[int], end: Sequence[int], strides: Sequence[int]) -> None:
    parts = [layer.ints(part) for part in (begin, end, range(len(begin)), strides)]
    cut = layer.step("Slice", layer.tensor("x"), *parts)
    layer.emit("Reshape", cut, layer.ints(layer.output.shape), allowzero=1)


LOWERINGS: dict[str, Lowering] = {"reverse": reverse, "slice_by_index": slice_by_index, "slice_by_size": slice_by_size}
