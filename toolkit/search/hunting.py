"""The hunt for the best build of each target: what is tried, what is certified in which order, what is shipped."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.core import process
from toolkit.core.artifacts import QuantizedModel
from toolkit.core.errors import ChildFailed, DataError, ModelError, SettingsError
from toolkit.core.events import Event
from toolkit.core.recipe import load_recipe
from toolkit.core.tools import Tools
from toolkit.search import sensitivity
from toolkit.search.candidates import Candidate
from toolkit.search.costs import LayerTable, Weigh, ordered, table_of
from toolkit.search.explorer import Explorer, Space, again, chain
from toolkit.search.reports import Outcome, found_of
from toolkit.search.requests import SearchRequest
from toolkit.search.spaces import BASE, WEIGHTS, space_of
from toolkit.search.trail import Book, Certified, Chain, Ordering, Trial
from toolkit.search.values import Sensitivity
from toolkit.search.workshop import Bench, Workshop
from toolkit.stages import importer


@dataclass(slots=True, kw_only=True)
class Hunt:
    """The search of all targets, which share the sensitivity of a recipe; ``tried`` are their candidates by key.

    ``studied`` holds by recipe what its layers cost, or why that cannot be told.
    """

    request: SearchRequest
    bench: Bench
    book: Book
    tools: Tools
    studied: dict[str, Sensitivity | str] = field(default_factory=dict)
    tried: dict[str, Candidate] = field(default_factory=dict)

    def of_target(self, target: str) -> Outcome | None:
        """Search one target and write down how it ended; return what is to be shipped, if anything."""
        shop = Workshop(self.bench, self.book, self.tools)
        space = space_of(target, self.request, self.bench.weigh)
        explorer = Explorer(space, shop.try_all, lambda base: self.table(base, shop))
        trials = explorer.explore()
        self.tried |= explorer.tried
        trials = self._chained(target, trials, space)
        shown = self._certified(target, shop)
        found = found_of(target, trials, shown, self.bench.claim, space.weigh)
        self.book.add(found)
        if not found.key:
            return None
        trial = next(one for one in trials if one.key == found.key)
        certified = next(one for one in shown if one.key == found.key)
        return Outcome(candidate=self.tried[found.key], trial=trial, certified=certified, found=found)

    def sealed(self, outcome: Outcome) -> Outcome:
        """Return an outcome with the very file that is to be shipped, and its certificate.

        Raises:
            ModelError: the file cannot be made, or is not within the budget.
        """
        shop = Workshop(self.bench, self.book, self.tools)
        model, certified = shop.seal(outcome.candidate, outcome.certified)
        return dataclasses.replace(outcome, certified=certified, model=model)

    def _chained(self, target: str, trials: tuple[Trial, ...], space: Space) -> tuple[Trial, ...]:
        """Write down what to certify, unless that was done; return the trials with all of these among them."""
        keys = self.book.chain(target)
        if not keys:
            fresh = tuple(one.key for one in chain(trials))
            if fresh:
                self.book.add(Chain(target=target, keys=fresh))
            return trials
        missing = tuple(one for one in self.book.of(target) if one.key in keys and one.key not in self.tried)
        self.tried |= {one.key: again(one, space) for one in missing}
        return (*trials, *missing)

    def _certified(self, target: str, shop: Workshop) -> list[Certified]:
        """Certify in the order written down, until one fails."""
        shown = []
        for key in self.book.chain(target):
            shown.append(shop.certify(self.tried[key]))
            if not shown[-1].holds:
                break
        return shown

    def table(self, base: Candidate, shop: Workshop) -> LayerTable | None:
        """Return the costs of a target's layers; what cannot be told is told, and ends no search."""
        assert self.bench.order.data is not None
        found = table_of(
            self._study(WEIGHTS if base.base.name == WEIGHTS else BASE),
            importer.float_model(self.bench.order.source, base.target, self.tools),
            lambda use: self._with_build(base, shop, use),
            self.bench.order.data,
            self.tools,
        )
        if isinstance(found, str):
            said = f"no layer can be treated apart: {found}"
            self.tools.emit(Event(subject=f"{base.target}/search", phase="noted", message=said, level="warning"))
            return None
        if self.book.ordering(base.target) is None:
            self.book.add(_ordering(base, found))
        return found

    def _with_build(self, base: Candidate, shop: Workshop, use: Callable[[QuantizedModel], LayerTable]) -> LayerTable:
        with tempfile.TemporaryDirectory(dir=self.bench.work, prefix="layers-") as scratch:
            return use(shop.build(base, Path(scratch)))

    def _study(self, recipe: str) -> Sensitivity | str:
        if recipe not in self.studied:
            try:
                self.studied[recipe] = sensitivity.study(self.bench.order, load_recipe(recipe), self.tools)
            except (ModelError, DataError, SettingsError, ChildFailed) as error:
                process.give_up_if_ending()
                self.studied[recipe] = error.message
        return self.studied[recipe]


def _ordering(base: Candidate, table: LayerTable) -> Ordering:
    order = ordered(table, base, "float16", Weigh())
    return Ordering(
        target=base.target,
        basis=table.basis,
        layers=tuple(layer for layer, _ in order),
        gains_db=tuple(round(gain, 4) for _, gain in order),
        unmapped=table.unmapped,
    )
