"""Whose a thing of ours is: names that tell the computer and the process, so that what the dead left can be told.

A name is ``<computer>-<process>-<its start>-<random>``: no two processes share one, also when a number comes again.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
from typing import Final

import psutil

FOREIGN_S: Final = 24 * 3600
"""What another computer owns is given up after so long."""
PATTERN: Final = r"([0-9a-f]{8})-(\d{1,10})-(\d{1,12})-[0-9a-f]{8}"
_OWNER: Final = re.compile(PATTERN)


def new_name() -> str:
    """Return a name for a thing of this process."""
    pid = os.getpid()
    return f"{_this_computer()}-{pid}-{_started_s(pid)}-{secrets.token_hex(4)}"


def is_name(word: str) -> bool:
    """Say whether it is such a name."""
    return _OWNER.fullmatch(word) is not None


def lives(name: str, age_s: float) -> bool:
    """Say whether an owner may still be at work: of this computer its process says so, of another its age."""
    found = _OWNER.fullmatch(name)
    assert found is not None
    computer, pid, started_s = found.groups()
    if computer != _this_computer():
        return age_s < FOREIGN_S
    return _started_s(int(pid)) == int(started_s)


def _started_s(pid: int) -> int:
    """Return when a process of this computer began, 0 when there is none."""
    try:
        return int(psutil.Process(pid).create_time())
    except (psutil.Error, OverflowError):
        return 0


def _this_computer() -> str:
    return hashlib.sha256(f"palmtop {platform.node()}".encode()).hexdigest()[:8]
