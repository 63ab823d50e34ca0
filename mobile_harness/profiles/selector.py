"""Choosing devices by what they are: ``soc=SM8650``, ``ram>=6000,api>=31``, ``kind=phone,abi=arm64-v8a``. Pure.

A selector is terms with commas between them, all of which must hold. A word alone is the name of a profile. What a
device does not tell is never held to be so: a term on it does not hold, whatever its sign.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

from mobile_harness.profiles import Matched, version
from mobile_harness.records import DeviceInfo
from toolkit.core.errors import SettingsError, unknown_name

Sign = Literal["=", "!=", ">=", "<=", ">", "<"]

TEXT_KEYS = ("abi", "kind", "model", "platform", "profile", "soc")
NUMBER_KEYS = ("api", "os", "ram")
KINDS = ("phone", "emulator", "simulator", "virtual", "host")
PLATFORMS = ("android", "ios", "linux", "macos", "windows")
ABIS = ("arm64-v8a", "armeabi-v7a", "x86_64", "x86", "riscv64", "arm64")

API_BY_RELEASE = {
    "5": 21, "5.0": 21, "5.1": 22, "6": 23, "6.0": 23, "7": 24, "7.0": 24, "7.1": 25, "8": 26, "8.0": 26, "8.1": 27,
    "9": 28, "10": 29, "11": 30, "12": 31, "12.1": 32, "12L": 32, "13": 33, "14": 34, "15": 35, "16": 36, "17": 37,
}  # fmt: skip
"""API level of an Android release; "Codenames, tags, and build numbers" of the Android Open Source Project."""

_COMPARE: dict[Sign, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_TERM = re.compile(r"\s*([A-Za-z_]+)\s*(!=|>=|<=|=|>|<)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One condition. ``value`` of a text key may hold ``*`` and ``?``; case does not count."""

    key: str
    sign: Sign
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Conditions that must all hold."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return ",".join(f"{term.key}{term.sign}{term.value}" for term in self.terms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a selector sees of a device; empty, None or 0 where the device does not tell.

    ``ram_mb`` is what the system reports, which is some hundred MB less than what the box says.
    """

    profile: str
    model: str
    soc: str
    kind: str
    platform: str
    os: str
    api: int | None
    ram_mb: int
    abis: tuple[str, ...]


def is_selector(word: str) -> bool:
    """Whether a word of ``--device`` is meant as a selector, not as the name of a device or profile."""
    return any(sign in word for sign in "=<>")


def parse_selector(text: str, profile_names: Iterable[str]) -> Selector:
    """Read a selector.

    >>> parse_selector("kind=phone, ram>=6000", []).terms[1]
    Term(key='ram', sign='>=', value='6000')

    Raises:
        SettingsError: a key, or a name where only some exist, is unknown (the nearest is offered), or a value is off.
    """
    known = tuple(profile_names)
    return Selector(terms=tuple(_term(part, known) for part in text.split(",")))


def traits_of(info: DeviceInfo, matched: Matched | None) -> Traits:
    """Return what selectors see of a device. A profile that only shares its chip is not its profile."""
    return Traits(
        profile=matched.profile.name if matched is not None and matched.by != "soc" else "",
        model=info.model,
        soc=info.soc,
        kind=info.kind,
        platform=info.platform,
        os=_first_number(info.os_version),
        api=_api_of(info),
        ram_mb=info.ram_mb,
        abis=info.abis,
    )


def selects(selector: Selector, traits: Traits) -> bool:
    """Whether all terms hold of a device."""
    return all(_holds(term, traits) for term in selector.terms)


def _term(part: str, profile_names: tuple[str, ...]) -> Term:
    word = part.strip()
    found = _TERM.fullmatch(word) or _TERM.fullmatch(f"profile={word}" if not is_selector(word) else "")
    if found is None or not found.group(3) or is_selector(found.group(3)):
        raise SettingsError(
            f"{part!r} is not a condition on a device.", hint="Write KEY=VALUE, such as soc=SM8650 or ram>=6000."
        )
    key, sign, value = found.group(1).lower(), cast("Sign", found.group(2)), found.group(3)
    if key in NUMBER_KEYS:
        version(value) if key == "os" else _whole(key, value)
    elif key not in TEXT_KEYS:
        raise unknown_name("key of a device selector", key, (*TEXT_KEYS, *NUMBER_KEYS))
    elif sign not in ("=", "!="):
        raise SettingsError(f"{word!r} compares a text.", hint=f"{key} takes = and != only.")
    closed = {"kind": KINDS, "platform": PLATFORMS, "abi": ABIS, "profile": profile_names}.get(key)
    if closed is not None and not fnmatch.filter([name.lower() for name in closed], value.lower()):
        raise unknown_name(key, value, closed)
    return Term(key=key, sign=sign, value=value)


def _whole(key: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value, flags=re.ASCII):
        raise SettingsError(f"{key} is compared with {value!r}, which is not a whole number.")
    return int(value)


def _holds(term: Term, traits: Traits) -> bool:
    compare = _COMPARE[term.sign]
    match term.key:
        case "api":
            return traits.api is not None and compare(traits.api, int(term.value))
        case "ram":
            return traits.ram_mb > 0 and compare(traits.ram_mb, int(term.value))
        case "os":
            return traits.os != "" and compare(version(traits.os), version(term.value))
        case "abi":
            return _text_holds(term, traits.abis)
        case key:
            return _text_holds(term, (getattr(traits, key),))


def _text_holds(term: Term, texts: Iterable[str]) -> bool:
    told = [text.lower() for text in texts if text]
    hit = any(fnmatch.fnmatchcase(text, term.value.lower()) for text in told)
    return bool(told) and hit == (term.sign == "=")


def _api_of(info: DeviceInfo) -> int | None:
    if info.platform != "android":
        return None
    told = re.search(r"\bAPI[ -]?(?:level )?(\d{1,3})\b", info.os_version, re.IGNORECASE | re.ASCII)
    if told:
        return int(told.group(1))
    release = re.search(r"\d+(\.\d+)?L?", info.os_version, re.ASCII)
    return API_BY_RELEASE.get(release.group()) if release else None


def _first_number(text: str) -> str:
    found = re.search(r"\d{1,4}(\.\d{1,4}){0,3}", text, re.ASCII)
    return found.group() if found else ""
