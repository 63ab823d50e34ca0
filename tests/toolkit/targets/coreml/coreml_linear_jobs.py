"""The linear layers of small programs, and programs whose biases are changed, in child processes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from coreml_program_jobs import save_program
from reweigh_jobs import Reweighed, reweigh

from toolkit.core.linear import LinearLayer, mean_taps
from toolkit.core.recipe import load_recipe
from toolkit.targets import coreml
from toolkit.targets.coreml.foreign import coremltools
from toolkit.targets.coreml.interpreter.program import read_package

CHANNELS = 16
"""Biases of this many elements lie in the weight file; the last layer's are in the program itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What became of a program whose biases were changed.

    ``names`` are the layers by build, ``mean_error`` how far each float layer's mean output is from what its weights
    and mean inputs say, ``moved`` the worst difference between what each output changed by and what was asked, by
    layer, and ``bytes_before`` and ``bytes_after`` the sizes of the weight file. ``reweighed`` is what became of other
    weights, by recipe.
    """

    names: dict[str, tuple[str, ...]]
    rounded: dict[str, float]
    mean_error: dict[str, float]
    moved: dict[str, float]
    untouched: float
    bytes_before: int
    bytes_after: int
    reweighed: dict[str, Reweighed]


def correct(folder: Path) -> Found:
    """Look at the layers of a program and its builds, and change the biases of a float16 form of it."""
    source = _program(folder / "float.mlpackage")
    samples = [{"x": np.random.default_rng(seed).normal(1, 1, (1, 4, 9, 8)).astype(np.float32)} for seed in range(4)]
    layers = {"float": coreml.linear_layers(source)}
    recipes = {name: load_recipe(name) for name in ("float16", "weight-int8", "weight-int4-block", "lut-4bit")}
    recipes["weight-int4"] = load_recipe("weight-int4")
    recipes["uneven"] = replace(recipes["weight-int8"], symmetric=False)
    recipes["tensor"] = replace(recipes["weight-int8"], granularity="tensor")
    recipes["one kept"] = replace(recipes["weight-int8"], keep_float=("kept",))
    for name, recipe in recipes.items():
        coreml.quantize(source, recipe, {}, folder / f"{name}.mlpackage")
        layers[name] = coreml.linear_layers(folder / f"{name}.mlpackage")
    before, after = folder / "float16.mlpackage", folder / "moved.mlpackage"
    shifts = {layer.name: np.linspace(-1, 1, len(layer.weight)) for layer in layers["float"] if layer.name != "kept"}
    coreml.correct_biases(before, shifts, after)
    biases = [{layer.name: layer.bias for layer in coreml.linear_layers(package)} for package in (before, after)]
    return Found(
        names={name: tuple(layer.name for layer in found) for name, found in layers.items()},
        rounded={
            name: max(_error(was.weight, now.weight) for was, now in zip(layers["float"], found, strict=True))
            for name, found in layers.items()
        },
        mean_error=_mean_errors(source, layers["float"], samples),
        moved={name: float(np.abs(biases[1][name] - biases[0][name] - shift).max()) for name, shift in shifts.items()},
        untouched=float(np.abs(biases[1]["kept"] - biases[0]["kept"]).max()),
        bytes_before=_weight_bytes(before),
        bytes_after=_weight_bytes(after),
        reweighed={
            name: reweigh(coreml, folder / f"{name}.mlpackage", folder / f"{name}-other.mlpackage") for name in recipes
        },
    )


def _mean_errors(model: Path, layers: Iterable[LinearLayer], samples: list[Any]) -> dict[str, float]:
    seen: dict[str, list[Any]] = {}
    coreml.tap(model, samples, lambda name, values: seen.setdefault(name, []).append(np.array(values)))
    outputs = {item.name: item.outputs[0].name for item in read_package(model)[1].operations}
    errors = {}
    for layer in layers:
        taps = np.mean([mean_taps(layer, values) for values in seen[layer.source]], axis=0)
        grouped = layer.weight.reshape(layer.groups, -1, taps.shape[1])
        said = np.einsum("gok,gk->go", grouped, taps).reshape(-1) + layer.bias
        made = np.concatenate(seen[outputs[layer.name]])
        axes = tuple(axis for axis in range(made.ndim) if axis != (1 if layer.window else made.ndim - 1))
        errors[layer.name] = _error(made.mean(axis=axes), said)
    return errors


def _error(wanted: Any, got: Any) -> float:
    return float(np.abs(wanted - got).max() / np.abs(wanted).max())


def _weight_bytes(package: Path) -> int:
    return next(package.rglob("weight.bin")).stat().st_size


def _program(out: Path) -> Path:
    """Convolutions of every padding, two that share their bias, one by channel, one in one dimension; a product."""
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb

    rng = np.random.default_rng(8)

    def weights(*shape: int) -> np.ndarray:
        return rng.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4, 9, 8))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        shared = mb.const(val=rng.normal(size=CHANNELS).astype(np.float32), name="shared")
        first = weights(CHANNELS, 4, 3, 3)
        first[3] = 0  # coremltools gives a channel of zeros a scale of 0
        made = mb.conv(x=x, weight=first, bias=shared, strides=[2, 1], pad_type="same", name="same")
        made = mb.conv(
            x=made, weight=weights(CHANNELS, CHANNELS, 2, 3), bias=shared, pad_type="same_lower", name="kept"
        )
        made = mb.relu(x=made, name="bent")
        made = mb.conv(
            x=made,
            weight=weights(CHANNELS, 1, 3, 3),
            bias=rng.normal(size=CHANNELS).astype(np.float32),
            groups=CHANNELS,
            dilations=[1, 2],
            pad_type="custom",
            pad=[1, 0, 2, 1],
            name="by_channel",
        )
        line = mb.reduce_mean(x=made, axes=[2], keep_dims=False, name="line")
        line = mb.conv(x=line, weight=weights(CHANNELS, CHANNELS, 3), bias=shared, name="one_axis")
        flat = mb.reduce_mean(x=line, axes=[2], keep_dims=False, name="flat")
        return mb.linear(x=flat, weight=weights(5, CHANNELS), bias=weights(5, 1).reshape(-1), name="y")

    save_program(ct, program, out)
    return out
