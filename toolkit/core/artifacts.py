"""The frozen values that flow through the toolkit, from model file to verified build.

``SourceModel -> FloatModel -> CalibratedModel -> QuantizedModel -> VerifiedModel``. Each carries its parent, so a value
tells its whole provenance; big arrays travel only as :class:`Blob`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from toolkit.core.recipe import Recipe

Verdict = Literal["pass", "fail", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A file, or a folder such as an ``.mlpackage``, with the hash of its content (:func:`.store.blob_of`)."""

    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a model.

    ``shape`` holds -1 for an axis of unknown length. ``source_name`` is the tensor of the source model it stands for
    (empty: the same name), ``perm`` the order of the source's axes in this tensor (empty: the same order), such as
    ``(0, 2, 3, 1)`` where a converter turned NCHW into NHWC. Where integers stand for the source's floats,
    ``(integer - zero_point) * scale`` is the float; ``scale`` is 0 for plain numbers.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    source_name: str = ""
    perm: tuple[int, ...] = ()
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Inputs and outputs, in the model's own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolVersion:
    """A library that had a part in an artefact."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How a stored sample becomes a model input; declared once, applied everywhere, generated into the apps.

    Order of work on an image: decode to ``colour``, ``resize`` (height, width; bilinear with antialias), central
    ``crop`` (height, width), then on every array: ``(x * scale - mean) / std`` in float32, then ``layout``.
    ``mean`` and ``std`` have one value or one per channel; empty ones and ``scale`` 1 leave values alone.
    """

    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    colour: Literal["rgb", "bgr", "gray"] = "rgb"
    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: Literal["nhwc", "nchw"] = "nhwc"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRef:
    """A data set by reference: what a child process needs to open and stream it again.

    ``count`` is the number of samples that will be used (after ``limit``); ``sha256`` covers content, order and limit.
    """

    format: str
    location: str
    sha256: str
    count: int
    labelled: bool
    label_names: tuple[str, ...] = ()
    limit: int | None = None
    preprocess: Preprocess = field(default_factory=Preprocess)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The closed interval of values that calibration saw in one tensor."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFloat:
    """A layer that the recipe would quantize and the build keeps in float or in more bits, and why."""

    layer: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What a phone must offer to run a build: the runtime's floor and the operating system's."""

    runtime: str
    runtime_min: str
    android_api_min: int | None = None
    ios_min: str | None = None
    operators: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFact:
    """One operator of a build: its type, the precision of its weights and activations, and its weights' bytes.

    ``outputs`` are the artefact's own names of the tensors it makes.
    """

    name: str
    operator: str
    weight_dtype: str
    activation_dtype: str
    weight_bytes: int
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What of a build is really quantized once the runtime that ships has loaded it, with its default optimisations.

    ``weight_tensors`` and ``weight_bytes`` count constants of two axes or more by dtype; packed ones by the bits that
    a weight has. ``layers`` counts the operators that are left by what they compute in: ``integer``, ``dynamic``
    (activations quantized at run time) or ``float``. ``islands`` are connected groups of float operators between
    integer ones, each paid for with a dequantization and a quantization. ``partitions`` is how many pieces the
    runtime's default accelerator library takes the graph in, None where the runtime has no such pieces.
    """

    runtime: str
    weight_tensors: dict[str, int]
    weight_bytes: dict[str, int]
    layers: dict[str, int]
    islands: int
    partitions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What is in an artefact, read from the artefact itself."""

    format: str
    signature: Signature
    layers: tuple[LayerFact, ...]
    size_bytes: int
    requirements: Requirements | None
    census: Census | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceModel:
    """The user's trained model, recognised and read.

    ``shapes`` are the sizes the user gave to unknown axes, ``toolchain`` the libraries that read it.
    """

    name: str
    format: str
    blob: Blob
    signature: Signature
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    toolchain: tuple[ToolVersion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatModel:
    """The source converted for one target, not quantized yet."""

    source: SourceModel
    target: str
    blob: Blob
    signature: Signature
    toolchain: tuple[ToolVersion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorShare:
    """Which share, 0 to 1, of the elements of a tensor something is true of."""

    tensor: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StillChannels:
    """``count`` channels of a tensor that held one value in every sample; ``channels`` are the first of them."""

    tensor: str
    count: int
    channels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCalibration:
    """What calibration saw in the float model of one target; tensors have the artefact's names.

    ``settled_samples`` is None where ranges still grew in the last third of the samples. ``dead_channels`` are always
    zero, ``stuck_channels`` always at another value; ``at_bound`` are tensors more than half of which lie at their
    extreme. ``clipped`` has, for each range method and number of bits (``entropy/8``), the tensors that lose most to
    the range. All lists are the worst first and hold at most 20.
    """

    tensors: int
    settled_samples: int | None
    constant_tensors: tuple[str, ...] = ()
    dead_channels: tuple[StillChannels, ...] = ()
    stuck_channels: tuple[StillChannels, ...] = ()
    at_bound: tuple[TensorShare, ...] = ()
    clipped: dict[str, tuple[TensorShare, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationReport:
    """What casts doubt on a calibration: ``suspicions`` of the data, as sentences, and what each target's model did.

    ``notes`` are of the same kind but may well be as they should.
    """

    suspicions: tuple[str, ...]
    targets: dict[str, TargetCalibration]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedModel:
    """A float model with the range of each of its tensors. ``ranges`` is a JSON file ``{tensor: [low, high]}``.

    ``data`` is None, ``sample_count`` 0 and ``ranges`` None for recipes that need no calibration. ``report`` says what
    was noticed meanwhile.
    """

    base: FloatModel
    data: DataRef | None
    sample_count: int
    method: str
    ranges: Blob | None
    report: CalibrationReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CareStep:
    """Something that was tried for a build's accuracy, what it brought, and whether the build has it.

    ``layers`` is how many it changes, ``samples`` of how many samples of the calibration data it was learned.
    ``before_db`` and ``after_db`` are how close the build is to the float artefact without and with it: noise to signal
    in the mean of all tensors, of equalisation the mean SQNR of the outputs, over ``judged`` others, or over the same
    ones where there are too few. Where it could not be tried ``reason`` says why, and the figures are 0.
    """

    step: str
    kept: bool
    layers: int = 0
    samples: int = 0
    judged: int = 0
    before_db: float = 0.0
    after_db: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedModel:
    """One build: what ships."""

    base: CalibratedModel
    recipe: Recipe
    blob: Blob
    signature: Signature
    kept_float: tuple[KeptFloat, ...]
    requirements: Requirements
    census: Census | None = None
    care: tuple[CareStep, ...] = ()
    deflated_bytes: int = 0

    @property
    def id(self) -> str:
        """The name of the build in ``build.json``, on screen and in reports."""
        return f"{self.base.base.target}-{self.recipe.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorError:
    """How far one output is from the float model's over all samples.

    ``sqnr_db`` is 10 log10 of signal over noise energy, infinite where both are equal; ``cosine`` the cosine of the two
    flattened outputs; ``max_abs`` the largest absolute difference.
    """

    output: str
    sqnr_db: float
    cosine: float
    max_abs: float

    def __post_init__(self) -> None:
        if math.isnan(self.sqnr_db):
            raise ValueError("sqnr_db is not a number")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """How far what one layer of a build makes is from what it makes in the float artefact of the same target.

    ``layer`` and ``operator`` are as :class:`LayerFact` has them. ``sqnr_db`` is as in :class:`TensorError`, over some
    samples and the worst of the layer's outputs; the errors of the layers before it are part of it.
    """

    layer: str
    operator: str
    sqnr_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A task metric of the float model and of the build on the same samples, with the paired interval of the drop.

    ``drop = float_value - value``; ``[ci_low, ci_high]`` covers it at ``confidence``. ``verdict`` holds it against
    ``max_drop``; when ``undecided``, ``more_samples`` estimates how many further samples would decide. ``outcomes`` is
    the build's value of each sample, packed (:func:`toolkit.core.metrics.outcomes_of`), so that two builds can be
    compared on the same samples; empty where there are too many, and in records of before it was kept.
    """

    metric: str
    float_value: float
    value: float
    drop: float
    ci_low: float
    ci_high: float
    n: int
    confidence: float
    max_drop: float
    method: str
    verdict: Verdict
    more_samples: int | None = None
    outcomes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedModel:
    """A build checked against the float model on the host; ``golden`` is an ``.npz`` for parity checks on devices.

    ``layer_errors`` are the worst first.
    """

    base: QuantizedModel
    tensor_errors: tuple[TensorError, ...]
    score: Score | None
    golden: Blob
    verdict: Verdict
    layer_errors: tuple[LayerError, ...] = ()
