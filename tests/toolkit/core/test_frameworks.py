"""Libraries that are hidden while others are imported, and are there again afterwards."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import core_jobs
import pytest

from toolkit.core.frameworks import absent
from toolkit.core.isolation import isolate
from toolkit.core.tools import system_tools


def test_a_hidden_library_cannot_be_imported_until_the_block_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "optional_library.py").write_text("LOADED = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with absent(["optional_library"]), pytest.raises(ImportError):
        __import__("optional_library")
    assert __import__("optional_library").LOADED


def test_a_library_that_is_loaded_stays_usable() -> None:
    with absent(["time"]):
        assert __import__("time") is time


def test_a_failing_import_hides_nothing_for_good() -> None:
    with pytest.raises(RuntimeError), absent(["no_such_library"]):
        raise RuntimeError
    assert "no_such_library" not in sys.modules


def test_tensorflow_comes_without_what_it_only_might_use() -> None:
    assert isolate(system_tools(), 120, core_jobs.what_comes_with_tensorflow) == []
