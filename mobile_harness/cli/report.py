"""``palmtop report``: shows one run, in any of the formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.console import Console
from toolkit.cli.options import common_options

if TYPE_CHECKING:
    from mobile_harness.records import RunRecord

ROOM = "mobile_harness.reports"


@click.command()
@click.argument("run")
@click.option("-f", "--format", "name", metavar="FORMAT", help="html, markdown, json, junit, csv or text.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write a file, of the format its ending says.")
@common_options
def command(run: str, name: str | None, out: Path | None, console: Console) -> None:
    """Show one run: what to ship, the matrix, what failed and what to doubt.

    RUN is a run's id or its beginning, `latest`, or a JSON file that `palmtop history export` wrote. Without -f and -o
    the report is plain text.

    Example:
      palmtop report latest
      palmtop report latest -o report.html
    """
    from mobile_harness.reports._document import document_of
    from toolkit.core import discovery, store

    chosen = name or (_format_of(out) if out else "text")
    report = discovery.load(ROOM, chosen)
    document = document_of(_read(run))
    if out is None:
        console.result(document, lambda: str(report.render(document)))
        return
    store.write_atomic(out, report.render(document))
    written = {"run": document.run_id, "format": chosen, "path": str(out)}
    console.result(written, lambda: str(out))


def _format_of(out: Path) -> str:
    """Return the format whose files end as this one does."""
    from toolkit.core import discovery
    from toolkit.core.errors import UsageError

    known = {discovery.load(ROOM, name).SUFFIX: name for name in discovery.names(ROOM)}
    if out.suffix.lower() not in known:
        endings = ", ".join(sorted(known))
        raise UsageError(
            f"No report format has files like {out.name}.", hint=f"End it in {endings}, or name one with -f."
        )
    return known[out.suffix.lower()]


def _read(run: str) -> RunRecord:
    from mobile_harness import history

    path = Path(run)
    if path.suffix == ".json" or path.is_file():
        return history.read_export(path)
    return history.History(history.locate()).read(run)
