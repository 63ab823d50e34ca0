"""What a Core ML model takes and gives, beyond plain arrays: pictures, class labels and shapes that may vary.

A picture goes in and out as decoders have it: uint8 [1, height, width, 3] in RGB, or [1, height, width, 1] in grey. The
program sees it as floats [1, channels, height, width] from 0 to 255, in the order of colours that the model declares;
its scale and bias are operations of the program. A classifier's dictionary goes out as an array of its values, in the
order of the model's labels, and its label as an array of one element.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import DataError, ModelError
from toolkit.core.ports import Feeds

SOURCE_NAMES = "palmtop.source_names"

Colour = Literal["rgb", "bgr", "gray"]
Sizes = tuple[tuple[int, int], ...]
"""The least and the largest size of each axis; a largest of -1 has no limit."""

_DTYPES = {65568: "float32", 65600: "float64", 65552: "float16", 131104: "int32", 131080: "int8"}
_COLOURS: dict[int, Colour] = {10: "gray", 20: "rgb", 30: "bgr"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A model's description: its arrays, which of them are pictures and in which colours, labels, and flexible inputs.

    ``label`` and ``probabilities`` name the two outputs of a classifier. ``ranges`` and ``choices`` hold what sizes the
    flexible inputs may have: between bounds, or one of some shapes.
    """

    signature: Signature
    pictures: Mapping[str, Colour] = field(default_factory=dict)
    label: str = ""
    probabilities: str = ""
    labels: tuple[str | int, ...] = ()
    ranges: Mapping[str, Sizes] = field(default_factory=dict)
    choices: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)

    @property
    def is_flexible(self) -> bool:
        """Whether any input may have more than one shape."""
        return bool(self.ranges or self.choices)

    def check_shapes(self, feeds: Feeds) -> None:
        """Hold the shapes of arrays against what the model declares.

        Raises:
            DataError: a shape is not allowed; what is, is named.
        """
        for name, sizes in self.ranges.items():
            rows = zip(feeds[name].shape, sizes, strict=True)
            if not all(low <= size and (high < 0 or size <= high) for size, (low, high) in rows):
                words = " x ".join(f"{low} to {'any' if high < 0 else high}" for low, high in sizes)
                raise DataError(f"The input {name!r} takes {words}, not {list(feeds[name].shape)}.")
        for name, shapes in self.choices.items():
            if feeds[name].shape not in shapes:
                words = ", ".join(str(list(shape)) for shape in shapes)
                raise DataError(f"The input {name!r} takes one of {words}, not {list(feeds[name].shape)}.")


def described(model: Any) -> Any:
    """Return the description of the function that is executed; a model of several functions has one for each."""
    wanted = model.description.defaultFunctionName
    return next((item for item in model.description.functions if item.name == wanted), model.description)


def interface_of(model: Any, where: Path) -> Interface:
    """Read a model's description.

    Raises:
        ModelError: an input or output is of a kind that is not executed here; it is named.
    """
    description = described(model)
    sources = _source_names(model, where)
    inputs = tuple(_spec(feature, sources, where) for feature in description.input)
    label, probabilities = description.predictedFeatureName, description.predictedProbabilitiesName
    labels = _labels(model) if label else ()
    outputs = tuple(
        _classified(feature, labels, label, probabilities) or _spec(feature, sources, where)
        for feature in description.output
    )
    features = [*description.input, *description.output]
    return Interface(
        signature=Signature(inputs=inputs, outputs=outputs),
        pictures={
            feature.name: _COLOURS[feature.type.imageType.colorSpace]
            for feature in features
            if feature.type.WhichOneof("Type") == "imageType"
        },
        label=label,
        probabilities=probabilities,
        labels=labels,
        ranges={feature.name: sizes for feature in description.input if (sizes := _ranges(feature))},
        choices={feature.name: shapes for feature in description.input if (shapes := _choices(feature))},
    )


