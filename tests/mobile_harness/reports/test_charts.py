"""The charts draw the document's figures and nothing that is not a number."""

from __future__ import annotations

import dataclasses
import json

import compared_samples as compared
import report_samples as samples
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from mobile_harness.reports import _chart_changes, _chart_tradeoff, _charts, _vega
from mobile_harness.reports._document import document_of


def charts_of(run: str) -> dict[str, _vega.Chart]:
    return {chart.title: chart for chart in _charts.charts(document_of(samples.RUNS[run]()))}


def test_golden_specifications(snapshot: SnapshotAssertion):
    specifications = {title: chart.spec for title, chart in charts_of("demo").items()}

    assert json.loads(json.dumps(specifications)) == snapshot(extension_class=JSONSnapshotExtension)


def test_a_host_run_has_these_charts():
    assert list(charts_of("demo")) == [
        "Accuracy and size",
        "Accuracy, latency and size",
        "Distribution of the latency",
        "Latency over time",
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

    assert _chart_tradeoff._front(points) == [{"x": 1.0, "value": 80.0}, {"x": 2.0, "value": 90.0}]


def test_the_budget_is_below_the_float_model():
    layers = charts_of("demo")["Accuracy and size"].spec["layer"]

    assert layers[1]["data"]["values"] == [{"value": 100 * (0.984 - 0.01)}]


def test_a_stand_in_has_no_place_in_the_latency_chart():
    chart = charts_of("extreme")["Accuracy, latency and size"]

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


def test_phones_that_tell_of_energy_and_heat_have_charts_of_them():
    titles = charts_of("warm")

    assert {"Energy on Pixel 8", "Heat on Pixel 8", "Latency over time on SM-S921N"} <= set(titles)
    energy = titles["Energy on SM-S921N"]
    assert [row[:3] for row in energy.rows] == [
        ("onnx-float32", "charge counter", "2.90"),
        ("onnx-static-int8", "charge counter", "2.42"),
        ("tflite-float32", "charge counter", "1.94"),
    ]
    assert titles["Heat on Pixel 8"].rows[0][2:6] == ("33.0", "36.5", "0 to 1", "41.5")


def test_throttling_is_a_line_that_climbs():
    chart = charts_of("warm")["Latency over time on Pixel 8"]

    line = [value["change"] for value in chart.spec["data"]["values"] if value["build"] == "onnx-float32"][:40]
    assert line[-1] - line[0] > 30
    assert next(row for row in chart.rows if row[0] == "onnx-float32")[5].startswith("+")


def test_a_build_that_another_beats_on_all_three_is_pale():
    points = [
        {"x": 1.0, "value": 90.0, "bytes": 5},
        {"x": 2.0, "value": 90.0, "bytes": 6},
        {"x": 3.0, "value": 95.0, "bytes": 9},
        {"x": 3.0, "value": 80.0, "bytes": 1},
    ]

    assert _chart_tradeoff._unbeaten(points) == {0, 2, 3}


def test_many_builds_draw_the_advised_and_the_fastest():
    document = document_of(samples.lab_run())
    row = next(row for row in document.rows if row.performance)
    done = [
        (
            dataclasses.replace(row, build_id=f"b{at}", advised=at == 30),
            dataclasses.replace(row.performance, median_ns=at),
        )
        for at in range(1, 31)
    ]

    kept = [item.build_id for item, _ in _charts.chosen(done)]

    assert kept == [*(f"b{at}" for at in range(1, 12)), "b30"]


def test_the_chart_of_a_comparison_and_of_a_trend(snapshot: SnapshotAssertion):
    (phone, _) = compared.history().trends
    made = [_chart_changes.intervals(compared.lab_comparison()), _chart_changes.trend(phone, phone.device.model)]

    assert json.loads(json.dumps([chart.spec for chart in made])) == snapshot(extension_class=JSONSnapshotExtension)


def test_intervals_that_reach_far_do_not_squeeze_the_rest():
    chart = _chart_changes.intervals(compared.unlike_comparison())

    (low, high) = chart.spec["layer"][3]["encoding"]["x"]["scale"]["domain"]
    ends = [
        value for item in chart.spec["data"]["values"] for value in (item["low"], item["high"]) if value is not None
    ]
    assert -high == low <= min(ends) <= max(ends) <= high < 300
