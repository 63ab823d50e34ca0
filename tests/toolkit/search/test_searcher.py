"""Whole searches on a small plug-in runtime: what is found, certified, written, resumed and refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from toolkit import pipeline
from toolkit.core import manifest
from toolkit.core.errors import DataError, FolderTaken, OutputError, SettingsError
from toolkit.core.recipe import load_recipe
from toolkit.core.store import sha256_of
from toolkit.core.tools import Tools
from toolkit.search import spaces
from toolkit.search.reference import code_of
from toolkit.search.requests import SearchRequest
from toolkit.search.trail import Trail
from toolkit.stages.requests import QuantizeRequest

Asked = Callable[..., SearchRequest]


@pytest.mark.slow
def test_finds_the_layers_that_need_more_bits_and_certifies_the_build(
    asked: Asked, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spaces, "RANGE_METHODS", ("mse",))  # fewer recipes to wait for
    request = asked()
    seen: list[int] = []
    trail = pipeline.search(request, tools, lambda now: seen.append(len(now.trials)))
    (found,) = trail.found
    chosen = next(one for one in trail.trials if one.key == found.key)
    assert {"step1", "step3"} <= {*chosen.layers["float16"]}  # those that an outlier spoils
    assert len(chosen.layers["float16"]) < 6
    plain = next(one for one in trail.trials if one.recipe == "static-int8" and not one.layers)
    assert plain.verdict == "beyond"
    assert plain.n < 200  # a clear case costs few of the 680 samples
    whole = next(one for one in trail.trials if one.recipe == "float16")
    assert found.size_bytes < whole.size_bytes
    assert seen == sorted(seen)
    _check_folder(request, trail, tools)


def _check_folder(request: SearchRequest, trail: Trail, tools: Tools) -> None:
    made = manifest.read(request.out)
    (build,) = made.builds
    shown = build.certificate
    assert shown is not None
    assert build.score is not None
    assert (shown.metric, build.verdict) == ("top1", "pass")
    assert shown.drop <= shown.high <= request.max_drop
    assert shown.certification_samples == trail.certification_samples == build.score.n
    assert made.search is not None
    assert len(made.search.trials) == len(trail.trials)
    assert (request.out / "golden" / "ladder-searched.npz").is_file()
    assert not (request.out / ".search").exists()
    assert [one.sha256 for one in trail.certified if one.key == trail.found[0].key] == [build.sha256]
    again = pipeline.quantize(
        QuantizeRequest(
            model=request.model,
            out=request.out.with_name("again"),
            data=request.data,
            targets=("ladder",),
            recipes=(str(request.out / "recipe-ladder.toml"),),
            samples=request.samples,
        ),
        tools,
    )
    assert [one.sha256 for one in again.builds] == [build.sha256]


@pytest.mark.slow
def test_goes_on_where_it_was_killed_and_ends_alike(asked: Asked, tools: Tools) -> None:
    request = asked(jobs=1, trials=6)

    class Killed(Exception):
        pass

    def kill(trail: Trail) -> None:
        if len(trail.trials) == 3:
            raise Killed

    with pytest.raises(Killed):
        pipeline.search(request, tools, kill)
    left = json.loads((request.out / "search.json").read_text())
    before = {one["key"]: one["seconds"] for one in left["trials"] if one["verdict"] != "failed"}
    assert 3 <= len(before) <= 4  # one more may have run meanwhile, or been killed, which is tried again
    trail = pipeline.search(dataclasses.replace(request, resume=True), tools)
    assert {one.key: one.seconds for one in trail.trials[: len(before)]} == before
    assert trail.found[0].key
    assert pipeline.search(request, tools) == trail  # it has ended: nothing is done again
    with pytest.raises(FolderTaken, match="another model"):
        pipeline.search(dataclasses.replace(request, max_drop=0.05), tools)


@pytest.mark.slow
def test_says_what_is_nearest_where_no_build_is_within_the_budget(
    asked: Asked, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LADDER_FAULT", "nan")
    request = asked(trials=3)
    trail = pipeline.search(request, tools)
    failed = [one for one in trail.trials if one.verdict == "failed"]
    assert failed
    assert "NaN" in failed[0].reason
    assert trail.found[0].words == "float16"  # the one recipe that has no scales


def test_what_is_certified_is_what_ships_in_the_order_written_down(asked: Asked, tools: Tools) -> None:
    """An interrupted search keeps to its chain, and certifies anew a file that is not the certified one."""
    request = asked(jobs=1, trials=2, fragile=())
    refused: list[str] = []

    def search_too(trail: Trail) -> None:
        if not refused:
            with pytest.raises(OutputError) as told:
                pipeline.search(request, tools)
            refused.append(told.value.message)

    first = pipeline.search(request, tools, search_too)
    assert refused == [f"Another palmtop is searching in {request.out}."]
    (chain,) = first.chains
    assert len(first.trials) == 2
    assert [one.key for one in first.certified] == [*chain.keys[: len(first.certified)]]
    path = request.out / "search.json"
    plain = json.loads(path.read_text())
    (request.out / "build.json").unlink()
    safest = next(one for one in first.trials if one.recipe == "float16")
    plain["chains"] = [{"target": "ladder", "keys": [safest.key]}]  # what trials would say now is not asked
    plain["certified"] = [{**one, "sha256": "0" * 64} for one in plain["certified"] if one["key"] == safest.key]
    assert plain["certified"]
    path.write_text(json.dumps(plain))
    trail = pipeline.search(dataclasses.replace(request, resume=True), tools)
    assert trail.found[0].key == safest.key
    assert [one.key for one in trail.certified] == [safest.key]
    (build,) = manifest.read(request.out).builds
    assert trail.certified[0].sha256 == build.sha256


def test_a_metric_of_ones_own_is_part_of_what_a_search_is_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "score.py").write_text("raise SystemExit  # never run here")
    (tmp_path / "mine" / "__init__.py").write_text("")
    before = code_of("mine.score:f")
    assert before == sha256_of(tmp_path / "mine" / "score.py")
    (tmp_path / "mine" / "score.py").write_text("def f(outputs, labels): ...")
    assert code_of("mine.score:f") not in ("", before)
    assert (code_of("top1"), code_of(None), code_of("nowhere.at.all:f")) == ("", "", "")


def test_a_target_that_the_run_never_measured_is_named_before_anything_is_built(asked: Asked, tools: Tools) -> None:
    request = asked(objective="latency")
    device = {"kind": "emulator", "model": "sdk"}
    cell = {"outcome": "measured", "target": "onnx", "recipe": "static-int8", "device": device}
    run = request.out.with_name("run.json")
    run.write_text(json.dumps({"cells": [{**cell, "sessions": [{"latency_ns": [5]}]}]}))
    with pytest.raises(DataError, match=r"no figure of ladder-static-int8 on sdk \(emulator\)"):
        pipeline.search(dataclasses.replace(request, measured=run), tools)
    assert not request.out.exists()


def test_refuses_before_it_builds(asked: Asked, tools: Tools) -> None:
    with pytest.raises(SettingsError, match="budget of 0"):
        pipeline.search(asked(max_drop=0.0), tools)
    with pytest.raises(SettingsError, match="nan is no number"):
        pipeline.search(asked(max_drop=float("nan")), tools)
    with pytest.raises(SettingsError, match="has no end"):
        pipeline.search(asked(metric_range=(0.0, float("inf"))), tools)
    with pytest.raises(DataError, match="30 samples to certify by cannot show") as told:
        pipeline.search(asked(count=60, samples=10), tools)
    assert "200 labelled samples in all" in told.value.hint
    with pytest.raises(SettingsError, match="needs a run that measured it"):
        pipeline.search(asked(objective="latency"), tools)
    with pytest.raises(OutputError, match="no search to resume"):
        pipeline.search(asked(resume=True), tools)
    with pytest.raises(SettingsError, match="Unknown metric"):
        pipeline.search(asked(metric="top2"), tools)


@pytest.mark.slow
def test_asks_for_agreement_where_there_are_no_labels(asked: Asked, tools: Tools) -> None:
    request = asked(count=400, fragile=(), max_drop=0.04, trials=2, samples=20)
    with np.load(request.data) as arrays:
        np.savez(request.data, x=arrays["x"])
    with pytest.raises(DataError, match="has none") as told:
        pipeline.search(request, tools)
    assert "--metric agreement" in told.value.hint
    trail = pipeline.search(dataclasses.replace(request, metric="agreement"), tools)
    assert (trail.metric, trail.float_value) == ("agreement", 1.0)
    assert trail.found[0].key


def test_recipes_written_are_read_back(tmp_path: Path) -> None:
    from toolkit.core.recipe import Override
    from toolkit.search.folder import to_toml

    recipe = dataclasses.replace(
        load_recipe("static-int8"),
        name="searched",
        summary='A "name" \\ with\nlines',
        overrides=(
            Override(layers=('a"b', "c\\d;é/☃\x7f"), weight_bits=16),
            Override(layers=("e",), activation_bits=16),
        ),
    )
    (tmp_path / "r.toml").write_text(to_toml(recipe), encoding="utf-8")
    assert load_recipe(str(tmp_path / "r.toml")) == recipe
    assert sha256_of(tmp_path / "r.toml")
