"""Pairing and connecting over the network: against the real server, and for what only a phone can say, its words."""

from __future__ import annotations

import io
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from adb_lab import PrivateServer, free_port
from hypothesis import given
from hypothesis import strategies as st

from mobile_harness.adb import server as servers
from mobile_harness.adb import wireless
from mobile_harness.adb.address import Server
from mobile_harness.adb.errors import AdbFailed
from mobile_harness.virtual_device import faults
from toolkit.cli.main import execute
from toolkit.core.clock import SystemClock

CODE = "482913"


@contextmanager
def answering(raw: bytes) -> Iterator[tuple[Server, list[bytes]]]:
    """A server that answers one request with these bytes: what an adb server says of a phone that we do not have."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            link, _ = listening.accept()
            with link:
                asked.append(link.recv(int(link.recv(4), 16)))
                link.sendall(raw)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Server("127.0.0.1", listening.getsockname()[1]), asked
        thread.join(5)


def block(text: str) -> bytes:
    return b"%04x" % len(text) + text.encode()


@pytest.mark.parametrize("before", [b"OKAY", b"OKAYOKAY"])
def test_a_pairing_that_worked_names_the_phone(before: bytes) -> None:
    words = "Successfully paired to 192.168.1.7:37001 [guid=adb-R58M-x1Y2z3]"
    with answering(before + block(words)) as (server, asked):
        assert wireless.pair(server, "192.168.1.7:37001", CODE, 5) == "adb-R58M-x1Y2z3"
    assert asked == [f"host:pair:{CODE}:192.168.1.7:37001".encode()]


@pytest.mark.parametrize(
    ("raw", "says", "hint"),
    [
        (
            b"OKAYFAIL" + block("Failed: Wrong password or connection was dropped."),
            "Wrong password",
            "dialog was closed",
        ),
        (b"OKAY" + block("Failed: Wrong password or connection was dropped."), "Wrong password", "dialog was closed"),
        (b"FAIL" + block(f"unknown host service 'pair:{CODE}:h:1'"), "too old for pairing", "kill-server"),
        (b"FAIL" + block(f"no idea of {CODE}"), "no idea", ""),
        (b"OKAY" + block(f"{CODE}?"), "cannot be paired", "again"),
        (b"OKAY" + block(""), "no reason is given", "again"),
        (b"OKAYzzzz", "answered pairing", ""),
        (b"OKAY00", "ended in the middle", ""),
    ],
)
def test_a_pairing_that_failed_says_why_and_never_the_code(raw: bytes, says: str, hint: str) -> None:
    with answering(raw) as (server, _), pytest.raises(AdbFailed, match=re.escape(says)) as caught:
        wireless.pair(server, "192.168.1.7:37001", CODE, 5)
    assert hint in caught.value.hint
    assert CODE not in f"{caught.value} {caught.value.__cause__}"


def test_the_real_server_says_that_nobody_pairs_there(adb_server: PrivateServer) -> None:
    with pytest.raises(AdbFailed, match="Unable to start pairing client") as caught:
        wireless.pair(adb_server.server, f"127.0.0.1:{free_port()}", CODE, 10)
    assert "pairing dialog" in caught.value.hint


def test_the_command_asks_for_the_code_and_keeps_it_to_itself(
    adb_server: PrivateServer, boot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    boot(1)
    place = f"127.0.0.1:{free_port()}"
    for stdin, words in (("482913\n", []), ("", ["--code", CODE])):
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        assert execute(["devices", "pair", place, *words, "-v"]) == 5
        said = capsys.readouterr()
        assert "Unable to start pairing client" in said.err
        assert CODE not in said.err + said.out
    monkeypatch.setattr("sys.stdin", io.StringIO("abc\n"))
    assert execute(["devices", "pair", place]) == 2
    assert execute(["devices", "pair", "phone", "--code", CODE]) == 2
    assert "HOST:PORT" in capsys.readouterr().err


def test_a_phone_is_connected_and_disconnected(
    boot, adb_server: PrivateServer, capsys: pytest.CaptureFixture[str]
) -> None:
    farm = boot(1, connect=False)
    assert execute(["devices", "connect", farm[0].address]) == 0
    assert "is connected" in capsys.readouterr().out
    assert [row.state for row in servers.rows(adb_server.server, 5) if row.serial == farm[0].address] == ["device"]
    assert execute(["devices", "connect", farm[0].address]) == 0
    assert execute(["devices", "disconnect", farm[0].address]) == 0
    assert "is disconnected" in capsys.readouterr().out
    assert execute(["devices", "disconnect", farm[0].address]) == 0
    assert "was not connected" in capsys.readouterr().out


def test_who_wants_no_server_asked_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["devices", "connect", "127.0.0.1"]) == 3
    assert "no adb server is asked" in capsys.readouterr().err


def test_a_phone_that_is_not_there_or_not_allowed_is_told(
    boot, adb_server: PrivateServer, capsys: pytest.CaptureFixture[str]
) -> None:
    farm = boot(1, [faults.Unauthorized()], connect=False)
    assert execute(["devices", "connect", f"127.0.0.1:{free_port()}"]) == 5
    assert "Connection refused" in capsys.readouterr().err
    with pytest.raises(AdbFailed, match="is unauthorized after 1 s") as caught:
        wireless.connect(adb_server.server, farm[0].address, SystemClock(), 1)
    assert caught.value.kind == "unauthorized"
    assert "Unlock" in caught.value.hint


def test_a_server_that_does_not_look_for_phones_says_so(adb_server: PrivateServer) -> None:
    with pytest.raises(AdbFailed, match="does not look for phones: ERROR: mdns discovery disabled") as caught:
        wireless.services(adb_server.server, 5)
    assert "ADB_MDNS" in caught.value.hint


LISTED = "adb-R58M (2)\t_adb-tls-connect._tcp\t192.168.1.7:40123\nadb-R58M\t_adb-tls-pairing._tcp.\t192.168.1.7:37001\n"


def test_what_phones_announce_is_read() -> None:
    first, second = wireless.read_services(LISTED)
    assert (first.name, first.kind, first.address) == ("adb-R58M (2)", "connect", "192.168.1.7:40123")
    assert second.kind == "pairing"
    assert wireless.read_services("List of discovered mdns services\nx\t_other._tcp\t[::1]:5\n")[0].kind == "other"


@given(st.text() | st.integers(0, len(LISTED)).map(lambda end: LISTED[:end]))
def test_any_announcement_is_read_without_harm(text: str) -> None:
    for item in wireless.read_services(text):
        assert wireless.address_of(item.address) is not None
        assert item.name.isprintable()


@given(st.text())
def test_what_is_taken_as_an_address_cannot_say_more_than_one(word: str) -> None:
    found = wireless.address_of(word, 5555)
    assert found is None or re.fullmatch(r"[\w.\-\[\]:]+:\d{1,5}", found, re.ASCII)
