"""``palmtop devices``: what is within reach, and why something is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toolkit.cli.console import Console
from toolkit.cli.options import common_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mobile_harness.lab import Lab


@click.command()
@common_options
def command(console: Console) -> None:
    """List the devices within reach, and why others cannot be used.

    The first column is what `palmtop bench --device` takes.

    Example:
      palmtop devices
      palmtop devices --json
    """
    from mobile_harness import lab

    found = lab.discover(console.tools())
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
            device.info.os_version,
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
