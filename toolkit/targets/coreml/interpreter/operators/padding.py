"""How MIL's ``pad_type`` becomes explicit padding, shared by convolution and pooling.

Formulas: coremltools' documentation of ``conv`` and ``avg_pool``; ``same`` is TensorFlow's.
"""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.targets.coreml.interpreter.graph import Layer


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window over the spatial axes. ``kernel`` is its extent with dilation."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]

    def out_of_same(self) -> tuple[int, ...]:
        """Return the output size of ``same`` padding: size / stride, rounded up."""
        return tuple(-(-size // stride) for size, stride in zip(self.size, self.strides, strict=True))


def explicit_padding(layer: Layer, window: Window) -> tuple[list[int], list[int]]:
    """Return the padding before and after each spatial axis."""
    kind = layer.word("pad_type", "valid").lower()
    axes = len(window.size)
    if kind == "valid":
        return [0] * axes, [0] * axes
    if kind == "custom":
        pads = layer.integers("pad", [0] * (2 * axes))
        return pads[0::2], pads[1::2]
    if kind not in ("same", "same_lower"):
        raise layer.refusal(f"has the padding {kind!r}, which is not known")
    rows = zip(window.out_of_same(), window.strides, window.kernel, window.size, strict=True)
    totals = [max((out - 1) * stride + kernel - size, 0) for out, stride, kernel, size in rows]
    less = [total // 2 for total in totals]
    more = [total - small for total, small in zip(totals, less, strict=True)]
    return (less, more) if kind == "same" else (more, less)


def spatial(layer: Layer) -> tuple[int, ...]:
    """Return the sizes of the spatial axes of the operation's input."""
    return layer.type("x").shape[2:]
