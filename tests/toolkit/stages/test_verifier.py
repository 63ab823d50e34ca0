"""Verification of real builds of the toy runtimes: figures, scores, verdicts, and what can go wrong."""

from __future__ import annotations

import dataclasses
import json
import math
import re

import numpy as np
import pytest
from PIL import Image
from unwritable import unprivileged

from toolkit import pipeline
from toolkit.core import manifest, store
from toolkit.core.artifacts import Preprocess
from toolkit.core.errors import DataError, ModelError, OutputError, SettingsError
from toolkit.core.store import Store
from toolkit.stages import verifier
from toolkit.stages.requests import QuantizeRequest, VerifyRequest


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tools(tools, shared_cache):
    return dataclasses.replace(tools, store=Store(shared_cache))


@pytest.fixture
def built(toy, toy_model, toy_data, tools):
    """A function that makes builds of a toy model and returns their folder."""

    def build(model=None, **changes):
        fields = {
            "model": model or toy_model(),
            "out": toy / "out",
            "data": None if "data" in changes else str(toy_data()),
            "targets": ("toy",),
            "recipes": ("float32", "weight-int8"),
            **changes,
        }
        pipeline.quantize(QuantizeRequest(**fields), tools)
        return fields["out"]

    return build


def by_id(made):
    return {build.id: build for build in made.builds}


def test_scores_errors_verdicts_and_golden_files(built, toy_data, tools):
    folder = built()
    made = pipeline.verify(VerifyRequest(folder=folder, max_drop=0.2), tools)
    assert made == manifest.read(folder)
    exact, small = by_id(made)["toy-float32"], by_id(made)["toy-weight-int8"]
    assert exact.tensor_errors["scores"].sqnr_db == math.inf
    assert 30 < small.tensor_errors["scores"].sqnr_db < 60
    assert small.tensor_errors["scores"].max_abs > 0
    assert exact.score is not None
    assert (exact.score.metric, exact.score.n, exact.score.float_value) == ("top1", 40, 0.9)
    assert exact.verdict == exact.score.verdict == "pass"
    assert made.verification is not None
    assert (made.verification.samples, made.verification.method) == (40, "top1")
    assert small.golden == "golden/toy-weight-int8.npz"
    assert small.golden_sha256 == store.sha256_of(folder / small.golden)


def test_golden_files_hold_what_the_interpreter_takes_and_returns(built, toy, toy_model, toy_data, tools):
    x = np.random.default_rng(5).normal(0, 1, (9, 1, 2, 3)).astype(np.float32)
    data = str(toy_data(x=x, labels=None))
    folder = built(toy_model(**{"in": [1, 2, 3]}, turn=True), data=data, preprocess=Preprocess(scale=2.0))
    made = pipeline.verify(VerifyRequest(folder=folder), tools)
    with np.load(folder / "golden" / "toy-float32.npz") as golden:
        assert sorted(golden.files) == ["in/toy:x", "out/toy:scores"]
        inputs, outputs = golden["in/toy:x"], golden["out/toy:scores"]
    assert inputs.shape == (4, 1, 3, 1, 2)  # NCHW, as the artefact wants it
    assert np.allclose(inputs, 2 * x[[1, 3, 5, 7]][:, None].transpose(0, 1, 4, 2, 3))
    assert outputs.shape == (4, 1, 3)
    np.savez(toy / "in.npz", x=inputs[:, 0])
    pipeline.predict(folder / made.builds[0].path, toy / "in.npz", toy / "out.npz", tools)
    with np.load(toy / "out.npz") as answers:
        assert np.allclose(answers["toy:scores"], outputs[:, 0])


def test_batches_are_taken_apart(built, toy_model, tools):
    folder = built(toy_model(batch=16))
    made = pipeline.verify(VerifyRequest(folder=folder), tools)
    score = by_id(made)["toy-float32"].score
    assert score is not None
    assert (score.n, score.float_value) == (40, 0.9)
    with np.load(folder / "golden" / "toy-float32.npz") as golden:
        assert golden["in/toy:x"].shape == (3, 16, 6)


