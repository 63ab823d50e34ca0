"""ONNX models: one ``.onnx`` file, with external data beside it if it has any."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import Any

from toolkit.core.artifacts import Signature, TensorSpec, ToolVersion
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array, Feeds, Session
from toolkit.core.probe import SAME_MODEL, probe_feeds, relative_error
from toolkit.core.signature import check_feeds
from toolkit.sources._onnx_file import external_files, load, outer_fault
from toolkit.sources.base import (
    cannot_read,
    check_shape_names,
    first_look,
    foreign_format,
    one_line,
    static_shape,
)

SUFFIXES = (".onnx",)
FORMS = ("onnx",)

OPSET_LOW, OPSET_HIGH = 17, 20
"""The opsets that every converter and quantizer behind us takes. Below 13 ONNX Runtime's per-channel quantizer writes
models that do not load; above 20 the translators to TFLite and Core ML are untried."""
_IR_VERSION = 9  # of opset 20


def recognises(path: Path) -> str | None:
    """Walk the outermost fields of the file: None when it may be an ONNX model, else what is wrong."""
    wrong = first_look(path)
    if wrong is not None:
        return wrong
    with path.open("rb") as file:
        head = file.read(64)
        other = foreign_format(head)
        if other is not None:
            return f"it is {other}, not an ONNX model"
        file.seek(0)
        return outer_fault(file, path.stat().st_size)


def files(path: Path) -> tuple[Path, ...]:
    """Return the file and the files of its external data."""
    return (path, *external_files(path))


def read(path: Path, shapes: dict[str, tuple[int, ...]]) -> Signature:
    """Return the signature, batch 1; the shapes of outputs are those of one run, as declared ones are often wrong.

    Raises:
        ModelError: the file is damaged, quantized, in half precision, without inputs, of an opset or operator that
            ONNX Runtime cannot execute, or an input axis other than the first is unknown.
    """
    return _reference(path, shapes).signature


def export(path: Path, form: str, shapes: dict[str, tuple[int, ...]], out: Path) -> None:
    """Write one ONNX file: static shapes, opset 17 to 20, simplified, and seen to compute what the original does.

    Raises:
        ModelError: as :func:`read`; or an operator has no form in those opsets; or the result computes otherwise.
    """
    if form not in FORMS:
        raise ModelError(f"An ONNX model is not exported as {form!r}.", hint=f"Forms: {', '.join(FORMS)}.")
    import onnx

    reference = _reference(path, shapes)
    model = _simplified(path, _converted(path, _fixed(load(path), reference.signature)))
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise cannot_read(path, f"simplified, it is no valid ONNX model: {one_line(error)}") from error
    _check_same(path, reference, model)
    onnx.save(model, out)


def open_session(path: Path, shapes: dict[str, tuple[int, ...]]) -> Session:
    """Load the untouched model in ONNX Runtime on the CPU as the float reference."""
    return _reference(path, shapes)


def toolchain() -> tuple[ToolVersion, ...]:
    """Name ONNX, ONNX Runtime and onnxslim."""
    names = ("onnx", "onnxruntime", "onnxslim")
    return tuple(ToolVersion(name=name, version=importlib.metadata.version(name)) for name in names)


class OnnxSession:
    """A model in ONNX Runtime on the CPU."""

    def __init__(self, runtime: Any, signature: Signature) -> None:
        self.signature = signature
        self._runtime: Any = runtime

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once; see :class:`toolkit.core.ports.Session`."""
        assert self._runtime is not None, "the session is closed"
        check_feeds(feeds, self.signature)
        names = [spec.name for spec in self.signature.outputs]
        return dict(zip(names, self._runtime.run(names, dict(feeds)), strict=True))

    def close(self) -> None:
        self._runtime = None


def _reference(path: Path, shapes: dict[str, tuple[int, ...]]) -> OnnxSession:
    model = load(path)
    inputs = _inputs(path, model, shapes)
    runtime = _runtime(path, model)
    names = [value.name for value in model.graph.output]
    feeds = probe_feeds(Signature(inputs=inputs, outputs=()))
    try:
        answers = runtime.run(names, feeds)
    except Exception as error:  # ONNX Runtime's own kinds share no public base
        sizes = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in inputs)
        raise cannot_read(
            path,
            f"ONNX Runtime cannot execute it on inputs {sizes}: {one_line(error)}",
            "If the sizes are wrong, give them with --shape NAME=1,...",
        ) from error
    return OnnxSession(runtime, Signature(inputs=inputs, outputs=_outputs(path, names, answers)))


