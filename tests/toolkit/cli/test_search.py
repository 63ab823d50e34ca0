"""`palmtop search` as a user sees it: the words it takes, the page it ends with, the picture while it runs."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import shlex
from pathlib import Path

import click
import pytest
from rich.console import Console as Rich

from toolkit.cli import quantize, search
from toolkit.cli._search_view import SearchView, front
from toolkit.cli.console import Console
from toolkit.core.artifacts import Preprocess
from toolkit.core.errors import UsageError
from toolkit.core.events import Event
from toolkit.search.requests import SearchRequest
from toolkit.search.trail import Certified, Found, Trail, Trial
from toolkit.stages.requests import QuantizeRequest


def trial(words: str, size: int, expected: float, verdict: str, target: str = "onnx") -> Trial:
    return Trial(
        target=target,
        key=words,
        words=words,
        recipe="static-int8",
        layers={},
        size_bytes=size,
        cost=float(size),
        n=64,
        lost=1,
        won=0,
        drop=expected / 2,
        low=0.0,
        high=expected,
        expected_high=expected,
        sqnr_db=20.0,
        verdict=verdict,
    )


def trail(*found: Found) -> Trail:
    certified = Certified(
        target="onnx",
        key="static-int8, 4 in float16",
        words="static-int8, 4 in float16",
        n=500,
        lost=1,
        won=1,
        float_value=0.9,
        value=0.9,
        drop=0.0,
        low=-0.008,
        high=0.008,
        method="exact",
        holds=True,
    )
    return Trail(
        key="k",
        model="net",
        metric="top1",
        output="y",
        objective="size",
        max_drop=0.01,
        confidence=0.95,
        seed=0,
        float_value=0.9,
        selection_samples=500,
        certification_samples=500,
        needed=301,
        usual=2000,
        test="betting",
        method="exact",
        trials=(
            trial("static-int8", 1000, 0.08, "beyond"),
            trial("static-int8, 4 in float16", 1100, 0.009, "likely"),
            trial("static-int8, 9 in float16", 1500, 0.02, "unlikely"),
            trial("float16", 2000, 0.004, "within"),
        ),
        certified=(certified,),
        found=found,
    )


FOUND = Found(
    target="onnx",
    key="static-int8, 4 in float16",
    words="static-int8, 4 in float16",
    size_bytes=1100,
    full_bytes=1000,
    evaluations=5,
    samples=700,
)
NONE = Found(target="tflite", words="float16", nearest="x", nearest_high=0.031, advice=("--max-drop 0.031 may do.",))


def run(*words: str) -> None:
    search.command.main([*words], standalone_mode=False, obj=Console())


def test_a_model_and_data_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.MissingParameter):
        run()
    with pytest.raises(UsageError, match="needs samples"):
        run("model.onnx")
    with pytest.raises(UsageError, match="two numbers"):
        run("model.onnx", "-d", "data.npz", "--metric-range", "1")
    with pytest.raises(click.BadParameter):
        run("model.onnx", "-d", "data.npz", "--objective", "beauty")


def test_settings_and_options_make_the_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "palmtop.toml").write_text(
        '[model]\npath = "m.onnx"\n[data]\ncalibration = "c.npz"\nlabelled = "l.npz"\n[verify]\nmax_drop = 0.02\n'
    )
    asked: list[SearchRequest] = []

    @click.command()
    @search.search_options
    def probe(request: SearchRequest) -> None:
        asked.append(request)

    words = ["-t", "onnx", "--metric-range", "0,5", "--confidence", "0.9"]
    probe.main(words, standalone_mode=False)
    (request,) = asked
    assert (request.model, request.data) == (tmp_path / "m.onnx", str(tmp_path / "l.npz"))
    assert request.calibration == str(tmp_path / "c.npz")
    assert (request.max_drop, request.confidence, request.metric_range) == (0.02, 0.9, (0.0, 5.0))
    assert (request.samples, request.targets, request.out) == (128, ("onnx",), Path("m-search"))


def shown(ended: Trail, *, as_json: bool = False) -> str:
    out = io.StringIO()
    request = SearchRequest(model=Path("m.onnx"), out=Path("m-search"), data="d.npz", targets=("onnx", "tflite"))
    Console(as_json=as_json, out=out).result(ended, lambda: search.page(ended, request))
    return out.getvalue()


def test_the_page_says_what_was_found_and_how_to_make_it_again() -> None:
    said = shown(trail(FOUND))
    assert "static-int8, 4 in float16" in said
    assert "1.10×" in said
    assert "palmtop quantize m.onnx -d d.npz --samples 128 -t onnx -r m-search/recipe-onnx.toml" in said
    assert "Next: palmtop bench m-search" in said
    assert json.loads(shown(trail(FOUND), as_json=True))["found"][0]["size_bytes"] == 1100
    assert search.fault_of(trail(FOUND)) is None


def test_the_command_that_makes_a_build_again_can_be_given_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    request = SearchRequest(
        model=Path("my m.onnx"),
        out=Path("out"),
        data="d.npz",
        targets=("onnx",),
        preprocess=Preprocess(resize=(8, 9), colour="gray", scale=1 / 255, mean=(0.5,), layout="nchw"),
        shapes={"x": (1, 8, 8, 1)},
    )
    words = shlex.split(search.again_words(request, "onnx"))
    assert words[:2] == ["palmtop", "quantize"]
    asked: list[QuantizeRequest] = []

    @click.command()
    @quantize.quantize_options
    def probe(request: QuantizeRequest) -> None:
        asked.append(request)

    probe.main(words[2:], standalone_mode=False)
    (again,) = asked
    assert (again.model, again.data, again.samples, again.targets) == (request.model, "d.npz", 128, ("onnx",))
    assert (again.recipes, again.shapes) == (("out/recipe-onnx.toml",), request.shapes)
    assert again.preprocess == request.preprocess


def test_the_page_says_where_the_figures_behind_an_estimate_are_from() -> None:
    timed = dataclasses.replace(trail(FOUND), objective="latency", place="sdk (emulator)")
    assert "Latency is estimated from whole builds on sdk (emulator)" in " ".join(shown(timed).split())
    assert "estimated" not in shown(trail(FOUND))
    quick = dataclasses.replace(FOUND, cost=2_340_000.0)
    assert "2.34 ms" in shown(dataclasses.replace(timed, found=(quick,)))
    page = io.StringIO()
    view = SearchView()
    view.see(timed)
    Rich(file=page, width=140, color_system=None).print(view.draw(3.0, 20))
    assert "latency, estimated" in page.getvalue()


def test_a_runtime_without_a_build_ends_with_4_and_says_what_helps() -> None:
    fault = search.fault_of(trail(FOUND, NONE))
    assert fault is not None
    assert fault.exit_code == 4
    assert "for tflite is certified to lose at most 0.01" in fault.message
    assert "nearest is float16, of which a certificate may say at most 0.0310." in fault.hint
    assert "--max-drop 0.031 may do" in fault.hint
    assert "no such build" in shown(trail(FOUND, NONE))
    told = dataclasses.replace(NONE, target="onnx", nearest=FOUND.key, nearest_high=0.03121)
    assert "loses at most 0.0313." in str(search.fault_of(trail(told)).hint)  # bounds are rounded up
    endless = dataclasses.replace(NONE, nearest_high=math.inf)
    assert "nearest is float16.\n" in str(search.fault_of(trail(endless)).hint)
    nothing = Found(target="coreml", advice=("No candidate could be built or run: no.",))
    assert search.fault_of(trail(nothing)).hint == "coreml: No candidate could be built or run: no."


def test_the_picture_shows_what_runs_and_what_nothing_beats() -> None:
    view = SearchView()
    page = io.StringIO()
    view.take(Event(subject="onnx/static-int8", phase="try", done=32, total=64, level="debug"), 1.0)
    drawn = Rich(file=page, width=140, color_system=None)
    drawn.print(view.draw(2.0, 20))
    view.see(trail())
    drawn.print(view.draw(3.0, 20))
    said = page.getvalue()
    assert "██████████░░░░░░░░░░ 32/64" in said
    assert "4 candidates on 256 samples" in said
    assert "static-int8, 9 in float16" not in said  # the one with 4 layers is lighter and loses less
    assert [one.words for one in front(trail(), "onnx")] == ["static-int8", "static-int8, 4 in float16", "float16"]
    view.take(Event(subject="onnx/float", phase="verify", done=64, total=64), 3.5)  # all of it: it runs no more
    for place in range(4):
        view.take(Event(subject=f"a/{place}", phase="try"), 3.6)
    view.take(Event(subject="onnx/static-int8", phase="try", done=48, total=64), 3.7)
    drawn.print(view.draw(3.8, 20))
    latest = page.getvalue().rpartition("budget")[2]
    assert "48/64" in latest
    assert "a/3" in latest
    assert "a/0" not in latest  # the longest without news
    assert "onnx/float" not in latest
    view.take(Event(subject="onnx/static-int8", phase="noted"), 4.0)
    page.truncate(0)
    drawn.print(view.draw(5.0, 3))
    assert "32/64" not in page.getvalue()
