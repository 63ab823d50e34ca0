"""Keras 3 models saved as ``.keras``, read in safe mode: no code from the file is ever run."""

from __future__ import annotations

import importlib.metadata
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.core.artifacts import Signature, TensorSpec, ToolVersion
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array, Feeds, Session
from toolkit.core.signature import check_feeds
from toolkit.sources.base import (
    cannot_read,
    check_shape_names,
    first_look,
    foreign_format,
    identifiers,
    one_line,
    static_shape,
)

SUFFIXES = (".keras",)
FORMS = ("saved_model",)
SIGNATURE_KEY = "serving_default"

_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")
_CONFIG_LIMIT = 64 << 20
_TOTAL_LIMIT = 2 << 30
_DTYPES = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")
_SAVE_AGAIN = "Open it where it was trained and save it with `model.save('NAME.keras')` under Keras 3."


def recognises(path: Path) -> str | None:
    """Look at the archive's table of contents: None when it may be a Keras 3 model, else what is wrong."""
    wrong = first_look(path)
    if wrong is not None:
        return wrong
    with path.open("rb") as file:
        head = file.read(64)
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
        return "it unpacks to more than 2 GB, the most that mobile formats hold"
    return None


def read(path: Path, shapes: dict[str, tuple[int, ...]]) -> Signature:
    """Return the model's signature: input layers' and output layers' names, batch 1.

    Raises:
        ModelError: the archive is damaged, holds custom code, half-precision or quantized weights, has no input, or
            an input axis other than the batch is unknown.
    """
    return _Traced.of(path, shapes).signature


def export(path: Path, form: str, shapes: dict[str, tuple[int, ...]], out: Path) -> None:
    """Write a SavedModel with the one signature ``serving_default``, static shapes and the names of :func:`read`.

    Raises:
        ModelError: as :func:`read`; or the form is not ``saved_model``.
    """
    if form not in FORMS:
        raise ModelError(f"A Keras model is not exported as {form!r}.", hint=f"Forms: {', '.join(FORMS)}.")
    import tensorflow as tf

    module = tf.Module()
    frozen = _frozen(_Traced.of(path, shapes))
    tf.saved_model.save(module, str(out), signatures={SIGNATURE_KEY: frozen})


def open_session(path: Path, shapes: dict[str, tuple[int, ...]]) -> Session:
    """Load the model as the float reference, executed by TensorFlow as one traced function."""
    return KerasSession(_Traced.of(path, shapes))


def toolchain() -> tuple[ToolVersion, ...]:
    """Name Keras and TensorFlow."""
    return tuple(ToolVersion(name=name, version=importlib.metadata.version(name)) for name in ("keras", "tensorflow"))


class KerasSession:
    """A Keras model, traced once for its static shapes."""

    def __init__(self, traced: _Traced) -> None:
        self.signature = traced.signature
        self._traced: _Traced | None = traced

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once; see :class:`toolkit.core.ports.Session`."""
        import tensorflow as tf

        assert self._traced is not None, "the session is closed"
        check_feeds(feeds, self.signature)
        answer = self._traced.concrete(*(tf.constant(feeds[spec.name]) for spec in self.signature.inputs))
        return {spec.name: answer[spec.name].numpy() for spec in self.signature.outputs}

    def close(self) -> None:
        self._traced = None


class _Traced(NamedTuple):
    """A model's function traced for static shapes; ``model`` keeps its variables alive."""

    model: Any
    concrete: Any
    signature: Signature

    @classmethod
    def of(cls, path: Path, shapes: dict[str, tuple[int, ...]]) -> _Traced:
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
            packed = tensors[0] if isinstance(model, keras.Sequential) else _packed(model, tensors)
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
            inputs=tuple(_spec(spec.name, spec) for spec in specs),
            outputs=tuple(_spec(name, concrete.structured_outputs[name]) for name in outputs),
        )
        return cls(model, concrete, signature)


def _frozen(traced: _Traced) -> Any:
    """Return the traced function with variables as constants, under the same names.

    Left as variables, Keras 3 weights become READ_VARIABLE operators in TFLite and arrive there as NaN; constants are
    also what the converters to ONNX and Core ML begin with.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    constant = convert_variables_to_constants_v2(traced.concrete, lower_control_flow=False)
    names = sorted(spec.name for spec in traced.signature.outputs)  # the order in which TensorFlow flattens a dict

    def serve(*tensors: Any) -> dict[str, Any]:
        return dict(zip(names, constant(*tensors), strict=True))

    specs = [tf.TensorSpec(spec.shape, spec.dtype, name=spec.name) for spec in traced.signature.inputs]
    return tf.function(serve, input_signature=specs, autograph=False).get_concrete_function()


def _packed(model: Any, tensors: tuple[Any, ...]) -> Any:
    """Put flat inputs into the list, dictionary or single tensor that a functional model was built with."""
    import keras

    return keras.tree.pack_sequence_as(model.input, list(tensors))


def _load(path: Path) -> Any:
    wrong = recognises(path)
    if wrong is not None:
        raise cannot_read(path, wrong, _SAVE_AGAIN)
    _check_config(path)
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    try:
        model = keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many kinds for a file that is not what it says
        raise cannot_read(path, f"Keras {keras.__version__} says: {one_line(error)}", _SAVE_AGAIN) from error
    _check_weights(path, model)
    return model


def _inputs(path: Path, model: Any) -> list[Any]:
    inputs = list(model.inputs or ()) if getattr(model, "built", False) else []
    if not inputs:
        raise cannot_read(
            path,
            "it has no input; it was saved before it was built",
            "Start it with `keras.Input(shape=...)`, or call it once, and save it again.",
        )
    for tensor in inputs:
        if str(tensor.dtype) not in _DTYPES:
            raise cannot_read(
                path,
                f"its input {tensor.name!r} is {tensor.dtype}, which mobile runtimes do not take",
                f"Rebuild it with an input of one of: {', '.join(_DTYPES)}.",
            )
    return inputs


def _check_config(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            config = json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError, RecursionError) as error:
        raise cannot_read(path, f"its config.json is damaged ({one_line(error)})", _SAVE_AGAIN) from error
    if damaged is not None:
        raise cannot_read(path, f"its {damaged} is damaged", "Copy or download the file again.")
    for item in _objects(config):
        _check_object(path, item)


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


def _check_weights(path: Path, model: Any) -> None:
    import keras

    for layer in model._flatten_layers():  # noqa: SLF001  (the public `layers` stops at nested models)
        if isinstance(layer, keras.Model):
            continue
        policy = layer.dtype_policy
        used = {str(policy.compute_dtype), *(str(weight.dtype) for weight in layer.weights)}
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
    return str(tensor._keras_history.operation.name)  # noqa: SLF001  (Keras offers no public way from tensor to layer)


def _spec(name: str, tensor: Any) -> TensorSpec:
    shape = tuple(-1 if size is None else int(size) for size in tensor.shape)
    return TensorSpec(name=name, dtype=tensor.dtype.name, shape=shape)
