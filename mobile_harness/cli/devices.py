"""``palmtop devices``: what is within reach, why something is not, and what is known of devices that are not here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mobile_harness.cli._boot import boot, emulators_at_rest, stop
from mobile_harness.cli._device_profiles import profiles
from mobile_harness.cli._open import open_app
from mobile_harness.cli._wireless import connect, disconnect, nearby, pair
from toolkit.cli.console import Console
from toolkit.cli.options import common_options, keep_examples

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mobile_harness.lab import Lab
    from mobile_harness.transports._adb_watch import Change


SYSTEMS = {"android": "Android", "ios": "iOS"}
HELP = """List the devices within reach, and why others cannot be used; or do what the sub-command says.

The first column of the list is what `palmtop bench --device` takes.

Example:
  palmtop devices
  palmtop devices --json
  palmtop devices --watch
  palmtop devices boot virtual --count 8
  palmtop devices connect 192.168.1.7:40123
  palmtop devices profiles --build builds
"""


class _ListingGroup(click.Group):
    """A group that lists the devices when no sub-command is named: its first word is ``list`` then."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        names_one = bool(args) and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if names_one else ["list", *args])


@click.group(
    cls=_ListingGroup, help=keep_examples(HELP), short_help="List the devices within reach, and why others are not."
)
def command() -> None:
    """Do what the sub-command says."""


for part in (profiles, boot, stop, pair, connect, disconnect, nearby, open_app):
    command.add_command(part)


@command.command("list")
@click.option("--watch", "watching", is_flag=True, help="Go on, and tell of each device that comes or goes.")
@click.option("--for", "seconds", type=click.FloatRange(0, 86400), help="Seconds to watch.  [default: until Ctrl-C]")
@common_options
def listing(watching: bool, seconds: float | None, console: Console) -> None:
    """List the devices within reach, and why others cannot be used.

    With --watch, Android devices that come and go are told on stderr as it happens; the list follows at the end.

    Example:
      palmtop devices list
      palmtop devices --json
      palmtop devices --watch --for 60
    """
    from mobile_harness import lab

    if seconds is not None and not watching:
        raise click.UsageError("--for goes with --watch.")
    if watching:
        _watch(seconds, console)
    found = lab.discover(console.tools(), wake=True)
    at_rest = emulators_at_rest(console)
    document = {
        "schema": 1,
        "devices": [device.info for device in found.devices],
        "unusable": list(found.unusable),
        "bootable": list(at_rest),
    }
    console.result(document, lambda: _page(found, at_rest))


def _watch(seconds: float | None, console: Console) -> None:
    """Tell what comes and goes until the time is over, or the user ends it."""
    from contextlib import suppress

    from mobile_harness.transports import adb

    tools = console.tools()
    with suppress(KeyboardInterrupt):  # it is how a watch ends
        for change in adb.watch(tools, seconds):
            console.note(f"{tools.clock.utc():%H:%M:%S} {_words(change)}")


def _words(change: Change) -> str:
    if change.info is not None:
        return f"{change.device} {change.kind}: {change.info.kind}, {change.info.model}, {change.info.os_version}"
    told = f": {change.reason}" if change.reason else ""
    return f"{change.device} {change.kind}{told}"


def _page(found: Lab, at_rest: tuple[str, ...]) -> RenderableType:
    from rich.console import Group

    from mobile_harness.lab import selector
    from toolkit.cli.console import table

    rows = [
        (
            selector(device),
            device.info.kind,
            device.info.model,
            device.info.soc,
            f"{SYSTEMS.get(device.info.platform, '')} {device.info.os_version}".strip(),
            f"{device.info.ram_mb} MB" if device.info.ram_mb else "unknown",
        )
        for device in found.devices
    ]
    parts: list[RenderableType] = [
        table("device", "kind", "model", "processor", "system", "memory", rows=rows, right=("memory",))
    ]
    if found.unusable:
        reasons = [(f"{item.transport}:{item.serial}".rstrip(":"), item.reason, item.hint) for item in found.unusable]
        parts.append(table("cannot be used", "why", "what helps", rows=reasons))
    if at_rest:
        rows_at_rest = [(name, f"palmtop devices boot {name}") for name in at_rest]
        parts.append(table("emulator at rest", "start it", rows=rows_at_rest))
    return Group(*parts)
