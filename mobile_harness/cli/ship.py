"""``palmtop ship``: the whole way for a user's own model, from its file to a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.console import Console
from toolkit.cli.options import common_options, gather, setting
from toolkit.cli.quantize import quantize_options

if TYPE_CHECKING:
    from mobile_harness.cli._ship_run import ShipOutcome, ShipRequest

CHECKS = (
    click.option(
        "-l", "--labelled", help="Labelled samples to verify with.  [default: DATA]", **setting("data.labelled")
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
    click.option(
        "--device", "devices", multiple=True, metavar="SEL", help="As of `palmtop bench`.", **setting("bench.device")
    ),
    click.option("--plan", metavar="PLAN", help="How long to measure.  [default: quick]", **setting("bench.plan")),
    click.option("--reports", type=click.Path(path_type=Path), help="Folder for the reports.  [default: OUT-report]"),
)
_VERIFY = ("metric", "output", "max_drop", "confidence")


def _request(**fields: Any) -> ShipRequest:
    from mobile_harness.cli._ship_run import ShipRequest
    from toolkit.stages.requests import VerifyRequest

    made = fields["request"]
    checks = {name: fields[name] for name in _VERIFY}
    return ShipRequest(
        quantize=made,
        verify=VerifyRequest(folder=made.out, data=fields["labelled"], **checks),
        plan=fields["plan"],
        devices=fields["devices"],
        reports=fields["reports"] or made.out.with_name(f"{made.out.name}-report"),
    )


def ship_options(function: Any) -> Any:
    """Add what to build and how to check and measure it; the command gets one ``wanted: ShipRequest``."""
    function = gather("wanted", ("request", "labelled", *_VERIFY, "devices", "plan", "reports"), _request)(function)
    for option in reversed(CHECKS):
        function = option(function)
    return quantize_options(function)


@click.command()
@ship_options
@common_options
def command(wanted: ShipRequest, console: Console) -> None:
    """Take a model the whole way: quantize, verify, bench, report.

    What a project's palmtop.toml says need not be typed. The same command again goes on where the last one stopped.
    Exits with 4 when a runtime is left without a quantized build within the budget.

    Example:
      palmtop ship
      palmtop ship model.keras -d calibration.npz -l labelled.npz --max-drop 0.01
    """
    from mobile_harness.cli import _ship_run
    from toolkit.core import manifest

    outcome = _ship_run.ship(wanted, console.tools())
    console.result(outcome, lambda: _page(outcome))
    fault = _ship_run.fault_of(outcome, manifest.read(outcome.builds), wanted.quantize.recipes)
    if fault is not None:
        raise fault


def _page(outcome: ShipOutcome) -> str:
    from mobile_harness.reports import text

    listed = "\n".join(str(path) for path in reversed(outcome.reports.values()))
    return f"{text.render(outcome.document).rstrip()}\n\nBuilds: {outcome.builds}\nReports:\n{listed}\n"
