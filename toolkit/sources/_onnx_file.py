"""Reads an untrusted ONNX file: its outer fields without any library, then the whole with every reference checked."""

from __future__ import annotations

import difflib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from toolkit.core.errors import ModelError
from toolkit.sources.base import TOO_BIG, cannot_read, one_line

LIMIT_BYTES = (2 << 30) - 1
"""Protobuf's limit for one message, and so for a model that travels in one piece."""

_TOO_BIG = f"with its weights it is larger {TOO_BIG}, the most that ONNX in one piece and the mobile formats hold"
_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
"""Field numbers of ModelProto and their wire types (0 varint, 2 length-delimited), from onnx.proto3."""
_GRAPH_FIELD = 7
_MOST_FIELDS = 100_000
_LOCATION = b"\x0a\x08location\x12"
"""How StringStringEntryProto begins in a weight's ``external_data``: its key, then the tag of its value."""
_LONGEST_LOCATION = 4096
_INTEGER_OPERATORS = (
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulNBits",
    "QAttention",
    "QGemm",
)
_OWN_WEIGHT = "~int8"
"""In the name of a weight that palmtop itself stored in 8 bits, for a Cast to unpack."""
_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "ai.onnx.preview.training")


def outer_fault(file: BinaryIO, size: int) -> str | None:
    """Walk the outermost fields: None when they are a model's and fill the file, else what is wrong."""
    seen: set[int] = set()
    position = 0
    for _ in range(_MOST_FIELDS):
        if position == size:
            break
        tag = _varint(file)
        if tag is None or _FIELDS.get(tag >> 3) != tag & 7:
            where = "it does not begin like one" if not seen else f"byte {position} does not belong there"
            return f"it is not an ONNX model ({where})"
        length = _varint(file)
        if length is None:
            return "it is cut short"
        if tag & 7 == 2:
            end = file.tell() + length
            if end > size:
                return f"it is cut short: it needs at least {end:,} bytes and has {size:,}"
            file.seek(end)
        seen.add(tag >> 3)
        position = file.tell()
    return None if _GRAPH_FIELD in seen else "it holds no graph, so it is no ONNX model or is cut short"


def external_files(path: Path) -> tuple[Path, ...]:
    """Return the files in or below the model's folder that its weights lie in, found without parsing the model.

    Every external weight has an entry of key ``location``, which all writers of protobuf put before its value.
    :func:`load` refuses a model whose weights lie in a file that is not found here. Links are not followed.
    """
    folder, found = path.resolve().parent, set()
    if not path.is_file() or path.stat().st_size == 0:
        return ()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(_LOCATION)
        while start >= 0:
            file.seek(start + len(_LOCATION))
            length = _varint(file)
            if length is not None and 0 < length <= _LONGEST_LOCATION:
                found.add(file.read(length))
            start = content.find(_LOCATION, start + 1)
    places = {folder / name for name in map(_location, found) if name}
    return tuple(sorted(place for place in places if _lies_in(folder, place)))


