"""What a child process does to learn each layer's cost: one pass over the data, one layer rounded at a time.

The float model runs once a sample, piece by piece (:mod:`.simulation_graph`). Then for every layer its rounded twin,
which has the recipe's grid on its weights and on what it reads and makes, takes the layer's place, and only what its
error reaches runs again: piece by piece to the end of the layer's block, then block by block. Memory holds the tensors
between the pieces of one sample, whatever their number, and the weights three times. The layers that turn out to cost
least are let go after a few samples.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import signature
from toolkit.core.artifacts import DataRef, Range, Signature
from toolkit.core.errors import DataError, ModelError
from toolkit.core.events import Emit
from toolkit.core.ports import Array, Feeds
from toolkit.core.recipe import Recipe
from toolkit.search import identity
from toolkit.search.simulation_graph import FloatGraph, Layer, Piece, blocks_of, float_outputs, layers_of, pieces_of
from toolkit.search.simulation_sessions import PieceSession, Sessions
from toolkit.search.values import LayerCost
from toolkit.stages import work

CUTS = {4: 1 / 2, 8: 1 / 4}
"""After so many samples only this part of the layers, those that cost most, is followed further."""
FOLLOWED = 16
"""So many are followed over all samples in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationJob:
    """Round each layer of ``model``, an ONNX file in float, as ``recipe`` does, over ``samples`` of ``data`` (or all).

    ``ranges`` is the file of calibrated ranges, None for recipes without activations in integers.
    """

    model: Path
    artefact: Signature
    source: Signature
    recipe: Recipe
    ranges: Path | None
    data: DataRef
    samples: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """Costs in the model's order, by each layer the nodes it consists of, and what was left out and why."""

    costs: tuple[LayerCost, ...]
    members: dict[str, tuple[str, ...]]
    left_out: tuple[tuple[str, str], ...]


def simulate(job: SimulationJob, emit: Emit) -> Simulated:
    """Measure every layer's cost over the samples of a job.

    Raises:
        ModelError: the model has no layer with weights, no float output, or cannot be cut and executed.
        DataError: the data makes the float model's output infinite or not a number throughout.
    """
    graph = FloatGraph(job.model)
    known = {} if job.ranges is None else json.loads(job.ranges.read_text(encoding="utf-8"))
    ranges = {tensor: Range(low=low, high=high) for tensor, (low, high) in known.items()}
    sessions = Sessions(graph, job.recipe, ranges)
    layers, left_out = _usable(graph, layers_of(graph), job.recipe, sessions)
    if not layers:
        reason = "; ".join(f"{name}: {why}" for name, why in left_out[:3]) or "it holds no convolution or product"
        raise ModelError(f"No layer of {job.model.name} can be rounded on its own: {reason}.")
    outputs = float_outputs(graph, sessions.dtypes)
    if not outputs:
        raise ModelError(f"{job.model.name} has no float output to hold the layers' errors against.")
    run = _Run(pieces_of(graph, layers, outputs), sessions, outputs)
    count = job.data.count if job.samples is None else min(job.samples, job.data.count)
    for batch in work.told(work.batches_of(job.data, job.source, job.samples), count, "sensitivity", emit):
        run.see(signature.bind(batch.feeds, job.artefact))
    members = {layer.name: tuple(graph.nodes[index].output[0] for index in layer.nodes) for layer in layers}
    return Simulated(costs=tuple(run.costs(graph)), members=members, left_out=tuple(left_out))


def _usable(
    graph: FloatGraph, layers: Sequence[Layer], recipe: Recipe, sessions: Sessions
) -> tuple[tuple[Layer, ...], list[tuple[str, str]]]:
    usable, left_out = [], []
    for layer in layers:
        unseen = next(
            (name for name in (layer.reads, layer.makes) if recipe.needs_data and not sessions.has_range(name)), None
        )
        if unseen is not None:
            left_out.append((layer.name, f"calibration never saw its tensor {unseen!r}"))
        else:
            usable.append(layer)
    return tuple(usable), left_out


@dataclass(slots=True)
class _Energies:
    """Sums over samples for one layer: noise of its own output, and signal and noise of each output of the model."""

    signal: list[float]
    noise: list[float]
    own_signal: float = 0.0
    own_noise: float = 0.0
    fastest_ns: float = math.inf
    samples: int = 0

    def sqnr_db(self) -> float:
        """Return the error of the worst of the model's outputs."""
        return min(map(_sqnr_db, self.signal, self.noise))


