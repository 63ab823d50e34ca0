"""Families of layers: windows, recurrence, attention, sampling, suppression and compressed weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import coreml_further_references as further
import coreml_references as ref
import numpy as np
from coreml_cases import Case
from coreml_drawn import Draw, Drawn, axis_of, flag, floats, generator, integers, narrow, one_of, shape, size
from hypothesis import assume
from hypothesis import strategies as st


@st.composite
def convolution(draw: Draw) -> Drawn:
    rng, axes, groups = generator(draw), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    inner, outer = size(draw, 1, 3), size(draw, 1, 3)
    kernel = shape(draw, axes, axes, 1, 4 if axes < 3 else 2)
    strides, dilations = (list(shape(draw, axes, axes, 1, 3)) for _ in range(2))
    if flag(draw):
        return _transposed(draw, rng, (groups, inner, outer, kernel), strides)
    pad_type = one_of(draw, "valid", "same", "same_lower", "custom")
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pad = [draw(st.integers(0, 2)) for _ in range(2 * axes)]
    sizes = [k + draw(st.integers(0, 4)) for k in extent]
    x = floats(rng, (size(draw, 1, 2), inner * groups, *sizes))
    weight, bias = floats(rng, (outer * groups, inner, *kernel)), floats(rng, (outer * groups,)) if flag(draw) else None
    more: dict[str, Any] = {"strides": strides, "dilations": dilations, "groups": groups, "pad_type": pad_type}
    if pad_type == "custom":
        more["pad"] = pad
    half = flag(draw)
    weight = weight.astype(np.float16).astype(np.float32) if half else weight
    given = {"bias": bias} if bias is not None else {}

    def build(mb: Any, x: Any) -> Any:
        if not half:
            return mb.conv(x=x, weight=weight, **given, **more)
        halves = {key: value.astype(np.float16) for key, value in given.items()}
        made = mb.conv(x=mb.cast(x=x, dtype="fp16"), weight=weight.astype(np.float16), **halves, **more)
        return mb.cast(x=made, dtype="fp32")

    shift = None if bias is None else bias.astype(np.float16).astype(np.float32) if half else bias
    return Drawn(
        f"conv {x.shape} {weight.shape} {more} {bias is not None}{' half' if half else ''}",
        Case((x,), build, lambda x: ref.conv(x, weight, bias=shift, **more)),
    )


def _transposed(draw: Draw, rng: np.random.Generator, extents: Any, strides: list[int]) -> Drawn:
    groups, inner, outer, kernel = extents
    x = floats(rng, (1, inner * groups, *shape(draw, len(kernel), len(kernel), 1, 4)))
    weight, bias = floats(rng, (inner * groups, outer, *kernel)), floats(rng, (outer * groups,))
    pad_type = one_of(draw, "valid", "same", "custom")
    more: dict[str, Any] = {"strides": strides, "groups": groups, "pad_type": pad_type}
    full = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], strides, kernel, strict=True)]
    if pad_type == "same":
        out = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
        before = [max(whole - wanted, 0) // 2 for whole, wanted in zip(full, out, strict=True)]
    elif pad_type == "valid":
        out, before = full, [0] * len(full)
    else:
        pairs = [(draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in kernel]
        out = [whole - a - b for whole, (a, b) in zip(full, pairs, strict=True)]
        assume(min(out) > 0)
        before, more["pad"] = [a for a, _ in pairs], [item for pair in pairs for item in pair]
    return Drawn(
        f"conv_transpose {x.shape} {weight.shape} {more}",
        Case(
            (x,),
            lambda mb, x: mb.conv_transpose(x=x, weight=weight, bias=bias, **more),
            lambda x: ref.conv_transpose(x, weight, strides, before, out, None, groups, bias),
        ),
    )


@st.composite
def pooling(draw: Draw) -> Drawn:
    rng, kind, axes = generator(draw), one_of(draw, "max", "avg", "l2"), draw(st.integers(1, 3))
    axes = min(axes, 2) if kind == "l2" else axes
    kernel, strides = list(shape(draw, axes, axes, 1, 4)), list(shape(draw, axes, axes, 1, 3))
    pad_type = one_of(draw, "valid", "same", "same_lower", "custom")
    pairs = [(draw(st.integers(0, (k - 1) // 2)), draw(st.integers(0, (k - 1) // 2))) for k in kernel]
    sizes = [k + draw(st.integers(0, 5)) for k in kernel]
    up = kind != "l2" and axes < 3 and pad_type in ("valid", "custom") and flag(draw)
    pairs = [(before, before) for before, _ in pairs] if up else pairs  # coremltools wants them even there
    pads = pairs if pad_type == "custom" else [(0, 0)] * axes
    rows = list(zip(sizes, kernel, strides, pads, strict=True))
    assume(not up or all(-(-(n + a + b - k) // s) * s < n + a for n, k, s, (a, b) in rows))
    x, more = floats(rng, (size(draw, 1, 2), size(draw, 1, 3), *sizes)), {"pad_type": pad_type}
    if pad_type == "custom":
        more["pad"] = [item for pair in pairs for item in pair]
    if up:
        more["ceil_mode"] = True
    exclude = kind == "avg" and flag(draw)
    averaging = {"exclude_padding_from_average": exclude} if kind == "avg" else {}
    return Drawn(
        f"{kind}_pool {x.shape} {kernel} {strides} {more} {exclude}",
        Case(
            (x,),
            lambda mb, x: getattr(mb, f"{kind}_pool")(x=x, kernel_sizes=kernel, strides=strides, **averaging, **more),
            lambda x: ref.pool(x, kind, kernel, strides, exclude=exclude, **more),
        ),
    )


@st.composite
def recurrent(draw: Draw) -> Drawn:
    rng, name = generator(draw), one_of(draw, "lstm", "lstm", "gru", "rnn")
    steps, batch, inner, hidden = (size(draw, 1, 4) for _ in range(4))
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[name]
    direction = one_of(draw, "forward", "reverse", *(["bidirectional"] if name == "lstm" else []))
    sequence, biased, peeps = flag(draw), flag(draw), name == "lstm" and flag(draw)
    sides = 2 if direction == "bidirectional" else 1
    parts = []
    for _ in range(sides):
        made = {
            "ih": floats(rng, (gates * hidden, inner), -0.9, 0.9),
            "hh": floats(rng, (gates * hidden, hidden), -0.9, 0.9),
        }
        if biased:
            made["bias"] = floats(rng, (gates * hidden,), -0.9, 0.9)
        if peeps:
            made["peephole"] = floats(rng, (3 * hidden,), -0.9, 0.9)
        parts.append(made)
    words = one_of(
        draw, ("sigmoid", "tanh", "tanh"), ("hard_sigmoid", "scaled_tanh", "linear"), ("sigmoid", "relu", "tanh")
    )
    spoken = (
        dict(zip(("recurrent_activation", "cell_activation", "activation"), words, strict=True))
        if name == "lstm"
        else {}
    )
    given = {
        f"weight_{key}{side}" if key in ("ih", "hh") else f"{key}{side}": value
        for side, made in zip(("", "_back"), parts, strict=False)
        for key, value in made.items()
    }
    x = floats(rng, (steps, batch, inner))
    states = [floats(rng, (batch, sides * hidden), -1, 1) for _ in range(2 if name == "lstm" else 1)]

    def one_way(part: dict[str, Any], read: np.ndarray, *began: np.ndarray) -> list[np.ndarray]:
        if name == "lstm":
            return further.lstm_one_way(read, *began, part, words)
        return further.gru_one_way(read, *began, part) if name == "gru" else _plain_states(read, began[0], part)

    def reference(x: np.ndarray, *began: np.ndarray) -> list[np.ndarray]:
        if sides == 1:
            found = one_way(parts[0], x[::-1] if direction == "reverse" else x, *began)
        else:
            there = one_way(parts[0], x, *[state[:, :hidden] for state in began])
            back = one_way(parts[1], x[::-1], *[state[:, hidden:] for state in began])
            back[0] = back[0][::-1]
            found = [np.concatenate(pair, -1) for pair in zip(there, back, strict=True)]
        return found if sequence else [found[1][None], *found[1:]]

    def build(mb: Any, x: Any, *began: Any) -> list[Any]:
        more = dict(zip(("initial_h", "initial_c"), began, strict=False))
        return list(getattr(mb, name)(x=x, **more, **given, **spoken, direction=direction, output_sequence=sequence))

    return Drawn(
        f"{name} {x.shape} {hidden} {direction} {sequence} {sorted(given)} {spoken}",
        Case((x, *states), build, reference),
    )


def _plain_states(x: np.ndarray, h: np.ndarray, part: dict[str, Any]) -> list[np.ndarray]:
    states = []
    for step in x.astype(np.float64):
        h = np.tanh(step @ part["ih"].T + h @ part["hh"].T + part.get("bias", 0))
        states.append(h)
    return [np.stack(states), h]


@st.composite
def attention(draw: Draw) -> Drawn:
    rng, batch = generator(draw), shape(draw, 1, 2, 1, 3)
    targets, sources, inner, outer = (size(draw) for _ in range(4))
    q, k, v = (floats(rng, (*batch, *tail)) for tail in ((targets, inner), (sources, inner), (sources, outer)))
    kind = one_of(draw, "none", "bool", "added")
    mask = None
    if kind == "bool":
        mask = rng.random((targets, sources)) < 0.6
        mask[:, 0] = True
    elif kind == "added":
        mask = floats(rng, (*(batch if flag(draw) else ()), targets, sources))
    more = {} if mask is None else {"attn_mask": mask}
    return Drawn(
        f"scaled_dot_product_attention {q.shape} {k.shape} {v.shape} {kind}",
        Case(
            (q, k, v),
            lambda mb, q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v, **more),
            lambda q, k, v: further.attention(q, k, v, mask),
        ),
        "iOS18",
    )


@st.composite
def resize(draw: Draw) -> Drawn:
    rng, name = (
        generator(draw),
        one_of(draw, "resize_bilinear", "upsample_bilinear", "nearest", "upsample_nearest", "resize"),
    )
    x = floats(rng, (*shape(draw, 1, 2, 1, 2), *shape(draw, 2, 2, 1, 7)))
    (height, width), high, wide = x.shape[-2:], size(draw, 1, 9), size(draw, 1, 9)
    mode = one_of(draw, "STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS")
    if name == "resize_bilinear":
        return Drawn(
            f"{name} {x.shape} {high}x{wide} {mode}",
            Case(
                (x,),
                lambda mb, x: mb.resize_bilinear(
                    x=x, target_size_height=high, target_size_width=wide, sampling_mode=mode
                ),
                lambda x: ref.sample(x, _points(mode, height, high), _points(mode, width, wide)),
            ),
        )
    if name == "nearest":
        rows, columns = np.arange(high) * height // high, np.arange(wide) * width // wide
        return Drawn(
            f"resize_nearest_neighbor {x.shape} {high}x{wide}",
            Case(
                (x,),
                lambda mb, x: mb.resize_nearest_neighbor(x=x, target_size_height=high, target_size_width=wide),
                lambda x: x[..., rows, :][..., columns],
            ),
        )
    tall, long = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    if name == "upsample_nearest":
        return Drawn(
            f"upsample_nearest_neighbor {x.shape} {tall} {long}",
            Case(
                (x,),
                lambda mb, x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=tall, scale_factor_width=long),
                lambda x: x.repeat(tall, -2).repeat(long, -1),
            ),
        )
    if name == "upsample_bilinear":
        align = flag(draw)
        mode = "STRICT_ALIGN_CORNERS" if align else "UNALIGN_CORNERS"
        return Drawn(
            f"upsample_bilinear {x.shape} {tall} {long} {align}",
            Case(
                (x,),
                lambda mb, x: mb.upsample_bilinear(
                    x=x, scale_factor_height=tall, scale_factor_width=long, align_corners=align
                ),
                lambda x: ref.sample(x, _points(mode, height, height * tall), _points(mode, width, width * long)),
            ),
        )
    return Drawn(
        f"resize {x.shape} {high}x{wide} {mode}",
        Case(
            (x,),
            lambda mb, x: mb.resize(x=x, shape=[high, wide], resized_dims=np.uint32(2), sampling_mode=mode),
            lambda x: ref.sample(x, _points(mode, height, high), _points(mode, width, wide)),
        ),
    )


def _points(mode: str, extent: int, out: int) -> np.ndarray:
    """As coremltools documents them, with TensorFlow's corner for ``DEFAULT``: out 1 takes the first."""
    return ref.points(mode, extent, out)


