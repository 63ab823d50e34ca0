"""The fit linter: does a build suit a class of devices, and how long does it take to download? Pure.

It tells before any phone is attached what published facts say: whether the runtime exists there, whether the system is
new enough, whether memory and store limits hold. It estimates where it must and says so; a bench overrules it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from mobile_harness.profiles import Accelerator, DeviceProfile, Network, version
from mobile_harness.profiles.delegates import DELEGATES, Delegate, missing
from toolkit.core.manifest import BuildEntry

Level = Literal["ok", "warn", "blocker", "unknown"]
Check = Literal["runtime", "abi", "os", "memory", "store", "pages", "accelerator"]

LEVELS: tuple[Level, ...] = ("ok", "unknown", "warn", "blocker")
"""From best to worst."""

MB = 1_000_000
"""Stores count so."""
_MEMORY_MB = 1 << 20
"""Memory is counted so."""
PLAY_OLD_BASE_MB = 200
PLAY_BASE_MB = 500
PLAY_TOTAL_MB = 4_000
APP_STORE_CELLULAR_MB = 200
APP_STORE_MB = 4_000
BIG_PAGE_BYTES = 16_384

_HEADROOM = 0.5
"""Share of an app's memory budget above which a model leaves too little for the rest of the app."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check found: what is so, why it matters, and what to do (empty when nothing is to be done)."""

    check: Check
    level: Level
    what: str
    why: str = ""
    do: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """How long the build alone takes over a network, at its full rate."""

    network: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runtime:
    """Where a target's runtime is published, by platform, and for which ABIs there.

    ``older`` is the last line of it that was published for more ABIs; a build that needs ``name`` cannot use it.
    """

    name: str
    abis: dict[str, frozenset[str]]
    pages: str = ""
    older: str = ""
    older_abis: frozenset[str] = frozenset()


_UNLISTED = Delegate(operators=None, source="no list is known here")

_APPLE = frozenset(("arm64", "x86_64"))
_ANDROID = frozenset(("arm64-v8a", "armeabi-v7a", "x86", "x86_64"))
_RUNTIMES = {
    "tflite": _Runtime(
        name="LiteRT",
        abis={"android": frozenset(("arm64-v8a", "x86_64")), "ios": _APPLE},
        pages="LiteRT is aligned for them since 1.4, TensorFlow Lite before it is not",
        older="LiteRT 1.4",
        older_abis=_ANDROID,
    ),
    "onnx": _Runtime(
        name="ONNX Runtime",
        abis={"android": _ANDROID, "ios": _APPLE},
        pages="ONNX Runtime 1.29 is aligned for them",
    ),
    "coreml": _Runtime(name="Core ML", abis={"ios": _APPLE}),
}
"""LiteRT 2 is published for 64 bits only (google-ai-edge/LiteRT#3926), its Interpreter-only predecessor and ONNX
Runtime for all four ABIs of Android (their packages). Alignment: google-ai-edge/LiteRT#3274, the packages of ONNX
Runtime 1.29."""


def fit(build: BuildEntry, profile: DeviceProfile) -> tuple[Finding, ...]:
    """Hold a build against a class. A build without a runtime there gets that one blocker and no more."""
    runtime = _runtime(build, profile)
    if runtime.level == "blocker":
        return (runtime,)
    checks = (_abi, _os, _memory, _store, _pages)
    found = (finding for check in checks if (finding := check(build, profile)) is not None)
    return (runtime, *found, *_accelerators(build, profile))


def worst(findings: Iterable[Finding]) -> Level:
    """Return the worst level of some findings; ``ok`` without any."""
    return max((finding.level for finding in findings), key=LEVELS.index, default="ok")


def download_s(size_bytes: int, network: Network) -> float:
    """Return the seconds that so many bytes take at a network's rate.

    >>> download_s(10_000_000, Network(name="4g", downlink_mbit_s=16.0))
    5.0
    """
    return size_bytes * 8 / (network.downlink_mbit_s * 1e6)


def downloads(build: BuildEntry, profile: DeviceProfile) -> tuple[Download, ...]:
    """Return the download time of a build over each of the profile's networks; the app around it comes on top."""
    return tuple(
        Download(network=network.name, seconds=download_s(build.size_bytes, network)) for network in profile.networks
    )


def memory_factor(build: BuildEntry) -> tuple[float, str]:
    """Return how many times its file size a build may hold in memory while it runs, and why.

    The file as read, the weights as the kernels hold them, and as much as the file for activations and the runtime.
    Weights that are stored small and calculated in float are unpacked: four bytes for one on LiteRT and ONNX Runtime,
    two for one in Core ML (which decompresses to float16), four for one from 4 bits.
    """
    unpacked, words = _unpacked(build)
    return 2.0 + unpacked, f"the file, {words}, and as much again for activations and the runtime"


