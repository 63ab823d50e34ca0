"""Samples: those composed by us lie in the repository; those that others recorded lie beside it and may be absent."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).parents[3]
_COMPOSED = _REPOSITORY / "tests" / "samples" / "android"
_RECORDED = Path(os.environ.get("PALMTOP_SAMPLES") or _REPOSITORY.parent / "shared" / "research" / "device_samples")

Sample = Callable[[str], str]


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


@pytest.fixture(scope="session")
def composed() -> Sample:
    """The text of one of ``tests/samples/android``, its line ends as they are."""
    return lambda name: _text(_COMPOSED / name)


@pytest.fixture(scope="session")
def recorded() -> Sample:
    """The text that a real device or tool printed; the test is skipped where it is not at hand."""

    def read(name: str) -> str:
        if not (_RECORDED / name).is_file():
            pytest.skip(f"recorded sample {name} is not at hand (PALMTOP_SAMPLES names its folder)")
        return _text(_RECORDED / name)

    return read
