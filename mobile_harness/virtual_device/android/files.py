"""Commands on files, in toybox's words: ``ls``, ``cat``, ``rm``, ``cp``, ``sha256sum``, ``df`` and the like."""

from __future__ import annotations

import asyncio
import datetime as dt
import fnmatch
import hashlib
import os
import stat
from collections.abc import Callable
from typing import Final

from mobile_harness.virtual_device.android import words
from mobile_harness.virtual_device.android.call import Call, Command, Trouble, describe
from mobile_harness.virtual_device.filesystem import View
from mobile_harness.virtual_device.shell.plumbing import CHUNK, FileSource, Source


async def cat(call: Call) -> int:
    """Print files, or the input."""
    code = 0
    for path in call.args or ["-"]:
        try:
            await _copy_out(call, call.stdin if path == "-" else FileSource(call.view.open_read(path)))
        except OSError as error:
            if isinstance(error, ConnectionError):
                raise
            await call.complain(describe(error, path))
            code = 1
    return code


async def _copy_out(call: Call, source: Source) -> None:
    try:
        while data := await source.read():
            await call.stdout.write(data)
    finally:
        if isinstance(source, FileSource):
            source.close()


async def ls(call: Call) -> int:
    """List files: one a line, in columns on a terminal, or long."""
    given = words.read(call.args, "l a A d 1 h n Z R i s t")
    code = 0
    folders: list[str] = []
    found: list[str] = []
    for path in given.rest or ["."]:
        try:
            info = call.view.stat(path, follow="l" not in given.flags)
        except OSError as error:
            await call.complain(describe(error, path))
            code = 1
            continue
        shown = found if "d" in given.flags or not stat.S_ISDIR(info.st_mode) else folders
        shown.append(path)
    await _list(call, found, given, "")
    for path in folders:
        if len(given.rest) > 1:
            await call.say(f"{path}:\n")
        names = [name for name in call.view.names(path) if given.flags & {"a", "A"} or not name.startswith(".")]
        if "a" in given.flags:
            names = [".", "..", *names]
        if "l" in given.flags:
            await call.say(f"total {sum(_blocks(call.view, f'{path}/{name}') for name in names)}\n")
        await _list(call, names, given, f"{path}/")
    return code


async def _list(call: Call, names: list[str], given: words.Words, folder: str) -> None:
    if not names:
        return
    if "l" in given.flags:
        for name in names:
            await call.say(long_line(call.view, folder + name, name))
        return
    columns = call.stdout.is_terminal and "1" not in given.flags
    await call.say(("  " if columns else "\n").join(names) + "\n")


def _blocks(view: View, path: str) -> int:
    return (view.stat(path, follow=False).st_size + 511) // 512


def long_line(view: View, path: str, name: str) -> str:
    """Return a line of ``ls -l``."""
    info = view.stat(path, follow=False)
    owner = owner_of(view, path)
    when = dt.datetime.fromtimestamp(info.st_mtime, dt.UTC).strftime("%Y-%m-%d %H:%M")
    arrow = f" -> {view.read_link(path)}" if stat.S_ISLNK(info.st_mode) else ""
    mode = stat.filemode(info.st_mode)
    return f"{mode} {info.st_nlink} {owner} {owner} {info.st_size} {when} {name}{arrow}\n"


def owner_of(view: View, path: str) -> str:
    """Return whose a file is; the host's owners mean nothing here."""
    real = view.files.real(view.absolute(path), follow=False)
    if real.startswith(("/data/local/tmp", "/storage")):
        return "shell"
    return view.identity.name if real.startswith("/data/data") else "root"


async def rm(call: Call) -> int:
    """Remove files, and folders with ``-r``."""
    given = words.read(call.args, "r f R i v")
    code = 0
    for path in given.rest:
        try:
            remove_tree(call.view, path, recursive=bool(given.flags & {"r", "R"}))
        except FileNotFoundError as error:
            if "f" not in given.flags:
                await call.complain(describe(error, path))
                code = 1
        except OSError as error:
            await call.complain(describe(error, path))
            code = 1
    return code


def remove_tree(view: View, path: str, *, recursive: bool) -> None:
    """Remove a file, or a folder with all in it."""
    info = view.stat(path, follow=False)
    if not stat.S_ISDIR(info.st_mode):
        view.remove(path)
        return
    if not recursive:
        raise IsADirectoryError(21, os.strerror(21))
    for name in view.names(path):
        remove_tree(view, f"{path}/{name}", recursive=True)
    view.remove_folder(path)


async def rmdir(call: Call) -> int:
    """Remove empty folders."""
    return await _each(call, words.read(call.args, "p").rest, call.view.remove_folder)


async def mkdir(call: Call) -> int:
    """Make folders."""
    given = words.read(call.args, "p v", "m")
    return await _each(call, given.rest, lambda path: call.view.make_folder(path, parents="p" in given.flags))


