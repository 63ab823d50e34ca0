"""Known architectures and PyTorch nets, taken the way palmtop takes them and held against their own framework."""

from __future__ import annotations

import importlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.recipe import load_recipe
from toolkit.core.signature import bind, unbind
from toolkit.targets import coreml

HERE = Path(__file__).parent
RECIPES = ("float32", "float16")


def application(name: str, side: int, folder: Path) -> dict[str, float]:
    """A ``keras.applications`` architecture with random weights, its normalizations fitted and then shaken."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    keras.utils.set_random_seed(1)
    net = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=50)
    rng = np.random.default_rng(2)
    normalizations = [layer for layer in net.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in normalizations:
        layer.momentum = 0.0
    net(rng.uniform(0, 255, (4, side, side, 3)).astype(np.float32), training=True)
    for layer in normalizations:
        shaken = [
            rng.uniform(0.7, 1.3, part.shape) * part + rng.normal(0, 0.05, part.shape) for part in layer.get_weights()
        ]
        layer.set_weights([*shaken[:-1], np.maximum(shaken[-1], 1e-3)])
    net.save(folder / "net.keras")
    return {
        **distances("keras", folder / "net.keras", folder, 255.0),
        "source": _in_half(net, (1, side, side, 3), 255.0),
    }


def _in_half(net: Any, shape: tuple[int, ...], scale: float) -> float:
    """Return dB between a Keras net and itself with its weights rounded to half precision, normalizations folded.

    Folded as a converter does: ``w g / sqrt(v + e)`` and ``b - m g / sqrt(v + e)`` are rounded, not their parts.
    """
    import keras

    rng = np.random.default_rng(3)
    samples = [rng.uniform(0, scale, shape).astype(np.float32) for _ in range(2)]
    wanted = [np.asarray(net(sample, training=False), np.float64) for sample in samples]
    folded = set()
    for layer in net.layers[::-1]:  # a normalization comes before what it is folded into
        weights = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = (part.astype(np.float64) for part in weights)
            before = next(iter(node.operation for node in layer._inbound_nodes[0].parent_nodes))
            factor = gamma / np.sqrt(variance + layer.epsilon)
            folded.add(before.name)
            (kernel,) = before.get_weights()
            spread = factor.reshape(-1, 1) if isinstance(before, keras.layers.DepthwiseConv2D) else factor
            before.set_weights([np.float32(np.float16(kernel * spread))])
            bias = np.float32(np.float16(beta - mean * factor))
            ones = np.ones_like(bias)
            layer.set_weights([ones, bias, 0 * ones, (1 - layer.epsilon) * ones])
        elif weights and layer.name not in folded:
            layer.set_weights([np.float32(np.float16(part)) for part in weights])
    found = [np.asarray(net(sample, training=False), np.float64) for sample in samples]
    noise = sum(float(np.sum((one - other) ** 2)) for one, other in zip(wanted, found, strict=True))
    return float(10 * np.log10(sum(float(np.sum(one**2)) for one in wanted) / noise))


def torch_net(name: str, folder: Path) -> dict[str, float]:
    return distances("pytorch", Path(f"{HERE / 'coreml_torch_nets.py'}:{name}"), folder, 1.0)


def distances(format_name: str, model: Path, folder: Path, scale: float) -> dict[str, float]:
    """Return dB between source and program over two samples, by recipe: the worst of the outputs."""
    source = importlib.import_module(f"toolkit.sources.{format_name}")
    form = source.FORMS[0]
    signature, made = source.read(model, {}), folder / f"form.{form}"
    source.export(model, form, {}, made)
    plain = folder / "plain.mlpackage"
    bound = coreml.convert(form, made, signature, plain)
    rng, reference = np.random.default_rng(3), source.open_session(model, {})
    samples = [{spec.name: _values(rng, spec, scale) for spec in signature.inputs} for _ in range(2)]
    wanted = [reference.run(sample) for sample in samples]
    found = {}
    for recipe in RECIPES:
        path = folder / f"{recipe}.mlpackage"
        coreml.quantize(plain, load_recipe(recipe), {}, path)
        session = coreml.open_session(path, 1)
        got = [unbind(session.run(bind(sample, bound)), bound) for sample in samples]
        found[recipe] = min(_db(wanted, got, spec.name) for spec in signature.outputs)
    return found


def _values(rng: np.random.Generator, spec: Any, scale: float) -> np.ndarray:
    if spec.dtype.startswith("float"):
        return (rng.random(spec.shape) * scale).astype(spec.dtype)
    return rng.integers(0, 40, spec.shape).astype(spec.dtype)


def _db(wanted: list[Any], got: list[Any], name: str) -> float:
    signal = sum(float((item[name].astype(np.float64) ** 2).sum()) for item in wanted)
    noise = sum(float(((a[name].astype(np.float64) - b[name]) ** 2).sum()) for a, b in zip(wanted, got, strict=True))
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)
