"""Float TFLite models: one ``.tflite`` file, executed by LiteRT and handed on as it is, or as ONNX."""

from __future__ import annotations

import importlib.metadata
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit.core import tflite_file
from toolkit.core.artifacts import Signature, TensorSpec, ToolVersion
from toolkit.core.errors import ModelError
from toolkit.core.frameworks import import_tensorflow
from toolkit.core.ports import Array, Feeds, Session
from toolkit.core.probe import probe_feeds
from toolkit.core.signature import check_feeds
from toolkit.sources import _onnx_form
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

SUFFIXES = (".tflite",)
FORMS = ("tflite", "onnx")

_MAGIC = b"TFL3"
_LIMIT_BYTES = (2 << 30) - 1
_VECTORS = {1: "operator codes", 2: "subgraphs", 4: "buffers"}
_BUFFERS, _BUFFER_DATA = 4, 0
"""Numbers of the fields of Model and Buffer in TFLite's FlatBuffers schema."""
_DTYPES = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")
_OPSET = 17
_AGAIN = (
    "Convert it again from the model it was made of, float and with built-in operators; or give palmtop that model."
)


def recognises(path: Path) -> str | None:
    """Look at the identifier and at where the buffers end: None when it may be a TFLite model, else what is wrong."""
    wrong = first_look(path)
    if wrong is not None:
        return wrong
    if path.stat().st_size > _LIMIT_BYTES:
        return f"it is larger {TOO_BIG}, the most that the format holds"
    raw = path.read_bytes()
    if raw[4:8] != _MAGIC:
        other = foreign_format(raw[:64])
        return f"it is {other}, not a TFLite model" if other else "it is not a TFLite model (its bytes 4 to 8)"
    try:
        return _outer_fault(raw)
    except (struct.error, IndexError, OverflowError):
        return "it is cut short or damaged"


def read(path: Path, shapes: dict[str, tuple[int, ...]]) -> Signature:
    """Return the signature, batch 1 where it was left open; the shapes of outputs are those of one run.

    Raises:
        ModelError: the file is damaged, quantized, in half precision, has several signatures, no input, an operator
            that LiteRT does not have, or an input axis other than the first is unknown.
    """
    return LiteRtSession(path, shapes).signature


def export(path: Path, form: str, shapes: dict[str, tuple[int, ...]], out: Path) -> None:
    """Write the model with fixed sizes and public names, or one ONNX file by tf2onnx, seen to compute the same.

    Raises:
        ModelError: as :func:`read`; or an operator has no ONNX form; or the result computes otherwise.
    """
    if form not in FORMS:
        raise ModelError(f"A TFLite model is not exported as {form!r}.", hint=f"Forms: {', '.join(FORMS)}.")
    session = LiteRtSession(path, shapes)
    if form == "tflite":
        out.write_bytes(session.fixed_file(path))
        return
    import_tensorflow(keras=False)
    import tf2onnx

    try:
        model, _ = tf2onnx.convert.from_tflite(str(path), opset=_OPSET)
    except Exception as error:  # tf2onnx lets through whatever its handlers raise
        raise cannot_read(path, f"tf2onnx cannot convert it: {one_line(error)}", _AGAIN) from error
    _check_operators(path, model)
    _onnx_form.write(path, _renamed(path, model, session), session, out)


def open_session(path: Path, shapes: dict[str, tuple[int, ...]]) -> Session:
    """Load the model in LiteRT as the float reference."""
    return LiteRtSession(path, shapes)


def toolchain() -> tuple[ToolVersion, ...]:
    """Name LiteRT, tf2onnx and what follows it."""
    names = ("ai-edge-litert", "tf2onnx", "onnx", "onnxruntime", "onnxslim")
    return tuple(ToolVersion(name=name, version=importlib.metadata.version(name)) for name in names)


class _Tensor(NamedTuple):
    name: str
    number: int
    inner: str


