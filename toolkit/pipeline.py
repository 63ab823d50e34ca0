"""What palmtop does with a model, step by step: this page is the table of contents of the toolkit.

A step takes a frozen value and the tools and returns the next value; each lies in a module of ``toolkit/stages``. What
a step has made of equal inputs is taken from the cache, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from toolkit.core import isolation
from toolkit.core import manifest as manifests
from toolkit.core.artifacts import Inspection, Signature
from toolkit.core.manifest import Manifest
from toolkit.core.tools import Tools
from toolkit.search import searcher
from toolkit.search.requests import SearchRequest
from toolkit.search.trail import Trail
from toolkit.search.values import Sensitivity
from toolkit.stages import calibrator, importer, layers, packager, player, quantizer, verifier, work
from toolkit.stages.order import Converted, Order, one_at_a_time
from toolkit.stages.requests import QuantizeRequest, VerifyRequest
from toolkit.training import tuner
from toolkit.training.values import Tuned, TuneRequest

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")

INSPECT_S = 600
PREDICT_S = 4 * 3600


@dataclass(frozen=True, slots=True)
class Steps(Generic[A, B]):
    """Named steps from a value of one type to a value of another; each takes what the one before it returns."""

    names: tuple[str, ...]
    run: Callable[[A, Tools], B]

    def then(self, name: str, step: Callable[[B, Tools], C]) -> Steps[A, C]:
        """Return these steps and one more."""
        return Steps((*self.names, name), lambda value, tools: step(self.run(value, tools), tools))


def _convert(order: Order, tools: Tools) -> Converted:
    """Convert for every target, and run each float model over the data while others are still being converted."""
    return importer.convert(order, tools, calibrator.ahead(order, tools))


IMPORT = Steps(("import",), importer.import_model)
BUILD = (
    Steps(("convert",), _convert)
    .then("calibrate", calibrator.calibrate)
    .then("quantize", quantizer.quantize)
    .then("package", packager.package)
)
VERIFY = (
    Steps(("open",), verifier.open_folder)
    .then("examine", verifier.examine)
    .then("trace", layers.trace)
    .then("judge", verifier.judge)
    .then("store", verifier.store_verdicts)
)


def quantize(request: QuantizeRequest, tools: Tools) -> Manifest:
    """Make every build that is asked for and write them with ``build.json`` to ``request.out``.

    A folder that holds these very builds is left as it is; builds that failed in it are tried again. A build that fails
    is in the manifest's ``failed`` and does not harm the others.

    Raises:
        ModelError: the model cannot be used, or not one build could be made.
        DataError: the data cannot be used, or is needed and missing.
        SettingsError: a name or setting is not valid, or no target can express any recipe.
        OutputError: the output folder holds something else or cannot be written.
    """
    quiet = one_at_a_time(tools)
    packager.check_place(request.out, request.model, len(request.targets) * len(request.recipes), quiet)
    order = IMPORT.run(request, quiet)
    found = packager.already_there(order)
    if found is not None and not found.failed:
        return found
    return BUILD.run(order, quiet)


def verify(request: VerifyRequest, tools: Tools) -> Manifest:
    """Hold every build of a folder against its float model; write figures and verdicts to its ``build.json``.

    Raises:
        ModelError: the folder holds no builds, or their float model is gone, changed or not finite.
        DataError: there is no data, it does not fit, or the labels do not.
        SettingsError: the metric is unknown or fails.
        OutputError: the folder cannot be written.
    """
    return VERIFY.run(request, one_at_a_time(tools))


def tune(request: TuneRequest, tools: Tools) -> Tuned:
    """Train a model for a recipe, or convert one that was trained for it elsewhere, and write it to ``request.out``.

    Raises:
        ModelError: the model cannot be trained or converted, or the loss diverged.
        DataError: the data does not fit the model, or there is none.
        SettingsError: a setting is not valid.
        OutputError: the output folder holds something else or cannot be written.
    """
    return tuner.tune(request, one_at_a_time(tools))


def search(request: SearchRequest, tools: Tools, seen: Callable[[Trail], None] = lambda _: None) -> Trail:
    """Find, for each target, the lightest build within an accuracy budget, certify it, and write it to ``request.out``.

    ``seen`` hears of every change of the trail, from any thread. A target without such a build is in the trail's
    ``found`` with what would help.

    Raises:
        ModelError: the model cannot be used.
        DataError: the data cannot be used, or is too little to certify anything.
        SettingsError: a setting is not valid.
        OutputError: the output folder holds something else or cannot be written.
    """
    return searcher.search(request, one_at_a_time(tools), seen)


def sensitivity(request: SearchRequest, tools: Tools) -> Sensitivity:
    """Measure what quantizing each layer alone costs, the costliest first.

    Raises:
        ModelError: the model cannot be used, or its layers cannot be told apart.
        DataError: the data cannot be used.
    """
    return searcher.study(request, one_at_a_time(tools))


def predict(artefact: Path, inputs: Path, output: Path, tools: Tools, threads: int = 0) -> Signature:
    """Run one artefact, or a source model, on this host's reference interpreter.

    Args:
        artefact: a build of any target, or a model of any source format.
        inputs: an ``.npz`` with an array per input; more samples than the model's batch are run in turn.
        output: the ``.npz`` to write, an array per output, its first axis the samples. An old one is replaced.
        tools: the seams to the world.
        threads: for the interpreter; 0 is its default.

    Returns:
        The signature by whose names the arrays went in and out.

    Raises:
        ModelError: the artefact cannot be loaded.
        DataError: the arrays cannot be read or do not fit it.
        ChildFailed: the interpreter crashed.
    """
    room, name = player.room_of(artefact)
    job = player.PlayJob(
        room=room,
        name=name,
        model=artefact.absolute(),
        inputs=inputs.absolute(),
        output=output.absolute(),
        threads=threads,
    )
    return isolation.isolate(tools, PREDICT_S, player.play, job)


def inspect(path: Path, tools: Tools) -> Inspection:
    """Read what is in an artefact, or the signature of a source model.

    Raises:
        ModelError: nothing reads it, or it is damaged.
    """
    room, name = player.room_of(path)
    return isolation.isolate(tools, INSPECT_S, work.inspect, room, name, path.absolute())


def inspect_builds(folder: Path, tools: Tools) -> tuple[Inspection, ...]:
    """Inspect every build of a folder that :func:`quantize` wrote, in the order of its ``build.json``.

    Raises:
        ModelError: it holds no ``build.json``, or a build is damaged.
    """
    found = manifests.read(folder)
    return tuple(
        isolation.isolate(tools, INSPECT_S, work.inspect, "targets", build.target, (folder / build.path).absolute())
        for build in found.builds
    )
