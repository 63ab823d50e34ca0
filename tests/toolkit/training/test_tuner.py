"""From a request to a plan and a folder: what is refused before anything is trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_loop import a_plan, a_record

from toolkit import pipeline
from toolkit.core import store
from toolkit.core.errors import DataError, FolderTaken, ModelError, OutputError, PalmtopError, SettingsError
from toolkit.core.tools import Tools
from toolkit.training import checkpoints, tuner
from toolkit.training.values import TuneRequest


def a_request(**changes: Any) -> TuneRequest:
    return TuneRequest(**{"model": Path("m.keras"), "out": Path("out"), "data": "d.npz", **changes})


def test_targets_say_which_grids_take_turns() -> None:
    plan = tuner.plan_of(a_request())
    assert set(plan.targets) >= {"coreml", "onnx", "tflite"}
    assert False in plan.symmetric
    wide = a_request(recipe="static-int8-act16", targets=("onnx", "tflite"))
    assert set(tuner.plan_of(wide).symmetric) == {False, True}
    assert tuner.plan_of(dataclasses.replace(wide, targets=("tflite",))).symmetric == (True,)
    assert tuner.plan_of(a_request(recipe="weight-int4")).symmetric == (False,)
    assert tuner.plan_of(a_request(recipe="lut-4bit")).clusters == 16
    assert tuner.plan_of(a_request(recipe="float32", sparsity=0.5)).ramp == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": "float16"}, "rounds nothing"),
        ({"recipe": "weight-int4-block"}, "block scales"),
        ({"recipe": "lut-4bit", "clusters": 8}, "16 values"),
        ({"recipe": "lut-4bit", "targets": ("tflite",)}, "not expressible on tflite"),
        ({"recipe": "static-int9"}, "Unknown recipe"),
        ({"targets": ("tflit",)}, "tflit"),
        ({"epochs": 0}, "--epochs is 0"),
        ({"rate": float("nan")}, "--lr is nan"),
        ({"rate": -1.0}, "--lr is -1.0"),
        ({"batch": 0}, "--batch is 0"),
        ({"sparsity": 1.0}, "--sparsity is 1.0"),
        ({"clusters": 1}, "--clusters is 1"),
        ({"clusters": 300}, "--clusters is 300"),
        ({"sparsity": 0.5, "clusters": 4, "epochs": 1}, "--epochs is 2 at least"),
        ({"patience": 0}, "--patience is 0"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        tuner.plan_of(a_request(**changes))


def test_a_model_that_cannot_be_trained_is_refused(tmp_path: Path, onnx_model: Path, tools: Tools) -> None:
    with pytest.raises(DataError, match="no data to train on"):
        pipeline.tune(a_request(model=onnx_model, data=None, out=tmp_path / "o"), tools)
    with pytest.raises(ModelError, match="trains Keras and PyTorch models") as failure:
        pipeline.tune(a_request(model=onnx_model, out=tmp_path / "o"), tools)
    assert "exported from" in failure.value.hint
    with pytest.raises(ModelError, match="no model"):
        pipeline.tune(a_request(model=tmp_path / "absent.keras", out=tmp_path / "o"), tools)


def test_a_folder_is_gone_on_in_or_left_alone(tmp_path: Path) -> None:
    plan = a_plan(targets=("onnx",), symmetric=(False,))
    request = a_request(out=tmp_path / "o")
    assert tuner._known(request, plan, "k") is None
    record = a_record(plan)
    checkpoints.write(request.out, 1, {"a": np.ones(2)}, record)
    assert tuner._known(request, plan, "k") == record
    longer = a_plan(targets=("onnx",), symmetric=(False,), epochs=9)
    other = a_plan(targets=("onnx",), symmetric=(False,), seed=7, batch=8)
    for key, asked, words in (
        ("other", plan, r"it is of m\."),
        ("other", other, "another --batch, --seed"),
        ("k", longer, "--epochs 4"),
    ):
        with pytest.raises(FolderTaken, match=words):
            tuner._known(request, asked, key)
    with pytest.raises(FolderTaken, match="palmtop did"):
        tuner._known(dataclasses.replace(request, model=Path("m")), plan, "other")
    resumed = tuner._known(a_request(out=request.out, resume=True), longer, "k")
    assert resumed is not None
    assert not resumed.finished
    (request.out / "m.keras").write_bytes(b"m")
    done = dataclasses.replace(record, finished=True, model="m.keras", sha256=store.sha256_of(request.out / "m.keras"),
                               ranges="m.ranges.json", state="m.state.npz")  # fmt: skip
    checkpoints.write(request.out, 1, {"a": np.ones(2)}, done)
    for name in (done.ranges, done.state):
        with pytest.raises(OutputError, match="missing or was changed"):
            tuner._known(request, plan, "k")
        (request.out / name).touch()
    assert tuner._known(request, plan, "k") == done
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(OutputError, match="not empty"):
        tuner._known(a_request(out=tmp_path / "full"), plan, "k")
    with pytest.raises(OutputError, match="is a file"):
        tuner._known(a_request(out=tmp_path / "full" / "mine.txt"), plan, "k")


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"teacher": "labels"}, {"sparsity": 0.4, "clusters": 6, "ranges": "learned"}])
def test_a_keras_model_is_tuned_and_built(
    changes: dict[str, Any], tmp_path: Path, keras_model: Path, shapes_npz: Path, tools: Tools
) -> None:
    from toolkit.stages.requests import QuantizeRequest

    request = a_request(model=keras_model, data=str(shapes_npz), out=tmp_path / "tuned", epochs=4, **changes)
    tuned = pipeline.tune(request, tools)
    assert tuned.finished
    assert tuned.metric == "top1"
    assert (tuned.train_samples, tuned.held_out_samples) == (87, 9)
    assert pipeline.tune(request, tools) == tuned
    if "sparsity" in changes:
        longer = pipeline.tune(dataclasses.replace(request, epochs=5, resume=True), tools)
        assert longer.history[:5] == tuned.history
        assert [round(entry.sparsity, 1) for entry in longer.history[2:]] == [0.4] * 4
        with pytest.raises(SettingsError, match="until epoch 3"):
            pipeline.tune(dataclasses.replace(request, epochs=2, resume=True), tools)
        tuned = longer
    made = pipeline.quantize(
        QuantizeRequest(
            model=request.out / tuned.model,
            out=tmp_path / "builds",
            data=str(shapes_npz),
            targets=("onnx", "tflite"),
            recipes=("static-int8",),
        ),
        tools,
    )
    assert [build.id for build in made.builds] == ["onnx-static-int8", "tflite-static-int8"]


@pytest.mark.slow
def test_data_that_does_not_fit_is_named(tmp_path: Path, keras_model: Path, tools: Tools) -> None:
    np.savez(tmp_path / "wrong.npz", image=np.zeros((30, 9, 9, 1), np.float32))
    with pytest.raises(DataError, match=r"\[30, 9, 9, 1\]"):
        pipeline.tune(a_request(model=keras_model, data=str(tmp_path / "wrong.npz"), out=tmp_path / "o"), tools)
    np.savez(tmp_path / "bare.npz", image=np.zeros((30, 12, 12, 1), np.float32))
    with pytest.raises(PalmtopError, match="the data has none"):
        pipeline.tune(
            a_request(model=keras_model, data=str(tmp_path / "bare.npz"), out=tmp_path / "o", teacher="labels"), tools
        )
    assert not (tmp_path / "o").exists()
