"""Device x build cells: planned, measured interleaved on each device and in parallel across devices, each explained.

On one device the sessions of all builds alternate, forth in one round and back in the next (A B C, C B A, ...), so
that a drift of the device falls on all builds alike. A session that fails in a way that may pass is taken once more;
one that fails again ends its own cell and no other. A device that fails again and again is set aside
(:mod:`mobile_harness.matrix.retry`): its remaining cells are explained at once.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack

from mobile_harness.matrix.cells import (
    RESUMED_APART_S,
    UTC,
    Setting,
    Sink,
    Slot,
    abba,
    cell_id,
    plan_cell,
    resumed_doubt,
)
from mobile_harness.matrix.news import DeviceNews, Step, Tally
from mobile_harness.matrix.turns import Turns
from mobile_harness.measurer.loop import Cancelled
from toolkit.core import process
from toolkit.core.events import Event
from toolkit.core.tools import Tools

__all__ = [
    "RESUMED_APART_S",
    "UTC",
    "DeviceNews",
    "Setting",
    "Sink",
    "Slot",
    "Step",
    "Tally",
    "abba",
    "cell_id",
    "measure",
    "plan_cell",
    "resumed_doubt",
]


def measure(slots: Sequence[Slot], setting: Setting, tools: Tools) -> None:
    """Fill the slots: devices at the same time, the cells of one device in turns. Results are in the sink.

    A slot that is measured already is left alone, as are the sessions that a cell has. Failures of builds and devices
    end as explained cells; what raises here is ours (a full disk under the history), and stops every device.
    """
    devices = list({id(slot.device): slot.device for slot in slots}.values())
    cancelled = threading.Event()
    lock = threading.Lock()

    def emit(event: Event) -> None:
        with lock:
            tools.emit(event)

    shared = dataclasses.replace(tools, emit=emit)
    threads = max(len(devices), 1)
    with ExitStack() as stack, ThreadPoolExecutor(threads, thread_name_prefix="palmtop-device") as pool:
        turns = [
            Turns(device, [slot for slot in slots if slot.device is device], setting, shared, cancelled)
            for device in devices
        ]
        futures = [pool.submit(turn.run) for turn in turns]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() and future.exception() is None for future in futures):
                cancelled.set()
                stack.enter_context(process.ending())  # no one waits any longer for a device that was lost
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda item: isinstance(item, Cancelled)):
        raise error  # what made the others stop comes first
