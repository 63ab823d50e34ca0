"""The folder is the registry, and a third party joins by entry point."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from toolkit.core import discovery
from toolkit.core.errors import SettingsError


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a distribution, as far as Python can tell, that brings a range observer."""
    (tmp_path / "acme_ranges.py").write_text("NAME = 'theirs'\n")
    info = tmp_path / "acme_ranges-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-ranges\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[palmtop.ranges]\nacme = acme_ranges\nminmax = acme_ranges\nlost = no_such_module\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("acme_ranges", None)


def test_a_modules_file_name_is_its_public_name() -> None:
    found = discovery.names("toolkit.ranges")
    assert "minmax" in found
    assert not [name for name in found if name.startswith("_") or name == "base"]
    assert discovery.load("toolkit.ranges", "minmax").__name__ == "toolkit.ranges.minmax"


def test_listing_a_room_imports_none_of_it() -> None:
    before = set(sys.modules)
    names = discovery.names("toolkit.targets")
    new = set(sys.modules) - before
    assert not [module for module in new if module.removeprefix("toolkit.targets.") in names]


def test_a_third_party_joins_without_editing_ours(third_party: Path) -> None:
    assert "acme" in discovery.names("toolkit.ranges")
    assert discovery.load("toolkit.ranges", "acme").NAME == "theirs"


def test_nobody_takes_one_of_our_names(third_party: Path) -> None:
    assert discovery.load("toolkit.ranges", "minmax").__name__ == "toolkit.ranges.minmax"


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(SettingsError, match="Unknown range 'minmx'") as caught:
        discovery.load("toolkit.ranges", "minmx")
    assert "Did you mean 'minmax'?" in caught.value.hint


def test_a_third_partys_broken_module_is_named(third_party: Path) -> None:
    with pytest.raises(SettingsError, match=r"'lost'.*no_such_module"):
        discovery.load("toolkit.ranges", "lost")
