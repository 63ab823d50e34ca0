"""What Gradle and xcodebuild print when they fail, in words that say what to do next. Pure: text in, an error out.

The first rule that fits decides, so the causes stand before their consequences: a full disk also is a failed task.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from toolkit.core.errors import BadInput, PalmtopError, ToolMissing

_LINES_MAX: Final = 5
_LONGEST: Final = 300


class BuildFailed(BadInput):
    """The app does not build, for a reason that lies in its sources or settings."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """Text that a build tool prints, what it means, and what helps; ``{0}`` … are the groups of the pattern."""

    pattern: re.Pattern[str]
    kind: type[PalmtopError]
    message: str
    hint: str


def _rule(pattern: str, kind: type[PalmtopError], message: str, hint: str) -> _Rule:
    return _Rule(re.compile(pattern, re.MULTILINE), kind, message, hint)


_SHARED: Final = (
    _rule(
        r"No space left on device|There is not enough space on the disk",
        BadInput,
        "The disk became full while the app was built.",
        "Free some gigabytes, then build again.",
    ),
)

_GRADLE: Final = (
    *_SHARED,
    _rule(
        r"SDK location not found|ANDROID_HOME.*is not set|The SDK directory '([^']*)' does not exist",
        ToolMissing,
        "The Android SDK is not found.",
        "Install it with Android Studio or the command line tools, and set ANDROID_HOME to its folder.",
    ),
    _rule(
        r"You have not accepted the license agreements of the following SDK components:\s*\[?([^\]\n]*)|"
        r"License for package (.+?) not accepted",
        ToolMissing,
        "Licences of the Android SDK have not been accepted: {0}{1}.",
        'Run "$ANDROID_HOME/cmdline-tools/latest/bin/sdkmanager" --licenses, read them and accept.',
    ),
    _rule(
        r"[Ff]ailed to find target with hash string '([^']+)'|Failed to find Build Tools revision ([\d.]+)|"
        r"Failed to install the following SDK components:\s*(\S+)",
        ToolMissing,
        "A part of the Android SDK is missing: {0}{1}{2}.",
        "Install it with Android Studio's SDK Manager, or sdkmanager 'platforms;android-NN'.",
    ),
    _rule(
        r"requires (?:Java|JVM) (\d+)(?: or later)? to run\.[^\n]*?(?:Java|JVM) (\d+)|"
        r"requires at least JVM runtime version (\d+)|Unsupported class file major version (\d+)",
        ToolMissing,
        "The JDK is not one that this Gradle takes (needed: {0}{2}, found: {1}).",
        "Install JDK 17 or later and set JAVA_HOME to its folder; `java -version` says which one is used.",
    ),
    _rule(
        r"JAVA_HOME is (?:not set|set to an invalid directory)",
        ToolMissing,
        "Gradle does not find a JDK.",
        "Install JDK 17 or later and set JAVA_HOME to its folder.",
    ),
    _rule(
        r"Could not find or load main class org\.gradle\.wrapper\.GradleWrapperMain|gradle-wrapper\.jar",
        ToolMissing,
        "The project has no Gradle wrapper yet.",
        "Run `gradle wrapper` in the app's folder once, with Gradle installed.",
    ),
    _rule(
        r"Minimum supported Gradle version is (\d[\d.]*\d)\. Current version is (\d[\d.]*\d)",
        ToolMissing,
        "Gradle {1} is too old: the Android plugin needs {0}.",
        "Run `gradle wrapper` in the app's folder, so that the project's own version is used.",
    ),
    _rule(
        r"UnknownHostException|Could not (?:GET|HEAD) '([^']+)'|No cached version of (\S+) available for offline mode",
        BadInput,
        "Gradle could not download what the app depends on: {0}{1}.",
        "Check the network and proxy (systemProp.https.proxyHost in ~/.gradle/gradle.properties), then build again.",
    ),
    _rule(
        r"Could not find ([\w.-]+:[\w.-]+:[\w.+-]+)",
        BadInput,
        "There is no library {0} in the repositories of the project.",
        "Look at its version in gradle/libs.versions.toml.",
    ),
    _rule(
        r"java\.lang\.OutOfMemoryError|Java heap space|GC overhead limit exceeded|daemon disappeared unexpectedly",
        BadInput,
        "Gradle ran out of memory.",
        "Raise -Xmx in org.gradle.jvmargs of gradle.properties, or build fewer things at once.",
    ),
    _rule(
        r"Keystore file '([^']+)' not found|SigningConfig \"?(\w+)\"? is missing required property",
        BadInput,
        "The signing configuration is not complete: {0}{1}.",
        "Set up signing for the variant in app/build.gradle.kts, or build the variant debug.",
    ),
    _rule(
        r"Namespace '([^']+)' is used in multiple modules",
        BadInput,
        "Two libraries have the namespace {0}.",
        "gradle.properties needs android.uniquePackageNames=false for LiteRT; `palmtop app update` puts it back.",
    ),
    _rule(
        r"Manifest merger failed\s*:?\s*([^\n]+)",
        BuildFailed,
        "The manifests cannot be merged: {0}.",
        "Look at app/src/main/AndroidManifest.xml.",
    ),
)

_XCODE: Final = (
    *_SHARED,
    _rule(
        r"tool 'xcodebuild' requires Xcode|xcode-select: error",
        ToolMissing,
        "Xcode is not installed, or not chosen.",
        "Install Xcode, then run: sudo xcode-select -s /Applications/Xcode.app",
    ),
    _rule(
        r"[Yy]ou have not agreed to the Xcode(?: and Apple SDKs)? license",
        ToolMissing,
        "Xcode's licence has not been accepted.",
        "Run: sudo xcodebuild -license",
    ),
    _rule(
        r"Signing for \"([^\"]+)\" requires a development team|No Account for Team \"?([^\".]+)",
        BadInput,
        "Signing {0}{1} needs a development team.",
        "Write DEVELOPMENT_TEAM = YOURTEAMID into Config/Signing.xcconfig, or build for the simulator.",
    ),
    _rule(
        r"No profiles for '([^']+)' were found|[Nn]o signing certificate \"([^\"]+)\" found|"
        r"requires a provisioning profile",
        BadInput,
        "There is no provisioning profile or certificate to sign the app with: {0}{1}.",
        "Open the project in Xcode once and choose a team under Signing & Capabilities.",
    ),
    _rule(
        r"iOS ([\d.]+) is not installed|platform is not installed|Unable to find a destination matching",
        ToolMissing,
        "Xcode lacks the platform to build for (iOS {0}).",
        "Run: xcodebuild -downloadPlatform iOS",
    ),
    _rule(
        r"does not contain a scheme named \"([^\"]+)\"",
        BadInput,
        "The project has no scheme {0}.",
        "`palmtop app update` puts the shared schemes back.",
    ),
    _rule(
        r"[Cc]ould not resolve package dependencies:?\s*([^\n]*)|[Mm]issing package product '([^']+)'",
        BadInput,
        "A Swift package cannot be resolved: {0}{1}.",
        "Check the network; then File > Packages > Reset Package Caches in Xcode.",
    ),
    _rule(
        r"coremlc: [Ee]rror:\s*([^\n]+)",
        BadInput,
        "Core ML's compiler refuses the model: {0}.",
        "Build the model again with `palmtop quantize`, then `palmtop app update --build DIR`.",
    ),
)

_COMPILER: Final = (
    re.compile(r"^e: (?:file://)?(?P<file>[^\n:]+):(?P<line>\d+):(?P<column>\d+)[: ]+(?P<said>[^\n]+)", re.MULTILINE),
    re.compile(
        r"^(?P<file>/[^\n:]+\.\w+):(?P<line>\d+):(?P<column>\d+): (?:fatal )?error: (?P<said>[^\n]+)", re.MULTILINE
    ),
    re.compile(r"^(?P<file>/[^\n:]+\.java):(?P<line>\d+): error: (?P<said>[^\n]+)", re.MULTILINE),
    re.compile(
        r"^(?:ERROR: ?)?(?P<file>/[^\n:]+\.\w+):(?P<line>\d+)(?::\d+)?: (?:AAPT: )?error: (?P<said>[^\n]+)",
        re.MULTILINE,
    ),
)
"""Compilers that name a place: kotlinc, swiftc and clang, javac, aapt2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """What a compiler says of a place in the sources."""

    file: str
    line: int
    said: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.said}"


