"""What `palmtop tune` wins back: top-1 of ordinary builds before and after it, on all three targets.

    python benchmarks/tune.py [FOLDER [EPOCHS [RECIPE...]]]

With recipes named, only their rows of the first table are printed.

Model: the network of `palmtop demo digits` at half the width, trained here on the 4,000 digits of its training split
with noise of standard deviation 0.45 of the pixel range. Quantized to 8-bit weights and activations (`static-int8`) and
to 4-bit weights (`weight-int4`), once as it is and once after `palmtop tune` with that recipe, which sees the training
split and no label. Both are scored on the same 1,000 held-out digits; the gain's interval is that of paired proportions
(Bonett and Price 2012) at 95 %. Then half of the weights pruned, and 16 values a layer: accuracy, and what the builds
take raw and deflated; Core ML's sparse form is written by coremltools. Needs the extra `demo`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SEED = 0
NOISE = 0.45
TRAIN_EPOCHS = 8
RECIPES = ("static-int8", "weight-int4")
WIDTHS = ((24, 1), (32, 2), (48, 1), (64, 2), (80, 1))


def tools():
    from toolkit.core.events import Event
    from toolkit.core.tools import system_tools

    def say(event: Event) -> None:
        if event.level == "warning" or event.phase == "failed":
            print(event.subject, event.phase, event.message, file=sys.stderr, flush=True)

    return system_tools(say)


def write_data(folder: Path) -> None:
    from toolkit.demos.digits import CALIBRATION, HELD_OUT, read_digits, stratified

    images, labels = read_digits()
    noisy = images.astype(np.float32) / 255 + np.random.default_rng(SEED).normal(0, NOISE, images.shape)
    held_out, training = stratified(labels, [HELD_OUT], SEED)
    calibration, _ = stratified(labels[training], [CALIBRATION], SEED)
    for name, rows in {"train": training, "test": held_out, "calibration": training[calibration]}.items():
        np.savez(folder / f"{name}.npz", image=noisy[rows].astype(np.float32), labels=labels[rows])


def train(folder: Path, out: Path) -> None:
    """Train the float model; a module-level function, so that it runs in a child process."""
    import keras

    from toolkit.demos import digits

    keras.utils.set_random_seed(SEED)
    model = digits.network(keras, WIDTHS)  # the demo's own, at another width
    with np.load(folder / "train.npz") as file:
        images, labels = file["image"], file["labels"]
    steps = TRAIN_EPOCHS * (len(images) // 64)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(images, labels, batch_size=64, epochs=TRAIN_EPOCHS, verbose=0)
    plain = digits.network(keras, WIDTHS)
    plain.set_weights(model.get_weights())
    plain.save(out)


def build(model: Path, recipes: tuple[str, ...], folder: Path, out: Path):
    """Builds of a model on every target, verified on the held-out digits."""
    from toolkit import pipeline
    from toolkit.core import discovery
    from toolkit.stages.requests import QuantizeRequest, VerifyRequest

    pipeline.quantize(
        QuantizeRequest(
            model=model,
            out=out,
            data=str(folder / "calibration.npz"),
            targets=discovery.names("toolkit.targets"),
            recipes=recipes,
        ),
        tools(),
    )
    return pipeline.verify(VerifyRequest(folder=out, data=str(folder / "test.npz")), tools())


def tune(model: Path, folder: Path, out: Path, **settings):
    from toolkit import pipeline
    from toolkit.training.values import TuneRequest

    started = time.monotonic()
    made = pipeline.tune(
        TuneRequest(model=model, data=str(folder / "train.npz"), out=out, rate=2e-3, seed=SEED, **settings), tools()
    )
    return out / made.model, made, time.monotonic() - started


def gain(before, after) -> str:
    """The gain of one build over another on the same samples, with its interval."""
    from toolkit.core import metrics

    one, other = metrics.outcomes_of(before.score), metrics.outcomes_of(after.score)
    lost, won = float((one > other).sum()), float((one < other).sum())
    low, high = metrics.paired_proportions(won, lost, len(one), 0.95)
    return f"{(won - lost) / len(one):+.3f} [{low:+.3f}, {high:+.3f}]"


def by_id(manifest):
    return {entry.id: entry for entry in manifest.builds}


def accuracy_table(model: Path, folder: Path, epochs: int, recipes: tuple[str, ...]) -> None:
    print("| recipe | target | float | before | after | gain, 95 % | n | best epoch | epochs, seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for recipe in recipes:
        plain = by_id(build(model, (recipe,), folder, folder / f"plain-{recipe}"))
        tuned, made, seconds = tune(model, folder, folder / f"tuned-{recipe}", recipe=recipe, epochs=epochs)
        after = by_id(build(tuned, (recipe,), folder, folder / f"after-{recipe}"))
        for name, entry in after.items():
            old = plain[name]
            print(
                f"| {recipe} | {entry.target} | {old.score.float_value:.3f} | {old.score.value:.3f} | "
                f"{entry.score.value:.3f} | {gain(old, entry)} | {entry.score.n} | {made.best_epoch} | "
                f"{made.history[-1].epoch}, {seconds:.0f} |",
                flush=True,
            )


def sparse_bytes(package: Path, out: Path) -> int:
    """Bytes of the Core ML model with its zeros left out, by coremltools; runs in a child process."""
    import coremltools as ct
    import coremltools.optimize.coreml as cto

    from toolkit.core import store

    model = ct.models.MLModel(str(package), skip_model_load=True)
    config = cto.OptimizationConfig(global_config=cto.OpThresholdPrunerConfig(threshold=1e-12))
    cto.prune_weights(model, config).save(str(out))
    return store.size_of(out)


def size_table(model: Path, folder: Path, epochs: int) -> None:
    import tune as this

    from toolkit.core import isolation

    recipes = ("float16", "static-int8", "lut-4bit")
    variants = {
        "as it is": model,
        "half pruned": tune(model, folder, folder / "pruned", sparsity=0.5, epochs=epochs)[0],
        "16 values": tune(model, folder, folder / "clustered", clusters=16, epochs=epochs)[0],
    }
    print("\n| model | target | recipe | top-1 | bytes | deflated | Core ML sparse |")
    print("|---|---|---|---|---|---|---|")
    for name, source in variants.items():
        out = folder / f"sizes-{name.replace(' ', '-')}"
        for entry in build(source, recipes, folder, out).builds:
            path = out / entry.path
            sparse = "–"
            if (entry.target, entry.recipe) == ("coreml", "float16"):
                sparse = (
                    f"{isolation.isolate(tools(), 600, this.sparse_bytes, path, folder / f'{out.name}.mlpackage'):,}"
                )
            print(
                f"| {name} | {entry.target} | {entry.recipe} | {entry.score.value:.3f} | {entry.size_bytes:,} | "
                f"{entry.deflated_bytes:,} | {sparse} |",
                flush=True,
            )


def main() -> None:
    import os

    from toolkit.core import isolation

    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch)
        epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 8
        recipes = tuple(sys.argv[3:])
        folder.mkdir(parents=True, exist_ok=True)
        write_data(folder)
        if not (folder / "digits.keras").exists():
            import tune as this

            isolation.isolate(tools(), 1800, this.train, folder, folder / "digits.keras")
        accuracy_table(folder / "digits.keras", folder, epochs, recipes or RECIPES)
        if not recipes:
            size_table(folder / "digits.keras", folder, epochs)


if __name__ == "__main__":
    main()
