"""``palmtop bench --app``: measure with the app of a project that ``palmtop app create`` made."""

from __future__ import annotations

import os
from pathlib import Path

import click


def _use(_: click.Context, __: click.Parameter, app: Path | None) -> None:
    """Name the app where the transports look for one: in this process's variables, which win over installed apps."""
    if app is not None:
        from toolkit.apps import placed

        os.environ.update(placed.bench_variables(app))


app_option = click.option(
    "--app",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    expose_value=False,
    callback=_use,
    metavar="APP",
    help="Install and measure with this project's app; `palmtop app build APP --variant bench` builds it.",
)
"""Adds ``--app`` to a command; nothing else has to be done with it."""
