"""What accuracy care and the range methods bring: each recipe with care off, "auto" and all of it, against float.

    python benchmarks/care.py MODEL DATA [--targets onnx,tflite] [--calibrate 24] [--test 60] [--methods minmax,mse]

MODEL has one input and one output; DATA is an ``.npz`` with an array of samples for the input: the first are calibrated
on, others than those are tested on. Recipes are static-int8 with each range method, weight-int8, weight-int4, and
static-int8 with one scale a tensor. Each cell is the SQNR of the output, over all test samples together, and the share
of samples whose largest output is the float build's; what care kept of all its steps is in the last column. Nothing is
taken from the user's cache.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np

from toolkit import pipeline
from toolkit.core import discovery, signature
from toolkit.core.manifest import BuildEntry, Manifest
from toolkit.core.metrics import ErrorMeter
from toolkit.core.store import Store
from toolkit.core.tools import system_tools
from toolkit.stages import care
from toolkit.stages.requests import QuantizeRequest

SETTINGS = {
    "off": "bias_correction = false\nequalize = false\nadaptive_rounding = false\n",
    "auto": "",
    "rounded": "adaptive_rounding = true\n",
}
"""Nothing, what a recipe does that says nothing, and weights rounded by their inputs where that is left out, too."""
STATIC = 'weight_bits = 8\nactivation_bits = 8\nactivation_mode = "static"\n'
WEIGHTS = 'weight_bits = 8\nactivation_bits = 32\nactivation_mode = "none"\n'
FLOAT = "float32"


def recipes_of(methods: list[str]) -> dict[str, str]:
    """Return the text of each recipe but for what it says of care."""
    found = {f"static-int8-{name}": f'{STATIC}granularity = "channel"\nrange_method = "{name}"\n' for name in methods}
    found["weight-int8"] = f'{WEIGHTS}granularity = "channel"\n'
    found["weight-int4"] = f'{WEIGHTS.replace("weight_bits = 8", "weight_bits = 4")}granularity = "channel"\n'
    return found | {"static-int8-tensor": f'{STATIC}granularity = "tensor"\n'}


def build(options: argparse.Namespace, recipes: dict[str, str], samples: np.ndarray, folder: Path) -> Manifest:
    """Make every build, with a cache of its own."""
    names = [FLOAT]
    for name, text in recipes.items():
        for word, setting in SETTINGS.items():
            path = folder / f"{name}-{word}.toml"
            path.write_text(f'summary = "{name}"\n{text}{setting}')
            names.append(str(path))
    source = pipeline.inspect(options.model, system_tools()).signature
    np.savez(folder / "calibration.npz", **{source.inputs[0].name: samples})
    request = QuantizeRequest(
        model=options.model,
        out=folder / "builds",
        data=str(folder / "calibration.npz"),
        targets=tuple(options.targets.split(",")),
        recipes=tuple(names),
        jobs=1,
    )
    return pipeline.quantize(request, dataclasses.replace(system_tools(), store=Store(folder / "cache")))


def answers(item: BuildEntry, made: Manifest, folder: Path, samples: np.ndarray) -> np.ndarray:
    """Return a build's output for every test sample, a row each."""
    name = made.source.signature.inputs[0].name
    rows = []
    with closing(discovery.load("toolkit.targets", item.target).open_session(folder / item.path, 0)) as session:
        for sample in samples:
            outputs = session.run(signature.bind({name: sample[None]}, item.signature))
            rows.append(np.concatenate([values.reshape(-1) for values in outputs.values()]))
    return np.stack(rows)


def table(target: str, made: Manifest, folder: Path, samples: np.ndarray) -> None:
    """Print one target's builds."""
    builds = {item.recipe: item for item in made.builds if item.target == target}
    floats = answers(builds[FLOAT], made, folder, samples)
    print(f"\n{target}, {len(samples)} test samples\n")
    print("| recipe | care off | care auto | weights rounded | what care did |\n|---|---|---|---|---|")
    for recipe in dict.fromkeys(name.rsplit("-", 1)[0] for name in builds if name != FLOAT):
        cells = []
        for word in SETTINGS:
            item = builds.get(f"{recipe}-{word}")
            cells.append("–" if item is None else cell(floats, answers(item, made, folder, samples)))
        cared = builds.get(f"{recipe}-rounded")
        said = "" if cared is None else " ".join(care.words(step) for step in cared.care)
        print(f"| {recipe} | {' | '.join(cells)} | {said} |", flush=True)


def cell(floats: np.ndarray, found: np.ndarray) -> str:
    meter = ErrorMeter(output="")
    meter.add(floats, found)
    same = np.mean(floats.argmax(axis=1) == found.argmax(axis=1))
    return f"{meter.result().sqnr_db:.1f} dB, {same:.0%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--targets", default="onnx")
    parser.add_argument("--calibrate", type=int, default=24)
    parser.add_argument("--test", type=int, default=60)
    parser.add_argument("--methods", default=",".join(discovery.names("toolkit.ranges")))
    options = parser.parse_args()
    with np.load(options.data) as arrays:
        whole = arrays[arrays.files[0]][: options.calibrate + options.test]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipes = recipes_of(options.methods.split(","))
        made = build(options, recipes, whole[: options.calibrate], folder)
        for target in options.targets.split(","):
            table(target, made, folder / "builds", whole[options.calibrate :])
        for one in made.failed:
            print(f"{one.target} {one.recipe} failed: {one.error}")


if __name__ == "__main__":
    main()
