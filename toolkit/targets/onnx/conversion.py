"""From the exchange forms to an ONNX file: the ``onnx`` form as it is, a SavedModel through tf2onnx and onnxslim."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.core import batch_norm
from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.core.frameworks import import_tensorflow
from toolkit.core.store import writing_to
from toolkit.targets.onnx import graph, runtime
from toolkit.targets.onnx.graph import Model

OPSET = 17
"""High enough for LayerNormalization, and read by every ONNX Runtime since 1.12."""


def from_onnx(model: Path, source: Signature, out: Path) -> Signature:
    """Take the ``onnx`` form over, once it is seen to load, run and fit the source's signature.

    It stays as it is byte for byte, unless it has batch normalisations that no layer has taken up.
    """
    found = graph.read(model)
    opset = graph.opset_of(found)
    if opset < OPSET:
        raise ModelError(f"{model.name} uses operator set {opset}; the form `onnx` wants {OPSET} or later.")
    if not _without_batch_norm(found, out):
        with writing_to(out.parent):
            shutil.copyfile(model, out)
    return _checked(out, source)


def _without_batch_norm(model: Model, out: Path) -> bool:
    """Write a model with its batch normalisations in other layers' words; say False if it has none."""
    import onnx

    before = [node.op_type for node in model.graph.node].count(batch_norm.OPERATOR)
    batch_norm.rewrite(model, onnx)
    if [node.op_type for node in model.graph.node].count(batch_norm.OPERATOR) == before:
        return False
    graph.drop_unused(model)
    del model.graph.value_info[:]
    graph.write(model, out)
    return True


def from_saved_model(folder: Path, source: Signature, out: Path) -> Signature:
    """Convert the signature ``serving_default`` of a SavedModel.

    Raises:
        ModelError: tf2onnx cannot convert an operator, or the result does not fit the source's signature.
    """
    import onnx
    import onnxslim

    converted = _tf2onnx(folder, source)
    _refuse_foreign_operators(converted)
    specs = (*source.inputs, *source.outputs)
    graph.rename(converted, dict(zip(_places(source), (spec.name for spec in specs), strict=True)))
    try:
        slim = onnxslim.slim(converted)
    except Exception as error:
        raise ModelError(f"onnxslim cannot simplify the converted model: {runtime.one_line(error)}") from error
    batch_norm.rewrite(slim, onnx)
    graph.drop_unused(slim)
    _order(slim.graph.input, source.inputs)
    _order(slim.graph.output, source.outputs)
    graph.lower_ir_version(slim)
    graph.write(slim, out)
    return _checked(out, source)


def _places(source: Signature) -> list[str]:
    """Return working names for inputs and outputs; TensorFlow would bend names such as ``a b`` or ``1/x``."""
    return [
        *(f"palmtop_input_{index}" for index in range(len(source.inputs))),
        *(f"palmtop_output_{index}" for index in range(len(source.outputs))),
    ]


def _tf2onnx(folder: Path, source: Signature) -> Model:
    import_tensorflow(keras=False)
    import tensorflow as tf
    import tf2onnx

    try:
        loaded = tf.saved_model.load(str(folder))
        serve = loaded.signatures["serving_default"]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(
            f"{folder.name} is no SavedModel with the signature `serving_default`: {runtime.one_line(error)}"
        ) from error
    _same_names("input", source.inputs, serve.structured_input_signature[1])
    _same_names("output", source.outputs, serve.structured_outputs)
    places = _places(source)
    specs = [
        tf.TensorSpec(spec.shape, serve.structured_input_signature[1][spec.name].dtype, name=place)
        for spec, place in zip(source.inputs, places, strict=False)
    ]

    def by_position(*tensors: Any) -> dict[str, Any]:
        outputs = serve(**{spec.name: tensor for spec, tensor in zip(source.inputs, tensors, strict=True)})
        ordered = [tf.identity(outputs[spec.name]) for spec in source.outputs]
        return dict(zip(places[len(source.inputs) :], ordered, strict=True))

    try:
        function = tf.function(by_position, input_signature=specs)
        converted, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=OPSET)
    except Exception as error:
        raise ModelError(f"tf2onnx cannot convert the model: {runtime.one_line(error)}") from error
    return converted


def _same_names(kind: str, specs: Sequence[TensorSpec], found: Mapping[str, Any]) -> None:
    wanted = {spec.name for spec in specs}
    if wanted != set(found):
        raise ModelError(f"The SavedModel's {kind}s are {sorted(found)}, the source's {sorted(wanted)}.")


def _refuse_foreign_operators(model: Model) -> None:
    """Name what tf2onnx left as it was: it only logs operators that it cannot convert."""
    import onnx

    domains = {opset.domain: opset.version for opset in model.opset_import}
    for node in model.graph.node:
        domain = "" if node.domain == "ai.onnx" else node.domain
        if domain == "" and not onnx.defs.has(node.op_type, OPSET, ""):
            raise ModelError(
                f"tf2onnx cannot convert the TensorFlow operator {node.op_type} of layer {node.name!r}.",
                hint="Replace the layer by one made of common operators, or leave out the target onnx.",
            )
        if domain not in domains:
            raise ModelError(f"The operator {node.op_type} of layer {node.name!r} is not a standard one.")


def _order(values: Any, specs: Sequence[TensorSpec]) -> None:
    found = {value.name: value for value in values}
    missing = [spec.name for spec in specs if spec.name not in found]
    if missing:
        raise ModelError(f"The converted model lost its tensor {missing[0]!r}.", hint="Is it used by any output?")
    graph.replace(values, [found[spec.name] for spec in specs])


def _checked(out: Path, source: Signature) -> Signature:
    """Run the converted model and hold its signature against the source's."""
    runtime.try_out(out)
    session = runtime.open_session(out, threads=1)
    signature = session.signature
    session.close()
    for kind, ours, theirs in (
        ("input", signature.inputs, source.inputs),
        ("output", signature.outputs, source.outputs),
    ):
        if [spec.name for spec in ours] != [spec.name for spec in theirs]:
            raise ModelError(
                f"The {kind}s of the ONNX model are {[spec.name for spec in ours]}, "
                f"the source's {[spec.name for spec in theirs]}."
            )
    for ours_in, theirs_in in zip(signature.inputs, source.inputs, strict=True):
        if (ours_in.shape, ours_in.dtype) != (theirs_in.shape, theirs_in.dtype):
            raise ModelError(
                f"The input {ours_in.name!r} is {ours_in.dtype} {list(ours_in.shape)} in the ONNX model, "
                f"{theirs_in.dtype} {list(theirs_in.shape)} in the source."
            )
    return signature