def test_another_budget_comes_from_the_cache_and_starts_no_process(built, tools):
    folder = built()
    pipeline.verify(VerifyRequest(folder=folder), tools)

    def refuse(argv, **options):
        raise AssertionError(options["stdin"])

    made = pipeline.verify(VerifyRequest(folder=folder, max_drop=0.5), dataclasses.replace(tools, run=refuse))
    assert by_id(made)["toy-weight-int8"].score.max_drop == 0.5


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("crash", r"It did not run: The child process for .*:execute crashed with signal SIGSEGV.*Its whole output: /"),
        ("nan", r"the output 'scores' holds NaN or infinity for \d+ of 40 samples, first for sample \d+"),
        pytest.param("narrow", r"the output 'scores' is \[1, 2\], not \[1, 3\]", marks=pytest.mark.slow),
    ],
)
def test_a_broken_build_fails_alone_and_says_why(built, toy_model, tools, fault, words):
    folder = built(toy_model(faults={"run": fault}))
    made = by_id(pipeline.verify(VerifyRequest(folder=folder, max_drop=0.2), tools))
    assert made["toy-float32"].verdict == "pass"
    gone = made["toy-weight-int8"]
    assert (gone.verdict, gone.score) == ("fail", None)
    assert re.search(words, gone.verdict_reason)


def test_a_changed_artefact_fails_alone(built, tools):
    folder = built()
    (folder / "toy-weight-int8.toyq").write_text("{}")
    gone = by_id(pipeline.verify(VerifyRequest(folder=folder, max_drop=0.2), tools))["toy-weight-int8"]
    assert gone.verdict == "fail"
    assert "missing or was changed" in gone.verdict_reason


def test_without_labels_the_errors_decide(built, toy_data, tools):
    folder = built(data=str(toy_data(labels=None)))
    made = by_id(pipeline.verify(VerifyRequest(folder=folder), tools))
    assert made["toy-float32"].score is None
    assert made["toy-float32"].verdict == "pass"
    assert "no labels" in made["toy-float32"].verdict_reason
    assert made["toy-weight-int8"].verdict in ("pass", "undecided")


@pytest.mark.parametrize("labelled", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_one_sample_decides_nothing(built, toy, toy_data, tools, labelled):
    data = str(toy_data(count=1, **({} if labelled else {"labels": None})))
    made = by_id(pipeline.verify(VerifyRequest(folder=built(data=data)), tools))
    assert {build.verdict for build in made.values()} == {"undecided"}
    with np.load(toy / "out" / "golden" / "toy-float32.npz") as golden:
        assert golden["in/toy:x"].shape == (1, 1, 6)


@pytest.mark.parametrize("name", ["accuracy", pytest.param("top1", marks=pytest.mark.slow)])
def test_names_of_the_metric(built, tools, name):
    made = pipeline.verify(VerifyRequest(folder=built(), metric=name), tools)
    assert made.builds[0].score.metric == "top1"


def test_a_metric_of_the_users_own(built, tools):
    folder = built()
    score = pipeline.verify(VerifyRequest(folder=folder, metric="toy_metrics:margin"), tools).builds[1].score
    assert (score.method, score.n) == ("paired bootstrap (BCa)", 40)
    assert score.ci_low <= score.drop <= score.ci_high
    hits = pipeline.verify(VerifyRequest(folder=folder, metric="toy_metrics:hit"), tools).builds[0].score
    assert (hits.float_value, hits.method) == (0.9, "paired proportions (Bonett-Price)")


def test_a_metric_of_the_users_own_may_do_without_labels(built, toy_data, tools):
    folder = built(data=str(toy_data(labels=None)))
    assert pipeline.verify(VerifyRequest(folder=folder, metric="toy_metrics:unlabelled"), tools).builds[0].score.n == 40


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("top2", "Did you mean 'top"),
        ("no_such_module:f", "No module named"),
        ("toy_metrics:gone", "has no attribute 'gone'"),
        ("toy_metrics:math", "is not a function"),
        ("toy_metrics:broken", "failed on sample 0: KeyError"),
        ("toy_metrics:not_a_number", "gave nan on sample 0"),
    ],
)
def test_metrics_that_do_not_work_are_explained(built, tools, metric, words):
    with pytest.raises(SettingsError, match=words):
        pipeline.verify(VerifyRequest(folder=built(), metric=metric), tools)


def test_a_users_metric_is_always_asked_again_and_models_are_not(built, toy_model, tools, toy, monkeypatch):
    monkeypatch.chdir(toy)
    folder, jobs = built(toy_model(padding="asked again")), []

    def noting(argv, **options):
        jobs.append(options["stdin"])
        return tools.run(argv, **options)

    told = dataclasses.replace(tools, run=noting)
    for value in (0.25, 0.75):
        (toy / "value.txt").write_text(str(value))
        asked = VerifyRequest(folder=folder, metric="toy_metrics:as_the_file_says")
        scores = [build.score for build in pipeline.verify(asked, told).builds]
        assert all(score.float_value - value == pytest.approx(scores[0].float_value - value) for score in scores)
        assert scores[1].value == pytest.approx(value, abs=0.03)
        executions = [job for job in jobs if ":execute" in job]
        assert len(executions) == 3
    assert len((toy / "calls.txt").read_text()) == 2 * 3 * 40


