"""`palmtop tune` as a user meets it: words, exit codes, and an interruption that costs an epoch at most."""

from __future__ import annotations

import io
import json
import os
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
from toolkit.core import process
from toolkit.core.errors import DataError, PalmtopError, SettingsError
from toolkit.training import tuner
from toolkit.training.values import EpochEntry, Tuned, TuneRequest, WeightBytes

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
        shown[clusters] = "\n".join(tune._lines(made, Path("o")))
    assert "the float model computes what it did" in shown[0]
    assert "computes what it did" not in shown[16], "grouping alone changed it"
    assert "sparse form takes 700 B (computed, float16)" in shown[0]
    assert "look-up tables take 600 B (computed)" in shown[16]


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
