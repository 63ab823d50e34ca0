"""``palmtop devices open``: an app's screen on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toolkit.cli.console import Console
from toolkit.cli.options import common_options

if TYPE_CHECKING:
    from mobile_harness.transports._adb_activity import Opened


@click.command("open")
@click.argument("device", metavar="SEL")
@click.argument("component", metavar="PACKAGE/ACTIVITY")
@common_options
def open_app(device: str, component: str, console: Console) -> None:
    """Bring an app to the front on an Android device, and show its log.

    Example:
      palmtop devices open adb:R58M123 org.palmtop.demo/.MainActivity
    """
    from mobile_harness.transports import _adb_activity, adb

    tools = console.tools()
    for item in adb.wake(tools):
        console.note(item.reason)
    opened = _adb_activity.open_on(device, component, tools)
    console.result(opened, lambda: _page(opened))


def _page(opened: Opened) -> str:
    start = opened.start
    took = f" in {start.total_ms} ms" if start.total_ms is not None else ""
    state = f" ({start.launch_state.lower()} start)" if start.launch_state else ""
    return f"{start.activity} is in front on {opened.device}{took}{state}.\n{opened.log}"
