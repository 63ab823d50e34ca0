from __future__ import annotations

from mobile_harness.vitals.memory import (
    DeviceMemory,
    ProcessMemory,
    ProcessStatus,
    read_device_memory,
    read_meminfo,
    read_process_status,
)
from mobile_harness.vitals.reading import Unavailable, Unreadable


def test_android_7_to_10(recorded) -> None:
    assert read_meminfo(recorded("dumpsys_meminfo__android7to10_flutter_gallery.txt")) == (
        ProcessMemory(
            pid=16141, name="io.flutter.demo.gallery", pss_kb=95085, rss_kb=None, swap_pss_kb=62,
            native_heap_kb=8648, graphics_kb=2584,
        ),
    )  # fmt: skip


def test_huawei_has_no_blank_lines(recorded) -> None:
    (found,) = read_meminfo(recorded("dumpsys_meminfo__huawei_pid_no_blank_lines.txt"))
    assert found.pid == 23178
    assert found.name.endswith("sandbox.SandboxedProcessService0:6")
    assert (found.pss_kb, found.rss_kb, found.swap_pss_kb) == (10856, None, 8754)
    assert (found.native_heap_kb, found.graphics_kb) == (99, None)


def test_a_page_that_was_cut_before_its_total(recorded) -> None:
    assert read_meminfo(recorded("dumpsys_meminfo__android11plus_rss_header_partial.txt")) == (
        ProcessMemory(
            pid=1974, name="com.android.systemui", pss_kb=None, rss_kb=None, swap_pss_kb=None,
            native_heap_kb=16840, graphics_kb=None,
        ),
    )  # fmt: skip


def test_android_4_and_6(composed) -> None:
    (four,) = read_meminfo(composed("dumpsys_meminfo_android4.txt"))
    assert (four.pid, four.pss_kb, four.rss_kb, four.swap_pss_kb) == (812, 9713, None, None)
    (six,) = read_meminfo(composed("dumpsys_meminfo_android6.txt"))
    assert (six.pid, six.pss_kb, six.swap_pss_kb, six.graphics_kb) == (4321, 31400, None, None)


def test_android_14_with_two_processes(composed) -> None:
    first, second = read_meminfo(composed("dumpsys_meminfo_android14.txt"))
    assert first == ProcessMemory(
        pid=9001, name="com.example.bench", pss_kb=98123, rss_kb=171234, swap_pss_kb=7000, native_heap_kb=21500,
        graphics_kb=12000,
    )  # fmt: skip
    assert (second.pid, second.name) == (9044, "com.example.bench:worker")
    assert (second.pss_kb, second.rss_kb, second.swap_pss_kb) == (5000, 40000, 0)


def test_a_process_that_is_gone() -> None:
    assert read_meminfo("Applications Memory Usage (in Kilobytes):\nNo process found for: com.gone\n") == Unavailable(
        reason="No process found for: com.gone"
    )
    assert isinstance(read_meminfo("Can't find service: meminfo"), Unreadable)


def test_the_peak_of_a_process(recorded) -> None:
    assert read_process_status(recorded("proc_pid_status__vmhwm_partial.txt")) == ProcessStatus(
        peak_rss_kb=256972, rss_kb=195272, swap_kb=43960
    )


def test_a_process_without_memory() -> None:
    assert isinstance(read_process_status("Name:\tkworker/0:0\nState:\tI (idle)\n"), Unreadable)
    gone = read_process_status("cat: /proc/9/status: No such file or directory")
    assert "No such file" in gone.reason
    assert isinstance(read_process_status("VmHWM:   2569"), Unreadable)  # cut before its unit


def test_the_memory_of_a_device(composed) -> None:
    assert read_device_memory(composed("proc_meminfo.txt")) == DeviceMemory(total_kb=7843212, available_kb=3120004)
    assert isinstance(read_device_memory("MemFree: 12 kB"), Unreadable)
