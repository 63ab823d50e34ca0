"""Keras models saved as ``.keras``, or as HDF5 by Keras 2, read in safe mode: no code from the file is ever run.

An HDF5 file that Keras 3 cannot read is read by Keras 2 where that is installed (the package tf-keras).
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.core import pins
from toolkit.core.artifacts import Signature, ToolVersion
from toolkit.core.frameworks import import_tensorflow
from toolkit.core.ports import Session
from toolkit.sources import _keras_h5
from toolkit.sources._tensorflow import DTYPES, TensorFlowSession, Traced, check_form, save, spec_of
from toolkit.sources.base import (
    TOO_BIG,
    cannot_read,
    check_shape_names,
    first_look,
    foreign_format,
    identifiers,
    one_line,
    static_shape,
)

SUFFIXES = (".keras", *_keras_h5.SUFFIXES)
FORMS = ("saved_model",)

_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
_CONFIG_LIMIT = 64 << 20
_TOTAL_LIMIT = 2 << 30
_ONLY_KERAS_2 = ("Functional", "InputLayer", "Policy", "CuDNNLSTM", "CuDNNGRU", "SyncBatchNormalization")
_SAVE_AGAIN = "Open it where it was trained and save it with `model.save('NAME.keras')` under Keras 3."


def recognises(path: Path) -> str | None:
    """Look at the archive's table of contents, or at HDF5's superblock: None when it may be a model, else the fault."""
    wrong = first_look(path)
    if wrong is not None:
        return wrong
    with path.open("rb") as file:
        head = file.read(64)
    if path.suffix.lower() in _keras_h5.SUFFIXES:
        other = None if head.startswith(_keras_h5.MAGIC) else foreign_format(head)
        return f"it is {other}, not an HDF5 file" if other else _keras_h5.fault(path)
    if not head.startswith(b"PK"):
        other = foreign_format(head)
        return f"it is {other}, not a Keras 3 archive" if other else "it is not a Keras 3 archive (a zip file)"
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {item.filename: item.file_size for item in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "it is a cut-off or damaged zip archive"
    missing = [name for name in _MEMBERS if name not in sizes]
    if missing:
        return f"it is a zip archive without {', '.join(missing)}, so not a Keras 3 model"
    if sizes["config.json"] > _CONFIG_LIMIT or sum(sizes.values()) > _TOTAL_LIMIT:
        return f"it unpacks to more {TOO_BIG}, the most that mobile formats hold"
    return None


def files(path: Path) -> tuple[Path, ...]:
    """Name the file, and the ranges that it was trained with if it brings any."""
    return pins.files(path)


def load(path: Path, shapes: dict[str, tuple[int, ...]]) -> Any:
    """Return the checked ``keras.Model``, for training.

    Raises:
        ModelError: as :func:`read`; or Keras 3 cannot read it and Keras 2 did.
    """
    import keras

    model = _load.__wrapped__(path)  # one of its own: training changes it, and sessions share theirs
    if not isinstance(model, keras.Model):
        raise cannot_read(path, "only Keras 2 can read it, and palmtop trains Keras 3 models", _SAVE_AGAIN)
    check_shape_names(shapes, identifiers([str(tensor.name) for tensor in _inputs(path, model)]))
    return model


def read(path: Path, shapes: dict[str, tuple[int, ...]]) -> Signature:
    """Return the model's signature: input layers' and output layers' names, batch 1.

    Raises:
        ModelError: the archive is damaged, holds custom code, half-precision or quantized weights, has no input, or
            an input axis other than the batch is unknown.
    """
    return _traced(path, shapes).signature


def read_with(path: Path) -> tuple[ToolVersion, ...]:
    """Name the Keras that could read the model, and TensorFlow; the float reference is executed by the same."""
    import keras

    reader = "keras" if isinstance(_load(path), keras.Model) else "tf-keras"
    return tuple(ToolVersion(name=name, version=importlib.metadata.version(name)) for name in (reader, "tensorflow"))


def export(path: Path, form: str, shapes: dict[str, tuple[int, ...]], out: Path) -> None:
    """Write a SavedModel with the one signature ``serving_default``, static shapes and the names of :func:`read`.

    Raises:
        ModelError: as :func:`read`; or the form is not ``saved_model``.
    """
    check_form(form, FORMS, "Keras")
    save(_traced(path, shapes), out)


def open_session(path: Path, shapes: dict[str, tuple[int, ...]]) -> Session:
    """Load the model as the float reference, executed by TensorFlow as one traced function."""
    return TensorFlowSession(_traced(path, shapes))


def toolchain() -> tuple[ToolVersion, ...]:
    """Name Keras and TensorFlow, and Keras 2 where it stands ready for old files."""
    known = ("keras", "tensorflow", *(("tf-keras",) if importlib.util.find_spec("tf_keras") else ()))
    return tuple(ToolVersion(name=name, version=importlib.metadata.version(name)) for name in known)


def _traced(path: Path, shapes: dict[str, tuple[int, ...]]) -> Traced:
    model = _load(path)  # a refusal comes before the seconds that the libraries take to load
    import keras
    import tensorflow as tf

    own = _inputs(path, model)
    names = identifiers([str(tensor.name) for tensor in own])
    check_shape_names(shapes, names)
    specs = [
        tf.TensorSpec(static_shape(name, tensor.shape, shapes.get(name)), tensor.dtype, name=name)
        for name, tensor in zip(names, own, strict=True)
    ]
    outputs = identifiers([_layer_of(tensor) for tensor in model.outputs], taken=names)

    def serve(*tensors: Any) -> dict[str, Any]:
        packed = tensors[0] if type(model).__name__ == "Sequential" else _packed(model, tensors)
        return dict(zip(outputs, keras.tree.flatten(model(packed, training=False)), strict=True))

    function = tf.function(serve, input_signature=specs, autograph=False)
    try:
        concrete = function.get_concrete_function()
    except Exception as error:  # whatever a layer raises for these shapes
        raise cannot_read(
            path,
            f"it does not run on inputs of shape {[list(spec.shape) for spec in specs]}: {one_line(error)}",
            "Give sizes that the model was built for with --shape NAME=1,...",
        ) from error
    signature = Signature(
        inputs=tuple(spec_of(spec.name, spec) for spec in specs),
        outputs=tuple(spec_of(name, concrete.structured_outputs[name]) for name in outputs),
    )
    return Traced(model, concrete, signature)


def _packed(model: Any, tensors: tuple[Any, ...]) -> Any:
    """Put flat inputs into the list, dictionary or single tensor that a functional model was built with."""
    import keras

    return keras.tree.pack_sequence_as(model.input, list(tensors))


@functools.lru_cache(maxsize=1)
def _load(path: Path) -> Any:
    wrong = recognises(path)
    if wrong is not None:
        raise cannot_read(path, wrong, _SAVE_AGAIN)
    old = path.suffix.lower() in _keras_h5.SUFFIXES
    config = _keras_h5.config_of(path, _SAVE_AGAIN) if old else _archived_config(path)
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import_tensorflow()
    import keras

    for item in _objects(config):
        _check_object(path, item)
        if old:
            _check_old_object(path, item)
    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a file that is not what it says
        said = f"Keras {keras.__version__} says: {one_line(error)}"
        if not old:
            raise cannot_read(path, said, _SAVE_AGAIN) from error
        model = _load_old(path, said)
    _check_weights(path, model)
    return model


def _load_old(path: Path, said: str) -> Any:
    try:
        return _keras_h5.load_old(path)
    except ImportError as error:
        raise cannot_read(
            path, said, f"Keras 2 may read it: pip install 'tf-keras>=2.21,<2.22', and try again. {_SAVE_AGAIN}"
        ) from error
    except Exception as error:  # as above
        raise cannot_read(path, f"{said}; and tf-keras says: {one_line(error)}", _SAVE_AGAIN) from error


def _inputs(path: Path, model: Any) -> list[Any]:
    inputs = list(model.inputs or ()) if getattr(model, "built", False) else []
    if not inputs:
        raise cannot_read(
            path,
            "it has no input; it was saved before it was built",
            "Start it with `keras.Input(shape=...)`, or call it once, and save it again.",
        )
    for tensor in inputs:
        if _dtype(tensor) not in DTYPES:
            raise cannot_read(
                path,
                f"its input {tensor.name!r} is {_dtype(tensor)}, which mobile runtimes do not take",
                f"Rebuild it with an input of one of: {', '.join(DTYPES)}.",
            )
    return inputs


def _archived_config(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, RecursionError) as error:
        raise cannot_read(path, f"its config.json is damaged ({one_line(error)})", _SAVE_AGAIN) from error
    if damaged is not None:
        raise cannot_read(path, f"its {damaged} is damaged", "Copy or download the file again.")
    return config


def _objects(plain: Any) -> Iterator[dict[str, Any]]:
    stack = [plain]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            stack.extend(inner for key, inner in value.items() if key != "compile_config")
        elif isinstance(value, list):
            stack.extend(value)


def _check_object(path: Path, item: dict[str, Any]) -> None:
    kind, module = str(item["class_name"]), item.get("module", "keras")
    config = item.get("config")
    name = config.get("name", kind) if isinstance(config, dict) else kind
    if kind in ("Lambda", "__lambda__"):
        raise cannot_read(
            path,
            f"the layer {name!r} is a Lambda, whose code would have to be run from the file, and palmtop reads models "
            "in Keras safe mode",
            "Replace it by keras.ops or a built-in layer and save the model again.",
        )
    if module is None or not (str(module) == "keras" or str(module).startswith("keras.")):
        raise cannot_read(
            path,
            f"{name!r} is the custom object {item.get('registered_name') or kind}, whose code is not in the file, and "
            "palmtop reads models in Keras safe mode",
            "Rebuild that part with built-in Keras layers, or export the model to ONNX, and try again.",
        )
    if kind == "QuantizedDTypePolicy":
        raise cannot_read(
            path, "its layers are quantized already (Keras quantize)", "Give palmtop the float model instead."
        )


def _check_old_object(path: Path, item: dict[str, Any]) -> None:
    """Refuse what Keras 2 would look for in the user's own code: its files name classes without their modules.

    Objects that name their module, as Keras 3 writes them into HDF5 too, have passed :func:`_check_object`; names such
    as ``__keras_tensor__`` are plain values.
    """
    import keras

    kind = str(item["class_name"])
    if kind in ("TFOpLambda", "SlicingOpLambda"):
        _keras_h5.check_call(path, item)
        return
    rooms = (keras.layers, keras.models, keras.initializers, keras.regularizers, keras.constraints, keras.activations)
    known = (
        kind in _ONLY_KERAS_2 or kind.startswith("__") or "module" in item or any(hasattr(room, kind) for room in rooms)
    )
    if not known and "config" in item:
        trained = kind in ("QuantizeLayer", "QuantizeWrapper", "QuantizeWrapperV2")
        hint = "Rebuild that part with built-in Keras layers, or export the model to ONNX, and try again."
        if trained:
            hint = "It was trained for quantization: `palmtop tune FILE -o DIR` converts it and keeps its ranges."
        raise cannot_read(path, f"it holds the custom object {kind}, whose code is not in the file", hint)


def _check_weights(path: Path, model: Any) -> None:
    import keras

    for layer in model._flatten_layers():  # noqa: SLF001  (the public `layers` stops at nested models)
        if isinstance(layer, keras.Model):
            continue
        policy = layer.dtype_policy
        used = {str(policy.compute_dtype), *(_dtype(weight) for weight in layer.weights)}
        odd = sorted(used & {"float16", "bfloat16", "float64"})
        if odd:
            what = "mixed precision" if str(policy.variable_dtype) == "float32" else f"{odd[0]} weights"
            raise cannot_read(
                path,
                f"{what}: the layer {layer.name!r} has the policy {policy.name!r}, and palmtop quantizes from float32",
                "Rebuild the model after `keras.config.set_dtype_policy('float32')`, `load_weights` from this file, "
                "and save it again.",
            )


def _layer_of(tensor: Any) -> str:
    history = tensor._keras_history  # noqa: SLF001  (Keras offers no public way from tensor to layer)
    return str((history.operation if hasattr(history, "operation") else history.layer).name)


def _dtype(tensor: Any) -> str:
    """Return the dtype's word; Keras 3 has the word itself, TensorFlow and Keras 2 an object."""
    return str(getattr(tensor.dtype, "name", tensor.dtype))
