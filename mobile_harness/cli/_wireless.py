"""``palmtop devices pair``, ``connect``, ``disconnect`` and ``nearby``: phones over Wi-Fi."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toolkit.cli.console import Console
from toolkit.cli.options import common_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mobile_harness.adb.address import Server
    from mobile_harness.adb.wireless import Service
    from toolkit.core.tools import Tools

PAIR_S = 30.0
NEARBY_S = 5.0
CODE_VARIABLE = "PALMTOP_PAIRING_CODE"


@click.command()
@click.argument("address", metavar="HOST:PORT")
@click.option("--code", envvar=CODE_VARIABLE, metavar="N", help="The six digits; asked for when it is left out.")
@common_options
def pair(address: str, code: str | None, console: Console) -> None:
    """Pair with a phone on the network.

    Open Developer options > Wireless debugging > Pair device with pairing code. The phone shows HOST:PORT and the code;
    both change when its dialog is closed. Pairing is needed once for each
    computer. The code goes to the adb server over a local connection: it is no other program's argument and stands in
    no log. What you type after --code may stay in your shell's history; leave it out and it is asked for.

    Example:
      palmtop devices pair 192.168.1.7:37001
      palmtop devices connect 192.168.1.7:40123
    """
    from mobile_harness.adb import wireless

    place = _address(address, None)
    digits = code.strip() if code is not None else _asked()
    if not wireless.is_code(digits):
        raise click.UsageError("A pairing code has six digits.")
    name = wireless.pair(_server(console.tools()), place, digits, PAIR_S)
    words = f"Paired with {name}.\nNext: palmtop devices connect HOST:PORT, with the port of the phone's main page.\n"
    console.result({"schema": 1, "address": place, "name": name}, lambda: words)


def _asked() -> str:
    """Ask for the code on a terminal, else read it from standard input."""
    import sys

    if sys.stdin.isatty():
        return str(click.prompt("Pairing code", err=True)).strip()
    return sys.stdin.readline(100).strip()


@click.command()
@click.argument("address", metavar="HOST[:PORT]")
@common_options
def connect(address: str, console: Console) -> None:
    """Connect to a phone on the network, and wait until it can be used.

    With wireless debugging the port is the one on the phone's Wireless debugging page, another than that of pairing;
    without a port it is 5555, where `adb tcpip 5555` makes a phone listen.

    Example:
      palmtop devices connect 192.168.1.7:40123
      palmtop devices connect 192.168.1.7
    """
    from mobile_harness.adb import wireless

    place = _address(address, wireless.DEFAULT_PORT)
    tools = console.tools()
    wireless.connect(_server(tools), place, tools.clock)
    words = f"{place} is connected.\nNext: palmtop devices\n"
    console.result({"schema": 1, "address": place, "state": "device"}, lambda: words)


@click.command()
@click.argument("address", metavar="HOST[:PORT]")
@common_options
def disconnect(address: str, console: Console) -> None:
    """End the connection to a phone on the network.

    Example:
      palmtop devices disconnect 192.168.1.7:40123
    """
    from mobile_harness.adb import server as servers
    from mobile_harness.adb import wireless

    place = _address(address, wireless.DEFAULT_PORT)
    was = servers.disconnect(_server(console.tools()), place, wireless.CONNECT_S)
    words = f"{place} is disconnected." if was else f"{place} was not connected."
    console.result({"schema": 1, "address": place, "was_connected": was}, lambda: words)


@click.command()
@common_options
def nearby(console: Console) -> None:
    """List the phones that announce wireless debugging on this network.

    Example:
      palmtop devices nearby
    """
    from mobile_harness.adb import wireless

    found = wireless.services(_server(console.tools()), NEARBY_S)
    console.result({"schema": 1, "services": list(found)}, lambda: _page(found))


def _page(found: tuple[Service, ...]) -> RenderableType:
    from toolkit.cli.console import table

    if not found:
        return "No phone announces wireless debugging here. Is it on, and in the same network?"
    words = {"pairing": "palmtop devices pair", "connect": "palmtop devices connect"}
    rows = [(item.name, item.kind, f"{words.get(item.kind, '')} {item.address}".strip()) for item in found]
    return table("phone", "offers", "take it", rows=rows)


def _address(word: str, default_port: int | None) -> str:
    from mobile_harness.adb.wireless import address_of

    found = address_of(word, default_port)
    if found is None:
        raise click.UsageError(f"{word!r} is no {'HOST:PORT' if default_port is None else 'HOST[:PORT]'}.")
    return found


def _server(tools: Tools) -> Server:
    import os

    from mobile_harness.adb import server as servers

    return servers.first(os.environ, tools.run)
