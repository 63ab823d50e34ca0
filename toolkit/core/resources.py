"""Where the files that come with palmtop lie: beside the packages in a checkout, under ``_data`` in a wheel."""

from __future__ import annotations

from pathlib import Path

TOOLKIT = Path(__file__).parent.parent


def folder(name: str) -> Path:
    """Return the folder ``templates`` or ``device_profiles``.

    Raises:
        FileNotFoundError: the installation is broken.
    """
    for place in (TOOLKIT / "_data" / name, TOOLKIT.parent / name):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"palmtop's own folder {name!r} is missing; install it again")
