"""From records to the values that every format shows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version

from mobile_harness import comparer, stats
from mobile_harness.history import StoredCells
from mobile_harness.records import Cell, DeviceInfo, Kind, RunRecord
from mobile_harness.records.state import Placement
from mobile_harness.reports import _downloads
from mobile_harness.reports import _headline as headline
from mobile_harness.reports._performance import performance_of
from mobile_harness.reports.base import Accuracy, BuildFacts, Document, HistoryDocument, OutputError, Row
from toolkit.core.artifacts import Score
from toolkit.core.manifest import BuildEntry, Manifest

_KINDS: tuple[Kind, ...] = ("phone", "emulator", "simulator", "virtual", "host")
_FRACTIONS = frozenset({"top1", "top5", "accuracy"})
_NOWHERE = "Nothing was measured in this run."
_PHONES = "Phone figures."
_NOT_HELD_OUT = "Scored on the calibration data, not on held-out samples: the drop may be understated."
_MIXED = "Rows marked host, emulator, simulator or virtual are not a phone's figures; only phones are ranked."
_NOT_A_PHONE: dict[Kind, str] = {
    "phone": _PHONES,
    "host": "Host figures: measured on the computer that ran palmtop, not on a phone.",
    "emulator": "Emulator figures: measured on a computer's processor, not on a phone.",
    "simulator": "Simulator figures: measured on a computer's processor, not on a phone.",
    "virtual": "Virtual-device figures: measured on a computer's processor, not on a phone.",
}


def document_of(run: RunRecord) -> Document:
    """Return what the reports of a run show: every cell, every build, and what may be concluded."""
    manifest = run.manifest
    builds = tuple(_build(manifest, entry) for entry in manifest.builds)
    devices = _devices(run.cells)
    rows = _rows(run.cells, builds, devices)
    advices = headline.advise(builds, rows, manifest.not_expressible, manifest.failed)
    advised = {advice.build_id for advice in advices if advice.decision == "ship"}
    downloads, downloads_note = _downloads.times_of(manifest.builds, tuple(devices))
    return Document(
        palmtop=run.palmtop,
        run_id=run.id,
        created_utc=run.created_utc,
        model=manifest.source.name,
        where=_where(rows),
        notes=_notes(manifest),
        headline=advices,
        rows=tuple(replace(row, advised=row.build_id in advised) for row in rows),
        builds=builds,
        not_expressible=manifest.not_expressible,
        failed_builds=manifest.failed,
        source=manifest.source,
        preprocess=manifest.preprocess,
        calibration=manifest.calibration,
        verification=manifest.verification,
        plan=run.plan,
        devices=tuple(devices),
        toolchain=(*manifest.toolchain, *(tool for tool in run.toolchain if tool not in manifest.toolchain)),
        build_dir=run.build_dir,
        downloads=downloads,
        downloads_note=downloads_note,
        sensitivity=manifest.sensitivity,
        search=manifest.search,
    )


def history_of(build_id: str, stored: StoredCells) -> HistoryDocument:
    """Return what the reports of a build over the runs show."""
    return HistoryDocument(
        palmtop=version("palmtop"),
        build_id=build_id,
        trends=comparer.trends(stored.cells),
        damaged=dict(stored.damaged),
    )


def _where(rows: Sequence[Row]) -> str:
    kinds = {row.device.kind for row in rows if row.device and row.performance}
    if not kinds:
        return _NOWHERE
    return _NOT_A_PHONE[kinds.pop()] if len(kinds) == 1 else _MIXED


def _notes(manifest: Manifest) -> tuple[str, ...]:
    calibration, verification = manifest.calibration, manifest.verification
    same = calibration is not None and verification is not None and calibration.sha256 == verification.sha256
    if same:
        return (_NOT_HELD_OUT,)
    return (verification.note,) if verification is not None and verification.note else ()


def _build(manifest: Manifest, entry: BuildEntry) -> BuildFacts:
    return BuildFacts(
        id=entry.id,
        target=entry.target,
        recipe=entry.recipe,
        path=entry.path,
        sha256=entry.sha256,
        size_bytes=entry.size_bytes,
        size_ratio=_size_ratio(manifest, entry),
        signature=entry.signature,
        kept_float=entry.kept_float,
        requirements=entry.requirements,
        toolchain=entry.toolchain,
        outputs=tuple(
            OutputError(output=name, sqnr_db=error.sqnr_db, cosine=error.cosine, max_abs=error.max_abs)
            for name, error in entry.tensor_errors.items()
        ),
        layer_errors=entry.layer_errors,
        layer_errors_note=entry.layer_errors_note,
        accuracy=_accuracy(entry.score) if entry.score else None,
        verdict=entry.verdict,
        verdict_reason=entry.verdict_reason,
        golden_sha256=entry.golden_sha256,
    )


def _size_ratio(manifest: Manifest, entry: BuildEntry) -> float | None:
    sizes = [
        item.size_bytes for item in manifest.builds if (item.target, item.recipe) == (entry.target, headline.FLOAT)
    ]
    return sizes[0] / entry.size_bytes if sizes and entry.size_bytes else None


def _accuracy(score: Score) -> Accuracy:
    return Accuracy(
        metric=score.metric,
        fraction=score.metric in _FRACTIONS or score.method.startswith("paired proportions"),
        value=score.value,
        float_value=score.float_value,
        drop=score.drop,
        drop_interval=stats.Interval(low=score.ci_low, high=score.ci_high, confidence=score.confidence),
        max_drop=score.max_drop,
        samples=score.n,
        method=score.method,
        verdict=score.verdict,
        more_samples=score.more_samples,
    )


def _devices(cells: Sequence[Cell]) -> dict[DeviceInfo, str]:
    """Name the devices, phones first; two of one model are told apart by their serials."""
    found = dict.fromkeys(cell.device for cell in cells)
    order = sorted(found, key=lambda device: (_KINDS.index(device.kind), device.model, device.serial))
    models = Counter(device.model for device in order)
    return {
        device: device.model
        if device.model and models[device.model] == 1
        else f"{device.model} {device.serial}".strip()
        for device in order
    }


def _rows(cells: Sequence[Cell], builds: Sequence[BuildFacts], devices: dict[DeviceInfo, str]) -> tuple[Row, ...]:
    """Order rows by device, then as ``build.json`` has the builds; builds that no cell is about come last."""
    known = {build.id: build for build in builds}
    places = {build.id: place for place, build in enumerate(builds)}
    device_places = {device: place for place, device in enumerate(devices)}
    order = sorted(
        cells, key=lambda cell: (device_places[cell.device], places.get(cell.build_id, len(places)), cell.id)
    )
    rows = [_row(cell, known.get(cell.build_id), devices[cell.device]) for cell in order]
    tried = {cell.build_id for cell in cells}
    return (*rows, *(_unmeasured(build) for build in builds if build.id not in tried))


def _row(cell: Cell, build: BuildFacts | None, device_name: str) -> Row:
    return Row(
        cell_id=cell.id,
        build_id=cell.build_id,
        target=cell.target,
        recipe=cell.recipe,
        device=cell.device,
        device_name=device_name,
        outcome=cell.outcome,
        size_bytes=cell.size_bytes,
        size_ratio=build.size_ratio if build else None,
        accuracy=build.accuracy if build else None,
        verdict=build.verdict if build else None,
        verdict_reason=build.verdict_reason if build else "",
        performance=performance_of(cell) if cell.outcome == "measured" and cell.sessions else None,
        runner=cell.runner,
        runtime=cell.runtime,
        runtime_version=cell.runtime_version,
        doubts=cell.doubts,
        failure=cell.failure,
        advised=False,
        energy=cell.energy,
        placement=_placement(cell),
    )


def _placement(cell: Cell) -> Placement | None:
    """Return the placement with the fewest nodes where they were asked for; one that fell back has none."""
    found = [session.placement for session in cell.sessions if session.placement is not None]
    return min(found, key=lambda item: (not item.fallback, item.delegated_nodes or 0), default=None)


def _unmeasured(build: BuildFacts) -> Row:
    return Row(
        cell_id="",
        build_id=build.id,
        target=build.target,
        recipe=build.recipe,
        device=None,
        device_name="",
        outcome="unmeasured",
        size_bytes=build.size_bytes,
        size_ratio=build.size_ratio,
        accuracy=build.accuracy,
        verdict=build.verdict,
        verdict_reason=build.verdict_reason,
        performance=None,
        runner="",
        runtime=build.requirements.runtime,
        runtime_version="",
        doubts=(),
        failure=None,
        advised=False,
    )
