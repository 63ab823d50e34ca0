"""The real adb server and adbutils against a device: every service a host can open."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import adbutils
import pytest

from mobile_harness.virtual_device.farm import Farm
from mobile_harness.virtual_device.services import compression
from toolkit.core.store import sha256_of


def noise(path: Path, size: int) -> Path:
    path.write_bytes(os.urandom(size // 2) + bytes(size - size // 2))
    return path


@contextlib.contextmanager
def service(client: adbutils.AdbDevice, name: str) -> Iterator[socket.socket]:
    """A stream of a service, opened through the server."""
    connection = client.open_transport()
    try:
        connection.send_command(name)
        connection.check_okay()
        yield connection.conn
    finally:
        connection.close()


def read_all(link: socket.socket) -> bytes:
    return b"".join(iter(lambda: link.recv(65536), b""))


@pytest.fixture
def device(shared: Farm):
    return shared[0]


@pytest.fixture
def client(adb, device) -> adbutils.AdbDevice:
    return adbutils.AdbClient(host="127.0.0.1", port=adb.port, socket_timeout=10).device(device.address)


def test_it_is_listed_as_what_it_is(adb, device) -> None:
    row = next(line for line in adb("devices", "-l").stdout.splitlines() if line.startswith(device.address))
    assert " device " in row
    assert "model:palmtop_virtual_device" in row
    assert adb.shell(device, "getprop ro.serialno").stdout == "virtual-0\n"
    features = adb.on(device, "features").stdout.split()
    assert {"shell_v2", "cmd", "abb_exec", "stat_v2", "ls_v2", "sendrecv_v2"} <= set(features)
    assert {name for name in features if name.startswith("sendrecv_v2_") and "dry" not in name} == set(
        compression.features()
    )


def test_a_known_key_is_let_in_by_its_signature(adb, shared: Farm, device) -> None:
    assert device.links[0].online
    shared.unplug(0)
    adb.await_state(device, "device")
    assert device.links[0].let_in_by == "signature"
    shared.call(_forget(device))
    shared.unplug(0)
    adb.await_state(device, "device")
    assert device.links[0].let_in_by == "owner"


async def _forget(device) -> None:
    device.keyring.forget()


def test_shell_v2_has_three_streams_and_an_exit_code(adb, device) -> None:
    done = adb.shell(device, "cat; echo err >&2; exit 42", stdin="in put")
    assert (done.code, done.stdout, done.stderr) == (42, "in put", "err\n")


def test_shell_v1_is_a_terminal_without_an_exit_code(adb, device, client) -> None:
    done = adb.on(device, "shell", "-x", "ls /data; ls /nope; exit 3")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout == "app  data  local  misc  user\nls: /nope: No such file or directory\n"
    assert client.shell("echo text; exit 3") == "text"


def test_adbutils_shell_v2(client) -> None:
    found = client.shell2("echo out; echo err >&2; exit 9", v2=True)
    assert (found.returncode, found.stdout, found.stderr) == (9, "out\n", "err\n")
    assert client.shell2(["echo", "a b", "c"], v2=True).stdout.strip() == "a b c"


def test_an_interactive_terminal(adb, device) -> None:
    done = adb.on(device, "shell", "-tt", stdin="echo $((\necho said\nexit 5\n")
    assert done.code == 5
    assert "said\r\n" in done.stdout.replace("\r\r", "\r") or "said\n" in done.stdout
    assert "$ " in done.stdout


def test_a_script_comes_by_the_input(adb, device) -> None:
    done = adb.on(device, "shell", stdin="for i in 1 2\ndo echo $i\ndone\nexit 4\n")
    assert (done.code, done.stdout) == (4, "1\n2\n")


def test_a_command_ends_with_its_host(adb, device, client) -> None:
    with pytest.raises(adbutils.AdbTimeout):
        client.shell2("sleep 1000.25", v2=True, timeout=0.5)
    adb.await_gone(device, "sleep")


def test_a_job_in_the_background_holds_the_shell_only_by_its_output(adb, device) -> None:
    done = adb.shell(device, "nohup sleep 0.5 >/dev/null 2>&1 & echo at once")
    assert done.stdout == "at once\n"
    assert done.seconds < 0.5
    held = adb.shell(device, "(sleep 0.4; echo late) & echo first")
    assert held.stdout == "first\nlate\n"


def test_exec_out_and_exec_in_carry_bytes(adb, device, client) -> None:
    raw = bytes(range(256)) * 300
    client.sync.push(raw, "/data/local/tmp/bytes")
    with service(client, "exec:cat /data/local/tmp/bytes") as link:
        assert read_all(link) == raw
    with service(client, "exec:cat > /data/local/tmp/copy") as link:
        link.sendall(raw)
    sizes = adb.shell(device, "sleep 0.2; sha256sum -b /data/local/tmp/bytes /data/local/tmp/copy").stdout.split()
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize(
    "kind", ["any", "none", *[name.removeprefix("sendrecv_v2_") for name in compression.features()]]
)
def test_push_and_pull_by_the_command(adb, device, tmp_path: Path, kind: str) -> None:
    sent = noise(tmp_path / "sent", 1_500_001)
    assert adb.on(device, "push", "-z", kind, str(sent), "/data/local/tmp/deep/er/file").code == 0
    assert sha256_of(sent) in adb.shell(device, "sha256sum /data/local/tmp/deep/er/file").stdout
    assert adb.on(device, "pull", "-z", kind, "/data/local/tmp/deep/er/file", str(tmp_path / "back")).code == 0
    assert sha256_of(tmp_path / "back") == sha256_of(sent)


def test_push_without_room_to_write_says_why(adb, device, tmp_path: Path) -> None:
    done = adb.on(device, "push", str(noise(tmp_path / "x", 200_000)), "/system/x")
    assert done.code == 1
    assert "Read-only file system" in done.stdout + done.stderr
    done = adb.on(device, "pull", "/nope", str(tmp_path / "y"))
    assert done.code == 1
    assert "No such file" in done.stdout + done.stderr


def test_folders_go_there_and_back(adb, device, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    noise(tree / "a", 100)
    noise(tree / "sub" / "b", 70_000)
    (tree / "empty").touch()
    assert adb.on(device, "push", str(tree), "/data/local/tmp/").code == 0
    again = adb.on(device, "push", "--sync", str(tree), "/data/local/tmp/")
    assert "0 files pushed, 3 skipped" in again.stdout + again.stderr
    assert adb.on(device, "pull", "/data/local/tmp/tree", str(tmp_path / "back")).code == 0
    assert sha256_of(tmp_path / "back") == sha256_of(tree)
    adb.shell(device, "rm -r /data/local/tmp/tree")
    assert adb.shell(device, "ls /data/local/tmp/tree").code == 1


def test_adbutils_sync(client, tmp_path: Path) -> None:
    sent = noise(tmp_path / "sent", 300_000)
    assert client.sync.push(sent, "/data/local/tmp/utils") == 300_000
    assert client.sync.stat("/data/local/tmp/utils").size == 300_000
    assert client.sync.stat("/nope").mode == 0
    assert client.sync.read_bytes("/data/local/tmp/utils") == sent.read_bytes()
    assert "utils" in [item.path for item in client.sync.list("/data/local/tmp")]


def test_a_port_of_the_device_is_forwarded(adb, device) -> None:
    assert adb.on(device, "forward", "tcp:0", "tcp:7001").code == 0
    port = int(adb("forward", "--list").stdout.split()[1].removeprefix("tcp:"))
    server = threading.Thread(target=adb.shell, args=(device, "echo from the device | nc -l -p 7001"))
    server.start()
    received: list[bytes] = []

    def comes() -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
            received.append(link.recv(100))
        return bool(received[-1])

    adb.await_that(comes, "a line from the device")
    server.join()
    assert received[-1] == b"from the device\n"
    adb.on(device, "forward", "--remove-all")


def test_a_port_of_the_host_is_reversed_and_gone_with_the_link(adb, shared: Farm, device) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        got: list[bytes] = []

        def serve() -> None:
            link, _ = server.accept()
            got.append(link.recv(100))
            link.sendall(b"from the host\n")
            link.close()

        thread = threading.Thread(target=serve)
        thread.start()
        assert adb.on(device, "reverse", "tcp:7100", f"tcp:{port}").code == 0
        assert adb.shell(device, "(echo hello; sleep 0.3) | nc 127.0.0.1 7100").stdout == "from the host\n"
        thread.join()
    assert got == [b"hello\n"]
    assert "tcp:7100" in adb.on(device, "reverse", "--list").stdout
    shared.unplug(0)
    adb.await_state(device, "device")
    assert adb.on(device, "reverse", "--list").stdout.strip() == ""
    assert "Connection refused" in adb.shell(device, "nc 127.0.0.1 7100").stderr


def test_reverse_picks_a_port_and_lets_one_go(adb, device) -> None:
    port = adb.on(device, "reverse", "tcp:0", "tcp:5").stdout.strip()
    assert port.isdigit()
    assert adb.on(device, "reverse", "--no-rebind", f"tcp:{port}", "tcp:6").code == 1
    assert adb.on(device, "reverse", "--remove", f"tcp:{port}").code == 0
    assert adb.on(device, "reverse", "--remove", f"tcp:{port}").code == 1


def test_no_server_outside_the_device_can_be_reached(adb, device) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "Connection refused" in adb.shell(device, f"nc 127.0.0.1 {port}").stderr


def test_the_log_is_shown_filtered_and_followed(adb, device, client) -> None:
    adb.on(device, "logcat", "-c")
    adb.shell(device, "log -t One -p e first; log -t Two second")
    shown = adb.on(device, "logcat", "-d", "-v", "brief", "One:V", "*:S").stdout
    assert "E/One" in shown
    assert "Two" not in shown
    assert "second" in adb.on(device, "logcat", "-d", "-T", "1").stdout
    with service(client, "shell,v2,raw:logcat -v raw -T 1") as link:
        adb.shell(device, "log -t Three third")
        seen = b""
        while b"third" not in seen:
            seen += link.recv(1000)
    assert adb.on(device, "logcat", "-b", "crash", "-d").stdout == ""


def test_root_is_refused_and_unknown_services_are_closed(adb, device, client) -> None:
    assert "cannot run as root in production builds" in adb.on(device, "root").stdout
    with pytest.raises(adbutils.AdbError, match="closed"), service(client, "nosuch:service"):
        pytest.fail("an unknown service was opened")


def test_a_reboot_keeps_files_and_loses_processes(adb, device) -> None:
    adb.shell(device, "echo kept > /data/local/tmp/kept; sleep 500 >/dev/null 2>&1 &")
    assert adb.on(device, "reboot").code == 0
    adb.await_that(lambda: adb.shell(device, "getprop sys.boot_completed").stdout == "1\n", "the end of the boot")
    assert adb.shell(device, "cat /data/local/tmp/kept; pidof sleep").stdout == "kept\n"


def test_words_of_two_devices_do_not_mix(adb, make_farm) -> None:
    farm = make_farm(4)
    found: dict[str, str] = {}

    def ask(one) -> None:
        words = [adb.shell(one, f"echo {one.serial} > /data/local/tmp/me; getprop ro.serialno; cat /data/local/tmp/me")]
        found[one.serial] = words[0].stdout

    threads = [threading.Thread(target=ask, args=(one,)) for one in farm.devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {one.serial: f"{one.serial}\n" * 2 for one in farm.devices}


def test_a_trap_runs_when_the_host_hangs_up_and_at_the_end(adb, device) -> None:
    log = "/data/local/tmp/trap.log"
    text = f'trap "echo SIGINT > {log}" INT; trap "echo SIGHUP > {log}; exit 0" HUP; echo ready; sleep 30'
    assert adb.on(device, "shell", text, deadline_s=1).timed_out
    adb.await_that(lambda: adb.shell(device, f"cat {log}").stdout == "SIGHUP\n", "the trap")
    assert adb.shell(device, "trap 'echo over' EXIT; echo first; exit 3").stdout == "first\nover\n"
    assert adb.shell(device, "trap 'echo killed; exit 9' TERM; sleep 0.2 & kill $$; sleep 5").code == 9


def test_a_terminal_is_one_for_the_shell_too(adb, device) -> None:
    assert adb.on(device, "shell", "-tt", "[ -t 0 ] && [ -t 1 ]").code == 0
    assert adb.on(device, "shell", "-T", "[ -t 0 ]").code == 1
    done = adb.on(device, "abb")
    assert (done.code, done.stderr) == (1, "cmd: No service specified; use -l to list all services\n")
