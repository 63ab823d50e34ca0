"""Sensitivity: simulated costs against real builds, one measurement for every target, and what it leaves behind."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import recipe_jobs
import sensitivity_jobs

from toolkit import pipeline
from toolkit.core import isolation, manifest, sampling
from toolkit.core.artifacts import Preprocess
from toolkit.core.errors import DataError, ModelError, SettingsError
from toolkit.core.recipe import load_recipe
from toolkit.core.store import Store
from toolkit.search import costs, entries, identity, sensitivity, spaces
from toolkit.search.candidates import Candidate
from toolkit.search.requests import SearchRequest
from toolkit.search.values import LayerCost, Sensitivity, gains_db
from toolkit.search.workshop import built
from toolkit.stages import data as datasets
from toolkit.stages import importer
from toolkit.stages.requests import QuantizeRequest

INT8 = load_recipe("static-int8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("uneven")


@pytest.fixture
def tools(tools, folder):
    """Real tools with one cache for this file: the float model is made and calibrated once."""
    return dataclasses.replace(tools, store=Store(folder / "cache"))


@pytest.fixture(scope="module")
def pictures(folder) -> Path:
    made = np.random.default_rng(8).normal(0, 1, (20, 3, 16, 16)).astype(np.float32)
    np.savez(folder / "pictures.npz", x=made)
    return folder / "pictures.npz"


@pytest.fixture
def uneven(folder, tools) -> Path:
    out = folder / "uneven.onnx"
    if not out.exists():
        isolation.isolate(tools, 60, sensitivity_jobs.make_uneven_net, out)
    return out


def order_of(model: Path, data: Path | None, tools, recipe="static-int8"):
    request = QuantizeRequest(
        model=model, out=Path("unused"), data=data and str(data), targets=("onnx",), recipes=(recipe,), samples=20
    )
    return importer.import_model(request, tools)


def test_one_pass_says_what_a_build_of_every_layer_says(uneven, pictures, tools, tmp_path):
    found = isolation.isolate(tools, 120, sensitivity_jobs.compare, uneven, pictures, INT8, tmp_path)

    assert [pair.layer for pair in found.pairs] == ["stem", "depthwise", "project", "expand", "wide_c", "back", "head"]
    assert found.left_out == ()
    for pair in found.pairs:
        assert pair.real_db == pytest.approx(pair.simulated_db, abs=0.4), pair.layer
        assert 20 < pair.own_db < 80
    output = [pair.simulated_db for pair in found.pairs]
    assert max(output) - min(output) > 3


def test_a_study_is_ranked_confirmed_told_and_cached(uneven, pictures, tools, monkeypatch):
    events = []
    listening = dataclasses.replace(tools, emit=events.append)
    order = order_of(uneven, pictures, tools)

    found = sensitivity.study(order, INT8, listening)

    figures = [cost.output_sqnr_db for cost in found.layers]
    assert figures == sorted(figures)
    assert (found.recipe, found.samples, len(found.layers)) == ("static-int8", 16, 7)
    assert [one.layer for one in found.confirmed] == [cost.layer for cost in found.layers[:3]]
    for one, cost in zip(found.confirmed, found.layers, strict=False):
        assert one.output_sqnr_db == pytest.approx(cost.output_sqnr_db, abs=0.4)
    assert all(cost.latency_ns and cost.latency_ns > 0 and cost.samples == 16 for cost in found.layers)
    assert {cost.layer: cost.weight_bytes for cost in found.layers}["project"] == 8 * 16 * 4
    assert {event.subject for event in events} == {"sensitivity"}
    done = [event.done for event in events if event.phase == "simulate" and event.done]
    assert done == list(range(1, 17))
    assert events[-1].phase == "done"

    def refuse(*_args, **_more):
        raise AssertionError("a child was started for what the cache has")

    again = dataclasses.replace(tools, run=refuse)
    assert sensitivity.study(order, INT8, again) == found
    mapped = sensitivity.mapped(found, importer.float_model(order.source, "onnx", again), tools)
    assert {layer: cost.layer for layer, cost in mapped.costs.items()} == {
        cost.layer: cost.layer for cost in found.layers
    }


def test_only_samples_that_calibrate_are_looked_at(uneven, tools, tmp_path):
    """In a search the others of the same data certify: here they are damaged, which whoever reads one will find."""
    made = np.random.default_rng(9).normal(0, 1, (60, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "some.npz", x=made)
    order = order_of(uneven, tmp_path / "some.npz", tools)
    assert order.data.count == 20
    chosen = sampling.spread(60, 20)
    made[[place for place in range(60) if place not in chosen]] = np.nan
    np.savez(tmp_path / "some.npz", x=made)

    found = sensitivity.study(order, INT8, tools)
    build = built(order, Candidate(target="onnx", base=INT8), tools)
    table = costs.from_build(build, order.data, "told", tools)

    assert found.samples == 16
    assert all(math.isfinite(cost.output_sqnr_db) for cost in found.layers)
    assert len(found.confirmed) == 3
    assert {"stem", "depthwise", "project"} <= set(table.noise)
    read = [sample.origin for sample in datasets.some(order.data, order.source.signature, 16)]
    every = [sample.origin for sample in datasets.stream(order.data, order.source.signature)]
    assert len({*read}) == 16
    assert {*read} < {*every}


def test_another_recipe_is_another_study(uneven, pictures, tools):
    order = order_of(uneven, pictures, tools)
    weights_only = sensitivity.study(order, load_recipe("weight-int8"), tools)
    static = sensitivity.study(order, INT8, tools)

    small = {cost.layer: cost.output_sqnr_db for cost in weights_only.layers}
    large = {cost.layer: cost.output_sqnr_db for cost in static.layers}
    assert small.keys() == large.keys()
    assert all(small[layer] > large[layer] for layer in small)


def test_without_data_it_says_so(tools, uneven):
    with pytest.raises(DataError, match="measured on data"):
        sensitivity.study(order_of(uneven, None, tools, recipe="weight-int8"), INT8, tools)


def test_a_recipe_that_onnx_cannot_express_is_refused(uneven, pictures, tools):
    with pytest.raises(SettingsError, match="lut-4bit cannot be expressed: lut"):
        sensitivity.study(order_of(uneven, pictures, tools), load_recipe("lut-4bit"), tools)


@pytest.mark.slow
def test_a_net_that_only_pools_has_no_layer_to_round(pictures, tools, tmp_path):
    pooled = tmp_path / "pooled.onnx"
    isolation.isolate(tools, 60, sensitivity_jobs.make_weightless_net, pooled)
    with pytest.raises(ModelError, match=r"No layer of float\.onnx can be rounded on its own"):
        sensitivity.study(order_of(pooled, pictures, tools), INT8, tools)


def test_a_layer_kept_float_stays_float_in_the_runtime_that_ships(uneven, pictures, tools, tmp_path):
    kept = isolation.isolate(tools, 120, sensitivity_jobs.keep_stem, uneven, pictures, tmp_path)

    assert kept.eight_bit_stems == 0
    assert kept.shipped_db == pytest.approx(kept.plain_db, abs=0.5)
    assert kept.bare_db < kept.shipped_db - 3, "ONNX Runtime no longer rounds float weights at load"
    assert "16 bits" in kept.reasons["depthwise"]


@pytest.mark.slow
def test_a_transformer_with_a_table_of_words(tools, tmp_path):
    model, data = tmp_path / "text.onnx", tmp_path / "text.npz"
    isolation.isolate(tools, 60, recipe_jobs.make_text_encoder, model)
    rng = np.random.default_rng(2)
    np.savez(data, tokens=rng.integers(0, 64, (12, 8)))

    found = isolation.isolate(tools, 180, sensitivity_jobs.compare, model, data, INT8, tmp_path)

    operators = {pair.layer: pair for pair in found.pairs}
    assert len(operators) > 10
    gaps = [abs(pair.real_db - pair.simulated_db) for pair in found.pairs if pair.real_db is not None]
    assert len(gaps) > 10
    assert np.median(gaps) < 0.3


def test_layers_are_known_again_by_their_weights(rng):
    conv = rng.normal(0, 1, (8, 3, 3, 3)).astype(np.float32)
    same = identity.of(conv, 0)
    assert identity.of(np.moveaxis(conv, 1, -1), 0) == same
    assert identity.of(np.moveaxis(conv, 0, -1), 3).sha256 == same.sha256

    rounded = identity.of(conv * np.float32(1 + 1e-6), 0)
    scaled = identity.of(conv * rng.uniform(0.2, 5, (8, 1, 1, 1)).astype(np.float32), 0)
    other = identity.of(rng.normal(0, 1, (8, 3, 3, 3)).astype(np.float32), 0)
    assert rounded.sha256 != same.sha256
    for near in (rounded, scaled):
        assert identity.pairs([other, same], [near, other]) == {0: 1, 1: 0}
    assert identity.pairs([same], [other]) == {}


def test_equal_weights_are_paired_in_order_and_nothing_twice(rng):
    twin, other = (identity.of(rng.normal(0, 1, (4, 9)).astype(np.float32), 0) for _ in range(2))

    assert identity.pairs([twin, other, twin], [twin, twin, other]) == {0: 0, 1: 2, 2: 1}
    assert identity.pairs([twin, twin], [twin]) == {0: 0}


def test_constant_weights_have_an_identity_too():
    zero = identity.of(np.zeros((2, 3), np.float32), 0)

    assert identity.of(-np.zeros((3, 2), np.float32), 1).sha256 == zero.sha256
    assert all(map(math.isfinite, zero.fingerprint))
    assert identity.pairs([zero], [zero]) == {0: 0}


def cost(layer: str, output: float, **more) -> LayerCost:
    fields = {"identity": layer, "operator": "Conv", "weight_bytes": 400, "own_sqnr_db": 30.0, **more}
    return LayerCost(layer=layer, output_sqnr_db=output, **fields)


def test_gains_follow_from_adding_up_the_noise():
    found = Sensitivity(
        model_sha256="", recipe="r", samples=4, layers=(cost("a", 20.0), cost("b", 20.0), cost("c", math.inf))
    )

    gains = gains_db(found)

    assert gains["a"] == gains["b"] == pytest.approx(10 * math.log10(2))
    assert gains["c"] == 0
    lone = dataclasses.replace(found, layers=(cost("a", 20.0),))
    assert gains_db(lone) == {"a": pytest.approx(120)}
    silent = dataclasses.replace(found, layers=(cost("c", math.inf),))
    assert gains_db(silent) == {"c": 0.0}


def test_build_json_keeps_each_layer_with_its_gain():
    layers = (cost("a", 11.0, latency_ns=5e3), cost("b", 20.0))
    found = Sensitivity(model_sha256="", recipe="static-int8", samples=4, layers=layers, weight_bits=4)

    entry = entries.sensitivity_entry(found)

    assert [(layer.layer, layer.latency_ns) for layer in entry.layers] == [("a", 5e3), ("b", None)]
    assert entry.layers[0].gain_db > entry.layers[1].gain_db > 0
    assert entry.weight_bits == 4


def test_a_search_of_a_real_net_goes_by_its_sensitivity(uneven, tools, tmp_path, monkeypatch):
    monkeypatch.setattr(spaces, "RANGE_METHODS", ())  # fewer recipes to wait for
    monkeypatch.setattr(spaces, "_WHOLES", ())  # scales weigh more than the weights of so small a net
    isolation.isolate(tools, 60, sensitivity_jobs.write_scored, uneven, 400, tmp_path / "scored.npz")
    request = SearchRequest(
        model=uneven,
        out=tmp_path / "out",
        data=str(tmp_path / "scored.npz"),
        targets=("onnx",),
        metric="sensitivity_jobs:close_enough",
        max_drop=0.17,
        samples=20,
        trials=4,
        jobs=1,
        integer_only=True,
    )

    trail = pipeline.search(request, tools)

    plain = next(one for one in trail.trials if one.recipe == "static-int8" and not one.layers)
    assert not plain.feasible
    (ordering,) = trail.orderings
    assert ordering.basis == "sensitivity of 7 layers over 16 samples"
    assert len(ordering.layers) == 7
    assert any(one.layers for one in trail.trials)
    (found,) = trail.found
    assert found.key, [(one.words, one.sqnr_db, one.n, one.lost, one.verdict) for one in trail.trials]
    shipped = manifest.read(request.out)
    assert [one.verdict for one in shipped.builds] == ["pass"]
    assert shipped.sensitivity is not None
    assert {one.layer for one in shipped.sensitivity.layers} == {*ordering.layers}
    assert len(shipped.search.trials) == len(trail.trials)


@pytest.mark.slow
def test_one_study_serves_every_target(keras_model, shapes_npz, tools):
    order = importer.import_model(
        QuantizeRequest(
            model=keras_model,
            out=Path("unused"),
            data=str(shapes_npz),
            targets=("tflite", "coreml"),
            recipes=("static-int8",),
            preprocess=Preprocess(),
        ),
        tools,
    )
    found = sensitivity.study(order, INT8, tools)
    for target in ("onnx", "tflite", "coreml"):
        mapped = sensitivity.mapped(found, importer.float_model(order.source, target, tools), tools)
        assert mapped.unmapped == mapped.unknown == ()
        assert len(mapped.costs) == len(found.layers)