def _runtime(build: BuildEntry, profile: DeviceProfile) -> Finding:
    if profile.platform == "host":
        return Finding(check="runtime", level="ok", what="This host runs every build in its reference interpreter.")
    runtime = _RUNTIMES.get(build.target)
    if runtime is None:
        return Finding(
            check="runtime",
            level="unknown",
            what=f"Where the runtime of {build.target} exists is not known here.",
            why="The target is not one of palmtop's own.",
        )
    if profile.platform in runtime.abis:
        return Finding(check="runtime", level="ok", what=f"{runtime.name} exists for {_platform(profile)}.")
    others = sorted(name for name, known in _RUNTIMES.items() if profile.platform in known.abis)
    return Finding(
        check="runtime",
        level="blocker",
        what=f"{runtime.name} does not exist on {_platform(profile)}.",
        why="It is part of Apple's systems.",
        do=f"Ship one of these there: {', '.join(others)}.",
    )


def _abi(build: BuildEntry, profile: DeviceProfile) -> Finding | None:
    runtime = _RUNTIMES.get(build.target)
    if profile.platform == "host" or runtime is None:
        return None
    if not profile.abis:
        return _unknown("abi", "Which ABIs its system runs is not known.")
    both = [abi for abi in profile.abis if abi in runtime.abis[profile.platform]]
    if both:
        return Finding(check="abi", level="ok", what=f"{runtime.name} is published for {both[0]}.")
    names = ", ".join(profile.abis)
    if runtime.older and build.requirements.runtime != runtime.name and runtime.older_abis & set(profile.abis):
        return Finding(
            check="abi",
            level="warn",
            what=f"{runtime.name} is not published for {names}; {runtime.older} is, and can run this build.",
            why="An app without its native library for the phone's ABI does not install or does not start.",
            do=f"Put {runtime.older} into the app for that ABI.",
        )
    return Finding(
        check="abi",
        level="blocker",
        what=f"{runtime.name} is not published for {names}.",
        why="An app without its native library for the phone's ABI does not install or does not start.",
        do="Build the runtime for it yourself, or ship another target there.",
    )


def _os(build: BuildEntry, profile: DeviceProfile) -> Finding | None:
    if profile.platform == "host":
        return None
    needs = build.requirements
    api = None if needs.android_api_min is None else str(needs.android_api_min)
    floor, word = (api, "API level") if profile.platform == "android" else (needs.ios_min, "iOS")
    if floor is None:
        return _unknown("os", f"The build does not say which {word} it needs.")
    first, last = profile.os.min, profile.os.max
    if first is not None and version(first) >= version(floor):
        return Finding(check="os", level="ok", what=f"It shipped with {word} {first}; the build needs {floor}.")
    if last is None:
        return _unknown("os", f"The build needs {word} {floor}; how far the phone is updated is not known.")
    if version(last) < version(floor):
        return Finding(
            check="os",
            level="blocker",
            what=f"The build needs {word} {floor}; the phone ends at {last}.",
            do="Ship a build with a lower floor there.",
        )
    shipped = f"those still on {word} {first} cannot run it" if first is not None else "older ones cannot run it"
    return Finding(
        check="os",
        level="warn",
        what=f"The build needs {word} {floor}: {shipped}.",
        why=f"The phone can be updated to {last}, and not everybody does.",
        do="Keep a fallback with a lower floor, or raise the app's.",
    )


def _memory(build: BuildEntry, profile: DeviceProfile) -> Finding | None:
    if profile.platform == "host":
        return None
    factor, words = memory_factor(build)
    need_mb = build.size_bytes * factor / _MEMORY_MB
    budget_mb = profile.memory.app_budget_mb
    if budget_mb is None:
        return _unknown("memory", f"The build may hold {need_mb:.0f} MB; what an app may hold there is not known.")
    level: Level = "blocker" if need_mb > budget_mb else "warn" if need_mb > budget_mb * _HEADROOM else "ok"
    return Finding(
        check="memory",
        level=level,
        what=f"The build may hold {need_mb:.0f} MB ({factor:g} times its size) of the {budget_mb} MB an app may.",
        why=f"Counted: {words}. The budget: {profile.memory.budget_reason}",
        do="" if level == "ok" else "Measure the peak in a bench; ship a smaller build there if it holds.",
    )


