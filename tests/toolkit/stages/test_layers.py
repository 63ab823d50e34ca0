"""Per-layer errors of real builds of the toy runtimes: what they say, and that nothing in them fails a build."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import shutil
import threading

import numpy as np
import pytest

from toolkit import pipeline
from toolkit.core import manifest
from toolkit.core.artifacts import LayerFact, Preprocess
from toolkit.core.errors import ModelError
from toolkit.core.metrics import ErrorMeter
from toolkit.core.store import Store
from toolkit.stages import data, tapping
from toolkit.stages.requests import QuantizeRequest, VerifyRequest
from toolkit.stages.tapping import Artefact, TapJob


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tools(tools, shared_cache):
    return dataclasses.replace(tools, store=Store(shared_cache))


@pytest.fixture
def verified(toy, toy_model, toy_data, tools):
    """A function that builds and verifies a toy model: the builds by id, and the events."""

    def verify(faults=None, targets=("toy",), recipes=("float32", "weight-int8"), **changes):
        out = toy / "out"
        model = toy_model(faults=faults or {}, **changes)
        request = QuantizeRequest(model=model, out=out, data=str(toy_data()), targets=targets, recipes=recipes)
        pipeline.quantize(request, tools)
        events = []
        listening = dataclasses.replace(tools, emit=events.append)
        made = pipeline.verify(VerifyRequest(folder=out, max_drop=0.2), listening)
        assert manifest.read(out) == made
        return {build.id: build for build in made.builds}, events

    return verify


def test_layers_are_named_as_inspect_names_them_and_the_worst_is_first(verified, toy):
    builds, _ = verified()
    small = builds["toy-weight-int8"]
    assert {(error.layer, error.operator) for error in small.layer_errors} == {
        ("linear", "Linear"),
        ("positive", "Relu"),
    }
    figures = [error.sqnr_db for error in small.layer_errors]
    assert figures == sorted(figures)
    assert all(30 < figure < 60 for figure in figures)
    assert small.layer_errors_note == ""
    assert (builds["toy-float32"].layer_errors, builds["toy-float32"].layer_errors_note) == ((), "")
    path = toy / "out" / "build.json"
    plain = json.loads(path.read_text())
    for build in plain["builds"]:  # as an older palmtop wrote it
        del build["layer_errors"], build["layer_errors_note"]
    path.write_text(json.dumps(plain))
    assert all(build.layer_errors == () for build in manifest.read(path.parent).builds)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"tap": "crash"}, "crashed with signal SIGSEGV"),
        pytest.param({"tap_float": "refuse"}, "cannot be handled in tap_float", marks=pytest.mark.slow),
    ],
)
def test_what_fails_here_is_a_note_and_fails_no_build(verified, faults, words):
    builds, events = verified(faults)
    small = builds["toy-weight-int8"]
    assert (small.layer_errors, small.verdict) == ((), "pass")
    assert words in small.layer_errors_note
    assert small.tensor_errors
    (warning,) = [event for event in events if event.level == "warning"]
    assert (warning.subject, words in warning.message) == ("toy/weight-int8", True)


def test_a_build_that_does_not_run_has_neither_errors_nor_a_note(verified):
    small = verified({"run": "crash"})[0]["toy-weight-int8"]
    assert (small.verdict, small.layer_errors, small.layer_errors_note) == ("fail", (), "")


def test_without_a_float_build_in_the_folder_the_float_artefact_is_converted(verified, toy, tools):
    (found,) = verified(recipes=("weight-int8",))[0].values()
    assert found.layer_errors
    shutil.rmtree(tools.store.root)
    (again,) = pipeline.verify(VerifyRequest(folder=toy / "out"), tools).builds
    assert again.layer_errors == found.layer_errors


def test_a_target_that_shows_nothing_says_so(verified):
    (build,) = verified(targets=("fragile",), recipes=("weight-int8",))[0].values()
    assert build.layer_errors_note == "the target fragile does not show its activations"


@pytest.fixture
def job(toy, toy_model, toy_data):
    model = toy_model(turn=False)
    content = json.loads(model.read_text())
    own = importlib.import_module("toy_source").signature(content)
    ref = data.refer(str(toy_data()), own, Preprocess(), 8)
    artefact = Artefact(path=model, signature=importlib.import_module("toy_target").artefact_signature(content))
    return TapJob(target="toy", base=artefact, build=artefact, source=own, data=ref)


def test_an_artefact_held_against_itself_is_exact(job):
    found = tapping.compare_layers(job)
    assert [error.sqnr_db for error in found.errors] == [math.inf, math.inf]


@pytest.mark.parametrize("fault", ["nan", "narrow"])
def test_broken_builds(job, toy, fault):
    """NaN is the worst there is; a tensor of another shape is no partner."""
    broken = toy / "broken.toy"
    content = {**json.loads(job.base.path.read_text()), "quantized": "weight-int8", "faults": {"run": fault}}
    broken.write_text(json.dumps(content))
    found = tapping.compare_layers(dataclasses.replace(job, build=dataclasses.replace(job.build, path=broken)))
    if fault == "nan":
        assert [error.sqnr_db for error in found.errors] == [-math.inf, -math.inf]
    else:
        assert (found.errors, found.note) == ((), "no tensor of the build has a partner in the float artefact")


def test_both_run_in_lockstep(job, monkeypatch):
    session = importlib.import_module("toy_target").ToyqSession
    order, plain = [], session.run
    monkeypatch.setattr(session, "run", lambda self, feeds: order.append(id(self)) or plain(self, feeds))
    tapping.compare_layers(job)
    assert len(order) == 16
    assert order == [order[0], order[1]] * 8


def test_what_goes_wrong_in_the_float_artefact_is_raised_and_leaves_no_thread(job, toy):
    broken = toy / "broken.toy"
    broken.write_text(json.dumps({**json.loads(job.base.path.read_text()), "faults": {"tap_float": "refuse"}}))
    before = threading.active_count()
    with pytest.raises(ModelError, match="tap_float"):
        tapping.compare_layers(dataclasses.replace(job, base=dataclasses.replace(job.base, path=broken)))
    assert threading.active_count() == before


def test_at_most_five_hundred_layers_are_kept_and_a_layer_counts_by_its_worst_tensor():
    meters, makers = {}, {}
    for index in range(600):
        for part in ("a", "b"):
            name = f"{index}{part}"
            meters[name] = ErrorMeter(output=name)
            noise = (index + 1) * (2 if part == "b" else 1) * 1e-4
            meters[name].add(np.ones((1, 4)), np.ones((1, 4)) + noise)
            makers[name] = LayerFact(
                name=str(index), operator="Op", weight_dtype="", activation_dtype="float32", weight_bytes=0
            )
    kept = tapping._worst_by_layer(meters, makers)
    assert len(kept) == tapping.MOST_LAYERS == 500
    assert [error.layer for error in kept[:3]] == ["599", "598", "597"]
    assert kept[0].sqnr_db == pytest.approx(-20 * math.log10(600 * 2e-4))
