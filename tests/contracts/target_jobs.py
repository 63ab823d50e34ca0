"""What the contract suites do in child processes: each function takes and returns values of the house."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.core import discovery, signature
from toolkit.core.artifacts import Inspection, KeptFloat, Range, Requirements, Signature
from toolkit.core.recipe import Recipe
from toolkit.ranges.minmax import MinMax


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    signature: Signature
    requirements: Requirements


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    signature: Signature
    kept_float: tuple[KeptFloat, ...]
    inspection: Inspection
    requirements: Requirements


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


def build(
    target: str, model: Path, bound: Signature, source: Signature, recipe: Recipe, data: Path, out: Path
) -> Built:
    """Calibrate if the recipe needs it, then quantize and inspect."""
    module = discovery.load("toolkit.targets", target)
    observer = MinMax()
    if recipe.needs_data:
        feeds = (signature.bind(sample, bound) for sample in samples(data, source))
        module.calibrate(model, feeds, observer.see)
    made = module.quantize(model, recipe, observer.ranges(), out)
    return Built(
        signature=made.signature,
        kept_float=made.kept_float,
        inspection=module.inspect(out),
        requirements=module.requirements(out),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tapped:
    """Names of the tensors that `calibrate` and two taps show, and the SQNR of the build's against the float's.

    `built_outputs` are the tensors that the build's layers make, as its inspection names them.
    """

    calibrated: tuple[str, ...]
    float_names: tuple[str, ...]
    built_names: tuple[str, ...]
    built_outputs: tuple[str, ...]
    same_values: bool
    times: tuple[int, ...]
    sqnr_db: dict[str, float]


def tap(target: str, model: Path, bound: Signature, source: Signature, recipe: Recipe, data: Path, out: Path) -> Tapped:
    """Quantize with ranges of 24 samples, and tap the float artefact and the build over four of them."""
    module = discovery.load("toolkit.targets", target)
    feeds = [signature.bind(sample, bound) for sample in samples(data, source)][:24]
    observer, calibrated = MinMax(), _Kept()
    if recipe.needs_data:
        module.calibrate(model, feeds, observer.see)
        module.calibrate(model, feeds[:4], calibrated.see)
    module.quantize(model, recipe, observer.ranges(), out)
    floats, built = _Kept(), _Kept()
    module.tap(model, iter(feeds[:4]), floats.see)
    module.tap(out, iter(feeds[:4]), built.see)
    return Tapped(
        calibrated=tuple(calibrated.seen),
        float_names=tuple(floats.seen),
        built_names=tuple(built.seen),
        built_outputs=tuple(name for layer in module.inspect(out).layers for name in layer.outputs),
        same_values=all(np.array_equal(values, floats.seen[name]) for name, values in calibrated.seen.items()),
        times=tuple(sorted({len(values) for values in (*floats.seen.values(), *built.seen.values())})),
        sqnr_db={
            name: _sqnr_db(floats.seen[name], values) for name, values in built.seen.items() if name in floats.seen
        },
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
