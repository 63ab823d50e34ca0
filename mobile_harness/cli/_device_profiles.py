"""``palmtop devices profiles``: the device classes palmtop knows, and whether builds suit them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.console import Console
from toolkit.cli.options import common_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mobile_harness.profiles import DeviceProfile
    from mobile_harness.profiles.fit import Level
    from mobile_harness.profiles.survey import FitCell
    from toolkit.core.manifest import BuildEntry

WORDS: dict[Level, str] = {"ok": "fits", "unknown": "fits, gaps", "warn": "look", "blocker": "blocked"}
NAMES_SHOWN = 6


@click.command("profiles")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--build",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Hold the builds in DIR against the classes: what blocks them, and how long they take to download.",
)
@common_options
def profiles(names: tuple[str, ...], folder: Path | None, console: Console) -> None:
    """List the device classes that palmtop knows, or only those NAMEd.

    With --build, say for each class whether the builds run there: "fits", "fits, gaps" where a fact is not known,
    "look" where a warning stands, "blocked". It is all from published facts and estimates; a bench overrules it.
    `palmtop bench --device` takes a profile's name, and conditions: soc=SM8650, ram>=6000,api>=31, abi=arm64-v8a.

    Example:
      palmtop devices profiles
      palmtop devices profiles --build builds
      palmtop devices profiles galaxy-a14-exynos iphone-12 --build builds --json
    """
    from mobile_harness.profiles.survey import survey
    from toolkit.core import manifest

    chosen = _chosen(names)
    builds = manifest.read(folder).builds if folder is not None else ()
    cells = survey(builds, chosen)
    document = {"schema": 1, "profiles": list(chosen), "fit": list(cells)}
    console.result(document, lambda: _fit_page(chosen, builds, cells) if builds else _page(chosen))


def _chosen(names: tuple[str, ...]) -> tuple[DeviceProfile, ...]:
    from mobile_harness.profiles import shipped
    from toolkit.core.errors import unknown_name

    known = {profile.name: profile for profile in shipped()}
    for name in names:
        if name not in known:
            raise unknown_name("device profile", name, known)
    return tuple(known[name] for name in dict.fromkeys(names)) if names else tuple(known.values())


def _page(chosen: tuple[DeviceProfile, ...]) -> RenderableType:
    from toolkit.cli.console import table

    rows = [
        (
            profile.name,
            profile.kind,
            profile.soc.name or "unknown",
            _system(profile),
            _memory(profile),
            profile.summary,
        )
        for profile in chosen
    ]
    return table("profile", "kind", "processor", "system", "memory", "what it is", rows=rows, right=("memory",))


def _system(profile: DeviceProfile) -> str:
    word = {"android": "API ", "ios": "iOS "}.get(profile.platform, "")
    first, last = profile.os.min, profile.os.max
    if first is None:
        return "any"
    return f"{word}{first} to {last}" if last not in (None, first) else f"{word}{first}{'' if last else ' and later'}"


def _memory(profile: DeviceProfile) -> str:
    sizes = sorted(profile.memory.ram_mb)
    if not sizes:
        return "unknown"
    ends = dict.fromkeys((sizes[0] // 1024, sizes[-1] // 1024))
    return f"{' to '.join(map(str, ends))} GB"


def _fit_page(
    chosen: tuple[DeviceProfile, ...], builds: tuple[BuildEntry, ...], cells: tuple[FitCell, ...]
) -> RenderableType:
    from rich.console import Group

    from toolkit.cli.console import table

    level = {(cell.profile, cell.build): cell.level for cell in cells}
    rows = [(profile.name, *(WORDS[level[profile.name, build.id]] for build in builds)) for profile in chosen]
    parts = [
        table("profile", *(build.id for build in builds), rows=rows),
        *_obstacle_tables(cells),
        *_download_table(chosen, builds),
    ]
    return Group(*parts, "All findings, with their reasons: --json.")


def _obstacle_tables(cells: tuple[FitCell, ...]) -> list[RenderableType]:
    from mobile_harness.profiles.survey import obstacles
    from toolkit.cli.console import table

    chapters = {
        "What blocks": obstacles(cells, "blocker"),
        "What to look at": obstacles(cells, "warn"),
        "Accelerators that may not help": obstacles(cells, "warn", accelerators=True),
    }
    parts: list[RenderableType] = []
    for title, items in chapters.items():
        rows = [(item.finding.what, _few(item.builds), _few(item.profiles), item.finding.do) for item in items]
        if rows:
            parts.append(table("what", "builds", "profiles", "what helps", rows=rows, title=title))
    return parts


def _few(names: tuple[str, ...]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _download_table(chosen: tuple[DeviceProfile, ...], builds: tuple[BuildEntry, ...]) -> list[RenderableType]:
    from mobile_harness.profiles.fit import download_s
    from toolkit.cli.console import size_words, table

    networks = sorted({network for profile in chosen for network in profile.networks}, key=lambda n: -n.downlink_mbit_s)
    if not networks:
        return []
    heads = [f"{network.name}, {network.downlink_mbit_s:g} Mbit/s" for network in networks]
    rows = [
        (build.id, size_words(build.size_bytes), *(_seconds(download_s(build.size_bytes, net)) for net in networks))
        for build in builds
    ]
    title = "Download time of the build alone"
    return [table("build", "size", *heads, rows=rows, right=("size", *heads), title=title)]


def _seconds(value: float) -> str:
    if value < 0.1:
        return "under 0.1 s"
    return f"{value:.1f} s" if value < 10 else f"{value:.0f} s" if value < 600 else f"{value / 60:.0f} min"
