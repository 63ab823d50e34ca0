"""``palmtop history``: the runs that are stored."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mobile_harness.cli import _report_formats as formats
from toolkit.cli.console import Console
from toolkit.cli.options import common_options, gather

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mobile_harness.history import History, RunSummary

SHOWN = 50
_STORE = click.option("--store", metavar="PATH", help="Where runs are kept.  [default: .palmtop of the project]")


def _open(ctx: click.Context, store: str | None) -> History:
    from mobile_harness.history import History

    return History.to_read(_place(ctx, store))


def _place(ctx: click.Context, store: str | None) -> str:
    from mobile_harness.history import locate

    return locate(store or ctx.meta.get("palmtop.store"))


@click.group(invoke_without_command=True)
@click.option(
    "--limit", type=click.IntRange(0), metavar="N", help="The latest so many.  [default: 50; with --json all]"
)
@_STORE
@common_options
@click.pass_context
def command(ctx: click.Context, limit: int | None, store: str | None, console: Console) -> None:
    """List the runs that are stored; export one, take some in, follow a build, or browse.

    Example:
      palmtop history
      palmtop history trend onnx-static-int8
      palmtop history export 20261123-0041-7f3a -o run.json
      palmtop history import run.json
    """
    if ctx.invoked_subcommand is not None:
        ctx.meta["palmtop.store"] = store
        return
    from mobile_harness.history import History, is_there

    place = _place(ctx, store)
    runs: tuple[RunSummary, ...] = ()
    count = 0
    if is_there(place):
        history = History(place)
        runs = history.runs(limit if limit is not None or console.as_json else SHOWN)
        count = history.count()
    console.result({"schema": 1, "count": count, "runs": list(runs)}, lambda: _page(runs, count))


@command.command("export")
@click.argument("run")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write.  [default: RUN.json]")
@_STORE
@common_options
@click.pass_context
def export(ctx: click.Context, run: str, out: Path | None, store: str | None, console: Console) -> None:
    """Write the run RUN (an id, its beginning, `latest` or `latest~1`) as JSON.

    With --json and without -o the run itself is printed. `palmtop history schema` says what it holds.

    Example:
      palmtop history export latest -o run.json
    """
    from toolkit.core import codec
    from toolkit.core.errors import OutputError
    from toolkit.core.store import write_atomic

    record = _open(ctx, store).read(run)
    if out is None and console.as_json:
        console.result(record, str)
        return
    path = out or Path(f"{record.id}.json")
    if path.exists():
        raise OutputError(f"{path} exists already.", hint="Choose another file with -o; palmtop overwrites none.")
    write_atomic(path, codec.pretty(record))
    console.result({"run": record.id, "path": str(path)}, lambda: f"{path}")


@command.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@_STORE
@common_options
@click.pass_context
def import_(ctx: click.Context, files: tuple[Path, ...], store: str | None, console: Console) -> None:
    """Take in runs that `palmtop history export` wrote. A file that cannot be is named, and the others are taken.

    Example:
      palmtop history import run.json
    """
    from mobile_harness.history import History, read_export
    from toolkit.core.errors import BadInput, SomeFailed

    history, taken, refused = History(_place(ctx, store)), [], []
    for path in files:
        try:
            record = read_export(path)
            history.create(record)
            taken.append(record.id)
        except BadInput as error:
            if len(files) == 1:
                raise
            refused.append(error.message)
    lines = "\n".join(f"Stored as run {run}; see: palmtop report {run}" for run in taken)
    console.result({"run": taken[0] if len(files) == 1 else None, "runs": taken, "refused": refused}, lambda: lines)
    if refused:
        words = f"{len(refused)} of {len(files)} files were not taken in: {' '.join(refused)}"
        raise SomeFailed(words, hint=f"The other {len(taken)} are stored.")


@command.command("trend")
@click.argument("build")
@click.option("--device", metavar="PLACE", help="Only on this one, as the list of runs names it.  [default: all]")
@click.option(
    "--limit", type=click.IntRange(1, 2000), default=500, show_default=True, metavar="N", help="The latest so many."
)
@formats.format_option
@formats.out_option
@_STORE
@gather("shown", ("name", "out"), lambda name, out: (name, out))
@gather("which", ("device", "limit", "store"), lambda device, limit, store: (device, limit, store))
@common_options
@click.pass_context
def trend(
    ctx: click.Context, build: str, which: tuple[str | None, int, str | None], shown: tuple[str | None, Path | None],
    console: Console,
) -> None:  # fmt: skip
    """Follow BUILD over the runs on each device, with its changes of level marked.

    Example:
      palmtop history trend onnx-static-int8
      palmtop history trend tflite-static-int8 --device adb:R5CT20ABCDE -o trend.html
    """
    from mobile_harness.reports._document import history_of

    (device, limit, store), (name, out) = which, shown
    report = formats.format_of(name, out)
    found = history_of(build, _open(ctx, store).cells_of(build, device, limit))
    formats.show(console, found, lambda: report.render_history(found), (out, {"build": build}, ""))


@command.command("check")
@_STORE
@common_options
@click.pass_context
def check(ctx: click.Context, store: str | None, console: Console) -> None:
    """Read every run and name those that are damaged; nothing is changed.

    Example:
      palmtop history check
    """
    from toolkit.core.errors import BadInput

    found = _open(ctx, store).check()
    lines = "\n".join([f"{len(found.sound)} runs read.", *(f"{run}: {why}" for run, why in found.damaged.items())])
    console.result(found, lambda: lines)
    if found.damaged:
        words = f"{len(found.damaged)} of {len(found.damaged) + len(found.sound)} runs are damaged."
        raise BadInput(words, hint="`palmtop history export` saves the others; import what was exported before.")


@command.command("schema")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write.  [default: print it]")
@common_options
def schema(out: Path | None, console: Console) -> None:
    """Print the JSON Schema of an exported run.

    Example:
      palmtop history schema -o run.schema.json
    """
    from mobile_harness.history import run_schema
    from toolkit.core import codec
    from toolkit.core.store import write_atomic

    made = run_schema()
    if out is None:
        console.result(made, lambda: codec.pretty(made))
        return
    write_atomic(out, codec.pretty(made))
    console.result({"path": str(out)}, lambda: str(out))


@command.command("serve")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0: any that is free.")
@_STORE
@common_options
@click.pass_context
def serve(ctx: click.Context, port: int, store: str | None, console: Console) -> None:
    """Browse the history on this computer; nothing can be changed, and no other can read it. Ctrl-C ends it.

    Example:
      palmtop history serve
    """
    from mobile_harness.cli import _history_pages
    from mobile_harness.history.web import Server

    server = Server(_history_pages.pages_of(_open(ctx, store)), port)
    console.result({"url": server.url}, lambda: f"Browse {server.url} (Ctrl-C ends it)")
    with suppress(KeyboardInterrupt):  # the way to end it
        server.run()


def _page(runs: tuple[RunSummary, ...], count: int) -> RenderableType:
    from rich.console import Group

    from toolkit.cli.console import table

    if not runs:
        return "No runs are stored yet: `palmtop bench DIR` stores one."
    rows = [
        (run.id, run.created_utc, run.model, run.plan, ", ".join(run.devices), _state(run), run.build_dir)
        for run in runs
    ]
    shown = table("run", "started (UTC)", "model", "plan", "devices", "cells", "builds", rows=rows)
    rest = count - len(runs)
    return Group(shown, f"{rest} older runs: --limit {count} shows all.") if rest > 0 else shown


def _state(run: RunSummary) -> str:
    if run.damaged:
        return "damaged: palmtop history check"
    failed = f", {run.failed} failed" if run.failed else ""
    return f"{run.measured} of {run.cells} measured{failed}{'' if run.complete else ', resumable'}"