async def touch(call: Call) -> int:
    """Make files that are not there, unless told not to, and set the time of the others and of folders."""
    given = words.read(call.args, "c")

    def one(path: str) -> None:
        if not call.view.exists(path) and "c" not in given.flags:
            call.view.open_write(path, append=True).close()
        if call.view.exists(path):
            call.view.set_time(path, int(call.system.clock.utc().timestamp()))

    return await _each(call, given.rest, one)


async def chmod(call: Call) -> int:
    """Change permission bits: octal, or ``+x`` and the like."""
    given = words.read([word for word in call.args if word != "-R"], "")
    if len(given.rest) < 2:
        raise Trouble("Needs 2 arguments")
    wanted, *paths = given.rest
    return await _each(call, paths, lambda path: call.view.set_mode(path, _mode(call.view, path, wanted)))


_BITS: Final = {"r": 0o444, "w": 0o222, "x": 0o111}
_WHO: Final = {"u": 0o700, "g": 0o070, "o": 0o007, "a": 0o777}


def _mode(view: View, path: str, wanted: str) -> int:
    if wanted.isdigit():
        try:
            return int(wanted, 8)
        except ValueError as error:
            raise Trouble(f"bad mode '{wanted}'") from error
    who, operator, what = wanted, "", ""
    for sign in "+-=":
        if sign in wanted:
            who, operator, what = wanted.partition(sign)
    if not operator or set(who) - set(_WHO) or set(what) - set(_BITS):
        raise Trouble(f"bad mode '{wanted}'")
    mask = sum(_WHO[letter] for letter in set(who)) if who and "a" not in who else 0o777
    bits = sum(_BITS[letter] for letter in set(what)) & mask
    now = stat.S_IMODE(view.stat(path).st_mode)
    return now | bits if operator == "+" else now & ~bits if operator == "-" else now & ~mask | bits


async def mv(call: Call) -> int:
    """Rename files."""
    given = words.read(call.args, "f n v")
    sources, target = _sources(call.view, given.rest)
    return await _each(call, sources, lambda path: call.view.rename(path, _inside(call.view, path, target)))


async def cp(call: Call) -> int:
    """Copy files, and folders with ``-r``."""
    given = words.read(call.args, "r R f p a")
    sources, target = _sources(call.view, given.rest)
    code = 0
    for path in sources:
        try:
            await _copy(call.view, path, _inside(call.view, path, target), bool(given.flags & {"r", "R", "a"}))
        except OSError as error:
            await call.complain(describe(error, path))
            code = 1
    return code


