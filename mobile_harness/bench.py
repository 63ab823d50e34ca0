"""The program of ``palmtop bench``: a tuple of named steps over one frozen value."""

from __future__ import annotations

import dataclasses
import platform
import secrets
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import filelock

from mobile_harness import history, lab, matrix, plans
from mobile_harness.history import NOT_YET, History
from mobile_harness.lab import Lab
from mobile_harness.measurer import runners
from mobile_harness.measurer.machine import Limits
from mobile_harness.measurer.runners import Choice
from mobile_harness.records import Cell, Failure, RunPlan, RunRecord
from mobile_harness.transports.base import Device
from toolkit.core import manifest as manifests
from toolkit.core.artifacts import ToolVersion
from toolkit.core.errors import BadInput, SettingsError, unknown_name
from toolkit.core.events import Event
from toolkit.core.manifest import BuildEntry, Manifest
from toolkit.core.store import writing_to
from toolkit.core.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """Measure the builds of ``folder`` on devices.

    ``devices`` are selectors (:func:`mobile_harness.lab.select`), ``builds`` ids of builds; empty means all there are.
    ``choice`` says which runner measures; a resumed run keeps its own, whose tools must be named again.
    ``resume`` names a run to go on with: its own plan, builds and devices count then. ``store`` is where runs are kept
    (:func:`mobile_harness.history.locate`). A self-check takes the plan's sessions for each of its two ``halves``.
    """

    folder: Path
    devices: tuple[str, ...] = ()
    plan: str = "quick"
    resume: str | None = None
    store: str | None = None
    builds: tuple[str, ...] = ()
    choice: Choice = field(default_factory=Choice)
    halves: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the steps hand on; each fills in its part."""

    request: BenchRequest
    run_id: str
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
        ToolMissing: native tools are to measure, and none is named.
        SettingsError: a device, build, plan or run is unknown, or another process is at work on the run.
        BadInput: the folder holds no builds, or not those of the run to resume; the history is damaged.
        OutputError: the history cannot be written.
    """
    manifest = manifests.read(request.folder)
    store = History(history.locate(request.store, request.folder))
    run_id = store.resolve(request.resume) if request.resume is not None else _new_id(store, tools)
    with _alone(run_id, tools):
        work = Work(request=request, run_id=run_id, store=store, manifest=manifest, lab=lab.discover(tools))
        for step in STEPS:
            work = step(work, tools)
    return _opened(work)


def _new_id(store: History, tools: Tools) -> str:
    for _ in range(8):
        run_id = f"{tools.clock.utc():%Y%m%d-%H%M}-{secrets.token_hex(2)}"
        if not store.has(run_id):
            return run_id
    raise AssertionError("eight random run ids were taken")


def open_run(work: Work, tools: Tools) -> Work:
    """Plan the matrix and store it, or read the one to go on with."""
    if work.request.resume is not None:
        record = work.store.read(work.run_id)
        _check_same_builds(record, work)
    else:
        record = _new_run(work, tools)
    tools.emit(Event(subject=f"run {record.id}", phase="noted", message=_started_words(record)))
    return dataclasses.replace(work, record=record)


def _new_run(work: Work, tools: Tools) -> RunRecord:
    plan = plans.load(work.request.plan)
    plan = dataclasses.replace(plan, sessions=plan.sessions * work.request.halves)
    builds = _chosen(work.manifest, work.request.builds)
    targets = {build.target for build in builds}
    devices = runners.chosen(lab.select(work.lab, work.request.devices), work.request.choice, targets)
    if not work.request.devices and all(device.info.kind == "host" for device in devices):
        words = "nothing is attached: this host stands in, and its figures are no phone's"
        tools.emit(Event(subject="devices", phase="noted", message=words))
    record = RunRecord(
        id=work.run_id,
        palmtop=version("palmtop"),
        created_utc=tools.clock.utc().strftime(matrix.UTC),
        build_dir=str(work.request.folder.absolute()),
        manifest=work.manifest,
        plan=plan,
        cells=_cells(work.run_id, devices, builds, plan),
        toolchain=_toolchain(devices),
    )
    work.store.create(record)
    return record


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
    devices = _devices_for(record, work)
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
            kind="device_missing",
            message=f"The device {place} is not attached, or cannot be used.",
            hint="`palmtop devices` says why; make it ready, then resume.",
        )
        work.store.save_cell(dataclasses.replace(cell, outcome="skipped", failure=reason))
        tools.emit(Event(subject=cell.id, phase="skipped", message=reason.message, level="warning"))
    if record.cells and not slots and any(cell.outcome != "measured" for cell in record.cells):
        raise SettingsError(
            f"None of the devices that run {record.id} still needs can be used.",
            hint="`palmtop devices` lists what is, and why others are not.",
        )
    return dataclasses.replace(work, slots=tuple(slots))


def _devices_for(record: RunRecord, work: Work) -> dict[str, Device]:
    """Return the devices within reach by their selectors, with the runner that the run's cells name."""
    open_cells = [cell for cell in record.cells if cell.outcome != "measured"]
    choice = dataclasses.replace(work.request.choice, runner=runners.runner_in([cell.runner for cell in open_cells]))
    places = {f"{cell.device.transport}:{cell.device.serial}" for cell in open_cells}
    needed = [device for device in work.lab.devices if lab.selector(device) in places]
    faces = runners.chosen(needed, choice, {cell.target for cell in open_cells}) if needed else ()
    return {lab.selector(device): device for device in faces}


def measure(work: Work, tools: Tools) -> Work:
    """Fill the matrix. Stopped by the user, it says how to go on."""
    setting = matrix.Setting(folder=work.request.folder, sink=work.store, limits=Limits())
    try:
        matrix.measure(work.slots, setting, tools)
    except KeyboardInterrupt as error:
        command = f"palmtop bench {shlex.quote(str(work.request.folder))} --resume {_opened(work).id}"
        error.add_note(f"`{command}` goes on")
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


@contextmanager
def _alone(run_id: str, tools: Tools) -> Iterator[None]:
    """Keep every other process of this user off a run; the system frees it however this one ends."""
    folder = tools.store.root / "locks"
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / f"run-{run_id}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise SettingsError(
            f"Another palmtop is measuring the run {run_id} now.",
            hint="Wait until it has ended, then resume what it lacks; or start a new run without --resume.",
        ) from error
    try:
        yield
    finally:
        lock.release()


STEPS: tuple[Step, ...] = (open_run, match_devices, measure, read_back)
