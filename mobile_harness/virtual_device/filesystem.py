"""A device's files: a private folder of the host that no path of the device leads out of.

Symbolic links are kept as links and followed here, component by component, with the folder as their root; the host's
own resolution is never asked. Rights are Android's in outline: the shell writes to ``/data/local/tmp`` and the shared
storage, an app to its own folder, nobody to the system.
"""

from __future__ import annotations

import errno
import io
import os
import posixpath
import shutil
import stat
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

LINKS_MAX: Final = 40
_NO_LINK: Final = (errno.EINVAL, errno.ENOENT, errno.ENOTDIR)
SHARED: Final = "/storage/emulated/0"
_READ_ONLY: Final = ("/system", "/vendor", "/product", "/proc", "/sys", "/dev", "/apex")
_LIVE: Final = ("/proc/", "/sys/")
_FOLDERS: Final = (
    "system/bin", "system/lib64", "vendor/bin", "product/bin", "proc", "sys", "dev", "apex",
    "data/local/tmp", "data/app", "data/data", "data/misc", "data/user", "storage/emulated/0/Download",
    "storage/emulated/0/Android/data",
)  # fmt: skip
_LINKS: Final = {"sdcard": SHARED, "bin": "/system/bin", "etc": "/system/etc", "data/user/0": "/data/data"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who acts: where it may write, and what is hidden from it unless it may write there."""

    name: str
    uid: int
    writable: tuple[str, ...]
    hidden: tuple[str, ...] = ("/data/data",)

    def may_write(self, path: str) -> bool:
        """Say whether it may change what is at an absolute path of the device."""
        return any(_is_under(path, place) for place in self.writable)

    def may_read(self, path: str) -> bool:
        """Say whether it may look at what is there."""
        return self.may_write(path) or not any(_is_under(path, place) for place in self.hidden)


SHELL: Final = Identity(name="shell", uid=2000, writable=("/data/local/tmp", SHARED))


def app_identity(package: str, uid: int) -> Identity:
    """Return who an installed app is."""
    own = (f"/data/data/{package}", f"{SHARED}/Android/data/{package}")
    return Identity(name=f"u0_a{uid - 10000}", uid=uid, writable=own)


def _is_under(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")


class _Endless(io.RawIOBase):
    """A file under /dev that has no end."""

    def __init__(self, more: Callable[[int], bytes]) -> None:
        self._more = more

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        room[:] = self._more(len(room))
        return len(room)


_NODES: Final[dict[str, Callable[[], BinaryIO]]] = {
    "/dev/null": io.BytesIO,
    "/dev/zero": lambda: cast("BinaryIO", _Endless(bytes)),
    "/dev/urandom": lambda: cast("BinaryIO", _Endless(os.urandom)),
    "/dev/random": lambda: cast("BinaryIO", _Endless(os.urandom)),
}


def _check_right(mode: int, bits: int) -> None:
    """Refuse what the permission bits give nobody: the host's root would be let in."""
    if not stat.S_IMODE(mode) & bits:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _check_kind(mode: int) -> None:
    """Refuse what is no file: opening a pipe that a native program made would stop the whole farm."""
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


class DeviceFiles:
    """The storage of a device; ``capacity`` bytes fit on it. ``live`` gives what is in files under /proc and /sys."""

    def __init__(self, root: Path, capacity: int) -> None:
        self.root = root
        self.base = os.fspath(root)
        self.capacity = capacity
        self.used = 0
        self.limit: Callable[[], int | None] = lambda: None
        """Asked for a bound of the free bytes that a fault sets."""
        self.live: Callable[[str], bytes | None] = lambda _: None
        for folder in _FOLDERS:
            (root / folder).mkdir(parents=True, exist_ok=True)
        for name, target in _LINKS.items():
            if not (root / name).is_symlink():
                (root / name).symlink_to(target)

    def free(self) -> int:
        """Return the bytes that still fit."""
        left = max(0, self.capacity - self.used)
        bound = self.limit()
        return left if bound is None else min(left, bound)

    def charge(self, size: int) -> None:
        """Account for bytes that are about to be written.

        Raises:
            OSError: ``ENOSPC``, they do not fit.
        """
        if size > self.free():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.used += size

    def release(self, size: int) -> None:
        """Account for bytes that are gone."""
        self.used = max(0, self.used - size)

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file of the system itself, past all rights."""
        host = self.host_path(path)
        host.parent.mkdir(parents=True, exist_ok=True)
        host.write_bytes(content)
        host.chmod(mode)

    def drop(self, path: str) -> None:
        """Remove a file or folder of the system itself, past all rights; nothing happens when there is none."""
        host = self.host_path(path, follow=False)
        if host.is_dir() and not host.is_symlink():
            self.release(sum(item.lstat().st_size for item in host.rglob("*") if not item.is_dir()))
            shutil.rmtree(host)
        elif host.exists() or host.is_symlink():
            self.release(host.lstat().st_size)
            host.unlink()

    def host_path(self, path: str, *, follow: bool = True) -> Path:
        """Return where on the host an absolute path of the device is."""
        return self.root.joinpath(*self._walk(path, follow=follow))

    def real(self, path: str, *, follow: bool = True) -> str:
        """Return an absolute path of the device without links, ``.`` and ``..`` (the last link too, if asked)."""
        return "/" + "/".join(self._walk(path, follow=follow))

    def _walk(self, path: str, *, follow: bool) -> list[str]:
        if "\0" in path:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        waiting = deque(path.split("/"))
        found: list[str] = []
        links = 0
        while waiting:
            part = waiting.popleft()
            if part in ("", "."):
                continue
            if part == "..":
                found = found[:-1]
                continue
            found.append(part)
            target = _link_target("/".join((self.base, *found))) if waiting or follow else None
            if target is None:
                continue
            links += 1
            if links > LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            found = [] if target.startswith("/") else found[:-1]
            waiting.extendleft(reversed(target.split("/")))
        return found


def _link_target(host: str) -> str | None:
    """Return what a link says, None where there is no link; one question to the system: every step of a path asks."""
    try:
        return os.readlink(host)  # noqa: PTH115  (a Path for every step made up half of a device's work)
    except OSError as error:
        if error.errno in _NO_LINK:
            return None
        raise
    except ValueError:
        return None  # no name that the host could have


class OpenFile:
    """A file of the device being written; its bytes are charged to the storage."""

    def __init__(self, files: DeviceFiles, file: BinaryIO) -> None:
        self._files = files
        self._file = file

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            OSError: they do not fit.
        """
        self._files.charge(len(data))
        self._file.write(data)

    def close(self) -> None:
        """Close it; safe to call twice."""
        self._file.close()


class _Discard(OpenFile):
    """``/dev/null``, being written."""

    def __init__(self) -> None:
        """Write nowhere."""

    def write(self, data: bytes) -> None:
        """Take them and forget them."""

    def close(self) -> None:
        """Nothing is open."""


class View:
    """The files as one process sees them: with its rights and its working folder. All paths are the device's."""

    def __init__(self, files: DeviceFiles, identity: Identity, folder: str = "/") -> None:
        self.files = files
        self.identity = identity
        self.folder = folder

    def copy(self) -> View:
        """Return a view of the same rights that changes folders on its own."""
        return View(self.files, self.identity, self.folder)

    def absolute(self, path: str) -> str:
        """Return a path from the root."""
        return posixpath.join(self.folder, path)

    def enter(self, path: str) -> None:
        """Change the working folder."""
        real = self.files.real(self.absolute(path))
        if not stat.S_ISDIR(self.stat(path).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        self.folder = real

    def stat(self, path: str, *, follow: bool = True) -> os.stat_result:
        """Return what the system knows of a file."""
        return self._readable(path, follow=follow).lstat()

    def exists(self, path: str) -> bool:
        """Say whether something is there that may be seen."""
        try:
            self._mode(path)
        except OSError:
            return False
        return True

    def is_folder(self, path: str) -> bool:
        """Say whether there is a folder."""
        try:
            return stat.S_ISDIR(self._mode(path))
        except OSError:
            return False

    def _mode(self, path: str) -> int:
        """Return kind and permission bits; what a live file holds is not written down for that."""
        real = self.files.real(self.absolute(path))
        self._check_read(real)
        if real.startswith(_LIVE) and self.files.live(real) is not None:
            return stat.S_IFREG | 0o444
        return os.lstat(f"{self.files.base}{real}").st_mode

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted."""
        with os.scandir(self._readable(path)) as found:
            return sorted(item.name for item in found)

    def read_link(self, path: str) -> str:
        """Return where a symbolic link points."""
        return str(self._readable(path, follow=False).readlink())

    def open_read(self, path: str) -> BinaryIO:
        """Open a file for reading; those of ``/dev/zero`` and ``/dev/urandom`` never end."""
        real = self.files.real(self.absolute(path))
        node = _NODES.get(real)
        if node is not None:
            return node()
        self._check_read(real)
        content = self.files.live(real) if real.startswith(_LIVE) else None
        if content is not None:
            return io.BytesIO(content)
        host = self.files.root.joinpath(real[1:])
        mode = host.lstat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _check_kind(mode)
        _check_right(mode, 0o444)
        return host.open("rb", buffering=0)

    def open_write(self, path: str, *, append: bool = False, mode: int = 0o644) -> OpenFile:
        """Open a file for writing, made if need be."""
        if self.files.real(self.absolute(path)) == "/dev/null":
            return _Discard()
        host = self._writable(path)
        old = 0
        if host.exists():
            found = host.lstat()
            _check_kind(found.st_mode)
            _check_right(found.st_mode, 0o222)
            old = found.st_size if stat.S_ISREG(found.st_mode) else 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_APPEND if append else os.O_TRUNC)
        handle = os.open(host, flags, mode | 0o600)
        if not append:
            self.files.release(old)
        return OpenFile(self.files, os.fdopen(handle, "wb", buffering=0))

    def make_folder(self, path: str, *, parents: bool = False) -> None:
        """Make a folder."""
        real = self.files.real(self.absolute(path))
        host = self.files.host_path(real)
        if parents and host.is_dir():
            return
        self._check_write(real)
        host.mkdir(mode=0o771, parents=parents, exist_ok=parents)

    def remove(self, path: str) -> None:
        """Remove a file or a link."""
        host = self._writable(path, follow=False)
        size = host.lstat().st_size
        host.unlink()
        self.files.release(size)

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""
        self._writable(path, follow=False).rmdir()

    def rename(self, old: str, new: str) -> None:
        """Give a file or folder another name, replacing a file that has it."""
        source, target = self._writable(old, follow=False), self._writable(new, follow=False)
        replaced = target.lstat().st_size if target.is_file() else 0
        source.replace(target)
        self.files.release(replaced)

    def set_mode(self, path: str, mode: int) -> None:
        """Change the permission bits; of a folder, what the host's user needs to manage it stays."""
        host = self._writable(path)
        host.chmod(mode & 0o777 | (0o700 if host.is_dir() else 0))

    def set_time(self, path: str, modified_s: int) -> None:
        """Set the time of the last change."""
        os.utime(self._writable(path), (modified_s, modified_s))

    def link(self, target: str, path: str) -> None:
        """Make a symbolic link that says ``target``."""
        self._writable(path, follow=False).symlink_to(target)

    def _readable(self, path: str, *, follow: bool = True) -> Path:
        real = self.files.real(self.absolute(path), follow=follow)
        self._check_read(real)
        host = self.files.root.joinpath(real[1:])
        if real.startswith(_LIVE) and (content := self.files.live(real)) is not None:
            self.files.put(real, content, 0o444)
        return host

    def _writable(self, path: str, *, follow: bool = True) -> Path:
        real = self.files.real(self.absolute(path), follow=follow)
        self._check_write(real)
        return self.files.root.joinpath(real[1:])

    def _check_read(self, real: str) -> None:
        if not self.identity.may_read(real):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def _check_write(self, real: str) -> None:
        if any(_is_under(real, place) for place in _READ_ONLY):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if not self.identity.may_write(real):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
