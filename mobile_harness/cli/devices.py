"""``palmtop devices``: what is within reach, why something is not, and what is known of devices that are not here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mobile_harness.cli._boot import boot, stop
from mobile_harness.cli._device_profiles import profiles
from toolkit.cli.console import Console
from toolkit.cli.options import common_options, keep_examples

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mobile_harness.lab import Lab


SYSTEMS = {"android": "Android", "ios": "iOS"}
HELP = """List the devices within reach, and why others cannot be used; or do what the sub-command says.

The first column of the list is what `palmtop bench --device` takes.

Example:
  palmtop devices
  palmtop devices --json
  palmtop devices boot virtual --count 8
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


command.add_command(profiles)
command.add_command(boot)
command.add_command(stop)


@command.command("list")
@common_options
def listing(console: Console) -> None:
    """List the devices within reach, and why others cannot be used.

    Example:
      palmtop devices list
      palmtop devices --json
    """
    from mobile_harness import lab

    found = lab.discover(console.tools(), wake=True)
    document = {"schema": 1, "devices": [device.info for device in found.devices], "unusable": list(found.unusable)}
    console.result(document, lambda: _page(found))


def _page(found: Lab) -> RenderableType:
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
            f"{device.info.ram_mb} MB",
        )
        for device in found.devices
    ]
    parts: list[RenderableType] = [
        table("device", "kind", "model", "processor", "system", "memory", rows=rows, right=("memory",))
    ]
    if found.unusable:
        reasons = [(f"{item.transport}:{item.serial}".rstrip(":"), item.reason, item.hint) for item in found.unusable]
        parts.append(table("cannot be used", "why", "what helps", rows=reasons))
    return Group(*parts)
