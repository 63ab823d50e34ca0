"""What only the shell itself can do: change its folder, its variables, its loops, its end."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from mobile_harness.virtual_device.android.call import describe
from mobile_harness.virtual_device.shell.plumbing import read_line

if TYPE_CHECKING:
    from mobile_harness.virtual_device.shell.interpreter import Shell
    from mobile_harness.virtual_device.shell.redirection import Streams

Builtin = Callable[["Shell", list[str], "Streams"], Awaitable[int]]
_ASSIGNMENT: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:=(.*))?", re.DOTALL)


class Leave(Exception):
    """The shell ends."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


class LoopControl(Exception):
    """``break`` (``ends``) or ``continue``."""

    def __init__(self, *, ends: bool) -> None:
        super().__init__()
        self.ends = ends


async def _complain(streams: Streams, text: str) -> int:
    await streams.stderr.write(f"/system/bin/sh: {text}\n".encode("utf-8", "surrogateescape"))
    return 2


async def _cd(shell: Shell, words: list[str], streams: Streams) -> int:
    place = words[1] if len(words) > 1 else shell.environment.get("HOME", "/")
    try:
        shell.view.enter(place)
    except OSError as error:
        return await _complain(streams, f"cd: {place}: {describe(error)}")
    return 0


async def _export(shell: Shell, words: list[str], streams: Streams) -> int:
    for word in words[1:]:
        found = _ASSIGNMENT.fullmatch(word)
        if found is None:
            return await _complain(streams, f"export: {word}: is not an identifier")
        if found.group(2) is not None:
            shell.environment[found.group(1)] = found.group(2)
    return 0


async def _unset(shell: Shell, words: list[str], streams: Streams) -> int:
    for word in words[1:]:
        shell.environment.pop(word, None)
    return 0


async def _exit(shell: Shell, words: list[str], streams: Streams) -> int:
    code = words[1] if len(words) > 1 else str(shell.status)
    if not re.fullmatch(r"-?\d{1,9}", code):
        raise Leave(await _complain(streams, f"exit: {code}: bad number"))
    raise Leave(int(code) & 255)


async def _exec(shell: Shell, words: list[str], streams: Streams) -> int:
    if len(words) == 1:
        return 0
    raise Leave(await shell.run_words_here(words[1:], streams))


async def _break(shell: Shell, words: list[str], streams: Streams) -> int:
    raise LoopControl(ends=words[0] == "break")


async def _wait(shell: Shell, words: list[str], streams: Streams) -> int:
    await asyncio.gather(*shell.jobs, return_exceptions=True)
    return 0


async def _set(shell: Shell, words: list[str], streams: Streams) -> int:
    if words[1:2] == ["--"]:
        shell.parameters[1:] = words[2:]
        return 0
    return await _complain(streams, f"set: {' '.join(words[1:])}: not supported by the virtual device")


async def _shift(shell: Shell, words: list[str], streams: Streams) -> int:
    count = words[1] if len(words) > 1 else "1"
    if not re.fullmatch(r"\d{1,9}", count) or int(count) >= len(shell.parameters):
        return await _complain(streams, f"shift: {count}: nothing to shift")
    del shell.parameters[1 : 1 + int(count)]
    return 0


async def _colon(shell: Shell, words: list[str], streams: Streams) -> int:
    return 0


async def _trap(shell: Shell, words: list[str], streams: Streams) -> int:
    """Note what to do at a signal to this shell, or at its end (0). Shells within it keep none."""
    if len(words) < 3:
        return await _complain(streams, "trap: needs an action and signals") if len(words) == 2 else 0
    for word in words[2:]:
        number = 0 if word in ("EXIT", "0") else signal_number(word)
        if number is None:
            return await _complain(streams, f"trap: bad signal '{word}'")
        if words[1] == "-":
            shell.traps.pop(number, None)
        else:
            shell.traps[number] = words[1]
    return 0


def signal_number(word: str) -> int | None:
    """Return the number of a signal by its number or name, with or without ``SIG``; None for none."""
    if word.isascii() and word.isdigit():
        return int(word) if int(word) in {item.value for item in signal.Signals} else None
    found = signal.Signals.__members__.get(f"SIG{word.upper().removeprefix('SIG')}")
    return None if found is None else found.value


async def _read(shell: Shell, words: list[str], streams: Streams) -> int:
    """Read a line into variables: a word each, and the rest into the last."""
    names = [word for word in words[1:] if word != "-r"] or ["REPLY"]
    wrong = [name for name in names if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)]
    if wrong:
        return await _complain(streams, f"read: {wrong[0]}: is not an identifier")
    line = await read_line(streams.stdin)
    fields = (line or b"").decode("utf-8", "surrogateescape").strip(" \t").split(None, len(names) - 1)
    shell.environment.update(zip(names, [*fields, *[""] * len(names)], strict=False))
    return int(line is None)


async def _umask(shell: Shell, words: list[str], streams: Streams) -> int:
    if len(words) == 1:
        await streams.stdout.write(b"0022\n")
    return 0


BUILTINS: Final[dict[str, Builtin]] = {
    ":": _colon,
    "cd": _cd,
    "export": _export,
    "unset": _unset,
    "exit": _exit,
    "return": _exit,
    "exec": _exec,
    "break": _break,
    "continue": _break,
    "wait": _wait,
    "set": _set,
    "shift": _shift,
    "trap": _trap,
    "read": _read,
    "umask": _umask,
}
