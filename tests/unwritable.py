"""A folder that cannot be written, also for tests that run as root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65534


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Take the right to write into a folder away for the length of the block.

    Root may write anywhere, so it becomes another user meanwhile, who may look into the folders above.
    """
    mode = folder.stat().st_mode
    above = {place: place.stat().st_mode for place in folder.parents if not place.stat().st_mode & 0o001}
    root = os.geteuid() == 0
    for place, before in above.items():
        place.chmod(before | 0o055)
    folder.chmod(0o555)
    if root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(mode)
        for place, before in above.items():
            place.chmod(before)
