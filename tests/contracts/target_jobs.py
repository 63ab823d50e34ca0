"""What the contract suites do in child processes: each function takes and returns values of the house."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from seen_ranges import MinMax

from toolkit.core import discovery, signature
from toolkit.core.artifacts import Census, Inspection, KeptFloat, Range, Requirements, Signature
from toolkit.core.recipe import Recipe


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


def export(source: str, model: Path, form: str, out: Path) -> Signature:
    module = discovery.load("toolkit.sources", source)
    module.export(model, form, {}, out)
    return module.read(model, {})


def run_source(source: str, model: Path, data: Path, out: Path) -> None:
    session = discovery.load("toolkit.sources", source).open_session(model, {})
    _save([session.run(feeds) for feeds in samples(data, session.signature)], out)
    session.close()
    session.close()


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


def quantize(target: str, model: Path, recipe: Recipe, seen: dict[str, Range], out: Path) -> None:
    discovery.load("toolkit.targets", target).quantize(model, recipe, seen, out)


def inspect(target: str, model: Path) -> Inspection:
    return discovery.load("toolkit.targets", target).inspect(model)


def open_only(target: str, model: Path) -> None:
    discovery.load("toolkit.targets", target).open_session(model, 0).close()


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
