"""Convert a TensorFlow SavedModel or an ONNX file to a float32 ML Program.

SavedModels go through coremltools' own TensorFlow front end. ONNX is lowered operator by operator in ``lowering``;
``docs/coreml_operators.md`` says why. Both name the tensors as the source does, as far as Core ML's identifiers allow.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array, Feeds
from toolkit.core.probe import Run, difference
from toolkit.core.signature import bind, unbind
from toolkit.core.store import writing_to
from toolkit.targets.coreml.foreign import coremltools, own_temporary_folder, unchecked
from toolkit.targets.coreml.interpreter.program import read_package
from toolkit.targets.coreml.lowering.program import lower
from toolkit.targets.coreml.messages import keep_source_names, signature_of
from toolkit.targets.coreml.session import open_session, with_program_shapes

_SIGNATURE_KEY = "serving_default"


def convert(form: str, model: Path, source: Signature, out: Path) -> Signature:
    """Write the float32 ``.mlpackage``; see :meth:`toolkit.core.ports.Target.convert`.

    Raises:
        ModelError: an operator cannot be converted; it and its layer are named. Or the program computes something
            else than the form: the output that differs most is named.
    """
    names = _identifiers(source)
    with own_temporary_folder() as scratch:
        made = _from_saved_model(model, source, names) if form == "saved_model" else _from_onnx(model, names)
        signature = _signature(made.get_spec(), source, names, model)
        save(made, signature, out, scratch)
    found = _read_back(out)
    check_same(out, found, source, _saved_model_runner(model) if form == "saved_model" else onnx_runner(model))
    return found


def save(made: Any, signature: Signature, out: Path, scratch: Path) -> None:
    """Write a coremltools model as a package to ``out``, with the names of its source's tensors inside.

    Raises:
        OutputError: the place cannot be written.
    """
    import coremltools as ct

    spec = made.get_spec()
    keep_source_names(spec, signature)
    package = scratch / "model.mlpackage"
    ct.models.MLModel(spec, weights_dir=made.weights_dir, skip_model_load=True).save(str(package))
    with writing_to(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(package, out)


def check_same(out: Path, signature: Signature, source: Signature, reference: Run) -> None:
    """Execute a float program of this signature and hold it against the form that it was made from.

    Raises:
        ModelError: an output differs by more than rounding explains.
    """
    session = open_session(out, 1)
    try:
        found = difference(source, reference, lambda feeds: unbind(session.run(bind(feeds, signature)), signature))
    finally:
        session.close()
    if found is not None:
        name, error = found
        raise ModelError(
            f"The float Core ML conversion computes something else: its output {name!r} differs by {error:.1%}.",
            hint="The converted program and the source's runtime disagree, and one of them is wrong: "
            "please report this model, and build it for another target meanwhile.",
        )


def _saved_model_runner(model: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(model))

    def run(feeds: Feeds) -> dict[str, Array]:
        answers = loaded.signatures[_SIGNATURE_KEY](**{name: tf.constant(value) for name, value in feeds.items()})
        return {name: tensor.numpy() for name, tensor in answers.items()}

    return run


def onnx_runner(model: Path) -> Run:
    """Load an ONNX file in ONNX Runtime, on one thread; what runs it takes and returns arrays by its own names."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


def _read_back(out: Path) -> Signature:
    message, program = read_package(out)
    return with_program_shapes(signature_of(message, out), program)


def _from_saved_model(model: Path, source: Signature, names: dict[str, str]) -> Any:
    ct = coremltools(tensorflow=True)
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    _teach_composites()
    loaded = tf.saved_model.load(str(model))
    concrete = loaded.signatures[_SIGNATURE_KEY]
    frozen = convert_variables_to_constants_v2(concrete)
    inputs = {tensor.op.name: tensor for tensor in frozen.inputs}
    given = _placeholders(source, list(inputs), model)
    try:
        made = _converted(
            ct,
            [frozen],
            source="tensorflow",
            inputs=[
                ct.TensorType(name=given[spec.name], shape=spec.shape, dtype=_interface_dtype(spec.dtype))
                for spec in source.inputs
            ],
            outputs=[ct.TensorType(name=tensor.op.name) for tensor in frozen.outputs],
        )
    except (NotImplementedError, ValueError, RuntimeError, KeyError, AssertionError) as error:
        raise _cannot_convert(error) from error
    # flattened structured outputs are in the order of their sorted keys
    keys = sorted(concrete.structured_outputs)
    renames = {given[spec.name]: names[spec.name] for spec in source.inputs}
    renames |= {_plain(tensor.op.name): names[key] for key, tensor in zip(keys, frozen.outputs, strict=True)}
    return _renamed(ct, made, renames)


