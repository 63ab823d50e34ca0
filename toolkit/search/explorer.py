"""The way through the candidates of one target: whole-model recipes, then layers by gain per cost, then giving back.

Nothing here builds or measures: a function is asked, which makes the way a matter of values alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from toolkit.search.candidates import Candidate, Precision
from toolkit.search.costs import LayerTable, Weigh, ordered
from toolkit.search.trail import Trial

Attempt = Callable[[Sequence[Candidate], LayerTable | None], list[Trial]]

_WORTH = 0.003
"""The part of the whole that giving a layer back must save for it to be tried."""
_SLOW: frozenset[Precision] = frozenset({"int8-act16"})
"""What few kernels compute, so that it is slow to try and to ship."""
_MUCH = 1.1
_RANK = {"within": 0, "likely": 1, "unlikely": 2, "beyond": 3, "failed": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The candidates of one target.

    ``bases`` are the whole-model recipes whose layers may get another precision, of which the best is taken up, each
    with the ``precisions`` its layers may get instead; ``wholes`` are tried as they are, ``spare`` ones only where what
    was found is much heavier than the base.
    """

    target: str
    bases: tuple[tuple[Candidate, ...], ...]
    precisions: tuple[tuple[Precision, ...], ...]
    wholes: tuple[Candidate, ...]
    spare: tuple[Candidate, ...]
    weigh: Weigh
    jobs: int
    trials: int


