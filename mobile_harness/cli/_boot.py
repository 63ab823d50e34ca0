"""``palmtop devices boot`` and ``stop``: devices that palmtop itself can start. Today these are virtual ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.console import Console
from toolkit.cli.options import common_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mobile_harness.virtual_device.background import State

BOOTABLE = ("virtual",)
_STATE_FILE = "virtual-devices.json"


def _known(name: str) -> None:
    from toolkit.core.errors import unknown_name

    if name not in BOOTABLE:
        raise unknown_name("device to boot", name, BOOTABLE)


def _state_file() -> Path:
    """Return where the running virtual devices of this user are kept."""
    import platformdirs

    return Path(platformdirs.user_state_dir("palmtop", ensure_exists=True)) / _STATE_FILE


@click.command()
@click.argument("name", metavar="virtual")
@click.option("--count", type=click.IntRange(1, 64), default=1, show_default=True, help="How many.")
@click.option(
    "--fault", "faults", multiple=True, metavar="[N/]NAME", help="A fault to play, as docs/virtual_device.md."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Decides where chance has a say in the faults.")
@common_options
def boot(name: str, count: int, faults: tuple[str, ...], seed: int, console: Console) -> None:
    """Start devices in the background and connect them to the adb server.

    `virtual` is an Android device in Python behind the real adb server: a way to try palmtop without a phone. It runs
    on this computer, so its figures are no phone's, and every row says so. Its serials are virtual-0, virtual-1, …

    Example:
      palmtop devices boot virtual --count 8
      palmtop devices boot virtual --fault 1/slow_link
    """
    from mobile_harness.virtual_device import background

    _known(name)
    words = ["--seed", str(seed), *(word for fault in faults for word in ("--fault", fault))]
    state = background.boot(count, _state_file(), words)
    console.result(state, lambda: _page(state))


@click.command()
@click.argument("name", metavar="virtual")
@common_options
def stop(name: str, console: Console) -> None:
    """Stop the devices that `boot` started.

    Example:
      palmtop devices stop virtual
    """
    from mobile_harness.virtual_device import background

    _known(name)
    state = background.stop(_state_file())
    count = len(state.devices) if state else 0
    plural = "" if count == 1 else "s"
    console.result(state, lambda: f"{count} virtual device{plural} stopped." if count else "No virtual devices ran.")


def _page(state: State) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from toolkit.cli.console import table

    rows = [(place.serial, place.address) for place in state.devices]
    following = "Next: palmtop bench DIR --device virtual\nStop them: palmtop devices stop virtual"
    return Group(table("serial", "address", rows=rows), Text(following))
