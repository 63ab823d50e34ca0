from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from comparison_records import HOST, PHONE, STEADY, build, cell, run, score, session, times

from mobile_harness import comparer, plans
from mobile_harness.comparer import Change, Comparison, Criteria
from mobile_harness.records import Aggregate, Cell
from mobile_harness.records.state import Cooled, Energy, Thermal, Unavailable, Vitals
from toolkit.core import codec
from toolkit.core.errors import SettingsError

NOISY = (1.0, 1.2, 0.9, 1.1, 0.8, 1.15, 0.95, 1.3)


def compare(before: Cell, after: Cell, **criteria: Any) -> Comparison:
    return comparer.compare(run([before]), run([after]), Criteria(**criteria))


def change(found: Comparison, metric: str = "latency") -> Change:
    changes = [item for one in (*found.cells, *found.builds) for item in one.changes if item.metric == metric]
    assert len(changes) == 1
    return changes[0]


@pytest.mark.parametrize(
    ("ratio", "verdict"), [(1.10, "regressed"), (1 / 1.10, "improved"), (1.0, "equivalent"), (1.02, "equivalent")]
)
def test_a_change_is_told_from_noise(ratio: float, verdict: str) -> None:
    found = compare(cell(STEADY), cell(times(STEADY, ratio)))
    latency = change(found)
    assert (latency.verdict, found.verdict, found.cells[0].verdict) == (verdict, verdict, verdict)
    assert latency.effect == pytest.approx(ratio, rel=1e-4)
    assert latency.low is not None
    assert latency.high is not None
    assert latency.low < latency.effect < latency.high
    assert found.gate.failed == (verdict == "regressed")
    assert found.counts[verdict] == 1


def test_noise_is_inconclusive_and_says_what_would_help() -> None:
    found = compare(cell(NOISY), cell(times(NOISY, 1.05)))
    latency = change(found)
    assert latency.verdict == "inconclusive"
    assert latency.detectable is not None
    assert latency.detectable > 0.2
    assert latency.sessions_needed is not None
    assert latency.sessions_needed > 50
    assert f"{latency.sessions_needed} sessions a side would find one of 5 %" in latency.reason
    assert not found.gate.failed
    assert "1 of 1 changes are inconclusive, which passes." in found.gate.note


def test_one_session_a_side_proves_nothing() -> None:
    found = compare(cell([1.0]), cell([2.0]))
    latency = change(found)
    assert (latency.verdict, latency.p, latency.low) == ("inconclusive", None, None)
    assert "1 session on one side" in latency.reason
    assert latency.effect == pytest.approx(2.0, rel=1e-4)
    assert not found.gate.failed


def test_sessions_that_agree_to_the_nanosecond_prove_no_small_change() -> None:
    found = change(compare(cell([1.0] * 3), cell([1.003] * 3)))
    assert found.verdict == "equivalent"
    assert found.p is not None
    assert found.p > 0.05


def test_many_cells_share_one_false_alarm_rate() -> None:
    slower = times(STEADY, 1.0078)  # alone significant at a margin of half a percent
    alone = compare(cell(STEADY), cell(slower), margin=0.005)
    assert change(alone).verdict == "regressed"
    devices = [dataclasses.replace(PHONE, serial=f"S{index}") for index in range(20)]
    before = [cell(STEADY, device=device) for device in devices]
    after = [cell(slower if index == 0 else STEADY, device=device) for index, device in enumerate(devices)]
    found = comparer.compare(run(before), run(after), Criteria(margin=0.005))
    first = found.cells[0].changes[0]
    assert first.family == 20
    assert first.p_adjusted == pytest.approx(20 * (first.p or 0))
    assert first.verdict == "inconclusive"
    assert not found.gate.failed


def test_what_is_no_phone_fails_no_gate_unless_asked() -> None:
    sides = cell(STEADY, device=HOST), cell(times(STEADY, 1.5), device=HOST)
    found = compare(*sides)
    assert found.verdict == "regressed"
    assert (found.gate.failed, found.gate.looked_at) == (False, 0)
    assert "No device's figure may fail this gate" in found.gate.note
    asked = compare(*sides, gate_kinds=("phone", "host"))
    assert asked.gate.regressed == ("onnx-static-int8@host:1f3a (latency)",)


