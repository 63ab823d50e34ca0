"""``palmtop report``: shows one run, in any of the formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mobile_harness.cli import _report_formats as formats
from toolkit.cli.console import Console
from toolkit.cli.options import common_options

if TYPE_CHECKING:
    from mobile_harness.records import RunRecord


@click.command()
@click.argument("run")
@formats.format_option
@formats.out_option
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

    report = formats.format_of(name, out)
    document = document_of(_read(run))
    facts = {"run": document.run_id, "format": formats.chosen(name, out)}
    formats.show(console, document, lambda: report.render(document), (out, facts, ""))


def _read(run: str) -> RunRecord:
    from mobile_harness import history

    path = Path(run)
    if path.suffix == ".json" or path.is_file():
        return history.read_export(path)
    return history.History.to_read(history.locate()).read(run)
