"""Who a device is: ``getprop`` and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mobile_harness.records import Kind
from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unreadable

_VALUE_MAX = 1 << 16
_NOTHING = {"", "unknown", "UNKNOWN", "null"}
_SOC = ("ro.soc.model", "ro.board.platform", "ro.hardware", "ro.chipname")
_MAKER = ("ro.product.manufacturer", "ro.product.brand")
_EMULATORS = {"goldfish", "ranchu", "cutf_cvm"}
_PAGES = {4096, 16384, 65536}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A device by its own words; empty or None where it says nothing.

    ``soc_from`` is the property that named the SoC: anything but ``ro.soc.model`` is a guess. The fingerprint changes
    with every update of the system.
    """

    serial: str
    model: str
    maker: str
    soc: str
    soc_maker: str
    soc_from: str
    release: str
    api_level: int | None
    security_patch: str
    abis: tuple[str, ...]
    fingerprint: str
    build_type: str
    debuggable: bool
    kind: Kind


def read_properties(text: str) -> Mapping[str, str] | Unreadable:
    """Return the properties of a ``getprop`` listing; a value may span lines, and the first of a name counts.

    A value that never ends (a listing that was cut) is left out; lines outside of all values are skipped.
    """
    found: dict[str, str] = {}
    name, parts, size = "", [""], 0
    for line in reading.lines(text):
        key, middle, value = line.partition("]: [")
        if middle and key.startswith("[") and len(key) > 1:
            name, parts, size = key[1:], [], 0
        elif name:
            value = line
        else:
            continue
        size += len(value) + 1
        if size > _VALUE_MAX:
            name = ""
        elif value.endswith("]"):
            found.setdefault(name, "\n".join([*parts, value[:-1]]))
            name = ""
        else:
            parts.append(value)
    return found or reading.unreadable("getprop", text, "line of the form '[name]: [value]'")


def identify(properties: Mapping[str, str]) -> Identity:
    """Return who the device is, falling back where its system is older than a property."""
    soc_from, soc = _first(properties, _SOC)
    abis = properties.get("ro.product.cpu.abilist") or properties.get("ro.product.cpu.abi", "")
    return Identity(
        serial=_word(properties, "ro.serialno") or _word(properties, "ro.boot.serialno"),
        model=_word(properties, "ro.product.model"),
        maker=_first(properties, _MAKER)[1],
        soc=soc,
        soc_maker=_first(properties, ("ro.soc.manufacturer",))[1],
        soc_from=soc_from,
        release=_word(properties, "ro.build.version.release"),
        api_level=reading.integer(properties.get("ro.build.version.sdk", "")),
        security_patch=_word(properties, "ro.build.version.security_patch"),
        abis=tuple(reading.shown(abi) for abi in abis.split(",")[:16] if abi.strip()),
        fingerprint=_word(properties, "ro.build.fingerprint"),
        build_type=_word(properties, "ro.build.type"),
        debuggable=_word(properties, "ro.debuggable") == "1",
        kind=kind_of(properties),
    )


def kind_of(properties: Mapping[str, str]) -> Kind:
    """Return ``virtual`` for palmtop's own device, ``emulator`` for one with an emulator's marks, else ``phone``."""
    if _word(properties, "ro.palmtop.virtual") not in {"", "0"}:
        return "virtual"
    emulated = (
        _word(properties, "ro.kernel.qemu") == "1"
        or _word(properties, "ro.boot.qemu") == "1"
        or _word(properties, "ro.hardware") in _EMULATORS
        or _word(properties, "ro.boot.hardware") in _EMULATORS
        or "emulator" in _word(properties, "ro.build.characteristics").split(",")
    )
    return "emulator" if emulated else "phone"


def read_page_size(text: str) -> int | Unreadable:
    """Return the memory page in bytes from ``getconf PAGE_SIZE``: libraries not aligned to it do not load."""
    for line in reading.lines(text):
        if (size := reading.integer(line)) in _PAGES and size is not None:
            return size
    return reading.unreadable("getconf PAGE_SIZE", text, "page size")


def _word(properties: Mapping[str, str], name: str) -> str:
    return reading.shown(properties.get(name, ""))


def _first(properties: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    found = ((name, _word(properties, name)) for name in names)
    return next(((name, value) for name, value in found if value not in _NOTHING), ("", ""))