class LiteRtSession:
    """A float model in LiteRT, its open sizes fixed; ``inputs`` and ``outputs`` pair public names with the file's."""

    def __init__(self, path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
        wrong = recognises(path)
        if wrong is not None:
            raise cannot_read(path, wrong, _AGAIN)
        self._runtime: Any = _interpreter(path)
        _check_custom(path)
        _check_precision(path, self._runtime)
        self.inputs, self.outputs = _tensors(path, self._runtime)
        inputs = self._fixed(path, shapes)
        try:
            self._runtime.allocate_tensors()
            answers = self._call(probe_feeds(Signature(inputs=inputs, outputs=())))
        except (ValueError, RuntimeError) as error:
            sizes = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in inputs)
            raise _not_run(path, f"on inputs {sizes}", error) from error
        outputs = tuple(
            TensorSpec(name=name, dtype=value.dtype.name, shape=value.shape) for name, value in answers.items()
        )
        self.signature = Signature(inputs=inputs, outputs=outputs)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once; see :class:`toolkit.core.ports.Session`."""
        assert self._runtime is not None, "the session is closed"
        check_feeds(feeds, self.signature)
        return self._call(feeds)

    def close(self) -> None:
        self._runtime = None

    def fixed_file(self, path: Path) -> bytes:
        """Return the file with the sizes that its tensors have here, its one signature in public names."""
        parsed = tflite_file.parse(path.read_bytes())
        main = parsed.subgraphs[0]
        sizes = {detail["index"]: detail["shape"] for detail in self._runtime.get_tensor_details()}
        for index, tensor in enumerate(main.tensors):
            tensor.shapeSignature = None
            if index in sizes:
                tensor.shape = sizes[index]
        inputs, outputs = ({tensor.name: tensor.number for tensor in end} for end in (self.inputs, self.outputs))
        main.inputs, main.outputs = list(inputs.values()), list(outputs.values())
        tflite_file.sign(parsed, inputs, outputs)
        return tflite_file.serialize(parsed)

    def _call(self, feeds: Feeds) -> dict[str, Array]:
        for tensor in self.inputs:
            self._runtime.set_tensor(tensor.number, np.asarray(feeds[tensor.name], order="C"))
        self._runtime.invoke()
        return {tensor.name: self._runtime.get_tensor(tensor.number) for tensor in self.outputs}

    def _fixed(self, path: Path, shapes: dict[str, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
        details = {detail["index"]: detail for detail in self._runtime.get_input_details()}
        check_shape_names(shapes, [tensor.name for tensor in self.inputs])
        specs = []
        for tensor in self.inputs:
            detail = details[tensor.number]
            dtype = np.dtype(detail["dtype"]).name
            if dtype not in _DTYPES:
                raise cannot_read(path, f"its input {tensor.name!r} is {dtype}, which palmtop does not feed", _AGAIN)
            declared = detail["shape_signature"] if len(detail["shape_signature"]) else detail["shape"]
            axes = [int(size) if size > 0 else None for size in declared]
            shape = static_shape(tensor.name, axes, shapes.get(tensor.name))
            if tuple(detail["shape"]) != shape:
                self._runtime.resize_tensor_input(tensor.number, shape)
            specs.append(TensorSpec(name=tensor.name, dtype=dtype, shape=shape))
        return tuple(specs)


def _outer_fault(raw: bytes) -> str | None:
    root = _u32(raw, 0)
    for number, what in _VECTORS.items():
        if not _vector(raw, root, number)[1]:
            return f"it has no {what}"
    start, count = _vector(raw, root, _BUFFERS)
    for index in range(count):
        place = start + 4 * index
        data, length = _vector(raw, place + _u32(raw, place), _BUFFER_DATA)
        if data + length > len(raw):
            return f"it is cut short: it needs at least {data + length:,} bytes and has {len(raw):,}"
    return None


def _vector(raw: bytes, table: int, field: int) -> tuple[int, int]:
    """Return where a table's vector begins and how many items it has; 0, 0 where the field is left out."""
    vtable = table - struct.unpack_from("<i", raw, table)[0]
    if vtable < 0 or 4 + 2 * field >= _u16(raw, vtable):
        return 0, 0
    offset = _u16(raw, vtable + 4 + 2 * field)
    if not offset:
        return 0, 0
    vector = table + offset + _u32(raw, table + offset)
    return vector + 4, _u32(raw, vector)


def _u16(raw: bytes, place: int) -> int:
    return int(struct.unpack_from("<H", raw, place)[0])


def _u32(raw: bytes, place: int) -> int:
    return int(struct.unpack_from("<I", raw, place)[0])


def _interpreter(path: Path) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    try:
        return Interpreter(model_path=str(path), num_threads=1)
    except (ValueError, RuntimeError, TypeError) as error:
        raise _not_run(path, "", error) from error


