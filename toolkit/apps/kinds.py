"""What a build's tensors are to an app: a picture, tokens, scores, boxes; told from shapes, dtypes and golden values.

What the tensors leave open is said, not guessed: an app for an unknown task shows numbers and is right.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from toolkit.apps import goldens, spec
from toolkit.apps.goldens import Samples
from toolkit.apps.spec import Classification, Detection, Layout, Picture, Plain, Quantization, Task, Tensor, TextInput
from toolkit.core import preprocess as arithmetic
from toolkit.core.artifacts import Preprocess, Signature, TensorSpec
from toolkit.core.errors import SettingsError

TOP_K: Final = 5
_IMAGE_RANK: Final = 4
_OFF_SCALE: Final = 20.0
"""A model whose golden inputs are that many times smaller than preprocessed pixels was not fed preprocessed pixels."""
_NHWC_FROM_NCHW: Final = (0, 2, 3, 1)
_NCHW_FROM_NHWC: Final = (0, 3, 1, 2)
_TOKENS: Final = ("int32", "int64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was told from the tensors. ``doubt`` says why an input that looks like an image is not taken for one."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    picture: Picture | None
    doubt: str


def read(signature: Signature, preprocess: Preprocess, samples: Samples) -> Reading:
    """Say what each input is, and how a picture becomes one."""
    picture, doubt = _picture(signature, preprocess, samples)
    inputs = tuple(_input(tensor, picture) for tensor in signature.inputs)
    outputs = tuple(_plain(tensor, "tensor") for tensor in signature.outputs)
    return Reading(inputs=inputs, outputs=outputs, picture=picture, doubt=doubt)


def _plain(tensor: TensorSpec, kind: Any, layout: Layout | None = None) -> Tensor:
    quantization = Quantization(scale=tensor.scale, zero_point=tensor.zero_point) if tensor.scale else None
    return Tensor(
        name=tensor.name,
        dtype=tensor.dtype,
        shape=tensor.shape,
        kind=kind,
        layout=layout,
        quantization=quantization,
    )


def _input(tensor: TensorSpec, picture: Picture | None) -> Tensor:
    if picture is not None:
        return _plain(tensor, "image", picture.layout)
    is_tokens = tensor.dtype in _TOKENS and len(tensor.shape) == 2 and tensor.shape[0] == 1
    return _plain(tensor, "tokens" if is_tokens else "tensor")


def _picture(signature: Signature, preprocess: Preprocess, samples: Samples) -> tuple[Picture | None, str]:
    if len(signature.inputs) != 1 or len(signature.inputs[0].shape) != _IMAGE_RANK:
        return None, ""
    only = signature.inputs[0]
    layout = _layout(only, preprocess)
    height, width, depth = _sides(only.shape, layout)
    colour: Literal["rgb", "bgr", "gray"] = "gray" if depth == 1 else preprocess.colour
    if only.shape[0] not in (1, -1) or min(height, width) < 1 or depth != (1 if colour == "gray" else 3):
        return None, ""
    picture = Picture(
        resize=preprocess.resize or (None if preprocess.crop else (height, width)),
        crop=preprocess.crop,
        colour=colour,
        scale=preprocess.scale,
        mean=preprocess.mean,
        std=preprocess.std,
        layout=layout,
    )
    if (picture.crop or picture.resize) != (height, width):
        return None, f"pictures come out of the preprocessing {picture.crop or picture.resize}, not {height} x {width}"
    if doubt := _scale_doubt(picture, samples.inputs.get(only.name), only.dtype):
        return None, doubt
    return picture, ""


def _layout(tensor: TensorSpec, preprocess: Preprocess) -> Layout:
    """Return the axis order of the build's own input, which a converter may have turned."""
    turned: dict[tuple[int, ...], Layout] = {_NHWC_FROM_NCHW: "nhwc", _NCHW_FROM_NHWC: "nchw"}
    if tensor.perm in turned:
        return turned[tensor.perm]
    depth = arithmetic.channels(preprocess)
    if preprocess.layout == "nhwc" and tensor.shape[3] not in (1, depth) and tensor.shape[1] in (1, depth):
        return "nchw"
    return preprocess.layout


