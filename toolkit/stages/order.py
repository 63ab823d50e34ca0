"""What is to be built, and the values that carry it from stage to stage: one type a phase, each holding the last."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.metadata
import platform
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from toolkit.core import discovery
from toolkit.core.artifacts import (
    CalibratedModel,
    DataRef,
    FloatModel,
    QuantizedModel,
    Requirements,
    SourceModel,
    ToolVersion,
)
from toolkit.core.events import Event
from toolkit.core.manifest import FailedBuild, NotExpressible
from toolkit.core.recipe import Recipe
from toolkit.core.tools import Tools
from toolkit.stages.parallel import Failure
from toolkit.stages.requests import QuantizeRequest

SOURCES, TARGETS, DATASETS, RANGES = (
    "toolkit.sources",
    "toolkit.targets",
    "toolkit.datasets",
    "toolkit.ranges",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One target x recipe that the target can express, and the form it is converted from."""

    target: str
    recipe: Recipe
    form: str

    @property
    def id(self) -> str:
        """The name in ``build.json``; the same as :attr:`QuantizedModel.id`."""
        return f"{self.target}-{self.recipe.name}"

    @property
    def subject(self) -> str:
        """The name in events."""
        return f"{self.target}/{self.recipe.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The source read, the data looked through, and every build that will be tried. ``key`` names all inputs."""

    request: QuantizeRequest
    source: SourceModel
    data: DataRef | None
    builds: tuple[Build, ...]
    not_expressible: tuple[NotExpressible, ...]
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """The float model of every target that has one, and what a phone must offer to run it.

    ``faults`` says of a target what befell the calibration that was tried while others were still converted.
    """

    order: Order
    models: dict[str, FloatModel]
    requirements: dict[str, Requirements]
    failed: tuple[FailedBuild, ...]
    faults: Mapping[str, Failure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What every build that is still in the race is quantized from."""

    order: Order
    requirements: dict[str, Requirements]
    models: tuple[tuple[Build, CalibratedModel], ...]
    failed: tuple[FailedBuild, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The builds that were made, and those that were not."""

    order: Order
    models: tuple[QuantizedModel, ...]
    failed: tuple[FailedBuild, ...]


def news(tools: Tools, builds: Iterable[Build], phase: str, message: str = "") -> None:
    """Tell that some builds are in a phase now."""
    for build in builds:
        tools.emit(Event(subject=build.subject, phase=phase, message=message))


def failed(tools: Tools, builds: Iterable[Build], failure: Failure) -> tuple[FailedBuild, ...]:
    """Tell that some builds end here and return them as ``build.json`` will name them."""
    gone = tuple(builds)
    news(tools, gone, "failed", failure.error)
    return tuple(
        FailedBuild(target=build.target, recipe=build.recipe.name, error=failure.error, log=failure.log)
        for build in gone
    )


def one_at_a_time(tools: Tools) -> Tools:
    """Return tools whose ``emit`` may be called from several threads."""
    lock = threading.Lock()

    def emit(event: Event) -> None:
        with lock:
            tools.emit(event)

    return dataclasses.replace(tools, emit=emit, store=dataclasses.replace(tools.store, emit=emit))


def target_of(name: str) -> Any:
    """Return a target's module (:class:`toolkit.core.ports.Target`); its heavy library stays out."""
    return discovery.load(TARGETS, name)


def share_of(target: str, phase: str) -> float:
    """Return about how long a phase takes on a target beside the others."""
    shares: Mapping[str, float] = getattr(target_of(target), "SHARES", {})
    return shares.get(phase, 1.0)


def source_of(name: str) -> Any:
    """Return a source format's module (:class:`toolkit.core.ports.Source`); its heavy library stays out."""
    return discovery.load(SOURCES, name)


def palmtop_version() -> str:
    """Return the installed version."""
    return importlib.metadata.version("palmtop")


def made_by(*modules: Any) -> dict[str, Any]:
    """Return what a cached result depends on beside its inputs: versions of libraries and the code that makes it.

    The code counts by content, so that a changed third-party target or a development checkout never serves old
    results: the rooms that all builds go through, and the modules named with the private files beside them.
    """
    return {
        "palmtop": palmtop_version(),
        "code": [_own_code(), *(_code_of(module) for module in modules)],
        "toolchain": [module.toolchain() for module in modules],
    }


def host_toolchain() -> tuple[ToolVersion, ...]:
    """Name palmtop, Python and the platform."""
    return (
        ToolVersion(name="palmtop", version=palmtop_version()),
        ToolVersion(name="python", version=platform.python_version()),
        ToolVersion(name="platform", version=platform.platform()),
    )


@functools.cache
def _own_code() -> str:
    toolkit = Path(__file__).parent.parent
    rooms = ("core", "datasets", "ranges", "stages")
    return _hash_of(file for room in rooms for file in (toolkit / room).rglob("*.py"))


def _code_of(module: ModuleType) -> str:
    file = Path(str(module.__file__))
    if file.name == "__init__.py":
        return _hash_of(file.parent.rglob("*.py"))
    return _hash_of([file, *file.parent.glob("_*.py"), *file.parent.glob("base.py")])


def _hash_of(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
