"""SavedModel: what its folder says before TensorFlow sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.core.tools import Tools
from toolkit.sources import saved_model
from toolkit.stages import importer

GRAPH = b"\x08\x01\x12\x03abc"


def _folder(path: Path, graph: bytes = GRAPH) -> Path:
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(graph)
    (path / "variables" / "variables.index").write_bytes(b"w")
    return path


def test_a_folder_and_its_signatures_are_recognised(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "net")
    assert importer.recognise(folder) == "saved_model"
    assert importer.recognise(tmp_path / "net:lone") == "saved_model"
    assert not saved_model.takes(tmp_path / "other:lone")
    odd = _folder(tmp_path / "a:b")
    assert importer.recognise(odd) == "saved_model"


@pytest.mark.parametrize(
    ("graph", "words"),
    [(b"", "empty"), (GRAPH[:-1], "cut short"), (b"\x08\x01", "no graph"), (b"\xff" * 40, "damaged")],
)
def test_a_damaged_graph_is_told_at_first_sight(graph: bytes, words: str, tmp_path: Path) -> None:
    wrong = saved_model.recognises(_folder(tmp_path / "net", graph))
    assert wrong is not None
    assert words in wrong


def test_the_hash_covers_the_folder_and_the_signature_but_not_its_place(tmp_path: Path, tools: Tools) -> None:
    def sha(path: Path) -> str:
        return importer.source_blob(path, "saved_model", {}, tools).sha256

    folder = _folder(tmp_path / "net")
    before, chosen = sha(folder), sha(tmp_path / "net:lone")
    assert before != chosen
    moved = folder.rename(tmp_path / "moved")
    assert sha(moved) == before
    (moved / "variables" / "variables.index").write_bytes(b"W")
    assert sha(moved) != before
