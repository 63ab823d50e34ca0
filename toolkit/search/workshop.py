"""Candidates built and held against the float model, one child process a step; what fails is an outcome, too."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.core import isolation, metrics, process
from toolkit.core.artifacts import Blob, DataRef, QuantizedModel
from toolkit.core.errors import ModelError
from toolkit.core.events import Event, silent
from toolkit.core.store import Store
from toolkit.core.tools import Tools
from toolkit.search import evidence, running
from toolkit.search.candidates import Candidate
from toolkit.search.costs import LayerTable, Weigh
from toolkit.search.evidence import Claim
from toolkit.search.parts import Parts
from toolkit.search.running import Ran, RunJob, Standard
from toolkit.search.trail import Book, Certified, Trial, TrialVerdict
from toolkit.stages import calibrator, importer, quantizer
from toolkit.stages.order import Build, Order
from toolkit.stages.parallel import OWN_FAULTS, Failure, each, failure_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """All that trials share: the order to build by, the samples, the float model's answers, and what is to be shown.

    ``work`` is a folder of the search's own.
    """

    order: Order
    data: DataRef
    parts: Parts
    standard: Standard
    claim: Claim
    metric: str
    metric_range: tuple[float, float]
    weigh: Weigh
    work: Path


@dataclass(frozen=True, slots=True)
class _Over:
    """Which samples to run, and whether to end when the drop is decided."""

    places: Blob
    stops: bool


class Workshop:
    """Tries candidates and writes down what they did; what the trail holds already is not done again."""

    def __init__(self, bench: Bench, book: Book, tools: Tools) -> None:
        self._bench = bench
        self._book = book
        self._tools = tools

    def try_all(self, candidates: Sequence[Candidate], table: LayerTable | None) -> list[Trial]:
        """Try candidates on the samples that choose, several at once, and return what each did."""
        jobs = self._bench.order.request.jobs
        outcomes = each(candidates, lambda one: self._tried(one, table), jobs)
        assert not any(isinstance(one, Failure) for one in outcomes), "a trial holds its own failure"
        return [one for one in outcomes if not isinstance(one, Failure)]

    def certify(self, candidate: Candidate) -> Certified:
        """Run a candidate over every sample that certifies."""
        known = self._book.certified(candidate.target, candidate.key)
        if known is None:
            known = self._certified(candidate)
            process.give_up_if_ending()
            self._book.add(known)
            _tell(self._tools, candidate, _certified_words(known))
        return known

    def _tried(self, candidate: Candidate, table: LayerTable | None) -> Trial:
        known = self._book.trial(candidate.target, candidate.key)
        if known is None:
            started = self._tools.clock.monotonic_ns()
            trial = self._trial(candidate, table)
            process.give_up_if_ending()  # what an interrupt made fail is no outcome
            seconds = (self._tools.clock.monotonic_ns() - started) / 1e9
            known = dataclasses.replace(trial, seconds=round(seconds, 3))
            self._book.add(known)
            _tell(self._tools, candidate, _words(known))
        return known

    def _trial(self, candidate: Candidate, table: LayerTable | None) -> Trial:
        subject = f"{candidate.target}/{candidate.words}"
        self._tools.emit(Event(subject=subject, phase="build", level="debug"))
        try:
            with tempfile.TemporaryDirectory(dir=self._bench.work, prefix="trial-") as scratch:
                model = self.build(candidate, Path(scratch))
                ran = self._run(candidate, model, Path(scratch), _Over(self._bench.parts.selection, stops=True))
                size = model.blob.size_bytes
        except OWN_FAULTS as error:
            return _failed(candidate, failure_of(error).error)
        return self._judged(candidate, ran, size, self._bench.weigh.total(candidate, size, table))

    def _judged(self, candidate: Candidate, ran: Ran, size: int, cost: float) -> Trial:
        claim, drops = self._bench.claim, _drops(ran)
        low, high = evidence.betting_bounds(drops, claim)
        expected = evidence.likely_bound(drops, claim, self._bench.parts.certification_count)
        decision = evidence.decide(drops, claim)
        leaning: TrialVerdict = "likely" if expected <= claim.max_drop else "unlikely"
        return Trial(
            target=candidate.target,
            key=candidate.key,
            words=candidate.words,
            recipe=candidate.base.name,
            layers={one: tuple(sorted(candidate.layers(one))) for one in sorted(set(candidate.choices.values()))},
            size_bytes=size,
            cost=cost,
            n=len(drops),
            lost=int((drops > 0).sum()),
            won=int((drops < 0).sum()),
            drop=float(drops.mean()),
            low=low,
            high=high,
            expected_high=expected,
            sqnr_db=ran.sqnr_db,
            verdict=leaning if decision == "open" else decision,
        )

    def _certified(self, candidate: Candidate) -> Certified:
        bench = self._bench
        try:
            with tempfile.TemporaryDirectory(dir=bench.work, prefix="certify-") as scratch:
                return self._shown(candidate, self.build(candidate, Path(scratch)), Path(scratch))
        except OWN_FAULTS as error:
            reason = failure_of(error).error
            return _uncertified(candidate, bench.parts.certification_count, reason)

    def seal(self, candidate: Candidate, known: Certified) -> tuple[QuantizedModel, Certified]:
        """Make the build to ship, and return it with the certificate of this very file.

        Where the runtime's converter does not give the same file twice, the one to ship is certified on its own.

        Raises:
            ModelError: it cannot be built or run, or is not within the budget.
        """
        model = built(self._bench.order, candidate, self._tools)
        if model.blob.sha256 == known.sha256:
            return model, known
        with tempfile.TemporaryDirectory(dir=self._bench.work, prefix="seal-") as scratch:
            shown = self._shown(candidate, model, Path(scratch))
        self._book.add(shown)
        if not shown.holds:
            raise ModelError(
                f"{candidate.target}/{candidate.words} was built again as another file, which is not within the "
                f"budget: {_certified_words(shown)}.",
                hint="Its converter gives another file each time; search with a larger --max-drop in another folder.",
            )
        return model, shown

    def _shown(self, candidate: Candidate, model: QuantizedModel, scratch: Path) -> Certified:
        """Run a build over every sample that certifies, and say what that shows of this file."""
        bench = self._bench
        ran = self._run(candidate, model, scratch, _Over(bench.parts.certification, stops=False))
        shown = evidence.certify(_drops(ran), bench.claim)
        values, float_values = np.asarray(ran.values, np.float64), np.asarray(ran.float_values)
        return Certified(
            target=candidate.target,
            key=candidate.key,
            words=candidate.words,
            n=shown.n,
            lost=shown.lost,
            won=shown.won,
            float_value=float(float_values.mean()),
            value=float(values.mean()),
            drop=shown.drop,
            low=shown.low,
            high=shown.high,
            method=shown.method,
            holds=shown.holds,
            sha256=model.blob.sha256,
            outcomes=metrics.packed(values),
        )

    def build(self, candidate: Candidate, scratch: Path) -> QuantizedModel:
        """Make a candidate's build into a folder of its own: what is tried once need not fill the user's cache.

        Raises:
            ModelError: it cannot be built; why is said.
        """
        quiet = dataclasses.replace(self._tools, emit=silent)
        return built(self._bench.order, candidate, quiet, Store(scratch / "store"))

    def outcomes(self, candidate: Candidate, places: Blob) -> Ran:
        """Run a candidate over samples of one's own choice, all of them, and write nothing down.

        Raises:
            ModelError: it cannot be built or run.
        """
        with tempfile.TemporaryDirectory(dir=self._bench.work, prefix="outcomes-") as scratch:
            model = self.build(candidate, Path(scratch))
            return self._run(candidate, model, Path(scratch), _Over(places, stops=False))

    def _run(self, candidate: Candidate, model: QuantizedModel, scratch: Path, over: _Over) -> Ran:
        bench = self._bench
        job = RunJob(
            target=candidate.target,
            model=model.blob.path.absolute(),
            artefact=model.signature,
            source=bench.order.source.signature,
            parts=bench.parts,
            places=over.places,
            standard=bench.standard,
            claim=bench.claim,
            metric_range=bench.metric_range,
            stops=over.stops,
            scratch=scratch,
        )

        def tell(event: Event) -> None:
            phase = "try" if over.stops else "certify"
            subject = f"{candidate.target}/{candidate.words}"
            self._tools.emit(Event(subject=subject, phase=phase, done=event.done, total=event.total, level="debug"))

        return isolation.isolate(self._tools, running.RUN_S, running.run, job, tell)


def built(order: Order, candidate: Candidate, tools: Tools, own: Store | None = None) -> QuantizedModel:
    """Convert, calibrate and quantize one candidate; all but its last step comes from and goes to the cache.

    Raises:
        ModelError: a step fails.
    """
    form = next(build.form for build in order.builds if build.target == candidate.target)
    build = Build(target=candidate.target, recipe=candidate.recipe, form=form)
    alone = dataclasses.replace(order, builds=(build,), not_expressible=())
    calibrated = calibrator.calibrate(importer.convert(alone, tools), tools)
    made = quantizer.quantize(calibrated, tools if own is None else dataclasses.replace(tools, store=own))
    if made.failed:
        raise ModelError(made.failed[0].error)
    return made.models[0]


def _drops(ran: Ran) -> evidence.Values:
    return np.asarray(ran.float_values, np.float64) - np.asarray(ran.values, np.float64)


def _failed(candidate: Candidate, reason: str) -> Trial:
    return Trial(
        target=candidate.target,
        key=candidate.key,
        words=candidate.words,
        recipe=candidate.base.name,
        layers={one: tuple(sorted(candidate.layers(one))) for one in sorted(set(candidate.choices.values()))},
        size_bytes=0,
        cost=float("inf"),
        n=0,
        lost=0,
        won=0,
        drop=0.0,
        low=float("-inf"),
        high=float("inf"),
        expected_high=float("inf"),
        sqnr_db=float("-inf"),
        verdict="failed",
        reason=reason,
    )


def _uncertified(candidate: Candidate, n: int, reason: str) -> Certified:
    return Certified(
        target=candidate.target,
        key=candidate.key,
        words=candidate.words,
        n=n,
        lost=0,
        won=0,
        float_value=0.0,
        value=0.0,
        drop=float("inf"),
        low=float("-inf"),
        high=float("inf"),
        method="",
        holds=False,
        reason=reason,
    )


def _tell(tools: Tools, candidate: Candidate, words: str) -> None:
    tools.emit(Event(subject=f"{candidate.target}/{candidate.words}", phase="noted", message=words))


def _words(trial: Trial) -> str:
    if trial.verdict == "failed":
        return f"failed: {trial.reason}"
    lost = f"{trial.lost} lost, {trial.won} won of {trial.n}"
    return f"{trial.size_bytes:,} bytes, {trial.sqnr_db:.1f} dB, drop {trial.drop:+.4f} ({lost}): {trial.verdict}"


def _certified_words(one: Certified) -> str:
    if one.reason:
        return f"not certified: {one.reason}"
    said = "certified" if one.holds else "not certified"
    return f"{said}: drop {one.drop:+.4f}, at most {one.high:.4f} ({one.lost} lost, {one.won} won of {one.n})"
