"""Convolutions over one, two or three spatial axes."""

from __future__ import annotations

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering
from toolkit.targets.coreml.interpreter.operators.padding import Window, explicit_padding, spatial


def conv(layer: Layer) -> None:
    """``conv``: weights [out, in / groups, *kernel], bias [out]."""
    strides, dilations, pads = movement(layer)
    layer.emit(
        "Conv",
        *_inputs(layer),
        kernel_shape=list(layer.type("weight").shape[2:]),
        strides=strides,
        dilations=dilations,
        group=layer.integer("groups", 1),
        pads=pads,
    )


def movement(layer: Layer) -> tuple[list[int], list[int], list[int]]:
    """Return how a ``conv`` moves its kernel: strides, dilations, and the padding before, then after, each axis."""
    kernel = layer.type("weight").shape[2:]
    ones = [1] * len(kernel)
    strides, dilations = layer.integers("strides", ones), layer.integers("dilations", ones)
    window = Window(spatial(layer), _extent(kernel, dilations), tuple(strides))
    before, after = explicit_padding(layer, window)
    return strides, dilations, [*before, *after]


def conv_transpose(layer: Layer) -> None:
    """``conv_transpose``: weights [in, out / groups, *kernel].

    The full result has ``(size - 1) * stride + extent`` elements an axis; padding crops it to the declared output, more
    at the end, and an output that is larger than the full result gets zeros (plus bias) at its end.
    """
    kernel = layer.type("weight").shape[2:]
    ones = [1] * len(kernel)
    strides, dilations = layer.integers("strides", ones), layer.integers("dilations", ones)
    pads = layer.integers("pad", [0] * (2 * len(kernel)))
    kind = layer.word("pad_type", "valid").lower()
    before, after, extra = [], [], []
    rows = zip(spatial(layer), _extent(kernel, dilations), strides, layer.output.shape[2:], pads[0::2], strict=True)
    for size, extent, stride, out, pad in rows:
        surplus = (size - 1) * stride + extent - out
        start = {"valid": 0, "custom": pad, "same": max(surplus, 0) // 2}.get(kind, -1)
        if start < 0 or start - surplus >= max(stride, 2):
            raise layer.refusal(f"has the padding {kind!r} with an output that does not follow from it")
        before.append(start)
        after.append(max(surplus - start, 0))
        extra.append(max(start - surplus, 0))
    layer.emit(
        "ConvTranspose",
        *_inputs(layer),
        kernel_shape=list(kernel),
        strides=strides,
        dilations=dilations,
        group=layer.integer("groups", 1),
        pads=[*before, *after],
        output_padding=extra,
    )


def _extent(kernel: tuple[int, ...], dilations: list[int]) -> tuple[int, ...]:
    return tuple((size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True))


def _inputs(layer: Layer) -> list[str]:
    inputs = [layer.tensor("x"), layer.tensor("weight")]
    return [*inputs, layer.tensor("bias")] if layer.has("bias") else inputs


LOWERINGS: dict[str, Lowering] = {"conv": conv, "conv_transpose": conv_transpose}
