"""``palmtop ship`` in the order of its steps: quantize, verify, bench, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mobile_harness import plans
from mobile_harness.cli._journey import measure, write_reports
from mobile_harness.reports._document import document_of
from mobile_harness.reports.base import Document
from toolkit import pipeline
from toolkit.core.errors import GateFailed, PalmtopError, SomeFailed
from toolkit.core.manifest import Manifest
from toolkit.core.recipe import load_recipe
from toolkit.core.tools import Tools
from toolkit.stages.requests import QuantizeRequest, VerifyRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipRequest:
    """What to build, what to hold it against, how to measure it, and the folder for the reports."""

    quantize: QuantizeRequest
    verify: VerifyRequest
    plan: str
    devices: tuple[str, ...]
    reports: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipOutcome:
    """Where the builds and the reports are, and the report as a value."""

    builds: Path
    reports: dict[str, Path]
    document: Document


def ship(request: ShipRequest, tools: Tools) -> ShipOutcome:
    """Take a model from its file to a report. What is done already is not done again.

    Raises:
        SettingsError: a name is unknown. It is told before anything is built.
        ModelError: the model cannot be used, or no build of it could be made.
        DataError: the data cannot be used.
        OutputError: a folder holds something else.
    """
    plans.load(request.plan)
    pipeline.quantize(request.quantize, tools)
    pipeline.verify(request.verify, tools)
    record = measure(request.quantize.out, request, tools)
    document = document_of(record)
    return ShipOutcome(builds=request.quantize.out, reports=write_reports(request.reports, document), document=document)


def fault_of(outcome: ShipOutcome, manifest: Manifest, recipes: tuple[str, ...]) -> PalmtopError | None:
    """Return the error to end with, else None: a runtime without a quantized build to ship, or builds without figures.

    ``recipes`` are the words that were asked for; a runtime counts only when a quantizing one was among them.
    """
    asked = {recipe.name for word in recipes if not (recipe := load_recipe(word)).is_float}
    hopeless = [
        target
        for target in sorted({build.target for build in manifest.builds})
        if (made := [build for build in manifest.builds if build.target == target and build.recipe in asked])
        and all(build.verdict == "fail" for build in made)
    ]
    if hopeless:
        return GateFailed(
            f"No quantized build for {', '.join(hopeless)} is within the budget; the report says how far each is off.",
            hint="Allow more with --max-drop, calibrate on more samples, or try other recipes with -r.",
        )
    lost = [f"{one.target}-{one.recipe}: {one.error}" for one in manifest.failed]
    lost += [
        f"{row.build_id} on {row.device_name}: {row.failure.message if row.failure else 'no figures'}"
        for row in outcome.document.rows
        if row.outcome != "measured"
    ]
    if lost:
        words = f"{len(lost)} builds or measurements failed, the others are in the report. {lost[0]}"
        return SomeFailed(words, hint="The same command again tries them once more.")
    return None
