"""The form ``onnx``: opset 17 to 20, simplified, static shapes, and seen to compute what its source does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from toolkit.core.ports import Session
from toolkit.core.probe import difference
from toolkit.sources.base import cannot_read, one_line

OPSET_LOW, OPSET_HIGH = 17, 20
"""The opsets that every converter and quantizer behind us takes. Below 13 ONNX Runtime's per-channel quantizer writes
models that do not load; above 20 the translators to TFLite and Core ML are untried."""
_IR_VERSION = 9  # of opset 20


def write(path: Path, model: Any, reference: Session, out: Path) -> None:
    """Bring a ``ModelProto`` of static shapes into the form and write it.

    Args:
        path: the user's model, for messages.
        model: it, as ONNX; its inputs and outputs bear the names of ``reference``.
        reference: the user's model in its own runtime.
        out: the file to write.

    Raises:
        ModelError: an operator has no form in those opsets; or the result is not valid or computes otherwise.
    """
    import onnx

    form = _simplified(path, _converted(path, model))
    try:
        onnx.checker.check_model(form)
    except onnx.checker.ValidationError as error:
        raise cannot_read(path, f"simplified, it is no valid ONNX model: {one_line(error)}") from error
    _check_same(path, reference, form)
    onnx.save(form, out)


def runtime(path: Path, model: Any) -> Any:
    """Load a ``ModelProto`` in ONNX Runtime on the CPU.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """
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


def _check_same(path: Path, reference: Session, model: Any) -> None:
    names = [spec.name for spec in reference.signature.outputs]
    inputs, outputs = [v.name for v in model.graph.input], [v.name for v in model.graph.output]
    if sorted(inputs) != sorted(spec.name for spec in reference.signature.inputs) or outputs != names:
        raise cannot_read(
            path,
            f"simplifying changed its inputs or outputs to {inputs} -> {outputs}",
            "Remove inputs that nothing uses and export it again.",
        )
    form = runtime(path, model)
    found = difference(
        reference.signature, reference.run, lambda feeds: dict(zip(names, form.run(names, feeds), strict=True)), seed=1
    )
    if found is not None:
        name, error = found
        raise cannot_read(
            path,
            f"simplified for opset {OPSET_LOW}, its output {name!r} differs by {error:.1%} from the original's",
            "Export it again with opset 17 and constant folding.",
        )
