"""Two runs held against each other: cells are paired, unlike ones refused by name, the rest tested and judged.

A cell is paired with the one of the same device (its serial), target and recipe; two devices are never compared.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from importlib.metadata import version

from mobile_harness.comparer import accuracy, figures, likeness, verdicts
from mobile_harness.comparer.likeness import MODEL
from mobile_harness.comparer.values import (
    KINDS,
    METRICS,
    TESTED,
    BuildComparison,
    CellComparison,
    Change,
    Comparison,
    Criteria,
    Difference,
    Gate,
    Lone,
    RunRef,
    Status,
    Verdict,
)
from mobile_harness.comparer.verdicts import Key, Tested
from mobile_harness.records import Cell, RunRecord
from toolkit.core.errors import SettingsError, unknown_name
from toolkit.core.manifest import BuildEntry

_CellKey = tuple[str, str, str]


def compare(base: RunRecord, head: RunRecord, criteria: Criteria | None = None) -> Comparison:
    """Hold two runs against each other.

    Raises:
        SettingsError: the criteria name a kind, metric or difference that does not exist, or are out of range.
    """
    criteria = check(criteria or Criteria())
    differences = likeness.of_runs(base, head, criteria)
    pairs = _paired(base, head)
    refused = tuple(item for item in differences if item.refused)
    plain = [_cell(before, after, refused, criteria) for before, after in pairs]
    files = [] if refused else _builds(base, head)
    tested = {**_tested_cells(pairs, plain, criteria), **_tested_builds(base, head, files, criteria)}
    judged = verdicts.judge(tested, criteria)
    cells = tuple(_with_changes(cell, judged) for cell in plain)
    builds = tuple(_build(before, after, judged) for before, after in files)
    return _whole(base, head, criteria, (differences, cells, builds))


def check(criteria: Criteria) -> Criteria:
    """Return criteria that make sense.

    Raises:
        SettingsError: they do not.
    """
    if not 0 < criteria.margin < 1:
        raise SettingsError(f"A margin of {criteria.margin:g} is none.", hint="Give a share such as 0.05 for 5 %.")
    if not 0.5 <= criteria.confidence < 1:
        raise SettingsError(f"A confidence of {criteria.confidence:g} is none.", hint="Give a share such as 0.95.")
    for kind, names, known in (
        ("kind of device", criteria.gate_kinds, KINDS),
        ("metric", criteria.gate_metrics, TESTED),
    ):
        for name in names:
            if name not in known:
                raise unknown_name(kind, name, known)
    likeness.check_allowed(criteria.allowed)
    return criteria


def _key(cell: Cell) -> _CellKey:
    return cell.device.serial, cell.target, cell.recipe


def _paired(base: RunRecord, head: RunRecord) -> list[tuple[Cell, Cell]]:
    before = {_key(cell): cell for cell in base.cells}
    return [(before[_key(cell)], cell) for cell in head.cells if _key(cell) in before]


def _cell(before: Cell, after: Cell, of_runs: tuple[Difference, ...], criteria: Criteria) -> CellComparison:
    measured = before.outcome == after.outcome == "measured"
    own = likeness.of_cells(before, after, criteria) if measured else ()
    refused = [item for item in (*of_runs, *own) if item.refused]
    status: Status = "unmeasured" if not measured else "refused" if refused else "compared"
    reason = _unmeasured(before, after) if not measured else ""
    if status == "refused":
        reason = f"Not comparable: {'; '.join(item.sentence for item in refused)}."
    return CellComparison(
        device=after.device,
        build_id=after.build_id,
        target=after.target,
        recipe=after.recipe,
        plan=after.plan.name,
        base_cell=before.id,
        head_cell=after.id,
        status=status,
        reason=reason,
        differences=own,
        changes=(),
        verdict=None,
        gates=after.device.kind in criteria.gate_kinds and before.device.kind in criteria.gate_kinds,
        doubts_before=before.doubts,
        doubts_after=after.doubts,
    )


def _unmeasured(before: Cell, after: Cell) -> str:
    said = []
    for cell, side in ((before, "base"), (after, "head")):
        if cell.outcome != "measured":
            why = cell.failure.message if cell.failure else "no reason is known."
            said.append(f"No figures in the {side} run: {why}")
    return " ".join(said)


def _tested_cells(
    pairs: Sequence[tuple[Cell, Cell]], plain: Sequence[CellComparison], criteria: Criteria
) -> dict[Key, Tested]:
    tested: dict[Key, Tested] = {}
    for (before, after), cell in zip(pairs, plain, strict=True):
        if cell.status != "compared":
            continue
        for found in figures.changes_of(before, after, criteria):
            metric = found.change.metric
            tested[cell.head_cell, metric] = Tested(
                change=found.change,
                gates=cell.gates and verdicts.gates(metric, after.device.kind, criteria),
                deviation=found.deviation,
            )
    return tested


def _with_changes(cell: CellComparison, judged: dict[Key, Change]) -> CellComparison:
    mine = tuple(judged[cell.head_cell, metric] for metric in METRICS if (cell.head_cell, metric) in judged)
    latency = next((change.verdict for change in mine if change.metric == "latency"), None)
    return dataclasses.replace(cell, changes=mine, verdict=latency)


def _builds(base: RunRecord, head: RunRecord) -> list[tuple[BuildEntry, BuildEntry]]:
    """Pair the builds of which each run has at least a cell."""
    ran = [{(cell.target, cell.recipe) for cell in record.cells} for record in (base, head)]
    before = {(build.target, build.recipe): build for build in base.manifest.builds}
    return [
        (before[name], build)
        for build in head.manifest.builds
        if (name := (build.target, build.recipe)) in before and name in ran[0] & ran[1]
    ]


def _tested_builds(
    base: RunRecord, head: RunRecord, files: Sequence[tuple[BuildEntry, BuildEntry]], criteria: Criteria
) -> dict[Key, Tested]:
    tested: dict[Key, Tested] = {}
    for before, after in files:
        tested[after.id, "size"] = Tested(change=figures.size_of(before.size_bytes, after.size_bytes), gates=False)
        sides = [accuracy.Side(manifest=run.manifest, build=build) for run, build in ((base, before), (head, after))]
        change = accuracy.compare(sides[0], sides[1], criteria)
        if change is not None:
            gates = "accuracy" in criteria.gate_metrics and change.p is not None
            tested[after.id, "accuracy"] = Tested(change=change, gates=gates)
    return tested


def _build(before: BuildEntry, after: BuildEntry, judged: dict[Key, Change]) -> BuildComparison:
    return BuildComparison(
        build_id=after.id,
        target=after.target,
        recipe=after.recipe,
        same_file=before.sha256 == after.sha256,
        changes=tuple(judged[after.id, metric] for metric in METRICS if (after.id, metric) in judged),
    )


_Parts = tuple[tuple[Difference, ...], tuple[CellComparison, ...], tuple[BuildComparison, ...]]


def _whole(base: RunRecord, head: RunRecord, criteria: Criteria, parts: _Parts) -> Comparison:
    differences, cells, builds = parts
    gate = _gate(cells, builds)
    verdict = verdicts.overall(_decisive(cells, builds))
    counts = {
        name: sum(cell.verdict == name for cell in cells)
        for name in ("regressed", "improved", "equivalent", "inconclusive")
    }
    counts |= {name: sum(cell.status == name for cell in cells) for name in ("refused", "unmeasured")}
    return Comparison(
        palmtop=_version(),
        base=reference(base),
        head=reference(head),
        criteria=criteria,
        differences=differences,
        cells=cells,
        builds=builds,
        lone=_lone(base, head),
        counts=counts,
        verdict=verdict,
        sentence=_sentence(counts, builds, verdict),
        notes=_notes(base, head, cells, differences),
        gate=gate,
    )


def _decisive(cells: Sequence[CellComparison], builds: Sequence[BuildComparison]) -> list[Verdict]:
    """Return the verdicts that the whole is made of: those that gate, or all of latency and accuracy if none does."""
    changes = [change for cell in cells for change in cell.changes]
    changes += [change for build in builds for change in build.changes]
    gating = [change.verdict for change in changes if change.gates]
    if any(change.gates and change.metric == "latency" for change in changes):
        return gating
    return [change.verdict for change in changes if change.metric in ("latency", "accuracy")]


@functools.cache
def _version() -> str:
    """Return this palmtop's version: to read it takes longer than to compare a cell."""
    return version("palmtop")


