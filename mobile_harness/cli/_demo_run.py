"""The main job on a demo's models, in the order of its steps: lay out, quantize, verify, bench, report."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from mobile_harness import plans
from mobile_harness.cli._journey import measure, write_reports
from mobile_harness.records import RunRecord
from mobile_harness.reports._document import document_of
from mobile_harness.reports.base import Document
from toolkit import pipeline
from toolkit.core import store
from toolkit.core.errors import FolderTaken, SomeFailed
from toolkit.core.events import Event
from toolkit.core.tools import Tools
from toolkit.demos._folder import folder_of, lay_out
from toolkit.demos._project import DemoModel, DemoProject
from toolkit.stages.requests import QuantizeRequest, VerifyRequest

TARGETS = ("tflite", "onnx", "coreml")
RECIPES = ("float32", "static-int8", "weight-int8")
BUILDS = "builds"
SUMMARY_FILE = "summary.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRequest:
    """Which demo, where to, and how to measure it. ``devices`` are selectors; none means whatever is attached."""

    name: str
    out: Path
    plan: str = "quick"
    devices: tuple[str, ...] = ()
    targets: tuple[str, ...] = TARGETS
    recipes: tuple[str, ...] = RECIPES
    max_drop: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutcome:
    """One model's report, as a value and as files by format."""

    name: str
    folder: Path
    reports: dict[str, Path]
    document: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOutcome:
    """What a demo left behind. ``summary`` is the page that links the reports where there are several models."""

    demo: str
    about: str
    notes: tuple[str, ...]
    folder: Path
    summary: Path | None
    models: tuple[ModelOutcome, ...]

    @property
    def last_path(self) -> Path:
        """The path to open first."""
        return self.summary or self.models[0].reports["html"]


def run_demo(request: DemoRequest, tools: Tools) -> DemoOutcome:
    """Prepare a demo and take each of its models through quantize, verify, bench and report.

    A folder that an earlier run of the same demo left is continued with the model that lies there, and a measurement
    that was interrupted with the sessions that it has.

    Raises:
        SettingsError: the demo or the plan is unknown; the nearest is offered.
        OutputError: the folder holds something else.
        ToolMissing: a package of the extra ``demo`` is not installed.
    """
    plans.load(request.plan)
    project = lay_out(request.name, request.out, tools)
    models = tuple(_take_through(model, project, request, tools) for model in project.models)
    return DemoOutcome(
        demo=project.name,
        about=project.summary,
        notes=tuple(dict.fromkeys(note for model in project.models for note in model.notes)),
        folder=request.out,
        summary=_write_summary(request.out, project, models) if len(models) > 1 else None,
        models=models,
    )


def failures(outcome: DemoOutcome) -> SomeFailed | None:
    """Return the error to end with where a build or a cell failed, else None."""
    said = [
        f"{model.name}: {one.target}-{one.recipe} could not be built: {one.error}"
        for model in outcome.models
        for one in model.document.failed_builds
    ]
    said += [
        f"{model.name}: {row.build_id} on {row.device_name}: {row.failure.message if row.failure else 'no figures'}"
        for model in outcome.models
        for row in model.document.rows
        if row.outcome != "measured"
    ]
    if not said:
        return None
    return SomeFailed(
        f"{len(said)} of the demo's builds or measurements failed, the others are in {outcome.folder}. "
        + "; ".join(said),
        hint="The same command with -v says more; run it again to try them once more.",
    )


def _take_through(model: DemoModel, project: DemoProject, request: DemoRequest, tools: Tools) -> ModelOutcome:
    folder = folder_of(model, project, request.out)
    named = _naming(model, project, tools)
    quantize(model, folder, request, named)
    _verify(model, folder, request, named)
    return _report(model.name, folder, measure(folder / BUILDS, request, named))


def quantize(model: DemoModel, folder: Path, request: DemoRequest, tools: Tools) -> None:
    """Make the builds of one model in ``folder/builds``; those that are there already stay.

    Builds of another palmtop are set aside under a new name, so that the demo runs again after an update.
    """
    wanted = QuantizeRequest(
        model=model.model.path,
        out=folder / BUILDS,
        data=str(model.calibration.path),
        targets=request.targets,
        recipes=request.recipes,
        preprocess=model.preprocess,
    )
    try:
        pipeline.quantize(wanted, tools)
    except FolderTaken:
        _set_aside(wanted.out, tools)
        pipeline.quantize(wanted, tools)


def _set_aside(builds: Path, tools: Tools) -> None:
    aside = builds.with_name(f"{builds.name}-{tools.clock.utc():%Y%m%d-%H%M%S}")
    with store.writing_to(builds.parent):
        builds.rename(aside)
    words = f"these are of another palmtop or other settings; they are kept in {aside}"
    tools.emit(Event(subject=str(builds), phase="noted", message=words))


def _verify(model: DemoModel, folder: Path, request: DemoRequest, tools: Tools) -> None:
    wanted = VerifyRequest(
        folder=folder / BUILDS,
        data=str(model.labelled.path),
        metric=model.metric,
        output=model.output,
        max_drop=request.max_drop,
    )
    pipeline.verify(wanted, tools)


def _report(name: str, folder: Path, record: RunRecord) -> ModelOutcome:
    document = document_of(record)
    reports = write_reports(folder, document)
    return ModelOutcome(name=name, folder=folder, reports=reports, document=document)


def _naming(model: DemoModel, project: DemoProject, tools: Tools) -> Tools:
    """Return tools whose news name the model, where there are several."""
    if len(project.models) == 1:
        return tools

    def emit(event: Event) -> None:
        tools.emit(dataclasses.replace(event, subject=f"{model.name} {event.subject}"))

    return dataclasses.replace(tools, emit=emit)


def _write_summary(out: Path, project: DemoProject, models: tuple[ModelOutcome, ...]) -> Path:
    """Write the page that has each model's advice and links its reports."""
    lines = [f"# palmtop demo {project.name}", "", project.summary, ""]
    for model in models:
        lines += [f"## {model.name}", "", model.document.where, ""]
        lines += [f"- **{one.target}**: {one.sentence}" for one in model.document.headline]
        links = (f"[{kind}]({path.relative_to(out).as_posix()})" for kind, path in model.reports.items())
        lines += ["", f"Report: {', '.join(links)}", ""]
    path = out / SUMMARY_FILE
    store.write_atomic(path, "\n".join(lines))
    return path
