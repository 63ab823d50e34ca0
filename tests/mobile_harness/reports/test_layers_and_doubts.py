"""What reports make of per-layer errors, and how doubts of one kind become one line."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
import report_samples as samples

from mobile_harness.records import Doubt
from mobile_harness.reports import _layers as layers
from mobile_harness.reports import _words as words
from mobile_harness.reports import html, json, markdown, text
from mobile_harness.reports._document import document_of
from toolkit.core.artifacts import LayerError


def document_with(errors: tuple[LayerError, ...] = (), note: str = ""):
    return document_of(
        samples.with_builds(lambda entry: dataclasses.replace(entry, layer_errors=errors, layer_errors_note=note))
    )


def error(layer: str, sqnr_db: float) -> LayerError:
    return LayerError(layer=layer, operator="Conv", sqnr_db=sqnr_db)


def test_the_ten_worst_are_drawn_and_listed_with_their_whole_names():
    (chart,) = (chart for chart in layers.charts(document_of(samples.demo_run())) if chart.title == "onnx-static-int8")

    assert len(chart.rows) == len(chart.spec["data"]["values"]) == 10
    assert chart.rows[0][0].startswith("PartitionedCall/PartitionedCall/digits_1/")
    assert chart.rows[0][0].endswith("batch_normalization_0/batchnorm/add_1:0")
    assert chart.summary.startswith("The 10 worst of 14 layers")
    drawn = [value["sqnr"] for value in chart.spec["data"]["values"]]
    assert drawn == sorted(drawn)


def test_names_shortened_to_the_same_words_stay_apart():
    errors = tuple(error(f"{'a' * 40}{letter}{'b' * 40}", 20.0) for letter in "xyz")

    (chart, *_) = layers.charts(document_with(errors))

    names = [value["layer"] for value in chart.spec["data"]["values"]]
    assert len(set(names)) == 3
    assert len({name[3:] for name in names}) == 1


@pytest.mark.parametrize("length", [1, 20, 29, 30, 31, 80])
@pytest.mark.parametrize("fused", [0, 1, 12])
def test_short_names_fit_and_keep_both_ends(length: int, fused: int):
    name = "<" + "n" * (length - 1) + ";part" * fused

    shown = layers.short_name(name)

    assert len(shown) <= 30
    assert shown[0] == "<"
    assert shown.endswith(f" +{fused}" if fused else name[-1])


def test_exact_layers_are_no_losers_and_broken_ones_are_the_worst():
    errors = (error("broken", -math.inf), error("bad", -3.0), error("fine", 30.0), error("exact", math.inf))

    (chart, *_) = layers.charts(document_with(errors))

    assert [row[0] for row in chart.rows] == ["broken", "bad", "fine"]
    assert [value["sqnr"] for value in chart.spec["data"]["values"]] == [0.0, -3.0, 30.0]
    assert chart.spec["data"]["values"][0]["text"] == "not finite"


def test_text_names_three_layers_a_build_and_json_all():
    document = document_of(samples.demo_run())

    block = text.render(document).split("Layers that lose most")[1].split("\n\n")[0]

    assert len(re.findall("dB", block)) == 3 * 3
    assert json.render(document).count('"layer": "PartitionedCall/') == 13


def test_a_note_takes_the_place_of_what_could_not_be_measured():
    document = document_with(note="the child process crashed")

    for module in (html, markdown, text):
        shown = module.render(document)
        assert "tflite-static-int8" in shown.partition("lose most")[2]
        assert "not measured, the child process crashed" in shown


def test_without_layers_there_is_no_section():
    for module in (html, markdown, text):
        assert "lose most" not in module.render(document_with())


def test_doubts_of_one_kind_are_one_line_with_the_range_of_their_figures():
    found = dict(words.doubts(document_of(samples.demo_run())))

    spread = "Session medians lie 8 to 89 % apart; differences below that mean nothing."
    assert found[spread] == ["coreml-weight-int8, onnx-float32, tflite-static-int8 on Xeon E5-2686 v4"]
    assert [line for line in found if line.startswith("Taken on this host")]
    assert len(found) == 3


def test_two_doubts_of_one_kind_name_their_build_once():
    entry = samples.BUILDS[5]
    twice = tuple(Doubt(kind="busy", message=f"Busy {share} %.") for share in (30, 40))
    document = document_of(samples.run_of((samples.cell(entry, doubts=twice),)))

    assert words.doubts(document) == [("Busy 30 to 40 %.", ["tflite-static-int8 on Xeon E5-2686 v4"])]


@pytest.mark.parametrize(
    ("messages", "together"),
    [
        (["1 record did not come.", "4 records did not come."], "1 to 4 records did not come."),
        (["Changed by -10 % in 1 of 3.", "Changed by +7 % in 3 of 3."], "Changed by -10 to +7 % in 1 to 3 of 3."),
        (["One.", "No 2."], "One. No 2."),
        ([f"{'9' * 5000}", f"{'8' * 5000}"], None),
    ],
)
def test_sentences_are_put_together_number_by_number(messages: list[str], together: str | None):
    shown = words._together(messages)

    assert shown == together if together else shown


def test_doubts_of_old_records_are_told_apart_by_their_words():
    rows = document_of(samples.extreme_run())

    assert [doubt for doubt, _ in words.doubts(rows)] == ["Executed by a stand-in."]