@st.composite
def sampling(draw: Draw) -> Drawn:
    rng, name = generator(draw), one_of(draw, "resample", "resample", "crop_resize", "affine")
    x = floats(rng, (size(draw, 1, 2), size(draw, 1, 3), *shape(draw, 2, 2, 2, 6)))
    extent = np.array(x.shape[:-3:-1])
    if name == "crop_resize":
        count, high, wide = size(draw, 1, 3), size(draw, 1, 4), size(draw, 1, 4)
        which = integers(rng, (count,), 0, len(x))
        boxes = (rng.uniform(-0.2, 1.2, (count, 4)) * np.array([*x.shape[-2:]] * 2)).astype(np.float32)
        pad = np.float32(draw(st.integers(-4, 4)))
        return Drawn(
            f"crop_resize {x.shape} {count} {high}x{wide} {pad}",
            Case(
                (x, boxes),
                lambda mb, x, b: mb.crop_resize(
                    x=x,
                    boxes=b,
                    box_indices=which,
                    target_height=high,
                    target_width=wide,
                    sampling_mode="ALIGN_CORNERS",
                    pad_value=pad,
                ),
                lambda x, b: further.crop_resize(x, b.astype(np.float64), list(which), (high, wide), pad),
            ),
        )
    high, wide = size(draw), size(draw)
    if name == "affine":
        return _affine(rng, x, size(draw, 2), size(draw, 2))
    padding, mode = one_of(draw, "constant", "border", "reflection", "symmetric"), one_of(draw, "bilinear", "nearest")
    places = one_of(draw, "unnormalized", "normalized_minus_one_to_one", "normalized_zero_to_one")
    align = flag(draw)
    pixels = (rng.uniform(-0.4, 1.4, (len(x), high, wide, 2)) * (extent - 1)).astype(np.float32)
    pixels = np.where(np.abs(pixels % 1 - 0.5) < 0.05, np.floor(pixels), pixels)  # no ties between neighbours
    unit = pixels / (extent - 1) if align else (pixels + 0.5) / extent
    grid = {"unnormalized": pixels, "normalized_zero_to_one": unit}.get(places, unit * 2 - 1).astype(np.float32)
    settings = {
        "sampling_mode": mode,
        "padding_mode": padding,
        "padding_value": 0.0,
        "coordinates_mode": places,
        "align_corners": align,
    }
    return Drawn(
        f"resample {x.shape} {high}x{wide} {settings}",
        Case(
            (x, grid),
            lambda mb, x, g: mb.resample(x=x, coordinates=g, **settings),
            lambda x, g: further.sample(
                x, _to_pixels(g.astype(np.float64), places, extent, align), padding, mode == "nearest"
            ),
        ),
    )


