"""The search from a request to certified builds: what is read, what is tried, what is shown, what is written."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.core import store
from toolkit.core.artifacts import DataRef
from toolkit.core.errors import DataError, FolderTaken, OutputError, SettingsError
from toolkit.core.events import Event
from toolkit.core.recipe import load_recipe
from toolkit.core.store import Store
from toolkit.core.tools import Tools
from toolkit.search import evidence, folder, measured, parts, reference, sensitivity, trail
from toolkit.search.costs import Weigh
from toolkit.search.evidence import Claim
from toolkit.search.hunting import Hunt
from toolkit.search.parts import SplitJob
from toolkit.search.reports import round_up
from toolkit.search.requests import AGREEMENT, SearchRequest
from toolkit.search.spaces import BASE, WEIGHTS, space_of
from toolkit.search.trail import Book, Trail
from toolkit.search.values import Sensitivity
from toolkit.search.workshop import Bench
from toolkit.stages import calibrator, importer, packager
from toolkit.stages import data as datasets
from toolkit.stages.order import Order, made_by, news, source_of, target_of
from toolkit.stages.recording import open_rows
from toolkit.stages.requests import QuantizeRequest

Seen = Callable[[Trail], None]
WORK = ".search"
"""The folder in the output folder that holds what is in the making."""
_OPTIMISM = 0.25
"""A good build is taken to lose this part of the budget, on which the usual number of samples rests."""


def search(request: SearchRequest, tools: Tools, seen: Seen = lambda _: None) -> Trail:
    """Find, for each target, the lightest build whose drop is certified to be within the budget, and write the folder.

    Equal inputs go on where an earlier search stopped; one that ended is returned as it is.

    Args:
        request: what to search.
        tools: the seams to the world.
        seen: hears of every change of the trail, from any thread.

    Raises:
        ModelError: the model cannot be used.
        DataError: the data cannot, or is too little to certify anything; the number needed is said.
        SettingsError: the budget is 0, or a setting is not valid.
        OutputError: the folder holds something else, or there is nothing to resume, or another search fills it now.
    """
    found = opened(request, tools, seen)
    if isinstance(found, Trail):
        seen(found)
        return found
    with _alone_in(found.bench.work):
        return _searched(request, found, tools)


@contextmanager
def _alone_in(work: Path) -> Iterator[None]:
    """Keep a second search out of a folder; the lock is gone with the process, however that ends."""
    import filelock

    lock = store.lock_of(work / "running")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise OutputError(
            f"Another palmtop is searching in {work.parent}.", hint="Wait for it, or choose another folder with -o."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _searched(request: SearchRequest, found: Opened, tools: Tools) -> Trail:
    _tell_samples(found.book.trail, tools)
    _warm_up(found.bench.order, tools)
    hunt = Hunt(request=request, bench=found.bench, book=found.book, tools=tools)
    winners = tuple(one for target in request.targets if (one := hunt.of_target(target)) is not None)
    winners = tuple(hunt.sealed(one) for one in winners)
    studied = [hunt.studied[name] for name in (BASE, WEIGHTS) if name in hunt.studied]
    known = next((one for one in studied if isinstance(one, Sensitivity)), None)
    folder.write(found.bench, found.book.trail, winners, known, tools)
    return found.book.trail


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A search that is ready to begin or to go on."""

    bench: Bench
    book: Book


def opened(request: SearchRequest, tools: Tools, seen: Seen = lambda _: None, *, anew: bool = False) -> Opened | Trail:
    """Read model and data, split the samples, run the float model; or return the trail of a search that has ended.

    With ``anew`` one that has ended is opened again, with all that it tried.

    Raises:
        PalmtopError: as of :func:`search`.
    """
    claim = _claim(request)
    weigh = Weigh(measured=_measured(request))
    for target in request.targets:
        space_of(target, request, weigh)  # a target that there is nothing to try for, or to weigh by, ends it here
    order = importer.import_model(_quantize_request(request), tools)
    data = datasets.refer(request.data, order.source.signature, request.preprocess, None)
    importer.look_through(data, order.source.signature, tools)
    key = _key(request, order, data, tools)
    before = _before(request, key)
    if before is not None and not anew and folder.is_complete(request.out, before, request.targets):
        return before
    work = request.out / WORK
    with store.writing_to(work):
        work.mkdir(parents=True, exist_ok=True)
    bench = _bench(request, _Ground(claim=claim, weigh=weigh, order=order, data=data, work=work), tools)
    begun = _begun(bench, request, key)
    return Opened(bench=bench, book=Book(request.out, begun if before is None else _resumed(before, begun), seen))


