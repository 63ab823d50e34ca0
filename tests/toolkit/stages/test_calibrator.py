"""Calibration as a stage: one pass a target whatever is asked for, faults said with how far it came, a report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from toolkit import pipeline
from toolkit.core import manifest
from toolkit.core.artifacts import (
    CalibrationReport,
    DataRef,
    Preprocess,
    Range,
    Signature,
    StillChannels,
    TargetCalibration,
    TensorShare,
    TensorSpec,
)
from toolkit.core.errors import DataError, OutputError, SettingsError
from toolkit.core.events import silent
from toolkit.core.ports import Sample
from toolkit.ranges import minmax, mse
from toolkit.ranges._survey import Survey
from toolkit.ranges.base import Grid
from toolkit.stages import calibrating, calibration_report, statistics
from toolkit.stages.calibrator import ranges_of
from toolkit.stages.suspicions import DataWatch, rescaled_inputs

METHODS = ("minmax", "moving_average", "mse")


def recipe(folder: Path, method: str) -> str:
    path = folder / f"by-{method}.toml"
    path.write_text(
        f'summary = "x"\nweight_bits = 8\nactivation_bits = 8\nactivation_mode = "static"\nrange_method = "{method}"\n'
    )
    return str(path)


def test_all_methods_are_served_by_one_pass(request_for, toy, tools):
    calls = []

    def counted(argv, **options):
        calls.append(json.loads(options["stdin"])["call"].rpartition(":")[2])
        return tools.run(argv, **options)

    recipes = tuple(recipe(toy, method) for method in METHODS)
    request = request_for(targets=("toy",), recipes=recipes)
    made = pipeline.quantize(request, dataclasses.replace(tools, run=counted))
    assert calls.count("calibrate") == 1
    assert calls.count("quantize") == len(METHODS)
    assert made.calibration is not None
    assert made.calibration.method == ", ".join(sorted(METHODS))
    held = {
        method: json.loads((request.out / f"toy-by-{method}.toyq").read_text())["ranges"]["toy:x"] for method in METHODS
    }
    with np.load(request.data) as arrays:
        values = arrays["x"]
    assert held["minmax"] == [float(values.min()), float(values.max())]
    assert held["moving_average"][1] < held["minmax"][1]
    assert held["mse"][0] >= held["minmax"][0]
    report = made.calibration.report
    assert report is not None
    assert set(report.targets["toy"].clipped) == {f"{method}/8" for method in METHODS}
    assert report.targets["toy"].clipped["minmax/8"] == ()
    assert report.targets["toy"].clipped["moving_average/8"][0].share > 0
    assert manifest.read(request.out) == made


def test_suspicious_data_is_told_and_kept(request_for, toy_data, tools):
    x = np.tile(np.arange(6, dtype=np.float32), (40, 1))
    data = toy_data("copies.npz", x=x, labels=np.zeros(40, np.int64))
    events = []
    listening = dataclasses.replace(tools, emit=events.append)
    made = pipeline.quantize(request_for(data=str(data), targets=("toy",), recipes=("static-int8",)), listening)
    assert made.calibration is not None
    assert made.calibration.report is not None
    assert made.calibration.report.suspicions == (
        "39 of 40 samples are copies of earlier ones: they teach nothing new.",
    )
    warned = [event.message for event in events if event.level == "warning"]
    assert made.calibration.report.suspicions[0] in warned


SIGNATURE = Signature(inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 6)),), outputs=())
IMAGES = Signature(inputs=(TensorSpec(name="image", dtype="float32", shape=(1, 4, 4, 3)),), outputs=())


def job_over(folder: Path, count: int, samples: str) -> calibrating.CalibrationJob:
    """Calibrate the toy target on data that a function of the user yields."""
    model = folder / "float.toyq"
    model.write_text(json.dumps({"in": [6], "weights": np.eye(6, 3).tolist(), "bias": [0, 0, 0]}))
    data = DataRef(format="npz", location=samples, sha256="0" * 64, count=count, labelled=False)
    artefact = Signature(
        inputs=(TensorSpec(name="toy:x", dtype="float32", shape=(1, 6), source_name="x"),),
        outputs=(TensorSpec(name="toy:scores", dtype="float32", shape=(1, 3), source_name="scores"),),
    )
    return calibrating.CalibrationJob(
        target="toy", model=model, artefact=artefact, source=SIGNATURE, data=data, out=folder / "statistics.npz"
    )


def npz(folder: Path, **arrays) -> str:
    np.savez(folder / "data.npz", **arrays)
    return str(folder / "data.npz")


def test_data_that_ends_early_says_how_far_it_came_and_leaves_nothing(toy: Path):
    location = npz(toy, x=np.ones((7, 6), np.float32))
    job = job_over(toy, 40, location)
    with pytest.raises(DataError, match=r"gave 7 samples rather than 40") as caught:
        calibrating.calibrate(job, silent)
    assert "--samples 7" in caught.value.hint
    assert not job.out.exists()


def test_data_that_raises_half_way_says_how_far_it_came(toy: Path):
    x = np.ones((20, 6), np.float32)
    x[12, 3] = np.nan
    job = job_over(toy, 20, npz(toy, x=x))
    with pytest.raises(DataError, match=r"failed after 12 of 20"):
        calibrating.calibrate(job, silent)


def test_data_cut_off_on_disk_is_bad_data_not_a_crash(toy: Path):
    location = Path(npz(toy, x=np.random.default_rng(0).normal(0, 1, (5000, 6)).astype(np.float32)))
    whole = location.read_bytes()
    location.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="failed after 0 of 5000") as caught:
        calibrating.calibrate(job_over(toy, 5000, str(location)), silent)
    assert caught.value.hint


def test_a_model_that_overflows_names_tensor_and_sample(toy: Path):
    x = np.ones((9, 6), np.float32)
    x[4] = 3e38
    job = job_over(toy, 9, npz(toy, x=x))
    job.model.write_text(json.dumps({"in": [6], "weights": np.full((6, 3), 9.0).tolist(), "bias": [0, 0, 0]}))
    with pytest.raises(DataError, match=r"'toy:scores'.*not finite.*sample 5 of 9"), np.errstate(over="ignore"):
        calibrating.calibrate(job, silent)


def test_statistics_come_back_as_they_were_written(tmp_path: Path):
    rng = np.random.default_rng(0)
    survey = Survey()
    for _ in range(12):
        survey.see("a/ü", np.maximum(rng.normal(-1, 1, (1, 4, 3, 3)), 0).astype(np.float32))
        survey.see("b", np.zeros((1, 5), np.float32))
        survey.see("c", np.array(3.5, np.float32))
    statistics.save(survey.seen(), tmp_path / "s.npz")
    for before, after in zip(survey.seen(), statistics.load(tmp_path / "s.npz"), strict=True):
        for field in dataclasses.fields(before):
            np.testing.assert_array_equal(getattr(after, field.name), getattr(before, field.name))
    (tmp_path / "s.npz").write_bytes(b"PK damaged")
    with pytest.raises(OutputError, match=r"s\.npz"):
        statistics.load(tmp_path / "s.npz")


def test_a_method_that_gives_no_range_is_refused():
    survey = Survey()
    survey.see("t", np.ones(3, np.float32))

    endless = SimpleNamespace(__name__="acme", range_of=lambda seen, grid: Range(low=0.0, high=float("nan")))
    with pytest.raises(SettingsError, match=r"acme.*'t'"):
        ranges_of(endless, survey.seen(), Grid())
    with pytest.raises(SettingsError, match="range_of"):
        ranges_of(json, survey.seen(), Grid())
    assert ranges_of(minmax, survey.seen(), Grid()) == {"t": Range(low=1.0, high=1.0)}


def test_a_tensor_that_overflows_on_the_target_keeps_its_extremes():
    survey = Survey()
    survey.see("wild", np.append(np.linspace(-1, 1, 5000), 3.8e5).astype(np.float32))
    survey.see("tame", np.append(np.linspace(-1, 1, 5000), 3e3).astype(np.float32))

    def low_and_high(limit: float) -> dict[str, tuple[float, float]]:
        found = ranges_of(mse, survey.seen(), Grid(), limit)
        return {name: (held.low, held.high) for name, held in found.items()}

    assert low_and_high(65504.0)["wild"] == (-1.0, float(np.float32(3.8e5)))
    assert low_and_high(65504.0)["tame"] == low_and_high(float("inf"))["tame"]


def suspicions(samples, labels=None, names=(), preprocess=None, signature=IMAGES) -> tuple[str, ...]:
    ref = DataRef(
        format="npz",
        location="data",
        sha256="",
        count=len(samples),
        labelled=labels is not None,
        label_names=tuple(names),
        preprocess=preprocess or Preprocess(),
    )
    watch = DataWatch(ref, signature)
    name = signature.inputs[0].name
    for index, values in enumerate(samples):
        label = None if labels is None else int(labels[index])
        watch.see([Sample(feeds={name: np.asarray(values, np.float32)[None]}, label=label, origin=str(index))])
    return watch.suspicions()


def pixels(count: int = 30):
    return np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3)).astype(np.float32)


def test_ordinary_data_raises_no_suspicion():
    labels = np.arange(30) % 3
    assert suspicions(pixels() / 255, labels, "abc") == ()
    assert suspicions((pixels() - 127) / 128, preprocess=Preprocess(mean=(127.0,), std=(128.0,))) == ()
    assert suspicions(pixels()[:1] / 255, [0], "abc") == ()
    assert suspicions(np.random.default_rng(0).normal(0, 1, (30, 6)), signature=SIGNATURE) == ()


@pytest.mark.parametrize(
    ("values", "preprocess", "words"),
    [
        (pixels() / 255 / 255, Preprocess(scale=1 / 255), "scaled twice?"),
        (pixels() * 257 / 255, Preprocess(scale=1 / 255), "beyond the 0 to 1 that the preprocessing makes"),
        (np.concatenate([pixels(), pixels()[:7]]) / 255, Preprocess(), "7 of 37 samples are copies"),
        (np.concatenate([pixels() / 255, np.full((2, 4, 4, 3), 0.5)]), Preprocess(), "2 of 32 samples hold the same"),
    ],
)
def test_odd_values_are_told(values, preprocess: Preprocess, words: str):
    assert any(words in said for said in suspicions(values, preprocess=preprocess))


def test_raw_pixels_are_right_where_the_model_scales_them_itself():
    survey = Survey()
    for image in pixels():
        survey.see("in", image[None])
        survey.see("scaled", image[None] / 255)
        survey.see("conv", image[None, :2] / 255)
    artefact = Signature(
        inputs=(TensorSpec(name="in", dtype="float32", shape=(1, 4, 4, 3), source_name="image"),), outputs=()
    )
    rescaled = rescaled_inputs(survey.seen(), artefact)
    assert rescaled == {"image"}
    assert rescaled_inputs([one for one in survey.seen() if one.tensor != "scaled"], artefact) == frozenset()
    ref = DataRef(format="npz", location="data", sha256="", count=30, labelled=False)
    watch = DataWatch(ref, IMAGES)
    watch.see(Sample(feeds={"image": image[None]}, label=None, origin="") for image in pixels())
    assert watch.notes(rescaled) == watch.suspicions() == ()
    (note,) = watch.notes()
    assert "'image' spans 0 to 255 in whole numbers, as raw pixels do" in note


def test_odd_labels_are_told():
    most = np.zeros(30, int)
    most[:3] = 1
    (said,) = suspicions(pixels() / 255, most, ("cat", "dog"))
    assert said.startswith("27 of 30 samples are of the class 'cat', one of 2")
    assert suspicions(pixels() / 255, np.arange(30) % 2, ("cat", "dog", "cow")) == (
        "1 of 3 classes have no sample: 'cow'.",
    )


def test_the_report_reads_in_a_few_plain_lines():
    target = TargetCalibration(
        tensors=95,
        settled_samples=24,
        constant_tensors=("mask",),
        dead_channels=(StillChannels(tensor="block1/relu", count=3, channels=(1, 5, 9)),),
        at_bound=(TensorShare(tensor="relu6", share=0.81),),
        clipped={"entropy/8": (TensorShare(tensor="scores", share=0.0042),), "minmax/8": ()},
    )
    report = CalibrationReport(suspicions=(), targets={"onnx": target})
    assert calibration_report.lines(report, 200) == (
        (
            "Calibration of onnx: 95 tensors over 200 samples; ranges settled after 24; "
            "dead channels in 1 tensor, most in block1/relu (3); 1 constant tensor, such as mask; "
            "1 tensor mostly at its bound, such as relu6 (81%); entropy/8 cuts off at most 0.42% (scores)."
        ),
    )
    assert list(calibration_report.warnings(report, 200)) == []
    growing = dataclasses.replace(report, targets={"onnx": dataclasses.replace(target, settled_samples=None)})
    (said,) = calibration_report.warnings(growing, 200)
    assert "onnx" in said
    assert calibration_report.joined([]) is None
