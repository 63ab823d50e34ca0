"""Cases of recurrent layers, attention, scatters, rearrangements, sampling, suppression and sparse weights."""

from __future__ import annotations

from typing import Any

import coreml_further_references as ref
import numpy as np
from coreml_cases import Case, floats, ints


def recurrent() -> dict[str, Case]:
    made: dict[str, Case] = {}
    x, h, c = floats(5, 2, 3), floats(2, 4, low=-1, high=1), floats(2, 4, low=-1, high=1)

    def weights(gates: int, *more: str) -> dict[str, np.ndarray]:
        sizes = {
            "ih": (gates * 4, 3),
            "hh": (gates * 4, 4),
            "bias": (gates * 4,),
            "peephole": (12,),
            "input_bias": (gates * 4,),
        }
        return {key: floats(*sizes[key], low=-0.8, high=0.8) for key in ("ih", "hh", *more)}

    def spelled(parts: dict[str, np.ndarray], side: str = "") -> dict[str, np.ndarray]:
        return {(f"weight_{key}" if key in ("ih", "hh") else key) + side: value for key, value in parts.items()}

    def lstm(
        name: str, parts: dict[str, np.ndarray], words: tuple[str, str, str] = ("sigmoid", "tanh", "tanh"), **more: Any
    ) -> None:
        spoken = dict(zip(("recurrent_activation", "cell_activation", "activation"), words, strict=True))

        def wanted(x: np.ndarray, h: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
            read = x[::-1] if more.get("direction") == "reverse" else x
            found = ref.lstm_one_way(read, h, c, parts, words)
            return found if more.get("output_sequence") else [found[1][None], *found[1:]]

        made[f"lstm {name}"] = Case(
            (x, h, c),
            lambda mb, x, h, c: list(mb.lstm(x=x, initial_h=h, initial_c=c, **spelled(parts), **spoken, **more)),
            wanted,
        )

    lstm("sequence", weights(4, "bias"), output_sequence=True)
    lstm("last peephole", weights(4, "bias", "peephole"))
    lstm("reverse", weights(4), output_sequence=True, direction="reverse")
    lstm("activations", weights(4, "bias"), ("hard_sigmoid", "scaled_tanh", "linear"), output_sequence=True)
    there, back = weights(4, "bias"), weights(4, "bias")
    h2, c2 = floats(2, 8, low=-1, high=1), floats(2, 8, low=-1, high=1)

    def both(x: np.ndarray, h: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
        words = ("sigmoid", "tanh", "tanh")
        forward = ref.lstm_one_way(x, h[:, :4], c[:, :4], there, words)
        reverse = ref.lstm_one_way(x[::-1], h[:, 4:], c[:, 4:], back, words)
        reverse[0] = reverse[0][::-1]
        return [np.concatenate(pair, -1) for pair in zip(forward, reverse, strict=True)]

    made["lstm bidirectional"] = Case(
        (x, h2, c2),
        lambda mb, x, h, c: list(
            mb.lstm(
                x=x,
                initial_h=h,
                initial_c=c,
                **spelled(there),
                **spelled(back, "_back"),
                direction="bidirectional",
                output_sequence=True,
            )
        ),
        both,
    )
    gates, plain = weights(3, "bias"), weights(1, "bias")
    made["gru"] = Case(
        (x, h),
        lambda mb, x, h: list(mb.gru(x=x, initial_h=h, **spelled(gates), output_sequence=True)),
        lambda x, h: ref.gru_one_way(x, h, gates),
    )
    made["gru reverse last"] = Case(
        (x, h),
        lambda mb, x, h: list(mb.gru(x=x, initial_h=h, **spelled(gates), direction="reverse")),
        lambda x, h: [ref.gru_one_way(x[::-1], h, gates)[1][None], ref.gru_one_way(x[::-1], h, gates)[1]],
    )

    def rnn_states(x: np.ndarray, h: np.ndarray) -> list[np.ndarray]:
        states = []
        for step in x.astype(np.float64):
            h = np.maximum(step @ plain["ih"].T + h @ plain["hh"].T + plain["bias"], 0)
            states.append(h)
        return [np.stack(states), h]

    made["rnn"] = Case(
        (x, h),
        lambda mb, x, h: list(mb.rnn(x=x, initial_h=h, **spelled(plain), output_sequence=True, activation="relu")),
        rnn_states,
    )
    return made


def gru_of_ios18() -> dict[str, Case]:
    parts = {"ih": floats(12, 3, low=-0.8, high=0.8), "hh": floats(12, 4, low=-0.8, high=0.8)}
    parts |= {"bias": floats(12, low=-0.8, high=0.8), "input_bias": floats(12, low=-0.8, high=0.8)}
    return {
        "gru reset after": Case(
            (floats(5, 2, 3), floats(2, 4, low=-1, high=1)),
            lambda mb, x, h: list(
                mb.gru(
                    x=x,
                    initial_h=h,
                    weight_ih=parts["ih"],
                    weight_hh=parts["hh"],
                    bias=parts["bias"],
                    input_bias=parts["input_bias"],
                    reset_after=True,
                    output_sequence=True,
                )
            ),
            lambda x, h: ref.gru_one_way(x, h, parts, after=True),
        )
    }


def scatters() -> dict[str, Case]:
    made: dict[str, Case] = {}
    data, line = floats(5, 4), np.array([3, 0, 3], np.int32)
    actions = {
        "add": np.add.at,
        "sub": np.subtract.at,
        "mul": np.multiply.at,
        "div": np.divide.at,
        "max": np.maximum.at,
        "min": np.minimum.at,
    }

    def put(mode: str, out: np.ndarray, places: Any, values: np.ndarray) -> np.ndarray:
        out = out.astype(np.float64)
        if mode == "update":
            out[places] = values
        else:
            actions[mode](out, places, values)
        return out

    for mode in (*actions, "update"):
        where = np.array([1, 4, 0], np.int32) if mode == "update" else line
        made[f"scatter {mode}"] = Case(
            (data, floats(3, 4, low=0.5)),
            lambda mb, x, u, mode=mode, where=where: mb.scatter(data=x, indices=where, updates=u, axis=0, mode=mode),
            lambda x, u, mode=mode, where=where: put(mode, x, where, u),
        )
    made["scatter axis 1 of integers"] = Case(
        (ints(3, 5), ints(3, 2)),
        lambda mb, x, u: mb.scatter(data=x, indices=np.array([4, 1], np.int32), updates=u, axis=1, mode="add"),
        lambda x, u: put("add", x, (slice(None), [4, 1]), u),
    )
    spots = np.array([[0, 2, 1, 4], [4, 2, 3, 0], [1, 3, 1, 4]], np.int32)
    made["scatter_along_axis"] = Case(
        (data, floats(3, 4)),
        lambda mb, x, u: mb.scatter_along_axis(data=x, indices=spots, updates=u, axis=0, mode="add"),
        lambda x, u: put("add", x, (spots, np.array([[0, 1, 2, 3]] * 3)), u),
    )
    made["scatter_nd"] = Case(
        (floats(3, 4, 2), floats(3, 2)),
        lambda mb, x, u: mb.scatter_nd(
            data=x, indices=np.array([[0, 1], [2, 3], [0, 1]], np.int32), updates=u, mode="add"
        ),
        lambda x, u: put("add", x, ([0, 2, 0], [1, 3, 1]), u),
    )
    return made


def arrangements() -> dict[str, Case]:
    made: dict[str, Case] = {}
    made |= {
        f"band_part {low} {high}": Case(
            (floats(2, 4, 5),), lambda mb, x, a=low, b=high: mb.band_part(x=x, lower=a, upper=b)
        )
        for low, high in ((0, -1), (-1, 0), (1, 2), (0, 0))
    }
    made["one_hot"] = Case(
        (np.array([[1, 0, 3]], np.int32),),
        lambda mb, x: mb.one_hot(indices=x, one_hot_vector_size=4, on_value=2.5, off_value=-1.0),
        lambda x: np.where(np.eye(4)[x] == 1, 2.5, -1.0),
    )
    made["one_hot axis"] = Case(
        (np.array([[1, 0, 3]], np.int32),),
        lambda mb, x: mb.one_hot(indices=x, one_hot_vector_size=4, axis=1),
        lambda x: np.moveaxis(np.eye(4)[x], -1, 1),
    )
    made["fill_like"] = Case(
        (floats(2, 3),),
        lambda mb, x: mb.add(x=x, y=mb.fill_like(ref_tensor=x, value=1.5)),
        lambda x: x + 1.5,
    )
    made["reverse_sequence"] = Case(
        (floats(3, 2, 5),),
        lambda mb, x: mb.reverse_sequence(x=x, lengths=np.array([2, 0, 5], np.int32), seq_axis=2, batch_axis=0),
        lambda x: np.stack([np.concatenate([x[i, :, :n][:, ::-1], x[i, :, n:]], 1) for i, n in enumerate((2, 0, 5))]),
    )
    made["sliding_windows"] = Case(
        (floats(2, 9, 3),),
        lambda mb, x: mb.sliding_windows(x=x, axis=1, size=4, stride=2),
        lambda x: np.stack([x[:, start : start + 4] for start in (0, 2, 4)], 1),
    )
    space = floats(2, 3, 5, 6)

    def to_batch(x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 0), (2, 1)))
        return np.concatenate([padded[:, :, i::2, j::3] for i in range(2) for j in range(3)])

    blocks = {"block_shape": np.array([2, 3], np.int32)}
    made["space_to_batch"] = Case(
        (space,),
        lambda mb, x: mb.space_to_batch(x=x, **blocks, paddings=np.array([[1, 0], [2, 1]], np.int32)),
        to_batch,
    )
    made["batch_to_space"] = Case(
        (to_batch(space),),
        lambda mb, x: mb.batch_to_space(x=x, **blocks, crops=np.array([[1, 0], [2, 1]], np.int32)),
        lambda _: space,
    )
    made["crop"] = Case(
        (floats(1, 2, 6, 7),),
        lambda mb, x: mb.crop(x=x, crop_height=[1, 2], crop_width=[0, 3]),
        lambda x: x[:, :, 1:4, :4],
    )
    made["reshape_like"] = Case(
        (floats(4, 6), floats(2, 3, 9), floats(1, 4)),
        lambda mb, x, a, b: mb.reshape_like(
            x=x, ref_tensors=(a, b), begins=(0, 1), ends=(2, 2), end_masks=(False, True)
        ),
        lambda x, *_: x.reshape(2, 3, 4),
    )
    made["range_1d"] = Case(
        (floats(5),),
        lambda mb, x: mb.add(x=x, y=mb.range_1d(start=np.float32(1), end=np.float32(11), step=np.float32(2))),
        lambda x: x + np.arange(1, 11, 2),
    )
    return made