def _converted(ct: Any, model: Any, **more: Any) -> Any:
    """Return a float32 ML Program for iOS 16; :func:`convert` executes it and holds it against the form."""
    with unchecked():
        return ct.convert(
            model,
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
            **more,
        )


def _teach_composites() -> None:
    """Add what coremltools' TensorFlow front end lacks: ``Erfc``, which Keras' exact GELU is made of."""
    from coremltools.converters.mil import Builder, register_tf_op

    def complementary_error(context: Any, node: Any) -> None:
        error = Builder.erf(x=context[node.inputs[0]])
        context.add(node.name, Builder.sub(x=1.0, y=error, name=node.name))

    register_tf_op(complementary_error, tf_alias=["Erfc"], override=True)


def _placeholders(source: Signature, found: list[str], model: Path) -> dict[str, str]:
    """Return the graph's placeholder for each input of the source: a signature's are prefixed by its key."""
    given = {}
    for spec in source.inputs:
        fits = [name for name in found if name in (spec.name, f"{_SIGNATURE_KEY}_{spec.name}", _plain(spec.name))]
        if not fits:
            raise ModelError(f"{model} has no input {spec.name!r}.", hint=f"It has: {', '.join(found)}.")
        given[spec.name] = fits[0]
    return given


def _renamed(ct: Any, made: Any, renames: dict[str, str]) -> Any:
    spec = made.get_spec()
    taken = {feature.name for feature in (*spec.description.input, *spec.description.output)}
    steps = [(old, new) for old, new in renames.items() if old != new and old in taken]
    # by way of names nobody has, so that two tensors may swap theirs
    for index, (old, _) in enumerate(steps):
        ct.utils.rename_feature(spec, old, f"palmtop_{index}_")
    for index, (_, new) in enumerate(steps):
        ct.utils.rename_feature(spec, f"palmtop_{index}_", new)
    return ct.models.MLModel(spec, weights_dir=made.weights_dir, skip_model_load=True)


def _from_onnx(model: Path, names: dict[str, str]) -> Any:
    ct = coremltools(tensorflow=False)
    import onnx

    graph = onnx.load(str(model))
    _rename_onnx(graph.graph, names)
    try:
        return _converted(ct, lower(graph, ct))
    except ModelError as error:  # of a class that only this room knows, perhaps
        raise ModelError(f"The model cannot be converted to Core ML: {error.message}", hint=error.hint) from error
    except (RuntimeError, NotImplementedError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise _cannot_convert(error) from error


def _rename_onnx(graph: Any, names: dict[str, str]) -> None:
    """Give a graph's inputs and outputs the names they have in Core ML, wherever they occur."""
    inner = {name for node in graph.node for name in (*node.input, *node.output)}
    clashes = {new for old, new in names.items() if old != new and new in inner}
    renames = {**{name: f"{name}_inner" for name in clashes}, **names}
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = renames.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [renames.get(name, name) for name in node.input]
        node.output[:] = [renames.get(name, name) for name in node.output]


def _identifiers(source: Signature) -> dict[str, str]:
    """Return a Core ML identifier for each tensor of the source, its own name where that is one."""
    chosen: dict[str, str] = {}
    for spec in (*source.inputs, *source.outputs):
        name = _plain(spec.name)
        while name in chosen.values():
            name += "_"
        chosen[spec.name] = name
    return chosen


def _plain(name: str) -> str:
    plain = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return plain if re.match(r"[a-zA-Z_]", plain) else f"_{plain}"


def _interface_dtype(dtype: str) -> Any:
    import numpy as np

    return np.float32 if dtype.startswith("float") else np.int32


def _signature(spec: Any, source: Signature, names: dict[str, str], model: Path) -> Signature:
    made = signature_of(spec, model)
    by_name = {names[item.name]: item.name for item in (*source.inputs, *source.outputs)}
    found = {item.name for item in (*made.inputs, *made.outputs)}
    lost = [item for name, item in by_name.items() if name not in found]
    if lost:
        raise ModelError(f"The conversion of {model} lost the tensor {lost[0]!r}.", hint="Please report this model.")

    def named(item: TensorSpec) -> TensorSpec:
        origin = by_name.get(item.name, "")
        return TensorSpec(
            name=item.name, dtype=item.dtype, shape=item.shape, source_name="" if origin == item.name else origin
        )

    return Signature(inputs=tuple(map(named, made.inputs)), outputs=tuple(map(named, made.outputs)))


def _cannot_convert(error: Exception) -> ModelError:
    words = " ".join(str(error).split())
    reason = words.partition(" Supported ops:")[0][:400] or f"coremltools fails with {type(error).__name__}"
    return ModelError(
        f"The model cannot be converted to Core ML: {reason}",
        hint="Replace that operator in the model, or leave out this target; or palmtop or coremltools is wrong: "
        "please report this model.",
    )
