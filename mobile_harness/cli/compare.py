"""``palmtop compare``: two runs, and what changed between them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mobile_harness.cli import _report_formats as formats
from toolkit.cli.console import Console
from toolkit.cli.options import common_options, gather

if TYPE_CHECKING:
    from mobile_harness.comparer import Comparison, Criteria
    from mobile_harness.records import RunRecord

GATE_KINDS = ("phone",)
GATE_METRICS = ("latency", "accuracy")


def _criteria(**fields: Any) -> Criteria:
    from mobile_harness.comparer import Criteria, check

    fields["gate_kinds"] = (*GATE_KINDS, *fields["gate_kinds"])
    fields["gate_metrics"] = fields["gate_metrics"] or GATE_METRICS
    return check(Criteria(**fields))


@click.command()
@click.argument("base")
@click.argument("head")
@click.option("--margin", type=float, default=0.05, show_default=True, help="A change inside this share is none.")
@click.option(
    "--confidence", type=float, default=0.95, show_default=True, help="Of intervals; the rest is false alarms."
)
@click.option("--gate", is_flag=True, help="Exit with 4 if something has significantly regressed.")
@click.option(
    "--gate-kind",
    "gate_kinds",
    multiple=True,
    metavar="KIND",
    help="Let figures of this kind of device fail the gate too, such as host; repeatable.",
)
@click.option(
    "--gate-metric",
    "gate_metrics",
    multiple=True,
    metavar="METRIC",
    help="latency, p90, load, memory or accuracy; repeatable.  [default: latency, accuracy]",
)
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    metavar="NAME",
    help="Compare although the runs differ in this, such as 'runtime version'; repeatable.",
)
@formats.format_option
@formats.out_option
@click.option("--store", metavar="PATH", help="Where runs are kept.  [default: .palmtop of the project]")
@gather("criteria", ("margin", "confidence", "gate_kinds", "gate_metrics", "allowed"), _criteria)
@gather("shown", ("name", "out"), lambda name, out: (name, out))
@common_options
def command(
    base: str, head: str, gate: bool, store: str | None, criteria: Criteria, shown: tuple[str | None, Path | None],
    console: Console,
) -> None:  # fmt: skip
    """Compare the run HEAD with the run BASE, cell by cell.

    Each is a run's id or its beginning, `latest`, `latest~1` for the one before, or a file that
    `palmtop history export` wrote. A cell regressed, improved, is equivalent (within the margin), or the sessions are
    too few or too unlike to tell; what is not alike is refused by name.

    Example:
      palmtop compare latest~1 latest
      palmtop compare latest~1 latest -o comparison.html
      palmtop compare baseline.json latest --gate -o comparison.md
    """
    from mobile_harness import comparer

    name, out = shown
    report = formats.format_of(name, out)
    found = comparer.compare(_read(base, store), _read(head, store), criteria)
    facts = {"base": found.base.id, "head": found.head.id}
    formats.show(console, found, lambda: report.render_comparison(found), (out, facts, found.sentence))
    if gate:
        _fail(found)


def _read(run: str, store: str | None) -> RunRecord:
    from mobile_harness import history

    path = Path(run)
    if path.suffix == ".json" or path.is_file():
        return history.read_export(path)
    return history.History.to_read(history.locate(store)).read(run)


def _fail(found: Comparison) -> None:
    from toolkit.core.errors import GateFailed

    if found.gate.failed:
        names = ", ".join(found.gate.regressed)
        words = f"{len(found.gate.regressed)} of {found.gate.looked_at} changes regressed: {names}."
        hint = f"Base {found.base.id}, head {found.head.id}. `palmtop bench --self-check` shows the device's own noise."
        raise GateFailed(words, hint=hint)