def reference(record: RunRecord) -> RunRef:
    """Return a run in a few words."""
    return RunRef(
        id=record.id,
        created_utc=record.created_utc,
        palmtop=record.palmtop,
        model=record.manifest.source.name,
        model_sha256=record.manifest.source.sha256,
        plan=record.plan.name,
        cells=len(record.cells),
        measured=sum(cell.outcome == "measured" for cell in record.cells),
    )


def _lone(base: RunRecord, head: RunRecord) -> tuple[Lone, ...]:
    found = []
    for side, own, other in (("base", base, head), ("head", head, base)):
        there = {_key(cell) for cell in other.cells}
        devices, builds = {cell.device.serial for cell in other.cells}, {_key(cell)[1:] for cell in other.cells}
        for cell in own.cells:
            if _key(cell) in there:
                continue
            missing = "device" if cell.device.serial not in devices else "build"
            missing = "device and build" if missing == "device" and _key(cell)[1:] not in builds else missing
            found.append(
                Lone(
                    side="base" if side == "base" else "head",
                    cell_id=cell.id,
                    reason=f"The other run has no such {missing}.",
                )
            )
    return tuple(found)


def _sentence(counts: dict[str, int], builds: Sequence[BuildComparison], verdict: Verdict) -> str:
    compared = sum(counts[name] for name in ("regressed", "improved", "equivalent", "inconclusive"))
    words = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    worse = [build.build_id for build in builds for change in build.changes if _lost_accuracy(change)]
    lost = f" Accuracy regressed: {', '.join(worse)}." if worse else ""
    if not compared:
        return f"Nothing could be compared{f': {words}' if words else ''}.{lost}"
    return f"{verdict.capitalize()}: of {sum(counts.values())} cells {words}.{lost}"


