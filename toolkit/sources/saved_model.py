"""TensorFlow SavedModels: a folder with ``saved_model.pb``; ``FOLDER:NAME`` asks for one of several signatures.

Loading and executing a SavedModel runs whatever its graphs say, so that they are read first, as data: operators that
reach outside the model (files, Python, the network) are refused before TensorFlow sees the folder.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.core.artifacts import Signature, ToolVersion
from toolkit.core.frameworks import import_tensorflow
from toolkit.core.ports import Session
from toolkit.core.probe import probe_feeds
from toolkit.sources._tensorflow import DTYPES, SIGNATURE_KEY, TensorFlowSession, Traced, check_form, save, spec_of
from toolkit.sources.base import TOO_BIG, cannot_read, check_shape_names, identifiers, one_line, static_shape

SUFFIXES = (".pb",)
FORMS = ("saved_model",)

GRAPH_FILE = "saved_model.pb"
_LIMIT_BYTES = (2 << 30) - 1
_FIELDS = {1: 0, 2: 2}
"""Field numbers of the SavedModel message and their wire types, from saved_model.proto."""
_INTERNAL = "__saved_model_init_op", "__saved_model_train_op"
_OUTSIDE = (
    "ReadFile",
    "WriteFile",
    "MatchingFiles",
    "WholeFileReader",
    "PyFunc",
    "PyFuncStateless",
    "EagerPyFunc",
    "Dataset",
    "RemoteCall",
    "RemoteFusedGraphExecute",
    "Rpc",
    "Summary",
    "PrintV2",
    "IteratorFromStringHandle",
)
"""Beginnings or ends of operators that reach outside the model. The saver's own, such as RestoreV2, every model has."""
_QUANTIZED = ("Quantize", "Dequantize", "FakeQuant", "Uniform")
_ODD = ("float16", "bfloat16", "float64")
_SAVE_AGAIN = "Write it again with `model.export('FOLDER')` or `tf.saved_model.save`."


def takes(path: Path) -> bool:
    """Whether a path that may not exist as it stands names a SavedModel: the folder, or ``FOLDER:SIGNATURE``."""
    return (_split(path)[0] / GRAPH_FILE).exists()


def recognises(path: Path) -> str | None:
    """Walk the outermost fields of ``saved_model.pb``: None when it may be a SavedModel, else what is wrong."""
    folder = _split(path)[0]
    file = folder / GRAPH_FILE
    if folder.is_file():
        return f"it is a file; a SavedModel is the whole folder that holds {GRAPH_FILE}"
    if not folder.is_dir():
        return "there is no such folder"
    if not file.is_file():
        return f"it is a folder without {GRAPH_FILE}"
    try:
        return _outer_fault(file)
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"


