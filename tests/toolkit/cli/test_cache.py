"""``palmtop cache`` as a user meets it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from toolkit.cli.main import execute
from toolkit.core import store
from toolkit.core.artifacts import Blob
from toolkit.core.store import Store


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of two results, one of them unused for forty days."""
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path))

    def produce(folder: Path) -> Blob:
        (folder / "data").write_bytes(bytes(2_000))
        return store.blob_of(folder / "data")

    for name in ("new", "old"):
        path = Store(tmp_path).memo("convert/1", name, Blob, produce).path.parent / store.VALUE
    old_s = time.time() - 40 * 86400
    os.utime(path, (old_s, old_s))
    return tmp_path


def test_it_tells_what_is_there(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["cache", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["stages"][0] | {"bytes": 0} == {"stage": "convert-1", "results": 2, "bytes": 0}
    assert shown["bytes"] > 4_000


def test_it_removes_what_was_not_used(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["cache", "prune", "--unused-for", "30d", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("Would remove 1 result, 2.")
    assert execute(["cache", "prune", "--unused-for", "30d", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["removed"]) == 1
    assert execute(["cache"]) == 0
    assert "1 result, 2.2 kB" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Say what may go"),
        (["--unused-for", "soon"], "not a span of time"),
        (["--max-size", "-5GB"], "not a size"),
    ],
)
def test_it_asks_for_what_it_needs(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["cache", "prune", *words]) == 2
    assert told in capsys.readouterr().err