def _lost_accuracy(change: Change) -> bool:
    return change.metric == "accuracy" and change.verdict == "regressed"


def _notes(
    base: RunRecord, head: RunRecord, cells: Sequence[CellComparison], differences: Sequence[Difference]
) -> tuple[str, ...]:
    notes = [f"The runs differ in their {item.sentence}." for item in differences]
    if base.id == head.id:
        notes.append("Both are the same run.")
    if any(item.name == MODEL and not item.refused for item in differences):
        notes.append("Latency of another model is compared as it is: the model is taken for what was changed.")
    kinds = sorted({cell.device.kind for cell in cells if not cell.gates and cell.status == "compared"})
    if kinds:
        notes.append(f"Figures of kind {', '.join(kinds)} are no phone's and fail no gate.")
    few = [cell for cell in cells for change in cell.changes if change.metric == "latency" and _few(change)]
    if few:
        notes.append(f"{len(few)} cells have fewer than five sessions a side: `--plan standard` or `gate` takes more.")
    return tuple(notes)


def _few(change: Change) -> bool:
    return min(change.sessions_before, change.sessions_after) < 5


def _gate(cells: Sequence[CellComparison], builds: Sequence[BuildComparison]) -> Gate:
    named = [(cell.head_cell, change) for cell in cells for change in cell.changes]
    named += [(build.build_id, change) for build in builds for change in build.changes]
    gating = [(name, change) for name, change in named if change.gates]
    regressed = tuple(f"{name} ({change.metric})" for name, change in gating if change.verdict == "regressed")
    open_ = sum(change.verdict == "inconclusive" for _, change in gating)
    refused = sum(cell.status != "compared" for cell in cells)
    said = []
    if not any(change.metric != "accuracy" for _, change in gating):
        said.append("No device's figure may fail this gate: nothing like it was measured on a phone in both runs.")
    if open_:
        said.append(f"{open_} of {len(gating)} changes are inconclusive, which passes.")
    if refused:
        said.append(f"{refused} cells could not be compared, which passes.")
    return Gate(failed=bool(regressed), regressed=regressed, looked_at=len(gating), note=" ".join(said))
