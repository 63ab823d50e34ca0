"""Families that move or pick elements: shapes, slices, gathers, scatters, arrangements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from coreml_cases import Case
from coreml_drawn import (
    Draw,
    Drawn,
    axes_of,
    axis_of,
    eighths,
    flag,
    floats,
    generator,
    integers,
    one_of,
    shape,
    size,
)
from hypothesis import strategies as st

Chosen = dict[str, Callable[[Draw, np.random.Generator], Drawn]]


def _numbers(draw: Draw, rng: np.random.Generator, wanted: tuple[int, ...]) -> np.ndarray:
    return integers(rng, wanted) if flag(draw) else eighths(rng, wanted)


NARROW = ("expand_dims", "gather", "reshape", "reverse ", "slice_by", "sliding_windows", "squeeze", "transpose")
"""What takes narrow integers from iOS 17 on."""


def _through(draw: Draw, drawn: Drawn) -> Drawn:
    """At times, the same on narrow integers."""
    first, *others = drawn.case.inputs
    if not drawn.name.startswith(NARROW) or first.dtype != np.int32 or flag(draw):
        return drawn
    word, case = one_of(draw, "int8", "uint8", "int16", "uint16"), drawn.case

    def build(mb: Any, x: Any, *more: Any) -> Any:
        return mb.cast(x=case.build(mb, mb.cast(x=x, dtype=word), *more), dtype="int32")

    return Drawn(f"{drawn.name} of {word}", Case((np.abs(first), *others), build, case.reference))


@st.composite
def shapes(draw: Draw) -> Drawn:
    return _through(draw, one_of(draw, *SHAPES.values())(draw, generator(draw)))


def _reshape(draw: Draw, rng: np.random.Generator) -> Drawn:
    x = _numbers(draw, rng, shape(draw))
    factors = list(rng.permutation([factor for extent in x.shape for factor in _primes(extent)]))
    wanted = [1] * draw(st.integers(1, 4))
    for factor in factors:
        wanted[int(rng.integers(len(wanted)))] *= int(factor)
    asked = list(wanted)
    if flag(draw):
        asked[int(rng.integers(len(asked)))] = -1
    return Drawn(
        f"reshape {x.shape} {asked}",
        Case((x,), lambda mb, x: mb.reshape(x=x, shape=asked), lambda x: x.reshape(wanted)),
    )


def _primes(number: int) -> list[int]:
    for factor in range(2, number + 1):
        if number % factor == 0:
            return [factor, *_primes(number // factor)]
    return []


def _transpose(draw: Draw, rng: np.random.Generator) -> Drawn:
    x = _numbers(draw, rng, shape(draw, 2, 5))
    perm = [axis - x.ndim if flag(draw) else axis for axis in draw(st.permutations(range(x.ndim)))]
    return Drawn(
        f"transpose {x.shape} {perm}",
        Case((x,), lambda mb, x: mb.transpose(x=x, perm=perm), lambda x: x.transpose([a % x.ndim for a in perm])),
    )


def _expand_dims(draw: Draw, rng: np.random.Generator) -> Drawn:
    x = _numbers(draw, rng, shape(draw, 1, 3))
    rank = x.ndim + draw(st.integers(1, 2))
    places = sorted(
        draw(st.lists(st.integers(0, rank - 1), min_size=rank - x.ndim, max_size=rank - x.ndim, unique=True))
    )
    axes = [place - rank for place in places] if flag(draw) else places
    return Drawn(
        f"expand_dims {x.shape} {axes}",
        Case((x,), lambda mb, x: mb.expand_dims(x=x, axes=axes), lambda x: np.expand_dims(x, tuple(axes))),
    )


def _squeeze(draw: Draw, rng: np.random.Generator) -> Drawn:
    kept = list(shape(draw, 1, 3, 2))
    for _ in range(draw(st.integers(1, 2))):
        kept.insert(draw(st.integers(0, len(kept))), 1)
    x = _numbers(draw, rng, tuple(kept))
    single = [axis - x.ndim if flag(draw) else axis for axis, extent in enumerate(kept) if extent == 1]
    axes = single[: draw(st.integers(1, len(single)))] if flag(draw) else None
    more = {} if axes is None else {"axes": axes}
    return Drawn(
        f"squeeze {x.shape} {axes}",
        Case((x,), lambda mb, x: mb.squeeze(x=x, **more), lambda x: x.squeeze(None if axes is None else tuple(axes))),
    )


def _flatten2d(draw: Draw, rng: np.random.Generator) -> Drawn:
    x = eighths(rng, shape(draw, 2, 4))
    axis = draw(st.integers(0, x.ndim - 1))
    return Drawn(
        f"flatten2d {x.shape} {axis}",
        Case((x,), lambda mb, x: mb.flatten2d(x=x, axis=axis), lambda x: x.reshape(int(np.prod(x.shape[:axis])), -1)),
    )


def _concat(draw: Draw, rng: np.random.Generator) -> Drawn:
    base, interleave = list(shape(draw)), flag(draw)
    axis = axis_of(draw, len(base))
    whole, parts = flag(draw), []
    for _ in range(draw(st.integers(1, 4))):
        extents = list(base)
        extents[axis] = base[axis] if interleave else size(draw)
        parts.append(integers(rng, extents) if whole else eighths(rng, extents))

    def reference(*values: np.ndarray) -> np.ndarray:
        if not interleave:
            return np.concatenate(values, axis)
        place = axis % len(base)
        turns = np.stack(values, place + 1)
        return turns.reshape([*base[:place], base[place] * len(values), *base[place + 1 :]])

    return Drawn(
        f"concat {[part.shape for part in parts]} {axis} {interleave}",
        Case(tuple(parts), lambda mb, *v: mb.concat(values=list(v), axis=axis, interleave=interleave), reference),
    )


def _stack(draw: Draw, rng: np.random.Generator) -> Drawn:
    base, whole = shape(draw, 1, 3), flag(draw)
    parts = [integers(rng, base) if whole else eighths(rng, base) for _ in range(draw(st.integers(1, 3)))]
    axis = axis_of(draw, len(base) + 1)
    return Drawn(
        f"stack {len(parts)} {base} {axis}",
        Case(tuple(parts), lambda mb, *v: mb.stack(values=list(v), axis=axis), lambda *v: np.stack(v, axis)),
    )


def _split(draw: Draw, rng: np.random.Generator) -> Drawn:
    base = list(shape(draw))
    axis = axis_of(draw, len(base))
    if flag(draw):
        count = draw(st.integers(1, 3))
        base[axis] *= count
        x = eighths(rng, base)
        return Drawn(
            f"split {base} {axis} {count}",
            Case(
                (x,),
                lambda mb, x: _listed(mb.split(x=x, num_splits=count, axis=axis)),
                lambda x: np.split(x, count, axis),
            ),
        )
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    base[axis] = sum(sizes)
    x = _numbers(draw, rng, tuple(base))
    return Drawn(
        f"split {base} {axis} {sizes}",
        Case(
            (x,),
            lambda mb, x: _listed(mb.split(x=x, split_sizes=sizes, axis=axis)),
            lambda x: np.split(x, np.cumsum(sizes)[:-1], axis),
        ),
    )


def _listed(made: Any) -> list[Any]:
    return list(made) if isinstance(made, list | tuple) else [made]


def _tile(draw: Draw, rng: np.random.Generator) -> Drawn:
    x = _numbers(draw, rng, shape(draw))
    counts = [draw(st.integers(1, 3)) for _ in x.shape]
    return Drawn(
        f"tile {x.shape} {counts}", Case((x,), lambda mb, x: mb.tile(x=x, reps=counts), lambda x: np.tile(x, counts))
    )


def _pad(draw: Draw, rng: np.random.Generator) -> Drawn:
    x, mode = eighths(rng, shape(draw, 1, 4, 2)), one_of(draw, "constant", "reflect", "replicate")
    axes = draw(st.integers(1, x.ndim if mode == "constant" else min(2, x.ndim)))
    limits = [extent - 1 if mode == "reflect" else 3 for extent in x.shape[-axes:]]
    pairs = [(draw(st.integers(0, limit)), draw(st.integers(0, limit))) for limit in limits]
    value = draw(st.integers(-8, 8)) / 8
    more = {"constant_val": np.float32(value)} if mode == "constant" else {}
    how: dict[str, Any] = {"constant_values": value} if mode == "constant" else {}

    def reference(x: np.ndarray) -> np.ndarray:
        word: Any = {"replicate": "edge"}.get(mode, mode)
        return np.pad(x, [(0, 0)] * (x.ndim - axes) + pairs, word, **how)

    flat = [extent for pair in pairs for extent in pair]
    return Drawn(
        f"pad {x.shape} {flat} {mode} {value}",
        Case((x,), lambda mb, x: mb.pad(x=x, pad=flat, mode=mode, **more), reference),
    )


def _blocks(draw: Draw, rng: np.random.Generator) -> Drawn:
    name, n = (
        one_of(draw, "depth_to_space", "space_to_depth", "pixel_shuffle", "pixel_unshuffle"),
        draw(st.integers(1, 3)),
    )
    b, c, h, w = (size(draw, 1, 3) for _ in range(4))
    if name in ("depth_to_space", "pixel_shuffle"):
        x = eighths(rng, (b, c * n * n, h, w))
        first = name == "depth_to_space"  # blocks vary slowest

        def reference(x: np.ndarray) -> np.ndarray:
            parts = x.reshape((b, n, n, c, h, w) if first else (b, c, n, n, h, w))
            return parts.transpose((0, 3, 4, 1, 5, 2) if first else (0, 1, 4, 2, 5, 3)).reshape(b, c, h * n, w * n)

    else:
        x = eighths(rng, (b, c, h * n, w * n))
        first = name == "space_to_depth"

        def reference(x: np.ndarray) -> np.ndarray:
            parts = x.reshape(b, c, h, n, w, n)
            return parts.transpose((0, 3, 5, 1, 2, 4) if first else (0, 1, 3, 5, 2, 4)).reshape(b, c * n * n, h, w)

    key = {"pixel_shuffle": "upscale_factor", "pixel_unshuffle": "downscale_factor"}.get(name, "block_size")
    factor: Any = np.uint32(n) if name == "pixel_unshuffle" else n
    if n == 1 and "space" in name:
        factor = n = 2  # coremltools takes blocks of 2 and more only
        return _blocks_of_two(name, (b, c, h, w), rng)
    return Drawn(f"{name} {x.shape} {n}", Case((x,), lambda mb, x: getattr(mb, name)(x=x, **{key: factor}), reference))


def _blocks_of_two(name: str, extents: tuple[int, int, int, int], rng: np.random.Generator) -> Drawn:
    b, c, h, w = extents
    wide = eighths(rng, (b, c, h * 2, w * 2))
    deep = wide.reshape(b, c, h, 2, w, 2).transpose(0, 3, 5, 1, 2, 4).reshape(b, c * 4, h, w)
    x, wanted = (wide, deep) if name == "space_to_depth" else (deep, wide)
    return Drawn(
        f"{name} {x.shape} 2", Case((x,), lambda mb, x: getattr(mb, name)(x=x, block_size=2), lambda _: wanted)
    )


SHAPES: Chosen = {
    "blocks": _blocks,
    "concat": _concat,
    "expand_dims": _expand_dims,
    "flatten2d": _flatten2d,
    "pad": _pad,
    "reshape": _reshape,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
}


@st.composite
def slicing(draw: Draw) -> Drawn:
    return _through(draw, _sliced(draw))


def _sliced(draw: Draw) -> Drawn:
    rng, name = generator(draw), one_of(draw, "slice_by_index", "slice_by_index", "slice_by_size", "reverse")
    x = _numbers(draw, rng, shape(draw, 1, 4, 1, 6))
    if name == "reverse":
        axes = axes_of(draw, x.ndim) if flag(draw) else None
        more = {} if axes is None else {"axes": axes}
        return Drawn(
            f"reverse {x.shape} {axes}",
            Case(
                (x,), lambda mb, x: mb.reverse(x=x, **more), lambda x: np.flip(x, None if axes is None else tuple(axes))
            ),
        )
    if name == "slice_by_size":
        first = [draw(st.integers(0, extent - 1)) for extent in x.shape]
        sizes = [draw(st.integers(1, extent - at)) for extent, at in zip(x.shape, first, strict=True)]
        asked = [
            -1 if at + count == extent and flag(draw) else count
            for at, count, extent in zip(first, sizes, x.shape, strict=True)
        ]
        places = tuple(slice(at, at + count) for at, count in zip(first, sizes, strict=True))
        return Drawn(
            f"slice_by_size {x.shape} {first} {asked}",
            Case((x,), lambda mb, x: mb.slice_by_size(x=x, begin=first, size=asked), lambda x: x[places]),
        )
    return _slice_by_index(draw, x)


def _slice_by_index(draw: Draw, x: np.ndarray) -> Drawn:
    rows, places = [], []
    for extent in x.shape:
        row, place = _one_slice(draw, extent)
        rows.append(row)
        places.append(place)
    if all(row["squeeze_mask"] for row in rows):
        rows[0]["squeeze_mask"], places[0] = (
            False,
            slice(rows[0]["begin"] % x.shape[0], rows[0]["begin"] % x.shape[0] + 1),
        )
        rows[0]["begin"], rows[0]["end"], rows[0]["stride"] = places[0].start, places[0].stop, 1
    more = {key: [row[key] for row in rows] for key in rows[0]}
    where = tuple(places)
    return Drawn(
        f"slice_by_index {x.shape} {more}", Case((x,), lambda mb, x: mb.slice_by_index(x=x, **more), lambda x: x[where])
    )


def _one_slice(draw: Draw, extent: int) -> tuple[dict[str, Any], Any]:
    """Draw the arguments for one axis, and where they lead: never to nothing."""
    row: dict[str, Any] = {"begin": 0, "end": extent, "stride": 1}
    row |= {"begin_mask": False, "end_mask": False, "squeeze_mask": False}
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(-extent, extent - 1))
        return {**row, "begin": at, "end": at + 1, "squeeze_mask": True}, at
    stride = one_of(draw, 1, 1, 2, 3, -1, -2)
    first, last = sorted((draw(st.integers(0, extent - 1)), draw(st.integers(0, extent - 1))))
    begin, end = (first, last + 1) if stride > 0 else (last, first - 1)
    from_start = begin == (0 if stride > 0 else extent - 1) and flag(draw)
    to_end = end == -1 or (end == extent and flag(draw))
    place = slice(None if from_start else begin, None if to_end else end, stride)
    if flag(draw):
        begin -= extent
        end -= extent if 0 <= end < extent else 0
    return {
        **row,
        "begin": begin,
        "end": max(end, -extent),
        "stride": stride,
        "begin_mask": from_start,
        "end_mask": to_end,
    }, place


@st.composite
def gather(draw: Draw) -> Drawn:
    return _through(draw, _gathered(draw))


def _gathered(draw: Draw) -> Drawn:
    rng, name = generator(draw), one_of(draw, "gather", "gather batched", "gather_along_axis", "gather_nd")
    x = _numbers(draw, rng, shape(draw, 2 if "batched" in name else 1, 4))
    given = flag(draw)

    def made(words: str, indices: np.ndarray, build: Any, reference: Any) -> Drawn:
        if given:
            return Drawn(
                f"{words} constant", Case((x,), lambda mb, x: build(mb, x, indices), lambda x: reference(x, indices))
            )
        return Drawn(words, Case((x, indices), build, reference))

    if name == "gather batched":
        indices = integers(rng, (x.shape[0], *shape(draw, 1, 2)), 0, x.shape[1])
        return made(
            f"gather batched {x.shape} {indices.shape}",
            indices,
            lambda mb, x, i: mb.gather(x=x, indices=i, axis=1, batch_dims=1),
            lambda x, i: np.stack([x[row][i[row]] for row in range(len(x))]),
        )
    axis = axis_of(draw, x.ndim)
    if name == "gather":
        indices = integers(rng, shape(draw, 1, 2), -x.shape[axis], x.shape[axis])
        return made(
            f"gather {x.shape} {indices.shape} {axis}",
            indices,
            lambda mb, x, i: mb.gather(x=x, indices=i, axis=axis),
            lambda x, i: np.take(x, i, axis),
        )
    if name == "gather_along_axis":
        wanted = list(x.shape)
        wanted[axis] = size(draw)
        indices = integers(rng, wanted, -x.shape[axis], x.shape[axis])
        return made(
            f"gather_along_axis {x.shape} {wanted} {axis}",
            indices,
            lambda mb, x, i: mb.gather_along_axis(x=x, indices=i, axis=axis),
            lambda x, i: np.take_along_axis(x, i, axis),
        )
    depth, outer = draw(st.integers(1, x.ndim)), shape(draw, 1, 2)
    indices = np.stack([integers(rng, outer, 0, x.shape[place]) for place in range(depth)], -1)
    return made(
        f"gather_nd {x.shape} {indices.shape}",
        indices,
        lambda mb, x, i: mb.gather_nd(x=x, indices=i),
        lambda x, i: x[tuple(np.moveaxis(i, -1, 0))],
    )


AT = {"add": np.add.at, "max": np.maximum.at, "min": np.minimum.at, "mul": np.multiply.at, "sub": np.subtract.at}
AT["div"] = np.divide.at


@st.composite
def scatter(draw: Draw) -> Drawn:
    rng, name = generator(draw), one_of(draw, "scatter", "scatter_along_axis", "scatter_nd")
    mode = one_of(draw, *AT, "update")
    data = eighths(rng, shape(draw, 1, 3))
    axis = axis_of(draw, data.ndim)
    more: dict[str, Any] = {} if name == "scatter_nd" else {"axis": axis}
    count = draw(st.integers(1, data.shape[axis]))
    if name == "scatter":
        indices = (
            rng.permutation(data.shape[axis])[:count] if mode == "update" else rng.integers(0, data.shape[axis], count)
        )
        indices = indices.astype(np.int32) - (data.shape[axis] if flag(draw) else 0)
        extents = list(data.shape)
        extents[axis] = count
        places: Any = (*[slice(None)] * (axis % data.ndim), indices)
    elif name == "scatter_along_axis":
        extents = list(data.shape)
        extents[axis] = count
        order = np.argsort(rng.random(data.shape), axis)
        indices = np.take(order, range(count), axis).astype(np.int32)
        grid = list(np.ogrid[tuple(slice(extent) for extent in extents)])
        grid[axis] = indices
        places = tuple(grid)
    else:
        depth = draw(st.integers(1, data.ndim))
        total = int(np.prod(data.shape[:depth]))
        flat = rng.permutation(total)[: draw(st.integers(1, total))]
        places = np.unravel_index(flat, data.shape[:depth])
        indices = np.stack(places, -1).astype(np.int32)
        extents = [len(flat), *data.shape[depth:]]
    updates = np.where(rng.random(extents) < 0.5, -1, 1).astype(np.float32) * floats(rng, extents, 0.5, 2)

    def reference(x: np.ndarray, u: np.ndarray) -> np.ndarray:
        out = x.astype(np.float64)
        if mode == "update":
            out[places] = u
        else:
            AT[mode](out, places, u)
        return out

    return Drawn(
        f"{name} {data.shape} {indices.tolist()} {mode} {more}",
        Case(
            (data, updates),
            lambda mb, x, u: getattr(mb, name)(data=x, indices=indices, updates=u, mode=mode, **more),
            reference,
        ),
    )


@st.composite
def arrangement(draw: Draw) -> Drawn:
    return _through(draw, one_of(draw, *ARRANGEMENTS.values())(draw, generator(draw)))


def _band_part(draw: Draw, rng: np.random.Generator) -> Drawn:
    x = _numbers(draw, rng, shape(draw, 2, 4, 1, 6))
    low, high = draw(st.integers(-1, 4)), draw(st.integers(-1, 4))

    def reference(x: np.ndarray) -> np.ndarray:
        kept = x if high < 0 else np.tril(x, high)
        return kept if low < 0 else np.triu(kept, -low)

    return Drawn(
        f"band_part {x.shape} {low} {high}",
        Case((x,), lambda mb, x: mb.band_part(x=x, lower=low, upper=high), reference),
    )


def _one_hot(draw: Draw, rng: np.random.Generator) -> Drawn:
    count, wanted = size(draw, 1, 6), shape(draw, 1, 3)
    x, axis = integers(rng, wanted, 0, count), axis_of(draw, len(wanted) + 1)
    on, off = np.float32(draw(st.integers(-4, 4)) / 2), np.float32(draw(st.integers(-4, 4)) / 2)
    return Drawn(
        f"one_hot {wanted} {count} {axis} {on} {off}",
        Case(
            (x,),
            lambda mb, x: mb.one_hot(indices=x, one_hot_vector_size=count, axis=axis, on_value=on, off_value=off),
            lambda x: np.moveaxis(np.where(np.eye(count)[x] == 1, on, off), -1, axis),
        ),
    )


def _reverse_sequence(draw: Draw, rng: np.random.Generator) -> Drawn:
    x = eighths(rng, shape(draw, 2, 4, 1, 6))
    batch, along = draw(st.permutations(range(x.ndim)))[:2]
    lengths = integers(rng, (x.shape[batch],), 0, x.shape[along] + 1)

    def reference(x: np.ndarray) -> np.ndarray:
        moved = np.moveaxis(x, (batch, along), (0, 1)).copy()
        for row, count in zip(moved, lengths, strict=True):
            row[:count] = row[:count][::-1].copy()
        return np.moveaxis(moved, (0, 1), (batch, along))

    return Drawn(
        f"reverse_sequence {x.shape} {batch} {along} {lengths.tolist()}",
        Case(
            (x,), lambda mb, x: mb.reverse_sequence(x=x, lengths=lengths, seq_axis=along, batch_axis=batch), reference
        ),
    )


def _sliding_windows(draw: Draw, rng: np.random.Generator) -> Drawn:
    x = eighths(rng, shape(draw, 1, 4, 1, 7))
    axis, stride = axis_of(draw, x.ndim), draw(st.integers(1, 3))
    extent = draw(st.integers(1, x.shape[axis]))
    place = axis % x.ndim
    starts = range(0, x.shape[axis] - extent + 1, stride)
    return Drawn(
        f"sliding_windows {x.shape} {axis} {extent} {stride}",
        Case(
            (x,),
            lambda mb, x: mb.sliding_windows(x=x, axis=axis, size=extent, stride=stride),
            lambda x: np.stack([np.take(x, range(at, at + extent), place) for at in starts], place),
        ),
    )


def _space_and_batch(draw: Draw, rng: np.random.Generator) -> Drawn:
    tall, wide = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    b, c, high, long = (size(draw, 1, 3) for _ in range(4))
    top, left = draw(st.integers(0, tall * high - 1)), draw(st.integers(0, wide * long - 1))
    bottom, right = draw(st.integers(0, tall * high - 1 - top)), draw(st.integers(0, wide * long - 1 - left))
    whole = eighths(rng, (b, c, tall * high, wide * long))
    inner = whole[:, :, top : tall * high - bottom, left : wide * long - right]
    edges = np.array([[top, bottom], [left, right]], np.int32)
    block = {"block_shape": np.array([tall, wide], np.int32)}
    if flag(draw):
        padded = np.pad(inner, ((0, 0), (0, 0), (top, bottom), (left, right)))
        wanted = np.concatenate([padded[:, :, i::tall, j::wide] for i in range(tall) for j in range(wide)])
        return Drawn(
            f"space_to_batch {inner.shape} {tall}x{wide} {edges.tolist()}",
            Case((inner,), lambda mb, x: mb.space_to_batch(x=x, **block, paddings=edges), lambda _: wanted),
        )
    x = np.concatenate([whole[:, :, i::tall, j::wide] for i in range(tall) for j in range(wide)])
    return Drawn(
        f"batch_to_space {x.shape} {tall}x{wide} {edges.tolist()}",
        Case((x,), lambda mb, x: mb.batch_to_space(x=x, **block, crops=edges), lambda _: inner),
    )


def _crop(draw: Draw, rng: np.random.Generator) -> Drawn:
    x = eighths(rng, (*shape(draw, 2, 2), *shape(draw, 2, 2, 3, 7)))
    (top, bottom), (left, right) = (
        [draw(st.integers(0, 1)), draw(st.integers(0, extent - 2))] for extent in x.shape[-2:]
    )
    return Drawn(
        f"crop {x.shape} {top} {bottom} {left} {right}",
        Case(
            (x,),
            lambda mb, x: mb.crop(x=x, crop_height=[top, bottom], crop_width=[left, right]),
            lambda x: x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right],
        ),
    )


ARRANGEMENTS: Chosen = {
    "band_part": _band_part,
    "crop": _crop,
    "one_hot": _one_hot,
    "reverse_sequence": _reverse_sequence,
    "sliding_windows": _sliding_windows,
    "space and batch": _space_and_batch,
}
