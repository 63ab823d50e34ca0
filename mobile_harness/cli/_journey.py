"""What ``demo`` and ``ship`` share: measure builds or go on with an interrupted run of them, and write the reports."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from mobile_harness import history, lab, plans
from mobile_harness.bench import BenchRequest, bench
from mobile_harness.history import History
from mobile_harness.records import RunRecord
from mobile_harness.reports.base import Document
from toolkit.core import codec, discovery, store
from toolkit.core import manifest as manifests
from toolkit.core.errors import BadInput
from toolkit.core.events import Event
from toolkit.core.tools import Tools

FORMATS = ("html", "markdown", "json")
REPORTS = "mobile_harness.reports"


class Measuring(Protocol):
    """How to measure: a plan's name, and selectors of devices (none: whatever is attached)."""

    @property
    def plan(self) -> str:
        """Name of the plan."""

    @property
    def devices(self) -> tuple[str, ...]:
        """Selectors."""


def measure(builds: Path, how: Measuring, tools: Tools) -> RunRecord:
    """Measure the builds of a folder, or go on with the run of them that was interrupted."""
    resume = unfinished(builds, how, tools)
    try:
        return bench(BenchRequest(folder=builds, devices=how.devices, plan=how.plan, resume=resume), tools)
    except KeyboardInterrupt as error:
        getattr(error, "__notes__", []).clear()  # here the same command goes on, and does the rest, too
        raise


def unfinished(builds: Path, how: Measuring, tools: Tools) -> str | None:
    """Return the id of the latest run of the same builds, plan and devices if it was interrupted, else None.

    The whole ``build.json`` has to be the same, because a run reports the verdicts that it was started with.
    """
    kept = History(history.locate(None, builds))
    plan, now = plans.load(how.plan), codec.canonical(manifests.read(builds))
    mine = [run for run in kept.runs() if run.build_dir == str(builds.absolute()) and run.plan == plan.name]
    if not mine:
        return None
    devices = {lab.selector(device) for device in lab.select(lab.discover(tools), how.devices)}
    for run in mine:
        try:
            record = kept.read(run.id)
        except BadInput as error:  # a damaged run stands in nobody's way: it is left as it is, and told
            tools.emit(Event(subject=f"run {run.id}", phase="noted", message=error.message, level="warning"))
            continue
        if set(run.devices) == devices and record.plan == plan and codec.canonical(record.manifest) == now:
            return None if run.complete else run.id
    return None


def write_reports(folder: Path, document: Document) -> dict[str, Path]:
    """Write the report of a run into a folder in the usual formats and return the files by format."""
    with store.writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
    reports = {}
    for kind in FORMATS:
        module = discovery.load(REPORTS, kind)
        reports[kind] = folder / f"report{module.SUFFIX}"
        store.write_atomic(reports[kind], module.render(document))
    return reports
