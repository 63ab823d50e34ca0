"""What ``report``, ``compare`` and ``history trend`` share: the format that is asked for, and where it goes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from mobile_harness.reports.base import Report
    from toolkit.cli.console import Console

ROOM = "mobile_harness.reports"

format_option = click.option(
    "-f", "--format", "name", metavar="FORMAT", help="html, markdown, json, junit, csv or text.  [default: text]"
)
out_option = click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Write a file, of the format its ending says."
)


def chosen(name: str | None, out: Path | None) -> str:
    """Return the name of the format: as asked for, as the file's ending says, else text.

    Raises:
        UsageError: no format has files that end so.
    """
    from toolkit.core import discovery
    from toolkit.core.errors import UsageError

    if name or out is None:
        return name or "text"
    known = {discovery.load(ROOM, one).SUFFIX: one for one in discovery.names(ROOM)}
    if out.suffix.lower() not in known:
        endings = ", ".join(sorted(known))
        raise UsageError(
            f"No report format has files like {out.name}.", hint=f"End it in {endings}, or name one with -f."
        )
    return known[out.suffix.lower()]


def format_of(name: str | None, out: Path | None) -> Report:
    """Return the format itself.

    Raises:
        UsageError: no format has files that end so.
        SettingsError: there is no such format; the nearest is named.
    """
    from toolkit.core import discovery

    found: Report = discovery.load(ROOM, chosen(name, out))
    return found


def show(console: Console, value: Any, render: Callable[[], str], to: tuple[Path | None, dict[str, str], str]) -> None:
    """Print what is rendered, or write it to a file and say so.

    Args:
        console: where to; with ``--json`` the value itself is printed.
        value: what is shown.
        render: makes the text; not called where nobody sees it.
        to: the file or None, facts that tell what was written for ``--json``, and the line above the path, if any.
    """
    from toolkit.core import store

    out, facts, line = to
    if out is None:
        console.result(value, render)
        return
    store.write_atomic(out, render())
    console.result({**facts, "path": str(out)}, lambda: "\n".join(filter(None, (line, str(out)))))
