from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
from bench_builds import scripted

from mobile_harness import lab
from mobile_harness.lab import Lab
from mobile_harness.records import DeviceInfo, Kind
from mobile_harness.transports.base import Device, Unusable
from mobile_harness.transports.host import HostDevice
from toolkit.core.errors import SettingsError
from toolkit.core.tools import Tools


def device(kind: Kind, serial: str) -> HostDevice:
    """A real host device that says it is another."""
    made = scripted("ok")
    made.info = DeviceInfo(
        transport="host" if kind == "host" else "adb", serial=serial, platform="linux", model="m", soc="s",
        os_version="o", abis=(), ram_mb=1, kind=kind,
    )  # fmt: skip
    return made


HOST, PHONE, OTHER, EMULATOR = (
    device("host", "h"),
    device("phone", "p1"),
    device("phone", "p2"),
    device("emulator", "e"),
)
ALL = Lab(
    devices=(HOST, PHONE, OTHER, EMULATOR),
    unusable=(
        Unusable(transport="adb", serial="p3", reason="it is unauthorized", hint="Allow debugging on its screen."),
        Unusable(transport="simctl", serial="", reason="xcrun is not installed"),
    ),
)


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ((), (PHONE, OTHER, EMULATOR)),
        (("all",), (HOST, PHONE, OTHER, EMULATOR)),
        (("host",), (HOST,)),
        (("phone",), (PHONE, OTHER)),
        (("adb",), (PHONE, OTHER, EMULATOR)),
        (("adb:p2",), (OTHER,)),
        (("emulator", "adb:p1", "phone"), (PHONE, OTHER, EMULATOR)),
    ],
)
def test_words_choose_devices_each_once_in_the_lab_s_order(words: tuple[str, ...], chosen: tuple[Device, ...]) -> None:
    assert [item.info for item in lab.select(ALL, words)] == [item.info for item in chosen]


def test_the_host_stands_in_only_when_nothing_is_attached() -> None:
    assert lab.select(Lab(devices=(HOST,), unusable=()), ()) == (HOST,)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("adb:p3", "cannot be used: it is unauthorized Allow debugging"),
        ("simctl", "xcrun is not installed"),
        ("simulator", "No simulator is attached"),
        ("adb:p11", "Did you mean 'adb:p1'"),
        ("hots", "Did you mean 'host'"),
        ("", "Unknown device ''"),
    ],
)
def test_a_word_that_names_no_usable_device_is_explained(word: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        lab.select(ALL, (word,))


def test_this_machine_is_found_and_named(tools: Tools) -> None:
    found = lab.discover(tools)
    (host,) = [item for item in found.devices if item.info.kind == "host"]
    assert lab.selector(host) == f"host:{host.info.serial}"
    assert host.info.ram_mb > 100
    assert host.info.model
    assert lab.select(found, (lab.selector(host),)) == (host,)


def test_a_device_is_measured_by_one_at_a_time(tools: Tools) -> None:
    order: list[str] = []
    inside = threading.Event()
    news = threading.Event()

    @dataclass
    class Listening:
        def __call__(self, event: object) -> None:
            news.set()

    waiting = Tools(run=tools.run, emit=Listening(), clock=tools.clock, store=tools.store)

    def second() -> None:
        inside.wait(5)
        with lab.reserve(HOST, waiting, patient):
            order.append("second")

    other = threading.Thread(target=second)
    other.start()
    with lab.reserve(HOST, tools, patient):
        inside.set()
        assert news.wait(5)
        order.append("first")
    other.join(5)
    assert order == ["first", "second"]


def patient() -> None:
    """Wait as long as it takes."""


def test_waiting_for_a_device_can_be_given_up(tools: Tools) -> None:
    class Interrupted(Exception):
        pass

    def give_up() -> None:
        raise Interrupted

    ended: list[bool] = []

    def second() -> None:
        with pytest.raises(Interrupted), lab.reserve(HOST, tools, give_up):
            raise AssertionError("it was taken")
        ended.append(True)

    with lab.reserve(HOST, tools, patient):
        other = threading.Thread(target=second)
        other.start()
        other.join(10)
    assert ended == [True]
