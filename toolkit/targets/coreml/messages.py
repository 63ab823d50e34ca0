"""The protobuf messages of a Core ML model, and what its description says.

``import coremltools`` takes seconds and pulls in TensorFlow, PyTorch and scikit-learn where they are installed. Its
generated message modules need none of that, so they are loaded from its folder under a package name of our own, which
leaves ``coremltools/__init__.py`` unread. A model opens in a tenth of a second this way.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import ModelError, ToolMissing
from toolkit.targets.coreml.package import Package

_ROOM = "toolkit_coreml_messages"
_SOURCE_NAMES = "palmtop.source_names"
_ML_PROGRAM = "mlProgram"
_FEATURE_DTYPES = {65568: "float32", 65600: "float64", 65552: "float16", 131104: "int32", 131080: "int8"}


@functools.cache
def model_messages() -> ModuleType:
    """Return coremltools' ``Model_pb2`` without importing coremltools.

    Raises:
        ToolMissing: coremltools is not installed.
    """
    if "coremltools" in sys.modules:
        return importlib.import_module("coremltools.proto.Model_pb2")
    found = importlib.util.find_spec("coremltools")
    if found is None or not found.submodule_search_locations:
        raise ToolMissing("coremltools is not installed.", hint="`pip install coremltools`")
    room = ModuleType(_ROOM)
    room.__path__ = [str(Path(found.submodule_search_locations[0]) / "proto")]
    sys.modules[_ROOM] = room
    return importlib.import_module(f"{_ROOM}.Model_pb2")


def read_specification(package: Package) -> Any:
    """Parse the ``Model`` message of a package.

    Raises:
        ModelError: it is damaged, encrypted, or not an ML Program.
    """
    from google.protobuf.message import DecodeError

    model = model_messages().Model()
    try:
        model.ParseFromString(package.specification.read_bytes())
    except (DecodeError, OSError) as error:
        raise ModelError(
            f"{package.root}: the model's specification cannot be read.",
            hint="It is truncated or encrypted; copy or export it again.",
        ) from error
    kind = model.WhichOneof("Type")
    if kind != _ML_PROGRAM:
        raise ModelError(
            f"{package.root} holds a Core ML model of kind {kind or 'nothing'!r}, not an ML Program.",
            hint="Old formats are not executed here; convert the model again with a current coremltools.",
        )
    return model


def signature_of(model: Any, where: Path) -> Signature:
    """Return what a model description offers: multi-arrays of fixed shape.

    Raises:
        ModelError: an input or output is an image, a dictionary or a sequence, or its shape is flexible.
    """
    if len(model.description.state):
        raise ModelError(f"{where} keeps state between calls, which is not executed here yet.")
    sources = _source_names(model, where)
    return Signature(
        inputs=tuple(_spec(feature, sources, where) for feature in model.description.input),
        outputs=tuple(_spec(feature, sources, where) for feature in model.description.output),
    )


def keep_source_names(model: Any, signature: Signature) -> None:
    """Write into the model which tensor of the source each of its tensors stands for, where the names differ."""
    names = {spec.name: spec.source_name for spec in (*signature.inputs, *signature.outputs) if spec.source_name}
    if names:
        model.description.metadata.userDefined[_SOURCE_NAMES] = json.dumps(names, sort_keys=True)


def _source_names(model: Any, where: Path) -> dict[str, str]:
    text = model.description.metadata.userDefined.get(_SOURCE_NAMES, "{}")
    try:
        return {str(key): str(value) for key, value in json.loads(text).items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise ModelError(f"{where}: the names of its source's tensors are damaged.", hint="Build it again.") from error


def _spec(feature: Any, sources: dict[str, str], where: Path) -> TensorSpec:
    kind = feature.type.WhichOneof("Type")
    if kind != "multiArrayType":
        words = {"imageType": "an image", "dictionaryType": "a dictionary", "sequenceType": "a sequence"}
        raise ModelError(
            f"{where}: {feature.name!r} is {words.get(str(kind), str(kind))}; only multi-arrays are executed here yet.",
            hint="Convert the model with multi-array inputs and outputs.",
        )
    array = feature.type.multiArrayType
    if array.WhichOneof("ShapeFlexibility"):
        raise ModelError(f"{where}: {feature.name!r} has a flexible shape.", hint="Convert it with fixed shapes.")
    if array.dataType not in _FEATURE_DTYPES:
        raise ModelError(f"{where}: {feature.name!r} has the unknown element type {array.dataType}.")
    source = sources.get(feature.name, "")
    shape = tuple(int(size) for size in array.shape)
    return TensorSpec(name=feature.name, dtype=_FEATURE_DTYPES[array.dataType], shape=shape, source_name=source)
