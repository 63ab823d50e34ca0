"""Convert ONNX models to Core ML and hold the programs, executed on the host, against ONNX Runtime on the source.

    python benchmarks/coreml_models.py [--samples N] MODEL.onnx[@INPUT=1,3,48,320][+SAMPLES.npz] ...

Prints one row a model: opset, nodes after simplification, seconds to convert, and the signal-to-noise ratio of the
worst output over all samples together: of the float32 program, of the float16 one executed in float32, and of the same
with every tensor rounded as a phone does. Inputs are random, or slices of the arrays (by input name) of an ``.npz``.
A model that is refused is printed with the reason. Claim (docs/coreml_operators.md): 60 dB and 40 dB.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from toolkit.core.artifacts import Signature  # noqa: E402
from toolkit.core.errors import PalmtopError  # noqa: E402
from toolkit.core.probe import probe_feeds, relative_error  # noqa: E402
from toolkit.core.recipe import load_recipe  # noqa: E402
from toolkit.core.signature import bind, unbind  # noqa: E402
from toolkit.sources import onnx as source  # noqa: E402
from toolkit.targets import coreml  # noqa: E402
from toolkit.targets.coreml.session import ROUNDING  # noqa: E402


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("models", nargs="+", metavar="MODEL.onnx[@INPUT=SIZES][+NPZ]")
    chosen = parser.parse_args(words)
    head = [
        "| model | opset | nodes | convert s | float32 dB | float16 dB | float16 dB, rounded |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(head), flush=True)
    for words_of_one in chosen.models:
        given, _, data = words_of_one.partition("+")
        name, *sizes = given.split("@")
        shapes = {key: tuple(map(int, value.split(","))) for key, _, value in (item.partition("=") for item in sizes)}
        with tempfile.TemporaryDirectory() as folder:
            try:
                cells = _row(Path(name), shapes, Path(folder), (data, chosen.samples))
            except PalmtopError as error:
                cells = ["", "", "", f"refused: {error.message}", "", ""]
        print(f"| {Path(name).name} | {' | '.join(cells)} |", flush=True)


def _row(model: Path, shapes: dict[str, tuple[int, ...]], folder: Path, data: tuple[str, int]) -> list[str]:
    import onnx

    opset = onnx.load(model, load_external_data=False).opset_import[0].version
    signature, form = source.read(model, shapes), folder / "form.onnx"
    source.export(model, "onnx", shapes, form)
    begun = time.perf_counter()
    coreml.convert("onnx", form, signature, folder / "float.mlpackage")
    seconds = time.perf_counter() - begun
    coreml.quantize(folder / "float.mlpackage", load_recipe("float16"), {}, folder / "half.mlpackage")
    feeds = _feeds(signature, *data)
    reference = source.open_session(model, shapes)
    wanted = [reference.run(item) for item in feeds]
    nodes = len(onnx.load(form).graph.node)
    decibels = []
    for package, rounding in (("float.mlpackage", ""), ("half.mlpackage", ""), ("half.mlpackage", "round")):
        os.environ[ROUNDING] = rounding
        decibels.append(_decibels(coreml.open_session(folder / package, 0), feeds, wanted))
    return [str(opset), str(nodes), f"{seconds:.1f}", *decibels]


def _feeds(signature: Signature, data: str, samples: int) -> list[dict[str, Any]]:
    if not data:
        return [probe_feeds(signature, seed) for seed in range(10, 10 + samples)]
    with np.load(data) as arrays:
        return [
            {spec.name: arrays[spec.name][at : at + 1].astype(spec.dtype) for spec in signature.inputs}
            for at in range(samples)
        ]


def _decibels(session: Any, feeds: list[Any], wanted: list[Any]) -> str:
    got = [unbind(session.run(bind(given, session.signature)), session.signature) for given in feeds]
    _, worst = relative_error(_joined(wanted), _joined(got))
    return "bit-identical" if worst == 0 else f"{-20 * math.log10(worst):.0f}"


def _joined(answers: list[Any]) -> dict[str, Any]:
    return {name: np.stack([answer[name] for answer in answers]) for name in answers[0]}


if __name__ == "__main__":
    main(sys.argv[1:])