def _location(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return ""  # such bytes stood in a weight
    return text if text.isprintable() and not Path(text).is_absolute() else ""


def _lies_in(folder: Path, place: Path) -> bool:
    try:
        inside = place.resolve().is_relative_to(folder.resolve())
        return inside and place.is_file() and not place.is_symlink()
    except OSError:
        return False  # no name a file can have, such as one that is too long


def too_big(path: Path) -> str | None:
    """Say so when the file and those that its weights lie in are together larger than a model may be."""
    own = path.stat().st_size
    beside = 0 if own > LIMIT_BYTES else sum(file.stat().st_size for file in external_files(path))
    return _TOO_BIG if own + beside > LIMIT_BYTES else None


def load(path: Path) -> Any:
    """Return the checked ``ModelProto``, weights in memory, initializers no longer listed as inputs.

    Raises:
        ModelError: it is damaged, too big, of unknown version, quantized or in half precision already, has no input,
            or names external data outside its folder.
    """
    import google.protobuf.message
    import onnx

    if path.stat().st_size > LIMIT_BYTES:
        raise _too_big(path)
    try:
        model = onnx.load_model(path, load_external_data=False)
    except (google.protobuf.message.DecodeError, OSError, ValueError) as error:
        raise cannot_read(
            path, f"it is no ONNX model or is damaged ({one_line(error)})", "Copy or export the file again."
        ) from error
    _check_versions(path, model)
    _check_precision(path, model)
    _load_external(path, model)
    _drop_weight_inputs(model)
    if not model.graph.input:
        raise cannot_read(path, "it has no input", "Export it with its inputs as graph inputs.")
    try:
        if not all(value.type.tensor_type.HasField("shape") for value in model.graph.output):
            model = onnx.shape_inference.infer_shapes(model)  # older exporters leave output shapes out
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise cannot_read(path, f"it is not valid: {one_line(error)}", "Export it again.") from error
    return model


def _varint(file: BinaryIO) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None


def _too_big(path: Path) -> ModelError:
    return cannot_read(path, _TOO_BIG, "Choose a smaller model.")


def _check_versions(path: Path, model: Any) -> None:
    import onnx

    newest = onnx.defs.onnx_opset_version()
    for item in model.opset_import:
        if item.domain in ("", "ai.onnx") and item.version > newest:
            raise cannot_read(
                path,
                f"it uses opset {item.version}, and onnx {onnx.__version__} knows up to {newest}",
                "Export it again with an opset from 17 to 20.",
            )
    if not any(item.domain in ("", "ai.onnx") for item in model.opset_import):
        raise cannot_read(path, "it imports no ONNX opset", "Export it again with standard operators and opset 17.")
    if model.ir_version > onnx.IR_VERSION:
        raise cannot_read(
            path,
            f"it is of ONNX IR version {model.ir_version}, and onnx {onnx.__version__} knows up to {onnx.IR_VERSION}",
            "Export it again with an opset from 17 to 20.",
        )


def _check_precision(path: Path, model: Any) -> None:
    local = {(function.domain, function.name) for function in model.functions}
    imports = (item for graph in (model, *model.functions) for item in graph.opset_import)
    opset = max(item.version for item in imports if item.domain in ("", "ai.onnx"))
    for node in _nodes(model):
        kind = node.op_type
        unpacks = kind == "Cast" and _OWN_WEIGHT in node.input[0]
        if unpacks or kind in _INTEGER_OPERATORS or kind.endswith("Integer") or kind.startswith("QLinear"):
            raise cannot_read(
                path,
                f"it already is an INT8 model: its node {node.name or node.output[0]!r} is a {kind}",
                "Give palmtop the float model it was made from; or `palmtop tune FILE -o DIR`, which keeps its ranges.",
            )
        if node.domain not in _DOMAINS and (node.domain, kind) not in local:
            raise cannot_read(
                path,
                f"its node {node.name or node.output[0]!r} is the custom operator {node.domain}.{kind}",
                "Export it again with standard ONNX operators.",
            )
        if node.domain in ("", "ai.onnx") and (node.domain, kind) not in local:
            _check_known(path, node, opset)
    _check_dtypes(path, model)


def _check_known(path: Path, node: Any, opset: int) -> None:
    import onnx

    if not onnx.defs.has(node.op_type, opset, ""):
        since = {schema.name: schema.since_version for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
        near = difflib.get_close_matches(node.op_type, sorted(since), n=1)
        guess = f"The nearest that it has is {near[0]}. " if near else ""
        later = f"Export it again with opset {since.get(node.op_type)}, the first with that operator."
        raise cannot_read(
            path,
            f"its node {node.name or node.output[0]!r} is a {node.op_type}, which opset {opset} of ONNX does not have",
            later if node.op_type in since else f"{guess}Export it again with standard ONNX operators.",
        )


def _check_dtypes(path: Path, model: Any) -> None:
    """Refuse inputs and weights of half or double precision; small doubles belong to the arithmetic of sizes."""
    import onnx

    half = {onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.BFLOAT16: "bfloat16"}
    odd = {**half, onnx.TensorProto.DOUBLE: "float64"}
    for tensor in _tensors(model):
        if tensor.data_type in half or (tensor.data_type in odd and len(tensor.dims) > 1):
            word = odd[tensor.data_type]
            raise cannot_read(
                path,
                f"{word} weights: {tensor.name or 'a constant'!r} is {word}, and palmtop quantizes from float32",
                "Export the model again in float32.",
            )
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        dtype = value.type.tensor_type.elem_type
        if dtype in odd and value.name not in weights:
            raise cannot_read(
                path,
                f"its input {value.name!r} is {odd[dtype]}, and palmtop quantizes models of float32",
                "Export the model again in float32, its inputs too.",
            )


def _load_external(path: Path, model: Any) -> None:
    import onnx

    folder = path.resolve().parent
    total = path.stat().st_size
    known = {place.resolve() for place in external_files(path)}
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            total += _external_bytes(path, folder, tensor)
            location = {entry.key: entry.value for entry in tensor.external_data}["location"]
            if (folder / location).resolve() not in known:
                raise cannot_read(
                    path,
                    f"the place {location!r} of the weight {tensor.name!r} is written in an unusual way",
                    "Export the model again.",
                )
    if total > LIMIT_BYTES:
        raise _too_big(path)
    try:
        onnx.load_external_data_for_model(model, str(folder))
    except (OSError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
        raise cannot_read(path, f"its external data cannot be read: {one_line(error)}") from error


def _external_bytes(path: Path, folder: Path, tensor: Any) -> int:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    place = folder / location
    if not location or Path(location).is_absolute() or not place.resolve().is_relative_to(folder) or place.is_symlink():
        raise cannot_read(
            path,
            f"the weight {tensor.name!r} lies in {location!r}, outside the model's folder",
            "Do not trust this file; export the model again with its data beside it.",
        )
    if not place.is_file():
        raise cannot_read(
            path, f"its external data {location!r} is missing", f"Copy that file into the folder {folder} too."
        )
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", place.stat().st_size))
    except ValueError as error:
        raise cannot_read(path, f"the place of the weight {tensor.name!r} in {location!r} is no number") from error
    if offset < 0 or length < 0 or offset + length > place.stat().st_size:
        raise cannot_read(
            path, f"its external data {location!r} is cut short at {tensor.name!r}", "Copy or export the files again."
        )
    return length


def _drop_weight_inputs(model: Any) -> None:
    weights = {tensor.name for tensor in model.graph.initializer}
    weights |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    kept = [value for value in model.graph.input if value.name not in weights]
    if len(kept) < len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(kept)
        model.ir_version = max(model.ir_version, 4)  # before 4, weights had to be inputs too


def _graphs(model: Any) -> Iterator[Any]:
    """Yield the main graph, the functions and every graph inside a node's attributes."""
    stack = [model.graph, *model.functions]
    while stack:
        graph = stack.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    stack.append(attribute.g)
                stack.extend(attribute.graphs)


def _nodes(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        yield from graph.node


def _tensors(model: Any) -> Iterator[Any]:
    for graph in _graphs(model):
        if hasattr(graph, "initializer"):
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
        for node in graph.node:
            yield from _attribute_tensors(node)


def _attribute_tensors(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
