"""Accuracy care on both integer targets: graph preparation and bias correction, seen in the builds they leave."""

from __future__ import annotations

from dataclasses import replace

import care_jobs as jobs
import pytest

from toolkit import pipeline
from toolkit.core import process, store
from toolkit.core.clock import SystemClock
from toolkit.core.events import silent
from toolkit.core.isolation import isolate
from toolkit.core.recipe import load_recipe
from toolkit.core.store import Store
from toolkit.core.tools import Tools
from toolkit.stages import care, care_job

STATIC, WEIGHTS = load_recipe("static-int8"), load_recipe("weight-int8")
BIASES = replace(STATIC, adaptive_rounding=False)
RECIPES = (
    STATIC,
    WEIGHTS,
    replace(BIASES, name="biases"),
    replace(WEIGHTS, name="weight-biases", adaptive_rounding=False),
    replace(BIASES, name="plain", bias_correction=False),
    replace(BIASES, name="tensor", granularity="tensor", io="int8"),
    replace(BIASES, name="tensor-plain", granularity="tensor", io="int8", equalize=False, bias_correction=False),
    replace(BIASES, name="equalised", granularity="tensor", io="int8", bias_correction=False),
    replace(BIASES, name="must-equalise", granularity="tensor", io="int8", equalize=True, bias_correction=False),
    replace(BIASES, name="trained-to-equalise", granularity="tensor", equalize=True),
    replace(BIASES, name="forced", bias_correction=True),
    replace(WEIGHTS, name="plain-weights", bias_correction=False, adaptive_rounding=False),
    replace(WEIGHTS, name="rounded", bias_correction=False),
    replace(WEIGHTS, name="coarse", weight_bits=4, adaptive_rounding=False),
    replace(WEIGHTS, name="coarse-rounded", weight_bits=4),
    replace(WEIGHTS, name="uneven", symmetric=False, granularity="tensor"),
    replace(STATIC, name="unsigned", symmetric=False, granularity="tensor", equalize=False),
    replace(WEIGHTS, name="blind"),
    replace(WEIGHTS, name="trained"),
    replace(WEIGHTS, name="blind-and-forced", bias_correction=True),
    replace(WEIGHTS, name="blind-and-rounded", bias_correction=False, adaptive_rounding=True),
)
LEARNED, JUDGED = 32, 16
GLANCED = 6
GAIN_DB = 3.0
NEAR_DB = 2.0
"""Steps are judged by some of the samples, builds here by all."""


