"""Commands on text: ``echo``, ``grep``, ``head``, ``tail``, ``wc`` and their kin."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

from mobile_harness.virtual_device.android import words
from mobile_harness.virtual_device.android.call import Call, Command, Trouble, describe
from mobile_harness.virtual_device.shell.plumbing import FileSource, Source, lines, read_all

SORT_MAX: Final = 64 << 20
HELD_MAX: Final = 100
"""Lines from files that are written together, as a command does whose output is no terminal."""


async def echo(call: Call) -> int:
    """Print words."""
    args = list(call.args)
    flags = ""
    while args and re.fullmatch(r"-[neE]+", args[0]):
        flags += args.pop(0)[1:]
    text = " ".join(args)
    if "e" in flags:
        text = _unescape(text)
    await call.say(text if "n" in flags else f"{text}\n")
    return 0


_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "0": "\0", "a": "\a", "b": "\b"}


def _unescape(text: str) -> str:
    return re.sub(r"\\([ntr\\0ab])", lambda found: _ESCAPES[found.group(1)], text)


async def printf(call: Call) -> int:
    """Print by a format with ``%s``, ``%d`` and ``%%``."""
    if not call.args:
        raise Trouble("Needs 1 argument")
    form, rest = _unescape(call.args[0]), list(call.args[1:])

    def put(found: re.Match[str]) -> str:
        if found.group() == "%%":
            return "%"
        value = rest.pop(0) if rest else ""
        return str(words.number(value or "0", "printf")) if found.group() == "%d" else value

    while True:
        left = len(rest)
        await call.say(re.sub(r"%[sd%]", put, form))
        if not rest or len(rest) == left:
            return 0


async def seq(call: Call) -> int:
    """Print numbers in order."""
    numbers = [words.number(word, "seq") for word in call.args]
    if not 1 <= len(numbers) <= 3:
        raise Trouble("Needs 1 to 3 arguments")
    first, step, last = {1: [1, 1, *numbers], 2: [numbers[0], 1, numbers[-1]], 3: numbers}[len(numbers)]
    if not step:
        raise Trouble("the step is 0")
    for value in range(first, last + (1 if step > 0 else -1), step):
        await call.say(f"{value}\n")
    return 0


def _source(call: Call, path: str) -> Source:
    return call.stdin if path == "-" else FileSource(call.view.open_read(path))


async def _readable_lines(call: Call, paths: tuple[str, ...], missed: list[str]) -> AsyncIterator[tuple[str, bytes]]:
    """Yield the lines of all files that can be read; what is wrong with the others is noted in ``missed``."""
    for path in paths or ("-",):
        try:
            async for item in _all_lines(call, (path,)):
                yield item
        except OSError as error:
            missed.append(describe(error, path))


async def _all_lines(call: Call, paths: tuple[str, ...]) -> AsyncIterator[tuple[str, bytes]]:
    for path in paths or ("-",):
        source = _source(call, path)
        try:
            async for line in lines(source):
                yield path, line
        finally:
            if isinstance(source, FileSource):
                source.close()


class _Held:
    """Output written many lines at a time."""

    def __init__(self, call: Call, most: int) -> None:
        self._call = call
        self._most = most
        self._lines: list[str] = []

    async def say(self, line: str) -> None:
        self._lines.append(line)
        if len(self._lines) >= self._most:
            await self.flush()

    async def flush(self) -> None:
        if self._lines:
            await self._call.say("".join(self._lines))
            self._lines.clear()


async def grep(call: Call) -> int:
    """Print the lines that fit a pattern; 1 when there is none, 2 when a file cannot be read."""
    given = words.read(call.args, "i v c q E F o n w l h H s", "e m A B C")
    patterns = [given.values["e"]] if "e" in given.values else list(given.rest[:1])
    paths = given.rest if "e" in given.values else given.rest[1:]
    if not patterns or set("ABCl") & (given.flags | set(given.values)):
        raise Trouble("these options are not supported by the virtual device")
    wanted = _pattern(patterns[0], given.flags)
    most = words.number(given.values["m"], "-m") if "m" in given.values else None
    count = 0
    number = 0
    missed: list[str] = []
    held = _Held(call, 1 if "-" in (paths or ("-",)) else HELD_MAX)
    async for path, line in _readable_lines(call, paths, missed):
        number += 1
        text = line.rstrip(b"\n").decode("utf-8", "surrogateescape")
        found = wanted.search(text)
        if bool(found) == ("v" in given.flags):
            continue
        count += 1
        if "q" in given.flags:
            return 0
        if "c" not in given.flags:
            shown = found.group() if found and "o" in given.flags else text
            head = f"{path}:" if (len(paths) > 1 or "H" in given.flags) and "h" not in given.flags else ""
            await held.say(f"{head}{f'{number}:' if 'n' in given.flags else ''}{shown}\n")
        if count == most:
            break
    await held.flush()
    if "c" in given.flags:
        await call.say(f"{count}\n")
    for reason in () if "s" in given.flags else missed:
        await call.complain(reason)
    return 2 if missed else int(not count)


def _pattern(text: str, flags: frozenset[str]) -> re.Pattern[str]:
    if "F" in flags:
        text = re.escape(text)
    elif "E" not in flags:  # in a basic expression these are characters, and with a backslash operators
        text = re.sub(r"\\([+?|(){}])|([+?|(){}])", lambda f: f.group(1) or f"\\{f.group(2)}", text)
    if "w" in flags:
        text = rf"\b(?:{text})\b"
    try:
        return re.compile(text, re.IGNORECASE if "i" in flags else 0)
    except re.error as error:
        raise Trouble(f"bad regex '{text}': {error}", 2) from error


async def head(call: Call) -> int:
    """Print the first lines, or bytes with ``-c``."""
    given = words.read(_dash_number(call.args), "q", "n c")
    if "c" in given.values:
        return await _head_bytes(call, given)
    left = words.number(given.values.get("n", "10"), "-n")
    async for _, line in _all_lines(call, given.rest):
        if left <= 0:
            return 0
        await call.stdout.write(line)
        left -= 1
    return 0


async def _head_bytes(call: Call, given: words.Words) -> int:
    left = words.number(given.values["c"], "-c")
    source = _source(call, given.rest[0] if given.rest else "-")
    while left > 0 and (data := await source.read()):
        await call.stdout.write(data[:left])
        left -= len(data)
    return 0


async def tail(call: Call) -> int:
    """Print the last lines, or bytes with ``-c``."""
    given = words.read(_dash_number(call.args), "q", "n c")
    if "c" in given.values:
        data = await read_all(_source(call, given.rest[0] if given.rest else "-"), SORT_MAX)
        await call.stdout.write(data[-max(words.number(given.values["c"], "-c"), 0) :])
        return 0
    count = given.values.get("n", "10")
    if count.startswith("+"):
        skip = words.number(count[1:], "-n") - 1
        async for _, line in _all_lines(call, given.rest):
            skip -= 1
            if skip < 0:
                await call.stdout.write(line)
        return 0
    last: deque[bytes] = deque(maxlen=max(words.number(count, "-n"), 0))
    async for _, line in _all_lines(call, given.rest):
        last.append(line)
    await call.stdout.write(b"".join(last))
    return 0


def _dash_number(args: list[str]) -> list[str]:
    return ["-n" + word[1:] if re.fullmatch(r"-\d+", word) else word for word in args]


async def wc(call: Call) -> int:
    """Count lines, words and bytes."""
    given = words.read(call.args, "l w c m")
    rows, blanks, size = 0, 0, 0
    async for _, line in _all_lines(call, given.rest):
        rows += line.endswith(b"\n")
        blanks += len(line.split())
        size += len(line)
    numbers = {"l": rows, "w": blanks, "c": size}
    shown = [str(value) for key, value in numbers.items() if not given.flags or key in given.flags]
    await call.say(" ".join([*shown, *given.rest]) + "\n")
    return 0


async def sort(call: Call) -> int:
    """Print lines in order."""
    given = words.read(call.args, "r n u")
    found = [line if line.endswith(b"\n") else line + b"\n" async for _, line in _all_lines(call, given.rest)]
    if "u" in given.flags:
        found = list(set(found))

    def by_number(line: bytes) -> tuple[float, bytes]:
        start = re.match(rb"\s*-?\d+", line)
        return (float(start.group()) if start else 0.0, line)

    found.sort(key=by_number if "n" in given.flags else None, reverse="r" in given.flags)
    await call.stdout.write(b"".join(found))
    return 0


async def tee(call: Call) -> int:
    """Copy the input to the output and into files."""
    given = words.read(call.args, "a")
    files = [call.view.open_write(path, append="a" in given.flags) for path in given.rest]
    try:
        while data := await call.stdin.read():
            for file in files:
                file.write(data)
            await call.stdout.write(data)
    finally:
        for file in files:
            file.close()
    return 0


async def cut(call: Call) -> int:
    """Print fields of lines."""
    given = words.read(call.args, "", "d f")
    wanted = [words.number(word, "-f") for word in given.values.get("f", "").split(",") if word]
    if not wanted:
        raise Trouble("only -d and -f with plain numbers are supported by the virtual device")
    mark = given.values.get("d", "\t").encode()
    async for _, line in _all_lines(call, given.rest):
        fields = line.rstrip(b"\n").split(mark)
        await call.stdout.write(mark.join(fields[n - 1] for n in wanted if 0 < n <= len(fields)) + b"\n")
    return 0


async def tr(call: Call) -> int:
    """Replace or delete (``-d``) characters, one for one."""
    given = words.read(call.args, "d")
    sets = [_unescape(word).encode() for word in given.rest]
    if len(sets) != (1 if "d" in given.flags else 2):
        raise Trouble("Needs two sets, or -d and one")
    table = None if "d" in given.flags else bytes.maketrans(sets[0], sets[1].ljust(len(sets[0]), sets[1][-1:]))
    while data := await call.stdin.read():
        await call.stdout.write(data.translate(table, sets[0] if "d" in given.flags else b""))
    return 0


COMMANDS: Final[dict[str, Command]] = {
    "echo": echo, "printf": printf, "seq": seq, "grep": grep, "head": head, "tail": tail, "wc": wc, "sort": sort,
    "tee": tee, "cut": cut, "tr": tr,
}  # fmt: skip
