"""Read ``weight.bin``: the blob file in which an ML Program keeps its large constants.

Format (coremltools ``MILBlob`` storage, version 2, little endian): a 64-byte header (uint32 count, uint32 version);
each blob has a 64-byte descriptor (uint32 sentinel ``0xDEADBEEF``, uint32 element type, uint64 bytes, uint64 offset of
the data, uint64 padding bits) and, 64-byte aligned, its data. Elements under 8 bits are packed, least significant bits
first.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.errors import ModelError

_HEADER = struct.Struct("<II")
_DESCRIPTOR = struct.Struct("<IIQQQ")
_SENTINEL = 0xDEADBEEF
_VERSION = 2

PLAIN = {
    "bool": np.dtype(np.bool_),
    "fp16": np.dtype("<f2"),
    "fp32": np.dtype("<f4"),
    "fp64": np.dtype("<f8"),
    "int8": np.dtype(np.int8),
    "int16": np.dtype("<i2"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
    "uint8": np.dtype(np.uint8),
    "uint16": np.dtype("<u2"),
    "uint32": np.dtype("<u4"),
}
"""Element types of whole bytes."""
PACKED = {"uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "uint6": 6, "int4": 4}
"""Bits of the element types that share bytes; unpacked they are 8 bits wide."""


def bytes_of(dtype: str, count: int) -> int:
    """Return how many bytes ``count`` elements occupy in a file.

    Raises:
        ModelError: they are of a kind that no file keeps as bytes.
    """
    if dtype not in PACKED and dtype not in PLAIN:
        raise ModelError(
            f"A constant of {dtype} has no bytes.", hint="The program is damaged; convert the model again."
        )
    return -(-count * PACKED[dtype] // 8) if dtype in PACKED else count * PLAIN[dtype].itemsize


def decode(raw: bytes | NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Turn the bytes of a constant into its array; ``raw`` must have :func:`bytes_of` bytes."""
    if dtype not in PACKED:
        return np.frombuffer(raw, PLAIN[dtype]).reshape(shape)
    count = math.prod(shape)
    values = unpack(np.frombuffer(raw, np.uint8), PACKED[dtype], count)
    if dtype == "int4":
        values = np.where(values >= 8, values.astype(np.int8) - 16, values).astype(np.int8)
    return values.reshape(shape)


def unpack(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    """Take ``count`` unsigned values of ``bits`` bits from a little-endian bit stream.

    >>> unpack(np.array([0b01101100, 0b11], np.uint8), 2, 5).tolist()
    [0, 3, 2, 1, 3]
    """
    stream = np.unpackbits(packed, bitorder="little")[: count * bits].reshape(count, bits)
    return np.asarray((stream << np.arange(bits, dtype=np.uint8)).sum(axis=1), np.uint8)


class BlobFile:
    """A blob file, mapped into memory: arrays are views until somebody converts them."""

    def __init__(self, path: Path) -> None:
        if path.stat().st_size < 64:
            raise ModelError(f"{path} is too short for a weight file.", hint="It is truncated; copy it again.")
        self._path = path
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        _, version = _HEADER.unpack(self._bytes[: _HEADER.size].tobytes())
        if version != _VERSION:
            raise ModelError(f"{path} is a weight file of version {version}; version {_VERSION} is known.")

    def read(self, offset: int, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return the constant whose descriptor lies at ``offset``.

        Raises:
            ModelError: there is no such blob, or it has another size.
        """
        size = bytes_of(dtype, math.prod(shape))
        start = self.start_of(offset, size)
        return decode(self._bytes[start : start + size], dtype, shape)

    def start_of(self, offset: int, wanted: int) -> int:
        """Return where the data lie, of ``wanted`` bytes, whose descriptor lies at ``offset``.

        Raises:
            ModelError: there is no such blob, or it has another size.
        """
        descriptor = self._bytes[offset : offset + _DESCRIPTOR.size].tobytes()
        if len(descriptor) < _DESCRIPTOR.size:
            raise self._damaged(offset)
        sentinel, _, size, start, _ = _DESCRIPTOR.unpack(descriptor)
        if sentinel != _SENTINEL or size != wanted or start + size > self._bytes.size:
            raise self._damaged(offset)
        return int(start)

    def _damaged(self, offset: int) -> ModelError:
        return ModelError(
            f"{self._path} holds no such weights at byte {offset}.", hint="It is truncated or damaged; copy it again."
        )
