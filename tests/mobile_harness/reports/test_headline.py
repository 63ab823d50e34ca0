"""The advice ships nothing that did not pass, and ranks by latency on phones alone."""

from __future__ import annotations

import dataclasses

import report_samples as samples

from mobile_harness.records import Cell, Doubt, RunRecord
from mobile_harness.reports._document import document_of
from mobile_harness.reports.base import Advice
from toolkit.core.artifacts import Score
from toolkit.core.manifest import BuildEntry

FLOAT, SMALL = samples.BUILDS[4], samples.BUILDS[5]
OTHER = dataclasses.replace(
    SMALL, id="tflite-weight-int8", recipe="weight-int8", size_bytes=60_000, sha256=samples.sha("other")
)


def advice_for(target: str, run: RunRecord) -> Advice:
    (advice,) = (advice for advice in document_of(run).headline if advice.target == target)
    return advice


def tflite_run(*builds: BuildEntry, cells: tuple[Cell, ...]) -> RunRecord:
    manifest = dataclasses.replace(samples.MANIFEST, builds=builds, not_expressible=(), failed=())
    return samples.run_of(cells, manifest)


def scored(entry: BuildEntry, score: Score) -> BuildEntry:
    return dataclasses.replace(entry, score=score, verdict=score.verdict)


def test_a_build_that_passed_and_ran_ships_with_its_reasons():
    advice = advice_for("tflite", samples.demo_run())

    assert (advice.decision, advice.build_id) == ("ship", "tflite-static-int8")
    assert advice.figures == "host figures: not a phone's"
    sentence = advice.sentence.replace("\xa0", " ")
    assert sentence.startswith(
        "Ship static-int8: top-1 98.2 %, 0.25 pp below the float model, within the budget of 1.00 pp"
    )
    assert "64.9 kB, 3.1× smaller than float32" in sentence
    assert "faster than float32" in sentence
    assert sentence.endswith("2 doubts about its figures.")


def test_an_undecided_build_waits_for_the_samples_that_would_decide():
    advice = advice_for("onnx", samples.demo_run())

    assert advice.decision == "hold"
    assert "about 1,640 more labelled samples would decide" in advice.reason
    assert "it failed on Xeon E5-2686 v4" in advice.reason


def test_a_build_that_failed_its_check_is_stopped_and_float32_offered():
    worse = scored(SMALL, samples.score(0.941, 0.031, 0.056, "fail"))
    run = tflite_run(FLOAT, worse, cells=(samples.cell(FLOAT), samples.cell(worse)))

    advice = advice_for("tflite", run)

    assert (advice.decision, advice.title) == ("stop", "Do not ship static-int8")
    assert "ship float32 instead" in advice.reason


def test_a_build_that_failed_on_a_device_does_not_ship():
    cells = (samples.cell(SMALL, samples.PIXEL), samples.failed_cell(SMALL, samples.GALAXY))

    advice = advice_for("tflite", tflite_run(FLOAT, SMALL, cells=cells))

    assert advice.decision == "hold"
    assert "it failed on SM-S921N" in advice.reason


def test_a_build_that_ran_nowhere_does_not_ship():
    advice = advice_for("tflite", tflite_run(FLOAT, SMALL, cells=()))

    assert advice.decision == "hold"
    assert "no device measured it, `palmtop bench` does" in advice.reason


def test_an_unchecked_build_does_not_ship():
    advice = advice_for("tflite", samples.unverified_run())

    assert advice.decision == "hold"
    assert "`palmtop verify`" in advice.reason


def test_on_a_host_the_smallest_is_advised_however_slow():
    cells = (samples.cell(SMALL), samples.cell(OTHER, speed=9.0))

    advice = advice_for("tflite", tflite_run(FLOAT, SMALL, OTHER, cells=cells))

    assert advice.build_id == "tflite-weight-int8"
    assert "smallest of the 2 that pass" in advice.reason


def test_on_phones_the_fastest_is_advised_whatever_a_host_says():
    cells = (
        samples.cell(SMALL, samples.PIXEL),
        samples.cell(OTHER, samples.PIXEL, speed=9.0),
        samples.cell(SMALL, samples.HOST, speed=90.0),
        samples.cell(OTHER, samples.HOST),
    )

    advice = advice_for("tflite", tflite_run(FLOAT, SMALL, OTHER, cells=cells))

    assert advice.build_id == "tflite-static-int8"
    assert "fastest on phones of the 2 that pass" in advice.reason
    assert "on Pixel 8" in advice.reason


def test_no_speed_factor_without_intervals_or_when_they_overlap():
    alike = (samples.cell(FLOAT), samples.cell(SMALL, speed=samples.MEDIANS[FLOAT.id] / samples.MEDIANS[SMALL.id]))
    single = (samples.cell(FLOAT, sessions=1), samples.cell(SMALL, sessions=1))

    assert "not clearly different" in advice_for("tflite", tflite_run(FLOAT, SMALL, cells=alike)).reason
    assert "one session only" in advice_for("tflite", tflite_run(FLOAT, SMALL, cells=single)).reason


def test_a_stand_in_gives_no_latency():
    cell = samples.cell(SMALL)
    notes = tuple(dataclasses.replace(session, notes=("stand_in_runtime",)) for session in cell.sessions)

    advice = advice_for("tflite", tflite_run(FLOAT, SMALL, cells=(dataclasses.replace(cell, sessions=notes),)))

    assert "latency not known" in advice.reason
    assert "median" not in advice.reason


def test_a_target_without_quantized_builds_says_why():
    manifest = dataclasses.replace(samples.MANIFEST, builds=(samples.BUILDS[0],), failed=())

    advice = advice_for("coreml", samples.run_of((), manifest))

    assert advice.decision == "stop"
    assert advice.sentence == (
        "No quantized build of coreml: static-int8 is not expressible; only the float32 build exists."
    )


def test_doubts_that_all_rows_share_are_not_counted_against_one():
    place = Doubt(kind="on_host", message="Taken on this host, not on a phone.")
    few = Doubt(kind="few_runs", message="Few runs.")
    cells = (samples.cell(FLOAT, doubts=(place,)), samples.cell(SMALL, doubts=(place, few)))

    assert "1 doubt about its figures" in advice_for("tflite", tflite_run(FLOAT, SMALL, cells=cells)).reason


def test_a_build_that_did_not_run_is_stopped_for_that_reason():
    crashed = dataclasses.replace(
        SMALL, score=None, tensor_errors={}, verdict="fail", verdict_reason="It did not run: SIGSEGV"
    )

    advice = advice_for("tflite", tflite_run(FLOAT, crashed, cells=(samples.cell(FLOAT), samples.cell(crashed))))

    assert advice.sentence.startswith("Do not ship static-int8: it did not run: SIGSEGV; ship float32 instead")


def test_an_output_that_is_not_finite_stops_a_build_whatever_its_score():
    broken = dataclasses.replace(SMALL, verdict="fail", verdict_reason="Against the float model digit holds NaN.")

    advice = advice_for("tflite", tflite_run(FLOAT, broken, cells=(samples.cell(broken),)))

    assert advice.sentence.startswith("Do not ship static-int8: against the float model digit holds NaN; quantize")
    assert "within the budget" not in advice.reason
