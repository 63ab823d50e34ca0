"""The contracts of what can be plugged in: a module in a room satisfies the room's Protocol, and that is all.

``toolkit/sources/NAME.py`` is a :class:`Source`, ``toolkit/targets/NAME.py`` a :class:`Target`,
``toolkit/datasets/NAME.py`` a :class:`DatasetFormat`. A module's heavy library is imported inside its functions. Unless
said otherwise a function may load that library and is therefore only called in a child process
(:func:`toolkit.core.isolation.isolate`); functions marked *cheap* are called in the parent and must not.

A **form** is what sources hand to targets, so that N sources and M targets need N + M files: ``saved_model`` (a
TensorFlow SavedModel folder with one signature ``serving_default``, static shapes) and ``onnx`` (one ONNX file, opset
17 or later, simplified, static shapes). In both, tensor names and axis order are the source's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from toolkit.core.artifacts import (
    Census,
    DataRef,
    Inspection,
    KeptFloat,
    Preprocess,
    Range,
    Requirements,
    Signature,
    ToolVersion,
)
from toolkit.core.recipe import Recipe

Array = NDArray[Any]
Feeds = Mapping[str, Array]
"""Arrays by tensor name, each with its batch axis."""
Shapes = Mapping[str, tuple[int, ...]]
"""Sizes the user gave, by input name, for inputs with unknown axes."""
Observe = Callable[[str, Array], None]
"""Called with each float tensor's name and values, once a sample. The values may change after the call."""


