"""Device classes: what is known of a phone before it is attached, and how to recognise it when it is.

A profile is one TOML file of ``device_profiles/``; its name is the file's. Facts that nobody published are left out,
and whoever asks for them is told *unknown*. Each group of facts says where it is from and how sure it is. All here
but :func:`shipped` is pure.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from mobile_harness.records import DeviceInfo, Kind
from toolkit.core import codec, resources
from toolkit.core.errors import SettingsError

Platform = Literal["android", "ios", "host"]
Group = Literal["match", "abis", "os", "memory", "soc", "accelerators", "bench", "networks"]
Confidence = Literal["documented", "widely reported", "estimate"]
MatchedBy = Literal["model", "pattern", "soc"]

FOLDER = "device_profiles"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9_]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How to recognise the class. Android: ``ro.product.model`` and ``ro.soc.model``; iOS: product types.

    ``models`` are exact; ``model_patterns`` and ``socs`` may hold ``*`` and ``?``. Case does not count.
    """

    models: tuple[str, ...] = ()
    model_patterns: tuple[str, ...] = ()
    socs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OsRange:
    """The system it shipped with and the last it is updated to: Android API levels (``"34"``) or iOS versions."""

    min: str | None = None
    max: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """``ram_mb``: the sizes it is sold with. ``app_budget_mb``: what one app in front may hold, and why that much."""

    ram_mb: tuple[int, ...] = ()
    app_budget_mb: int | None = None
    budget_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Equal processor cores."""

    cores: int
    name: str
    max_mhz: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Soc:
    """The chip, fastest cluster first. ``page_bytes``: the sizes of memory pages its systems can run with."""

    name: str = ""
    model: str = ""
    clusters: tuple[Cluster, ...] = ()
    gpu: str = ""
    npu: str = ""
    page_bytes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """A unit worth trying with a runtime. ``int8``: whether it calculates INT8 builds in integers, None: not known."""

    target: str
    name: str
    why: str
    int8: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """When a session may start: skin or battery at most so warm, and at least so much charge."""

    start_temp_c_max: float | None = None
    min_battery_percent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What its users download over: the typical rate in millions of bits a second."""

    name: str
    downlink_mbit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a group of facts is from."""

    facts: Group
    source: str
    confidence: Confidence


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """A class of devices. ``abis``: what its system runs, preferred first."""

    name: str
    summary: str
    kind: Kind
    platform: Platform
    abis: tuple[str, ...] = ()
    match: Match = field(default_factory=Match)
    os: OsRange = field(default_factory=OsRange)
    memory: Memory = field(default_factory=Memory)
    soc: Soc = field(default_factory=Soc)
    accelerators: tuple[Accelerator, ...] = ()
    bench: Bench = field(default_factory=Bench)
    networks: tuple[Network, ...] = ()
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """The profile nearest to a device. ``by`` is ``soc`` where only the chip is the same: like it, not it."""

    profile: DeviceProfile
    by: MatchedBy


def shipped() -> tuple[DeviceProfile, ...]:
    """Read the profiles that come with palmtop, in the order of their names.

    Raises:
        SettingsError: one is not valid; an installation of palmtop is damaged then.
    """
    paths = sorted(resources.folder(FOLDER).glob("*.toml"))
    return tuple(parse(path.stem, path.read_text(encoding="utf-8")) for path in paths)


def parse(name: str, text: str) -> DeviceProfile:
    """Read a profile from its TOML text.

    Raises:
        SettingsError: it is not TOML, a key is unknown (the nearest is named), a value is off, or facts lack a source.
    """
    what = f"device profile {name}"
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError(f"The {what} is not valid: {error}.", hint="A device profile is a TOML file.") from error
    if "name" in table:
        raise SettingsError(f"The {what} is not valid: it has a name twice.", hint="The file's name is the name.")
    profile = codec.structure({**table, "name": name}, DeviceProfile, what=what)
    faults = tuple(_faults(profile))
    if faults:
        raise SettingsError(f"The {what} is not valid: {'; '.join(faults)}.")
    return profile


def match(profile: DeviceProfile, info: DeviceInfo) -> bool:
    """Whether a device may be of the class, be it only by its chip; :func:`best_match` weighs."""
    return _matched_by(profile, info) is not None


def best_match(profiles: Iterable[DeviceProfile], info: DeviceInfo) -> Matched | None:
    """Return the nearest profile: by exact model, else by pattern, else by chip and then by memory; None: no idea."""
    found = [(by, profile) for profile in profiles if (by := _matched_by(profile, info))]
    if not found:
        return None
    order: tuple[MatchedBy, ...] = ("model", "pattern", "soc")
    by, profile = min(found, key=lambda item: (order.index(item[0]), _ram_distance(item[1], info), item[1].name))
    return Matched(profile=profile, by=by)


def version(text: str) -> tuple[int, ...]:
    """Return an API level or a system version as numbers that compare: ``"17.4"`` is before ``"17.10"``.

    >>> version("17.4") < version("17.10"), version("18") == version("18.0")
    (True, True)

    Raises:
        SettingsError: it is not made of numbers and dots.
    """
    if not re.fullmatch(r"\d{1,4}(\.\d{1,4}){0,3}", text, flags=re.ASCII):
        raise SettingsError(f"{text!r} is not a version such as 34 or 17.4.")
    numbers = [int(part) for part in text.split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _matched_by(profile: DeviceProfile, info: DeviceInfo) -> MatchedBy | None:
    platform = info.platform if info.platform in ("android", "ios") else "host"
    if (profile.kind, profile.platform) != (info.kind, platform):
        return None
    if _any_like(profile.match.models, (re.escape(info.model),), exact=True):
        return "model"
    if _any_like(profile.match.model_patterns, (info.model,)):
        return "pattern"
    words = (info.soc, info.soc.partition(" ")[2])  # some name the maker first: "QTI SM8650"
    return "soc" if info.soc and _any_like(profile.match.socs, words) else None


def _any_like(patterns: Iterable[str], texts: Iterable[str], *, exact: bool = False) -> bool:
    if exact:
        return any(re.fullmatch(text, pattern, re.IGNORECASE) for pattern in patterns for text in texts)
    return any(fnmatch.fnmatchcase(text.lower(), pattern.lower()) for pattern in patterns for text in texts)


def _ram_distance(profile: DeviceProfile, info: DeviceInfo) -> int:
    return min((abs(size - info.ram_mb) for size in profile.memory.ram_mb), default=1 << 30)


def _faults(profile: DeviceProfile) -> Iterable[str]:
    if not _NAME.fullmatch(profile.name):
        yield "its file's name is not made of small letters, digits and dashes"
    if not profile.summary:
        yield "its summary is empty"
    rules = profile.match
    if not (rules.models or rules.model_patterns or rules.socs):
        yield "nothing says how to recognise it"
    yield from _bad_numbers(profile)
    named = [source.facts for source in profile.sources]
    yield from (f"{group} has no source" for group in _groups(profile) if group not in named)
    yield from (f"a source of {source.facts} is empty" for source in profile.sources if not source.source)


def _bad_numbers(profile: DeviceProfile) -> Iterable[str]:
    numbers = [
        *profile.memory.ram_mb,
        *(network.downlink_mbit_s for network in profile.networks),
        *(cluster.cores for cluster in profile.soc.clusters),
        *(cluster.max_mhz or 1 for cluster in profile.soc.clusters),
        *profile.soc.page_bytes,
        1 if profile.memory.app_budget_mb is None else profile.memory.app_budget_mb,
    ]
    if not all(0 < number < 10**9 for number in numbers):
        yield "a size, rate or count is not above 0"
    low, high = profile.os.min, profile.os.max
    if low is not None and high is not None and version(low) > version(high):
        yield f"its first system {low} is above its last {high}"
    elif low is not None or high is not None:
        version(low or high or "")
    if profile.memory.app_budget_mb is not None and not profile.memory.budget_reason:
        yield "the memory budget has no reason"
    battery = profile.bench.min_battery_percent
    if battery is not None and not 0 <= battery <= 100:
        yield "min_battery_percent is not between 0 and 100"


def _groups(profile: DeviceProfile) -> Iterable[Group]:
    """Return the groups that state anything."""
    stated: tuple[tuple[Group, bool], ...] = (
        ("match", True),
        ("abis", bool(profile.abis)),
        ("os", profile.os != OsRange()),
        ("memory", profile.memory != Memory()),
        ("soc", profile.soc != Soc()),
        ("accelerators", bool(profile.accelerators)),
        ("bench", profile.bench != Bench()),
        ("networks", bool(profile.networks)),
    )
    return tuple(group for group, states in stated if states)
