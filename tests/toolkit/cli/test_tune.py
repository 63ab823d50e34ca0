"""`palmtop tune` as a user meets it: words, exit codes, and an interruption that costs an epoch at most."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shlex
import signal
import sys
import threading
import zipfile
from pathlib import Path

import click
import h5py
import numpy as np
import pytest

from toolkit.cli import tune
from toolkit.cli.console import Console
from toolkit.cli.options import Number
from toolkit.core import process
from toolkit.core.artifacts import Preprocess
from toolkit.core.errors import DataError, PalmtopError, SettingsError
from toolkit.training import tuner
from toolkit.training.values import EpochEntry, Tuned, TuneRequest, WeightBytes

TUNE = TuneRequest(model=Path("m.keras"), out=Path("o"), data="d.npz")
Capture = pytest.CaptureFixture[str]


def run(*words: str) -> None:
    tune.command.main(args=list(words), prog_name="palmtop tune", standalone_mode=False, obj=Console())


def test_the_help_shows_what_follows(capsys: Capture) -> None:
    run("--help")
    shown = capsys.readouterr().out
    assert "palmtop quantize tuned/model.keras" in shown
    for option in ("--distill / --labels", "--sparsity", "--clusters", "--resume", "--ranges"):
        assert option in shown


def test_wrong_words_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    model = str(tmp_path / "absent.keras")
    with pytest.raises(SettingsError, match="--sparsity is 2"):
        run(model, "-d", "x.npz", "--sparsity", "2")
    with pytest.raises(SettingsError, match="Unknown recipe"):
        run(model, "-d", "x.npz", "-r", "static-int9")
    with pytest.raises(click.UsageError, match="nowhere"):
        run(model, "-d", "x.npz", "--ranges", "nowhere")
    with pytest.raises(PalmtopError, match="no model"):
        run(model, "-d", "x.npz")


def test_a_model_without_data_is_refused(onnx_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data to train on"):
        run(str(onnx_model), "-o", str(tmp_path / "out"))


def test_what_is_said_holds_of_clusters_and_of_computed_sizes() -> None:
    first = EpochEntry(epoch=0, rate=0.0, loss=None, held_out_loss=1.0, score=None)
    sizes = WeightBytes(count=9, zeros=4, raw=2000, deflated_before=1900, deflated=900, sparse=700, table=600)
    shown = {}
    for clusters in (0, 16):
        request = TuneRequest(model=Path("m.keras"), out=Path("o"), data="d.npz", clusters=clusters, sparsity=0.5)
        plan = tuner.plan_of(request)
        made = Tuned(palmtop="0", key="k", source="m", source_sha256="", format="keras", finished=True, plan=plan,
                     history=(first,), weights=sizes, model="m.keras")  # fmt: skip
        shown[clusters] = "\n".join(tune._lines(made, request))
    assert "the float model computes what it did" in shown[0]
    assert "computes what it did" not in shown[16], "grouping alone changed it"
    assert "against the tuned float model" in shown[16]
    assert "against the tuned float model" not in shown[0]
    assert "sparse form takes 700 B (computed, float16)" in shown[0]
    assert "look-up tables take 600 B (computed)" in shown[16]


@pytest.mark.parametrize(
    ("last", "score", "words"),
    [
        (2.1, 0.5, "--lr 0.0005 is too high. Try --lr 5e-05"),
        (1.1, 0.9, "costs it no top1 here"),
        (1.1, 0.5, "lower --lr"),
    ],
)
def test_a_training_that_made_nothing_better_says_what_may_help(last: float, score: float, words: str) -> None:
    first = EpochEntry(epoch=0, rate=0.0, loss=None, held_out_loss=1.0, score=score)
    second = EpochEntry(epoch=1, rate=0.0, loss=2.0, held_out_loss=last, score=score)
    made = Tuned(palmtop="0", key="k", source="m", source_sha256="", format="keras", finished=True, model="m.keras",
                 plan=tuner.plan_of(TUNE), history=(first, second), metric="top1", float_score=0.9)  # fmt: skip
    assert words in "\n".join(tune._lines(made, TUNE))


def test_the_next_command_tells_what_the_first_was_told() -> None:
    made = Tuned(palmtop="0", key="k", source="m", source_sha256="", format="keras", finished=True, model="m.keras")
    seen = Preprocess(resize=(32, 48), colour="gray", scale=1 / 255, mean=(0.485, 0.5), layout="nchw")
    request = TuneRequest(model=Path("m.keras"), out=Path("my o"), data="d.npz", recipe="my.toml", preprocess=seen,
                          shapes={"x": (1, 8)})  # fmt: skip
    assert tune._next(made, TuneRequest(model=Path("m.keras"), out=Path("o"), data=None)) == (
        "palmtop quantize o/m.keras -d DATA"
    ), "what was converted names no recipe"
    words = shlex.split(tune._next(dataclasses.replace(made, plan=tuner.plan_of(TUNE)), request))
    assert words[:7] == ["palmtop", "quantize", "my o/m.keras", "-d", "DATA", "-r", "my.toml"]
    assert words[7:9] == ["--shape", "x=1,8"]
    options = dict(zip(words[9::2], words[10::2], strict=True))
    assert options == {"--resize": "32,48", "--colour": "gray", "--scale": "1/255", "--mean": "0.485,0.5",
                       "--layout": "nchw"}  # fmt: skip
    assert Number().convert(options["--scale"], None, None) == 1 / 255


CHILD = """
import sys
from toolkit.cli import main, tune
main.Commands.resolve_command = lambda self, ctx, args: (args[0], tune.command, args[1:])
main.run()
"""


@pytest.mark.slow
def test_an_interruption_is_gone_on_from(tmp_path: Path, keras_model: Path, shapes_npz: Path) -> None:
    words = ["tune", str(keras_model), "-d", str(shapes_npz), "--epochs", "3", "--lr", "0.002", "--json"]
    argv = [sys.executable, "-c", CHILD, *words]
    half = tmp_path / "half"
    with process.start([*argv, "-o", str(half)]) as child:
        reached = threading.Event()

        def watch() -> None:
            while child.poll() is None and not (half / "checkpoints" / "epoch-0001.npz").exists():
                reached.wait(0.05)
            os.kill(child.pid, signal.SIGINT)

        watcher = threading.Thread(target=watch)
        watcher.start()
        watcher.join()
        assert child.stdout is not None
        told = json.loads(child.stdout.read())
        assert child.wait() == 130
    assert "to resume" in told["error"]["message"]
    assert not json.loads((half / "tune.json").read_text())["finished"]
    resumed = json.loads(process.run([*argv, "-o", str(half)], deadline_s=600).stdout)
    whole = json.loads(process.run([*argv, "-o", str(tmp_path / "whole")], deadline_s=600).stdout)
    assert resumed["finished"]
    assert resumed["history"] == whole["history"]
    kept = [_weights(folder / resumed["model"]) for folder in (half, tmp_path / "whole")]
    assert kept[0].keys() == kept[1].keys()
    assert all(np.array_equal(kept[0][name], kept[1][name]) for name in kept[0])


def _weights(model: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a Keras archive, whose bytes hold a date."""
    with zipfile.ZipFile(model) as archive:
        raw = io.BytesIO(archive.read("model.weights.h5"))
    found: dict[str, np.ndarray] = {}
    with h5py.File(raw) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if hasattr(item, "shape") else None)
    return found