@pytest.mark.slow
def test_a_users_metric_that_fails_on_one_build_keeps_its_errors(built, toy_model, toy_data, tools, toy, monkeypatch):
    monkeypatch.chdir(toy)
    (toy / "exact.txt").write_text("0.5")
    model = toy_model(weights=np.linspace(-4, 4.5, 18).reshape(6, 3).tolist(), bias=[0.0] * 3)
    folder = built(model, data=str(toy_data(x=np.ones((40, 6)))))
    request = VerifyRequest(folder=folder, metric="toy_metrics:refuses_what_is_not_exact")
    exact, small = pipeline.verify(request, tools).builds
    assert exact.score.value == 1.0
    assert (small.score, small.verdict) == (None, "fail")
    assert small.verdict_reason.startswith("The metric failed on this build's outputs: ")
    assert "failed on sample 0: ValueError: not exact" in small.verdict_reason
    assert 20 < small.tensor_errors["scores"].sqnr_db < 90
    assert small.golden is not None


@pytest.mark.parametrize(
    ("fault", "verdict", "words"),
    [
        ("extra_lost", "fail", r"0.0 dB SQNR at output 'extra', which top1 does not read: below 10 dB"),
        pytest.param(
            "extra_weak",
            "pass",
            r"(19|20)\.\d dB SQNR at output 'extra', which top1 does not read: only a metric",
            marks=pytest.mark.slow,
        ),
        pytest.param("none", "pass", r"^$", marks=pytest.mark.slow),
    ],
)
def test_outputs_that_the_metric_does_not_read(built, toy_model, tools, fault, verdict, words):
    folder = built(toy_model(extra=True, faults={"run": fault}))
    request = VerifyRequest(folder=folder, output="scores", max_drop=0.5)
    small = by_id(pipeline.verify(request, tools))["toy-weight-int8"]
    assert (small.verdict, small.score.verdict) == (verdict, "pass")
    assert re.search(words, small.verdict_reason)


def test_verifying_on_the_calibration_data_is_said(built, toy_data, tools):
    folder, events = built(recipes=("static-int8",)), []
    loud = dataclasses.replace(tools, emit=events.append)
    for request in (VerifyRequest(folder=folder), VerifyRequest(folder=folder, samples=9)):
        events.clear()
        made = pipeline.verify(request, loud)
        assert "not held out" in made.verification.note
        assert [event.message for event in events if event.level == "warning"] == [f"{made.verification.note}."]
    events.clear()
    made = pipeline.verify(VerifyRequest(folder=folder, data=str(toy_data("fresh.npz", count=41))), loud)
    assert (made.verification.note, [event for event in events if event.level == "warning"]) == ("", [])


def test_data_that_no_build_learned_from_is_held_out(built, tools):
    assert pipeline.verify(VerifyRequest(folder=built()), tools).verification.note == ""


@pytest.mark.parametrize(
    ("labels", "request_changes", "words"),
    [
        (np.full(40, 3), {}, "labels reach from 3 to 3; .* scores .3 wide."),
        (np.full(40, -1), {}, "labels reach from -1 to -1"),
        (np.eye(3)[np.zeros(40, int)], {}, "not one class number a sample"),
        (np.zeros(40), {}, "not one class number a sample"),
        (None, {"metric": "top1"}, "needs labels"),
        (np.zeros(40, int), {"output": "logits"}, "cannot read the output 'logits'.*scores"),
        (np.zeros(40, int), {"metric": "top5"}, "top-5 more than 5 classes"),
    ],
)
def test_labels_that_do_not_fit_are_explained(built, toy_data, tools, labels, request_changes, words):
    folder = built()
    data = str(toy_data("other.npz", labels=labels))
    before = (folder / "build.json").read_bytes()
    with pytest.raises(DataError, match=words):
        pipeline.verify(VerifyRequest(folder=folder, data=data, **request_changes), tools)
    assert (folder / "build.json").read_bytes() == before


def test_two_outputs_that_fit_need_a_choice(built, toy_model, tools):
    folder = built(toy_model(extra=True))
    with pytest.raises(DataError, match="More than one output fits the labels: scores, extra"):
        pipeline.verify(VerifyRequest(folder=folder), tools)
    made = pipeline.verify(VerifyRequest(folder=folder, output="extra"), tools)
    assert made.builds[0].score.float_value == 0.9
    assert set(made.builds[0].tensor_errors) == {"scores", "extra"}


