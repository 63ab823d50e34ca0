"""Packages from anywhere: refused when they are of another kind, damaged, or reach outside themselves."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import coreml_hostile_jobs as hostile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.core.errors import ModelError
from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools
from toolkit.targets.coreml.interpreter.program import read_package
from toolkit.targets.coreml.interpreter.weights import BlobFile, decode, unpack
from toolkit.targets.coreml.package import open_package


@pytest.fixture
def package(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "small.mlpackage"))


def _specification(package: Path) -> Path:
    return next(package.glob("Data/*/model.mlmodel"))


def _weights(package: Path) -> Path:
    return next(package.glob("Data/*/weights/weight.bin"))


def _manifest(package: Path, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    path = package / "Manifest.json"
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


def test_a_sound_package_is_read(package: Path) -> None:
    _, program = read_package(package)
    assert [operation.operator for operation in program.operations] == ["conv", "relu", "reduce_mean", "linear"]
    assert program.specification_version == 7
    weight = program.operations[0].inputs["weight"][0]
    assert weight.constant is not None
    assert weight.constant.shape == weight.type.shape == (16, 3, 3, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [("model.mlmodel", "old-format"), ("model.mlmodelc", "compiled"), ("model.mlpackage", "no Core ML package")],
)
def test_other_formats_are_refused(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir() if name != "model.mlmodel" else (tmp_path / name).write_bytes(b"\x08\x04")
    with pytest.raises(ModelError, match=message):
        open_package(tmp_path / name)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no"):
        open_package(tmp_path / "none.mlpackage")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"itemInfoEntries": {"a": {}}}', "[" * 100_000, '{"itemInfoEntries": 3}']
)
def test_a_damaged_manifest_is_refused(text: str, package: Path) -> None:
    (package / "Manifest.json").write_text(text)
    with pytest.raises(ModelError, match="not a manifest"):
        open_package(package)


@pytest.mark.parametrize("path", ["../../secret", "/etc/passwd", "", "a/../../../b", "x\0y"])
def test_a_manifest_cannot_reach_outside(path: str, package: Path) -> None:
    def change(plain: dict) -> None:  # type: ignore[type-arg]
        plain["itemInfoEntries"][plain["rootModelIdentifier"]]["path"] = path

    _manifest(package, change)
    with pytest.raises(ModelError, match="leaves the package"):
        open_package(package)


def test_a_link_out_of_the_package_is_refused(package: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(_specification(package).read_bytes())
    _specification(package).unlink()
    _specification_path = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    _specification_path.symlink_to(tmp_path / "secret")
    with pytest.raises(ModelError, match="leaves the package"):
        open_package(package)


def test_a_manifest_without_its_model(package: Path) -> None:
    _manifest(package, lambda plain: plain.update(rootModelIdentifier="none"))
    with pytest.raises(ModelError, match="which item is the model"):
        open_package(package)


def test_a_missing_specification(package: Path) -> None:
    _specification(package).unlink()
    with pytest.raises(ModelError, match="lacks its model"):
        open_package(package)


def test_a_truncated_specification(package: Path) -> None:
    path = _specification(package)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ModelError, match="cannot be read"):
        read_package(package)


def test_an_empty_specification(package: Path) -> None:
    _specification(package).write_bytes(b"")
    with pytest.raises(ModelError, match="not an ML Program"):
        read_package(package)


def test_missing_weights(package: Path) -> None:
    _weights(package).unlink()
    with pytest.raises(ModelError, match="lacks its weights"):
        read_package(package)


@pytest.mark.parametrize("keep", [0, 63, 100, 1000])
def test_truncated_weights(keep: int, package: Path) -> None:
    path = _weights(package)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"too short|no such weights"):
        read_package(package)


def test_weights_of_another_version(package: Path) -> None:
    path = _weights(package)
    path.write_bytes(struct.pack("<II", 2, 9) + path.read_bytes()[8:])
    with pytest.raises(ModelError, match="version 9"):
        read_package(package)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_flipped_bytes_are_an_error_of_the_house_or_harmless(sound: Path, data: st.DataObject) -> None:
    path = _specification(sound)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    broken = bytearray(whole)
    broken[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(broken)
    try:
        read_package(sound)
    except ModelError as error:
        assert error.message  # noqa: PT017 - either outcome is right, no other exception is
    finally:
        path.write_bytes(whole)


@settings(deadline=None)
@given(st.sampled_from([1, 2, 3, 4, 6]), st.data())
def test_unpacking_inverts_packing(bits: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=40))
    stream = [(value >> bit) & 1 for value in values for bit in range(bits)]
    packed = np.packbits(np.array(stream, np.uint8), bitorder="little")
    assert unpack(packed, bits, len(values)).tolist() == values


def test_four_bit_integers_have_a_sign() -> None:
    assert decode(bytes([0xF8, 0x07]), "int4", (3,)).tolist() == [-8, -1, 7]


def test_a_blob_of_another_size_is_refused(sound: Path) -> None:
    with pytest.raises(ModelError, match="no such weights"):
        BlobFile(_weights(sound)).read(64, "fp32", (3,))


@pytest.mark.parametrize("count", [40, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_packages_are_refused_or_executed_and_nothing_else(count: int, tmp_path: Path, tools: Tools) -> None:
    ends = isolate(tools, 300, hostile.damage, tmp_path, count)
    assert sum(ends.values()) == count
    assert min(ends.values()) > 0


@pytest.mark.parametrize("offset", [2**63, 2**40, 1])
def test_weights_beyond_the_file_are_refused(sound: Path, offset: int) -> None:
    with pytest.raises(ModelError, match="no such weights"):
        BlobFile(_weights(sound)).read(offset, "fp32", (4,))
