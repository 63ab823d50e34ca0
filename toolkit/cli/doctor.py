"""``palmtop doctor``: what is here, what is missing, and the command that installs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toolkit.cli.console import Console, size_words, table
from toolkit.cli.options import common_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from toolkit.cli.environment import Environment, Library, Program


@click.command()
@common_options
def command(console: Console) -> None:
    """Say what is installed, what is missing and how to get it.

    Versions and licences of the libraries, programs that some commands use, the cache, free disk and memory. Exits
    with 6 only when a required library is missing.

    Example:
      palmtop doctor
      palmtop doctor --json
    """
    from pathlib import Path

    from toolkit.cli import environment, settings
    from toolkit.core.errors import ToolMissing

    holding = settings.find(Path.cwd())
    if holding is not None:
        settings.read(holding)
    found = environment.survey(console.tools(), holding)
    console.result(found, lambda: _page(found))
    if found.missing:
        raise ToolMissing(
            f"Required libraries are missing: {', '.join(found.missing)}.",
            hint=f"pip install {' '.join(found.missing)}, or install palmtop again.",
        )


def _page(found: Environment) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    places = found.places
    facts = (
        ("palmtop", found.palmtop),
        ("Python", found.python),
        ("system", f"{found.system}, {found.cores} cores"),
        ("settings", places.settings or "no palmtop.toml from here upward: defaults hold"),
        (
            "cache",
            f"{places.cache}, {size_words(places.cache_bytes)}" + ("" if places.cache_writable else ", NOT WRITABLE"),
        ),
        ("free", f"{size_words(places.disk_free_bytes)} of disk, {size_words(places.memory_free_bytes)} of memory"),
    )
    return Group(
        table("", "", rows=facts),
        table("library", "wanted", "installed", "licence", rows=[_library_row(one) for one in found.libraries]),
        table("program", "for", "found", rows=[_program_row(one) for one in found.programs]),
        Text("Everything palmtop needs is installed." if not found.missing else "Something palmtop needs is missing."),
    )


def _library_row(one: Library) -> tuple[str, ...]:
    missing = f"no: pip install 'palmtop[{one.extras[-1]}]'" if one.extras else f"MISSING: pip install {one.name}"
    return one.name, one.wanted, one.version or missing, one.licence or "–"


def _program_row(one: Program) -> tuple[str, ...]:
    return one.name, one.why, f"{one.path}: {one.version}" if one.path else f"no: {one.fix}"