def _to_pixels(grid: np.ndarray, places: str, extent: np.ndarray, align: bool) -> np.ndarray:
    if places == "unnormalized":
        return grid
    unit = grid if places == "normalized_zero_to_one" else (grid + 1) / 2
    return unit * (extent - 1) if align else unit * extent - 0.5


def _affine(rng: np.random.Generator, x: np.ndarray, high: int, wide: int) -> Drawn:
    matrix = floats(rng, (len(x), 6), -1, 1)
    extent = np.array(x.shape[:-3:-1])

    def reference(x: np.ndarray) -> np.ndarray:
        across, down = np.meshgrid(np.linspace(-1, 1, wide), np.linspace(-1, 1, high))
        points = np.stack([across, down, np.ones_like(across)], -1)
        turned = np.einsum("hwk,bck->bhwc", points, matrix.reshape(-1, 2, 3).astype(np.float64))
        return further.sample(x, (turned + 1) / 2 * (extent - 1), "constant")

    settings = {"sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": 0.0, "align_corners": True}
    return Drawn(
        f"affine {x.shape} {high}x{wide}",
        Case(
            (x,),
            lambda mb, x: mb.affine(
                x=x,
                transform_matrix=matrix,
                output_height=high,
                output_width=wide,
                coordinates_mode="normalized_minus_one_to_one",
                **settings,
            ),
            reference,
        ),
    )


