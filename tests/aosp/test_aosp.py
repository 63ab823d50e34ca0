"""AOSP's own device tests pass against a virtual device, whichever adb is between; see ``make test-aosp``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import aosp_suite as suite

APPLY = 46
"""Tests of that file that neither need a rootable build or Windows nor are quarantined."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["debian", "adbutils"])
def test_a_virtual_device_passes(name: str, tmp_path: Path) -> None:
    try:
        sources = suite.fetch()
        report = suite.run(sources, *suite.programs(sources)[name], tmp_path)
    except suite.NotHere as error:
        pytest.skip(f"AOSP's tests cannot be run: {error}")
    assert report.is_good, report.log + report.text()
    assert len(report.names("passed")) == APPLY
