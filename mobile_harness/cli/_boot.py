"""``palmtop devices boot`` and ``stop``: what palmtop can start: virtual devices, emulators, simulators."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.console import Console
from toolkit.cli.options import common_options, gather

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mobile_harness.transports._adb_emulators import Running
    from mobile_harness.virtual_device.background import State

VIRTUAL = "virtual"
_STATE_FILE = "virtual-devices.json"
_TYPED = click.core.ParameterSource.COMMANDLINE
_ONLY_VIRTUAL = ("count", "faults", "seed")
_ONLY_EMULATOR = ("create", "image", "timeout_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be booted, and how."""

    name: str
    count: int
    faults: tuple[str, ...]
    seed: int
    create: bool
    image: str
    timeout_s: float


def _state_folder() -> Path:
    """Return where what this user has running is kept."""
    import platformdirs

    return Path(platformdirs.user_state_dir("palmtop", ensure_exists=True))


def emulators_at_rest(console: Console) -> tuple[str, ...]:
    """Return the names of the emulators that `boot` can start, none where Android's emulator is not installed."""
    from mobile_harness.transports import _adb_emulators as emulators
    from toolkit.core.errors import PalmtopError, ToolMissing

    try:
        known = emulators.names(console.tools())
        running = {item.name for item in emulators.started(_state_folder())}
    except ToolMissing:
        return ()
    except PalmtopError as error:
        console.note(f"Emulators are not listed: {error}")
        return ()
    return tuple(name for name in known if name not in running)


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--count", type=click.IntRange(1, 64), default=1, show_default=True, help="How many virtual devices.")
@click.option(
    "--fault", "faults", multiple=True, metavar="[N/]NAME", help="A fault to play, as docs/virtual_device.md."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Decides where chance has a say in the faults.")
@click.option("--create", is_flag=True, help="Create the emulator first, of --image.")
@click.option("--image", default="", metavar="IMAGE", help="Such as 'system-images;android-35;google_apis;x86_64'.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(1, 7200), default=600, show_default=True,
    help="Seconds until one that is not up is given up.",
)  # fmt: skip
@gather("order", ("name", "count", "faults", "seed", "create", "image", "timeout_s"), Order)
@common_options
def boot(order: Order, console: Console) -> None:
    """Start devices in the background and connect them to the adb server.

    NAME is an Android emulator (AVD), an iOS simulator (its name or UDID), or `virtual`: an Android device in Python
    behind the real adb server, a way to try palmtop without a phone. All run on this computer, so their figures are no
    phone's, and every row says so. They have no window; what is done to an emulator is gone when it ends.

    Example:
      palmtop devices boot virtual --count 8
      palmtop devices boot virtual --fault 1/slow_link
      palmtop devices boot Pixel_8_API_35
      palmtop devices boot 'iPhone 16 Pro'
      palmtop devices boot lab35 --create --image 'system-images;android-35;google_apis;x86_64'
    """
    _check(order)
    if order.name == VIRTUAL:
        _boot_virtual(order, console)
        return
    simulators = () if order.create else _boot_simulator(order, console)
    if simulators is not None:
        _boot_emulator(order, console, simulators)


def _check(order: Order) -> None:
    """Refuse options that the kind of device does not know."""
    context = click.get_current_context()
    foreign = _ONLY_EMULATOR if order.name == VIRTUAL else _ONLY_VIRTUAL
    typed = [name for name in foreign if context.get_parameter_source(name) == _TYPED]
    if typed:
        words = {"faults": "fault", "timeout_s": "timeout"}
        kind = "an emulator" if order.name == VIRTUAL else f"`{VIRTUAL}`"
        raise click.UsageError(f"--{words.get(typed[0], typed[0])} is for {kind} only.")
    if order.create != bool(order.image):
        raise click.UsageError("--create and --image go together.")


def _boot_virtual(order: Order, console: Console) -> None:
    from mobile_harness.virtual_device import background, faults

    faults.planned(order.faults, order.count)  # a word that cannot be read is told before anything starts
    words = ["--seed", str(order.seed), *(word for fault in order.faults for word in ("--fault", fault))]
    state = background.boot(order.count, _state_folder() / _STATE_FILE, words)
    console.result(state, lambda: _page(state))


def _boot_simulator(order: Order, console: Console) -> tuple[str, ...] | None:
    """Boot the simulator of that name, if this is a Mac with Xcode; return the names there are when none has it."""
    import os

    from mobile_harness.apple import xcode

    if not xcode.is_here(os.environ):
        return ()
    from mobile_harness.transports import _simctl_boot

    tools = console.tools()
    found = _simctl_boot.find(order.name, tools)
    if found is None:
        return _simctl_boot.names(tools)
    booted = _simctl_boot.boot(found, _state_folder(), tools, order.timeout_s)
    words = (
        f"{booted.name} is up.\nNext: palmtop bench DIR --device simctl:{booted.udid}\n"
        f"Stop it: palmtop devices stop {booted.udid}\n"
    )
    console.result(booted, lambda: words)
    return None


def _boot_emulator(order: Order, console: Console, simulators: tuple[str, ...]) -> None:
    from mobile_harness.transports import _adb_emulators as emulators
    from toolkit.core.errors import ToolMissing, unknown_name

    tools = console.tools()
    try:
        if order.create:
            emulators.create(order.name, order.image, tools)
        running = emulators.boot(order.name, _state_folder(), tools, order.timeout_s)
    except ToolMissing as error:
        if simulators:
            raise unknown_name("simulator", order.name, simulators) from error
        raise ToolMissing(
            f"{order.name!r} is not `{VIRTUAL}`, and as an emulator it cannot be booted: {error.message}",
            hint=error.hint,
        ) from error
    console.result(running, lambda: _emulator_page(running))


@click.command()
@click.argument("name", metavar="NAME")
@common_options
def stop(name: str, console: Console) -> None:
    """Stop the devices that `boot` started; others are left alone.

    Example:
      palmtop devices stop virtual
      palmtop devices stop Pixel_8_API_35
    """
    if name != VIRTUAL:
        from mobile_harness.transports import _adb_emulators as emulators
        from mobile_harness.transports import _simctl_boot

        booted = _simctl_boot.stop(name, _state_folder(), console.tools())
        if booted is not None:
            console.result(booted, lambda: f"The simulator {booted.name} is shut down.")
            return
        running = emulators.stop(name, _state_folder())
        console.result(running, lambda: f"The emulator {running.name} ({running.serial}) is stopped.")
        return
    from mobile_harness.virtual_device import background

    state = background.stop(_state_folder() / _STATE_FILE)
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


def _emulator_page(running: Running) -> str:
    return (
        f"{running.name} is up as {running.serial}; its log is {running.log}\n"
        f"Next: palmtop bench DIR --device adb:{running.serial}\nStop it: palmtop devices stop {running.name}\n"
    )
