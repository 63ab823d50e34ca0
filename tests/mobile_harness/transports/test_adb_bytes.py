"""What a device sends, cut anywhere and damaged everywhere: a typed error or a value, within bounds."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobile_harness.adb import shell, sync
from mobile_harness.adb.errors import AdbFailed
from mobile_harness.adb.link import Deadline, Link
from mobile_harness.adb.shell import EXIT, STDERR, STDOUT, Command, Result


def packet(kind: int, data: bytes) -> bytes:
    return struct.pack("<BI", kind, len(data)) + data


WHOLE = packet(STDOUT, b"41") + packet(STDOUT, b"7\nout") + packet(STDERR, b"err") + packet(EXIT, b"\x02")
FILE = b"DATA" + struct.pack("<I", 5) + b"hello" + b"DATA" + struct.pack("<I", 1) + b"!" + b"DONE" + bytes(4)


def said(raw: bytes) -> Link:
    """A link whose other end sent these bytes and closed."""
    ours, theirs = socket.socketpair()
    theirs.sendall(raw)
    theirs.shutdown(socket.SHUT_WR)
    _KEPT.append(theirs)
    return Link(ours, Deadline(5, "the test"))


_KEPT: list[socket.socket] = []


@pytest.fixture(autouse=True)
def _close():
    yield
    while _KEPT:
        _KEPT.pop().close()


def run(raw: bytes) -> Result:
    with said(raw) as link:
        return shell.collect(link, Command(link), None, 1 << 16)


def test_a_whole_answer() -> None:
    result = run(WHOLE)
    assert (result.code, result.stdout, result.stderr) == (2, b"out", b"err")


@pytest.mark.parametrize("cut", range(len(WHOLE)))
def test_an_answer_cut_anywhere_is_no_success(cut: int) -> None:
    with pytest.raises(AdbFailed) as caught:
        run(WHOLE[:cut])
    assert caught.value.kind == "closed"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_result_or_a_typed_error(raw: bytes) -> None:
    for work in (
        lambda: run(raw),
        lambda: fetch(raw, 50),
        lambda: look(raw, v2=True),
        lambda: look(raw, v2=False),
        lambda: block(raw),
    ):
        with suppress(AdbFailed):  # any other error escapes and fails the test
            work()
    while _KEPT:
        _KEPT.pop().close()


def test_a_packet_that_announces_too_much_is_not_waited_for() -> None:
    with pytest.raises(AdbFailed, match="no shell packet"):
        run(struct.pack("<BI", STDOUT, 1 << 31))
    with pytest.raises(AdbFailed, match="answered"):
        fetch(b"DATA" + struct.pack("<I", 1 << 31), 50)


def fetch(raw: bytes, most: int) -> bytes:
    with said(raw) as link:
        return sync.fetch(link, "/f", most)


def look(raw: bytes, *, v2: bool) -> object:
    with said(raw) as link:
        return sync.look(link, "/f", v2=v2)


def block(raw: bytes) -> bytes:
    with said(raw) as link:
        return link.block()


def test_a_file_is_whole_bounded_or_an_error() -> None:
    assert fetch(FILE, 50) == b"hello!"
    assert fetch(FILE, 3) == b"hel"
    for cut in range(len(FILE)):
        with pytest.raises(AdbFailed):
            fetch(FILE[:cut], 50)
    with pytest.raises(AdbFailed, match="Permission denied") as caught:
        fetch(b"FAIL" + struct.pack("<I", 17) + b"Permission denied", 50)
    assert caught.value.kind == "refused"


def test_a_shell_that_tells_no_process_is_none_we_can_end() -> None:
    with pytest.raises(AdbFailed, match="does not tell its process"):
        run(packet(STDOUT, b"sh: syntax error: unexpected end\n") + packet(EXIT, b"\x01"))
    with pytest.raises(AdbFailed, match="does not tell its process"):
        run(packet(STDOUT, b"9" * 10_000 + b"\n") + packet(EXIT, b"\0"))
