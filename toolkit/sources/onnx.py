"""ONNX models: one ``.onnx`` file, with external data beside it if it has any."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import pins
from toolkit.core.artifacts import Signature, TensorSpec, ToolVersion
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array, Feeds, Session
from toolkit.core.probe import probe_feeds
from toolkit.core.signature import check_feeds
from toolkit.sources import _onnx_form
from toolkit.sources._onnx_file import external_files, load, outer_fault, too_big
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
        fault = outer_fault(file, path.stat().st_size)
    return fault or too_big(path)


def files(path: Path) -> tuple[Path, ...]:
    """Return the file, the files of its external data, and the ranges that it was trained with if it brings any."""
    return (*pins.files(path), *external_files(path))


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
    reference = _reference(path, shapes)
    _onnx_form.write(path, _fixed(load(path), reference.signature), reference, out)


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
        # ONNX Runtime does not take the scalars that indexing an array gives
        arrays = {name: np.asarray(array) for name, array in feeds.items()}
        names = [spec.name for spec in self.signature.outputs]
        return dict(zip(names, self._runtime.run(names, arrays), strict=True))

    def close(self) -> None:
        self._runtime = None


def _reference(path: Path, shapes: dict[str, tuple[int, ...]]) -> OnnxSession:
    model = load(path)
    inputs = _inputs(path, model, shapes)
    runtime = _onnx_form.runtime(path, model)
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
