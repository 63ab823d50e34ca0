from __future__ import annotations

import sys
from pathlib import Path

import pytest

from toolkit.core.errors import ModelError, ToolMissing
from toolkit.core.store import sha256_of
from toolkit.demos._shipped import shipped_file


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipping_package"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "data" / "numbers.bin").write_bytes(b"123")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_finds_the_file_without_importing_the_package(package: Path) -> None:
    path = package / "data" / "numbers.bin"
    assert shipped_file("shipping_package", "data/numbers.bin", sha256_of(path)) == path
    assert "shipping_package" not in sys.modules


def test_another_content_is_refused(package: Path) -> None:
    with pytest.raises(ModelError, match=r"numbers\.bin is not the file"):
        shipped_file("shipping_package", "data/numbers.bin", "0" * 64)


@pytest.mark.parametrize("name", ["shipping_package", "no_such_package"])
def test_a_missing_package_or_file_says_what_to_install(package: Path, name: str) -> None:
    with pytest.raises(ToolMissing) as caught:
        shipped_file(name, "data/other.bin", "0" * 64)
    assert "palmtop[demo]" in caught.value.hint
    assert name in caught.value.message
