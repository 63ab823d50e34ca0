"""What the contract suites do in child processes: each function takes and returns values of the house."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from seen_ranges import MinMax

from toolkit.core import discovery, signature
from toolkit.core.artifacts import Census, Inspection, KeptFloat, Requirements, Signature
from toolkit.core.errors import PalmtopError
from toolkit.core.recipe import Recipe, load_recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    signature: Signature
    requirements: Requirements


@dataclass(frozen=True, slots=True, kw_only=True)
class Tapped:
    """Names of the tensors that a tap of the float artefact and one of a build show, and the SQNR between them.

    `built_outputs` are the tensors that the build's layers make, as its inspection names them.
    """

    float_names: tuple[str, ...]
    built_names: tuple[str, ...]
    built_outputs: tuple[str, ...]
    times: tuple[int, ...]
    sqnr_db: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    signature: Signature
    kept_float: tuple[KeptFloat, ...]
    census: Census | None
    inspection: Inspection
    requirements: Requirements
    tapped: Tapped | None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read every array of an `.npz`."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def samples(data: Path, source: Signature) -> list[dict[str, np.ndarray]]:
    """Split an `.npz` of stacked samples into feeds with a batch axis of 1."""
    arrays = read_arrays(data)
    names = [spec.name for spec in source.inputs]
    return [{name: arrays[name][index : index + 1] for name in names} for index in range(len(arrays[names[0]]))]


def convert(target: str, form: str, model: Path, source: Signature, out: Path) -> Converted:
    module = discovery.load("toolkit.targets", target)
    made = module.convert(form, model, source, out)
    return Converted(signature=made, requirements=module.requirements(out))


def run_artefact(target: str, model: Path, bound: Signature, source: Signature, data: Path, out: Path) -> None:
    """Run every sample through an artefact; in and out by the source's names."""
    session = discovery.load("toolkit.targets", target).open_session(model, 1)
    results = [signature.unbind(session.run(signature.bind(feeds, bound)), bound) for feeds in samples(data, source)]
    session.close()
    session.close()
    _save(results, out)


def run_with_bad_feeds(target: str, model: Path, bound: Signature) -> None:
    """Give every input one axis too many."""
    session = discovery.load("toolkit.targets", target).open_session(model, 0)
    session.run({spec.name: np.zeros((1, *spec.shape), spec.dtype) for spec in bound.inputs})


def build_all(
    target: str, model: Path, bound: Signature, source: Signature, recipes: tuple[Recipe, ...], data: Path, folder: Path
) -> dict[str, Built]:
    """Calibrate once, then quantize, inspect, run and tap every recipe that the target expresses, in one process."""
    module = discovery.load("toolkit.targets", target)
    wanted = [recipe for recipe in recipes if module.not_expressible(recipe) is None]
    every = samples(data, source)
    seen = MinMax()
    if any(recipe.needs_data for recipe in wanted):
        module.calibrate(model, (signature.bind(sample, bound) for sample in every), seen.see)
    floats = _Kept()
    few = [signature.bind(sample, bound) for sample in every[:4]]
    module.tap(model, iter(few), floats.see)
    builds = {}
    for recipe in wanted:
        out = folder / f"{recipe.name}{module.SUFFIX}"
        made = module.quantize(model, recipe, seen.ranges() if recipe.needs_data else {}, out)
        run_artefact(target, out, made.signature, source, data, folder / f"{recipe.name}.npz")
        facts = module.inspect(out)
        builds[recipe.name] = Built(
            signature=made.signature,
            kept_float=made.kept_float,
            census=made.census,
            inspection=facts,
            requirements=module.requirements(out),
            tapped=None if recipe.is_float else _tapped(module, out, few, facts, floats),
        )
    return builds