@st.composite
def detection(draw: Draw) -> Drawn:
    rng, n, count, classes = generator(draw), size(draw, 1, 2), size(draw, 1, 12), size(draw, 1, 4)
    boxes = (rng.uniform(0, 8, (n, count, 4)) + np.array([0, 0, 2, 2])).astype(np.float32)
    scores = (rng.permutation(n * count * classes).reshape(n, count, classes) / (n * count * classes)).astype(
        np.float32
    )
    overlap, least, most, by_class = (
        draw(st.integers(1, 8)) / 10,
        draw(st.integers(0, 8)) / 10,
        size(draw, 1, 8),
        flag(draw),
    )
    if flag(draw):
        return Drawn(
            f"non_maximum_suppression {boxes.shape} {classes} {overlap} {least} {most} {by_class}",
            Case(
                (boxes, scores),
                lambda mb, b, s: list(
                    mb.non_maximum_suppression(
                        boxes=b,
                        scores=s,
                        iou_threshold=overlap,
                        score_threshold=least,
                        max_boxes=most,
                        per_class_suppression=by_class,
                    )
                ),
                lambda b, s: further.suppress(b, s, overlap, least, most, by_class),
            ),
            "iOS16",
        )

    def reference(b: np.ndarray, s: np.ndarray) -> list[np.ndarray]:
        found = further.suppress(b.swapaxes(1, 2), s.swapaxes(1, 2), overlap, -1, most, by_class)
        return [found[0].swapaxes(1, 2), found[1].swapaxes(1, 2), found[2]]

    return Drawn(
        f"non_maximum_suppression of iOS 17 {boxes.shape} {classes} {overlap} {most} {by_class}",
        Case(
            (boxes.swapaxes(1, 2).copy(), scores.swapaxes(1, 2).copy()),
            lambda mb, b, s: list(
                mb.non_maximum_suppression(
                    boxes=b, scores=s, iou_threshold=overlap, max_boxes=most, per_class_suppression=by_class
                )
            )[:3],
            reference,
        ),
    )


