"""Models of more than 2 GB are told at first sight, before a library or a hash takes its time over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.core.errors import ModelError
from toolkit.sources import keras, onnx, saved_model, tflite
from toolkit.stages import importer

HUGE_BYTES = 3 << 30


def _sparse(path: Path, head: bytes) -> Path:
    """Write a file that is long and takes no disk."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(HUGE_BYTES)
    return path


def _hdf5() -> bytes:
    """Return a superblock of version 0 that says the file is as long as it is."""
    return b"\x89HDF\r\n\x1a\n" + bytes(32) + HUGE_BYTES.to_bytes(8, "little")


def _varint(value: int) -> bytes:
    groups = [value >> shift & 0x7F for shift in range(0, max(1, value.bit_length()), 7)]
    return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])


@pytest.mark.parametrize(
    ("source", "name", "head"),
    [
        (tflite, "model.tflite", b"\x1c\0\0\0TFL3"),
        (keras, "model.h5", _hdf5()),
        (onnx, "model.onnx", b"\x08\x08\x3a" + _varint(HUGE_BYTES - 8)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_one_long_file(source, name: str, head: bytes, tmp_path: Path) -> None:
    path = _sparse(tmp_path / name, head)
    wrong = source.recognises(path)
    assert wrong is not None
    assert "larger than 2 GB" in wrong
    with pytest.raises(ModelError, match=r"is too big: .*larger than 2 GB.* Choose a smaller one"):
        importer.recognise(path)


def test_long_variables(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"\x08\x01\x12\x00")
    assert saved_model.recognises(folder) is None
    _sparse(folder / "variables" / "variables.data-00000-of-00001", b"")
    wrong = saved_model.recognises(folder)
    assert wrong is not None
    assert "larger than 2 GB" in wrong


def test_long_external_data(tmp_path: Path) -> None:
    """The file that a weight names counts, whatever else lies beside it."""
    entry = b"\x0a\x08location\x12\x0bweights.bin"
    pair = b"\x6a" + bytes([len(entry)]) + entry  # TensorProto.external_data
    weight = b"\x2a" + bytes([len(pair)]) + pair  # GraphProto.initializer
    model = tmp_path / "model.onnx"
    model.write_bytes(b"\x08\x08\x3a" + bytes([len(weight)]) + weight)
    _sparse(tmp_path / "other.bin", b"")
    assert onnx.recognises(model) is None
    (tmp_path / "other.bin").rename(tmp_path / "weights.bin")
    wrong = onnx.recognises(model)
    assert wrong is not None
    assert "larger than 2 GB" in wrong
