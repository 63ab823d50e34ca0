"""The reader of joblib files against files that joblib itself wrote, and against files that mean harm."""

from __future__ import annotations

import io
import os
import pickletools
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.core.errors import ModelError
from toolkit.demos._joblib import read_arrays


def dumped(value: object) -> bytes:
    file = io.BytesIO()
    joblib.dump(value, file)
    return file.getvalue()


ARRAYS = [
    np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    np.zeros((0,), np.float32),
    np.linspace(-1, 1, 300, dtype=np.float32),
]
GOOD = dumped(ARRAYS)


class Harm:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def test_reads_what_joblib_wrote() -> None:
    found = read_arrays(GOOD, "sample")
    assert [array.shape for array in found] == [array.shape for array in ARRAYS]
    for array, expected in zip(found, ARRAYS, strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == np.float32
        assert array.flags.writeable


def test_runs_nothing_that_the_file_asks_for(tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    raw = dumped([Harm(harm)])
    assert any(opcode.name == "REDUCE" for opcode, _, _ in pickletools.genops(raw))
    with pytest.raises(ModelError, match="mkdir"):
        read_arrays(raw, "sample")
    assert not harm.exists()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([np.zeros(3, np.float64)], "float32"),
        ([np.zeros(3, ">f4")], "float32"),
        ([np.array([{}], dtype=object)], "float32"),
        (np.zeros(3, np.float32), "list"),
        ([1, 2], "list"),
        ({"a": np.zeros(3, np.float32)}, "SETITEM"),
        ([1.5], "BINFLOAT"),
    ],
)
def test_refuses_everything_else(value: object, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read_arrays(dumped(value), "sample")


@pytest.mark.parametrize("length", [0, 1, 40, 229, 231, 300, len(GOOD) - 1])
def test_refuses_a_cut_off_file(length: int) -> None:
    with pytest.raises(ModelError, match="sample"):
        read_arrays(GOOD[:length], "sample")


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_damage_is_an_error_of_ours_or_other_numbers(changes: list[tuple[int, int]]) -> None:
    raw = bytearray(GOOD)
    for place, value in changes:
        raw[place] = value
    try:
        found = read_arrays(bytes(raw), "sample")
    except ModelError:
        return
    assert all(array.dtype == np.float32 for array in found)


def test_a_list_of_one_array() -> None:
    (found,) = read_arrays(dumped(ARRAYS[:1]), "sample")
    np.testing.assert_array_equal(found, ARRAYS[0])


def test_a_shape_beyond_all_memory_is_refused() -> None:
    raw = dumped([np.zeros((9, 9, 9), np.float32)])
    huge = b"J" + (2**31 - 1).to_bytes(4, "little")  # a four-byte number where a one-byte one was
    assert raw.count(b"K\x09K\x09K\x09") == 1
    with pytest.raises(ModelError, match=r"sample is not a joblib file.*2147483647"):
        read_arrays(raw.replace(b"K\x09K\x09K\x09", huge * 3), "sample")