@st.composite
def constexpr(draw: Draw) -> Drawn:
    return one_of(draw, _affine_weight, _table_weight, _sparse_weight, _block_weight, _block_weight, _tables_by_block)(
        draw, generator(draw)
    )


def _multiplied(
    words: str, weight: np.ndarray, build: Callable[..., Any], rng: np.random.Generator, system: str
) -> Drawn:
    x = floats(rng, (2, weight.shape[1]))
    return Drawn(
        f"{words} {weight.shape}",
        Case((x,), lambda mb, x: mb.linear(x=x, weight=build(mb)), lambda x: x.astype(np.float64) @ weight.T),
        system,
    )


def _affine_weight(draw: Draw, rng: np.random.Generator) -> Drawn:
    rows, columns, dtype = size(draw), size(draw), one_of(draw, np.int8, np.uint8)
    axis, whole = axis_of(draw, 2), flag(draw)
    limits = np.iinfo(dtype)
    data, zero = (
        rng.integers(limits.min, limits.max + 1, s).astype(dtype) for s in ((rows, columns), (rows, columns)[axis])
    )
    scale = floats(rng, ((rows, columns)[axis],), 0.01, 0.3)
    given: Any = {"zero_point": zero[0], "scale": scale[0]} if whole else {"zero_point": zero, "scale": scale}
    fit = (1, 1) if whole else (-1, 1) if axis % 2 == 0 else (1, -1)
    weight = (data.astype(np.float64) - zero[: 1 if whole else None].astype(int).reshape(fit)) * scale[
        : 1 if whole else None
    ].reshape(fit)
    return _multiplied(
        f"constexpr_affine_dequantize {dtype.__name__} {axis} {whole}",
        weight,
        lambda mb: mb.constexpr_affine_dequantize(quantized_data=data, axis=axis, **given),
        rng,
        "iOS16",
    )


def _packed(values: np.ndarray, bits: int) -> np.ndarray:
    stream = (values.reshape(-1, 1) >> np.arange(bits)) & 1
    return np.packbits(stream.astype(np.uint8).reshape(-1), bitorder="little")


def _table_weight(draw: Draw, rng: np.random.Generator) -> Drawn:
    bits, extents = one_of(draw, 1, 2, 4, 6, 8), shape(draw, 2, 2, 1, 7)
    table, indices = floats(rng, (2**bits,)), rng.integers(0, 2**bits, extents)
    return _multiplied(
        f"constexpr_lut_to_dense {bits}",
        table[indices].astype(np.float64),
        lambda mb: mb.constexpr_lut_to_dense(
            indices=_packed(indices, bits), lut=table, shape=np.array(extents, np.uint32)
        ),
        rng,
        "iOS16",
    )


