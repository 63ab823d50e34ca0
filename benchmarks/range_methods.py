"""Top-1 of one model by range method and target: the same statistics, five ways to choose ranges from them.

    python benchmarks/range_methods.py MODEL CALIBRATION.npz LABELLED.npz [TARGET ...]

Each target has a process of its own, in which the float artefact is made, calibrated once and quantized by each method.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

TARGETS = ("tflite", "onnx", "coreml")


def child(target: str, model: Path, calibration: str, labelled: str) -> None:
    """Be one target: print the top-1 of its float artefact and of a build by each method."""
    from toolkit.core import discovery
    from toolkit.core.artifacts import Preprocess
    from toolkit.core.events import silent
    from toolkit.core.recipe import load_recipe
    from toolkit.datasets import npz
    from toolkit.stages import calibrating, importer, statistics, work
    from toolkit.stages.calibrator import _Want, ranges_of
    from toolkit.stages.order import Build, source_of, target_of

    source = importer.recognise(model)
    signature = work.read(source, model, {})
    module = target_of(target)
    form = next(form for form in module.FORMS if form in source_of(source).FORMS)
    scores: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        work.export(source, model, form, {}, folder / form)
        base = folder / f"float{module.SUFFIX}"
        made = work.convert(target, form, folder / form, signature, base)
        held_out = npz.refer(labelled, signature, Preprocess(), None)
        scores["float32"] = top1(module, base, made.signature, npz.stream(held_out, signature))
        job = calibrating.CalibrationJob(
            target=target,
            model=base,
            artefact=made.signature,
            source=signature,
            data=npz.refer(calibration, signature, Preprocess(), None),
            out=folder / "statistics.npz",
        )
        calibrating.calibrate(job, silent)
        seen = statistics.load(job.out)
        for method in discovery.names("toolkit.ranges"):
            recipe = dataclasses.replace(load_recipe("static-int8"), range_method=method)
            grid = _Want.of(Build(target=target, recipe=recipe, form=form)).grid
            ranges = ranges_of(discovery.load("toolkit.ranges", method), seen, grid)
            out = folder / f"{method}{module.SUFFIX}"
            module.quantize(base, recipe, ranges, out)
            scores[method] = top1(module, out, made.signature, npz.stream(held_out, signature))
    print(json.dumps(scores))


def top1(module, artefact: Path, signature, samples) -> float:
    """Return the share of samples whose label is the largest of the model's scores."""
    from toolkit.core.signature import bind

    session = module.open_session(artefact, 1)
    right = [
        int(np.argmax(next(iter(session.run(bind(sample.feeds, signature)).values())))) == int(sample.label)
        for sample in samples
    ]
    session.close()
    return float(np.mean(right))


def main() -> None:
    if sys.argv[1] == "--child":
        child(sys.argv[2], Path(sys.argv[3]), *sys.argv[4:6])
        return
    model, calibration, labelled, *targets = sys.argv[1:]
    table = {}
    for target in targets or TARGETS:
        argv = [sys.executable, __file__, "--child", target, model, calibration, labelled]
        quiet = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        run = subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=quiet)
        table[target] = json.loads(run.stdout.splitlines()[-1])
    print(f"| ranges by | {' | '.join(table)} |")
    print("|---|" + "---|" * len(table))
    for method in next(iter(table.values())):
        print(f"| {method} | {' | '.join(f'{scores[method]:.2%}' for scores in table.values())} |")


if __name__ == "__main__":
    main()
