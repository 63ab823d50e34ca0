"""The document holds what the record says, and concludes no more than that."""

from __future__ import annotations

import dataclasses
import json

import pytest
import report_samples as samples

from mobile_harness import stats
from mobile_harness.records import RunRecord
from mobile_harness.reports import _document
from mobile_harness.reports._document import document_of
from mobile_harness.reports.base import Document, Row
from toolkit.core import codec


def row_of(document: Document, build_id: str) -> Row:
    (row,) = (row for row in document.rows if row.build_id == build_id)
    return row


def test_every_cell_and_every_build_has_a_row():
    document = document_of(samples.demo_run())

    outcomes = {row.build_id: row.outcome for row in document.rows}
    assert outcomes == {
        "coreml-weight-int8": "measured",
        "onnx-float32": "measured",
        "onnx-static-int8": "failed",
        "tflite-float32": "measured",
        "tflite-static-int8": "measured",
        "coreml-float32": "unmeasured",
    }


def test_figures_are_those_of_the_sessions():
    run = samples.demo_run()
    (cell,) = (cell for cell in run.cells if cell.build_id == "tflite-static-int8")

    performance = row_of(document_of(run), "tflite-static-int8").performance

    assert performance is not None
    summary = stats.summarise([session.latency_ns for session in cell.sessions])
    assert performance.median_ns == summary.median_ns
    assert performance.interval == summary.interval
    assert performance.p90_ns == summary.p90_ns
    assert performance.runs == sum(len(session.latency_ns) for session in cell.sessions) == 2000
    assert performance.peak_rss_kb == max(session.peak_rss_kb for session in cell.sessions)
    assert [session.median_ns for session in performance.sessions] == [
        stats.percentile(session.latency_ns, 0.5) for session in cell.sessions
    ]


def test_size_ratio_is_against_the_float32_build_of_the_same_target():
    document = document_of(samples.demo_run())

    assert row_of(document, "tflite-static-int8").size_ratio == pytest.approx(198_760 / 64_904)
    assert row_of(document, "onnx-static-int8").size_ratio == pytest.approx(201_544 / 66_310)
    assert row_of(document, "tflite-float32").size_ratio == 1.0


def test_size_ratio_is_unknown_without_a_float32_build():
    manifest = dataclasses.replace(samples.MANIFEST, builds=samples.BUILDS[1:2])

    assert document_of(samples.run_of((), manifest)).rows[0].size_ratio is None


def test_few_runs_publish_no_percentile_and_one_session_no_interval():
    performance = row_of(document_of(samples.one_session_run()), "tflite-static-int8").performance

    assert performance is not None
    assert performance.interval is None
    assert (performance.p90_ns, performance.p99_ns) == (None, None)
    assert performance.sessions[0].q25_ns is None


def test_phones_come_first_and_devices_of_one_model_have_their_serials():
    twin = dataclasses.replace(samples.PIXEL, serial="34211FDJH00999")
    cells = tuple(
        samples.cell(samples.BUILDS[-1], device) for device in (samples.HOST, samples.PIXEL, twin, samples.EMULATOR)
    )

    names = [row.device_name for row in document_of(samples.run_of(cells)).rows if row.device]

    assert names == [
        "Pixel 8 34211FDJH00123",
        "Pixel 8 34211FDJH00999",
        "sdk_gphone64_x86_64",
        "Xeon E5-2686 v4",
    ]


def test_a_cell_of_a_build_that_the_manifest_lacks_is_shown_without_a_score():
    cell = dataclasses.replace(samples.cell(samples.BUILDS[-1]), build_id="tflite-mine")
    manifest = dataclasses.replace(samples.MANIFEST, builds=())

    (row,) = document_of(samples.run_of((cell,), manifest)).rows

    assert row.performance is not None
    assert (row.accuracy, row.verdict, row.size_ratio) == (None, None, None)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (samples.demo_run, "Host figures: measured on the computer that ran palmtop, not on a phone."),
        (samples.failed_run, "Nothing was measured in this run."),
        (samples.lab_run, _document._MIXED),
    ],
)
def test_where_says_what_the_figures_are_not(run, expected):
    assert document_of(run()).where == expected


@pytest.mark.parametrize("name", samples.RUNS)
def test_the_document_survives_json(name: str):
    document = document_of(samples.RUNS[name]())

    plain = json.loads(codec.pretty(document))

    assert plain["schema"] == 1
    assert codec.structure(plain, Document, what="document") == document


def test_a_score_reads_as_a_percentage_only_where_samples_are_right_or_wrong():
    def accuracy_of(run: RunRecord) -> bool | None:
        accuracy = document_of(run).builds[0].accuracy
        return accuracy and accuracy.fraction

    assert accuracy_of(samples.demo_run()) is True
    assert accuracy_of(samples.extreme_run()) is False
