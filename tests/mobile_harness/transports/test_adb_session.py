"""The client itself, against the real server and a virtual device: every wait ends, every end has its reason."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from adb_lab import PrivateServer, free_port

from mobile_harness.adb import server as servers
from mobile_harness.adb.address import Server, is_listening, servers_of
from mobile_harness.adb.errors import AdbFailed
from mobile_harness.adb.session import Route, Session
from mobile_harness.adb.shell import service_of
from mobile_harness.transports._adb_trouble import steadily
from mobile_harness.virtual_device import faults
from toolkit.core import process
from toolkit.core.clock import SystemClock
from toolkit.core.errors import SettingsError


@pytest.fixture
def farm(boot):
    return boot()


@pytest.fixture
def session(adb_server: PrivateServer, farm) -> Session:
    return session_of(adb_server, farm)


def session_of(adb_server: PrivateServer, farm) -> Session:
    return Session([Route(server=adb_server.server, serial=farm[0].address)], "adb:test", SystemClock())


# commands ---------------------------------------------------------------------------------------------------------


def test_a_command_s_outputs_and_end_are_kept_apart(session: Session) -> None:
    result = session.run(["sh", "-c", "echo out; echo err >&2; exit 3"], 5)
    assert (result.code, result.stdout, result.stderr, result.dropped) == (3, b"out\n", b"err\n", 0)
    assert session.run(["ls", "/nope"], 5).code != 0


@pytest.mark.parametrize("word", ["a b", "$(reboot)", "';rm -rf /;'", "`id`", '"', "ä\\n", "-e", "*", "$HOME"])
def test_words_reach_the_device_as_they_are(session: Session, word: str) -> None:
    assert session.run(["sh", "-c", 'printf "%s" "$1"', "sh", word], 5).text == word or _by_file(session, word) == word


def _by_file(session: Session, word: str) -> str:
    session.run(["sh", "-c", 'echo "$1" > /data/local/tmp/w', "sh", word], 5)
    return session.run(["cat", "/data/local/tmp/w"], 5).text.removesuffix("\n")


def test_standard_input_is_a_file_of_any_size(session: Session) -> None:
    content = os.urandom(700_001)
    result = session.run(["sha256sum"], 20, stdin=io.BytesIO(content))
    assert result.text.split()[0] == hashlib.sha256(content).hexdigest()


def test_a_command_past_its_deadline_is_killed_on_the_device(session: Session, farm) -> None:
    with pytest.raises(AdbFailed, match=r"did not end within 0\.5 s") as caught:
        session.run(["sleep", "600"], 0.5)
    assert caught.value.kind == "timeout"
    assert farm[0].system.processes.named("sleep") == []
    assert session.run(["true"], 5).code == 0


def test_a_chatty_command_ends_at_its_deadline_with_bounded_output(session: Session) -> None:
    with pytest.raises(AdbFailed) as caught:
        session.run(["sh", "-c", "while true; do echo yes; done"], 1.0)
    assert caught.value.kind == "timeout"
    result = session.run(["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do echo 123456789; done"], 5, output_max=25)
    assert (len(result.stdout), result.dropped) == (25, 55)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.Garbage(on="^shell,v2", times=1), "garbage"),
        (faults.Refuse(on="^shell,v2"), "closed"),
        (faults.Silent(on="^shell,v2", times=1), "timeout"),
        (faults.Hang(on="^shell,v2", seconds=1.5), "timeout"),
        (faults.Drop(on="^shell,v2", after_s=0.1), "closed"),
    ],
)
def test_what_befalls_a_command_has_its_kind_and_passes(
    boot, adb_server: PrivateServer, fault: faults.Fault, kind: str
) -> None:
    session = session_of(adb_server, boot(1, [fault]))
    with pytest.raises(AdbFailed) as caught:
        session.run(["sleep", "0.8"], 1.0)
    assert caught.value.kind in (kind, "offline", "not_found")
    session.recover(15)
    assert session.run(["echo", "back"], 5).text == "back\n"


def test_a_device_without_the_shell_protocol_is_refused(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_features", frozenset({"cmd", "stat_v2"}))
    with pytest.raises(AdbFailed, match="Android 7 or later") as caught:
        session.run(["true"], 5)
    assert caught.value.kind == "refused"


def test_an_unknown_device_is_named_at_once(adb_server: PrivateServer) -> None:
    session = Session([Route(server=adb_server.server, serial="nobody")], "adb:nobody", SystemClock())
    with pytest.raises(AdbFailed, match="not found") as caught:
        session.run(["true"], 5)
    assert caught.value.kind == "not_found"
    with pytest.raises(AdbFailed, match="did not come back within 1 s"):
        session.recover(1)


def test_a_device_that_was_looked_for_in_vain_is_looked_for_but_once(adb_server: PrivateServer) -> None:
    session = Session([Route(server=adb_server.server, serial="nobody")], "adb:nobody", SystemClock())
    looks: list[float] = []
    for most_s in (2.0, 30.0):
        started = time.monotonic()
        with pytest.raises(AdbFailed, match=r"not found|not attached"):
            steadily(session, lambda: session.run(["true"], 5), most_s)
        looks.append(time.monotonic() - started)
    assert session.given_up
    assert looks[0] >= 2.0
    assert looks[1] < 2.0
    assert steadily(session, lambda: 7) == 7
    assert not session.given_up


def test_nobody_waits_for_a_device_once_the_program_is_being_ended(adb_server: PrivateServer) -> None:
    session = Session([Route(server=adb_server.server, serial="nobody")], "adb:nobody", SystemClock())
    started = time.monotonic()
    with process.ending(), pytest.raises(AdbFailed, match="did not come back"):
        session.recover(30)
    assert time.monotonic() - started < 5


def test_the_command_line_is_quoted_once() -> None:
    assert service_of(["a", "it's $x"]).endswith("""exec a 'it'"'"'s $x'""")


# files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 1_048_576, 2_500_001])
def test_files_travel_whole_both_ways(session: Session, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "f").write_bytes(content)
    assert session.push(tmp_path / "f", "/data/local/tmp/f") == hashlib.sha256(content).hexdigest()
    found = session.look("/data/local/tmp/f")
    assert found is not None
    assert (found.size, found.is_file) == (size, True)
    assert session.fetch("/data/local/tmp/f", 10 << 20) == content
    assert session.fetch("/data/local/tmp/f", 100) == content[:100]


def test_what_is_no_file_is_not_fetched(session: Session) -> None:
    session.run(["sh", "-c", "ln -s /system/build.prop /data/local/tmp/link; mkdir /data/local/tmp/d"], 5)
    assert session.look("/data/local/tmp/nothing") is None
    assert [session.fetch(f"/data/local/tmp/{name}", 100) for name in ("nothing", "link", "d")] == [None] * 3


def test_a_refused_push_says_why(session: Session, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(3 << 20))
    with pytest.raises(AdbFailed, match=r"refuses the push of f .*(ead-only|ermission)") as caught:
        session.push(tmp_path / "f", "/system/f")
    assert caught.value.kind == "refused"
    assert session.run(["true"], 5).code == 0


def test_a_full_device_is_told_from_a_refusal(boot, adb_server: PrivateServer, tmp_path: Path) -> None:
    session = session_of(adb_server, boot(1, [faults.StorageFull(free_bytes=100_000)]))
    (tmp_path / "f").write_bytes(bytes(3 << 20))
    with pytest.raises(AdbFailed, match="No space left") as caught:
        session.push(tmp_path / "f", "/data/local/tmp/f")
    assert caught.value.kind == "storage"


# servers ----------------------------------------------------------------------------------------------------------


def test_a_server_says_what_it_is(adb_server: PrivateServer) -> None:
    info = servers.describe(adb_server.server, 3)
    assert info.protocol == 41
    assert info.words.startswith("36.0")


def test_nobody_listening_starts_nothing() -> None:
    server = Server("127.0.0.1", free_port())
    with pytest.raises(AdbFailed, match="No adb server answers") as caught:
        servers.rows(server, 2)
    assert caught.value.kind == "no_server"
    assert not is_listening(server)


def test_what_is_no_adb_server_is_told_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = Server("127.0.0.1", other.getsockname()[1])
        with pytest.raises(AdbFailed, match="did not end") as caught:
            servers.describe(server, 0.3)
        assert caught.value.kind == "timeout"

        def answer() -> None:
            for _ in range(2):
                link, _ = other.accept()
                with link:
                    link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(AdbFailed, match="No adb server speaks there"):
            servers.describe(server, 2)
        other.settimeout(0.1)
        socket.create_connection((server.host, server.port)).close()
        thread.join(5)


def test_a_server_is_started_on_its_own_port_and_once(
    adb_server: PrivateServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**adb_server.environment, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    server = Server("127.0.0.1", free_port())
    try:
        servers.start(server, process.run)
        assert is_listening(server)
        started = []
        servers.start(server, lambda *args, **options: started.append(args))  # type: ignore[arg-type,return-value]
        assert started == []
    finally:
        process.run([adb_server.program, "-P", str(server.port), "kill-server"], deadline_s=20)


def test_only_our_own_machine_s_server_can_be_started() -> None:
    with pytest.raises(AdbFailed, match="only one of this machine"):
        servers.start(Server("203.0.113.1.invalid", 5037), process.run)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, ["127.0.0.1:5037"]),
        ({"ANDROID_ADB_SERVER_PORT": "5999"}, ["127.0.0.1:5999"]),
        ({"ANDROID_ADB_SERVER_HOST": "lab", "ANDROID_ADB_SERVER_PORT": ""}, ["lab:5037"]),
        ({"ADB_SERVER_SOCKET": "tcp:5040"}, ["127.0.0.1:5040"]),
        ({"PALMTOP_ADB_SERVERS": "a:1, [::1]:2,a:1,", "ANDROID_ADB_SERVER_PORT": "3"}, ["a:1", "[::1]:2"]),
        ({"PALMTOP_ADB_SERVERS": "None"}, []),
    ],
)
def test_servers_are_named_by_variables(environment: dict[str, str], found: list[str]) -> None:
    assert [str(server) for server in servers_of(environment)] == found


@pytest.mark.parametrize("word", ["lab", "lab:0", "lab:70000", "lab:x", "a b:1", "lab:5037;reboot"])
def test_a_word_that_names_no_server(word: str) -> None:
    with pytest.raises(SettingsError, match="PALMTOP_ADB_SERVERS names no adb server"):
        servers_of({"PALMTOP_ADB_SERVERS": word})


@pytest.mark.parametrize(
    "raw", [b"", b"\xff" * 40, b"\x2a", b"\x2a\xff\xff\xff\xff\x0f", b"\x0b", b"*\x03\x00\x01\x02"]
)
def test_a_damaged_status_is_no_version(raw: bytes) -> None:
    assert servers.version_of(raw) == ""