class Explorer:
    """Walks through a space; everything it tries is in :attr:`tried`, in order."""

    def __init__(self, space: Space, attempt: Attempt, table_of: Callable[[Candidate], LayerTable | None]) -> None:
        self._space = space
        self._attempt = attempt
        self._table_of = table_of
        self._trials: dict[str, Trial] = {}
        self.tried: dict[str, Candidate] = {}

    @property
    def best(self) -> Trial | None:
        """The lightest candidate that is, or is likely to be, within the budget."""
        feasible = [one for one in self._trials.values() if one.feasible]
        return min(feasible, key=lambda one: (one.cost, _RANK[one.verdict], one.key), default=None)

    def explore(self) -> tuple[Trial, ...]:
        """Try what there is, and return every trial."""
        space = self._space
        self._try([*space.wholes, *(base for family in space.bases for base in family)], None)
        for base, precisions in self._promising():
            if self._trials[base.key].feasible or not self._could_be_lighter(base):
                continue
            table = self._table_of(base)
            for precision in precisions if table is not None else ():
                assert table is not None
                if precision not in _SLOW or self._wanting(base):
                    self._widen(base, precision, table)
            if table is None or self._wanting(base):
                self._try(space.spare, None)
        return tuple(self._trials.values())

    def _promising(self) -> list[tuple[Candidate, tuple[Precision, ...]]]:
        """Return each family's base with its precisions; what another beats in weight and in error waits for that."""
        pairs = zip(self._space.bases, self._space.precisions, strict=True)
        found = [(base, precisions) for family, precisions in pairs if (base := self._chosen(family)) is not None]
        trials = [self._trials[base.key] for base, _ in found]

        def beaten(base: Candidate) -> int:
            own = self._trials[base.key]
            return sum(one.cost < own.cost and one.sqnr_db > own.sqnr_db for one in trials)

        return sorted(found, key=lambda pair: beaten(pair[0]))

    def _chosen(self, family: Sequence[Candidate]) -> Candidate | None:
        """Return the base to start from: within the budget if one is, else that with the least error."""

        def rank(base: Candidate) -> tuple[bool, float, str]:
            trial = self._trials[base.key]
            return (not trial.feasible, trial.cost if trial.feasible else -trial.sqnr_db, base.key)

        return min(self._alive(family), key=rank, default=None)

    def _alive(self, family: Sequence[Candidate]) -> list[Candidate]:
        """Return those that were tried and could be built and run."""
        tried = [base for base in family if base.key in self._trials]
        return [base for base in tried if self._trials[base.key].verdict != "failed"]

    def _wanting(self, base: Candidate) -> bool:
        """Whether the best so far is much heavier than the base, or there is none."""
        best = self.best
        return best is None or best.cost > _MUCH * self._trials[base.key].cost

    def _could_be_lighter(self, base: Candidate) -> bool:
        best = self.best
        return best is None or self._trials[base.key].cost < best.cost

    def _widen(self, base: Candidate, precision: Precision, table: LayerTable) -> None:
        """Find the fewest layers, in the order of gain per cost, that must have a precision; then give some back.

        Some with more layers are tried, too: steps to fall back on where a certificate fails.
        """
        layers = [layer for layer, _ in ordered(table, base, precision, self._space.weigh)]
        most = self._affordable(base, precision, table, layers)

        def first(count: int) -> Candidate:
            return base.with_layers(layers[:count], precision)

        found = self._fewest(first, most, table)
        if found is not None:
            count = len(found.choices)
            self._try([first(more) for more in (count + count // 2, 2 * count) if count < more <= len(layers)], table)
            self._give_back(found, precision, table)

    def _affordable(self, base: Candidate, precision: Precision, table: LayerTable, layers: list[str]) -> int:
        """Return how many layers may get a precision before the candidate is heavier than the best."""
        best = self.best
        if best is None:
            return len(layers)
        room = best.cost - self._trials[base.key].cost
        for count, layer in enumerate(layers):
            room -= self._space.weigh.least(table, layer, base, precision)
            if room < 0:
                return count
        return len(layers)

    def _fewest(self, first: Callable[[int], Candidate], most: int, table: LayerTable) -> Candidate | None:
        """Double the number of layers until the budget is met, then close in on it, several numbers at once."""
        failing, meeting = 0, 0
        rungs = [2**power for power in range(most.bit_length()) if 2**power < most] + ([most] if most else [])
        while rungs and not meeting:
            counts, rungs = rungs[: self._space.jobs], rungs[self._space.jobs :]
            failing, meeting = self._look(first, counts, (failing, meeting), table)
        while meeting and meeting - failing > max(1, meeting // 16) and not self._spent:
            step = (meeting - failing) / (self._space.jobs + 1)
            counts = sorted({round(failing + step * place) for place in range(1, self._space.jobs + 1)})
            counts = [count for count in counts if failing < count < meeting]
            failing, meeting = self._look(first, counts, (failing, meeting), table)
        return first(meeting) if meeting else None

    def _look(
        self, first: Callable[[int], Candidate], counts: Sequence[int], known: tuple[int, int], table: LayerTable
    ) -> tuple[int, int]:
        failing, meeting = known
        trials = self._try([first(count) for count in counts], table)
        for count, trial in zip(counts, trials, strict=False):
            if trial.feasible and (not meeting or count < meeting):
                meeting = count
        for count, trial in zip(counts, trials, strict=False):
            if not trial.feasible and (not meeting or count < meeting):
                failing = max(failing, count)
        return failing, meeting

    def _give_back(self, found: Candidate, precision: Precision, table: LayerTable) -> None:
        """Try to do without single layers, the heaviest first, keeping what stays within the budget."""
        whole = self._trials[found.key].cost

        def saved(layer: str) -> float:
            return self._space.weigh.added(table, layer, found, precision)

        waiting = sorted(found.choices, key=lambda layer: (-saved(layer), layer))
        waiting = [layer for layer in waiting if saved(layer) > _WORTH * whole]
        while waiting and len(found.choices) > 1 and not self._spent:
            group, waiting = waiting[: self._space.jobs], waiting[self._space.jobs :]
            trials = self._try([found.without([layer]) for layer in group], table)
            spared = [layer for layer, trial in zip(group, trials, strict=False) if trial.feasible]
            if len(spared) > 1 and self._try([found.without(spared)], table)[:1]:
                together = self._trials.get(found.without(spared).key)
                spared = spared if together is not None and together.feasible else spared[:1]
            found = found.without(spared)

    @property
    def _spent(self) -> bool:
        return len(self._trials) >= self._space.trials

    def _try(self, candidates: Sequence[Candidate], table: LayerTable | None) -> list[Trial]:
        """Try what the number of trials still allows, and return the trials of the first so many."""
        fresh = len(self._trials)
        allowed = []
        for candidate in candidates:
            if candidate.key not in self._trials:
                fresh += 1
            if fresh > self._space.trials:
                break
            allowed.append(candidate)
        trials = self._attempt(allowed, table)
        for candidate, trial in zip(allowed, trials, strict=True):
            self._trials[trial.key] = trial
            self.tried[trial.key] = candidate
        return trials


def again(trial: Trial, space: Space) -> Candidate:
    """Return the candidate that a trial of an earlier run was of."""
    bases = [*space.wholes, *space.spare, *(one for family in space.bases for one in family)]
    base = next(one for one in bases if one.base.name == trial.recipe)
    for precision, layers in trial.layers.items():
        base = base.with_layers(layers, cast("Precision", precision))
    assert base.key == trial.key, "equal inputs make equal candidates"
    return base


def chain(trials: Sequence[Trial], longest: int = 5) -> tuple[Trial, ...]:
    """Return the candidates to certify, in the order in which to: the safest first, ever lighter ones after it.

    Safer is what has less error in its outputs (SQNR), which is known better than the drop. The order is fixed before a
    sample that certifies is looked at, and ends at the first that fails, so that each may be certified at the full
    confidence: fixed-sequence testing, as in Angelopoulos, Bates, Candès, Jordan and Lei, "Learn then Test" (2021,
    arXiv 2110.01052), section 4.

    >>> chain(())
    ()
    """
    feasible = sorted((one for one in trials if one.feasible), key=lambda one: (one.cost, -one.sqnr_db))
    if not feasible:
        return ()
    lightest = feasible[0]
    safer = [lightest]
    for one in feasible[1:]:
        if one.sqnr_db > safer[-1].sqnr_db and one.cost > safer[-1].cost:
            safer.append(one)
    if len(safer) > longest - 1:  # the safest, and those next to the lightest
        safer = [*safer[: longest - 2], safer[-1]]
    bolder = [one for one in trials if one.verdict == "unlikely" and one.cost < lightest.cost]
    bolder.sort(key=lambda one: -one.sqnr_db)
    return (*reversed(safer), *bolder[:1])
