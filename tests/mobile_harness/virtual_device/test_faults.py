"""Every fault of the link and of the device's state, as adb and adbutils see it, and the log of what struck."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import adbutils
import pytest

from mobile_harness.virtual_device import faults
from mobile_harness.virtual_device.faults import KINDS, mixture, parse
from mobile_harness.virtual_device.injection import EventLog, Faults
from toolkit.core.clock import SystemClock
from toolkit.core.errors import SettingsError


@pytest.fixture
def one(make_farm):
    return lambda *planned, **given: make_farm(1, {0: planned}, **given)


def connect(adb, device) -> str:
    return adb("connect", device.address).stdout


def test_unauthorized_until_the_owner_allows(adb, one) -> None:
    farm = one(faults.Unauthorized(), connect=False)
    connect(adb, farm[0])
    adb.await_state(farm[0], "unauthorized")
    assert "unauthorized" in adb.shell(farm[0], "true").stderr
    farm.allow(0)
    adb.await_state(farm[0], "device")
    assert [event.fault for event in farm.log.events()] == ["unauthorized"]


def test_offline(adb, one) -> None:
    farm = one(faults.Offline(), connect=False)
    with socket.create_connection(("127.0.0.1", farm[0].port)) as link:
        link.sendall(handshake())
        link.settimeout(0.5)
        with pytest.raises(TimeoutError):
            link.recv(1)
    assert farm.log.events("offline")


def handshake() -> bytes:
    from mobile_harness.virtual_device import protocol
    from mobile_harness.virtual_device.protocol import Message

    return protocol.encode(Message(protocol.CNXN, protocol.VERSION, protocol.PAYLOAD_MAX, b"host::\0"))


@pytest.mark.parametrize("size", [1, 24, 25, 1000])
def test_a_peer_that_speaks_nonsense_loses_its_link_only(adb, one, size: int) -> None:
    farm = one()
    with socket.create_connection(("127.0.0.1", farm[0].port)) as link:
        link.sendall(b"\xff" * size)
        link.shutdown(socket.SHUT_WR)
        link.settimeout(5)
        assert link.recv(1) == b""
    assert adb.shell(farm[0], "echo well").stdout == "well\n"


def test_an_unknown_host_gets_nothing_served(one) -> None:
    from mobile_harness.virtual_device import protocol
    from mobile_harness.virtual_device.protocol import Message

    farm = one(connect=False)
    with socket.create_connection(("127.0.0.1", farm[0].port)) as link:
        link.sendall(handshake())
        for message in (
            Message(protocol.AUTH, protocol.AUTH_SIGNATURE, 0, bytes(256)),
            Message(protocol.OPEN, 1, 0, b"shell:id\0"),
        ):
            link.sendall(protocol.encode(message))
        link.settimeout(0.5)
        reader, found = protocol.MessageReader(), []
        while len(found) < 2:
            found += reader.feed(link.recv(1000))
        with pytest.raises(TimeoutError):
            link.recv(1)
    assert [message.name for message in found] == ["AUTH", "AUTH"]


def test_the_cable_comes_out_in_the_middle_of_a_push(adb, one, tmp_path: Path) -> None:
    farm = one(faults.DropMidPush(after_bytes=500_000))
    (tmp_path / "big").write_bytes(bytes(3_000_000))
    done = adb.on(farm[0], "push", "-Z", str(tmp_path / "big"), "/data/local/tmp/big")
    assert done.code == 1
    adb.await_state(farm[0], "device")
    assert adb.shell(farm[0], "ls /data/local/tmp/big").code == 1
    assert adb.on(farm[0], "push", "-Z", str(tmp_path / "big"), "/data/local/tmp/big").code == 0
    assert adb.shell(farm[0], "stat -c %s /data/local/tmp/big").stdout == "3000000\n"
    assert len(farm.log.events("drop_mid_push")) == 1


def test_the_cable_comes_out_in_the_middle_of_a_command(adb, one) -> None:
    farm = one(faults.Drop(on="echo part", after_s=0.2))
    done = adb.shell(farm[0], "echo part; sleep 5; echo rest")
    assert (done.code, done.stdout) == (255, "part\n")
    adb.await_state(farm[0], "device")
    assert adb.shell(farm[0], "pidof sleep").code == 1


def test_a_service_is_refused(adb, one) -> None:
    farm = one(faults.Refuse(on="^shell"))
    assert "closed" in adb.shell(farm[0], "true").stderr
    assert adb.shell(farm[0], "true").code == 0


def test_a_silent_shell_is_online_and_says_nothing(adb, one) -> None:
    farm = one(faults.Silent())
    client = adbutils.AdbClient(host="127.0.0.1", port=adb.port, socket_timeout=5).device(farm[0].address)
    with pytest.raises(adbutils.AdbTimeout):
        client.shell2("echo", v2=True, timeout=0.5)
    assert adb.state(farm[0]) == "device"
    farm[0].faults.clear(faults.Silent)
    assert adb.shell(farm[0], "echo back").stdout == "back\n"


def test_a_device_hangs_and_comes_back(adb, one) -> None:
    farm = one(faults.Hang(on="echo one", seconds=0.7))
    done = adb.shell(farm[0], "echo one")
    assert done.stdout == "one\n"
    assert done.seconds > 0.6
    assert adb.state(farm[0]) == "device"


def test_nothing_is_lost_in_a_hang(adb, one) -> None:
    farm = one(faults.Hang(on="echo second", seconds=0.6))
    words: dict[str, str] = {}

    def first() -> None:
        words["first"] = adb.shell(farm[0], "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done").stdout

    thread = threading.Thread(target=first)
    thread.start()
    adb.await_that(lambda: adb.shell(farm[0], "pidof sleep").code == 0, "the loop to run")
    assert adb.shell(farm[0], "echo second").stdout == "second\n"
    thread.join()
    assert words["first"].split() == list("12345678")


def test_a_device_hangs_for_ever(adb, one) -> None:
    farm = one(faults.Hang(on="echo one"))
    assert adb.on(farm[0], "shell", "echo one", deadline_s=1).timed_out
    assert adb.state(farm[0]) == "device"
    farm.unplug(0)
    adb.await_state(farm[0], "device")
    assert adb.shell(farm[0], "echo two").stdout == "two\n"


def test_a_reboot_instead_of_an_answer(adb, one) -> None:
    farm = one(faults.Reboot(on="pm path", down_s=0.2, boot_s=60))
    assert adb.shell(farm[0], "pm path android").code in (1, 255)
    adb.await_state(farm[0], "device")
    assert adb.shell(farm[0], "getprop sys.boot_completed").stdout == "\n"
    assert "Can't find service: package" in adb.shell(farm[0], "pm path android").stderr


def test_garbage_for_packets(adb, one) -> None:
    farm = one(faults.Garbage())
    assert adb.shell(farm[0], "echo x").stdout == ""
    assert adb.shell(farm[0], "echo x").stdout == "x\n"


def test_a_slow_link_and_latency_take_time(adb, one, tmp_path: Path) -> None:
    farm = one(faults.SlowLink(bytes_per_s=400_000))
    (tmp_path / "x").write_bytes(bytes(200_000))
    assert adb.on(farm[0], "push", "-Z", str(tmp_path / "x"), "/data/local/tmp/x").seconds > 0.4
    farm[0].faults.clear()
    farm[0].faults.add(faults.Latency(seconds=0.15))
    assert adb.shell(farm[0], "true").seconds > 0.15


def test_a_hot_device_cools_down(adb, one) -> None:
    farm = one(faults.Hot(skin_c=47.0, status=4, cools_s=1.5))

    def felt() -> tuple[int, float]:
        text = adb.shell(farm[0], "dumpsys thermalservice").stdout
        status = int(text.partition("Thermal Status: ")[2].split()[0])
        current = text.partition("Current temperatures")[2]
        return status, float(current.partition("mValue=")[2].split(",")[0])

    first = felt()
    assert first[0] >= 2  # a busy machine may take half of its cooling to ask
    assert first[1] > 38
    while felt() != (0, 31.0):
        assert felt()[1] <= first[1]
    assert int(adb.shell(farm[0], "cat /sys/class/thermal/thermal_zone0/temp").stdout) == 31_000


def test_a_low_battery(adb, one) -> None:
    farm = one(faults.LowBattery(level=4))
    assert "  level: 4\n" in adb.shell(farm[0], "dumpsys battery").stdout
    assert adb.shell(farm[0], "cat /sys/class/power_supply/battery/capacity").stdout == "4\n"


# the schedule itself ------------------------------------------------------------------------------------------------


def schedule(seed: int, *planned: faults.Fault) -> Faults:
    return Faults("virtual-0", seed, EventLog(SystemClock()), planned)


def test_moments_are_spared_counted_and_chosen() -> None:
    planned = schedule(0, faults.Refuse(on="^a", skip=1, times=2))
    struck = [planned.strike(faults.Refuse, word) is not None for word in ("a", "b", "a", "a", "a")]
    assert struck == [False, False, True, True, False]


def test_chance_is_decided_by_the_seed() -> None:
    def drawn(seed: int) -> list[bool]:
        planned = schedule(seed, faults.Refuse(chance=0.3, times=None))
        return [planned.strike(faults.Refuse, "x") is not None for _ in range(300)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert 50 < sum(drawn(1)) < 130


def test_a_mixture_has_the_rate_it_says() -> None:
    planned = schedule(3, *mixture(0.2))
    kinds = [type(fault) for fault in mixture(0.2)]
    hits = sum(sum(planned.strike(kind, "am instrument") is not None for kind in kinds) > 0 for _ in range(1000))
    assert 140 < hits < 260


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_fault_can_be_named(name: str) -> None:
    assert parse(f"{name}:chance=0.5") == KINDS[name](chance=0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("app_crash", "Did you mean 'app_crashes'"),
        ("drop:afte_s=1", "Did you mean 'after_s'"),
        ("drop:after_s=soon", "'soon' is no value"),
        ("hot:status=9", "Known: 0, 1"),
    ],
)
def test_a_word_that_is_off_is_explained(text: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    assert words in str(caught.value)
