"""``search.json``: everything a search tried and found, written as it goes, so that it can be resumed and drawn."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from toolkit.core import codec, store
from toolkit.core.errors import OutputError, SettingsError
from toolkit.search.requests import Objective

FILE = "search.json"
SCHEMA = 1

TrialVerdict = Literal["within", "likely", "unlikely", "beyond", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One candidate on the samples that choose.

    ``n`` samples were run until its drop was decided, ``lost`` and ``won`` of them by the build. ``low`` and ``high``
    bound the drop one-sided, whenever the test stopped; ``expected_high`` is about what a certificate stays below.
    ``within`` and ``beyond`` are shown by the sequential test, ``likely`` and ``unlikely`` are what the samples speak
    for, ``failed`` could not be built or run, ``reason`` says why. ``cost`` is what the objective weighs: bytes,
    nanoseconds or microjoules. ``layers`` are by precision.
    """

    target: str
    key: str
    words: str
    recipe: str
    layers: dict[str, tuple[str, ...]]
    size_bytes: int
    cost: float
    n: int
    lost: int
    won: int
    drop: float
    low: float
    high: float
    expected_high: float
    sqnr_db: float
    verdict: TrialVerdict
    reason: str = ""
    seconds: float = 0.0

    @property
    def feasible(self) -> bool:
        """Whether it is, or is likely to be, within the budget."""
        return self.verdict in ("within", "likely")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """One candidate on the samples that certify, in the order that was fixed before any of them was looked at.

    ``sha256`` is the file's that was run. ``outcomes`` are the build's values, packed as
    :func:`toolkit.core.metrics.outcomes_of` reads them.
    """

    target: str
    key: str
    words: str
    n: int
    lost: int
    won: int
    float_value: float
    value: float
    drop: float
    low: float
    high: float
    method: str
    holds: bool
    sha256: str = ""
    outcomes: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """How the search of one target ended.

    ``key`` is the candidate that was certified, empty where there is none; then ``nearest`` is the one that comes
    closest and ``advice`` what would help. ``full_bytes`` is the size of the build with every layer in 8 bits, 0 where
    it could not be made. ``evaluations`` counts builds that were run, ``samples`` the inferences they took.
    """

    target: str
    key: str = ""
    words: str = ""
    size_bytes: int = 0
    full_bytes: int = 0
    cost: float = 0.0
    nearest: str = ""
    nearest_high: float = 1.0
    advice: tuple[str, ...] = ()
    evaluations: int = 0
    samples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """What the order of a target's layers rests on: the layers, that with the most gain per cost first."""

    target: str
    basis: str
    layers: tuple[str, ...]
    gains_db: tuple[float, ...]
    unmapped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The candidates of one target to certify, by key, in an order written down before the first was certified."""

    target: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """The whole of ``search.json`` (schema 1). Names are added, never renamed.

    ``key`` names all inputs. ``needed`` is how many samples certify a build that loses none, ``usual`` about how many
    certify an ordinary good one. ``test`` is how candidates were chosen, ``method`` how they were certified: in a fixed
    order (``chains``), the safest first, each at the full confidence, until one fails. ``place`` says on what device,
    and what kind of one, the figures behind the objectives ``latency`` and ``energy`` were measured.
    """

    schema: Literal[1] = 1
    key: str
    model: str
    metric: str
    output: str
    objective: Objective
    max_drop: float
    confidence: float
    seed: int
    float_value: float
    selection_samples: int
    certification_samples: int
    needed: int
    usual: int | None
    test: str
    method: str
    place: str = ""
    orderings: tuple[Ordering, ...] = ()
    trials: tuple[Trial, ...] = ()
    chains: tuple[Chain, ...] = ()
    certified: tuple[Certified, ...] = ()
    found: tuple[Found, ...] = ()


class Book:
    """The trail of a search in progress; each change is on disk before the next begins. Safe for several threads."""

    def __init__(self, folder: Path, trail: Trail, seen: Callable[[Trail], None]) -> None:
        self._folder = folder
        self._seen = seen
        self._lock = threading.Lock()
        self.trail = trail

    def trial(self, target: str, key: str) -> Trial | None:
        """Return what is known of a candidate."""
        return next((one for one in self.trail.trials if (one.target, one.key) == (target, key)), None)

    def certified(self, target: str, key: str) -> Certified | None:
        """Return what certification said of a candidate."""
        return next((one for one in self.trail.certified if (one.target, one.key) == (target, key)), None)

    def of(self, target: str) -> tuple[Trial, ...]:
        """Return all trials of a target."""
        return tuple(one for one in self.trail.trials if one.target == target)

    def ordering(self, target: str) -> Ordering | None:
        """Return the order of a target's layers, if it is known."""
        return next((one for one in self.trail.orderings if one.target == target), None)

    def chain(self, target: str) -> tuple[str, ...]:
        """Return the keys to certify, in order; empty where none were written down."""
        return next((one.keys for one in self.trail.chains if one.target == target), ())

    def add(self, entry: Trial | Certified | Found | Ordering | Chain) -> None:
        """Write something down."""
        with self._lock:
            self.trail = _added(self.trail, entry)
            write(self._folder, self.trail)
            self._seen(self.trail)


def _added(trail: Trail, entry: Trial | Certified | Found | Ordering | Chain) -> Trail:
    match entry:
        case Trial():
            return replace(trail, trials=(*trail.trials, entry))
        case Certified():
            others = (one for one in trail.certified if (one.target, one.key) != (entry.target, entry.key))
            return replace(trail, certified=(*others, entry))
        case Chain():
            return replace(trail, chains=(*trail.chains, entry))
        case Ordering():
            return replace(trail, orderings=(*trail.orderings, entry))
        case Found():
            return replace(trail, found=(*(one for one in trail.found if one.target != entry.target), entry))


def write(folder: Path, trail: Trail) -> None:
    """Write ``search.json``, whole or not at all."""
    store.write_atomic(folder / FILE, codec.pretty(trail))


def read(folder: Path) -> Trail:
    """Read the ``search.json`` of a folder.

    Raises:
        OutputError: it is damaged or of a newer palmtop.
    """
    path = folder / FILE
    try:
        return codec.structure(json.loads(path.read_text(encoding="utf-8")), Trail, what=str(path))
    except (OSError, ValueError, RecursionError, SettingsError) as error:
        raise OutputError(
            f"Cannot read {path}: {error}", hint="Choose another folder with -o, or remove this file to search anew."
        ) from error