def samplings() -> dict[str, Case]:
    made: dict[str, Case] = {}
    image = floats(2, 3, 5, 6)
    size = np.array([6, 5])
    grid = floats(2, 4, 3, 2, low=-1.4, high=1.4)
    for padding, align in (
        ("constant", True),
        ("constant", False),
        ("border", False),
        ("reflection", True),
        ("symmetric", False),
    ):
        pixels = lambda g, align=align: (g + 1) / 2 * (size - 1) if align else ((g + 1) * size - 1) / 2  # noqa: E731
        made[f"resample {padding} {align}"] = Case(
            (image, grid),
            lambda mb, x, g, padding=padding, align=align: mb.resample(
                x=x,
                coordinates=g,
                sampling_mode="bilinear",
                padding_mode=padding,
                padding_value=0.0,
                coordinates_mode="normalized_minus_one_to_one",
                align_corners=align,
            ),
            lambda x, g, padding=padding, pixels=pixels: ref.sample(x, pixels(g.astype(np.float64)), padding),
        )
    made["resample nearest unnormalized"] = Case(
        (image, floats(2, 4, 3, 2, low=-1, high=6)),
        lambda mb, x, g: mb.resample(
            x=x,
            coordinates=g,
            sampling_mode="nearest",
            padding_mode="border",
            padding_value=0.0,
            coordinates_mode="unnormalized",
            align_corners=True,
        ),
        lambda x, g: ref.sample(x, g, "border", nearest=True),
    )
    made["resample zero to one"] = Case(
        (image, floats(2, 4, 3, 2, low=0, high=1)),
        lambda mb, x, g: mb.resample(
            x=x,
            coordinates=g,
            sampling_mode="bilinear",
            padding_mode="constant",
            padding_value=0.0,
            coordinates_mode="normalized_zero_to_one",
            align_corners=True,
        ),
        lambda x, g: ref.sample(x, g * (size - 1), "constant"),
    )
    matrix = np.array([[0.8, 0.3, -0.2, -0.1, 0.9, 0.3]], np.float32)

    def turned(x: np.ndarray) -> np.ndarray:
        across, down = np.meshgrid(np.linspace(-1, 1, 7), np.linspace(-1, 1, 4))
        points = np.stack([across, down, np.ones_like(across)], -1) @ matrix.reshape(2, 3).T
        return ref.sample(x, np.broadcast_to((points + 1) / 2 * (size - 1), (2, 4, 7, 2)), "constant")

    made["affine"] = Case(
        (image,),
        lambda mb, x: mb.affine(
            x=x,
            transform_matrix=matrix,
            output_height=4,
            output_width=7,
            sampling_mode="bilinear",
            padding_mode="constant",
            padding_value=0.0,
            coordinates_mode="normalized_minus_one_to_one",
            align_corners=True,
        ),
        turned,
    )
    boxes = np.array([[0.5, 1, 3.25, 4], [1, -1, 6, 3], [3, 4, 1, 0.5]], np.float32)
    made["crop_resize boxes"] = Case(
        (image, boxes),
        lambda mb, x, b: mb.crop_resize(
            x=x,
            boxes=b,
            box_indices=np.array([0, 1, 1], np.int32),
            target_height=3,
            target_width=4,
            sampling_mode="ALIGN_CORNERS",
            pad_value=7.0,
        ),
        lambda x, b: ref.crop_resize(x, b, [0, 1, 1], (3, 4), 7.0),
    )
    made["crop_resize normalized centres"] = Case(
        (image, np.array([[0.5, 0.4, 0.3, 0.2]], np.float32)),
        lambda mb, x, b: mb.crop_resize(
            x=x,
            boxes=b,
            target_height=1,
            target_width=4,
            sampling_mode="ALIGN_CORNERS",
            normalized_coordinates=True,
            box_coordinate_mode="CENTER_SIZE_WIDTH_FIRST",
        ),
        lambda x, b: ref.crop_resize(x, np.array([[0.3 * 4, 0.35 * 5, 0.5 * 4, 0.65 * 5]]), [0], (1, 4), 0.0),
    )
    for mode, points in {
        "OFFSET_CORNERS": lambda n, m: (np.arange(m) + 0.5) * max(1, n - 1) / m,
        "UNALIGN_CORNERS": lambda n, m: (np.arange(m) + 0.5) * n / m - 0.5,
        "ALIGN_CORNERS": lambda n, m: np.linspace(0, n - 1, m),
        "DEFAULT": lambda n, m: np.arange(m) * n / m,
    }.items():
        made[f"resize {mode}"] = Case(
            (floats(1, 2, 5, 6),),
            lambda mb, x, mode=mode: mb.resize(
                x=x, shape=np.array([1, 2, 8, 4], np.int32), resized_dims=np.uint32(2), sampling_mode=mode
            ),
            lambda x, points=points: ref.sample(
                x, np.stack(np.meshgrid(points(6, 4).clip(0, 5), points(5, 8).clip(0, 4)), -1)[None], "border"
            ),
        )
    made["resize one axis"] = Case(
        (floats(2, 3, 6),),
        lambda mb, x: mb.resize(
            x=x, shape=np.array([4], np.int32), resized_dims=np.uint32(1), sampling_mode="ALIGN_CORNERS"
        ),
        lambda x: np.apply_along_axis(lambda row: np.interp(np.linspace(0, 5, 4), np.arange(6), row), 2, x),
    )
    made["resize nearest"] = Case(
        (floats(1, 2, 4, 6),),
        lambda mb, x: mb.resize(
            x=x, shape=np.array([8, 3], np.int32), resized_dims=np.uint32(2), interpolation_mode="NEAREST_NEIGHBOR"
        ),
        lambda x: x[:, :, np.arange(8) // 2][:, :, :, np.arange(3) * 2],
    )
    return made


def old_forms() -> dict[str, Case]:
    """Operators whose form of iOS 15 or 16 was replaced later."""
    image, rng = floats(2, 3, 5, 6), np.random.default_rng(2)
    corners = np.array([[1, 1, 3, 4], [0, 2, 4, 5]], np.float32).reshape(2, 1, 4, 1, 1)
    boxes = rng.uniform(0, 8, (2, 9, 4)).astype(np.float32) + np.array([0, 0, 2, 2], np.float32)
    scores = rng.permutation(2 * 9 * 3).reshape(2, 9, 3).astype(np.float32) / 54
    made = {
        "crop_resize roi": Case(
            (image, corners),
            lambda mb, x, r: mb.crop_resize(
                x=x, roi=r, target_height=2, target_width=3, sampling_mode="STRICT_ALIGN_CORNERS"
            ),
            lambda x, r: ref.crop_resize(x, np.repeat(r.reshape(2, 4), 2, 0), [0, 1, 0, 1], (2, 3), 0.0).reshape(
                2, 2, 3, 2, 3
            ),
        )
    }
    for by_class in (False, True):
        made[f"non_maximum_suppression {by_class}"] = Case(
            (boxes, scores),
            lambda mb, b, s, by_class=by_class: list(
                mb.non_maximum_suppression(
                    boxes=b,
                    scores=s,
                    iou_threshold=0.3,
                    score_threshold=0.2,
                    max_boxes=5,
                    per_class_suppression=by_class,
                )
            ),
            lambda b, s, by_class=by_class: ref.suppress(b, s, 0.3, 0.2, 5, by_class),
        )
    packed = np.packbits(np.array([1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1], np.uint8), bitorder="little")
    values = np.array([1.5, -2, 3, 0.5, 4, -1], np.float32)
    dense = np.zeros(12)
    dense[[0, 3, 4, 6, 10, 11]] = values
    made["constexpr_sparse_to_dense packed"] = Case(
        (floats(2, 4),),
        lambda mb, x: mb.linear(
            x=x,
            weight=mb.constexpr_sparse_to_dense(nonzero_data=values, mask=packed, shape=np.array([3, 4], np.uint32)),
        ),
        lambda x: x @ dense.reshape(3, 4).T,
    )
    return made


def of_ios18() -> dict[str, Case]:
    def narrow(values: Any, dtype: str) -> np.ndarray:
        from coremltools.converters.mil.mil.types.type_mapping import nptype_from_builtin, string_to_builtin

        return np.asarray(values).astype(nptype_from_builtin(string_to_builtin(dtype)))

    q, k, v = floats(2, 3, 4, 8), floats(2, 3, 5, 8), floats(2, 3, 5, 6)
    mask, added = np.arange(20).reshape(4, 5) % 3 != 1, floats(4, 5)
    there = np.array([[1, 0, 0, 1, 1, 0], [1, 0, 0, 0, 1, 1], [0, 0, 1, 0, 0, 1], [1, 1, 1, 1, 0, 0]])
    nonzero = np.array([3, -7, 5, 100, -2, 8, 1, 4, 6, -9, 2, 11], np.int8)
    scale = floats(4, 1, low=0.1, high=0.5)
    whole = np.zeros((4, 6))
    whole[there == 1] = nonzero
    indices, table = np.array([0, 1, 2, 3, 3, 2, 1, 0, 1, 2, 3, 0]), floats(1, 1, 4, 1)
    looked = np.zeros((4, 6))
    looked[there == 1] = table[0, 0, :, 0][indices]
    small = np.array([10, -20, 30, 40], np.int8).reshape(1, 1, 4, 1)

    def sparse(mb: Any, parts: Any) -> Any:
        return mb.constexpr_sparse_to_dense(mask=parts[0], nonzero_data=parts[1])

    return {
        **gru_of_ios18(),
        "scaled_dot_product_attention": Case(
            (q, k, v), lambda mb, q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v), ref.attention
        ),
        "scaled_dot_product_attention mask": Case(
            (q, k, v),
            lambda mb, q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=mask),
            lambda q, k, v: ref.attention(q, k, v, mask),
        ),
        "scaled_dot_product_attention added": Case(
            (q, k, v),
            lambda mb, q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=added),
            lambda q, k, v: ref.attention(q, k, v, added),
        ),
        "slice_update": Case(
            (floats(4, 6), floats(2, 3)),
            lambda mb, x, u: mb.slice_update(x=x, update=u, begin=[1, 0], end=[3, 6], stride=[1, 2]),
            lambda x, u: np.concatenate([x[:1], np.stack([u, x[1:3, 1::2]], -1).reshape(2, 6), x[3:]]),
        ),
        "constexpr_sparse_to_dense": Case(
            (floats(2, 6),),
            lambda mb, x: mb.linear(x=x, weight=sparse(mb, (narrow(there, "uint1"), floats_of(looked, there)))),
            lambda x: x @ looked.T,
        ),
        "constexpr_sparse_blockwise_shift_scale": Case(
            (floats(2, 6),),
            lambda mb, x: mb.linear(
                x=x,
                weight=sparse(
                    mb,
                    mb.constexpr_sparse_blockwise_shift_scale(
                        data_mask=narrow(there, "uint1"),
                        nonzero_data=nonzero,
                        scale=scale,
                        offset=narrow(np.full((4, 1), 2), "int8"),
                    ),
                ),
            ),
            lambda x: x @ ((whole - 2) * scale * there).T,
        ),
        "constexpr_lut_to_sparse": Case(
            (floats(2, 6),),
            lambda mb, x: mb.linear(
                x=x,
                weight=sparse(
                    mb,
                    mb.constexpr_lut_to_sparse(
                        indices_mask=narrow(there, "uint1"), indices_nonzero_data=narrow(indices, "uint2"), lut=table
                    ),
                ),
            ),
            lambda x: x @ looked.T,
        ),
        "constexpr_lut_to_dense of int8 entries": Case(
            (floats(2, 6),),
            lambda mb, x: mb.linear(
                x=x,
                weight=mb.constexpr_lut_to_dense(
                    indices=narrow(np.arange(24).reshape(4, 6) % 4, "uint2"),
                    lut=mb.constexpr_blockwise_shift_scale(data=small, scale=np.full((1, 1, 1, 1), 0.1, np.float32)),
                ),
            ),
            lambda x: x @ (np.array([1.0, -2, 3, 4])[np.arange(24).reshape(4, 6) % 4]).T,
        ),
    }


def floats_of(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return values[mask == 1].astype(np.float32)


OLD = old_forms()
NEW = of_ios18()
FURTHER: dict[str, Case] = {**recurrent(), **scatters(), **arrangements(), **samplings()}