def _tapped(module: Any, out: Path, few: list[dict[str, np.ndarray]], facts: Inspection, floats: _Kept) -> Tapped:
    built = _Kept()
    module.tap(out, iter(few), built.see)
    return Tapped(
        float_names=tuple(floats.seen),
        built_names=tuple(built.seen),
        built_outputs=tuple(name for layer in facts.layers for name in layer.outputs),
        times=tuple(sorted({len(values) for values in (*floats.seen.values(), *built.seen.values())})),
        sqnr_db={
            name: _sqnr_db(floats.seen[name], values) for name, values in built.seen.items() if name in floats.seen
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What `calibrate` and `tap` show of one float artefact."""

    calibrated: tuple[str, ...]
    tapped: tuple[str, ...]
    same_values: bool


def shown(target: str, model: Path, bound: Signature, source: Signature, data: Path) -> Shown:
    module = discovery.load("toolkit.targets", target)
    feeds = [signature.bind(sample, bound) for sample in samples(data, source)[:4]]
    calibrated, tapped = _Kept(), _Kept()
    module.calibrate(model, iter(feeds), calibrated.see)
    module.tap(model, iter(feeds), tapped.see)
    return Shown(
        calibrated=tuple(calibrated.seen),
        tapped=tuple(tapped.seen),
        same_values=all(np.array_equal(values, tapped.seen[name]) for name, values in calibrated.seen.items()),
    )


class _Kept:
    """Every value of every tensor."""

    def __init__(self) -> None:
        self.seen: dict[str, list[np.ndarray]] = {}

    def see(self, name: str, values: np.ndarray) -> None:
        assert values.dtype.kind == "f", (name, values.dtype)
        self.seen.setdefault(name, []).append(np.array(values, np.float64))


def _sqnr_db(reference: list[np.ndarray], found: list[np.ndarray]) -> float:
    assert [values.shape for values in reference] == [values.shape for values in found]
    noise = sum(float(np.square(one - other).sum()) for one, other in zip(reference, found, strict=True))
    signal = sum(float(np.square(one).sum()) for one in reference)
    return float("inf") if noise == 0 else -float("inf") if signal == 0 else float(10 * np.log10(signal / noise))


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """A real model of one source format, in the forms that targets take, with data and what its source computes."""

    source: str
    forms: dict[str, Path]
    signature: Signature
    data: Path
    reference: Path


def make_specimens(
    sources: tuple[str, ...], keras_model: Path, shapes: Path, onnx_model: Path, noise: Path, folder: Path
) -> tuple[Specimen, ...]:
    """Make a model of each of these source formats, which TensorFlow, LiteRT and ONNX Runtime read."""
    saved_model, tflite = folder / "strokes", folder / "strokes.tflite"
    if {"saved_model", "tflite"} & set(sources):
        discovery.load("toolkit.sources", "keras").export(keras_model, "saved_model", {}, saved_model)
        _write_tflite(saved_model, tflite)
    models = {
        "keras": (keras_model, shapes),
        "onnx": (onnx_model, noise),
        "saved_model": (saved_model, shapes),
        "tflite": (tflite, shapes),
    }
    return tuple(specimen(source, *models[source], folder) for source in sources)


def _write_tflite(saved_model: Path, out: Path) -> None:
    import tensorflow as tf

    out.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(saved_model)).convert())


def make_pytorch_specimen(noise: Path, folder: Path) -> Specimen:
    """Export a small PyTorch network."""
    import torch

    torch.manual_seed(6)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, 2, 1),
        torch.nn.BatchNorm2d(16),
        torch.nn.ReLU6(),
        torch.nn.Conv2d(16, 32, 1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(32, 5),
    )
    path = folder / "net.pt2"
    torch.export.save(torch.export.export(layers.eval(), (torch.rand(1, 3, 16, 16),)), path)
    data = folder / "pytorch.npz"
    module = discovery.load("toolkit.sources", "pytorch")
    name = module.read(path, {}).inputs[0].name
    np.savez(data, **{name: read_arrays(noise)["x"]})
    return specimen("pytorch", path, data, folder)


def specimen(source: str, path: Path, data: Path, folder: Path) -> Specimen:
    """Export a model in every form of its format and run it in its own framework."""
    module = discovery.load("toolkit.sources", source)
    forms, reference = {form: folder / f"{source}-{form}" for form in module.FORMS}, folder / f"{source}-reference.npz"
    for form, out in forms.items():
        module.export(path, form, {}, out)
    session = module.open_session(path, {})
    _save([session.run(feeds) for feeds in samples(data, session.signature)], reference)
    session.close()
    session.close()
    return Specimen(source=source, forms=forms, signature=module.read(path, {}), data=data, reference=reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """What became of one specimen on one target. `refused` holds an error's class and text by what was tried."""

    converted: Converted
    builds: dict[str, Built]
    refused: dict[str, str]
    shown: Shown | None


def work_through(
    target: str, items: tuple[Specimen, ...], recipes: tuple[tuple[str, ...], ...], out: Path
) -> dict[str, Worked]:
    """Convert every specimen, build its recipes, run them, and try what has to be refused, all in one process."""
    pairs = zip(items, recipes, strict=True)
    return {item.source: _worked(target, item, names, out / item.source) for item, names in pairs}


def _worked(target: str, item: Specimen, names: tuple[str, ...], folder: Path) -> Worked:
    module = discovery.load("toolkit.targets", target)
    folder.mkdir(parents=True)
    model = folder / f"float{module.SUFFIX}"
    form = next(form for form in module.FORMS if form in item.forms)
    made = convert(target, form, item.forms[form], item.signature, model)
    run_artefact(target, model, made.signature, item.signature, item.data, folder / "float.npz")
    chosen = tuple(load_recipe(name) for name in names)
    known = (target, model, made.signature, item.signature)
    static = module.not_expressible(load_recipe("static-int8")) is None
    return Worked(
        converted=made,
        builds=build_all(*known, chosen, item.data, folder),
        refused=_refused(target, model, made.signature, chosen, folder),
        shown=shown(*known, item.data) if static else None,
    )


def _refused(target: str, model: Path, bound: Signature, recipes: tuple[Recipe, ...], folder: Path) -> dict[str, str]:
    module = discovery.load("toolkit.targets", target)
    broken = truncated(model, folder / f"broken{model.suffix}")
    out = folder / f"refused{module.SUFFIX}"
    tried: dict[str, Callable[[], object]] = {
        "feeds": lambda: run_with_bad_feeds(target, model, bound),
        "open truncated": lambda: module.open_session(broken, 0).close(),
        "inspect truncated": lambda: module.inspect(broken),
        "static without ranges": lambda: module.quantize(model, load_recipe("static-int8"), {}, out),
    }
    for recipe in recipes:
        if module.not_expressible(recipe) is not None:
            tried[recipe.name] = lambda recipe=recipe: module.quantize(model, recipe, {}, out)
    return {what: _error_of(call) for what, call in tried.items()}


def _error_of(call: Callable[[], object]) -> str:
    try:
        call()
    except PalmtopError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def truncated(model: Path, copy: Path) -> Path:
    """Copy an artefact with every file cut to 60 %."""
    files = [model] if model.is_file() else [path for path in model.rglob("*") if path.is_file()]
    for file in files:
        to = copy if model.is_file() else copy / file.relative_to(model)
        to.parent.mkdir(parents=True, exist_ok=True)
        raw = file.read_bytes()
        to.write_bytes(raw[: len(raw) * 6 // 10])
    return copy


def loaded_libraries(module: str) -> list[str]:
    """Import a module and say which heavy libraries came with it."""
    import importlib
    import sys

    importlib.import_module(module)
    heavy = {"tensorflow", "keras", "torch", "onnx", "onnxruntime", "coremltools", "ai_edge_litert", "litert_quantizer"}
    return sorted(heavy & set(sys.modules))


def _save(results: list[dict[str, np.ndarray]], out: Path) -> None:
    stacked = {name: np.concatenate([np.atleast_1d(result[name]) for result in results]) for name in results[0]}
    np.savez(out, **stacked)