def study(request: SearchRequest, tools: Tools) -> Sensitivity:
    """Measure each layer's cost, and search nothing.

    Raises:
        ModelError: the model cannot be used, or its layers cannot be told apart.
        DataError: the data cannot be used.
    """
    asked = dataclasses.replace(_quantize_request(request), targets=(sensitivity.HUB,))
    return sensitivity.study(importer.import_model(asked, tools), load_recipe(BASE), tools)


def _claim(request: SearchRequest) -> Claim:
    if not math.isfinite(request.max_drop):
        raise SettingsError(f"A budget of {request.max_drop} is no number.", hint="--max-drop 0.01 means one point.")
    if request.max_drop <= 0:
        raise SettingsError(
            f"A budget of {request.max_drop:g} cannot be shown with any number of samples.",
            hint="Allow some drop: --max-drop 0.005 means half a point.",
        )
    low, high = request.metric_range
    if not (high > low and math.isfinite(high - low)):
        said = f"The metric's range of {low:g} to {high:g} is empty or has no end."
        raise SettingsError(said, hint="--metric-range LOW,HIGH.")
    if request.max_drop >= high - low:
        raise SettingsError(f"A budget of {request.max_drop:g} allows any build: the metric spans {high - low:g}.")
    return Claim(max_drop=request.max_drop, confidence=request.confidence, reach=high - low)


def _quantize_request(request: SearchRequest) -> QuantizeRequest:
    return QuantizeRequest(
        model=request.model,
        out=request.out,
        data=request.calibration or request.data,
        targets=request.targets,
        recipes=("float32", BASE),
        samples=request.samples,
        preprocess=request.preprocess,
        shapes=request.shapes,
        jobs=request.jobs,
    )


def _key(request: SearchRequest, order: Order, data: DataRef, tools: Tools) -> str:
    modules = [source_of(order.source.format), *(target_of(one) for one in request.targets)]
    asked = dataclasses.replace(request, out=Path(), model=Path(), data="", calibration=None, jobs=1, resume=False)
    inputs = {
        "asked": asked,
        "measured": None if request.measured is None else store.sha256_of(request.measured),
        "source": [order.source.blob.sha256, order.source.format],
        "data": data.sha256,
        "metric": reference.code_of(request.metric),
        "calibration": None if order.data is None else order.data.sha256,
        "made_by": made_by(*modules),
    }
    return tools.store.key(trail.FILE, inputs)


