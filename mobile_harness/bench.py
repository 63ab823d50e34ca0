"""The program of ``palmtop bench``: a tuple of named steps over one frozen value."""

from __future__ import annotations

import dataclasses
import platform
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from mobile_harness import history, lab, matrix, plans
from mobile_harness.history import NOT_YET, History
from mobile_harness.lab import Lab
from mobile_harness.measurer.machine import Limits
from mobile_harness.records import Cell, Failure, RunPlan, RunRecord
from mobile_harness.transports.base import Device
from toolkit.core import manifest as manifests
from toolkit.core.artifacts import ToolVersion
from toolkit.core.errors import BadInput, SettingsError, unknown_name
from toolkit.core.events import Event
from toolkit.core.manifest import BuildEntry, Manifest
from toolkit.core.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """Measure the builds of ``folder`` on devices.

    ``devices`` are selectors (:func:`mobile_harness.lab.select`), ``builds`` ids of builds; empty means all there are.
    ``resume`` names a run to go on with: its own plan, builds and devices count then. ``store`` is where runs are kept
    (:func:`mobile_harness.history.locate`).
    """

    folder: Path
    devices: tuple[str, ...] = ()
    plan: str = "quick"
    resume: str | None = None
    store: str | None = None
    builds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the steps hand on; each fills in its part."""

    request: BenchRequest
    store: History
    manifest: Manifest
    lab: Lab
    record: RunRecord | None = None
    slots: tuple[matrix.Slot, ...] = ()


Step = Callable[[Work, Tools], Work]


def bench(request: BenchRequest, tools: Tools) -> RunRecord:
    """Measure a matrix of builds and devices, or go on with one, and return the run as it is stored.

    Raises:
        ModelError: there is no usable ``build.json``.
        SettingsError: a device, build, plan or run is unknown.
        BadInput: the folder holds no builds, or not those of the run to resume; the history is damaged.
        OutputError: the history cannot be written.
    """
    manifest = manifests.read(request.folder)
    store = History(history.locate(request.store, request.folder))
    work = Work(request=request, store=store, manifest=manifest, lab=lab.discover(tools))
    for step in STEPS:
        work = step(work, tools)
    if work.record is None:
        raise AssertionError("the steps ended without a record")
    return work.record


def open_run(work: Work, tools: Tools) -> Work:
    """Plan the matrix and store it, or read the one to go on with."""
    if work.request.resume is not None:
        record = work.store.read(work.request.resume)
        _check_same_builds(record, work)
    else:
        record = _new_run(work, tools)
    tools.emit(Event(subject=f"run {record.id}", phase="noted", message=_started_words(record)))
    return dataclasses.replace(work, record=record)


def _new_run(work: Work, tools: Tools) -> RunRecord:
    plan = plans.load(work.request.plan)
    builds = _chosen(work.manifest, work.request.builds)
    devices = lab.select(work.lab, work.request.devices)
    if not work.request.devices and all(device.info.kind == "host" for device in devices):
        words = "nothing is attached: this host stands in, and its figures are no phone's"
        tools.emit(Event(subject="devices", phase="noted", message=words))
    now = tools.clock.utc()
    for _ in range(8):
        run_id = f"{now:%Y%m%d-%H%M}-{secrets.token_hex(2)}"
        record = RunRecord(
            id=run_id,
            palmtop=version("palmtop"),
            created_utc=now.strftime(matrix.UTC),
            build_dir=str(work.request.folder.absolute()),
            manifest=work.manifest,
            plan=plan,
            cells=_cells(run_id, devices, builds, plan),
            toolchain=_toolchain(devices),
        )
        if not work.store.has(run_id):
            work.store.create(record)
            return record
    raise AssertionError("eight random run ids were taken")


def _toolchain(devices: tuple[Device, ...]) -> tuple[ToolVersion, ...]:
    python = ToolVersion(name="python", version=platform.python_version())
    return tuple(dict.fromkeys([python, *(tool for device in devices for tool in device.tools)]))


def _cells(run_id: str, devices: tuple[Device, ...], builds: tuple[BuildEntry, ...], plan: RunPlan) -> tuple[Cell, ...]:
    return tuple(
        matrix.plan_cell(run_id, device, build, plan, _not_yet(run_id)) for device in devices for build in builds
    )


def _not_yet(run_id: str) -> Failure:
    return dataclasses.replace(NOT_YET, hint=f"`palmtop bench DIR --resume {run_id}` goes on.")


def _chosen(manifest: Manifest, wanted: tuple[str, ...]) -> tuple[BuildEntry, ...]:
    known = {build.id: build for build in manifest.builds}
    if not known:
        raise BadInput("The folder holds no builds: none could be made.", hint="Its build.json says why.")
    for name in wanted:
        if name not in known:
            raise unknown_name("build", name, known)
    return tuple(build for build in manifest.builds if not wanted or build.id in wanted)


def _check_same_builds(record: RunRecord, work: Work) -> None:
    now = {build.id: build.sha256 for build in work.manifest.builds}
    changed = [cell.build_id for cell in record.cells if now.get(cell.build_id) != cell.build_sha256]
    if changed:
        raise BadInput(
            f"The build {changed[0]!r} in {work.request.folder} is not the one of run {record.id}.",
            hint="Start a new run without --resume, or give the folder of that run.",
        )


def _started_words(record: RunRecord) -> str:
    devices = len({(cell.device.transport, cell.device.serial) for cell in record.cells})
    done = sum(cell.outcome == "measured" for cell in record.cells)
    kept = f", {done} measured already" if done else ""
    return f"{len(record.cells)} cells on {devices} device{'' if devices == 1 else 's'}, plan {record.plan.name}{kept}"


def match_devices(work: Work, tools: Tools) -> Work:
    """Find the device and the build of every cell that is not measured; the cells of missing devices stay explained."""
    record = _opened(work)
    devices = {lab.selector(device): device for device in work.lab.devices}
    builds = {build.id: build for build in work.manifest.builds}
    slots = []
    for cell in record.cells:
        place = f"{cell.device.transport}:{cell.device.serial}"
        if cell.outcome == "measured":
            continue
        if place in devices:
            slots.append(matrix.Slot(cell=cell, device=devices[place], build=builds[cell.build_id]))
            continue
        reason = Failure(
            kind="device_missing", message=f"The device {place} is not attached.", hint="Attach it, then resume."
        )
        work.store.save_cell(dataclasses.replace(cell, outcome="skipped", failure=reason))
        tools.emit(Event(subject=cell.id, phase="skipped", message=reason.message, level="warning"))
    if record.cells and not slots and any(cell.outcome != "measured" for cell in record.cells):
        raise SettingsError(
            f"None of the devices that run {record.id} still needs is attached.",
            hint="`palmtop devices` lists what is, and why others are not.",
        )
    return dataclasses.replace(work, slots=tuple(slots))


def measure(work: Work, tools: Tools) -> Work:
    """Fill the matrix. Stopped by the user, it says how to go on."""
    setting = matrix.Setting(folder=work.request.folder, sink=work.store, limits=Limits())
    try:
        matrix.measure(work.slots, setting, tools)
    except KeyboardInterrupt:
        command = f"palmtop bench {work.request.folder} --resume {_opened(work).id}"
        tools.emit(Event(subject="bench", phase="stopped", message=f"`{command}` goes on", level="warning"))
        raise
    return work


def read_back(work: Work, tools: Tools) -> Work:
    """Return the run as the history has it."""
    return dataclasses.replace(work, record=work.store.read(_opened(work).id))


def _opened(work: Work) -> RunRecord:
    if work.record is None:
        raise AssertionError("no run is open yet")
    return work.record


STEPS: tuple[Step, ...] = (open_run, match_devices, measure, read_back)
