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
    return distances("keras", folder / "net.keras", folder, 255.0)


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
