"""``devicectl``: what iPhones there are, how they stand, and what its errors mean. JSON versions 2 to 5.

Version 5 (Xcode 27) has ``properties`` and keeps the older ``hardwareProperties``, ``deviceProperties`` and
``connectionProperties`` for a while; the new ones are read first. It also lists simulators, which are none of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from mobile_harness.apple import plain
from mobile_harness.apple.errors import Kind
from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unreadable

VERSIONS: Final = range(2, 6)
"""JSON versions that recorded outputs are known of."""
DeveloperMode = Literal["enabled", "disabled", "unknown"]
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9-]{8,64}")
_NESTED_MAX: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Phone:
    """A device that devicectl knows. ``connection`` is ``connected``, ``disconnected`` (it connects when it is needed)
    or ``unavailable``; ``transport`` is ``wired``, ``localNetwork``, or empty when it is out of reach.
    """  # fmt: skip

    identifier: str
    udid: str
    name: str
    model: str
    product: str
    kind: str
    platform: str
    reality: str
    os_version: str
    os_build: str
    pairing: str
    connection: str
    transport: str
    developer_mode: DeveloperMode
    cpu: str

    @property
    def is_simulator(self) -> bool:
        """Whether it is a simulator, which newer Xcodes list too."""
        return self.reality == "simulated" or self.transport == "sameMachine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Whether a passcode must be typed before apps can start; None where it does not say."""

    passcode_required: bool | None
    unlocked_since_boot: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why devicectl failed; ``codes`` are the domains and codes of its error and of those beneath it."""

    kind: Kind
    message: str
    codes: tuple[tuple[str, int], ...]


def read_phones(text: str) -> tuple[Phone, ...] | Unreadable:
    """Return the devices of ``devicectl list devices``, simulators among them (:attr:`Phone.is_simulator`)."""
    found = _result(text, "devicectl list devices")
    if isinstance(found, Unreadable):
        return found
    if not isinstance(found.get("devices"), list):
        return Unreadable(what="devicectl list devices", reason="it has no `result.devices`")
    phones = (_phone(row) for row in plain.rows(found, "devices"))
    return tuple({phone.identifier: phone for phone in phones if phone is not None}.values())


def read_details(text: str) -> Phone | Unreadable:
    """Return the device of ``devicectl device info details``."""
    found = _result(text, "devicectl device info details")
    if isinstance(found, Unreadable):
        return found
    return _phone(found) or Unreadable(what="devicectl device info details", reason="it names no device")


def _result(text: str, what: str) -> dict[str, object] | Unreadable:
    found = plain.read(text, what)
    if isinstance(found, Unreadable):
        return found
    if not isinstance(found.get("result"), dict):
        version = plain.whole(found, "info", "jsonVersion")
        known = "" if version is None or version in VERSIONS else f" (JSON version {version}, which is not known)"
        return Unreadable(what=what, reason=f"it has no `result`{known}")
    return plain.table(found, "result")


def _phone(row: object) -> Phone | None:
    identifier = plain.word(row, "identifier")
    if not identifier:
        return None

    def read(section: str, old: str, *keys: str) -> str:
        places = (("properties", section), (old,))
        found = (plain.word(row, *place, key) for place in places for key in keys)
        return next((word for word in found if word), "")

    return Phone(
        identifier=identifier,
        udid=read("hardware", "hardwareProperties", "udid"),
        name=read("state", "deviceProperties", "name"),
        model=read("hardware", "hardwareProperties", "marketingName"),
        product=read("hardware", "hardwareProperties", "productType"),
        kind=read("hardware", "hardwareProperties", "deviceType"),
        platform=read("hardware", "hardwareProperties", "platform"),
        reality=read("hardware", "hardwareProperties", "reality"),
        os_version=read("software", "deviceProperties", "osVersionNumber"),
        os_build=read("software", "deviceProperties", "osBuildUpdate"),
        pairing=read("connection", "connectionProperties", "pairingState"),
        connection=read("connection", "connectionProperties", "state", "tunnelState"),
        transport=read("connection", "connectionProperties", "transportType"),
        developer_mode=_developer_mode(row),
        cpu=plain.word(row, "hardwareProperties", "cpuType", "name")
        or plain.word(row, "properties", "hardware", "cpuType", "name"),
    )


def _developer_mode(row: object) -> DeveloperMode:
    """Read a text, or as of version 5 an object of one case: ``{"enabled": {…}}``."""
    for place in (("properties", "state"), ("properties", "software"), ("deviceProperties",)):
        said = plain.at(row, *place, "developerModeStatus")
        words = [said] if isinstance(said, str) else list(said) if isinstance(said, dict) else []
        if "enabled" in words:
            return "enabled"
        if "disabled" in words:
            return "disabled"
    return "unknown"


def read_lock(text: str) -> Lock | Unreadable:
    """Return the state of ``devicectl device info lockState``."""
    found = _result(text, "devicectl device info lockState")
    if isinstance(found, Unreadable):
        return found
    return Lock(
        passcode_required=plain.flag(found, "passcodeRequired"),
        unlocked_since_boot=plain.flag(found, "unlockedSinceBoot"),
    )


def read_installed(text: str) -> tuple[str, ...] | Unreadable:
    """Return the bundle identifiers that ``devicectl device install app`` installed."""
    found = _result(text, "devicectl device install app")
    if isinstance(found, Unreadable):
        return found
    return tuple(plain.word(row, "bundleID") for row in plain.rows(found, "installedApplications"))


def read_processes(text: str, app_folder: str) -> tuple[int, ...] | Unreadable:
    """Return the processes of an app, its extensions left out, from ``devicectl device info processes``.

    Args:
        text: the tool's JSON.
        app_folder: the app's folder, such as ``Bench.app``.
    """
    found = _result(text, "devicectl device info processes")
    if isinstance(found, Unreadable):
        return found
    pids = []
    for row in plain.rows(found, "runningProcesses"):
        place, pid = plain.at(row, "executable"), plain.whole(row, "processIdentifier")
        inside = isinstance(place, str) and f"/{app_folder}/" in place and "/PlugIns/" not in place
        if inside and pid is not None and pid > 1:
            pids.append(pid)
    return tuple(pids)


def read_files(text: str) -> tuple[str, ...] | Unreadable:
    """Return the paths that ``devicectl device info files`` lists."""
    found = _result(text, "devicectl device info files")
    if isinstance(found, Unreadable):
        return found
    named = (plain.word(row, "relativePath") or plain.word(row, "name") for row in plain.rows(found, "files"))
    return tuple(name for name in named if name)


def read_failure(text: str) -> Failure | None:
    """Return why a command failed, from its JSON; None when it tells of no error."""
    found = plain.read(text, "devicectl")
    if isinstance(found, Unreadable) or not isinstance(found.get("error"), dict):
        return None
    layers = list(_layers(found["error"]))
    codes = tuple((plain.word(layer, "domain"), plain.whole(layer, "code") or 0) for layer in layers)
    keys = ("NSLocalizedFailureReason", "NSLocalizedDescription", "NSDescription", "NSLocalizedRecoverySuggestion")
    words = [plain.word(layer, "userInfo", key) for layer in layers for key in keys]
    told = list(dict.fromkeys(word for word in words if word))
    kind = _kind_of(codes, " ".join(told))
    ends = " ".join(dict.fromkeys([*told[:1], *told[-1:]]))  # what failed, and the innermost reason
    return Failure(kind=kind, message=reading.shown(ends) or "no reason is given", codes=codes)


def _layers(error: object) -> Iterator[object]:
    for _ in range(_NESTED_MAX):
        if not isinstance(error, dict):
            return
        yield error
        error = plain.at(error, "userInfo", "NSUnderlyingError", "error")


_CODES: Final[dict[tuple[str, int], Kind]] = {
    ("FBSOpenApplicationErrorDomain", 7): "locked",
    ("FBSOpenApplicationServiceErrorDomain", 4): "app_missing",
    ("com.apple.dt.CoreDeviceError", 1000): "not_found",
    ("com.apple.dt.CoreDeviceError", 1011): "unreachable",
    ("Network.NWError", 60): "unreachable",
}
_WORDS: Final[tuple[tuple[Kind, str], ...]] = (
    ("locked", r"not, or could not be, unlocked|device is locked|passcode"),
    ("developer_mode", r"[Dd]eveloper [Mm]ode"),
    ("unpaired", r"not paired|[Pp]airing|has not been trusted|must be paired"),
    ("storage", r"[Nn]ot enough (?:storage|space)|insufficient (?:storage|space)|No space left"),
    ("app_missing", r"is not installed|unknown to FrontBoard|No such bundle"),
    ("wrong_build", (
        r"Unable to [iI]nstall|ApplicationVerificationFailed|provisioning profile|code signature"
        r"|not valid for the device|MismatchedApplicationIdentifier|requires a newer version"
    )),
    ("unreachable", r"Connection was invalidated|Transport error|timed out|not connected|disconnected|tunnel|usbmuxd"),
    ("not_found", r"[Dd]evice (?:was )?not found|No such file|does not exist|[Nn]o device|OBJECT_NOT_FOUND"),
)  # fmt: skip


def _kind_of(codes: tuple[tuple[str, int], ...], text: str) -> Kind:
    """Prefer what a code says, the innermost first; else the words."""
    by_code = (_CODES[code] for code in reversed(codes) if code in _CODES)
    return next(by_code, None) or kind_of_words(text)


def kind_of_words(text: str) -> Kind:
    """Return what a complaint about an iPhone means; ``refused`` where no word tells.

    >>> kind_of_words("Developer Mode is disabled."), kind_of_words("?")
    ('developer_mode', 'refused')
    """
    by_word = (kind for kind, pattern in _WORDS if re.search(pattern, text))
    return next(by_word, None) or "refused"


def is_identifier(word: str) -> bool:
    """Say whether it may be handed to a tool as a device's identifier."""
    return _IDENTIFIER.fullmatch(word) is not None
