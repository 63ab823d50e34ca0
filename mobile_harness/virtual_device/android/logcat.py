"""``logcat``: shows, follows and clears the device's log."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Final

from mobile_harness.virtual_device.android import words
from mobile_harness.virtual_device.android.call import Call, Command, Trouble
from mobile_harness.virtual_device.android.logs import LEVELS, Entry

_BUFFERS: Final = ("main", "system", "crash", "events", "radio")
_DEFAULT: Final = ("main", "system", "crash")
_FORMATS: Final = ("threadtime", "brief", "time", "raw", "tag", "process", "long")
_MODIFIERS: Final = ("epoch", "UTC", "usec", "year", "zone", "printable", "uid", "monotonic")


async def logcat(call: Call) -> int:
    """Print the log, and go on unless ``-d`` or ``-t``."""
    long = "--clear --dump --statistics --buffer-size --wrap"
    given = words.read(call.args, f"d c s g S L {long}", "T t b v G P e m --pid --buffer --format --regex --tail")
    buffers = _buffers(given)
    if given.flags & {"c", "--clear"}:
        call.system.logs.clear(frozenset(buffers))
        return 0
    if given.flags & {"g", "--buffer-size"} or "G" in given.values or "P" in given.values:
        return await _sizes(call, given, buffers)
    fits = _filter(given, buffers)
    show = _format(given)
    number = await _show_past(call, given, fits, show)
    if given.flags & {"d", "--dump"} or "t" in given.values:
        return 0
    while True:
        for entry in call.system.logs.since(number):
            number = entry.number
            if fits(entry):
                await call.say(show(entry))
        if not call.system.logs.since(number):
            await call.system.logs.wait()


async def _show_past(
    call: Call, given: words.Words, fits: Callable[[Entry], bool], show: Callable[[Entry], str]
) -> int:
    past = call.system.logs.since(0)
    found = [entry for entry in past if fits(entry)]
    tail = given.values.get("T", given.values.get("t", given.values.get("--tail")))
    if tail is not None and tail.isdigit():
        found = found[-int(tail) :] if int(tail) else []
    elif tail is not None:
        start = _time(tail)
        found = [entry for entry in found if entry.at >= start]
    seen: set[str] = set()
    for entry in found:
        if entry.buffer not in seen:
            seen.add(entry.buffer)
            await call.say(f"--------- beginning of {entry.buffer}\n")
        await call.say(show(entry))
    return past[-1].number if past else 0


async def _sizes(call: Call, given: words.Words, buffers: tuple[str, ...]) -> int:
    if not {"G", "P"} & set(given.values):
        for name in buffers:
            await call.say(
                f"{name}: ring buffer is 256 KiB (0 B consumed), max entry is 5120 B, max payload is 4068 B\n"
            )
    return 0


def _buffers(given: words.Words) -> tuple[str, ...]:
    named = given.values.get("b", given.values.get("--buffer"))
    if named is None or named == "default":
        return _DEFAULT
    if named == "all":
        return _BUFFERS
    found = tuple(named.split(","))
    for name in found:
        if name not in _BUFFERS:
            raise Trouble(f"Unknown buffer '{name}'")
    return found


def _filter(given: words.Words, buffers: tuple[str, ...]) -> Callable[[Entry], bool]:
    levels: dict[str, str] = {"*": "S"} if "s" in given.flags else {}
    for spec in given.rest:
        tag, _, level = spec.partition(":")
        level = (level or "V").upper()
        if level not in (*LEVELS, "S"):
            raise Trouble(f"Invalid filter expression '{spec}'")
        levels[tag] = level
    pid = words.number(given.values["--pid"], "--pid") if "--pid" in given.values else None
    text = given.values.get("e", given.values.get("--regex"))
    try:
        wanted = re.compile(text or "")
    except re.error as error:
        raise Trouble(f"bad regex '{text}'") from error
    order = LEVELS + "S"

    def fits(entry: Entry) -> bool:
        least = levels.get(entry.tag, levels.get("*", "V"))
        return (
            entry.buffer in buffers
            and pid in (None, entry.pid)
            and order.index(entry.level) >= order.index(least)
            and wanted.search(entry.message) is not None
        )

    return fits


def _format(given: words.Words) -> Callable[[Entry], str]:
    form, epoch = "threadtime", False
    for word in given.values.get("v", given.values.get("--format", "")).replace(" ", ",").split(","):
        if word in _FORMATS:
            form = word
        elif word == "epoch":
            epoch = True
        elif word and word not in _MODIFIERS:
            raise Trouble(f"Invalid parameter '{word}' to -v")

    def show(entry: Entry) -> str:
        when = (
            f"{entry.at.timestamp():.3f}" if epoch else f"{entry.at:%m-%d %H:%M:%S}.{entry.at.microsecond // 1000:03d}"
        )
        head = {
            "threadtime": f"{when} {entry.pid:>5} {entry.pid:>5} {entry.level} {entry.tag:<8}: ",
            "time": f"{when} {entry.level}/{entry.tag:<8}({entry.pid:>5}): ",
            "brief": f"{entry.level}/{entry.tag:<8}({entry.pid:>5}): ",
            "tag": f"{entry.level}/{entry.tag:<8}: ",
            "process": f"{entry.level}({entry.pid:>5}) ",
            "long": f"[ {when} {entry.pid:>5}:{entry.pid:>5} {entry.level}/{entry.tag:<8} ]\n",
            "raw": "",
        }[form]
        return f"{head}{entry.message}\n" + ("\n" if form == "long" else "")

    return show


def _time(text: str) -> dt.datetime:
    now = dt.datetime.now(dt.UTC)
    try:
        return dt.datetime.fromtimestamp(float(text), dt.UTC)
    except ValueError:
        pass  # not seconds: it may be a date
    for form in ("%Y-%m-%d %H:%M:%S.%f", "%Y %m-%d %H:%M:%S.%f"):
        full = text if form.startswith("%Y-") else f"{now.year} {text}"
        try:
            return dt.datetime.strptime(full, form).replace(tzinfo=dt.UTC)
        except ValueError:
            continue
    raise Trouble(f"-T '{text}' not in '%m-%d %H:%M:%S.%q' time format")


async def log(call: Call) -> int:
    """Write to the log."""
    given = words.read(call.args, "", "p t b")
    level = given.values.get("p", "i").upper()
    call.system.logs.add(
        level if level in LEVELS else "I", given.values.get("t", "log"), " ".join(given.rest), pid=call.pid
    )
    return 0


COMMANDS: Final[dict[str, Command]] = {"logcat": logcat, "log": log}