UNLIKE = {
    "environment": {"device": dataclasses.replace(PHONE, kind="emulator")},
    "device model": {"device": dataclasses.replace(PHONE, soc="another")},
    "fingerprint": {"device": dataclasses.replace(PHONE, os_version="16")},
    "runner": {"runner": "native"},
    "runtime": {"runtime": "tflite"},
    "runtime version": {"runtime_version": "1.33.0"},
    "threads": {"plan": dataclasses.replace(plans.load("gate"), threads=4)},
    "accelerator": {"plan": dataclasses.replace(plans.load("gate"), accelerator="gpu")},
    "plan": {"plan": plans.load("quick")},
}


@pytest.mark.parametrize("name", UNLIKE)
def test_unlike_measurements_are_refused_by_name_and_allowed_by_name(name: str) -> None:
    before = cell(STEADY)
    after = cell(times(STEADY, 2), id=before.id, **UNLIKE[name])
    found = compare(before, after)
    assert found.cells[0].status == "refused"
    assert [item.name for item in found.cells[0].differences if item.refused] == [name]
    assert name in found.cells[0].reason
    assert found.cells[0].changes == ()
    assert not found.gate.failed
    assert found.sentence == "Nothing could be compared: 1 refused."
    assert "1 cells could not be compared, which passes." in found.gate.note
    allowed = compare(before, after, allowed=(name,))
    assert allowed.cells[0].status == "compared"
    assert [(item.name, item.refused) for item in allowed.cells[0].differences] == [(name, False)]


def test_a_plan_of_one_name_with_other_times_is_another_plan() -> None:
    longer = dataclasses.replace(plans.load("gate"), min_seconds=60.0, sessions=3)
    (difference,) = compare(cell(STEADY), cell(STEADY, plan=longer)).cells[0].differences
    assert (difference.name, difference.before, difference.after) == ("plan", "min_seconds=6", "min_seconds=60")


def heated(status: int) -> Cell:
    thermal = Thermal(status=status, overridden=False, source="current", temperatures=(), skipped=0)
    cooled = Cooled(waited_s=0, reached=True, reason="", vitals=Vitals(at_ns=1, thermal=thermal))
    return cell(
        [], sessions=tuple(session(i, median, cooled=cooled) for i, median in enumerate(STEADY)), outcome="measured"
    )


def test_a_warm_phone_is_not_compared_with_a_cool_one() -> None:
    found = compare(heated(0), heated(2))
    assert found.cells[0].status == "refused"
    assert "thermal class: none before, moderate after" in found.cells[0].reason
    assert compare(heated(0), heated(0)).cells[0].status == "compared"


def test_what_only_one_side_tells_is_flagged_not_refused() -> None:
    found = compare(cell(STEADY), heated(0))
    assert found.cells[0].status == "compared"
    assert [(item.name, item.refused) for item in found.cells[0].differences] == [("thermal class", False)]


def test_another_model_of_one_name_is_flagged_and_of_another_name_refused() -> None:
    base, head = run([cell(STEADY)], [build()]), run([cell(STEADY)], [build()])
    source = dataclasses.replace(head.manifest.source, sha256="6" * 64)
    head = dataclasses.replace(head, manifest=dataclasses.replace(head.manifest, source=source))
    found = comparer.compare(base, head)
    assert [(item.name, item.refused) for item in found.differences] == [("model", False)]
    assert found.cells[0].status == "compared"
    source = dataclasses.replace(source, name="other")
    head = dataclasses.replace(head, manifest=dataclasses.replace(head.manifest, source=source))
    refused = comparer.compare(base, head)
    assert (refused.cells[0].status, refused.builds) == ("refused", ())
    assert comparer.compare(base, head, Criteria(allowed=("model",))).cells[0].status == "compared"


