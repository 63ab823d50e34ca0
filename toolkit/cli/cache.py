"""``palmtop cache``: what the cache holds, and how to make it smaller."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.console import Console, size_words, table
from toolkit.cli.options import common_options

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from toolkit.core.pruning import Entry, Pruned

_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_SPANS = {"h": 3600, "d": 86400, "w": 7 * 86400}


class Bytes(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """A size such as ``500MB`` or ``5 GB`` (powers of ten), in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?b)", str(value).strip().lower())
        if not found:
            self.fail(f"{value!r} is not a size such as 500MB or 5GB.", param, ctx)
        return int(float(found[1]) * _UNITS[found[2]])


class Span(click.ParamType):  # type: ignore[type-arg]  # generic in the newest click only
    """A span of time such as ``36h``, ``30d`` or ``4w``, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"(\d+)\s*([hdw])", str(value).strip().lower())
        if not found:
            self.fail(f"{value!r} is not a span of time such as 36h, 30d or 4w.", param, ctx)
        return int(found[1]) * _SPANS[found[2]]


@click.group(invoke_without_command=True)
@common_options
@click.pass_context
def command(ctx: click.Context, console: Console) -> None:
    """Say what the cache holds, by the step that made it.

    The cache is what lets a second run of equal inputs take a second. Everything in it can be made again.

    Example:
      palmtop cache
      palmtop cache prune --unused-for 30d
    """
    if ctx.invoked_subcommand is not None:
        return
    from toolkit.core import pruning
    from toolkit.core.tools import cache_root

    root = cache_root()
    found = pruning.entries(root)
    stages = _by_stage(found)
    document = {"schema": 1, "cache": str(root), "bytes": sum(one.size_bytes for one in found), "stages": stages}
    console.result(document, lambda: _page(root, found))


@command.command("prune")
@click.option("--max-size", type=Bytes(), metavar="SIZE", help="Remove what is unused the longest, down to this size.")
@click.option("--unused-for", type=Span(), metavar="TIME", help="Remove what was not used for this long.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@common_options
def prune(max_size: int | None, unused_for: int | None, dry_run: bool, console: Console) -> None:
    """Remove cached results that were not used for long.

    What was used within a day, or is in use, stays. Builds, reports and the history lie elsewhere and are not touched.

    Example:
      palmtop cache prune --unused-for 30d
      palmtop cache prune --max-size 5GB --dry-run
    """
    from toolkit.core import pruning
    from toolkit.core.tools import cache_root

    if max_size is None and unused_for is None:
        raise click.UsageError("Say what may go: --unused-for 30d, --max-size 5GB, or both.")
    now_s = console.tools().clock.utc().timestamp()
    done = pruning.prune(cache_root(), now_s, max_size, unused_for, dry_run)
    console.result({"schema": 1, **_document(done)}, lambda: _told(done))


def _by_stage(found: tuple[Entry, ...]) -> list[dict[str, Any]]:
    stages: dict[str, list[Entry]] = defaultdict(list)
    for entry in found:
        stages[entry.stage].append(entry)
    summed = [
        {"stage": stage, "results": len(of), "bytes": sum(one.size_bytes for one in of)} for stage, of in stages.items()
    ]
    return sorted(summed, key=lambda one: -int(str(one["bytes"])))


def _page(root: Path, found: tuple[Entry, ...]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    rows = [(one["stage"], one["results"], size_words(one["bytes"])) for one in _by_stage(found)]
    total = size_words(sum(entry.size_bytes for entry in found))
    return Group(
        table("made by", "results", "size", rows=rows, right=("results", "size")),
        Text(f"{_count(len(found))}, {total}, in {root}"),
    )


def _count(results: int) -> str:
    return "1 result" if results == 1 else f"{results} results"


def _document(done: Pruned) -> dict[str, Any]:
    return {
        "removed": [{"stage": one.stage, "path": str(one.path), "bytes": one.size_bytes} for one in done.removed],
        "freed_bytes": done.freed_bytes,
        "kept_bytes": done.kept_bytes,
        "dry_run": done.dry_run,
    }


def _told(done: Pruned) -> str:
    verb = "Would remove" if done.dry_run else "Removed"
    return f"{verb} {_count(len(done.removed))}, {size_words(done.freed_bytes)}; {size_words(done.kept_bytes)} stay.\n"
