"""Compression of file transfers, by the libraries that are installed: what is missing is not advertised."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Final, Protocol

NONE: Final = 0
BROTLI: Final = 1
LZ4: Final = 2
ZSTD: Final = 4
_MODULES: Final = {BROTLI: "brotli", LZ4: "lz4.frame", ZSTD: "zstandard"}
_NAMES: Final = {BROTLI: "brotli", LZ4: "lz4", ZSTD: "zstd"}


class Damaged(ValueError):
    """The data is not what its flag says."""


class Coder(Protocol):
    """Changes data piece by piece."""

    def feed(self, data: bytes) -> bytes:
        """Take a piece and return what is ready.

        Raises:
            Damaged: the data cannot be read.
        """

    def finish(self) -> bytes:
        """Return the rest."""


def available() -> tuple[int, ...]:
    """Return the flags of the kinds that can be served."""
    return tuple(flag for flag, module in _MODULES.items() if importlib.util.find_spec(module.split(".")[0]))


def features() -> tuple[str, ...]:
    """Return the names of the features for the banner."""
    return tuple(f"sendrecv_v2_{_NAMES[flag]}" for flag in available())


def coder(flag: int, *, packing: bool) -> Coder:
    """Return a coder that packs or unpacks.

    Raises:
        Damaged: the flag is unknown, or its library is not installed.
    """
    if flag == NONE:
        return _Plain()
    if flag not in available():
        raise Damaged(f"unsupported compression {flag}")
    library = importlib.import_module(_MODULES[flag])
    if flag == BROTLI:
        return _Brotli(library, packing=packing)
    return _Lz4(library, packing=packing) if flag == LZ4 else _Zstd(library, packing=packing)


class _Plain:
    def feed(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _Brotli:
    def __init__(self, library: Any, *, packing: bool) -> None:
        self._work = library.Compressor(quality=1) if packing else library.Decompressor()
        self._packing = packing
        self._error: type[Exception] = library.error

    def feed(self, data: bytes) -> bytes:
        try:
            return bytes(self._work.process(data))
        except self._error as error:
            raise Damaged(str(error)) from error

    def finish(self) -> bytes:
        return bytes(self._work.finish()) if self._packing else b""


class _Lz4:
    def __init__(self, library: Any, *, packing: bool) -> None:
        self._packing = packing
        self._work = library.LZ4FrameCompressor() if packing else library.LZ4FrameDecompressor()
        self._head = bytes(self._work.begin()) if packing else b""

    def feed(self, data: bytes) -> bytes:
        try:
            work = self._work.compress(data) if self._packing else self._work.decompress(data)
        except (RuntimeError, EOFError) as error:
            raise Damaged(str(error)) from error
        head, self._head = self._head, b""
        return head + bytes(work)

    def finish(self) -> bytes:
        return self._head + bytes(self._work.flush()) if self._packing else b""


class _Zstd:
    def __init__(self, library: Any, *, packing: bool) -> None:
        self._packing = packing
        made = library.ZstdCompressor(level=1) if packing else library.ZstdDecompressor()
        self._work = made.compressobj() if packing else made.decompressobj()
        self._error: type[Exception] = library.ZstdError

    def feed(self, data: bytes) -> bytes:
        try:
            return bytes(self._work.compress(data) if self._packing else self._work.decompress(data))
        except self._error as error:
            raise Damaged(str(error)) from error

    def finish(self) -> bytes:
        return bytes(self._work.flush()) if self._packing else b""
