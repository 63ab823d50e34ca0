"""In what two measurements are not alike: each difference has a name, and most forbid a comparison.

What may differ is what is being tried: name it in ``allowed``. A difference that two figures survive is flagged only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mobile_harness.comparer.values import Criteria, Difference
from mobile_harness.records import Cell, RunPlan, RunRecord, Session
from mobile_harness.records.state import Battery, Screen, Thermal, Vitals
from mobile_harness.vitals.thermal import status_name
from toolkit.core.errors import unknown_name


@dataclass(frozen=True, slots=True)
class _Trait:
    """A name, how a cell shows it, and whether unlike figures are refused."""

    name: str
    of: Callable[[Cell], str]
    refuses: bool


def _runner(cell: Cell) -> str:
    stand_in = any("stand_in_runtime" in session.notes for session in cell.sessions)
    return f"{cell.runner} (stand-in)" if stand_in else cell.runner


def _plan(cell: Cell) -> str:
    return cell.plan.name


def _vitals(cell: Cell) -> Iterator[Vitals]:
    yield from (session.cooled.vitals for session in cell.sessions if session.cooled is not None)


def thermal_class(session: Session) -> str:
    """Return how warm the device said it was before a session: ``none``, ``light`` and so on; empty: it did not say."""
    vitals = None if session.cooled is None else session.cooled.vitals
    if vitals is None or not isinstance(vitals.thermal, Thermal) or vitals.thermal.status is None:
        return ""
    return status_name(vitals.thermal.status)


def _warmest(cell: Cell) -> str:
    found = [vitals.thermal for vitals in _vitals(cell) if isinstance(vitals.thermal, Thermal)]
    known = [thermal.status for thermal in found if thermal.status is not None]
    return status_name(max(known)) if known else ""


def _power_save(cell: Cell) -> str:
    found = [vitals.screen.power_save for vitals in _vitals(cell) if isinstance(vitals.screen, Screen)]
    known = [value for value in found if value is not None]
    return ("on" if any(known) else "off") if known else ""


def _supply(cell: Cell) -> str:
    found = [vitals.battery for vitals in _vitals(cell) if isinstance(vitals.battery, Battery)]
    return ("powered" if any(battery.powered for battery in found) else "on battery") if found else ""


def _placement(cell: Cell) -> str:
    found = [session.placement for session in cell.sessions if session.placement is not None]
    if not found:
        return ""
    if any(place.fallback for place in found):
        return "fell back to the processor"
    counts = {(place.delegated_nodes, place.total_nodes) for place in found if place.delegated_nodes is not None}
    return " and ".join(
        f"{part} of {whole if whole is not None else '?'} nodes" for part, whole in sorted(counts, key=str)
    )


TRAITS = (
    _Trait("environment", lambda cell: cell.device.kind, refuses=True),
    _Trait("device model", lambda cell: f"{cell.device.model} ({cell.device.soc})", refuses=True),
    _Trait("fingerprint", lambda cell: f"{cell.device.platform} {cell.device.os_version}", refuses=True),
    _Trait("runner", _runner, refuses=True),
    _Trait("runtime", lambda cell: cell.runtime, refuses=True),
    _Trait("runtime version", lambda cell: cell.runtime_version, refuses=True),
    _Trait("threads", lambda cell: str(cell.plan.threads), refuses=True),
    _Trait("accelerator", lambda cell: cell.plan.accelerator, refuses=True),
    _Trait("placement", _placement, refuses=True),
    _Trait("plan", _plan, refuses=True),
    _Trait("thermal class", _warmest, refuses=True),
    _Trait("power saving", _power_save, refuses=True),
    _Trait("power supply", _supply, refuses=False),
    _Trait("transport", lambda cell: cell.device.transport, refuses=False),
)
MODEL = "model"
NAMES = (*(trait.name for trait in TRAITS), MODEL, "palmtop", "calibration data")


def check_allowed(names: tuple[str, ...]) -> None:
    """Check the names of differences that a user allows.

    Raises:
        SettingsError: one is none; the nearest is offered.
    """
    for name in names:
        if name not in NAMES:
            raise unknown_name("difference", name, NAMES)


def of_cells(before: Cell, after: Cell, criteria: Criteria) -> tuple[Difference, ...]:
    """Return in what two measured cells of one build on one device differ.

    A trait that only one side tells is flagged, because records of before it was kept do not tell it.
    """
    found = [_difference(trait, before, after, criteria) for trait in TRAITS]
    return tuple(difference for difference in (*found, _protocol(before.plan, after.plan, criteria)) if difference)


def _difference(trait: _Trait, before: Cell, after: Cell, criteria: Criteria) -> Difference | None:
    first, second = trait.of(before), trait.of(after)
    if first == second:
        return None
    refused = trait.refuses and bool(first) and bool(second) and trait.name not in criteria.allowed
    return Difference(name=trait.name, before=first, after=second, refused=refused)


def _protocol(before: RunPlan, after: RunPlan, criteria: Criteria) -> Difference | None:
    """Plans of one name may still measure otherwise, such as those of two versions of palmtop."""
    if before.name != after.name:
        return None
    first, second = _timing(before), _timing(after)
    words = ", ".join(name for name in first if first[name] != second[name])
    if not words:
        return None
    shown = [" ".join(f"{name}={timing[name]:g}" for name in words.split(", ")) for timing in (first, second)]
    return Difference(name="plan", before=shown[0], after=shown[1], refused="plan" not in criteria.allowed)


def _timing(plan: RunPlan) -> dict[str, float]:
    """Return what of a plan changes what a session measures; more sessions measure the same more often."""
    return {
        "warmup_min_s": plan.warmup_min_s,
        "warmup_min_runs": plan.warmup_min_runs,
        "warmup_max_s": plan.warmup_max_s,
        "min_runs": plan.min_runs,
        "min_seconds": plan.min_seconds,
        "max_seconds": plan.max_seconds,
    }


def of_runs(base: RunRecord, head: RunRecord, criteria: Criteria) -> tuple[Difference, ...]:
    """Return in what two runs differ as a whole.

    Another model of the same name is what is being tried, as a rule: it is flagged. One of another name is refused.
    """
    first, second = base.manifest, head.manifest
    found = []
    if first.source.sha256 != second.source.sha256:
        another = first.source.name != second.source.name and MODEL not in criteria.allowed
        shown = [f"{source.name} {source.sha256[:12]}" for source in (first.source, second.source)]
        found.append(Difference(name=MODEL, before=shown[0], after=shown[1], refused=another))
    data = [entry.calibration.sha256[:12] if entry.calibration else "" for entry in (first, second)]
    if data[0] != data[1]:
        found.append(Difference(name="calibration data", before=data[0], after=data[1], refused=False))
    if base.palmtop != head.palmtop:
        found.append(Difference(name="palmtop", before=base.palmtop, after=head.palmtop, refused=False))
    return tuple(found)


def words_of(before: Cell, after: Cell) -> tuple[str, ...]:
    """Return in words what changed from one cell to the next in a trend."""
    found = of_cells(before, after, Criteria())
    build = ("build: another file",) if before.build_sha256 != after.build_sha256 else ()
    return (*build, *(f"{item.name}: {item.before or 'not told'} → {item.after or 'not told'}" for item in found))
