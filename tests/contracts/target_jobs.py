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
