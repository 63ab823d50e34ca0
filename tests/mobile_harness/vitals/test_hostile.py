"""Whatever a device says, each parser answers with its value or a reason, in time that grows with the text alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobile_harness.records.state import Vitals
from mobile_harness.stats import needed
from mobile_harness.vitals import (
    adb_faults,
    battery,
    cpu,
    devices,
    identity,
    instrument,
    memory,
    native,
    outcomes,
    placement,
    powerstats,
    snapshot,
    sysfs,
    thermal,
)
from mobile_harness.vitals.reading import Unavailable, Unreadable

NO = (Unreadable, Unavailable)
HANG_S = 240
"""What is linear reads every megabyte in a few seconds; what is quadratic takes hours for one."""


def zones(text: str) -> thermal.Thermal | Unreadable:
    files = sysfs.read_files(text)
    return files if isinstance(files, Unreadable) else thermal.read_zones(files)


def cores(text: str) -> cpu.Cpus | Unavailable | Unreadable:
    files = sysfs.read_files(text)
    return files if isinstance(files, Unreadable) else cpu.read_cpus(files)


def whole(text: str) -> Vitals:
    return snapshot.read(text, 0, snapshot.IN_WHOLE | {"app"})


@dataclass(frozen=True)
class Parser:
    read: Callable[[str], object]
    kinds: tuple[type, ...]
    sample: str
    tolerant: bool = True
    """Another writer's line between any two changes nothing."""


PARSERS: Mapping[str, Parser] = {
    "properties": Parser(identity.read_properties, (dict,), "getprop_flagship.txt", tolerant=False),
    "page_size": Parser(identity.read_page_size, (int,), "proc_meminfo.txt"),
    "devices": Parser(devices.read_devices, (tuple,), "adb_devices_l.txt"),
    "battery": Parser(battery.read_battery, (battery.Battery,), "dumpsys_battery_android14.txt"),
    "powerstats": Parser(powerstats.read_powerstats, (tuple,), "dumpsys_powerstats.txt"),
    "thermalservice": Parser(thermal.read_thermalservice, (thermal.Thermal,), "dumpsys_thermalservice_android15.txt"),
    "zones": Parser(zones, (thermal.Thermal,), "sysfs_thermal.txt"),
    "cores": Parser(cores, (cpu.Cpus,), "sysfs_cpu_before.txt"),
    "meminfo": Parser(memory.read_meminfo, (tuple,), "dumpsys_meminfo_android14.txt"),
    "process_status": Parser(memory.read_process_status, (memory.ProcessStatus,), "proc_meminfo.txt"),
    "device_memory": Parser(memory.read_device_memory, (memory.DeviceMemory,), "proc_meminfo.txt"),
    "install": Parser(outcomes.read_install, (outcomes.Install,), "am_instrument_not_found.txt"),
    "uninstall": Parser(outcomes.read_uninstall, (outcomes.Uninstall,), "am_instrument_not_found.txt"),
    "start": Parser(outcomes.read_start, (outcomes.Start,), "am_instrument_not_found.txt"),
    "adb_fault": Parser(adb_faults.classify, (adb_faults.Fault,), "adb_devices_l.txt", tolerant=False),
    "push": Parser(adb_faults.read_push, (adb_faults.Push,), "adb_devices_l.txt", tolerant=False),
    "instrument": Parser(instrument.read_run, (tuple,), "am_instrument_palmtop.txt", tolerant=False),
    "benchmark_model": Parser(
        lambda text: native.read_benchmark_model(text, needed), (native.Figures,), "benchmark_model_gpu.txt"
    ),
    "benchmark_litert_model": Parser(
        lambda text: native.read_benchmark_litert_model(text, needed), (native.Figures,), "benchmark_model_gpu.txt"
    ),
    "benchmark_litert_json": Parser(
        lambda text: native.read_benchmark_litert_json(text, needed), (native.Figures,), "README.md", tolerant=False
    ),
    "onnxruntime_perf_test": Parser(
        lambda text: native.read_onnxruntime_perf_test(text, needed),
        (native.Figures,),
        "onnxruntime_perf_test_older.txt",
    ),
    "snapshot": Parser(whole, (Vitals,), "vitals_script.txt", tolerant=False),
    "capacity": Parser(snapshot.read_capacity, (float, type(None)), "dumpsys_powerstats.txt"),
    "core_list": Parser(cpu.read_cores, (tuple,), "sysfs_cpu_before.txt", tolerant=False),
    "placement": Parser(placement.read_log, (placement.Log,), "benchmark_model_nnapi_fallback.txt"),
}
CUTS_MAX = 1200
"""A long sample is cut at every few bytes only."""
every_parser = pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
with_sample = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def answer(parser: Parser, text: str) -> object:
    found = parser.read(text)
    assert isinstance(found, (*parser.kinds, *NO))
    return found


