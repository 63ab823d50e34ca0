"""Files: content hashes, atomic writes, and the cache that lets any stage restart from the file before it."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from toolkit.core import codec, process
from toolkit.core.artifacts import Blob
from toolkit.core.errors import OutputError, SettingsError
from toolkit.core.events import Emit, Event, silent

if TYPE_CHECKING:
    import filelock

T = TypeVar("T")

VALUE = "value.json"
"""What makes a folder of the cache a result; its time is when the result was last made or read."""
STALE_S = 24 * 3600
"""Seconds after which a half-made folder that nobody touched is taken for one of a process that was killed."""
_SLICE_S = 0.5
_TELL_S = 2.0
_OTHER_PLACE = "Free space there, or choose another folder with -o."
_OTHER_CACHE = "Free space there, or name another folder for the cache in PALMTOP_CACHE."


def sha256_of(path: Path) -> str:
    """Return the hash of a file's bytes, or of a folder's relative paths and their bytes in sorted order."""
    digest = hashlib.sha256()
    if path.is_file():
        _update(digest, path)
        return digest.hexdigest()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        digest.update(file.stat().st_size.to_bytes(8, "little"))
        _update(digest, file)
    return digest.hexdigest()


def _update(digest: hashlib._Hash, path: Path) -> None:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())


def deflated_size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder, each compressed by DEFLATE (RFC 1951) at level 6."""
    total = 0
    for file in [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file()):
        packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        with file.open("rb") as raw:
            while chunk := raw.read(1 << 20):
                total += len(packer.compress(chunk))
        total += len(packer.flush())
    return total


def blob_of(path: Path) -> Blob:
    """Return the path with its content's hash and size."""
    return Blob(path=path, sha256=sha256_of(path), size_bytes=size_of(path))


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a whole file or nothing: a reader never sees half of it.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    raw = content.encode("utf-8") if isinstance(content, str) else content
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def writing_to(place: Path, hint: str = _OTHER_PLACE) -> Iterator[None]:
    """Translate the system's errors about a place into ours."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"Cannot write to {place}: {reason}.", hint=hint) from error


def check_writable(folder: Path, hint: str = _OTHER_PLACE) -> None:
    """Write a file without a name into a folder: better to know before minutes of work than after.

    Raises:
        OutputError: that does not work.
    """
    with writing_to(folder, hint), tempfile.TemporaryFile(dir=folder):
        pass


@contextmanager
def discarded(place: Path) -> Iterator[Path]:
    """Yield a path; the folder that is made there is removed when the block ends."""
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def sweep(folder: Path, pattern: str) -> None:
    """Remove the folders of that name that nobody touched for a day: their process was killed before it could."""
    oldest = time.time() - STALE_S
    for left in folder.glob(pattern):
        with suppress(OSError):  # gone meanwhile, or another user's
            if left.is_dir() and not left.is_symlink() and left.stat().st_mtime < oldest:
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def staged_folder(final: Path) -> Iterator[Path]:
    """Yield a new folder beside ``final`` that takes its name when the block ends well and vanishes when it does not.

    Raises:
        OutputError: ``final`` exists and is not an empty folder, or the place cannot be written.
    """
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise OutputError(
            f"The output folder {final} is not empty.", hint="Choose another with -o; palmtop never overwrites one."
        )
    with writing_to(final.parent):
        final.parent.mkdir(parents=True, exist_ok=True)
        sweep(final.parent, f".{glob.escape(final.name)}.partial-*")
        stage = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.partial-"))
        stage.chmod(0o755)
    try:
        yield stage
        with writing_to(final):
            if final.exists():
                final.rmdir()
            stage.rename(final)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def copy_blob(blob: Blob, to: Path) -> Blob:
    """Copy a file or folder; its hash stays what it was."""
    with writing_to(to.parent):
        to.parent.mkdir(parents=True, exist_ok=True)
        if blob.path.is_dir():
            shutil.copytree(blob.path, to)
        else:
            shutil.copyfile(blob.path, to)
    return Blob(path=to, sha256=blob.sha256, size_bytes=blob.size_bytes)


@dataclass(frozen=True, slots=True)
class Store:
    """A cache of stage results under ``root``, one folder a key; safe for several processes at once.

    ``emit`` hears when a result has to be waited for because another process makes it.
    """

    root: Path
    emit: Emit = field(default=silent, compare=False, repr=False)

    def key(self, stage: str, inputs: Any) -> str:
        """Return the hash that names the result of a stage for these inputs."""
        return hashlib.sha256(stage.encode() + b"\0" + codec.canonical(inputs)).hexdigest()[:32]

    def find(self, stage: str, inputs: Any, kind: type[T]) -> T | None:
        """Return the cached result for equal inputs if there is an intact one; nothing is made."""
        return _read(self._folder(stage, inputs), kind)

    def _folder(self, stage: str, inputs: Any) -> Path:
        return self.root / stage.replace("/", "-") / self.key(stage, inputs)

    def memo(self, stage: str, inputs: Any, kind: type[T], produce: Callable[[Path], T]) -> T:
        """Return the cached result for equal inputs, or produce, store and return it.

        ``produce`` gets an empty folder to put its files in and returns a value whose blobs lie in it. A result whose
        files are missing or changed is made again. Nothing is kept of a ``produce`` that raises.

        Args:
            stage: name and version of the stage, such as ``quantize/1``.
            inputs: anything :func:`codec.unstructure` takes; equal inputs must give equal results.
            kind: the type of the result.
            produce: makes the result.

        Raises:
            OutputError: the cache cannot be written.
        """
        folder = self._folder(stage, inputs)
        with writing_to(folder, _OTHER_CACHE):
            folder.parent.mkdir(parents=True, exist_ok=True)
        with self._locked(folder, stage):
            found = _read(folder, kind)
            if found is not None:
                return found
            shutil.rmtree(folder, ignore_errors=True)
            _sweep_stages(folder)
            with writing_to(folder, _OTHER_CACHE):
                stage_dir = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
            try:
                plain = codec.unstructure(produce(stage_dir))
                text = json.dumps(plain).replace(json.dumps(str(stage_dir))[1:-1], json.dumps(str(folder))[1:-1])
                write_atomic(stage_dir / VALUE, text)
                with writing_to(folder, _OTHER_CACHE):
                    stage_dir.rename(folder)
            finally:
                shutil.rmtree(stage_dir, ignore_errors=True)
            made = _read(folder, kind)
            if made is None:
                raise AssertionError(f"{stage} stored a result that does not read back: {folder}")
            return made

    @contextmanager
    def _locked(self, folder: Path, stage: str) -> Iterator[None]:
        """Hold an entry's lock, waiting in slices so that an interrupted stage need not wait for another process."""
        lock = lock_of(folder)
        started, told = time.monotonic(), False
        while not _acquired(lock, folder):
            process.give_up_if_ending()
            if not told and time.monotonic() - started >= _TELL_S:
                told = True
                self.emit(Event(subject=stage, phase="noted", message="waiting for another palmtop that makes it too"))
        try:
            yield
        finally:
            lock.release()


