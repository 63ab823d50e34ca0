"""``palmtop bench``: measure builds on devices."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mobile_harness.cli._app_option import app_option
from mobile_harness.cli._runner_option import runner_options
from mobile_harness.cli._self_check import is_self_check, run_self_check, self_check_option
from toolkit.cli.console import Console
from toolkit.cli.options import common_options, gather, setting

if TYPE_CHECKING:
    from mobile_harness.bench import BenchRequest
    from mobile_harness.records import RunRecord

PLANS = ("quick", "standard", "gate", "sustained")
_TYPED = click.core.ParameterSource.COMMANDLINE


def _request(**fields: Any) -> BenchRequest:
    from mobile_harness.bench import BenchRequest
    from mobile_harness.measurer.runners import Choice

    choice = Choice(runner=fields.pop("runner"), native_tools=fields.pop("native_tools"))
    context = click.get_current_context()
    typed = [name for name in ("devices", "builds", "plan") if context.get_parameter_source(name) == _TYPED]
    if fields["resume"] is not None and typed:
        word = f"--{typed[0].removesuffix('s')}"
        raise click.UsageError(f"--resume goes on with the run's own devices, builds and plan; leave out {word}.")
    return BenchRequest(choice=choice, **fields)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="SEL",
    help="all, host, phone, another kind, transport:serial, a device profile, or conditions such as "
    "ram>=6000,api>=31; repeatable.  [default: what is attached, else host]",
    **setting("bench.device"),
)
@click.option("--build", "builds", multiple=True, metavar="ID", help="Only this build; repeatable.  [default: all]")
@click.option(
    "--plan",
    metavar="PLAN",
    help=f"How long to measure: {', '.join(PLANS)}.  [default: quick]",
    **setting("bench.plan"),
)
@click.option("--resume", metavar="RUN", help="Go on with a run: only what it lacks is measured.")
@click.option("--store", metavar="PATH", help="Where runs are kept.  [default: .palmtop of the project]")
@app_option
@runner_options
@self_check_option
@gather("request", ("folder", "devices", "builds", "plan", "resume", "store", "runner", "native_tools"), _request)
@common_options
def command(request: BenchRequest, console: Console) -> None:
    """Measure the builds in DIR on every device that is attached.

    Each build runs in several fresh processes, in turns with the others; its outputs are checked on the device before
    anything is timed, and each result is stored as it comes. When nothing is attached this computer stands in, and
    every row says so.

    Example:
      palmtop bench builds
      palmtop bench builds --device host --plan standard
      palmtop bench builds --device 'kind=phone,ram>=6000' --device pixel-9
      palmtop bench builds --resume 20261123-0041-7f3a
    """
    from mobile_harness.bench import bench
    from mobile_harness.cli._matrix_view import MatrixView

    console.use(MatrixView())
    if is_self_check():
        run_self_check(request, console)
        return
    record = bench(request, console.tools())
    console.result(record, lambda: _page(record, request))
    failed = [cell for cell in record.cells if cell.outcome != "measured"]
    if failed:
        from toolkit.core.errors import SomeFailed

        first = failed[0].failure
        raise SomeFailed(
            f"{len(failed)} of {len(record.cells)} cells have no figures, the rest are stored in run {record.id}. "
            f"{failed[0].id}: {first.message if first else 'no reason is known'}",
            hint=f"`palmtop bench {shlex.quote(str(request.folder))} --resume {record.id}` tries them again.",
        )


def _page(record: RunRecord, request: BenchRequest) -> str:
    from mobile_harness import history
    from mobile_harness.reports import _document
    from toolkit.core import discovery

    table = discovery.load("mobile_harness.reports", "text").render(_document.document_of(record))
    url = history.locate(request.store, request.folder)
    place = "" if url == history.locate() else f"PALMTOP_STORE={shlex.quote(url)} "
    return f"{table.rstrip()}\n\nThe whole report: {place}palmtop report {record.id} -o report.html\n"
