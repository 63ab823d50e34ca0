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

from toolkit.core.artifacts import Signature
from toolkit.core.errors import ModelError, ToolMissing
from toolkit.targets.coreml.interface import SOURCE_NAMES, interface_of
from toolkit.targets.coreml.package import Package

_ROOM = "toolkit_coreml_messages"
_ML_PROGRAM = "mlProgram"


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
    """Return what a model description offers as arrays; see :func:`.interface.interface_of`.

    Raises:
        ModelError: an input or output is of a kind that is not executed here.
    """
    return interface_of(model, where).signature


def keep_source_names(model: Any, signature: Signature) -> None:
    """Write into the model which tensor of the source each of its tensors stands for, where the names differ."""
    names = {spec.name: spec.source_name for spec in (*signature.inputs, *signature.outputs) if spec.source_name}
    if names:
        model.description.metadata.userDefined[SOURCE_NAMES] = json.dumps(names, sort_keys=True)