def _before(request: SearchRequest, key: str) -> Trail | None:
    """Return the trail of an earlier search of equal inputs.

    Raises:
        OutputError: the folder holds something else, or nothing where ``resume`` insists.
    """
    out = request.out
    if not (out / trail.FILE).is_file():
        if request.resume:
            raise OutputError(f"{out} holds no search to resume.", hint="Leave --resume out to begin one.")
        if out.exists() and (not out.is_dir() or any(one.name != WORK for one in out.iterdir())):
            raise packager.taken(out)
        return None
    found = trail.read(out)
    if found.key != key:
        raise FolderTaken(
            f"{out} holds a search of another model, data, setting or palmtop.",
            hint="Choose another folder with -o; palmtop never overwrites one.",
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What a search starts from."""

    claim: Claim
    weigh: Weigh
    order: Order
    data: DataRef
    work: Path


def _bench(request: SearchRequest, ground: _Ground, tools: Tools) -> Bench:
    order, data, work = ground.order, ground.data, ground.work
    assert order.data is not None
    job = SplitJob(
        data=data,
        calibration=order.data,
        source=order.source.signature,
        share=request.certify_share,
        seed=request.seed,
        out=work,
    )
    own = dataclasses.replace(tools, store=Store(work / "store", tools.emit))  # as large as the data: gone at the end
    found = parts.parts_of(job, own)
    _check_enough(found.certification_count, data, request, ground.claim)
    standard = reference.standard_of(request, order.source, data, own)
    claim = dataclasses.replace(ground.claim, binary=reference.is_binary(request, standard))
    _check_enough(found.certification_count, data, request, claim)  # shares take more samples than hits
    return Bench(
        order=order,
        data=data,
        parts=found,
        standard=standard,
        claim=claim,
        metric=reference.metric_of(request) or "top1",
        metric_range=request.metric_range,
        weigh=ground.weigh,
        work=work,
    )


def _measured(request: SearchRequest) -> measured.Measured | None:
    if request.objective == "size":
        return None
    if request.measured is None:
        raise SettingsError(
            f"The objective {request.objective} needs a run that measured it.",
            hint="Bench the usual builds, `palmtop history export latest -o run.json`, then --measured run.json.",
        )
    return measured.read(request.measured, request.objective)


def _check_enough(count: int, data: DataRef, request: SearchRequest, claim: Claim) -> None:
    """Say before anything is built that the samples cannot certify even a build that loses none of them.

    Raises:
        DataError: they cannot.
    """
    least = evidence.least_samples(claim)
    if least is not None and count >= least:
        return
    best = evidence.certify(np.zeros(count), claim).high
    wanted = "no number" if least is None else f"{least}"
    share = max(count, 1) / max(data.count, 1)
    more = "" if least is None else f"Give about {round(least / share + 0.5)} labelled samples in all."
    allow = f"--max-drop {round_up(best)} can be shown with these." if best < claim.reach else ""
    raise DataError(
        f"{count} samples to certify by cannot show a drop of at most {claim.max_drop:g} at {claim.confidence:.0%}: "
        f"that takes {wanted}, even of a build that loses none.",
        hint=" ".join(filter(None, (more, allow, f"--certify-share sets more of the {data.count} apart."))),
    )


def _begun(bench: Bench, request: SearchRequest, key: str) -> Trail:
    places = np.load(bench.parts.certification.path, allow_pickle=False)
    value = float(np.asarray(open_rows(bench.standard.values))[places].mean())
    claim = bench.claim
    least = evidence.least_samples(claim)
    assert least is not None
    net = _OPTIMISM * claim.max_drop
    swapped = 0.0 if bench.metric == AGREEMENT else net + 0.05 * max(0.0, claim.reach - value)
    return Trail(
        key=key,
        model=bench.order.source.name,
        metric=bench.metric,
        output=bench.standard.task.output,
        objective=request.objective,
        max_drop=claim.max_drop,
        confidence=claim.confidence,
        seed=request.seed,
        float_value=value,
        selection_samples=bench.parts.selection_count,
        certification_samples=bench.parts.certification_count,
        needed=least,
        usual=evidence.usual_samples(claim, net + swapped, swapped),
        test=evidence.BETTING,
        method=evidence.EXACT if claim.binary else evidence.BETTING,
        place="" if bench.weigh.measured is None else bench.weigh.measured.place,
    )


def _resumed(before: Trail, begun: Trail) -> Trail:
    """Keep what was tried; what failed is tried again, and how targets ended is decided anew.

    What is certified, and in which order, stays as it was written down before the first sample that certifies was seen.
    """
    return dataclasses.replace(
        begun,
        orderings=before.orderings,
        trials=tuple(one for one in before.trials if one.verdict != "failed"),
        chains=before.chains,
        certified=tuple(one for one in before.certified if not one.reason),
    )


def _tell_samples(begun: Trail, tools: Tools) -> None:
    count, usual = begun.certification_samples, begun.usual
    said = (
        f"{begun.selection_samples} samples choose, {count} certify a drop of {begun.metric} of at most "
        f"{begun.max_drop:g} at {begun.confidence:.0%}; the float model has {begun.float_value:.4f}"
    )
    tools.emit(Event(subject="search", phase="noted", message=said))
    if usual is not None and count < usual:
        few = (
            f"a good build that loses {_OPTIMISM:.0%} of the budget takes about {usual} samples to certify, not {count}"
        )
        tools.emit(Event(subject="search", phase="noted", message=few, level="warning"))


def _warm_up(order: Order, tools: Tools) -> None:
    """Convert and calibrate each target once, where all hear of it: trials then take both from the cache."""
    builds = tuple(build for build in order.builds if build.recipe.name == BASE)
    calibrator.calibrate(importer.convert(dataclasses.replace(order, builds=builds), tools), tools)
    news(tools, order.builds, "done")