def files(path: Path) -> tuple[Path, ...]:
    """Return every file of the folder, the graph first."""
    folder = _split(path)[0].resolve()
    found = sorted(file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return (folder / GRAPH_FILE, *(file for file in found if file != folder / GRAPH_FILE))


def read(path: Path, shapes: dict[str, tuple[int, ...]]) -> Signature:
    """Return the chosen signature, batch 1; the shapes of outputs are those of one run.

    Raises:
        ModelError: the folder is damaged, reaches outside itself, is quantized or in half precision, has several
            signatures and none is named, has no input, or an axis other than the first is unknown.
    """
    return _traced(path, shapes).signature


def export(path: Path, form: str, shapes: dict[str, tuple[int, ...]], out: Path) -> None:
    """Write the chosen signature alone, with static shapes and constants for variables.

    Raises:
        ModelError: as :func:`read`; or the form is not ``saved_model``.
    """
    check_form(form, FORMS, "SavedModel")
    save(_traced(path, shapes), out)


def open_session(path: Path, shapes: dict[str, tuple[int, ...]]) -> Session:
    """Load the chosen signature as the float reference, executed by TensorFlow."""
    return TensorFlowSession(_traced(path, shapes))


def toolchain() -> tuple[ToolVersion, ...]:
    """Name TensorFlow."""
    return (ToolVersion(name="tensorflow", version=importlib.metadata.version("tensorflow")),)


def _split(path: Path) -> tuple[Path, str]:
    """Return the folder and the signature asked for, if any; a folder whose own name has a colon stays whole."""
    stem, colon, name = path.name.rpartition(":")
    if not colon or path.exists():
        return path, ""
    return path.with_name(stem) if stem else path.parent, name


def _outer_fault(file: Path) -> str | None:
    size = file.stat().st_size
    if size == 0:
        return f"its {GRAPH_FILE} is empty"
    if size + sum(part.stat().st_size for part in (file.parent / "variables").glob("*.data-*")) > _LIMIT_BYTES:
        return f"with its variables it is larger {TOO_BIG}, the most that mobile formats hold"
    raw = file.read_bytes()
    position, graphs = 0, 0
    while position < size:
        tag, position = _varint(raw, position)
        length, position = _varint(raw, position)
        if position < 0 or _FIELDS.get(tag >> 3) != tag & 7:
            return f"its {GRAPH_FILE} is no SavedModel or is damaged"
        if tag & 7 == 2:
            position, graphs = position + length, graphs + 1
    if position > size:
        return f"its {GRAPH_FILE} is cut short: it needs at least {position:,} bytes and has {size:,}"
    return None if graphs else f"its {GRAPH_FILE} holds no graph"


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if not 0 <= position < len(raw):
            break
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    return 0, -1


def _traced(path: Path, shapes: dict[str, tuple[int, ...]]) -> Traced:
    folder, wanted = _split(path)
    wrong = recognises(path)
    if wrong is not None:
        raise cannot_read(path, wrong, _SAVE_AGAIN)
    _check_links(folder)
    message = _parse(folder)
    _check_graphs(folder, message)
    key = _chosen(folder, message, wanted)
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder))
        serve = loaded.signatures[key]
    except Exception as error:  # TensorFlow raises many kinds for a folder that is not what it says
        raise cannot_read(folder, f"TensorFlow {tf.__version__} says: {one_line(error)}", _SAVE_AGAIN) from error
    return _fixed(path, loaded, serve, shapes)


def _fixed(path: Path, loaded: Any, serve: Any, shapes: dict[str, tuple[int, ...]]) -> Traced:
    import tensorflow as tf

    own = serve.structured_input_signature[1]
    _check_inputs(path, own)
    names = identifiers(list(own))
    check_shape_names(shapes, names)
    specs = [
        tf.TensorSpec(static_shape(name, _axes(spec), shapes.get(name)), spec.dtype, name=name)
        for name, spec in zip(names, own.values(), strict=True)
    ]
    outputs = identifiers(sorted(serve.structured_outputs), taken=names)

    def call(*tensors: Any) -> dict[str, Any]:
        answers = serve(**dict(zip(own, tensors, strict=True)))
        return {name: answers[key] for name, key in zip(outputs, sorted(answers), strict=True)}

    try:
        concrete = tf.function(call, input_signature=specs, autograph=False).get_concrete_function()
        inputs = tuple(spec_of(spec.name, spec) for spec in specs)
        feeds = probe_feeds(Signature(inputs=inputs, outputs=()))
        answers = concrete(*(tf.constant(feeds[spec.name]) for spec in inputs))
    except Exception as error:  # whatever an operator raises for these shapes
        raise cannot_read(
            path,
            f"it does not run on inputs of shape {[list(spec.shape) for spec in specs]}: {one_line(error)}",
            "Give sizes that the model was built for with --shape NAME=1,...",
        ) from error
    signature = Signature(inputs=inputs, outputs=tuple(spec_of(name, answers[name]) for name in outputs))
    return Traced(loaded, concrete, signature)


def _axes(spec: Any) -> list[int | None] | None:
    return None if spec.shape.rank is None else list(spec.shape)