@every_parser
def test_cut_anywhere(parser, composed) -> None:
    data = composed(parser.sample).encode()
    for length in range(0, len(data), max(1, len(data) // CUTS_MAX)):
        answer(parser, data[:length].decode("utf-8", "replace"))


@every_parser
def test_line_ends_and_a_byte_order_mark_change_nothing(parser, composed) -> None:
    text = composed(parser.sample).replace("\r\n", "\n")
    plain = answer(parser, text)
    assert answer(parser, text.replace("\n", "\r\n")) == plain
    assert answer(parser, text.replace("\n", "\r\r\n")) == plain
    assert answer(parser, "\ufeff" + text) == plain


@every_parser
@with_sample
@given(data=st.data())
def test_lines_of_others(parser, composed, data) -> None:
    text = composed(parser.sample)
    plain = answer(parser, text)
    lines = text.splitlines(keepends=True)
    foreign = st.sampled_from(["  mVendorThing: 12 mA\n", "  vendorState=[1, 2]\n", "\tlibvendor: no such option\n"])
    for _ in range(data.draw(st.integers(1, 4))):
        lines.insert(data.draw(st.integers(1, len(lines))), data.draw(foreign))
    found = answer(parser, "".join(lines))
    if parser.tolerant and not isinstance(plain, NO):
        assert found == plain


@every_parser
@with_sample
@given(st.binary(max_size=400))
def test_any_bytes(parser, data) -> None:
    answer(parser, data.decode("utf-8", "replace"))


@every_parser
@with_sample
@given(st.data())
def test_a_sample_with_anything_in_it(parser, composed, data) -> None:
    text = composed(parser.sample)
    at = data.draw(st.integers(0, len(text)))
    drop = data.draw(st.integers(0, 40))
    answer(parser, text[:at] + data.draw(st.text(max_size=40)) + text[at + drop :])


@every_parser
@pytest.mark.parametrize("digits", ["9" * 30, "9" * 5000, "-1", "1e999", "nan", "٣", "0x10", "1_0", ""])
def test_numbers_that_are_none(parser, composed, digits) -> None:
    text = composed(parser.sample)
    for digit in "012345":
        answer(parser, text.replace(digit, digits))


MEGABYTE = 1 << 20
UNITS = (
    " ", "\n", "\r", "a", "9", "{", "[", "[a]: [", "]: [", "(", "a: ", "count=1 ", ",", "=", "-", "TOTAL ", "TOTAL:  ",
    "device ", "device '", "no permissions ", "Temperature{", "Temperature{mValue=1, mType=0, mName=a, mStatus=0}\n",
    "INSTRUMENTATION_STATUS: a=", "INSTRUMENTATION_STATUS: a=b\n", "/sys/devices/system/cpu/cpu0/cpu_capacity:1\n",
    "/sys/class/thermal/thermal_zone1/type:", "0-9,", "Though ", "Replacing 1 out of ", "A::GetCapability", "INSTALL_A",
    "Failure [", "Thermal Status: 1\n", "** MEMINFO in pid 1 [a] **\n", "inference timings in us: ", "a:1,", "\ufeff",
)  # fmt: skip


@pytest.mark.timeout(HANG_S)
@every_parser
def test_a_megabyte_of_anything_hangs_no_parser(parser, composed) -> None:
    sample = composed(parser.sample)
    for unit in UNITS:
        answer(parser, sample + unit * (MEGABYTE // len(unit)))