def test_cells_without_a_partner_or_figures_are_named() -> None:
    other = dataclasses.replace(PHONE, serial="OTHER")
    base = run([cell(STEADY), cell(STEADY, build_id="onnx-old", recipe="old"), cell(STEADY, device=other)])
    head = run([cell([]), cell(STEADY, build_id="onnx-new", recipe="new")])
    found = comparer.compare(base, head)
    assert [(one.status, one.verdict) for one in found.cells] == [("unmeasured", None)]
    assert found.cells[0].reason == "No figures in the head run: The app crashed."
    assert [(one.side, one.reason) for one in found.lone] == [
        ("base", "The other run has no such build."),
        ("base", "The other run has no such device."),
        ("head", "The other run has no such build."),
    ]
    assert (found.verdict, found.gate.failed) == ("inconclusive", False)


def test_empty_runs_compare_to_nothing() -> None:
    found = comparer.compare(run([]), run([]))
    assert (found.cells, found.verdict, found.gate.failed) == ((), "inconclusive", False)
    assert "Nothing could be compared." in comparer.text.render(found)


OUTCOMES = np.array([1.0] * 190 + [0.0] * 10)


def builds_of(before: np.ndarray, after: np.ndarray, **more: Any) -> tuple[Comparison, Change]:
    found = comparer.compare(
        run([cell(STEADY)], [build(score=score(before))]),
        run([cell(STEADY)], [build(score=score(after), sha256="c" * 64, **more)]),
    )
    return found, change(found, "accuracy")


def test_accuracy_is_tested_on_the_same_samples() -> None:
    worse = OUTCOMES.copy()
    worse[:15] = 0
    found, accuracy = builds_of(OUTCOMES, worse)
    assert (accuracy.method, accuracy.verdict) == ("paired", "regressed")
    assert accuracy.effect == pytest.approx(-15 / 200)
    assert accuracy.p == pytest.approx(2 * 0.5**15)
    assert "15 were lost and 0 won" in accuracy.reason
    assert found.gate.regressed == ("onnx-static-int8 (accuracy)",)
    _, back = builds_of(worse, OUTCOMES)
    assert back.verdict == "improved"


def test_as_many_lost_as_won_is_no_regression() -> None:
    moved = np.roll(OUTCOMES, 10)
    _, accuracy = builds_of(OUTCOMES, moved)
    assert (accuracy.p, accuracy.effect) == (1.0, 0.0)
    assert accuracy.verdict == "inconclusive"


def test_the_same_file_has_the_same_accuracy() -> None:
    one = run([cell(STEADY)], [build(score=score(OUTCOMES))])
    accuracy = change(comparer.compare(one, one), "accuracy")
    assert (accuracy.method, accuracy.verdict, accuracy.effect) == ("exact", "equivalent", 0.0)


def test_values_that_are_no_hits_are_paired_by_signs() -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(5, 1, 300)
    _, accuracy = builds_of(before, before - rng.normal(0.3, 0.2, 300))
    assert (accuracy.method, accuracy.verdict) == ("paired", "regressed")
    _, same = builds_of(before, before + rng.normal(0, 0.001, 300))
    assert same.verdict == "equivalent"


@pytest.mark.parametrize("damage", ["", "bits:AAAA", "bits:!!", "floats:AAAA", "other:AAAA"])
def test_without_each_samples_outcome_the_scores_are_unpaired_and_gate_nothing(damage: str) -> None:
    worse = OUTCOMES.copy()
    worse[:60] = 0
    kept = dataclasses.replace(score(worse), outcomes=damage)
    found = comparer.compare(
        run([cell(STEADY)], [build(score=score(OUTCOMES))]), run([cell(STEADY)], [build(score=kept, sha256="c" * 64)])
    )
    accuracy = change(found, "accuracy")
    assert (accuracy.method, accuracy.p, accuracy.gates, accuracy.verdict) == ("unpaired", None, False, "regressed")
    assert "Unpaired" in accuracy.reason
    assert not found.gate.failed


def test_scores_of_other_samples_are_not_compared() -> None:
    base = run([cell(STEADY)], [build(score=score(OUTCOMES))])
    head = run([cell(STEADY)], [build(score=score(OUTCOMES[:50]), sha256="c" * 64)])
    accuracy = change(comparer.compare(base, head), "accuracy")
    assert (accuracy.method, accuracy.effect, accuracy.verdict) == ("none", None, "inconclusive")
    assert accuracy.reason.startswith("Scored on other samples than before.")


