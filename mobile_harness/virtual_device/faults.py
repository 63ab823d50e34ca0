"""What can go wrong with a virtual device: typed, seeded, and written down when it does.

A *condition* holds from when it is added until it is removed (an unauthorized device, a slow link). A *moment* strikes
when its time comes (a service is opened, an app has said so many frames): ``skip`` spares the first times, ``chance``
is the share of the rest that is struck, and ``times`` bounds how often (None: always).
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.core.errors import SettingsError, unknown_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Base of all; ``chance`` of a condition is decided once, when it is added."""

    chance: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition(Fault):
    """Holds until it is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment(Fault):
    """Strikes. ``on`` is a regular expression searched in what is about to happen; empty fits everything."""

    times: int | None = 1
    skip: int = 0
    on: str = ""


# the way to the device ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Unauthorized(Condition):
    """The owner has not accepted the host's key: adb lists ``unauthorized``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline(Condition):
    """Accepts the connection and never answers it: adb lists ``offline``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowLink(Condition):
    """So many bytes a second, both ways together."""

    bytes_per_s: float = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Condition):
    """Every message of the host is looked at this much later."""

    seconds: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class DropMidPush(Moment):
    """The cable comes out after so many bytes of a file's content."""

    after_bytes: int = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop(Moment):
    """The cable comes out so long after a service was opened that ``on`` fits."""

    after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse(Moment):
    """The service that ``on`` fits is refused: adb says ``closed``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silent(Moment):
    """The service is accepted, then nothing is ever said: a device that is online with a dead shell."""

    on: str = "^(shell|exec)"
    times: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang(Moment):
    """The whole device stops reading when a service is opened that ``on`` fits, for so long, or until it reboots."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reboot(Moment):
    """Reboots instead of serving what ``on`` fits: processes and forwards are gone, files stay."""

    down_s: float = 0.5
    boot_s: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage(Moment):
    """The shell answers with bytes that are no packet."""

    on: str = "^shell,v2"


# storage and installation -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageFull(Condition):
    """Only so many bytes more fit on the device."""

    free_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallFails(Moment):
    """The package manager refuses with this ``INSTALL_…`` word; ``on`` is searched in the package's name."""

    reason: str = "INSTALL_FAILED_INTERNAL_ERROR"
    message: str = ""


# the app ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AppCrashes(Moment):
    """The bench app dies of a signal after so many frames; ``on`` is searched in its package's name."""

    after_frames: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfMemory(Moment):
    """The system kills the bench app for its memory after so many frames."""

    after_frames: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class AppHangs(Moment):
    """The bench app says nothing more after so many frames, and does not end."""

    after_frames: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptResult(Moment):
    """A byte of the result file, and of each later frame, is another when it is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncatedResult(Moment):
    """Only this share of the result file is left; its last line is cut."""

    keep: float = 0.6


# heat and power -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Hot(Condition):
    """The skin is this warm and the framework says this thermal status; with ``cools_s`` it cools down to normal."""

    skin_c: float = 47.0
    status: Literal[0, 1, 2, 3, 4, 5, 6] = 3
    cools_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LowBattery(Condition):
    """The battery's level in per cent, discharging."""

    level: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Charging(Condition):
    """The device hangs on a charger: on USB, or on the mains."""

    over: Literal["usb", "ac"] = "usb"


@dataclass(frozen=True, slots=True, kw_only=True)
class CappedClocks(Condition):
    """The system holds the processors' clocks at this share of their top, under this governor."""

    percent: int = 60
    governor: str = "schedutil"


def _kinds(base: type[Fault]) -> list[type[Fault]]:
    return [kind for sub in base.__subclasses__() for kind in (_kinds(sub) or [sub])]


def name_of(kind: type[Fault]) -> str:
    """Return the word of a kind of fault.

    >>> name_of(DropMidPush)
    'drop_mid_push'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


KINDS: dict[str, type[Fault]] = {name_of(kind): kind for kind in _kinds(Fault) if "__slots__" in vars(kind)}
"""A class with slots is made twice, and the first one of each is listed too: it has none."""


def parse(text: str) -> Fault:
    """Read a fault from words.

    >>> parse("app_crashes:after_frames=3,times=none")
    AppCrashes(chance=1.0, times=None, skip=0, on='', after_frames=3)

    Raises:
        SettingsError: the kind, a field or a value is unknown.
    """
    name, _, rest = text.partition(":")
    if name not in KINDS:
        raise unknown_name("fault", name, KINDS)
    kind = KINDS[name]
    hints = typing.get_type_hints(kind)
    fields = {field.name for field in dataclasses.fields(kind)}
    given: dict[str, Any] = {}
    for word in filter(None, rest.split(",")):
        key, _, value = word.partition("=")
        if key not in fields:
            raise unknown_name(f"field of {name}", key, fields)
        given[key] = _value(hints[key], value, f"{key} of the fault {name}")
    return kind(**given)


def planned(words: Sequence[str], count: int) -> dict[int | None, list[Fault]]:
    """Return the faults that words such as ``3/offline`` and ``hot`` name, by the device's number (None: all of them).

    Raises:
        SettingsError: one cannot be read, or is of a device that is none of the ``count``.
    """
    found: dict[int | None, list[Fault]] = {}
    for word in words:
        head, slash, rest = word.partition("/")
        numbered = slash != "" and re.fullmatch("[0-9]{1,6}", head) is not None
        number = int(head) if numbered else None
        if number is not None and number >= count:
            raise SettingsError(f"The fault {word!r} is of a device that does not start: they are 0 to {count - 1}.")
        found.setdefault(number, []).append(parse(rest if numbered else word))
    return found


def _value(hint: Any, text: str, what: str) -> Any:
    args = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        words = {str(choice): choice for choice in args}
        if text not in words:
            raise unknown_name(what, text, words)
        return words[text]
    if type(None) in args:
        if text == "none":
            return None
        hint = next(arg for arg in args if arg is not type(None))
    try:
        return hint(text)
    except ValueError as error:
        raise SettingsError(f"{text!r} is no value for the {what}.") from error


def mixture(rate: float) -> tuple[Fault, ...]:
    """Return faults of which about the share ``rate`` of bench runs suffers one."""
    share = rate / 5
    return (
        AppCrashes(chance=share, times=None),
        OutOfMemory(chance=share, times=None),
        CorruptResult(chance=share, times=None),
        TruncatedResult(chance=share, times=None),
        Drop(chance=share, times=None, on="am instrument"),
    )