def _sources(view: View, rest: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    if len(rest) < 2:
        raise Trouble("Needs 2 arguments")
    if len(rest) > 2 and not view.is_folder(rest[-1]):
        raise Trouble(f"'{rest[-1]}' not directory")
    return rest[:-1], rest[-1]


def _inside(view: View, path: str, target: str) -> str:
    return f"{target}/{path.rstrip('/').rpartition('/')[2]}" if view.is_folder(target) else target


async def _copy(view: View, source: str, target: str, recursive: bool) -> None:
    if view.is_folder(source):
        if not recursive:
            raise IsADirectoryError(21, os.strerror(21))
        view.make_folder(target, parents=True)
        for name in view.names(source):
            await _copy(view, f"{source}/{name}", f"{target}/{name}", recursive)
        return
    mode = stat.S_IMODE(view.stat(source).st_mode)
    with view.open_read(source) as file:
        out = view.open_write(target, mode=mode)
        try:
            while data := file.read(CHUNK):
                out.write(data)
                await asyncio.sleep(0)
        finally:
            out.close()


async def ln(call: Call) -> int:
    """Make symbolic links."""
    given = words.read(call.args, "s f n")
    if "s" not in given.flags or len(given.rest) != 2:
        raise Trouble("only -s TARGET NAME is supported by the virtual device")
    if "f" in given.flags and call.view.exists(given.rest[1]):
        call.view.remove(given.rest[1])
    call.view.link(*given.rest)
    return 0


async def readlink(call: Call) -> int:
    """Print where links point."""
    given = words.read(call.args, "f n e m")
    for path in given.rest:
        real = bool(given.flags & {"f", "e", "m"})
        await call.say((call.view.files.real(call.view.absolute(path)) if real else call.view.read_link(path)) + "\n")
    return 0


async def digest(call: Call) -> int:
    """Print the checksums of files: the command's name says of what kind."""
    given = words.read(call.args, "b")
    code = 0
    for path in given.rest or ("-",):
        source: Source = call.stdin
        try:
            source = source if path == "-" else FileSource(call.view.open_read(path))
        except OSError as error:
            await call.complain(describe(error, path))
            code = 1
            continue
        found = await _hash(source, call.name.removesuffix("sum"))
        await call.say(f"{found}\n" if "b" in given.flags else f"{found}  {path}\n")
    return code


async def _hash(source: Source, kind: str) -> str:
    state = hashlib.new(kind, usedforsecurity=False)
    while data := await source.read():
        state.update(data)
        await asyncio.sleep(0)
    if isinstance(source, FileSource):
        source.close()
    return state.hexdigest()


async def stat_command(call: Call) -> int:
    """Print what is known of files; with ``-c`` the fields that harnesses ask for."""
    given = words.read(call.args, "L", "c")
    code = 0
    for path in given.rest:
        try:
            info = call.view.stat(path, follow="L" in given.flags)
        except OSError as error:
            await call.complain(describe(error, path))
            code = 1
            continue
        await call.say(_formatted(given.values.get("c", _STAT), path, info) + "\n")
    return code


_STAT: Final = "  File: %n\n  Size: %s\t Mode: (%a/%A)\nModify: %Y"


def _formatted(form: str, path: str, info: os.stat_result) -> str:
    fields = {
        "%n": path, "%s": str(info.st_size), "%a": f"{stat.S_IMODE(info.st_mode):o}",
        "%A": stat.filemode(info.st_mode), "%Y": str(int(info.st_mtime)), "%F": _kind(info.st_mode), "%%": "%",
    }  # fmt: skip
    pieces = []
    at = 0
    while at < len(form):
        pair = form[at : at + 2]
        pieces.append(fields.get(pair, form[at]))
        at += 2 if pair in fields else 1
    return "".join(pieces)


def _kind(mode: int) -> str:
    return "directory" if stat.S_ISDIR(mode) else "symbolic link" if stat.S_ISLNK(mode) else "regular file"


async def df(call: Call) -> int:
    """Print how much room there is."""
    words.read(call.args, "h k H i")
    files = call.system.files
    total, free = files.capacity // 1024, files.free() // 1024
    share = round(100 * (total - free) / total)
    await call.say("Filesystem     1K-blocks    Used Available Use% Mounted on\n")
    await call.say(f"/dev/virtual {total:>11} {total - free:>7} {free:>9} {share:>3}% /data\n")
    return 0


async def du(call: Call) -> int:
    """Print the sizes of files and folders in kilobytes."""
    given = words.read(call.args, "s k h a")
    for path in given.rest or (".",):
        await call.say(f"{(_size(call.view, path) + 1023) // 1024}\t{path}\n")
    return 0


def _size(view: View, path: str) -> int:
    info = view.stat(path, follow=False)
    if not stat.S_ISDIR(info.st_mode):
        return info.st_size
    return sum(_size(view, f"{path}/{name}") for name in view.names(path))


async def find(call: Call) -> int:
    """Print the paths under folders; ``-type`` and ``-name`` choose."""
    paths: list[str] = []
    rest = list(call.args)
    while rest and not rest[0].startswith("-"):
        paths.append(rest.pop(0))
    tests = dict(zip(rest[::2], rest[1::2], strict=False))
    if set(tests) - {"-type", "-name"} or len(rest) % 2:
        raise Trouble("only -type and -name are supported by the virtual device")
    for path in paths or ["."]:
        for name, mode in _walk(call.view, path):
            kind = "d" if stat.S_ISDIR(mode) else "l" if stat.S_ISLNK(mode) else "f"
            base = name.rpartition("/")[2]
            if tests.get("-type", kind) == kind and fnmatch.fnmatchcase(base, tests.get("-name", "*")):
                await call.say(name + "\n")
    return 0


def _walk(view: View, path: str) -> list[tuple[str, int]]:
    mode = view.stat(path, follow=False).st_mode
    found = [(path, mode)]
    if stat.S_ISDIR(mode):
        for name in view.names(path):
            found += _walk(view, f"{path.rstrip('/')}/{name}")
    return found


async def _each(call: Call, paths: tuple[str, ...] | list[str], work: Callable[[str], None]) -> int:
    code = 0
    if not paths:
        raise Trouble("Needs 1 argument")
    for path in paths:
        try:
            work(path)
        except OSError as error:
            await call.complain(f"'{path}': {describe(error)}")
            code = 1
    return code


async def pwd(call: Call) -> int:
    """Print the working folder."""
    await call.say(call.view.folder + "\n")
    return 0


COMMANDS: Final[dict[str, Command]] = {
    "cat": cat, "ls": ls, "rm": rm, "rmdir": rmdir, "mkdir": mkdir, "touch": touch, "chmod": chmod, "mv": mv,
    "cp": cp, "ln": ln, "readlink": readlink, "sha256sum": digest, "sha1sum": digest, "md5sum": digest,
    "stat": stat_command, "df": df, "du": du, "find": find, "pwd": pwd,
}  # fmt: skip
