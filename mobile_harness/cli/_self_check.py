"""``palmtop bench --self-check``: twice the sessions, to see what the devices show when nothing changed."""

from __future__ import annotations

from dataclasses import replace
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
    help="Take twice the sessions, hold one half against the other (A/A) and show each device's noise floor.",
)
"""Adds ``--self-check`` to a command; :func:`is_self_check` says in it whether it was given."""


def is_self_check() -> bool:
    """Say whether the running command was given ``--self-check``."""
    return bool(click.get_current_context().meta.get(_KEY))


def run_self_check(request: BenchRequest, console: Console) -> None:
    """Take a run of twice the sessions, store it, and show each device's noise floor.

    Raises:
        BadInput: no cell was measured.
        SomeFailed: some cells have no figures; the others are shown.
    """
    from mobile_harness import comparer
    from mobile_harness.bench import bench
    from toolkit.core.errors import SomeFailed, UsageError

    if request.resume is not None:
        raise UsageError("--self-check takes a new run.", hint="Leave out --resume, or compare two stored runs.")
    run = bench(replace(request, halves=2), console.tools())
    found = comparer.self_check(*comparer.split(run))
    console.result(found, lambda: comparer.text.self_check(found))
    missing = sum(cell.outcome != "measured" for cell in run.cells)
    if missing:
        words = f"{missing} of {len(run.cells)} cells have no figures."
        raise SomeFailed(words, hint=f"`palmtop report {run.id}` says why.")
