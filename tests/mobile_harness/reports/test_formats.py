"""Every format shows every run; goldens hold what each looks like."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import compared_samples as compared
import pytest
import report_samples as samples
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from mobile_harness.records import RunRecord
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import markdown, text
from mobile_harness.reports._document import document_of
from mobile_harness.reports.base import Document
from toolkit.core import discovery
from toolkit.core.manifest import BuildEntry

ROOM = "mobile_harness.reports"
FORMATS = discovery.names(ROOM)


def golden_of(format_name: str) -> type[SingleFileSnapshotExtension]:
    class Golden(SingleFileSnapshotExtension):
        _write_mode = WriteMode.TEXT
        file_extension = discovery.load(ROOM, format_name).SUFFIX.removeprefix(".")

    return Golden


def without_charts(page: str) -> str:
    """Drawn charts depend on the fonts of the machine; their specifications have goldens of their own.

    Style and script are files of the templates, and test_html holds their hashes to the policy.
    """
    page = re.sub(r"<svg .*?</svg>", "<svg/>", page, flags=re.DOTALL)
    page = re.sub(r"<(style|script)>.*?</\1>", r"<\1/>", page, flags=re.DOTALL)
    return re.sub(r"sha256-[A-Za-z0-9+/=]+&#39;", "sha256-&#39;", page)


def test_the_room_holds_the_promised_formats():
    assert FORMATS == ("csv", "html", "json", "junit", "markdown", "text")
    suffixes = [discovery.load(ROOM, name).SUFFIX for name in FORMATS]
    assert len(set(suffixes)) == len(suffixes)


@pytest.mark.parametrize("run", samples.RUNS)
@pytest.mark.parametrize("format_name", [name for name in FORMATS if name not in ("html", "json")])
def test_golden(format_name: str, run: str, snapshot: SnapshotAssertion):
    shown = discovery.load(ROOM, format_name).render(document_of(samples.RUNS[run]()))

    assert shown == snapshot(extension_class=golden_of(format_name), name=run)


@pytest.mark.parametrize("run", ["demo", "empty"])
@pytest.mark.parametrize("format_name", ["html", "json"])
def test_golden_of_the_long_formats(format_name: str, run: str, snapshot: SnapshotAssertion):
    render = discovery.load(ROOM, format_name).render
    shown = samples.page(run) if format_name == "html" else render(document_of(samples.RUNS[run]()))

    assert without_charts(shown) == snapshot(extension_class=golden_of(format_name), name=run)


@pytest.mark.parametrize("name", compared.COMPARISONS)
@pytest.mark.parametrize("format_name", FORMATS)
def test_golden_of_a_comparison(format_name: str, name: str, snapshot: SnapshotAssertion):
    if format_name in ("html", "json") and name != "unlike":
        pytest.skip("long: one of them tells all")
    shown = discovery.load(ROOM, format_name).render_comparison(compared.COMPARISONS[name]())

    assert without_charts(shown) == snapshot(extension_class=golden_of(format_name), name=name)


@pytest.mark.parametrize("name", compared.HISTORIES)
@pytest.mark.parametrize("format_name", FORMATS)
def test_golden_of_a_history(format_name: str, name: str, snapshot: SnapshotAssertion):
    shown = discovery.load(ROOM, format_name).render_history(compared.HISTORIES[name]())

    assert without_charts(shown) == snapshot(extension_class=golden_of(format_name), name=name)


def test_a_gate_that_fails_fails_junit_in_the_same_cells_and_no_other():
    found = compared.lab_comparison()

    root = ET.fromstring(discovery.load(ROOM, "junit").render_comparison(found))

    failed = [case.get("name") for case in root.iter("testcase") if case.find("failure") is not None]
    assert found.gate.failed
    assert len(failed) == len(found.gate.regressed) == int(root.get("failures"))
    calm = ET.fromstring(discovery.load(ROOM, "junit").render_comparison(compared.calm_comparison()))
    assert calm.get("failures") == "0"


def test_a_comparison_has_a_case_for_each_cell_and_each_build():
    found = compared.unlike_comparison()

    root = ET.fromstring(discovery.load(ROOM, "junit").render_comparison(found))

    assert int(root.get("tests")) == len(found.cells) + len(found.builds)
    skipped = [case for case in root.iter("testcase") if case.find("skipped") is not None]
    assert any("runtime version" in case.find("skipped").get("message") for case in skipped)


@pytest.mark.parametrize(
    "shown",
    [
        lambda: markdown.render(document_of(samples.big_run(600))),
        lambda: markdown.render(document_of(samples.hostile_run())),
        lambda: markdown.render_comparison(compared.hostile_comparison()),
        lambda: markdown.render_history(compared.hostile_history()),
        lambda: markdown.render(document_of(dataclasses.replace(samples.demo_run(), build_dir="x" * 200_000))),
        lambda: markdown.render(long_names()),
    ],
)
def test_markdown_fits_a_comment(shown: Callable[[], str]):
    page = shown()

    assert len(page) < 65_536
    assert page.count("<details>") == page.count("</details>")
    assert "<script" not in page


def long_names() -> Document:
    document = document_of(samples.demo_run())
    rows = tuple(dataclasses.replace(row, build_id="b" * 50_000, device_name="d" * 50_000) for row in document.rows)
    return dataclasses.replace(document, model="m" * 100_000, rows=rows)


@pytest.mark.parametrize("format_name", [name for name in FORMATS if name not in ("html", "json", "csv")])
def test_hostile_comparisons_and_histories_steer_nothing(format_name: str):
    report = discovery.load(ROOM, format_name)

    for shown in (
        report.render_comparison(compared.hostile_comparison()),
        report.render_history(compared.hostile_history()),
    ):
        assert "\x1b" not in shown
        assert "\u202e" not in shown


@pytest.mark.parametrize("format_name", [name for name in FORMATS if name != "html"])
def test_hostile_names_steer_nothing(format_name: str):
    shown = discovery.load(ROOM, format_name).render(document_of(samples.hostile_run()))

    if format_name not in ("json", "csv"):  # machines read these; json escapes controls itself
        assert "\x1b" not in shown
        assert "\u202e" not in shown
    assert "\\ud800" in shown or shown.encode("utf-8")


def test_text_fits_in_a_hundred_columns():
    for make in (*samples.RUNS.values(), samples.hostile_run):
        lines = text.render(document_of(make())).splitlines()
        assert max(map(len, lines)) <= 100


def test_markdown_gives_names_no_meaning():
    shown = markdown.render(document_of(samples.hostile_run()))

    tags = set(re.findall(r"<[^>]*>", shown))
    assert tags == {"<details>", "</details>", "<summary>", "</summary>", "<sub>", "</sub>"}
    assert not re.search(r"(?<!\\)\]\(", shown)
    assert "https://" not in shown
    assert "@team" not in shown
    rows = [line for line in shown.splitlines() if line.startswith("| ")]
    cells = {len(re.split(r"(?<!\\)\|", row)) for row in rows}
    assert cells == {13, 7, 6, 8}  # the matrix, outputs, layers and downloads: no name adds a column


def test_csv_has_a_line_a_row_and_no_formula():
    shown = discovery.load(ROOM, "csv").render(document_of(samples.demo_run()))
    lines = list(csv.DictReader(io.StringIO(shown)))

    assert [line["build"] for line in lines].count("tflite-static-int8") == 1
    (line,) = (line for line in lines if line["build"] == "tflite-static-int8")
    assert int(line["median_ns"]) == round(document_row_median())
    renamed = samples.with_builds(lambda entry: dataclasses.replace(entry, recipe="=cmd()"))
    for line in csv.DictReader(io.StringIO(discovery.load(ROOM, "csv").render(document_of(renamed)))):
        assert not line["recipe"].startswith("=")


def document_row_median() -> float:
    rows = document_of(samples.demo_run()).rows
    (performance,) = (row.performance for row in rows if row.build_id == "tflite-static-int8")
    assert performance is not None
    return performance.median_ns


def test_junit_counts_what_it_holds():
    root = ET.fromstring(discovery.load(ROOM, "junit").render(document_of(samples.demo_run())))

    assert root.get("tests") == str(len(root.findall(".//testcase"))) == "8"
    assert root.get("errors") == str(len(root.findall(".//error"))) == "2"
    assert root.find(".//testcase[@name='onnx-static-int8']/error").get("type") == "app_crash"


def test_junit_fails_builds_that_fail_their_check():
    worse = samples.score(0.9, 0.06, 0.1, "fail")
    run = samples.with_builds(lambda entry: dataclasses.replace(entry, score=worse, verdict="fail"))

    root = ET.fromstring(discovery.load(ROOM, "junit").render(document_of(run)))

    assert root.get("failures") == "6"


def test_a_lone_surrogate_still_gives_a_file_that_can_be_written():
    run = samples.with_builds(lambda entry: dataclasses.replace(entry, recipe="half \ud800"))
    for name in FORMATS:
        discovery.load(ROOM, name).render(document_of(run)).encode("utf-8")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.time_unit([412_000]).show(412_000), "412 µs"),
        (numbers.time_unit([999_600]).show(999_600), "1.00 ms"),
        (numbers.size_unit([1_500_000, 900]).show(900), "0.000900 MB"),
        (numbers.memory_unit([61_700]).show(61_700), "63.2 MB"),
        (numbers.digits(0), "0"),
        (numbers.digits(float("nan")), "not a number"),
        (numbers.digits(1e-9), "1.00e−09"),
        (numbers.decibel(float("inf")), "exact"),
        (numbers.time_unit([]).show(None), "–"),
        (numbers.count(1, "session"), "1 session"),
        (numbers.visible("a\u200bb\x00\U000e0001"), "a\\u200bb\\x00\\U000e0001"),
    ],
)
def test_figures_read_as_people_write_them(shown: str, expected: str):
    assert shown.replace("\xa0", " ") == expected


CRASHED = "It did not run: SIGSEGV"


def crashed_run() -> RunRecord:
    """The int8 build of TFLite crashed when it was verified; devices measured it all the same."""

    def crashed(entry: BuildEntry) -> BuildEntry:
        if entry.id != "tflite-static-int8":
            return entry
        return dataclasses.replace(entry, score=None, tensor_errors={}, verdict="fail", verdict_reason=CRASHED)

    return samples.with_builds(crashed)


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_failed_verification_is_shown_with_its_reason(format_name: str):
    shown = discovery.load(ROOM, format_name).render(document_of(crashed_run()))

    assert CRASHED in shown
    assert "its accuracy was not checked" not in shown


def test_a_failed_verification_is_a_failure_for_build_servers():
    root = ET.fromstring(discovery.load(ROOM, "junit").render(document_of(crashed_run())))

    assert root.get("failures") == "1"
    assert root.find(".//testcase[@name='tflite-static-int8']/failure").get("message") == CRASHED


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_score_on_the_calibration_data_is_told(format_name: str):
    same = dataclasses.replace(samples.MANIFEST, verification=samples.MANIFEST.calibration)
    note = "Scored on the calibration data, not on held-out samples: the drop may be understated."
    render = discovery.load(ROOM, format_name).render

    assert note in render(document_of(samples.run_of(samples.demo_run().cells, same)))
    assert note not in render(document_of(samples.demo_run()))


def few_runs_run() -> RunRecord:
    """Sessions of five runs on a phone: fewer than a median is published from."""
    return samples.run_of(tuple(samples.cell(entry, samples.PIXEL, runs=5) for entry in samples.BUILDS))


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_median_of_too_few_runs_is_shown_nowhere(format_name: str):
    document = document_of(few_runs_run())
    shown = discovery.load(ROOM, format_name).render(document)

    assert {row.performance.median_ns for row in document.rows if row.performance} == {None}
    said = {"csv": ",pass,,,,,,", "json": '"median_ns": null', "junit": "<testcase", "text": "too few runs"}
    assert said.get(format_name, "too few runs") in shown
    assert 'time="' not in shown


def test_the_fastest_of_unknown_medians_is_not_advised():
    for advice in document_of(few_runs_run()).headline:
        assert "fastest" not in advice.reason
        assert "faster" not in advice.reason