@pytest.fixture(scope="module", params=["onnx", "tflite"])
def tried(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> jobs.Tried:
    folder = tmp_path_factory.mktemp(f"care-{request.param}")
    maker = Tools(run=process.run, emit=silent, clock=SystemClock(), store=Store(folder / "store"))
    return isolate(maker, 300, jobs.try_care, request.param, RECIPES, folder)


def test_batch_normalisation_is_taken_up_wherever_it_stands(tried: jobs.Tried) -> None:
    assert tried.float_db > 100
    assert not {"BatchNormalization", "SUB", "RSQRT"} & set(tried.operators)
    assert sum("conv" in operator.lower() for operator in tried.operators) == 7, "four of its own, three for the norms"
    plain = tried.builds["plain"]
    assert plain.kept_float == ()
    assert plain.census is not None
    assert plain.census.islands == 0


@pytest.mark.parametrize(("cared", "plain"), [("biases", "plain"), ("weight-biases", "plain-weights")])
def test_bias_correction_brings_a_build_closer_to_float(tried: jobs.Tried, cared: str, plain: str) -> None:
    (step,) = tried.builds[cared].care
    assert step.kept
    assert (step.samples, step.judged) == (LEARNED, GLANCED)
    assert LEARNED + JUDGED == jobs.SAMPLES
    assert step.layers >= 5
    assert step.after_db - step.before_db > GAIN_DB
    assert tried.builds[cared].sqnr_db - tried.builds[plain].sqnr_db > GAIN_DB
    assert tried.builds[plain].care == ()


def test_bias_correction_knows_integer_borders_and_one_scale_a_tensor(tried: jobs.Tried) -> None:
    _, step = tried.builds["tensor"].care
    assert step.step == care.BIAS_CORRECTION
    assert step.judged == GLANCED
    assert step.kept == (step.after_db > step.before_db)


def test_equalisation_changes_weights_and_nothing_else(tried: jobs.Tried) -> None:
    assert len(tried.linked) >= 2
    assert tried.equalised_db > 100
    (layer, share), *_ = tried.saturated.items()
    assert layer in tried.linked
    assert 0 < share < 1, "some channels reach the cap, others have room"
    assert tried.unseen_bias_links == 0


def test_factors_move_only_between_layers_that_share_their_channels(tools: Tools) -> None:
    found = isolate(tools, 60, jobs.link_small_graphs)
    assert {name for name, one in found.items() if one.links} == {"gemm vector", "matmul", "conv", "conv mean gemm"}
    assert all(one.links <= 1 for one in found.values())
    assert {name: one.error for name, one in found.items() if one.error > 1e-5} == {}


def test_equalisation_is_for_one_scale_a_tensor_and_kept_where_it_helps(tried: jobs.Tried) -> None:
    plain, forced, auto = (tried.builds[name] for name in ("tensor-plain", "must-equalise", "equalised"))
    assert plain.care == ()
    assert forced.care[0].kept
    assert forced.sqnr_db != plain.sqnr_db
    (step,) = auto.care
    assert step.step == care.EQUALISATION
    assert step.kept == (step.after_db > step.before_db)
    assert auto.sqnr_db == pytest.approx((forced if step.kept else plain).sqnr_db, abs=1e-6)
    assert step.before_db == pytest.approx(plain.sqnr_db, abs=NEAR_DB)
    assert step.after_db == pytest.approx(forced.sqnr_db, abs=NEAR_DB)
    assert tried.builds["tensor"].sqnr_db > plain.sqnr_db, "bias correction comes on top"


def test_equalisation_is_refused_where_ranges_belong_to_the_weights(tried: jobs.Tried) -> None:
    assert care.PINNED in tried.builds["trained-to-equalise"].error


def test_a_target_that_takes_no_care_builds_the_same_whatever_the_data(
    request_for, toy, toy_data, tools: Tools
) -> None:
    more, sizes = str(toy_data("more.npz", count=41)), {}
    for place, data in (("one", str(toy_data())), ("two", more)):
        asked = request_for(out=toy / place, data=data, targets=("toy",), recipes=("float32", "weight-int8"))
        for build in pipeline.quantize(asked, tools).builds:
            assert build.deflated_bytes == store.deflated_size_of(toy / place / build.path) > 0
            sizes.setdefault(build.recipe, set()).add(build.sha256)
    assert {recipe: len(found) for recipe, found in sizes.items()} == {"float32": 1, "weight-int8": 1}
    made = [path for path in tools.store.root.glob("quantize-*/*") if path.is_dir()]
    assert len(made) == 1, "the second run finds the first one's build"


def test_what_is_insisted_on_is_kept_and_what_lacks_data_is_said(tried: jobs.Tried) -> None:
    (forced,) = tried.builds["forced"].care
    assert forced.kept
    blind, unrounded = tried.builds["blind"].care
    assert not blind.kept
    assert care.words(unrounded) == f"No adaptive rounding: {care_job.NO_DATA}."
    assert care.words(blind) == f"No bias correction: {care_job.NO_DATA}."
    assert [step.reason for step in tried.builds["trained"].care] == [care.TRAINED] * 2
    assert "asks for bias correction, but there is no calibration data" in tried.builds["blind-and-forced"].error
    assert "asks for adaptive rounding, but there is no calibration data" in tried.builds["blind-and-rounded"].error


@pytest.mark.parametrize(
    ("cared", "plain"), [("weight-int8", "weight-biases"), ("rounded", "plain-weights"), ("coarse-rounded", "coarse")]
)
def test_rounding_by_inputs_brings_a_build_closer_to_float(tried: jobs.Tried, cared: str, plain: str) -> None:
    step = tried.builds[cared].care[-1]
    assert (step.step, step.kept) == (care.ROUNDING, True)
    assert step.layers >= 5
    assert tried.builds[cared].sqnr_db - tried.builds[plain].sqnr_db > 0.5


def test_a_step_is_kept_where_it_helps_or_is_insisted_on(tried: jobs.Tried) -> None:
    insisted = {"forced", "must-equalise"}
    tries = [step for name in tried.builds.keys() - insisted for step in tried.builds[name].care if not step.reason]
    assert len(tries) > 10
    assert all(step.kept == (step.after_db > step.before_db) for step in tries)


def test_static_activations_leave_8_bit_weights_as_they_are_once_a_build_is_close(tried: jobs.Tried) -> None:
    first, *others = tried.builds["static-int8"].care
    assert first.step == care.BIAS_CORRECTION
    assert bool(others) == (max(first.before_db, first.after_db) < 25)


@pytest.mark.parametrize("recipe", ["static-int8", "tensor", "weight-int8", "coarse", "uneven", "unsigned"])
def test_integer_weights_are_given_to_a_layer_and_read_back(tried: jobs.Tried, recipe: str) -> None:
    made = tried.builds[recipe].reweighed
    if made is None:
        assert "not expressible on TFLite" in tried.builds[recipe].error
        return
    assert len(made.layers) >= 2
    assert made.largest < 1e-3, "in steps"
    assert made.others == 0