def _sparse_weight(draw: Draw, rng: np.random.Generator) -> Drawn:
    extents, newer = shape(draw, 2, 2, 1, 7), flag(draw)
    mask = (rng.random(extents) < 0.5).astype(int)
    mask.reshape(-1)[0] = 1
    dense = floats(rng, extents) * mask
    values = dense[mask == 1].astype(np.float32)
    more: dict[str, Any] = {"shape": np.array(extents, np.uint32)}

    def build(mb: Any) -> Any:
        if newer:
            return mb.constexpr_sparse_to_dense(nonzero_data=values, mask=narrow(mask, "uint1"))
        return mb.constexpr_sparse_to_dense(nonzero_data=values, mask=_packed(mask, 1), **more)

    return _multiplied("constexpr_sparse_to_dense", dense.astype(np.float64), build, rng, "iOS18" if newer else "iOS16")


def _block_weight(draw: Draw, rng: np.random.Generator) -> Drawn:
    """Blocks along any of both axes, and four types; with a sparse mask at times."""
    blocks, counts = shape(draw, 2, 2, 1, 3), shape(draw, 2, 2, 1, 4)
    extents = tuple(b * c for b, c in zip(blocks, counts, strict=True))
    dtype = one_of(draw, "int4", "uint4", "int8", "uint8")
    low, high = {"int4": (-8, 8), "uint4": (0, 16), "int8": (-128, 128), "uint8": (0, 256)}[dtype]
    data, scale = rng.integers(low, high, extents), floats(rng, counts, 0.01, 0.3)
    offset = rng.integers(low, high, counts) if flag(draw) else None
    spread = [
        np.repeat(np.repeat(part, blocks[0], 0), blocks[1], 1)
        for part in (scale, np.zeros(counts) if offset is None else offset)
    ]
    weight = (data - spread[1]) * spread[0]
    more = {} if offset is None else {"offset": narrow(offset, dtype)}
    if flag(draw):
        return _multiplied(
            f"constexpr_blockwise_shift_scale {dtype} {blocks} {offset is not None}",
            weight,
            lambda mb: mb.constexpr_blockwise_shift_scale(data=narrow(data, dtype), scale=scale, **more),
            rng,
            "iOS18",
        )
    mask = (rng.random(extents) < 0.5).astype(int)
    mask.reshape(-1)[0] = 1

    def build(mb: Any) -> Any:
        made = mb.constexpr_sparse_blockwise_shift_scale(
            data_mask=narrow(mask, "uint1"), nonzero_data=narrow(data[mask == 1], dtype), scale=scale, **more
        )
        return mb.constexpr_sparse_to_dense(mask=made[0], nonzero_data=made[1])

    return _multiplied(f"constexpr_sparse_blockwise_shift_scale {dtype} {blocks}", weight * mask, build, rng, "iOS18")


def _tables_by_block(draw: Draw, rng: np.random.Generator) -> Drawn:
    blocks, counts, bits = shape(draw, 2, 2, 1, 3), shape(draw, 2, 2, 1, 3), one_of(draw, 1, 2, 3, 4, 6, 8)
    extents = tuple(b * c for b, c in zip(blocks, counts, strict=True))
    length, axis = one_of(draw, 1, 1, 2, 3), draw(st.integers(0, 1))
    tables, indices = floats(rng, (*counts, 2**bits, length)), rng.integers(0, 2**bits, extents)
    wanted = list(extents)
    wanted[axis] *= length
    weight = np.zeros(wanted)
    for row, column in np.ndindex(*extents):
        entry = tables[row // blocks[0], column // blocks[1], indices[row, column]]
        for place in range(length):
            spot = [row, column]
            spot[axis] = spot[axis] * length + place
            weight[tuple(spot)] = entry[place]
    more = {"vector_axis": np.int32(axis)} if length > 1 else {}
    return _multiplied(
        f"constexpr_lut_to_dense by block {bits} {blocks} {length} {axis}",
        weight,
        lambda mb: mb.constexpr_lut_to_dense(indices=narrow(indices, f"uint{bits}"), lut=tables, **more),
        rng,
        "iOS18",
    )
