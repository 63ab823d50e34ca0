"""The charts draw the document's figures and nothing that is not a number."""

from __future__ import annotations

import json

import report_samples as samples
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from mobile_harness.reports import _charts, _vega
from mobile_harness.reports._document import document_of


def charts_of(run: str) -> dict[str, _charts.Chart]:
    return {chart.title: chart for chart in _charts.charts(document_of(samples.RUNS[run]()))}


def test_golden_specifications(snapshot: SnapshotAssertion):
    specifications = {title: chart.spec for title, chart in charts_of("demo").items()}

    assert json.loads(json.dumps(specifications)) == snapshot(extension_class=JSONSnapshotExtension)


def test_a_host_run_has_the_six_charts():
    assert list(charts_of("demo")) == [
        "Accuracy and size",
        "Accuracy and latency",
        "Spread of the latency",
        "Time to the first result",
        "Peak memory",
        "Outputs against the float model",
    ]


def test_without_scores_size_stands_against_latency():
    titles = list(charts_of("unscored"))

    assert "Accuracy and size" not in titles
    assert titles[0] == "Size and latency"


def test_without_figures_only_what_is_known_is_drawn():
    assert list(charts_of("failed")) == ["Accuracy and size", "Outputs against the float model"]
    assert charts_of("empty") == {}


def test_no_specification_holds_what_json_cannot():
    for run in samples.RUNS:
        for chart in charts_of(run).values():
            json.dumps(chart.spec, allow_nan=False)


def test_outputs_without_a_finite_distance_are_not_drawn_but_listed():
    assert "Outputs against the float model" not in charts_of("extreme")
    drawn = charts_of("demo")["Outputs against the float model"]
    values = drawn.spec["data"]["values"]
    assert not [value for value in values if value["build"] == "coreml-float32"]
    assert ("coreml-float32", "digit", "exact", "1.00000", "0") in drawn.rows


def test_the_front_joins_builds_that_no_other_beats_on_both():
    points = [
        {"x": 2.0, "value": 90.0},
        {"x": 1.0, "value": 80.0},
        {"x": 3.0, "value": 85.0},
        {"x": 2.0, "value": 70.0},
    ]

    assert _charts._front(points) == [{"x": 1.0, "value": 80.0}, {"x": 2.0, "value": 90.0}]


def test_the_budget_is_below_the_float_model():
    layers = charts_of("demo")["Accuracy and size"].spec["layer"]

    assert layers[1]["data"]["values"] == [{"value": 100 * (0.984 - 0.01)}]


def test_a_stand_in_has_no_place_in_the_latency_chart():
    chart = charts_of("extreme")["Accuracy and latency"]

    assert {value["target"] for value in chart.spec["data"]["values"]} == {"onnx", "tflite"}


def test_phones_are_drawn_before_all_else():
    assert _charts.chart_devices(document_of(samples.lab_run())) == ("Pixel 8", "SM-S921N")


def test_drawing_escapes_labels():
    chart = next(iter(_charts.charts(document_of(samples.hostile_run()))))

    svg = _vega.draw(chart.spec, label='"><script>alert(1)</script>')

    assert "<script" not in svg
    assert "<img" not in svg
    assert "style=" not in svg
    assert svg.startswith('<svg role="img" aria-label="&quot;>&lt;script>alert(1)&lt;/script>"')
