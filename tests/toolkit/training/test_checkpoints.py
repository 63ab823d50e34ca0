"""Checkpoints: what is kept, what is read back, and what a stranger's file can do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_loop import a_plan, a_record

from toolkit.core.errors import ModelError
from toolkit.training import checkpoints
from toolkit.training.values import FILE

STATE = {
    "value/a/b:0": np.arange(6, dtype=np.float32).reshape(2, 3),
    "steps": np.array(7),
    "mask/x": np.zeros(2, np.uint8),
}


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    record = a_record(a_plan())
    checkpoints.write(tmp_path, 3, STATE, record)
    found = checkpoints.load(tmp_path, 3)
    assert {name: (values.dtype, values.tolist()) for name, values in found.items()} == {
        name: (values.dtype, values.tolist()) for name, values in STATE.items()
    }
    assert checkpoints.read(tmp_path) == record


def test_only_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    for epoch, best in ((0, 0), (1, 1), (2, 1), (3, 1)):
        record = a_record(a_plan())
        object.__setattr__(record, "best_epoch", best)
        checkpoints.write(tmp_path, epoch, STATE, record)
    assert sorted(file.name for file in (tmp_path / "checkpoints").iterdir()) == ["epoch-0001.npz", "epoch-0003.npz"]


def test_a_pickle_or_a_stump_is_refused(tmp_path: Path) -> None:
    path = checkpoints.path_of(tmp_path, 1)
    path.parent.mkdir()
    np.savez(path, names=np.frombuffer(b'["a"]', np.uint8), **{"00000": np.array([print], object)})
    with pytest.raises(ModelError, match="checkpoint"):
        checkpoints.load(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ModelError, match="checkpoint"):
        checkpoints.load(tmp_path, 1)
    with pytest.raises(ModelError, match="checkpoint"):
        checkpoints.load(tmp_path, 2)


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 9}', '{"schema": 1, "key": 3}'])
def test_a_damaged_record_is_named(text: str, tmp_path: Path) -> None:
    assert checkpoints.read(tmp_path) is None
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ModelError, match=FILE):
        checkpoints.read(tmp_path)
