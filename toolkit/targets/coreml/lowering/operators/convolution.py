"""Convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.targets.coreml.lowering.node import Lowering, Node, Tensor, shape_of


def _conv(node: Node) -> Tensor:
    x, weight = node.tensor(0), node.tensor(1)
    spatial = len(weight.shape) - 2
    dilations = node.integers("dilations") or [1] * spatial
    if any(item != 1 for item in dilations):
        node.known(1)  # Core ML dilates constant weights only
    made: Tensor = node.mil.conv(
        x=x,
        weight=weight,
        strides=node.integers("strides") or [1] * spatial,
        dilations=dilations,
        groups=node.integer("group", 1),
        **_padding(node, shape_of(weight)[2:], dilations),
        **_bias(node),
    )
    if node.has(2) and not node.is_known(2):
        made = _add_bias(node, made)
    return made


def _conv_transpose(node: Node) -> Tensor:
    x, weight = node.tensor(0), node.tensor(1)
    node.known(1)
    spatial = len(weight.shape) - 2
    strides = node.integers("strides") or [1] * spatial
    dilations = node.integers("dilations") or [1] * spatial
    groups = node.integer("group", 1)
    kernel = shape_of(weight)[2:]
    full = [(size - 1) * stride for size, stride in zip(shape_of(x)[2:], strides, strict=True)]
    full = [base + (taps - 1) * wide + 1 for base, taps, wide in zip(full, kernel, dilations, strict=True)]
    before, after = _cut(node, full, strides, kernel, dilations)
    # Core ML's output paddings are murky where they are uneven, so all is computed, then cut or continued by zeros
    made: Tensor = node.mil.conv_transpose(
        x=x, weight=weight, strides=strides, dilations=dilations, groups=groups, pad_type="valid"
    )
    ends = [size - max(end, 0) for size, end in zip(full, after, strict=True)]
    if any(before) or ends != full:
        made = node.mil.slice_by_index(
            x=made, begin=[0, 0, *before], end=[*shape_of(made)[:2], *ends], begin_mask=[True] * 2 + [False] * spatial
        )
    extra = [max(-end, 0) for end in after]
    if any(extra):
        pairs = [item for end in extra for item in (0, end)]
        made = node.mil.pad(x=made, pad=[0, 0, 0, 0, *pairs], mode="constant", constant_val=np.float32(0))
    return _add_bias(node, made) if node.has(2) else made


def _cut(
    node: Node, full: list[int], strides: list[int], kernel: tuple[int, ...], dilations: list[int]
) -> tuple[list[int], list[int]]:
    """Return how much to cut from the full output before and after each axis; negative means to append zeros."""
    spatial = len(full)
    extra = node.integers("output_padding") or [0] * spatial
    wanted = node.integers("output_shape")
    automatic = node.word("auto_pad", "NOTSET")
    if wanted is None and automatic.startswith("SAME"):
        wanted = [size * stride for size, stride in zip(shape_of(node.tensor(0))[2:], strides, strict=True)]
    if wanted is None:
        pads = node.integers("pads") or [0] * 2 * spatial
        return pads[:spatial], [end - more for end, more in zip(pads[spatial:], extra, strict=True)]
    wanted = wanted[-spatial:]
    total = [size + more - want for size, more, want in zip(full, extra, wanted, strict=True)]
    small, large = [item // 2 for item in total], [item - item // 2 for item in total]
    before = small if automatic == "SAME_UPPER" else large
    before = [max(item, 0) for item in before]
    return before, [size - start - want for size, start, want in zip(full, before, wanted, strict=True)]


def _padding(node: Node, kernel: tuple[int, ...], dilations: list[int]) -> dict[str, Any]:
    spatial = len(kernel)
    automatic = node.word("auto_pad", "NOTSET")
    if automatic == "SAME_UPPER":
        return {"pad_type": "same"}
    if automatic == "SAME_LOWER":
        return {"pad_type": "same_lower"}
    pads = node.integers("pads") or [0] * 2 * spatial
    if automatic == "VALID" or not any(pads):
        return {"pad_type": "valid"}
    return {"pad_type": "custom", "pad": [pads[at + side * spatial] for at in range(spatial) for side in (0, 1)]}


def _bias(node: Node) -> dict[str, Any]:
    return {"bias": node.tensor(2)} if node.is_known(2) else {}


def _add_bias(node: Node, made: Tensor) -> Tensor:
    bias, shape = node.tensor(2), [1, -1] + [1] * (made.rank - 2)
    return node.mil.add(x=made, y=bias.reshape(shape) if node.is_known(2) else node.mil.reshape(x=bias, shape=shape))


LOWERINGS: dict[str, Lowering] = {"Conv": _conv, "ConvTranspose": _conv_transpose}