class Session(Protocol):
    """A model loaded for execution on this host."""

    signature: Signature

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once, batch as in the signature. Names in and out are the artefact's own.

        Raises:
            DataError: a feed is missing, or its shape or dtype is not the signature's.
        """

    def close(self) -> None:
        """Free it; safe to call twice."""


class Source(Protocol):
    """A model format a user may bring.

    Four functions are optional. ``files(path: Path) -> tuple[Path, ...]``, *cheap*: the model file first and then the
    files beside it that its content lies in too; without it a model is its one file. What it names is hashed to know
    the model again. It names only files that exist and does not raise on a damaged one. ``takes(path: Path) -> bool``,
    *cheap*: whether a path that need not exist as it stands names a model in another way, such as
    ``FOLDER:SIGNATURE``. ``freeze(path: Path, shapes: dict[str, tuple[int, ...]], out: Path) -> str``: for a model that
    code makes, write it once as a file of the format, which stands for the model from then on, and return the hash of
    its content. ``read_with(path: Path) -> tuple[ToolVersion, ...]``: the libraries that :func:`read`, called just
    before in the same process, needed for this model, where they are not all of :func:`toolchain`.
    """

    SUFFIXES: tuple[str, ...]
    """File endings with the dot, lower case."""
    FORMS: tuple[str, ...]
    """The forms it can be exported to, best first."""

    def recognises(self, path: Path) -> str | None:
        """*Cheap.* Look at the first bytes: None when the file may be of this format, else what is wrong with it."""

    def read(self, path: Path, shapes: dict[str, tuple[int, ...]]) -> Signature:
        """Return the model's signature, an unknown batch axis as 1.

        Raises:
            ModelError: it cannot be read, has no input, already is quantized, or another axis is unknown and not in
                ``shapes``; the message names it and how to give it.
        """

    def export(self, path: Path, form: str, shapes: dict[str, tuple[int, ...]], out: Path) -> None:
        """Write the model in a form to ``out`` (which does not exist yet).

        Raises:
            ModelError: the model cannot be expressed in that form.
        """

    def open_session(self, path: Path, shapes: dict[str, tuple[int, ...]]) -> Session:
        """Load the float reference."""

    def toolchain(self) -> tuple[ToolVersion, ...]:
        """*Cheap.* Name the libraries that have a part in reading and exporting (``importlib.metadata``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantized:
    """What :meth:`Target.quantize` says of the build it wrote."""

    signature: Signature
    kept_float: tuple[KeptFloat, ...]
    census: Census | None = None


class Target(Protocol):
    """A runtime on the phone.

    Five constants are optional. ``RUNTIME`` maps each distribution that executes an artefact to its module, so that a
    bench runner imports it before it times a load and says its version. ``CHANNEL_AXIS`` is where channels lie in
    activations of rank four or more (1 unless it is there). ``SYMMETRIC_ACTIVATION_BITS`` lists the widths whose
    integers reach equally far to both sides of zero (none unless it is there); range methods that weigh rounding
    against clipping want to know. ``LARGEST_ACTIVATION`` is the largest value that its arithmetic holds before it is
    rounded to an integer, if that is less than float32 does.

    ``RELATED_SUFFIXES``, which is optional, are endings of files that it does not execute but knows to refuse.

    Three functions are optional. ``learned_weights(model: Path) -> Iterator[tuple[str, Array, int]]`` reads a float
    artefact and yields, in the order of execution, each layer with weights by the name that recipes know it by, its
    float weights, and their axis of output channels. Without it the costs of layers cannot be carried over from another
    target.

    Two more make bias correction possible: ``linear_layers(model: Path) -> tuple[LinearLayer, ...]`` shows the layers
    of an artefact that are linear in their input (:mod:`toolkit.core.linear`), dequantized, a build's with the names of
    the float artefact's; ``correct_biases(model: Path, shifts: Mapping[str, Array], out: Path) -> None`` writes a copy
    with ``shifts``, float64 [outputs] by layer, added to the biases of those that have one. Where the former shows the
    grid of integer weights, ``reweigh(model: Path, weights: Mapping[str, Array], out: Path) -> None`` writes a copy
    with other ``weights``, float32 on the grid by layer (:mod:`toolkit.core.rounding`). With two further ones
    layers can be equalised (:mod:`toolkit.core.equalization`): ``links(model: Path) -> tuple[Link, ...]`` and
    ``rewrite(model: Path, layers: Iterable[LinearLayer], out: Path) -> None``, which writes a float artefact whose
    layers of those names have other weights and biases.
    """

    SUFFIX: str
    """Ending of its artefacts, with the dot."""
    FORMS: tuple[str, ...]
    """The forms it converts from, best first."""

    def not_expressible(self, recipe: Recipe) -> str | None:
        """*Cheap.* None when the runtime can express the recipe, else the reason in a few words."""

    def convert(self, form: str, model: Path, source: Signature, out: Path) -> Signature:
        """Write the float artefact and return its signature, each tensor with ``source_name`` and ``perm`` set.

        Raises:
            ModelError: an operator cannot be converted; it and its layer are named.
        """

    def calibrate(self, model: Path, samples: Iterable[Feeds], observe: Observe) -> None:
        """Run the float artefact over the samples (its own tensor names) and show every float tensor to ``observe``.

        Only for targets with a recipe that needs data. Memory must not grow with the number of samples.
        """

    def tap(self, model: Path, samples: Iterable[Feeds], observe: Observe) -> None:
        """Run an artefact, float or quantized, over the samples and show its float-valued activations to ``observe``.

        Integers that stand for floats are dequantized, and each tensor has the name of its partner in the float
        artefact that the build was made from, once a sample; what the quantizer merged into a neighbour is left out.
        Optimisations that would hide tensors are off. Memory must not grow with the number of samples.

        Raises:
            DataError: a sample does not fit the model.
            ModelError: it is no artefact of this runtime, cannot be executed, or its activations cannot be seen.
        """

    def quantize(self, model: Path, recipe: Recipe, ranges: dict[str, Range], out: Path) -> Quantized:
        """Write the quantized artefact. ``ranges`` is empty for recipes that need no data.

        Raises:
            ModelError: the toolchain cannot quantize this model; what and where is named.
        """

    def open_session(self, model: Path, threads: int) -> Session:
        """Load an artefact in the runtime that ships, with its default optimisations; ``threads`` 0 is its default."""

    def inspect(self, model: Path) -> Inspection:
        """Read operators, precision, size and requirements from an artefact, also one that palmtop did not make.

        Raises:
            ModelError: it is not an artefact of this runtime.
        """

    def requirements(self, model: Path) -> Requirements:
        """Say what a phone must offer to run it."""

    def toolchain(self) -> tuple[ToolVersion, ...]:
        """*Cheap.* Name the libraries that have a part in converting, quantizing and executing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One item of a data set: arrays by input name with a batch axis of 1, its label if any, and where it is from."""

    feeds: dict[str, Array]
    label: int | Array | None
    origin: str


class DatasetFormat(Protocol):
    """A way data lies on disk. Every function is *cheap*: numpy and the decoder only."""

    def recognises(self, location: str) -> bool:
        """Whether this location looks like the format."""

    def refer(self, location: str, signature: Signature, preprocess: Preprocess, limit: int | None) -> DataRef:
        """Check names, shapes and dtypes against the model's inputs and return the reference.

        Raises:
            DataError: it cannot be read, is empty, or does not fit; the message names the array and both shapes.
        """

    def stream(self, ref: DataRef, signature: Signature) -> Iterator[Sample]:
        """Yield the samples in order, preprocessed, one at a time from disk.

        Raises:
            DataError: a sample cannot be read or holds NaN or infinity; its origin is named.
        """
