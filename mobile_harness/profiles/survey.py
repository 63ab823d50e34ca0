"""Many builds over many classes: which runs where, and what stands in the way, said once. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mobile_harness.profiles import DeviceProfile
from mobile_harness.profiles.fit import Download, Finding, Level, downloads, fit, worst
from toolkit.core.manifest import BuildEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class FitCell:
    """A build held against a class: does it run there, all findings and the download times.

    ``level`` is the worst of the findings that decide; accelerators do not, for the CPU takes what they leave.
    """

    build: str
    profile: str
    level: Level
    findings: tuple[Finding, ...]
    downloads: tuple[Download, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One finding with all the builds and classes that share it."""

    finding: Finding
    builds: tuple[str, ...]
    profiles: tuple[str, ...]


def survey(builds: Iterable[BuildEntry], profiles: Iterable[DeviceProfile]) -> tuple[FitCell, ...]:
    """Hold every build against every class, class by class."""
    every = tuple(builds)
    return tuple(_cell(build, profile) for profile in profiles for build in every)


def obstacles(cells: Iterable[FitCell], level: Level, *, accelerators: bool = False) -> tuple[Obstacle, ...]:
    """Return the findings of a level, those that say the same taken together, the most frequent first.

    ``accelerators``: those on accelerators only, else all the others.
    """
    shared: dict[tuple[str, str], tuple[Finding, list[FitCell]]] = {}
    for cell in cells:
        for finding in cell.findings:
            if finding.level == level and (finding.check == "accelerator") == accelerators:
                shared.setdefault((finding.what, finding.do), (finding, []))[1].append(cell)
    found = sorted(shared.values(), key=lambda item: -len(item[1]))
    return tuple(
        Obstacle(
            finding=finding,
            builds=tuple(dict.fromkeys(cell.build for cell in where)),
            profiles=tuple(dict.fromkeys(cell.profile for cell in where)),
        )
        for finding, where in found
    )


def _cell(build: BuildEntry, profile: DeviceProfile) -> FitCell:
    findings = fit(build, profile)
    return FitCell(
        build=build.id,
        profile=profile.name,
        level=worst(finding for finding in findings if finding.check != "accelerator"),
        findings=findings,
        downloads=downloads(build, profile),
    )