def _check_custom(path: Path) -> None:
    """Refuse custom operators by name; a LiteRT in one process with TensorFlow would execute those of TensorFlow."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    for index in range(model.OperatorCodesLength()):
        name = model.OperatorCodes(index).CustomCode()
        if name is not None:
            word = name.decode("utf-8", "replace")
            what = (
                f"TensorFlow's operator {word[4:]} (flex)" if word.startswith("Flex") else f"the custom operator {word}"
            )
            raise cannot_read(path, f"it needs {what}, which LiteRT does not have", _AGAIN)


def _check_precision(path: Path, runtime: Any) -> None:
    for detail in runtime.get_tensor_details():
        kind, name = np.dtype(detail["dtype"]).name, detail["name"]
        if len(detail["quantization_parameters"]["scales"]):
            raise cannot_read(
                path, f"it already is an INT8 model: its tensor {name!r} is quantized ({kind})",
                "Give palmtop the float model it was made from.",
            )  # fmt: skip
        if kind == "float16" or (kind == "float64" and len(detail["shape"]) > 1):
            raise cannot_read(path, f"{kind} weights: {name!r} is {kind}, and palmtop quantizes from float32", _AGAIN)


def _tensors(path: Path, runtime: Any) -> tuple[tuple[_Tensor, ...], tuple[_Tensor, ...]]:
    """Return inputs and outputs: by the names of the signature where there is one, else of the tensors."""
    signatures = runtime._get_full_signature_list()  # noqa: SLF001  (the public list has no tensor numbers)
    if len(signatures) > 1:
        raise cannot_read(path, f"it has several signatures ({', '.join(sorted(signatures))})", "Convert one of them.")
    inner = {detail["index"]: str(detail["name"]) for detail in runtime.get_tensor_details()}
    own = next(iter(signatures.values()), None)
    ends = (runtime.get_input_details(), runtime.get_output_details())
    if own is not None:
        pairs = [list(own[end].items()) for end in ("inputs", "outputs")]
    else:
        pairs = [[(detail["name"], detail["index"]) for detail in end] for end in ends]
    if not pairs[0]:
        raise cannot_read(path, "it has no input", "Convert it again with its inputs as inputs of the graph.")
    names = identifiers([str(name) for name, _ in pairs[0]])
    outputs = identifiers([str(name) for name, _ in pairs[1]], taken=names)
    return (
        tuple(_Tensor(name, index, inner[index]) for name, (_, index) in zip(names, pairs[0], strict=True)),
        tuple(_Tensor(name, index, inner[index]) for name, (_, index) in zip(outputs, pairs[1], strict=True)),
    )


def _check_operators(path: Path, model: Any) -> None:
    """Name what tf2onnx left as it was: it only logs operators that it cannot convert."""
    import onnx

    for node in model.graph.node:
        if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type, _OPSET, ""):
            raise cannot_read(
                path,
                f"ONNX has no form of the operator {node.op_type} (of {node.output[0]!r})",
                "Replace it in the model that this file was converted from.",
            )


def _renamed(path: Path, model: Any, session: LiteRtSession) -> Any:
    """Give inputs and outputs their public names, order and fixed sizes."""
    import onnx

    shapes = {spec.name: spec for spec in (*session.signature.inputs, *session.signature.outputs)}
    names = {tensor.inner: tensor.name for tensor in session.inputs}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    found = {value.name for value in model.graph.output}
    taken = {name for node in model.graph.node for name in node.output}
    for tensor in session.outputs:
        origin = names.get(tensor.inner, tensor.inner)
        if tensor.inner not in found or tensor.name in taken:
            raise cannot_read(path, f"tf2onnx lost its output {tensor.name!r}", _AGAIN)
        model.graph.node.append(onnx.helper.make_node("Identity", [origin], [tensor.name]))
    for end, tensors in ((model.graph.input, session.inputs), (model.graph.output, session.outputs)):
        del end[:]
        for tensor in tensors:
            spec = shapes[tensor.name]
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
            end.append(onnx.helper.make_tensor_value_info(spec.name, kind, spec.shape))
    del model.graph.value_info[:]
    return model


def _not_run(path: Path, where: str, error: Exception) -> ModelError:
    return cannot_read(path, f"LiteRT cannot execute it {where}".rstrip() + f": {one_line(error)}", _AGAIN)