def complaints(text: str, root: str) -> tuple[Complaint, ...]:
    """Return the compilers' errors in the order they came, each once; paths below ``root`` are shortened."""
    found: dict[Complaint, int] = {}
    for pattern in _COMPILER:
        for match in pattern.finditer(text):
            file = match["file"].removeprefix(root).lstrip("/") if match["file"].startswith(root) else match["file"]
            complaint = Complaint(file=file, line=int(match["line"]), said=match["said"].strip()[:_LONGEST])
            found.setdefault(complaint, match.start())
    return tuple(sorted(found, key=lambda complaint: found[complaint]))


def of_gradle(text: str, root: str, log: str) -> PalmtopError:
    """Return the error for a Gradle build that failed with this output."""
    return _first(text, _GRADLE) or _of_sources(text, root, log) or _unknown("Gradle", _went_wrong(text), log)


def of_xcode(text: str, root: str, log: str) -> PalmtopError:
    """Return the error for an xcodebuild that failed with this output."""
    return _first(text, _XCODE) or _of_sources(text, root, log) or _unknown("xcodebuild", _xcode_errors(text), log)


def _first(text: str, rules: tuple[_Rule, ...]) -> PalmtopError | None:
    for rule in rules:
        if found := rule.pattern.search(text):
            groups = [(group or "").strip()[:_LONGEST] for group in found.groups()] + [""] * 4
            return rule.kind(_filled(rule.message, groups), hint=_filled(rule.hint, groups))
    return None


