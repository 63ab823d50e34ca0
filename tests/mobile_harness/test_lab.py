from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass

import pytest
from bench_builds import scripted

from mobile_harness import lab
from mobile_harness.lab import Lab
from mobile_harness.records import DeviceInfo, Kind
from mobile_harness.transports.base import Device, Found, Unusable
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
        (("adb:p*",), (PHONE, OTHER)),
    ],
)
def test_words_choose_devices_each_once_in_the_lab_s_order(words: tuple[str, ...], chosen: tuple[Device, ...]) -> None:
    assert [item.info for item in lab.select(ALL, words)] == [item.info for item in chosen]


def attached(kind: Kind, serial: str, **facts: object) -> HostDevice:
    made = device(kind, serial)
    made.info = dataclasses.replace(made.info, platform="android", **facts)  # type: ignore[arg-type]
    return made


PIXEL = attached(
    "phone", "px", model="Pixel 8", soc="Tensor G3", os_version="14 (API 34)", ram_mb=7600, abis=("arm64-v8a",)
)
OLD = attached("phone", "old", model="SM-A217F", soc="Exynos850", os_version="10", ram_mb=2900, abis=("armeabi-v7a",))
SHY = attached("phone", "shy", model="mystery", soc="", os_version="", ram_mb=0, abis=())
SHELF = Lab(devices=(PIXEL, OLD, SHY, HOST), unusable=())


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (("kind=phone",), (PIXEL, OLD, SHY)),
        (("ram>=4000",), (PIXEL,)),
        (("ram<4000",), (OLD, HOST)),
        (("api>=29,kind=phone",), (PIXEL, OLD)),
        (("abi=arm64-v8a",), (PIXEL,)),
        (("soc=tensor*",), (PIXEL,)),
        (("soc!=Tensor G3,kind=phone",), (OLD,)),
        (("pixel-8",), (PIXEL,)),
        (("pixel-*", "host"), (PIXEL, HOST)),
        (("profile=galaxy-a21s",), (OLD,)),
    ],
)
def test_devices_are_chosen_by_what_they_are(words: tuple[str, ...], chosen: tuple[Device, ...]) -> None:
    assert [lab.selector(item) for item in lab.select(SHELF, words)] == [lab.selector(item) for item in chosen]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("pixel-88", "Did you mean 'pixel-8'"),
        ("pixel-7", "No device within reach is profile=pixel-7. `palmtop devices`"),
        ("ram>=4000,api>=99", "None is api>=99"),
        ("rm>=4000", "Did you mean 'ram'"),
        ("ram>=lots", "which is not a whole number"),
        ("abi=arm64-v8", "Did you mean 'arm64-v8a'"),
        ("adb:z*", "Unknown device"),
    ],
)
def test_a_selector_that_chooses_nothing_says_why(word: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        lab.select(SHELF, (word,))
    assert says in str(caught.value)


def test_a_device_is_looked_for_again_by_its_name(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    here = lab.discover(tools).devices[-1]
    assert here.info.kind == "host"
    assert lab.absence(here, tools) is None
    why = Unusable(transport="host", serial=here.info.serial, reason="it is offline", hint="Reconnect it.")
    monkeypatch.setattr("mobile_harness.transports.host.discover", lambda tools: Found(devices=(), unusable=(why,)))
    assert lab.absence(here, tools) == why
    monkeypatch.setattr("mobile_harness.transports.host.discover", lambda tools: Found(devices=()))
    gone = lab.absence(here, tools)
    assert gone is not None
    assert "not attached" in gone.reason


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
