"""What reports make of the cost of each layer and of the trail of a search."""

from __future__ import annotations

import dataclasses
import math

import report_samples as samples

from mobile_harness.records import RunRecord
from mobile_harness.reports import _precision as precision
from mobile_harness.reports import html, json
from mobile_harness.reports._document import document_of
from toolkit.core import codec
from toolkit.core.precision import LayerSensitivity, SearchEntry, SensitivityEntry, TrialEntry


def layer(number: int, output: float, gain: float, **more) -> LayerSensitivity:
    fields = {"weight_bytes": 4_000 * (number + 1), "own_sqnr_db": output + 6, "output_sqnr_db": output, **more}
    return LayerSensitivity(layer=f"block_{number}/conv<b>", operator="Conv", gain_db=gain, **fields)


LAYERS = (
    layer(0, 11.5, 6.2, confirmed_sqnr_db=11.4, latency_ns=541_000.0),
    layer(1, 26.4, 0.31, confirmed_sqnr_db=26.4, latency_ns=337_000.0),
    *(layer(number, 25.0 + number, 0.5 / number, latency_ns=1e5 * number) for number in range(2, 14)),
    layer(14, math.inf, 0.0, latency_ns=9_000.0),
)
SENSITIVITY = SensitivityEntry(recipe="static-int8", samples=16, layers=LAYERS)


def trial(words: str, size: int, drop: float, verdict, **more) -> TrialEntry:
    return TrialEntry(
        target="onnx",
        words=words,
        size_bytes=size,
        cost=size,
        samples=400,
        drop=drop,
        drop_low=drop - 0.01,
        drop_high=drop + 0.01,
        verdict=verdict,
        **more,
    )


SEARCH = SearchEntry(
    metric="top1",
    objective="size",
    max_drop=0.01,
    confidence=0.95,
    selection_samples=1_500,
    certification_samples=2_500,
    test="betting on paired drops",
    trials=(
        trial("all in int8", 4_930_000, 0.14, "beyond"),
        trial("1 layer in float32", 4_934_000, 0.06, "unlikely"),
        trial("3 layers in float32", 4_960_000, 0.004, "within", build_id="onnx-search"),
        trial("5 layers in int4", 3_000_000, 0.0, "failed"),
    ),
)


def run_with(sensitivity: SensitivityEntry | None, search: SearchEntry | None) -> RunRecord:
    run = samples.demo_run()
    return dataclasses.replace(run, manifest=dataclasses.replace(run.manifest, sensitivity=sensitivity, search=search))


def test_the_worst_layers_are_drawn_with_their_real_builds():
    losses, per_byte, per_time, trail = precision.charts(document_of(run_with(SENSITIVITY, SEARCH)))

    assert [row[0] for row in losses.rows][:2] == ["block_0/conv<b>", "block_1/conv<b>"]
    assert len(losses.rows) == 10
    assert losses.spec["data"]["values"][0]["real"] == 11.4
    assert losses.spec["data"]["values"][2]["real"] is None
    assert per_byte.rows[0][0] == per_time.rows[0][0] == "block_0/conv<b>"
    assert float(per_byte.rows[0][2]) == round(6.2 / 3.0, 2)  # 3 kB more than in 8 bits
    assert float(per_time.rows[0][2]) == round(6.2 / 541.0, 4)
    assert trail.title == "The search on onnx"
    four_bits = dataclasses.replace(SENSITIVITY, weight_bits=4)
    _, per_byte, _ = precision.charts(document_of(run_with(four_bits, None)))
    assert float(per_byte.rows[0][2]) == round(6.2 / 3.5, 2)  # 3.5 kB more than in 4 bits


def test_the_trail_keeps_the_order_and_lists_what_could_not_be_built():
    (trail,) = precision.charts(document_of(run_with(None, SEARCH)))

    drawn = trail.spec["data"]["values"]
    assert [value["step"] for value in drawn] == [1, 2, 3]
    assert [value["text"] for value in drawn] == ["", "", "chosen"]
    assert [row[5] for row in trail.rows] == ["beyond the budget", "likely beyond", "within the budget", "not built"]
    assert trail.rows[2][6] == "onnx-search"
    assert trail.rows[3][2:4] == ("–", "–")


def test_weights_that_a_device_measured_are_said_to_be_estimates_from_it():
    timed = dataclasses.replace(SEARCH, objective="latency", place="sdk (emulator)")
    (trail,) = precision.charts(document_of(run_with(None, timed)))
    assert trail.columns[1].startswith("Latency, ")
    assert trail.columns[1].endswith(" (estimated, sdk (emulator))")
    assert "estimated, sdk (emulator)" in str(trail.spec)
    (size,) = precision.charts(document_of(run_with(None, SEARCH)))
    assert "estimated" not in str(size.spec)


def test_no_time_no_chart_of_time_and_nothing_without_a_search():
    timeless = tuple(dataclasses.replace(one, latency_ns=None) for one in LAYERS)
    found = document_of(run_with(dataclasses.replace(SENSITIVITY, layers=timeless), None))

    assert [chart.title for chart in precision.charts(found)] == ["Each layer quantized alone", "Gain per byte"]
    plain = document_of(samples.demo_run())
    assert (precision.charts(plain), precision.summary(plain)) == ((), "")


def test_the_page_shows_it_and_json_carries_it_whole():
    run = run_with(SENSITIVITY, SEARCH)

    page = html.render(document_of(run))

    assert precision.TITLE in page
    assert "2 of the worst were confirmed by real builds" in page
    assert "conv<b>" not in page
    assert json.render(document_of(run)).count('"gain_db"') == len(LAYERS)


def test_records_of_before_decode_and_new_ones_come_back():
    plain = codec.unstructure(run_with(SENSITIVITY, SEARCH))
    assert codec.structure(plain, RunRecord, what="run") == run_with(SENSITIVITY, SEARCH)

    del plain["manifest"]["sensitivity"], plain["manifest"]["search"]
    assert codec.structure(plain, RunRecord, what="run") == samples.demo_run()
