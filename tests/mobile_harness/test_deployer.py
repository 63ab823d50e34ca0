"""Golden samples that are damaged or hostile fail the cell with words, and nothing is reserved for what they claim."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bench_builds import scripted

from mobile_harness import deployer
from mobile_harness.transports.base import DeviceFailed
from toolkit.core import store
from toolkit.core.artifacts import Requirements, Signature
from toolkit.core.manifest import BuildEntry


def _npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, values)
    return file.getvalue()


def _claiming(header: str, *, body: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def _zip(member: bytes, *, name: str = "out/y.npy", method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, member)
    return file.getvalue()


GOOD = _npy(np.arange(15, dtype=np.float32).reshape(3, 5))


def _patched(content: bytes, *, flag: int = 0, method: int = 0) -> bytes:
    """Set bits of the flags, or the method, in the local and in the central header of an archive's one member."""
    changed = bytearray(content)
    central = content.index(b"PK\x01\x02")
    for flags_at, method_at in ((6, 8), (central + 8, central + 10)):
        changed[flags_at] |= flag
        changed[method_at] = method or changed[method_at]
    return bytes(changed)


def _squeezed_and_torn() -> bytes:
    content = bytearray(_zip(GOOD * 9, method=zipfile.ZIP_DEFLATED))
    start = 30 + len("out/y.npy")
    content[start : start + 4] = b"\xff\xff\xff\xff"
    return bytes(content)


HOSTILE = {
    "encrypted": _patched(_zip(GOOD), flag=1),
    "unknown method": _patched(_zip(GOOD), method=98),
    "torn deflate": _squeezed_and_torn(),
    "cut": _zip(GOOD)[:60],
    "short array": _zip(GOOD[:-8]),
    "huge": _zip(_claiming("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 5)}")),
    "huge and empty": _zip(_claiming(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**40}, 0)}}")),
    "negative": _zip(_claiming("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 5)}")),
    "torn header": _zip(_claiming("{'descr': '<f4', 'shape': (((")),
    "objects": _zip(_claiming("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", body=b"\x80\x04K\x01.")),
    "nothing wide": _zip(_claiming("{'descr': '|V0', 'fortran_order': False, 'shape': (99999999999,)}")),
    "no array": _zip(b"text"),
    "no outputs": _zip(GOOD, name="in/x.npy"),
    "no samples": _zip(_npy(np.zeros((0, 5), np.float32))),
}


def _build(folder: Path, golden: bytes) -> BuildEntry:
    (folder / "net.onnx").write_bytes(b"a model")
    (folder / "golden.npz").write_bytes(golden)
    model = store.blob_of(folder / "net.onnx")
    return BuildEntry(
        id="onnx-float32", target="onnx", recipe="float32", path="net.onnx", sha256=model.sha256,
        size_bytes=model.size_bytes, signature=Signature(inputs=(), outputs=()), kept_float=(),
        requirements=Requirements(runtime="ONNX Runtime", runtime_min="1.18"), golden="golden.npz",
    )  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_golden_samples_that_cannot_be_read_are_a_failure_of_the_cell(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceFailed) as caught:
        deployer.deploy(scripted("ok"), tmp_path, _build(tmp_path, HOSTILE[kind]))
    assert caught.value.kind == "build_changed"
    assert "golden.npz cannot be read" in caught.value.message
    assert "palmtop verify" in caught.value.hint


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_golden_outputs_are_read(method: int, tmp_path: Path) -> None:
    found = deployer.deploy(scripted("ok"), tmp_path, _build(tmp_path, _zip(GOOD, method=method)))
    (expected,) = found.expected
    assert (expected.output, expected.dtype, expected.scale, expected.samples) == ("y", "float32", 14.0, 3)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployer, "GOLDEN_MAX_BYTES", 100)
    with pytest.raises(DeviceFailed, match="unpacks to more than 100 bytes"):
        deployer.deploy(scripted("ok"), tmp_path, _build(tmp_path, _zip(GOOD)))