def _sides(shape: tuple[int, ...], layout: Layout) -> tuple[int, int, int]:
    return (shape[2], shape[3], shape[1]) if layout == "nchw" else (shape[1], shape[2], shape[3])


def _scale_doubt(picture: Picture, values: NDArray[Any] | None, dtype: str) -> str:
    """Hold the declared preprocessing against what the model was verified with: the mistake every team makes once."""
    if values is None or np.dtype(dtype).kind != "f":
        return ""
    seen = float(np.max(np.abs(values), initial=0.0))
    usual = goldens.usual_range(picture)
    if seen > usual * 1.01 or seen * _OFF_SCALE < usual:
        return (
            f"pixels come out of the preprocessing as up to {usual:.4g}, but the model was verified on up to {seen:.4g}"
        )
    return ""


def task_of(reading: Reading, labels: int | None) -> Task:
    """Return the task that the tensors and the number of labels tell."""
    kinds = {tensor.kind for tensor in reading.inputs}
    if kinds == {"tokens"} and len(reading.inputs) == 1:
        return "text"
    found = detection(reading)
    if kinds == {"image"} and labels is not None and found is not None and found.layout != "yolo":
        return "detection"  # one tensor of rank 3 may be anything: YOLO's is taken for boxes only when the user says so
    if kinds == {"image"} and labels is not None and _scores(reading, labels) is not None:
        return "classification"
    return "tensor"


def check_task(task: Task, reading: Reading, labels: int | None) -> None:
    """Refuse a task that the build cannot be used for.

    Raises:
        SettingsError: what is missing for it, and how to give it.
    """
    kinds = [tensor.kind for tensor in reading.inputs]
    if task in ("classification", "detection") and kinds != ["image"]:
        why = reading.doubt or f"its inputs are {', '.join(_said(tensor) for tensor in reading.inputs)}"
        hint = (
            "Declare the preprocessing that the data was made with (resize, scale, mean, std) and build again."
            if reading.doubt
            else "Choose --task tensor, or text."
        )
        raise SettingsError(f"The build cannot be an app for {task}: {why}.", hint=hint)
    if task == "text" and kinds != ["tokens"]:
        raise SettingsError(
            "The build cannot be an app for text: that takes one input of int32 or int64 token numbers [1, length]; "
            f"it has {', '.join(_said(tensor) for tensor in reading.inputs)}.",
            hint="Choose --task tensor.",
        )
    if task == "detection" and detection(reading) is None:
        raise SettingsError(
            f"The outputs {', '.join(_said(tensor) for tensor in reading.outputs)} are no boxes that palmtop knows.",
            hint="Known are boxes [1,N,4] with scores [1,N,C], the four outputs of SSD, and YOLO's [1,4+C,N].",
        )
    if task in ("classification", "detection") and labels is None:
        raise SettingsError(
            f"An app for {task} shows labels, and the build has none.",
            hint="Give --labels FILE with one a line in the order of the classes, or choose --task tensor.",
        )
    if task == "classification" and labels is not None and _scores(reading, labels) is None:
        raise SettingsError(
            f"There are {labels} labels, but no output of {labels} scores: the build has "
            f"{', '.join(_said(tensor) for tensor in reading.outputs)}.",
            hint="Give one label for each class, in their order.",
        )


def _said(tensor: Tensor) -> str:
    return f"{tensor.name!r} {tensor.dtype} {list(tensor.shape)}"


def _scores(reading: Reading, labels: int) -> Tensor | None:
    """Return the first output that has one number for each label."""
    fits = (one for one in reading.outputs if one.shape in ((1, labels), (-1, labels)) and labels > 1)
    return next(fits, None)


