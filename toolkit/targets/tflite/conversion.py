"""From a form to a float ``.tflite``; the result is executed and held against the form before anyone sees it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from toolkit.core import batch_norm
from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.core.frameworks import import_tensorflow
from toolkit.core.ports import Array, Feeds
from toolkit.core.probe import Run, difference
from toolkit.core.signature import bind, unbind
from toolkit.core.tflite_file import SIGNATURE_KEY
from toolkit.targets.tflite.activations import with_plain_activations
from toolkit.targets.tflite.flatbuffer import read_graph, rename
from toolkit.targets.tflite.pooling import with_floors
from toolkit.targets.tflite.rewriting import with_tflite_operators
from toolkit.targets.tflite.session import TfliteSession
from toolkit.targets.tflite.squeezing import with_reshapes

CHANNELS_LAST = (0, 2, 3, 1)
_TF_OPERATOR = re.compile(r"\btf\.([A-Z]\w+)")
_LAYER = re.compile(r'fused\["\w+:", "([^"@]+)@')


def from_saved_model(model: Path, source: Signature, out: Path) -> Signature:
    """Convert with TensorFlow's own converter, float only; names and axis order stay the source's.

    Raises:
        ModelError: an operator has no TFLite form (it is named), or the result computes something else.
    """
    import_tensorflow(keras=False)
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(model), signature_keys=[SIGNATURE_KEY])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        content = converter.convert()
    except Exception as error:  # ConverterError is not public, and others come through
        raise _not_converted(error) from error
    out.write_bytes(content)
    signature = _matched(read_graph(out).signature(), source)
    _check_same(out, signature, source, _saved_model_runner(model))
    return signature


def from_tflite(model: Path, source: Signature, out: Path) -> Signature:
    """Take a float ``.tflite`` of fixed sizes as it is, its tensors under names of their own.

    Raises:
        ModelError: it computes something else once it is written anew.
    """
    out.write_bytes(rename(model.read_bytes(), source.inputs, source.outputs))
    signature = _matched(read_graph(out).signature(), source)
    original = TfliteSession(model, threads=1)
    try:
        _check_same(out, signature, source, original.run)
    finally:
        original.close()
    return signature


def from_onnx(model: Path, source: Signature, out: Path) -> Signature:
    """Convert by onnxsim's translation; four-axis tensors become channels-last where that saves transposing.

    TFLite's kernels are channels-last, so a model that keeps NCHW at its borders transposes there: both ways are
    tried, and the source's axis order is kept unless it costs operators.

    Raises:
        ModelError: as :func:`from_saved_model`.
    """
    import onnx

    loaded = with_plain_activations(with_floors(with_reshapes(with_tflite_operators(onnx.load(model)))))
    batch_norm.rewrite(loaded, onnx)
    plain = _write_onnx(loaded, source, out, channels_last=False)
    if _transposes(out) and any(spec.perm for spec in _specs(loaded, source, channels_last=True)):
        turned = out.with_name(f"{out.stem}.nhwc{out.suffix}")
        signature = _write_onnx(loaded, source, turned, channels_last=True)
        if _transposes(turned) < _transposes(out):
            turned.replace(out)
            plain = signature
        else:
            turned.unlink()
    _check_same(out, plain, source, _onnx_runner(model))
    return plain


def _write_onnx(model: Any, source: Signature, out: Path, *, channels_last: bool) -> Signature:
    from onnxsim import tflite_export

    layout = "nhwc" if channels_last else "nchw"
    try:
        content = tflite_export.convert_to_tflite(model, io_layout=layout)
    except Exception as error:  # the translator raises RuntimeError, TensorFlow beneath it anything
        raise _not_converted(error) from error
    specs = _specs(model, source, channels_last=channels_last)
    count = len(source.inputs)
    out.write_bytes(rename(content, specs[:count], specs[count:]))
    return _matched(read_graph(out).signature(), source)


def _specs(model: Any, source: Signature, *, channels_last: bool) -> tuple[TensorSpec, ...]:
    """Return the source's tensors with the axis order that the translator gives them.

    It turns every four-axis input and output, except grids of GridSample, which hold coordinates.
    """
    grids = {node.input[1] for node in model.graph.node if node.op_type == "GridSample" and len(node.input) > 1}
    return tuple(
        TensorSpec(
            name=spec.name,
            dtype=spec.dtype,
            shape=spec.shape,
            perm=CHANNELS_LAST if channels_last and len(spec.shape) == 4 and spec.name not in grids else (),
        )
        for spec in (*source.inputs, *source.outputs)
    )


def _matched(made: Signature, source: Signature) -> Signature:
    """Order the artefact's tensors as the source's and check that each stands for it.

    Raises:
        ModelError: a tensor is missing, or has another shape or kind of dtype.
    """
    return Signature(
        inputs=tuple(_partner(spec, made.inputs) for spec in source.inputs),
        outputs=tuple(_partner(spec, made.outputs) for spec in source.outputs),
    )


def _partner(spec: TensorSpec, made: tuple[TensorSpec, ...]) -> TensorSpec:
    found = next((item for item in made if item.name == spec.name), None)
    if found is None:
        names = ", ".join(item.name for item in made) or "none"
        raise ModelError(
            f"The TFLite conversion lost the tensor {spec.name!r} (it has: {names}).",
            hint="An input that nothing uses is dropped: remove it from the source model.",
        )
    shape = tuple(spec.shape[axis] for axis in found.perm) if found.perm else spec.shape
    if found.shape != shape or not _same_kind(found.dtype, spec.dtype):
        raise ModelError(
            f"The TFLite conversion turned {spec.name!r} from {spec.dtype} {list(shape)} into {found.dtype} "
            f"{list(found.shape)}.",
            hint="Give the model fixed sizes with --shape NAME=1,...",
        )
    return found


def _same_kind(made: str, wanted: str) -> bool:
    widths = {"float64": "float32", "int64": "int32"}
    return made in (wanted, widths.get(wanted))


def _check_same(out: Path, signature: Signature, source: Signature, reference: Run) -> None:
    session = TfliteSession(out, threads=1)
    try:
        found = difference(source, reference, lambda feeds: unbind(session.run(bind(feeds, signature)), signature))
    finally:
        session.close()
    if found is not None:
        name, error = found
        raise ModelError(
            f"The float TFLite conversion computes something else: its output {name!r} differs by {error:.1%}.",
            hint="This is a fault of the converter; build this model for another target.",
        )


def _saved_model_runner(model: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model))

    def run(feeds: Feeds) -> dict[str, Array]:
        answers = loaded.signatures[SIGNATURE_KEY](**{name: tf.constant(value) for name, value in feeds.items()})
        return {name: tensor.numpy() for name, tensor in answers.items()}

    return run


def _onnx_runner(model: Path) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


def _transposes(model: Path) -> int:
    return sum(operator.kind == "TRANSPOSE" for operator in read_graph(model).operators)


def _not_converted(error: Exception) -> ModelError:
    text = " ".join(str(error).split()).partition(" Supported ops:")[0]
    operators = sorted(set(_TF_OPERATOR.findall(text)))
    layer = _LAYER.search(text)
    where = f" at {layer[1]!r}" if layer else ""
    if "ops that need" in text or "neither a custom op nor a flex op" in text:
        what = f"TFLite has no operator for {', '.join(f'tf.{name}' for name in operators) or 'one of its operators'}"
        detail = f"{what}{where}"
    else:
        detail = f"{text[:300].rstrip('.')}{where}"
    return ModelError(
        f"The model cannot be converted to TFLite: {detail}.",
        hint="Replace that operator in the source model, or build for another target with -t.",
    )
