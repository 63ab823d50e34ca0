"""``palmtop bench --self-check``: the same builds measured twice, to see what the devices show when nothing changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mobile_harness.bench import BenchRequest
    from toolkit.cli.console import Console


_KEY = "palmtop.self_check"


def _remember(ctx: click.Context, _: click.Parameter, value: object) -> None:
    ctx.meta[_KEY] = bool(value)


self_check_option = click.option(
    "--self-check",
    is_flag=True,
    expose_value=False,
    callback=_remember,
    help="Measure everything twice and show each device's noise floor (A/A).",
)
"""Adds ``--self-check`` to a command; :func:`is_self_check` says in it whether it was given."""


def is_self_check() -> bool:
    """Say whether the running command was given ``--self-check``."""
    return bool(click.get_current_context().meta.get(_KEY))


def run_self_check(request: BenchRequest, console: Console) -> None:
    """Take two whole runs one after the other, store both, and show each device's noise floor.

    Raises:
        BadInput: no cell was measured in both.
        SomeFailed: some cells have no figures; the others are shown.
    """
    from mobile_harness import comparer
    from mobile_harness.bench import bench
    from toolkit.core.errors import SomeFailed, UsageError

    if request.resume is not None:
        raise UsageError("--self-check takes two new runs.", hint="Leave out --resume, or compare two stored runs.")
    tools = console.tools()
    runs = (bench(request, tools), bench(request, tools))
    found = comparer.self_check(*runs)
    console.result(found, lambda: comparer.text.self_check(found))
    missing = sum(cell.outcome != "measured" for run in runs for cell in run.cells)
    if missing:
        words = f"{missing} of {sum(len(run.cells) for run in runs)} cells have no figures."
        raise SomeFailed(words, hint=f"`palmtop report {runs[1].id}` says why.")
