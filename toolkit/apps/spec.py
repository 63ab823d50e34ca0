"""``model.json`` as frozen values: everything an app knows of its model; Kotlin and Swift read it at run time.

``docs/apps.md`` says what each field means; names are added, never changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

FILE: Final = "model.json"
GOLDEN: Final = "golden.bin"
PICTURE: Final = "preprocess.bin"
LABELS: Final = "labels.txt"
VOCABULARY: Final = "vocab.txt"
SCHEMA: Final = 1

Task = Literal["classification", "detection", "text", "tensor"]
TASKS: Final[tuple[Task, ...]] = ("classification", "detection", "text", "tensor")
Layout = Literal["nhwc", "nchw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """Which build it is."""

    id: str
    target: str
    recipe: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """real = scale * (q - zero_point), of an integer tensor that stands for real numbers."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An input or output of the model as the runtime names it; -1 in ``shape`` is an axis of any length."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    kind: Literal["image", "tokens", "scores", "boxes", "classes", "count", "tensor"]
    layout: Layout | None = None
    quantization: Quantization | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """:class:`toolkit.core.artifacts.Preprocess` for this build: its axis order, and its size where none was said."""

    resize: tuple[int, int] | None
    crop: tuple[int, int] | None
    colour: Literal["rgb", "bgr", "gray"]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """Scores of classes; ``activation`` is what the app still has to apply to make them probabilities."""

    output: str
    activation: Literal["none", "softmax"]
    top_k: int
    kind: Literal["classification"] = "classification"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Boxes on a picture; what each layout's tensors are is in ``docs/apps.md``."""

    layout: Literal["ssd", "raw", "yolo"]
    boxes: str
    scores: str | None
    classes: str | None
    count: str | None
    box_format: Literal["yxyx", "xyxy", "cxcywh"]
    box_units: Literal["normalised", "pixels"]
    classes_first: bool
    score_min: float = 0.25
    iou_max: float = 0.45
    most: int = 100
    kind: Literal["detection"] = "detection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """Nothing is known of the outputs: the app shows their numbers."""

    kind: Literal["tensor"] = "tensor"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """How a text becomes token numbers."""

    input: str
    encoding: Literal["utf8", "vocabulary"]
    length: int
    padding: int = 0
    vocabulary: str | None = None
    unknown: int = 1
    lowercase: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsFile:
    """The file of labels, and the languages that ``labels-<tag>.txt`` exist in."""

    file: str
    count: int
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenTensor:
    """One tensor in ``golden.bin``: little-endian, C order, at ``offset``."""

    sample: int
    role: Literal["input", "output"]
    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an output may be from the golden one: the rule of palmtop's own parity check."""

    output: str
    max_abs: float
    cosine_min: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """What ``golden.bin`` holds."""

    file: str
    sha256: str
    size_bytes: int
    samples: int
    tensors: tuple[GoldenTensor, ...]
    tolerances: tuple[Tolerance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureTensor:
    """Where in ``preprocess.bin`` the tensor lies that preprocessing has to make."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureGolden:
    """A picture (RGB, 8 bits, row by row, from ``pixels_offset``) and what preprocessing has to make of it."""

    file: str
    sha256: str
    size_bytes: int
    width: int
    height: int
    pixels_offset: int
    tensor: PictureTensor
    max_abs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreFact:
    """How good the build was on labelled samples, to be shown."""

    metric: str
    float_value: float
    value: float
    drop: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the runtime and the phone have to offer."""

    runtime: str
    runtime_min: str
    android_api_min: int | None
    ios_min: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The whole of ``model.json``."""

    schema: Literal[1] = 1
    palmtop: str
    build: Build
    file: str
    sha256: str
    size_bytes: int
    task: Task
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    preprocess: Picture | None
    postprocess: Classification | Detection | Plain
    text: TextInput | None
    labels: LabelsFile | None
    golden: Golden
    preprocess_golden: PictureGolden | None
    score: ScoreFact | None
    requirements: Needs