def lock_of(folder: Path) -> filelock.BaseFileLock:
    """Return the lock of a cached result, not yet taken."""
    import filelock  # brings asyncio along, which a runner on a device's clock has no use for

    return filelock.FileLock(f"{folder}.lock")


def _acquired(lock: filelock.BaseFileLock, folder: Path) -> bool:
    import filelock

    with writing_to(folder, _OTHER_CACHE):
        try:
            lock.acquire(timeout=_SLICE_S)
        except filelock.Timeout:
            return False
    return True


def _sweep_stages(folder: Path) -> None:
    """Remove what killed processes left half-made: of this entry, whose lock we hold, at once; of others by age."""
    for left in folder.parent.glob(".*.*"):
        key = left.name[1:].partition(".")[0]
        if key == folder.name:
            shutil.rmtree(left, ignore_errors=True)
            continue
        with suppress(OSError):  # its lock is held (a Timeout is one too): it is being made
            lock = lock_of(folder.parent / key)
            lock.acquire(timeout=0)
            try:
                sweep(folder.parent, left.name)
            finally:
                lock.release()


def _read(folder: Path, kind: type[T]) -> T | None:
    path = folder / VALUE
    if not path.is_file():
        return None
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if not all(_intact(blob, folder) for blob in _blobs(plain)):
            return None
        value = codec.structure(plain, kind, what=f"cached {path}")
    except (OSError, ValueError, SettingsError):
        return None  # damaged or of another version: it is made again
    with suppress(OSError):  # a cache that may only be read keeps no account of its use
        os.utime(path)
    return value


def _blobs(plain: Any) -> Iterator[dict[str, Any]]:
    if isinstance(plain, dict):
        if plain.keys() == {"path", "sha256", "size_bytes"}:
            yield plain
        for value in plain.values():
            yield from _blobs(value)
    elif isinstance(plain, list):
        for value in plain:
            yield from _blobs(value)


def _intact(blob: dict[str, Any], folder: Path) -> bool:
    path = Path(blob["path"])
    if folder not in path.parents:
        return path.exists()  # a parent's file, whose own entry answers for its content, or a moved cache's
    return path.exists() and sha256_of(path) == blob["sha256"]