def _filled(text: str, groups: list[str]) -> str:
    filled = re.sub(r"\{(\d)\}", lambda found: groups[int(found.group(1))], text)
    for empty, full in ((": .", "."), (" (iOS )", ""), (" (needed: , found: )", ""), (", found: )", ")")):
        filled = filled.replace(empty, full)
    return filled.replace("..", ".") if filled.endswith("..") else filled


def _of_sources(text: str, root: str, log: str) -> PalmtopError | None:
    found = complaints(text, root)
    if not found:
        return None
    more = f"\nand {len(found) - _LINES_MAX} more" if len(found) > _LINES_MAX else ""
    shown = "\n".join(str(one) for one in found[:_LINES_MAX])
    return BuildFailed(f"The app does not compile:\n{shown}{more}", hint=f"The whole output is in {log}.")


def _unknown(tool: str, said: str, log: str) -> PalmtopError:
    return BuildFailed(f"{tool} could not build the app: {said}", hint=f"The whole output is in {log}.")


def _went_wrong(text: str) -> str:
    found = re.search(r"^\* What went wrong:\n(.+?)(?:\n\n|\n\* Try|\Z)", text, re.MULTILINE | re.DOTALL)
    said = found.group(1) if found else _tail(text)
    return " ".join(said.split())[: 2 * _LONGEST]


def _xcode_errors(text: str) -> str:
    found = [line.strip() for line in text.splitlines() if re.search(r"\berror: ", line)]
    return " ".join(" ".join(found[:_LINES_MAX]).split())[: 2 * _LONGEST] or _tail(text)


def _tail(text: str) -> str:
    return " ".join(" ".join(text.strip().splitlines()[-3:]).split())[-_LONGEST:] or "it said nothing"


Judge = Callable[[str, str, str], PalmtopError]
"""Output, the app's folder and the log's path in, the error out."""
