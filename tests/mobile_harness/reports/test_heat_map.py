"""The heat map holds builds against each other on one device, and never devices."""

from __future__ import annotations

import dataclasses

import report_samples as samples

from mobile_harness.reports import _downloads, _heat_map, _performance
from mobile_harness.reports._document import document_of


def map_of(run: str) -> _heat_map.HeatMap:
    found = _heat_map.heat_map(document_of(samples.RUNS[run]()))
    assert found is not None
    return found


def test_each_device_has_a_best_build_of_its_own():
    found = map_of("lab")

    for line in found.lines:
        steps = [cell.shades[0].step for cell in line.cells if cell.shades]
        assert min(steps) == 0
    assert [line.device.kind for line in found.lines] == ["phone", "phone", "phone", "emulator", "host"]


def test_what_has_no_figure_says_why():
    (line,) = map_of("demo").lines
    outcomes = {build.id: cell.outcome for build, cell in zip(map_of("demo").builds, line.cells, strict=True)}

    assert outcomes["onnx-static-int8"] == "failed"
    assert outcomes["tflite-float32"] == ""
    assert [cell.outcome for cell in map_of("lab").lines[0].cells[:2]] == ["not in this run"] * 2


def test_a_stand_in_has_no_colour_and_is_no_best():
    found = map_of("extreme")

    for build, cell in zip(found.builds, found.lines[0].cells, strict=True):
        assert (cell.outcome == "stand-in") == (build.target == "coreml")
        assert (cell.shades[0].step is None) == (build.target == "coreml")


def test_metrics_that_nobody_took_cannot_be_chosen():
    assert [metric.name for metric in map_of("lab").metrics] == ["median", "p90", "load", "first", "memory"]
    assert "energy" in [metric.name for metric in map_of("warm").metrics]


def test_nothing_to_compare_is_no_map():
    assert _heat_map.heat_map(document_of(samples.failed_run())) is None
    assert _heat_map.heat_map(document_of(samples.empty_run())) is None


def test_the_networks_are_those_of_the_phones_of_the_run():
    times, note = _downloads.times_of(samples.BUILDS, (samples.PIXEL, samples.HOST))

    assert note.startswith("typical rates for pixel-8;")
    wifi = next(item for item in times if item.network == "wifi" and item.build_id == "onnx-float32")
    assert wifi.shortest_s == wifi.longest_s == 201_544 * 8 / (wifi.slowest_mbit_s * 1e6)
    _, note = _downloads.times_of(samples.BUILDS, (samples.HOST,))
    assert "classes of phones that palmtop knows" in note
    assert _downloads.times_of((), (samples.HOST,)) == ((), "")


def test_a_trace_and_a_distribution_hold_every_run():
    cell = samples.cell(samples.BUILDS[-1], samples.PIXEL, sessions=2, runs=130)

    done = _performance.performance_of(cell)

    assert done.distribution is not None
    assert sum(done.distribution.counts) + done.distribution.above == 260
    assert done.distribution.edges_ns()[0] == done.distribution.low_ns
    for session, figures in zip(cell.sessions, done.sessions, strict=True):
        assert len(figures.trace_ns) == 65
        assert list(figures.trace_at_ns) == sorted(figures.trace_at_ns)
        assert figures.trace_at_ns[-1] == sum(session.latency_ns)


def test_equal_runs_have_a_distribution_and_thinned_ones_their_whole_time():
    cell = samples.cell(samples.BUILDS[-1], sessions=1, runs=50)
    flat = dataclasses.replace(cell.sessions[0], latency_ns=(1_000,) * 50, stride=4)

    done = _performance.performance_of(dataclasses.replace(cell, sessions=(flat,)))

    assert done.distribution is not None
    assert (sum(done.distribution.counts), done.distribution.above) == (50, 0)
    assert done.sessions[0].trace_at_ns[-1] == 4 * 50_000


def test_heat_is_told_of_the_part_that_both_ends_have():
    row = next(row for row in document_of(samples.warm_run()).rows if row.device_name == "Pixel 8")

    heat = row.performance.sessions[1].heat
    assert (heat.part, heat.start_c, heat.cooled, heat.waited_s) == ("skin", 33.0, False, 41.5)
    assert row.performance.pss_kb == 58_200
    assert row.placement.delegated_nodes == 31
