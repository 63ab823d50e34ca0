"""Attention."""

from __future__ import annotations

import math

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering


def scaled_dot_product_attention(layer: Layer) -> None:
    """``scaled_dot_product_attention``: softmax(q k^T / sqrt(E) + mask) v (Vaswani et al. 2017, arXiv:1706.03762).

    A mask of truth values lets the elements take part where it is true.
    """
    rank = len(layer.type("key").shape)
    turned = layer.step("Transpose", layer.tensor("key"), perm=[*range(rank - 2), rank - 1, rank - 2])
    scale = layer.floats(1 / math.sqrt(layer.type("query").shape[-1]))
    scores = layer.step("MatMul", layer.step("Mul", layer.tensor("query"), scale), turned)
    if layer.has("attn_mask"):
        mask = layer.tensor("attn_mask")
        if layer.type("attn_mask").dtype == "bool":
            mask = layer.step("Where", mask, layer.floats(0), layer.floats(-math.inf))
        scores = layer.step("Add", scores, mask)
    layer.emit("MatMul", layer.step("Softmax", scores, axis=-1), layer.tensor("value"))


LOWERINGS: dict[str, Lowering] = {"scaled_dot_product_attention": scaled_dot_product_attention}
