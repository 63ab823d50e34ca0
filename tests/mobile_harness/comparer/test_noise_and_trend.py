from __future__ import annotations

import dataclasses

import pytest
from comparison_records import HOST, PHONE, STEADY, cell, run, times

from mobile_harness import comparer
from mobile_harness.history import StoredCell
from mobile_harness.records import Cell
from toolkit.core.errors import BadInput


def test_a_steady_device_has_a_low_noise_floor() -> None:
    found = comparer.self_check(run([cell(STEADY)]), run([cell(STEADY[::-1])]))
    (floor,) = found.floors
    assert floor.observed == pytest.approx(1.0)
    assert floor.deviation == pytest.approx(0.006, abs=0.001)
    assert floor.detectable is not None
    assert floor.detectable < 0.02
    assert floor.sessions_needed == 2
    assert not floor.alarm
    assert "Changes from" in floor.reason
    assert "noise floor" in comparer.text.self_check(found)


def test_a_device_that_differs_from_itself_raises_the_alarm() -> None:
    (floor,) = comparer.self_check(run([cell(STEADY)]), run([cell(times(STEADY, 1.2))])).floors
    assert floor.alarm
    assert "+20.0 % off though nothing changed" in floor.reason


def test_one_run_splits_into_two_halves_that_drift_falls_on_alike() -> None:
    warming = [100.0 + at for at in range(8)]
    first, second = comparer.split(run([cell(warming), cell([1.0], build_id="lone", recipe="lone")]))
    assert [session.index for session in first.cells[0].sessions] == [0, 3, 4, 7]
    assert [session.index for session in second.cells[0].sessions] == [1, 2, 5, 6]
    assert [len(half.cells[1].sessions) for half in (first, second)] == [1, 0]
    (floor,) = comparer.self_check(first, second).floors
    assert (floor.sessions_before, floor.sessions_after) == (4, 4)
    assert floor.observed == pytest.approx(1, abs=1e-3)


def test_one_session_a_side_has_no_noise_floor() -> None:
    (floor,) = comparer.self_check(run([cell([1.0])]), run([cell([1.1])])).floors
    assert (floor.observed, floor.detectable, floor.alarm) == (None, None, False)
    assert "One session a side" in floor.reason
    assert "over 1000" in comparer.text.self_check(comparer.self_check(run([cell([1.0])]), run([cell([1.1])])))


def test_a_self_check_of_other_builds_is_bad_input() -> None:
    with pytest.raises(BadInput, match="no cell that was measured in both"):
        comparer.self_check(run([cell(STEADY)]), run([cell(STEADY, build_sha256="c" * 64)]))


def stored(cells: list[Cell], model: str = "net") -> list[StoredCell]:
    return [
        StoredCell(run_id=f"20261123-00{index:02d}-aaaa", created_utc=f"2026-11-{index + 1:02d}", model=model, cell=one)
        for index, one in enumerate(cells)
    ]


def test_a_change_of_level_is_marked_with_what_changed_there() -> None:
    before = [cell(times(STEADY, 1 + 0.002 * (index % 3))) for index in range(8)]
    after = [cell(times(STEADY, 1.08 + 0.002 * (index % 3)), runtime_version="1.33.0") for index in range(8)]
    (found,) = comparer.trends(stored([*before, *after]))
    marked = [(index, point.step) for index, point in enumerate(found.points) if point.step is not None]
    assert marked == [(8, pytest.approx(1.08, abs=0.005))]
    assert found.points[8].changed == ("runtime version: 1.32.0 → 1.33.0",)
    assert sum(bool(point.changed) for point in found.points) == 1
    shown = comparer.text.trend(found)
    assert "◆ +8." in shown or "◆ +7." in shown


def test_models_and_devices_have_trends_of_their_own() -> None:
    cells = [cell(STEADY), cell(STEADY, device=HOST), cell(STEADY), cell([1.0], device=HOST)]
    found = comparer.trends([*stored(cells), *stored([cell(STEADY, device=PHONE)], model="other")])
    assert [(one.model, one.device.kind, len(one.points)) for one in found] == [
        ("net", "phone", 2),
        ("net", "host", 2),
        ("other", "phone", 1),
    ]
    assert found[1].points[1].low_ns is None
    assert "no phone's figures" in comparer.text.trend(found[1])
    assert comparer.trends([]) == ()


def test_a_new_file_of_the_build_is_told() -> None:
    one = cell(STEADY)
    (found,) = comparer.trends(stored([one, dataclasses.replace(one, build_sha256="c" * 64)]))
    assert found.points[1].changed == ("build: another file",)
