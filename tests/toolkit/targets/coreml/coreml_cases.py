"""One entry per way an operator is used: how to build it in MIL, and what it must compute.

A case without a reference is held against coremltools' own value inference, which folds the same operator when its
inputs are constants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import coreml_references as ref
import numpy as np

RNG = np.random.default_rng(11)


@dataclass(frozen=True)
class Case:
    inputs: tuple[np.ndarray, ...]
    build: Callable[..., Any]
    """(mb, *variables) -> one variable or a list of them."""
    reference: Callable[..., Any] | None = None


def floats(*shape: int, low: float = -3.0, high: float = 3.0) -> np.ndarray:
    return RNG.uniform(low, high, shape).astype(np.float32)


def ints(*shape: int, low: int = -9, high: int = 10) -> np.ndarray:
    return RNG.integers(low, high, shape).astype(np.int32)


def convolutions() -> dict[str, Case]:
    made: dict[str, Case] = {}

    def conv(name: str, shape: tuple[int, ...], weight: tuple[int, ...], bias: bool = False, **settings: Any) -> None:
        w = floats(*weight)
        more = {"bias": floats(weight[0])} if bias else {}
        made[f"conv {name}"] = Case(
            (floats(*shape),),
            lambda mb, x: mb.conv(x=x, weight=w, **more, **settings),
            lambda x: ref.conv(x, w, **more, **settings),
        )

    conv("1d same", (2, 4, 11), (6, 4, 4), pad_type="same", strides=[2])
    conv("2d valid bias", (1, 3, 9, 8), (5, 3, 3, 2), bias=True, pad_type="valid", strides=[2, 1])
    conv("2d same even kernel", (1, 3, 7, 9), (4, 3, 4, 2), pad_type="same", strides=[2, 3])
    conv("2d same_lower", (1, 3, 7, 9), (4, 3, 4, 2), pad_type="same_lower", strides=[2, 3])
    conv("2d custom uneven", (2, 2, 8, 7), (4, 2, 3, 3), pad_type="custom", pad=[0, 2, 1, 0])
    conv("2d dilated", (1, 2, 12, 11), (3, 2, 3, 3), pad_type="same", dilations=[2, 3])
    conv("depthwise", (1, 6, 8, 8), (6, 1, 3, 3), groups=6, pad_type="same", strides=[2, 2])
    conv("grouped", (1, 6, 6, 6), (4, 3, 3, 3), groups=2, pad_type="custom", pad=[1, 1, 1, 1])
    conv("3d", (1, 2, 5, 6, 4), (3, 2, 2, 3, 2), pad_type="same", strides=[1, 2, 2])

    def transposed(name: str, shape: Any, weight: Any, before: Any, out: Any, **settings: Any) -> None:
        w, groups = floats(*weight), settings.get("groups", 1)
        bias = floats(weight[1] * groups)
        axes = len(weight) - 2
        made[f"conv_transpose {name}"] = Case(
            (floats(*shape),),
            lambda mb, x: mb.conv_transpose(x=x, weight=w, bias=bias, **settings),
            lambda x: ref.conv_transpose(
                x, w, settings.get("strides", [1] * axes), before, out, settings.get("dilations"), groups, bias
            ),
        )

    transposed("valid", (1, 3, 4, 5), (3, 2, 3, 2), (0, 0), (9, 10), strides=[2, 2])
    transposed("valid gap", (1, 3, 4, 5), (3, 2, 2, 2), (0, 0), (11, 14), strides=[3, 3])
    transposed("same", (1, 3, 4, 5), (3, 2, 3, 4), (0, 1), (8, 10), strides=[2, 2], pad_type="same")
    transposed("same small kernel", (1, 2, 4, 4), (2, 2, 1, 2), (0, 0), (8, 12), strides=[2, 3], pad_type="same")
    transposed(
        "custom", (1, 3, 4, 5), (3, 2, 3, 3), (1, 0), (7, 9), strides=[2, 2], pad_type="custom", pad=[1, 1, 0, 2]
    )
    transposed(
        "output shape",
        (1, 3, 4, 4),
        (3, 2, 3, 3),
        (1, 1),
        (8, 8),
        strides=[2, 2],
        pad_type="custom",
        pad=[1, 1, 1, 1],
        output_shape=[1, 2, 8, 8],
    )
    transposed("grouped 1d", (1, 4, 6), (4, 3, 3), (0,), (13,), strides=[2], groups=2)
    transposed("dilated", (1, 2, 5, 5), (2, 3, 3, 3), (0, 0), (9, 9), dilations=[2, 2])
    return made


def poolings() -> dict[str, Case]:
    made: dict[str, Case] = {}

    def pool(
        name: str, kind: str, shape: Any, kernel: Any, strides: Any, exclude: bool = False, **settings: Any
    ) -> None:
        more = {"exclude_padding_from_average": exclude} if kind == "avg" else {}
        made[f"{kind}_pool {name}"] = Case(
            (floats(*shape),),
            lambda mb, x: getattr(mb, f"{kind}_pool")(x=x, kernel_sizes=kernel, strides=strides, **more, **settings),
            lambda x: ref.pool(x, kind, kernel, strides, exclude=exclude, **settings),
        )

    for kind in ("max", "avg", "l2"):
        pool("valid", kind, (1, 3, 9, 8), [3, 2], [2, 2], pad_type="valid")
        pool("same", kind, (2, 2, 7, 9), [3, 2], [2, 3], pad_type="same")
        pool("same_lower", kind, (1, 2, 7, 9), [4, 2], [2, 3], pad_type="same_lower")
        pool("custom", kind, (1, 2, 7, 8), [3, 3], [2, 2], pad_type="custom", pad=[1, 0, 2, 1])
        pool("1d", kind, (1, 2, 10), [3], [2], pad_type="valid")
    for kind in ("max", "avg"):
        pool("ceil", kind, (1, 2, 8, 10), [3, 3], [2, 3], pad_type="valid", ceil_mode=True)
        pool("ceil padded", kind, (1, 2, 8, 7), [3, 4], [2, 3], pad_type="custom", pad=[1, 1, 2, 2], ceil_mode=True)
        pool("3d", kind, (1, 2, 5, 6, 4), [2, 3, 2], [2, 2, 2], pad_type="same")
    pool("exclude same", "avg", (1, 2, 7, 9), [3, 2], [2, 3], exclude=True, pad_type="same")
    pool(
        "exclude ceil padded",
        "avg",
        (1, 2, 8, 7),
        [3, 4],
        [2, 3],
        True,
        pad_type="custom",
        pad=[1, 1, 2, 2],
        ceil_mode=True,
    )
    return made


def normalizations() -> dict[str, Case]:
    gamma, beta, mean = floats(4), floats(4), floats(4)
    variance = floats(4, low=0.2, high=2)
    inner = floats(3, 5)
    return {
        "batch_norm": Case(
            (floats(2, 4, 3, 5),),
            lambda mb, x: mb.batch_norm(x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=1e-3),
            lambda x: ref.batch_norm(x, mean, variance, gamma, beta, 1e-3),
        ),
        "batch_norm plain 1d": Case(
            (floats(2, 4, 6),),
            lambda mb, x: mb.batch_norm(x=x, mean=mean, variance=variance),
            lambda x: ref.batch_norm(x, mean, variance, np.ones(4), np.zeros(4), 1e-5),
        ),
        "instance_norm": Case(
            (floats(2, 4, 3, 5),),
            lambda mb, x: mb.instance_norm(x=x, gamma=gamma, beta=beta, epsilon=1e-3),
            lambda x: ref.instance_norm(x, gamma, beta, 1e-3),
        ),
        "instance_norm plain": Case(
            (floats(1, 4, 9),),
            lambda mb, x: mb.instance_norm(x=x),
            lambda x: ref.instance_norm(x, np.ones(4), np.zeros(4), 1e-5),
        ),
        "layer_norm last": Case((floats(2, 3, 5),), lambda mb, x: mb.layer_norm(x=x, axes=[-1], epsilon=1e-3)),
        "layer_norm gain": Case(
            (floats(2, 3, 5),), lambda mb, x: mb.layer_norm(x=x, axes=[1, 2], gamma=inner, beta=inner + 1)
        ),
        "layer_norm inner axis": Case(
            (floats(2, 4, 5),), lambda mb, x: mb.layer_norm(x=x, axes=[1], gamma=gamma, beta=beta, epsilon=1e-4)
        ),
        "l2_norm": Case((floats(2, 3, 4, 5),), lambda mb, x: mb.l2_norm(x=x, epsilon=1e-3)),
        "l2_norm whole": Case((floats(3, 4, 5),), lambda mb, x: mb.l2_norm(x=x)),
        "local_response_norm": Case(
            (floats(2, 7, 3, 3),),
            lambda mb, x: mb.local_response_norm(x=x, size=3, alpha=0.5, beta=0.6, k=1.5),
            lambda x: ref.local_response_norm(x, 3, 0.5, 0.6, 1.5),
        ),
    }


def activations() -> dict[str, Case]:
    alpha, beta = floats(3, low=0.1, high=1), floats(3, low=0.5, high=2)
    numbers: dict[str, dict[str, Any]] = {
        "clamped_relu": {"alpha": 0.2, "beta": 1.5},
        "clip": {"alpha": -0.5, "beta": 1.5},
        "elu": {"alpha": 0.7},
        "leaky_relu": {"alpha": 0.2},
        "linear_activation": {"alpha": 2.0, "beta": -1.0},
        "relu": {},
        "relu6": {},
        "scaled_tanh": {"alpha": 1.7, "beta": 0.6},
        "sigmoid": {},
        "sigmoid_hard": {"alpha": 0.3, "beta": 0.4},
        "softplus": {},
        "softsign": {},
        "tanh": {},
        "threshold": {"alpha": 0.3},
        "thresholded_relu": {"alpha": 0.4},
    }
    made = {
        name: Case((floats(2, 3, 4) * 3,), lambda mb, x, name=name, more=more: getattr(mb, name)(x=x, **more))
        for name, more in numbers.items()
    }
    for mode in ("EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"):
        made[f"gelu {mode}"] = Case((floats(2, 9),), lambda mb, x, mode=mode: mb.gelu(x=x, mode=mode))
    made["silu"] = Case((floats(2, 9),), lambda mb, x: mb.silu(x=x), lambda x: x / (1 + np.exp(-x)))
    made["prelu"] = Case((floats(2, 3, 4, 4),), lambda mb, x: mb.prelu(x=x, alpha=alpha))
    made["softplus_parametric"] = Case(
        (floats(2, 3, 4, 4),), lambda mb, x: mb.softplus_parametric(x=x, alpha=alpha, beta=beta)
    )
    made["softmax"] = Case((floats(2, 3, 4) * 4,), lambda mb, x: mb.softmax(x=x, axis=1))
    made["hard swish"] = Case(
        (floats(3, 7) * 2,),
        lambda mb, x: mb.mul(x=x, y=mb.sigmoid_hard(x=x, alpha=1 / 6, beta=0.5)),
        lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    )
    return made


def elementwise() -> dict[str, Case]:
    made: dict[str, Case] = {}
    for name in (
        "abs",
        "atan",
        "ceil",
        "cos",
        "erf",
        "exp",
        "exp2",
        "floor",
        "identity",
        "round",
        "sign",
        "sin",
        "square",
    ):
        plain = (lambda x: x) if name == "identity" else (lambda x: x**2) if name == "square" else None
        made[name] = Case((floats(3, 5),), lambda mb, x, name=name: getattr(mb, name)(x=x), plain)
    for name in ("acos", "asin", "atanh", "tan"):
        made[name] = Case((floats(3, 5, low=-0.9, high=0.9),), lambda mb, x, name=name: getattr(mb, name)(x=x))
    for name in ("cosh", "sinh", "tanh"):
        made[f"{name} hyperbolic"] = Case((floats(3, 5),), lambda mb, x, name=name: getattr(mb, name)(x=x))
    for name in ("inverse", "log", "rsqrt", "sqrt"):
        made[name] = Case((floats(3, 5, low=0.05, high=4),), lambda mb, x, name=name: getattr(mb, name)(x=x))
    for name in ("inverse", "log", "rsqrt"):
        made[f"{name} epsilon"] = Case(
            (floats(3, 5, low=0, high=4),), lambda mb, x, name=name: getattr(mb, name)(x=x, epsilon=0.1)
        )
    for name in ("add", "sub", "mul", "maximum", "minimum", "floor_div", "mod", "real_div"):
        made[f"{name} floats"] = Case(
            (floats(2, 3, 4), floats(3, 1, low=0.5, high=2) * np.float32(-1)),
            lambda mb, x, y, name=name: getattr(mb, name)(x=x, y=y),
        )
    for name in ("add", "sub", "mul", "maximum", "minimum", "floor_div", "mod"):
        divisor = np.array([[-3], [2], [5]], np.int32)
        made[f"{name} integers"] = Case(
            (ints(2, 3, 4), divisor), lambda mb, x, y, name=name: getattr(mb, name)(x=x, y=y)
        )
    made["add scalar"] = Case((floats(2, 3),), lambda mb, x: mb.add(x=x, y=np.float32(1.5)))
    made["pow"] = Case((floats(2, 3, low=0.1, high=2), floats(3)), lambda mb, x, y: mb.pow(x=x, y=y))
    for name in ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal"):
        made[name] = Case(
            (ints(4, 5, low=0, high=3), ints(5, low=0, high=3)), lambda mb, x, y, name=name: getattr(mb, name)(x=x, y=y)
        )
    for name in ("logical_and", "logical_or", "logical_xor"):
        made[name] = Case(
            (ints(4, 5, low=0, high=2), ints(5, low=0, high=2)),
            lambda mb, x, y, name=name: getattr(mb, name)(x=mb.cast(x=x, dtype="bool"), y=mb.cast(x=y, dtype="bool")),
        )
    made["logical_not"] = Case((ints(4, 5, low=0, high=2),), lambda mb, x: mb.logical_not(x=mb.cast(x=x, dtype="bool")))
    made["select"] = Case(
        (floats(3, 4), floats(3, 4)), lambda mb, x, y: mb.select(cond=mb.greater(x=x, y=y), a=x, b=mb.mul(x=y, y=2.0))
    )
    made["cast to int32"] = Case((floats(3, 4) * 4,), lambda mb, x: mb.cast(x=x, dtype="int32"))
    made["cast to fp32"] = Case((ints(3, 4),), lambda mb, x: mb.cast(x=x, dtype="fp32"))
    return made


def reductions() -> dict[str, Case]:
    made: dict[str, Case] = {}
    names = ("l1_norm", "l2_norm", "max", "mean", "min", "prod", "sum", "sum_square", "log_sum", "log_sum_exp")
    for name in names:
        x = floats(2, 3, 4, low=0.2, high=2)
        made[f"reduce_{name}"] = Case(
            (x,), lambda mb, x, name=name: getattr(mb, f"reduce_{name}")(x=x, axes=[-1, 0], keep_dims=False)
        )
        made[f"reduce_{name} kept"] = Case(
            (x,), lambda mb, x, name=name: getattr(mb, f"reduce_{name}")(x=x, axes=[1], keep_dims=True)
        )
    made["reduce_sum all"] = Case((floats(2, 3),), lambda mb, x: mb.reduce_sum(x=x, keep_dims=True))
    made["reduce_max integers"] = Case((ints(2, 7),), lambda mb, x: mb.reduce_max(x=x, axes=[1], keep_dims=True))
    for name in ("argmax", "argmin"):
        made[f"reduce_{name}"] = Case((floats(3, 7),), lambda mb, x, n=name: getattr(mb, f"reduce_{n}")(x=x, axis=1))
        made[f"reduce_{name} kept"] = Case(
            (floats(3, 7),), lambda mb, x, n=name: getattr(mb, f"reduce_{n}")(x=x, axis=0, keep_dims=True)
        )
    for ascending in (False, True):
        made[f"topk {ascending}"] = Case(
            (floats(3, 8),), lambda mb, x, up=ascending: list(mb.topk(x=x, k=3, axis=1, ascending=up))
        )
        made[f"argsort {ascending}"] = Case((floats(4, 6),), lambda mb, x, up=ascending: mb.argsort(x=x, ascending=up))
    made["cumsum"] = Case((floats(3, 5),), lambda mb, x: mb.cumsum(x=x, axis=1))
    made["cumsum reverse"] = Case((floats(3, 5),), lambda mb, x: mb.cumsum(x=x, axis=0, reverse=True))
    return made


def shapes() -> dict[str, Case]:
    x = floats(2, 3, 4, 5)
    image = floats(1, 8, 4, 6)
    blocks = image.reshape(1, 8, 2, 2, 3, 2)
    return {
        "reshape": Case((x,), lambda mb, x: mb.reshape(x=x, shape=[4, -1, 3])),
        "transpose": Case((x,), lambda mb, x: mb.transpose(x=x, perm=[0, -1, 1, 2])),
        "expand_dims": Case((floats(2, 3, 4),), lambda mb, x: mb.expand_dims(x=x, axes=[0, -1])),
        "squeeze": Case((floats(1, 3, 1, 2),), lambda mb, x: mb.squeeze(x=x, axes=[0])),
        "squeeze all": Case((floats(1, 3, 1, 2),), lambda mb, x: mb.squeeze(x=x)),
        "flatten2d": Case((x,), lambda mb, x: mb.flatten2d(x=x, axis=2), lambda x: x.reshape(6, 20)),
        "concat": Case(
            (x, floats(2, 1, 4, 5)),
            lambda mb, x, y: mb.concat(values=[x, y], axis=-3),
            lambda x, y: np.concatenate([x, y], 1),
        ),
        "concat interleaved": Case(
            (x, x + 1),
            lambda mb, x, y: mb.concat(values=[x, y], axis=1, interleave=True),
            lambda x, y: np.stack([x, y], 2).reshape(2, 6, 4, 5),
        ),
        "stack": Case((x, x + 1), lambda mb, x, y: mb.stack(values=[x, y], axis=1), lambda x, y: np.stack([x, y], 1)),
        "split even": Case((x,), lambda mb, x: list(mb.split(x=x, num_splits=2, axis=2))),
        "split sizes": Case((x,), lambda mb, x: list(mb.split(x=x, split_sizes=[1, 3, 1], axis=-1))),
        "tile": Case((x,), lambda mb, x: mb.tile(x=x, reps=[1, 2, 1, 3])),
        "pad constant": Case((x,), lambda mb, x: mb.pad(x=x, pad=[1, 2, 0, 3], mode="constant", constant_val=1.5)),
        "pad reflect": Case((x,), lambda mb, x: mb.pad(x=x, pad=[1, 2, 0, 3], mode="reflect")),
        "pad replicate": Case((x,), lambda mb, x: mb.pad(x=x, pad=[1, 2, 0, 3], mode="replicate")),
        "reverse": Case((x,), lambda mb, x: mb.reverse(x=x, axes=[1, -1])),
        "depth_to_space": Case(
            (image,),
            lambda mb, x: mb.depth_to_space(x=x, block_size=2),
            lambda x: x.reshape(1, 2, 2, 2, 4, 6).transpose(0, 3, 4, 1, 5, 2).reshape(1, 2, 8, 12),
        ),
        "space_to_depth": Case(
            (image,),
            lambda mb, x: mb.space_to_depth(x=x, block_size=2),
            lambda x: blocks.transpose(0, 3, 5, 1, 2, 4).reshape(1, 32, 2, 3),
        ),
        "pixel_shuffle": Case(
            (image,),
            lambda mb, x: mb.pixel_shuffle(x=x, upscale_factor=2),
            lambda x: x.reshape(1, 2, 2, 2, 4, 6).transpose(0, 1, 4, 2, 5, 3).reshape(1, 2, 8, 12),
        ),
        "pixel_unshuffle": Case(
            (image,),
            lambda mb, x: mb.pixel_unshuffle(x=x, downscale_factor=np.uint32(2)),
            lambda x: blocks.transpose(0, 1, 3, 5, 2, 4).reshape(1, 32, 2, 3),
        ),
        "shape": Case(
            (x,), lambda mb, x: mb.add(x=mb.shape(x=mb.relu(x=x)), y=np.int32(0)), lambda x: np.array(x.shape)
        ),
        "fill": Case((x,), lambda mb, x: mb.add(x=x, y=mb.fill(shape=[4, 5], value=2.5)), lambda x: x + 2.5),
    }


def slices() -> dict[str, Case]:
    x = floats(4, 5, 6)
    return {
        "slice plain": Case((x,), lambda mb, x: mb.slice_by_index(x=x, begin=[1, 0, 2], end=[3, 5, 6])),
        "slice negative": Case((x,), lambda mb, x: mb.slice_by_index(x=x, begin=[-3, 0, -4], end=[-1, 5, -1])),
        "slice stride": Case(
            (x,), lambda mb, x: mb.slice_by_index(x=x, begin=[0, 1, 0], end=[4, 5, 6], stride=[2, 3, 1])
        ),
        "slice backwards": Case(
            (x,),
            lambda mb, x: mb.slice_by_index(
                x=x, begin=[3, 4, 5], end=[0, 0, 0], stride=[-1, -2, -1], end_mask=[True, False, True]
            ),
        ),
        "slice masks": Case(
            (x,),
            lambda mb, x: mb.slice_by_index(
                x=x, begin=[1, 2, 3], end=[2, 4, 5], begin_mask=[True, False, False], end_mask=[False, True, False]
            ),
        ),
        "slice squeezed": Case(
            (x,),
            lambda mb, x: mb.slice_by_index(x=x, begin=[1, -1, 0], end=[0, 0, 6], squeeze_mask=[True, True, False]),
        ),
        "slice_by_size": Case((x,), lambda mb, x: mb.slice_by_size(x=x, begin=[1, 2, 0], size=[2, -1, 3])),
    }


def gathers() -> dict[str, Case]:
    x = floats(4, 5, 6)
    rows = np.array([[1, 3], [0, 2]], np.int32)
    along = ints(4, 2, 6, low=0, high=5)
    places = np.array([[0, 1], [3, 4]], np.int32)
    batched = np.array([[0], [2], [1], [4]], np.int32)
    return {
        "gather": Case((x,), lambda mb, x: mb.gather(x=x, indices=rows, axis=1), lambda x: np.take(x, rows, 1)),
        "gather negative": Case(
            (x, np.array([-1, 0], np.int32)),
            lambda mb, x, i: mb.gather(x=x, indices=i, axis=-1),
            lambda x, i: np.take(x, i, 2),
        ),
        "gather scalar": Case((x,), lambda mb, x: mb.gather(x=x, indices=np.int32(2), axis=0), lambda x: x[2]),
        "gather batched": Case(
            (x,),
            lambda mb, x: mb.gather(x=x, indices=batched, axis=1, batch_dims=1),
            lambda x: np.stack([x[i][batched[i]] for i in range(4)]),
        ),
        "gather_along_axis": Case(
            (x,),
            lambda mb, x: mb.gather_along_axis(x=x, indices=along, axis=1),
            lambda x: np.take_along_axis(x, along, 1),
        ),
        "gather_nd": Case(
            (x,), lambda mb, x: mb.gather_nd(x=x, indices=places), lambda x: x[places[:, 0], places[:, 1]]
        ),
    }


def linears() -> dict[str, Case]:
    weight, bias = floats(4, 6), floats(4)
    return {
        "linear": Case((floats(3, 6),), lambda mb, x: mb.linear(x=x, weight=weight, bias=bias)),
        "linear rank 3": Case((floats(2, 3, 6),), lambda mb, x: mb.linear(x=x, weight=weight, bias=bias)),
        "linear no bias": Case((floats(2, 3, 6),), lambda mb, x: mb.linear(x=x, weight=weight)),
        "matmul": Case((floats(2, 3, 4), floats(4, 5)), lambda mb, x, y: mb.matmul(x=x, y=y)),
        "matmul transposed": Case(
            (floats(2, 4, 3), floats(2, 5, 4)), lambda mb, x, y: mb.matmul(x=x, y=y, transpose_x=True, transpose_y=True)
        ),
        "einsum": Case(
            (floats(2, 3, 4, 5), floats(2, 5, 4, 6)),
            lambda mb, x, y: mb.einsum(values=(x, y), equation="nchw,nwhu->nchu"),
            lambda x, y: np.einsum("nchw,nwhu->nchu", x, y),
        ),
    }


def resizes() -> dict[str, Case]:
    x = floats(2, 3, 5, 7)
    made: dict[str, Case] = {}
    for mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"):
        for high, wide in ((8, 14), (3, 4), (1, 9)):
            made[f"resize_bilinear {mode} {high}x{wide}"] = Case(
                (x,),
                lambda mb, x, m=mode, h=high, w=wide: mb.resize_bilinear(
                    x=x, target_size_height=h, target_size_width=w, sampling_mode=m
                ),
                lambda x, m=mode, h=high, w=wide: ref.sample(x, ref.points(m, 5, h), ref.points(m, 7, w)),
            )
    for high, wide in ((10, 21), (3, 4), (7, 7)):
        made[f"resize_nearest_neighbor {high}x{wide}"] = Case(
            (x,),
            lambda mb, x, h=high, w=wide: mb.resize_nearest_neighbor(x=x, target_size_height=h, target_size_width=w),
            lambda x, h=high, w=wide: x[..., np.arange(h) * 5 // h, :][..., np.arange(w) * 7 // w],
        )
    made["upsample_nearest_neighbor"] = Case(
        (x,),
        lambda mb, x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=2, scale_factor_width=3),
        lambda x: x.repeat(2, -2).repeat(3, -1),
    )
    made["upsample_nearest_neighbor rank 3"] = Case(
        (floats(3, 4, 4),),
        lambda mb, x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=1.5, scale_factor_width=1.0),
        lambda x: x[:, [0, 0, 1, 2, 2, 3]],
    )
    for align in (True, False):
        mode = "STRICT_ALIGN_CORNERS" if align else "UNALIGN_CORNERS"
        made[f"upsample_bilinear {align}"] = Case(
            (x,),
            lambda mb, x, a=align: mb.upsample_bilinear(
                x=x, scale_factor_height=2, scale_factor_width=3, align_corners=a
            ),
            lambda x, m=mode: ref.sample(x, ref.points(m, 5, 10), ref.points(m, 7, 21)),
        )
    return made


def quantizations() -> dict[str, Case]:
    scale, zero = np.array([0.1, 0.02, 0.3], np.float32), np.array([3, -5, 0], np.int8)
    table = floats(16)
    data = ints(6, 4, low=-127, high=128).astype(np.int8)
    made: dict[str, Case] = {}
    for dtype, shift in (("int8", np.int8(-4)), ("uint8", np.uint8(120))):
        made[f"quantize {dtype}"] = Case(
            (floats(2, 3, 4),),
            lambda mb, x, d=dtype, z=shift: mb.dequantize(
                input=mb.quantize(input=x, scale=np.float32(0.02), zero_point=z, output_dtype=d),
                scale=np.float32(0.02),
                zero_point=z,
            ),
            lambda x, d=dtype, z=shift: (
                np.float32(0.02)
                * (np.clip(np.round(x / np.float32(0.02)) + int(z), np.iinfo(d).min, np.iinfo(d).max) - int(z))
            ),
        )
    fit = (1, 3, 1)
    made["quantize per channel"] = Case(
        (floats(2, 3, 4),),
        lambda mb, x: mb.dequantize(
            input=mb.quantize(input=x, scale=scale, zero_point=zero, axis=1, output_dtype="int8"),
            scale=scale,
            zero_point=zero,
            axis=1,
        ),
        lambda x: (
            scale.reshape(fit)
            * (np.clip(np.round(x / scale.reshape(fit)) + zero.reshape(fit).astype(int), -128, 127) - zero.reshape(fit))
        ),
    )
    rows = np.arange(1, 7, dtype=np.float32) / 50
    made["constexpr_affine_dequantize"] = Case(
        (floats(2, 4),),
        lambda mb, x: mb.linear(
            x=x,
            weight=mb.constexpr_affine_dequantize(
                quantized_data=data, zero_point=np.full(6, 2, np.int8), scale=rows, axis=0
            ),
        ),
        lambda x: x @ (rows[:, None] * (data.astype(np.float32) - 2)).T,
    )
    made["constexpr_affine_dequantize scalar"] = Case(
        (floats(2, 4),),
        lambda mb, x: mb.linear(
            x=x,
            weight=mb.constexpr_affine_dequantize(
                quantized_data=data, zero_point=np.int8(2), scale=np.float32(0.03), axis=0
            ),
        ),
        lambda x: x @ (np.float32(0.03) * (data.astype(np.float32) - 2)).T,
    )
    indices = RNG.integers(0, 16, 24).astype(np.uint8)
    packed = (indices[0::2] | (indices[1::2] << 4)).astype(np.uint8)
    made["constexpr_lut_to_dense"] = Case(
        (floats(2, 4),),
        lambda mb, x: mb.linear(
            x=x, weight=mb.constexpr_lut_to_dense(indices=packed, lut=table, shape=np.array([6, 4], np.uint32))
        ),
        lambda x: x @ table[indices].reshape(6, 4).T,
    )
    half = floats(6, 4).astype(np.float16)
    made["constexpr_cast"] = Case(
        (floats(2, 4),),
        lambda mb, x: mb.linear(x=x, weight=mb.constexpr_cast(source_val=half, output_dtype="fp32")),
        lambda x: x @ half.astype(np.float32).T,
    )
    return made


def newer() -> dict[str, Case]:
    """What exists from iOS 18 on."""
    data = ints(4, 6, low=-127, high=128).astype(np.int8)
    blocks, channels = floats(4, 3, low=0.01, high=0.1), floats(4, 1, low=0.01, high=0.1)
    shift = ints(4, 3, low=-9, high=9).astype(np.int8)
    indices = ints(4, 6, low=0, high=4)
    tables, vectors = floats(2, 1, 4, 1), floats(1, 1, 4, 2)
    spread = np.repeat(blocks, 2, 1)

    def narrow(array: np.ndarray, word: str) -> np.ndarray:
        from coremltools.converters.mil.mil import types

        return array.astype(types.nptype_from_builtin(types.string_to_builtin(word)))

    def linear(name: str, **settings: Any) -> Callable[..., Any]:
        return lambda mb, x: mb.linear(x=x, weight=getattr(mb, name)(**settings))

    four = ints(4, 6, low=-8, high=8)
    return {
        "constexpr_blockwise_shift_scale channels": Case(
            (floats(2, 6),),
            linear("constexpr_blockwise_shift_scale", data=data, scale=channels),
            lambda x: x @ (data * channels).T,
        ),
        "constexpr_blockwise_shift_scale blocks": Case(
            (floats(2, 6),),
            linear("constexpr_blockwise_shift_scale", data=data, scale=blocks, offset=shift),
            lambda x: x @ ((data.astype(np.float32) - np.repeat(shift, 2, 1)) * spread).T,
        ),
        "constexpr_blockwise_shift_scale int4": Case(
            (floats(2, 6),),
            lambda mb, x: mb.linear(
                x=x, weight=mb.constexpr_blockwise_shift_scale(data=narrow(four, "int4"), scale=blocks)
            ),
            lambda x: x @ (four * spread).T,
        ),
        "constexpr_lut_to_dense groups": Case(
            (floats(2, 6),),
            lambda mb, x: mb.linear(
                x=x, weight=mb.constexpr_lut_to_dense(indices=narrow(indices, "uint2"), lut=tables)
            ),
            lambda x: x @ np.concatenate([tables[0, 0, :, 0][indices[:2]], tables[1, 0, :, 0][indices[2:]]]).T,
        ),
        "constexpr_lut_to_dense vectors": Case(
            (floats(2, 6),),
            lambda mb, x: mb.linear(
                x=x,
                weight=mb.constexpr_lut_to_dense(
                    indices=narrow(indices, "uint2"), lut=vectors, vector_axis=np.int32(0)
                ),
            ),
            lambda x: x @ np.moveaxis(vectors[0, 0][indices], -1, 1).reshape(8, 6).T,
        ),
    }


CASES: dict[str, Case] = {
    **convolutions(),
    **poolings(),
    **normalizations(),
    **activations(),
    **elementwise(),
    **reductions(),
    **shapes(),
    **slices(),
    **gathers(),
    **linears(),
    **resizes(),
    **quantizations(),
}
NEWER: dict[str, Case] = newer()
