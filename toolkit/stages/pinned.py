"""From the ranges that a model was trained with to those of a target's tensors, by running both on the same inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from toolkit.core import isolation, pins, signature, store
from toolkit.core.artifacts import FloatModel, Range, Signature
from toolkit.core.events import Event
from toolkit.core.ports import Array
from toolkit.core.probe import probe_feeds
from toolkit.core.tools import Tools
from toolkit.stages.order import made_by, target_of

MATCH_S = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Ranges by tensor of the float artefact; ``known`` is how many the model brought along, ``used`` how many fit."""

    ranges: dict[str, Range] = field(default_factory=dict)
    known: int = 0
    used: int = 0


def of(base: FloatModel, tools: Tools) -> Matched:
    """Return the ranges that a float artefact has from the training of its source; none for most models.

    Raises:
        ModelError: the file of ranges is damaged.
        ChildFailed: the artefact crashed.
    """
    path = pins.beside(base.source.blob.path)
    if not path.is_file():
        return Matched()
    inputs = {
        "float": base.blob.sha256,
        "signatures": [base.signature, base.source.signature],
        "ranges": store.sha256_of(path),
        "made_by": made_by(target_of(base.target)),
    }

    def produce(_: Path) -> Matched:
        model, own, source = base.blob.path, base.signature, base.source.signature
        return isolation.isolate(tools, MATCH_S, match, base.target, model, own, source, path.absolute())

    found = tools.store.memo("pinned/2", inputs, Matched, produce)
    tools.emit(_said(base.target, found, path.name))
    return found


def _said(target: str, found: Matched, name: str) -> Event:
    """Say how many ranges found their tensors; that none did is a warning, as then all are calibrated."""
    if not found.used:
        words = f"none of the {found.known} ranges of {name} fits a tensor of the float model: all are calibrated"
        return Event(subject=target, phase="noted", message=words, level="warning")
    words = f"{found.used} of {found.known} ranges that the model was trained with are used ({name})"
    return Event(subject=target, phase="noted", message=words)


def match(target: str, model: Path, artefact: Signature, source: Signature, ranges: Path) -> Matched:
    """Run a float artefact over one made-up sample and find the tensors of the training in it."""
    known = pins.read(ranges)
    marks: dict[str, pins.Fingerprint] = {}

    def observe(tensor: str, values: Array) -> None:
        if values.size:
            marks[tensor] = pins.fingerprint(values)

    target_of(target).calibrate(model, [signature.bind(probe_feeds(source), artefact)], observe)
    used = sum(any(pin.fingerprint.is_same(mark) for mark in marks.values()) for pin in known)
    return Matched(ranges=pins.matched(known, marks.items()), known=len(known), used=used)