def _source_names(model: Any, where: Path) -> dict[str, str]:
    text = model.description.metadata.userDefined.get(SOURCE_NAMES, "{}")
    try:
        return {str(key): str(value) for key, value in json.loads(text).items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{where}: the names of its source's tensors are damaged.", hint="Build it again.") from error


def _spec(feature: Any, sources: dict[str, str], where: Path) -> TensorSpec:
    kind = feature.type.WhichOneof("Type")
    if kind == "imageType":
        return _picture(feature, where)
    if kind != "multiArrayType":
        words = {"dictionaryType": "a dictionary", "sequenceType": "a sequence", "stringType": "a string"}
        raise ModelError(
            f"{where}: {feature.name!r} is {words.get(str(kind), str(kind))}, which is not executed here.",
            hint="Convert the model with multi-array or image inputs and outputs.",
        )
    array = feature.type.multiArrayType
    if array.dataType not in _DTYPES:
        raise ModelError(f"{where}: {feature.name!r} has the unknown element type {array.dataType}.")
    shape = tuple(int(size) for size in array.shape)
    ranges, choices = _ranges(feature), _choices(feature)
    if ranges:
        shape = tuple(low if low == high else -1 for low, high in ranges)
    elif choices:
        shape = tuple(sizes[0] if len(set(sizes)) == 1 else -1 for sizes in zip(*choices, strict=True))
    return TensorSpec(
        name=feature.name, dtype=_DTYPES[array.dataType], shape=shape, source_name=sources.get(feature.name, "")
    )


def _picture(feature: Any, where: Path) -> TensorSpec:
    image = feature.type.imageType
    if image.colorSpace not in _COLOURS:
        raise ModelError(f"{where}: {feature.name!r} is an image of half-precision greys, which is not executed here.")
    if image.WhichOneof("SizeFlexibility"):
        raise ModelError(
            f"{where}: {feature.name!r} is an image of flexible size, which is not executed here.",
            hint="Convert the model with one image size.",
        )
    channels = 1 if _COLOURS[image.colorSpace] == "gray" else 3
    return TensorSpec(name=feature.name, dtype="uint8", shape=(1, int(image.height), int(image.width), channels))


def _classified(feature: Any, labels: tuple[str | int, ...], label: str, probabilities: str) -> TensorSpec | None:
    if feature.name == label:
        dtype = "int64" if feature.type.WhichOneof("Type") == "int64Type" else "str"
        return TensorSpec(name=feature.name, dtype=dtype, shape=(1,))
    if probabilities and feature.name == probabilities:
        return TensorSpec(name=feature.name, dtype="float32", shape=(len(labels),))
    return None


def _labels(model: Any) -> tuple[str | int, ...]:
    """Return the labels that a ``classify`` operation of the program lists."""
    wanted = model.description.defaultFunctionName or "main"
    for function in (function for name, function in model.mlProgram.functions.items() if name == wanted):
        for block in function.block_specializations.values():
            constants = {
                operation.outputs[0].name: operation.attributes["val"]
                for operation in block.operations
                if operation.type == "const" and len(operation.outputs) == 1 and "val" in operation.attributes
            }
            for operation in block.operations:
                if operation.type == "classify" and operation.inputs["classes"].arguments:
                    bound = operation.inputs["classes"].arguments[0]
                    held = constants.get(bound.name, bound.value)
                    return tuple(_label(item.immediateValue.tensor) for item in held.immediateValue.list.values)
    return ()


def _label(tensor: Any) -> str | int:
    if tensor.WhichOneof("value") == "strings":
        return str(tensor.strings.values[0])
    return int(getattr(tensor, tensor.WhichOneof("value")).values[0])


def _ranges(feature: Any) -> Sizes:
    if feature.type.WhichOneof("Type") != "multiArrayType":
        return ()
    sizes = feature.type.multiArrayType.shapeRange.sizeRanges
    return tuple((int(size.lowerBound), int(size.upperBound)) for size in sizes)


def _choices(feature: Any) -> tuple[tuple[int, ...], ...]:
    if feature.type.WhichOneof("Type") != "multiArrayType":
        return ()
    shapes = feature.type.multiArrayType.enumeratedShapes.shapes
    return tuple(tuple(int(size) for size in shape.shape) for shape in shapes)