def _runtime(path: Path, model: Any) -> Any:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime as ort

    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.use_deterministic_compute = True
    options.intra_op_num_threads = min(4, os.cpu_count() or 1)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own kinds share no public base
        raise cannot_read(
            path,
            f"ONNX Runtime {ort.__version__} cannot load it: {one_line(error)}",
            "Export it again with standard operators and opset 17.",
        ) from error


def _inputs(path: Path, model: Any, shapes: dict[str, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    import onnx

    check_shape_names(shapes, [value.name for value in model.graph.input])
    specs = []
    for value in model.graph.input:
        if value.type.WhichOneof("value") != "tensor_type":
            raise cannot_read(path, f"its input {value.name!r} is not a tensor", "Export it with tensors as inputs.")
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if dtype.kind not in "fiub":
            raise cannot_read(path, f"its input {value.name!r} holds {dtype}, which mobile runtimes do not take")
        axes = [_size(axis) for axis in tensor.shape.dim] if tensor.HasField("shape") else None
        shape = static_shape(value.name, axes, shapes.get(value.name))
        specs.append(TensorSpec(name=value.name, dtype=dtype.name, shape=shape))
    return tuple(specs)


def _size(axis: Any) -> int | None:
    known = axis.WhichOneof("value") == "dim_value" and axis.dim_value > 0
    return int(axis.dim_value) if known else None


def _outputs(path: Path, names: list[str], answers: list[Any]) -> tuple[TensorSpec, ...]:
    for name, answer in zip(names, answers, strict=True):
        if not hasattr(answer, "dtype") or answer.dtype.kind not in "fiub":
            raise cannot_read(path, f"its output {name!r} is not a tensor of numbers", "Export it without that output.")
    return tuple(
        TensorSpec(name=name, dtype=answer.dtype.name, shape=tuple(answer.shape))
        for name, answer in zip(names, answers, strict=True)
    )


def _fixed(model: Any, signature: Signature) -> Any:
    """Write the fixed sizes into inputs and outputs and drop every shape that followed from unknown ones."""
    shapes = {spec.name: spec.shape for spec in (*signature.inputs, *signature.outputs)}
    for value in (*model.graph.input, *model.graph.output):
        shape = value.type.tensor_type.shape
        del shape.dim[:]
        for size in shapes[value.name]:
            shape.dim.add().dim_value = size
    del model.graph.value_info[:]
    return model


def _converted(path: Path, model: Any) -> Any:
    import onnx

    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    opset = next(item for item in model.opset_import if item.domain in ("", "ai.onnx"))
    if OPSET_LOW <= opset.version <= OPSET_HIGH:
        return model
    goal = OPSET_LOW if opset.version < OPSET_LOW else OPSET_HIGH
    model.ir_version = max(model.ir_version, 4)  # the converter wants weights apart from inputs, as IR 4 allows
    try:
        return onnx.version_converter.convert_version(model, goal)
    except Exception as error:  # the converter raises RuntimeError and its own ConvertError
        raise cannot_read(
            path,
            f"its opset {opset.version} cannot be converted to {goal}: {one_line(error)}",
            f"Export it again with an opset from {OPSET_LOW} to {OPSET_HIGH}.",
        ) from error


def _simplified(path: Path, model: Any) -> Any:
    import onnx
    import onnxslim

    try:
        slim = onnxslim.slim(model)
        slim = onnx.shape_inference.infer_shapes(slim, data_prop=True)
    except Exception as error:  # foreign graph surgery: any kind can come
        raise cannot_read(path, f"it cannot be simplified (onnxslim): {one_line(error)}") from error
    slim.ir_version = _IR_VERSION
    return slim


def _check_same(path: Path, reference: OnnxSession, model: Any) -> None:
    names = [spec.name for spec in reference.signature.outputs]
    inputs, outputs = [v.name for v in model.graph.input], [v.name for v in model.graph.output]
    if sorted(inputs) != sorted(spec.name for spec in reference.signature.inputs) or outputs != names:
        raise cannot_read(
            path,
            f"simplifying changed its inputs or outputs to {inputs} -> {outputs}",
            "Remove inputs that nothing uses and export it again.",
        )
    feeds = probe_feeds(reference.signature, seed=1)
    answers = dict(zip(names, _runtime(path, model).run(names, feeds), strict=True))
    name, error = relative_error(reference.run(feeds), answers)
    if error > SAME_MODEL:
        raise cannot_read(
            path,
            f"simplified for opset {OPSET_LOW}, its output {name!r} differs by {error:.1%} from the original's",
            "Export it again with opset 17 and constant folding.",
        )