def test_a_single_score_is_binary(built, toy_model, toy_data, tools):
    model = toy_model(weights=[[1.0]] * 6, bias=[0.5])
    x = np.repeat([[0.1], [-0.1]], 20, axis=0) * np.ones(6)
    labels = np.repeat([1, 0], 20)
    labels[0] = 0
    folder = built(model, data=str(toy_data(x=x, labels=labels)))
    score = pipeline.verify(VerifyRequest(folder=folder), tools).builds[0].score
    assert score.float_value == 39 / 40


def test_a_float_model_that_is_not_finite_ends_the_verification(built, toy_model, tools):
    with pytest.raises(ModelError, match="itself gives NaN or infinity: output 'scores', sample 0"):
        pipeline.verify(VerifyRequest(folder=built(toy_model(float_nan=True))), tools)


def test_the_float_model_must_be_the_one(built, toy, toy_model, tools):
    model = toy_model()
    folder = built(model)
    model.rename(toy / "moved.toy")
    with pytest.raises(ModelError, match=r"is not at .* any more. Say where with --model"):
        pipeline.verify(VerifyRequest(folder=folder), tools)
    toy_model(padding="other")
    with pytest.raises(ModelError, match=r"not the model that .* was built from"):
        pipeline.verify(VerifyRequest(folder=folder), tools)
    assert pipeline.verify(VerifyRequest(folder=folder, model=toy / "moved.toy"), tools).verification is not None


def test_folders_and_data_that_are_missing(built, toy, tools):
    with pytest.raises(ModelError, match=r"holds no build.json"):
        pipeline.verify(VerifyRequest(folder=toy), tools)
    with pytest.raises(DataError, match="no data to verify with"):
        pipeline.verify(VerifyRequest(folder=built(data=None)), tools)


def test_a_part_of_the_samples_is_balanced(built, tools):
    made = pipeline.verify(VerifyRequest(folder=built(), samples=9), tools)
    assert made.builds[0].score.n == 9
    assert made.verification.samples == 9


def test_nothing_but_the_cache_is_left(built, tools):
    folder = built()
    pipeline.verify(VerifyRequest(folder=folder), tools)
    assert not [path for path in tools.store.root.iterdir() if path.name.startswith("outputs-")]
    assert sorted(path.name for path in folder.iterdir()) == [
        "build.json",
        "golden",
        "toy-float32.toyq",
        "toy-weight-int8.toyq",
    ]
    assert json.loads((folder / "build.json").read_text())["builds"][0]["tensor_errors"]["scores"]["sqnr_db"] == "inf"


def test_the_outputs_of_a_build_are_gone_before_the_next_one_runs(built, tools, monkeypatch):
    monkeypatch.setattr(verifier, "_JOBS", 1)
    lying = []

    def look(event):
        if event.phase == "verify" and event.done == 0:
            lying.append(sorted(path.name for path in tools.store.root.glob("outputs-*/*")))

    pipeline.verify(VerifyRequest(folder=built(), samples=7), dataclasses.replace(tools, emit=look))
    assert [[name for name in names if name.startswith("toy-")] for names in lying] == [
        [],
        ["toy-float32"],
        ["toy-weight-int8"],
    ]


def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(built, tools):
    folder, heard = built(), []
    with unprivileged(folder), pytest.raises(OutputError, match="Permission denied") as caught:
        pipeline.verify(VerifyRequest(folder=folder), dataclasses.replace(tools, emit=heard.append))
    assert "build.json" in caught.value.hint
    assert heard == []


def test_images_are_preprocessed_alike_in_calibration_and_verification(built, toy, toy_model, tools):
    rng = np.random.default_rng(8)
    for index in range(8):
        place = toy / "images" / f"class{index % 2}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (10, 12, 3), np.uint8)).save(place / f"{index}.png")
    model = toy_model(**{"in": [4, 6, 3]}, weights=rng.normal(0, 1, (72, 2)).tolist(), bias=[0.0, 0.0])
    declared = Preprocess(resize=(5, 6), crop=(4, 6), scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.2,))
    folder = built(model, data=str(toy / "images"), recipes=("float32", "static-int8"), preprocess=declared)
    made = pipeline.verify(VerifyRequest(folder=folder), tools)
    assert made.preprocess == declared
    assert made.verification.format == "image_folder"
    assert made.builds[0].score.n == 8
    ranges = json.loads((folder / made.builds[1].path).read_text())["ranges"]
    with np.load(folder / made.builds[0].golden) as golden:
        assert ranges["toy:x"][0] <= golden["in/toy:x"].min() < golden["in/toy:x"].max() <= ranges["toy:x"][1]
    assert -2.5 <= ranges["toy:x"][0] < 0 < ranges["toy:x"][1] <= 3.5
