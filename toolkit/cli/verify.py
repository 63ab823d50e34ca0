"""``palmtop verify``: how far each build is from the float model, and whether that is within the budget."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.console import Console, table
from toolkit.cli.options import common_options, gather, needed, setting

if TYPE_CHECKING:
    from rich.console import RenderableType

    from toolkit.core.manifest import BuildEntry, Manifest
    from toolkit.stages.requests import VerifyRequest


def _request(**fields: Any) -> VerifyRequest:
    from toolkit.stages.requests import VerifyRequest

    return VerifyRequest(**fields)


def verify_options(function: Any) -> Any:
    """Add the labelled data, the metric and the budget to a command; they stay single parameters."""
    options = (
        click.option(
            "-d", "--data", help="Labelled samples.  [default: the calibration data]", **setting("data.labelled")
        ),
        click.option("--metric", help="top1, top5, accuracy, or package.module:function.", **setting("verify.metric")),
        click.option("--output", help="The output that the metric reads.", **setting("verify.output")),
        click.option(
            "--max-drop",
            type=click.FloatRange(min=0),
            help="The drop of the metric that is still fine.  [default: 0.01]",
            **setting("verify.max_drop"),
        ),
        click.option(
            "--confidence",
            type=click.FloatRange(0.5, 1, max_open=True),
            help="Confidence of the drop's interval.  [default: 0.95]",
            **setting("verify.confidence"),
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), **needed("quantize.out"))
@verify_options
@click.option("--samples", type=click.IntRange(min=1), help="Use at most this many.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the resampling.")
@click.option("--model", type=click.Path(path_type=Path), help="Where the float model lies now, if it moved.")
@gather(
    "request",
    ("folder", "data", "metric", "output", "max_drop", "confidence", "samples", "seed", "model"),
    _request,
)
@common_options
def command(request: VerifyRequest, console: Console) -> None:
    """Check every build against the float model.

    Adds errors, scores with their intervals and verdicts to build.json. Exits with 4 when a build fails its budget; a
    verdict that the samples cannot decide is said, with how many more would, and exits with 0.

    Example:
      palmtop verify builds -d labelled.npz --max-drop 0.01
    """
    from toolkit import pipeline
    from toolkit.core.errors import GateFailed

    manifest = pipeline.verify(request, console.tools())
    console.result(manifest, lambda: _page(manifest, request.folder, verbose=console.verbosity == "debug"))
    failing = [_why(build) for build in manifest.builds if build.verdict == "fail"]
    if failing:
        raise GateFailed(
            f"{len(failing)} of {len(manifest.builds)} builds fail. {'; '.join(failing)}",
            hint="Ship a build that passes, calibrate on more samples, or allow more with --max-drop.",
        )


def _why(build: BuildEntry) -> str:
    score = build.score
    if build.verdict_reason or score is None:
        return f"{build.id}: {build.verdict_reason or 'no reason given'}"
    interval = f"[{score.ci_low:.4f}, {score.ci_high:.4f}]"
    return f"{build.id}: {score.metric} drops by {score.drop:.4f}, between {interval} at {score.confidence:.0%}"


def _page(manifest: Manifest, folder: Path, *, verbose: bool) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    columns = ("build", "SQNR dB", "cosine", "metric", "float", "build's", "drop", "interval", "n", "verdict")
    numbers = ("SQNR dB", "cosine", "float", "build's", "drop", "n")
    shown = table(*columns, rows=[_row(build) for build in manifest.builds], right=numbers)
    lines = [f"{build.id}: {build.verdict_reason}" for build in manifest.builds if build.verdict_reason]
    lines += _undecided(manifest)
    lines += _worst_layers(manifest) if verbose else []
    if not any(build.score for build in manifest.builds):
        lines.append("No score: that takes labelled samples, given with -d.")
    return Group(shown, *(Text(line) for line in lines), Text(f"Next: palmtop bench {folder}"))


def _worst_layers(manifest: Manifest) -> list[str]:
    lines = []
    for build in manifest.builds:
        if build.layer_errors:
            worst = build.layer_errors[0]
            said = f"{worst.layer} ({worst.operator}), {worst.sqnr_db:.1f} dB of {len(build.layer_errors)} layers"
            lines.append(f"{build.id}: loses most in {said}")
        elif build.layer_errors_note:
            lines.append(f"{build.id}: no errors of its layers, {build.layer_errors_note}")
    return lines


def _undecided(manifest: Manifest) -> list[str]:
    builds: dict[int, list[str]] = {}
    for build in manifest.builds:
        if build.verdict == "undecided" and build.score is not None and build.score.more_samples:
            builds.setdefault(build.score.more_samples, []).append(build.id)
    return [
        f"Undecided: {', '.join(names)}. About {more} more labelled samples would decide."
        for more, names in sorted(builds.items())
    ]


def _row(build: BuildEntry) -> tuple[object, ...]:
    errors, score = build.tensor_errors.values(), build.score
    distance = (
        f"{min(error.sqnr_db for error in errors):.1f}" if errors else "–",
        f"{min(error.cosine for error in errors):.5f}" if errors else "–",
    )
    verdict = _coloured(build.verdict or "–")
    if score is None:
        return (build.id, *distance, "–", "–", "–", "–", "–", "–", verdict)
    interval = f"[{score.ci_low:+.4f}, {score.ci_high:+.4f}]"
    figures = (f"{score.float_value:.4f}", f"{score.value:.4f}", f"{score.drop:+.4f}")
    return (build.id, *distance, score.metric, *figures, interval, score.n, verdict)


def _coloured(verdict: str) -> object:
    from rich.text import Text

    return Text(verdict, style={"pass": "green", "fail": "bold red", "undecided": "yellow"}.get(verdict, ""))