def _check_inputs(path: Path, own: dict[str, Any]) -> None:
    if not own:
        raise cannot_read(path, "the signature has no input", "Write it again with its inputs as arguments.")
    for name, spec in own.items():
        if spec.dtype.name not in DTYPES:
            raise cannot_read(
                path,
                f"its input {name!r} is {spec.dtype.name}, which mobile runtimes do not take",
                "Write a signature that begins behind the decoding, with numbers as inputs.",
            )


def _check_links(folder: Path) -> None:
    for place in folder.rglob("*"):
        if place.is_symlink():
            raise cannot_read(folder, f"its {place.name} is a link", "Copy the files themselves into the folder.")


def _parse(folder: Path) -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import_tensorflow(keras=False)
    import google.protobuf.message
    from tensorflow.core.protobuf import saved_model_pb2

    message = saved_model_pb2.SavedModel()
    try:
        message.ParseFromString((folder / GRAPH_FILE).read_bytes())
    except google.protobuf.message.DecodeError as error:
        raise cannot_read(folder, f"its {GRAPH_FILE} is damaged ({one_line(error)})", _SAVE_AGAIN) from error
    return message


def _chosen(folder: Path, message: Any, wanted: str) -> str:
    """Return the key of the signature: the one named, the only one, or ``serving_default``."""
    metas = [meta for meta in message.meta_graphs if "serve" in meta.meta_info_def.tags]
    if len(metas) != 1:
        raise cannot_read(folder, f"it has {len(metas)} graphs tagged `serve`, not one", _SAVE_AGAIN)
    keys = sorted(key for key in metas[0].signature_def if key not in _INTERNAL)
    if not keys:
        raise cannot_read(folder, "it has no signature, so no declared input", _SAVE_AGAIN)
    listed = ", ".join(keys)
    if wanted:
        if wanted not in keys:
            raise cannot_read(folder, f"it has no signature {wanted!r}", f"Its signatures: {listed}.")
        return wanted
    if SIGNATURE_KEY in keys:
        return SIGNATURE_KEY
    if len(keys) > 1:
        raise cannot_read(
            folder, f"it has several signatures ({listed})", f"Name one behind a colon: {folder.name}:{keys[0]}"
        )
    return str(keys[0])


def _check_graphs(folder: Path, message: Any) -> None:
    from tensorflow.python.framework import dtypes, op_def_registry

    for meta in message.meta_graphs:
        local = {function.signature.name for function in meta.graph_def.library.function}
        for node in _nodes(meta.graph_def):
            kind, name = node.op, node.name
            if kind.endswith(_OUTSIDE) or kind.startswith(_OUTSIDE):
                raise cannot_read(
                    folder,
                    f"its node {name!r} is a {kind}, which reaches outside the model, and palmtop does not run that",
                    "Write the model again without it; data belongs in the data set.",
                )
            if kind not in local and op_def_registry.get(kind) is None:
                raise cannot_read(
                    folder,
                    f"its node {name!r} is the custom operator {kind}, which TensorFlow does not have",
                    "Rebuild that part with TensorFlow's own operators.",
                )
            if kind.startswith(_QUANTIZED):
                raise cannot_read(
                    folder,
                    f"it is quantized already: its node {name!r} is a {kind}",
                    "Give palmtop the float model it was made from.",
                )
            found = dtypes.as_dtype(node.attr["dtype"].type).name if node.attr["dtype"].type else ""
            kept = (
                ("VarHandleOp", "VariableV2")
                if found == "float64"
                else ("Const", "Placeholder", "VarHandleOp", "VariableV2")
            )
            if kind in kept and found in _ODD:
                raise cannot_read(
                    folder,
                    f"{found} weights: {name!r} is {found}, and palmtop quantizes from float32",
                    "Write the model again in float32.",
                )


def _nodes(graph: Any) -> Iterator[Any]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def
