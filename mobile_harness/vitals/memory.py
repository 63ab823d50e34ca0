"""Memory of a process and of the device, in kilobytes of 1024 bytes.

``dumpsys meminfo`` stalls its target while it walks the mappings: between phases only. Memory of an accelerator may be
in none of these figures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mobile_harness.records.state import DeviceMemory, ProcessMemory, Unavailable
from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unreadable

_HEAD = re.compile(r"\*\* MEMINFO in pid ([0-9]{1,10}) \[(.*)\] \*\*")
_SUMMARY = re.compile(r"TOTAL(?: (PSS|RSS|SWAP PSS|SWAP))?(?: \(KB\))?:\s*([0-9]{1,15})(?![0-9])")
_COLUMNS_MAX = 16
_PROCESSES_MAX = 64


def read_meminfo(text: str) -> tuple[ProcessMemory, ...] | Unavailable | Unreadable:
    """Return every process of the page, in any Android's layout; the page's own totals win over the table's."""
    blocks: list[tuple[int, str, list[str]]] = []
    for line in reading.lines(text):
        if match := _HEAD.fullmatch(line.strip()):
            blocks.append((int(match[1]), reading.shown(match[2]), []))
        elif blocks:
            blocks[-1][2].append(line)
        elif line.strip().startswith("No process found for:"):
            return Unavailable(reason=reading.shown(line))
    if not blocks:
        return reading.unreadable("dumpsys meminfo", text, "'** MEMINFO in pid'")
    return tuple(_process(*block) for block in blocks[:_PROCESSES_MAX])


def _process(pid: int, name: str, lines: Sequence[str]) -> ProcessMemory:
    titles, rows = _table(lines)
    totals: dict[str, int] = {}
    for line in lines:
        for label, value in _SUMMARY.findall(line):
            totals.setdefault(label or "PSS", int(value))
    total = dict(zip(titles, rows.get("TOTAL", ()), strict=False))
    return ProcessMemory(
        pid=pid,
        name=name,
        pss_kb=totals.get("PSS", total.get("Pss")),
        rss_kb=totals.get("RSS", total.get("Rss")),
        swap_pss_kb=totals.get("SWAP PSS", total.get("SwapPss")),
        native_heap_kb=next(iter(rows.get("Native Heap", ())), None),
        graphics_kb=_labelled(lines, "Graphics:") or None,
    )


def _table(lines: Sequence[str]) -> tuple[list[str], dict[str, tuple[int, ...]]]:
    """Return the first words of the columns' titles, and the rows of the table by their names."""
    titles: list[str] = []
    rows: dict[str, tuple[int, ...]] = {}
    for line in lines:
        words = line.split()
        if not titles and words[:1] == ["Pss"]:
            titles = words[:_COLUMNS_MAX]
        elif line.strip() == "App Summary":
            break
        elif titles and words and (row := _row(words)) is not None:
            rows.setdefault(row[0], row[1])
    return titles, rows


def _row(words: Sequence[str]) -> tuple[str, tuple[int, ...]] | None:
    numbers = [reading.integer(word) for word in words[-_COLUMNS_MAX:]]
    count = next((i for i, value in enumerate(reversed(numbers)) if value is None), len(numbers))
    figures = tuple(value for value in numbers[len(numbers) - count :] if value is not None)
    name = " ".join(words[: len(words) - count])
    return (name, figures) if name and figures else None


def _labelled(lines: Sequence[str], label: str) -> int | None:
    for line in lines:
        if line.strip().startswith(label):
            words = line.strip()[len(label) :].split()
            return reading.integer(words[0]) if words else None
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """From ``/proc/PID/status``: ``peak_rss_kb`` is the most that was resident since the start or the last reset."""

    peak_rss_kb: int | None
    rss_kb: int | None
    swap_kb: int | None


def read_process_status(text: str) -> ProcessStatus | Unreadable:
    """Return a process's resident memory; a kernel thread or a process that is gone has none."""
    found = _kilobytes(text)
    if "VmHWM" not in found and "VmRSS" not in found:
        return reading.unreadable("/proc/PID/status", text, "VmHWM or VmRSS")
    return ProcessStatus(peak_rss_kb=found.get("VmHWM"), rss_kb=found.get("VmRSS"), swap_kb=found.get("VmSwap"))


def read_device_memory(text: str) -> DeviceMemory | Unreadable:
    """Return the device's memory as far as its kernel has it, which is less than is built in."""
    found = _kilobytes(text)
    if not found.get("MemTotal"):
        return reading.unreadable("/proc/meminfo", text, "MemTotal")
    return DeviceMemory(total_kb=found["MemTotal"], available_kb=found.get("MemAvailable"))


def _kilobytes(text: str) -> dict[str, int]:
    """Return the fields in kilobytes: ``Name:   123 kB``; a line that was cut before its unit does not count."""
    found: dict[str, int] = {}
    for line in reading.lines(text):
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and (value := reading.integer(words[0])) is not None and value >= 0:
            found.setdefault(name.strip(), value)
    return found