def _store(build: BuildEntry, profile: DeviceProfile) -> Finding | None:
    if profile.kind != "phone":
        return None
    size_mb = build.size_bytes / MB
    total = PLAY_TOTAL_MB if profile.platform == "android" else APP_STORE_MB
    store = "Google Play" if profile.platform == "android" else "The App Store"
    if size_mb > total:
        return Finding(
            check="store",
            level="blocker",
            what=f"{store} takes at most {total / 1000:g} GB of app; the build alone has {size_mb:.0f} MB.",
            do="Download the model from a server of yours after the install.",
        )
    return _play(size_mb) if profile.platform == "android" else _app_store(size_mb)


def _play(size_mb: float) -> Finding:
    if size_mb <= PLAY_OLD_BASE_MB:
        return Finding(check="store", level="ok", what="It fits into the base module of an app on Google Play.")
    limit = PLAY_BASE_MB if size_mb > PLAY_BASE_MB else PLAY_OLD_BASE_MB
    why = (
        f"Play's help says {PLAY_BASE_MB} MB for the base module."
        if limit == PLAY_BASE_MB
        else f"The limit was {PLAY_OLD_BASE_MB} MB for years; Play's help now says {PLAY_BASE_MB} MB, the app included."
    )
    return Finding(
        check="store",
        level="warn",
        what=f"{size_mb:.0f} MB are above {limit} MB for the base module on Google Play.",
        why=why,
        do="Ship the model as an asset pack (Play Asset Delivery).",
    )


def _app_store(size_mb: float) -> Finding:
    if size_mb <= APP_STORE_CELLULAR_MB:
        return Finding(check="store", level="ok", what="The App Store delivers it over cellular without asking.")
    return Finding(
        check="store",
        level="warn",
        what=f"{size_mb:.0f} MB: iOS asks before it downloads more than {APP_STORE_CELLULAR_MB} MB over cellular.",
        do="Host the model as a background asset.",
    )


def _pages(build: BuildEntry, profile: DeviceProfile) -> Finding | None:
    runtime = _RUNTIMES.get(build.target)
    if profile.platform != "android" or runtime is None:
        return None
    if not profile.soc.page_bytes:
        return _unknown("pages", "Whether its system may run with 16 KB pages is not known.")
    if BIG_PAGE_BYTES not in profile.soc.page_bytes:
        return None
    return Finding(
        check="pages",
        level="ok",
        what=f"The phone may run with 16 KB pages: {runtime.pages}.",
        why="A native library that is not aligned for them crashes when it is loaded.",
        do="Take a runtime at least that new, and check the app's other libraries.",
    )


def _accelerators(build: BuildEntry, profile: DeviceProfile) -> Iterator[Finding]:
    for accelerator in profile.accelerators:
        if accelerator.target == build.target:
            yield _accelerator(build, accelerator)


def _accelerator(build: BuildEntry, accelerator: Accelerator) -> Finding:
    name, why = accelerator.name, accelerator.why
    delegate = DELEGATES.get((build.target, name), _UNLISTED)
    bench = f"Bench with --accelerator {name} and look at the placement."
    left_out = missing(delegate, build.requirements.operators)
    if left_out:
        return Finding(
            check="accelerator",
            level="warn",
            what=f"{name}: not on its list of operators: {', '.join(left_out)}.",
            why=f"They run on the CPU, and each border costs a copy. List: {delegate.source}.",
            do=f"{bench} The list may be older than the runtime.",
        )
    if _is_quantized(build) and accelerator.int8 is False:
        what = f"{name}: calculates INT8 builds in float: smaller, not faster for it."
        return Finding(check="accelerator", level="warn", what=what, why=why, do=bench)
    if delegate.operators is None:
        what = f"{name}: which operators it takes is not published."
        return Finding(check="accelerator", level="unknown", what=what, why=f"{why} ({delegate.source})", do=bench)
    return Finding(check="accelerator", level="ok", what=f"{name}: all operators are on its list.", why=why)


def _unpacked(build: BuildEntry) -> tuple[float, str]:
    operators = set(build.requirements.operators)
    if "constexpr_affine_dequantize" in operators:
        return 2.0, "8-bit weights unpacked to float16"
    if any(name.startswith("constexpr_") for name in operators):
        return 4.0, "compressed weights unpacked to float16"
    for quantize, dequantize in (("QUANTIZE", "DEQUANTIZE"), ("QuantizeLinear", "DequantizeLinear")):
        if dequantize in operators and quantize not in operators:
            return 4.0, "8-bit weights unpacked to float32"
    return 1.0, "the weights as the kernels hold them"


def _is_quantized(build: BuildEntry) -> bool:
    return bool({"QUANTIZE", "QuantizeLinear", "quantize"} & set(build.requirements.operators))


def _platform(profile: DeviceProfile) -> str:
    return {"android": "Android", "ios": "iOS"}.get(profile.platform, profile.platform)


def _unknown(check: Check, what: str) -> Finding:
    return Finding(check=check, level="unknown", what=what)