def detection(reading: Reading) -> Detection | None:
    """Return how boxes lie in the outputs, or None where palmtop knows no such outputs."""
    outputs = reading.outputs
    boxes = [one for one in outputs if len(one.shape) == 3 and one.shape[0] == 1 and one.shape[2] == 4]
    if len(outputs) == 4 and len(boxes) == 1:
        return _ssd(outputs, boxes[0])
    if len(outputs) == 2 and len(boxes) == 1:
        other = next(one for one in outputs if one is not boxes[0])
        if len(other.shape) == 3 and other.shape[:2] == boxes[0].shape[:2]:
            return _boxes(boxes[0].name, "raw", scores=other.name)
    if len(outputs) == 1 and len(outputs[0].shape) == 3 and outputs[0].shape[0] == 1:
        rows, columns = outputs[0].shape[1:]
        if min(rows, columns) > 4 and rows != columns:
            return _boxes(outputs[0].name, "yolo", classes_first=rows < columns)
    return None


def _ssd(outputs: tuple[Tensor, ...], boxes: Tensor) -> Detection | None:
    """The outputs of TensorFlow's detection post-processing come in this order: boxes, classes, scores, count."""
    rest = [one for one in outputs if one is not boxes]
    flat = [one for one in rest if one.shape == boxes.shape[:2]]
    counts = [one for one in rest if one.shape in ((1,), ())]
    if len(flat) != 2 or len(counts) != 1:
        return None
    by_name = [one for one in flat if "class" in one.name.lower()]
    classes = by_name[0] if len(by_name) == 1 else flat[0]
    scores = next(one for one in flat if one is not classes)
    return _boxes(boxes.name, "ssd", scores=scores.name, classes=classes.name, count=counts[0].name)


def _boxes(
    boxes: str,
    layout: Literal["ssd", "raw", "yolo"],
    *,
    scores: str | None = None,
    classes: str | None = None,
    count: str | None = None,
    classes_first: bool = False,
) -> Detection:
    return Detection(
        layout=layout,
        boxes=boxes,
        scores=scores,
        classes=classes,
        count=count,
        box_format="cxcywh" if layout == "yolo" else "yxyx",
        box_units="pixels" if layout == "yolo" else "normalised",
        classes_first=classes_first,
    )


def outputs_for(
    task: Task, reading: Reading, labels: int | None, samples: Samples
) -> tuple[tuple[Tensor, ...], Classification | Detection | Plain]:
    """Return the outputs with their kinds, and what the app makes of them."""
    scores = _scores(reading, labels) if labels else None
    if task in ("classification", "text") and scores is not None:
        after = Classification(
            output=scores.name,
            activation=_activation(samples.outputs.get(scores.name), scores.quantization),
            top_k=min(TOP_K, labels or 1),
        )
        return _with_kinds(reading.outputs, {scores.name: "scores"}), after
    found = detection(reading) if task == "detection" else None
    if found is None:
        return reading.outputs, Plain()
    kinds = {found.boxes: "boxes", found.scores: "scores", found.classes: "classes", found.count: "count"}
    return _with_kinds(reading.outputs, kinds), found


def _with_kinds(outputs: tuple[Tensor, ...], kinds: dict[Any, Any]) -> tuple[Tensor, ...]:
    return tuple(dataclasses.replace(one, kind=kinds.get(one.name, one.kind)) for one in outputs)


def _activation(values: NDArray[Any] | None, meaning: Quantization | None) -> Literal["none", "softmax"]:
    """Say whether scores already are shares of one: between 0 and 1, summing to 1 within an 8-bit step a class."""
    if values is None or (values.dtype.kind != "f" and meaning is None):
        return "none"
    rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
    if meaning is not None:
        rows = (rows - meaning.zero_point) * meaning.scale
    within = bool((rows >= -1e-3).all() and (rows <= 1 + 1e-2).all())
    return "none" if within and bool((np.abs(rows.sum(axis=1) - 1) <= 0.1).all()) else "softmax"


def text_input(reading: Reading, *, vocabulary: bool) -> TextInput:
    """Return how a text becomes the one input of token numbers."""
    only = reading.inputs[0]
    return TextInput(
        input=only.name,
        encoding="vocabulary" if vocabulary else "utf8",
        length=only.shape[1] if only.shape[1] > 0 else 128,
        vocabulary=spec.VOCABULARY if vocabulary else None,
    )
