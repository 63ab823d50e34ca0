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
from toolkit.stages import care

STATIC, WEIGHTS = load_recipe("static-int8"), load_recipe("weight-int8")
RECIPES = (
    STATIC,
    WEIGHTS,
    replace(STATIC, name="plain", bias_correction=False),
    replace(STATIC, name="tensor", granularity="tensor", io="int8"),
    replace(STATIC, name="tensor-plain", granularity="tensor", io="int8", equalize=False, bias_correction=False),
    replace(STATIC, name="equalised", granularity="tensor", io="int8", bias_correction=False),
    replace(STATIC, name="must-equalise", granularity="tensor", io="int8", equalize=True, bias_correction=False),
    replace(STATIC, name="trained-to-equalise", granularity="tensor", equalize=True),
    replace(STATIC, name="forced", bias_correction=True),
    replace(WEIGHTS, name="plain-weights", bias_correction=False),
    replace(WEIGHTS, name="blind"),
    replace(WEIGHTS, name="trained"),
    replace(WEIGHTS, name="blind-and-forced", bias_correction=True),
)
GAIN_DB = 3.0


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


@pytest.mark.parametrize(("cared", "plain"), [("static-int8", "plain"), ("weight-int8", "plain-weights")])
def test_bias_correction_brings_a_build_closer_to_float(tried: jobs.Tried, cared: str, plain: str) -> None:
    (step,) = tried.builds[cared].care
    assert step.kept
    assert step.samples == jobs.SAMPLES
    assert step.layers >= 5
    assert step.after_db - step.before_db > GAIN_DB
    assert tried.builds[cared].sqnr_db == pytest.approx(step.after_db, abs=0.5)
    assert tried.builds[plain].sqnr_db == pytest.approx(step.before_db, abs=0.5)
    assert tried.builds[plain].care == ()


def test_bias_correction_knows_integer_borders_and_one_scale_a_tensor(tried: jobs.Tried) -> None:
    _, step = tried.builds["tensor"].care
    assert step.step == care.BIAS_CORRECTION
    assert tried.builds["tensor"].sqnr_db == pytest.approx(max(step.before_db, step.after_db), abs=0.5)


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
    assert auto.sqnr_db == pytest.approx(max(plain.sqnr_db, forced.sqnr_db), abs=1e-6)
    assert auto.care[0].step == care.EQUALISATION
    assert auto.care[0].kept == (forced.sqnr_db > plain.sqnr_db)
    assert auto.care[0].before_db == pytest.approx(plain.sqnr_db, abs=0.5)
    assert auto.care[0].after_db == pytest.approx(forced.sqnr_db, abs=0.5)
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
    (blind,) = tried.builds["blind"].care
    assert not blind.kept
    assert care.words(blind) == f"No bias correction: {care.NO_DATA}."
    (trained,) = tried.builds["trained"].care
    assert trained.reason == care.TRAINED
    assert "asks for bias correction, but there is no calibration data" in tried.builds["blind-and-forced"].error