def test_size_is_counted_and_memory_is_tested_and_neither_gates() -> None:
    bigger = tuple(dataclasses.replace(one, peak_rss_kb=4000) for one in cell(STEADY).sessions)
    found = comparer.compare(
        run([cell(STEADY)], [build()]), run([cell(STEADY, sessions=bigger)], [build(size_bytes=1100)])
    )
    size, memory = change(found, "size"), change(found, "memory")
    assert (size.method, size.verdict, size.effect) == ("exact", "regressed", 1.1)
    assert (memory.method, memory.verdict) == ("sessions", "regressed")
    assert not found.gate.failed
    asked = comparer.compare(
        run([cell(STEADY)]), run([cell(STEADY, sessions=bigger)]), Criteria(gate_metrics=("memory",))
    )
    assert asked.gate.regressed == ("onnx-static-int8@adb:R5CT (memory)",)


ENERGY = Energy(
    method="power_monitors", per_inference_uj=100.0, idle_uw=1.0, pairs=5, spread=0.02, resolution_uj=0.1, declined=()
)


@pytest.mark.parametrize(("factor", "verdict"), [(1.2, "regressed"), (1.03, "inconclusive"), (0.8, "improved")])
def test_energy_has_the_band_of_its_meter(factor: float, verdict: str) -> None:
    after = dataclasses.replace(ENERGY, per_inference_uj=100.0 * factor)
    found = compare(cell(STEADY, energy=ENERGY), cell(STEADY, energy=after))
    energy = change(found, "energy")
    assert (energy.verdict, energy.method, energy.gates) == (verdict, "meter", False)
    assert energy.high == pytest.approx(factor * 1.05)


def test_energy_is_compared_like_with_like_only() -> None:
    other = dataclasses.replace(ENERGY, method="current_voltage")
    mixed = change(compare(cell(STEADY, energy=ENERGY), cell(STEADY, energy=other)), "energy")
    assert (mixed.effect, mixed.verdict) == (None, "inconclusive")
    assert "power monitors before, current voltage after; methods are never mixed" in mixed.reason
    absent = Unavailable(reason="the battery is charging")
    missing = change(compare(cell(STEADY, energy=ENERGY), cell(STEADY, energy=absent)), "energy")
    assert "no figure after (the battery is charging)" in missing.reason
    assert all(item.metric != "energy" for item in compare(cell(STEADY), cell(STEADY)).cells[0].changes)


def test_averages_of_a_native_tool_are_called_so() -> None:
    told = Aggregate(runner="native", runs=50, average_ns=1_000_000)
    sessions = tuple(session(i, 1.0, aggregate=told, latency_ns=()) for i in range(3))
    found = change(compare(*(cell([], sessions=sessions, outcome="measured", runner="native") for _ in range(2))))
    assert found.before == pytest.approx(1e6)
    assert "Averages, not medians" in found.reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"margin": 0.0}, {"margin": 1.0}, {"margin": float("nan")}, {"confidence": 1.0}, {"confidence": 0.2},
        {"gate_kinds": ("fone",)}, {"gate_metrics": ("latncy",)}, {"allowed": ("thread",)},
    ],
)  # fmt: skip
def test_criteria_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        comparer.compare(run([]), run([]), Criteria(**wrong))


def test_a_comparison_is_json_and_back() -> None:
    found = compare(cell(NOISY), cell(times(NOISY, 1.05)))
    plain = json.loads(codec.pretty(found))
    assert codec.structure(plain, Comparison, what="comparison") == found


def test_the_text_says_what_matters_once() -> None:
    devices = [dataclasses.replace(PHONE, serial=f"S{index}", kind="host") for index in range(5)]
    before = [cell(STEADY, device=device) for device in devices]
    after = [cell(STEADY, device=device, runtime_version="2") for device in devices]
    shown = comparer.text.render(comparer.compare(run(before), run(after)))
    assert shown.count("Not comparable: runtime version: 1.32.0 before, 2 after.") == 1
    assert "onnx-static-int8@adb:S0 and 4 more:" in shown
