"""``palmtop history``: the runs that are stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.console import Console
from toolkit.cli.options import common_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mobile_harness.history import RunSummary

_STORE = click.option("--store", metavar="PATH", help="Where runs are kept.  [default: .palmtop of the project]")


@click.group(invoke_without_command=True)
@_STORE
@common_options
@click.pass_context
def command(ctx: click.Context, store: str | None, console: Console) -> None:
    """List the runs that are stored; export one, or take one in.

    Example:
      palmtop history
      palmtop history export 20261123-0041-7f3a -o run.json
      palmtop history import run.json
    """
    if ctx.invoked_subcommand is not None:
        ctx.meta["palmtop.store"] = store
        return
    from mobile_harness.history import History, locate

    runs = History(locate(store)).runs()
    console.result({"schema": 1, "runs": list(runs)}, lambda: _page(runs))


@command.command("export")
@click.argument("run")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write.  [default: RUN.json]")
@_STORE
@common_options
@click.pass_context
def export(ctx: click.Context, run: str, out: Path | None, store: str | None, console: Console) -> None:
    """Write the run RUN (an id, its beginning, or `latest`) as JSON.

    With --json and without -o the run itself is printed.

    Example:
      palmtop history export latest -o run.json
    """
    from mobile_harness.history import History, locate
    from toolkit.core import codec
    from toolkit.core.errors import OutputError
    from toolkit.core.store import write_atomic

    record = History(locate(store or ctx.meta.get("palmtop.store"))).read(run)
    if out is None and console.as_json:
        console.result(record, str)
        return
    path = out or Path(f"{record.id}.json")
    if path.exists():
        raise OutputError(f"{path} exists already.", hint="Choose another file with -o; palmtop overwrites none.")
    write_atomic(path, codec.pretty(record))
    console.result({"run": record.id, "path": str(path)}, lambda: f"{path}")


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@_STORE
@common_options
@click.pass_context
def import_(ctx: click.Context, file: Path, store: str | None, console: Console) -> None:
    """Take in a run that `palmtop history export` wrote.

    Example:
      palmtop history import run.json
    """
    from mobile_harness.history import History, locate, read_export

    record = read_export(file)
    History(locate(store or ctx.meta.get("palmtop.store"))).create(record)
    console.result({"run": record.id}, lambda: f"Stored as run {record.id}; see: palmtop report {record.id}")


def _page(runs: tuple[RunSummary, ...]) -> RenderableType:
    from toolkit.cli.console import table

    if not runs:
        return "No runs are stored yet: `palmtop bench DIR` stores one."
    rows = [
        (run.id, run.created_utc, run.model, run.plan, ", ".join(run.devices), _state(run), run.build_dir)
        for run in runs
    ]
    return table("run", "started (UTC)", "model", "plan", "devices", "cells", "builds", rows=rows)


def _state(run: RunSummary) -> str:
    failed = f", {run.failed} failed" if run.failed else ""
    return f"{run.measured} of {run.cells} measured{failed}{'' if run.complete else ', resumable'}"
