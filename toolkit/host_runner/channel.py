"""The two ways out: framed lines on stdout while it lasts, and the result file, which is the truth."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import threading
import time
import zlib
from pathlib import Path
from typing import Any, BinaryIO

PAYLOAD_MAX = 848
BEAT_NS = 2_000_000_000
_WATCH_S = 1.0
_QUIET = ("samples", "beat")
"""Kinds of records that are not forced to the disk one by one: they come while the model is being timed."""


class Channel:
    """Says records, numbered, from any thread. Closing it writes ``bye``."""

    def __init__(self, run: str, out: Path, live: BinaryIO) -> None:
        self._run = run
        self._live = live
        self._file = out.open("xb")
        self._digest = hashlib.sha256()
        self._lock = threading.Lock()
        self._started_ns = time.perf_counter_ns()
        self._seq = 0
        self._last_beat_ns = self._started_ns
        self._at: tuple[str, int, int] = ("start", 0, 0)
        self._ended = threading.Event()
        self._parent = os.getppid()
        self._watch = threading.Thread(target=self._watch_over, daemon=True)

    def say(self, kind: str, **fields: Any) -> None:
        """Write a record to the file, then send it live. A field that is None is left out."""
        with self._lock:
            self._say(kind, fields)

    def _say(self, kind: str, fields: dict[str, Any]) -> None:
        known = {key: _plain(value) for key, value in fields.items() if value is not None}
        record = {"t": kind, "s": self._seq, "ns": time.perf_counter_ns() - self._started_ns, **known}
        text = json.dumps(record, separators=(",", ":"), allow_nan=False).replace("@", "\\u0040")
        line = text.encode("ascii") + b"\n"
        self._file.write(line)
        self._file.flush()
        if kind not in _QUIET:
            os.fsync(self._file.fileno())
        self._digest.update(line)
        self._live.write("".join(frame + "\n" for frame in frames(self._run, self._seq, text)).encode("ascii"))
        self._live.flush()
        self._seq += 1

    def start_beating(self) -> None:
        """Give signs of life from now on, also while a long native call does not return."""
        self._watch.start()

    def progress(self, phase: str, done: int, total: int) -> None:
        """Remember how far the work is; says a beat when one is due."""
        self._at = (phase, done, total)
        if time.perf_counter_ns() - self._last_beat_ns >= BEAT_NS:
            self._beat()

    def _beat(self) -> None:
        phase, done, total = self._at
        self._last_beat_ns = time.perf_counter_ns()
        self.say("beat", phase=phase, done=done, total=total)

    def _watch_over(self) -> None:
        """Beat where the work itself cannot, and end when the host has gone, so that no orphan disturbs a later run."""
        while not self._ended.wait(_WATCH_S):
            if os.getppid() != self._parent:
                os._exit(3)
            if time.perf_counter_ns() - self._last_beat_ns >= BEAT_NS + _WATCH_S * 1e9:
                self._beat()

    def close(self, ending: str) -> None:
        """Say ``bye`` with ``ok`` or ``error``; nothing can be said after it."""
        self._ended.set()
        with self._lock:
            self._say("bye", {"exit": ending, "records": self._seq, "sha256": self._digest.hexdigest()})
            self._file.close()


def _plain(value: Any) -> Any:
    return value if not isinstance(value, float) or math.isfinite(value) else repr(value)


def frames(run: str, seq: int, text: str) -> list[str]:
    """Return a record's text as checksummed frames of at most 900 characters."""
    parts = [text]
    if len(text) > PAYLOAD_MAX:
        coded = base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii")
        parts = [coded[start : start + PAYLOAD_MAX] for start in range(0, len(coded), PAYLOAD_MAX)]
    made = []
    for index, part in enumerate(parts, start=1):
        place = f"{run} {seq} {index}/{len(parts)}"
        crc = zlib.crc32(f"{place} {part}".encode("ascii"))
        made.append(f"@PT1 {place} {crc:08x} {part}")
    return made