class _Run:
    """A model in pieces on its way through the samples."""

    def __init__(self, pieces: Sequence[Piece], sessions: Sessions, outputs: tuple[str, ...]) -> None:
        self._pieces = pieces
        self._outputs = outputs
        self._floats = [sessions.of(piece) for piece in pieces]
        self._blocks = {block.start: (block, sessions.of(block.whole)) for block in blocks_of(pieces, outputs)}
        self._twins = {place: sessions.twin(piece) for place, piece in enumerate(pieces) if piece.layer is not None}
        none = [0.0] * len(outputs)
        self._energies = {place: _Energies(signal=none.copy(), noise=none.copy()) for place in self._twins}
        self._followed = list(self._twins)
        self._seen = 0
        self._first_reader: dict[str, int] = {}
        for place, piece in enumerate(pieces):
            for name in piece.reads:
                self._first_reader.setdefault(name, place)
        self._pool = ThreadPoolExecutor(max_workers=_processors())

    def see(self, feeds: Feeds) -> None:
        """Take one sample into account."""
        values: dict[str, Array] = dict(feeds)
        for place, (piece, session) in enumerate(zip(self._pieces, self._floats, strict=True)):
            started = time.perf_counter_ns()
            made = session.run(values)
            spent = time.perf_counter_ns() - started
            values.update(zip(piece.makes, made, strict=True))
            if place in self._energies:
                energies = self._energies[place]
                energies.fastest_ns = min(energies.fastest_ns, spent)
        signal = [_energy(values[name]) for name in self._outputs]
        for _ in self._pool.map(lambda place: self._round(place, values, signal), self._followed):
            pass
        self._seen += 1
        if self._seen in CUTS:
            most = max(FOLLOWED, round(CUTS[self._seen] * len(self._twins)))
            self._followed = sorted(self._followed, key=lambda place: self._energies[place].sqnr_db())[:most]

    def _round(self, place: int, values: Mapping[str, Array], signal: Sequence[float]) -> None:
        """Put one layer's rounded twin in its place and add up what that does to a sample."""
        piece, energies = self._pieces[place], self._energies[place]
        layer = piece.layer
        assert layer is not None
        twin = self._twins[place]
        changed = dict(zip(twin.makes, twin.run(values), strict=True))
        energies.own_signal += _energy(values[layer.makes])
        energies.own_noise += _distance(values[layer.makes], changed[layer.makes])
        first = self._first_reader[layer.reads] if layer.reads in changed else place + 1
        overlay = _Overlay(values, changed)
        for later, session in self._behind(first, place):
            if not changed.keys().isdisjoint(later.reads):
                changed.update(zip(later.makes, session.run(overlay), strict=True))
        for number, name in enumerate(self._outputs):
            energies.signal[number] += signal[number]
            if name in changed:
                energies.noise[number] += _distance(values[name], changed[name])
        energies.samples += 1

    def _behind(self, first: int, place: int) -> Iterator[tuple[Piece, PieceSession]]:
        """Yield what to run from piece ``first`` on to follow an error of piece ``place``, itself left out."""
        while first < len(self._pieces):
            block, session = self._blocks.get(first, (None, None))
            if block is not None and session is not None and not block.start <= place < block.end:
                yield block.whole, session
                first = block.end
                continue
            if first != place:
                yield self._pieces[first], self._floats[first]
            first += 1

    def costs(self, graph: FloatGraph) -> Iterator[LayerCost]:
        """Yield every layer's cost over all samples seen."""
        self._pool.shutdown()
        if not any(sum(energies.signal) for energies in self._energies.values()):
            raise DataError("The float model's output is zero, infinite or not a number on every sample.")
        for position, (place, energies) in enumerate(self._energies.items()):
            layer = self._pieces[place].layer
            assert layer is not None
            weights = np.asarray(graph.array(layer.weight.name), np.float32)
            known = identity.of(weights, layer.weight.channel)
            yield LayerCost(
                layer=layer.name,
                identity=known.sha256,
                operator=layer.operator,
                weight_bytes=weights.nbytes,
                own_sqnr_db=_sqnr_db(energies.own_signal, energies.own_noise),
                output_sqnr_db=energies.sqnr_db(),
                latency_ns=energies.fastest_ns,
                fingerprint=known.fingerprint,
                position=position,
                samples=energies.samples,
            )


def _processors() -> int:
    """Return how many processors this process may use, where the system tells; else how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Overlay(dict[str, Any]):
    """Tensors by name: the changed ones, else those of the float model."""

    def __init__(self, values: Mapping[str, Array], changed: Mapping[str, Array]) -> None:
        super().__init__()
        self._values = values
        self._changed = changed

    def __getitem__(self, name: str) -> Array:
        return self._changed[name] if name in self._changed else self._values[name]


def _energy(values: Array) -> float:
    finite = values if np.isfinite(values).all() else np.where(np.isfinite(values), values, 0)
    return _squared(finite)


def _distance(expected: Array, values: Array) -> float:
    difference = np.subtract(values, expected, dtype=np.float32)
    if not np.isfinite(difference).all():
        usable = np.isfinite(expected)
        if not np.isfinite(values[usable]).all():
            return math.inf
        difference = difference[usable]
    return _squared(difference)


def _squared(values: Array) -> float:
    flat = np.asarray(values, np.float32).reshape(-1)
    return float(np.dot(flat, flat))


def _sqnr_db(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 and noise < math.inf else -math.inf
