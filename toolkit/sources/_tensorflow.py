"""A TensorFlow function of static shapes: run as the float reference, frozen as the form ``saved_model``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array, Feeds
from toolkit.core.signature import check_feeds

SIGNATURE_KEY = "serving_default"
DTYPES = ("float32", "int8", "uint8", "int16", "int32", "int64", "bool")
"""What the inputs of a model for phones may hold."""


class Traced(NamedTuple):
    """A function of positional tensors that returns a dictionary; ``keep`` keeps its variables alive."""

    keep: Any
    concrete: Any
    signature: Signature


class TensorFlowSession:
    """A traced function, executed by TensorFlow."""

    def __init__(self, traced: Traced) -> None:
        self.signature = traced.signature
        self._traced: Traced | None = traced

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once; see :class:`toolkit.core.ports.Session`."""
        import tensorflow as tf

        assert self._traced is not None, "the session is closed"
        check_feeds(feeds, self.signature)
        answer = self._traced.concrete(*(tf.constant(feeds[spec.name]) for spec in self.signature.inputs))
        return {spec.name: answer[spec.name].numpy() for spec in self.signature.outputs}

    def close(self) -> None:
        self._traced = None


def save(traced: Traced, out: Path) -> None:
    """Write a SavedModel folder with the one signature ``serving_default``, static shapes, constants for variables."""
    import tensorflow as tf

    # gradients are of no use here, and those that Keras writes for silu cannot be saved with frozen variables
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(tf.Module(), str(out), signatures={SIGNATURE_KEY: _frozen(traced)}, options=options)


def check_form(form: str, forms: tuple[str, ...], what: str) -> None:
    """Refuse a form that a format is not exported to.

    Raises:
        ModelError: it is none of ``forms``.
    """
    if form not in forms:
        raise ModelError(f"A {what} model is not exported as {form!r}.", hint=f"Forms: {', '.join(forms)}.")


def spec_of(name: str, tensor: Any) -> TensorSpec:
    """Return a tensor's name, dtype and shape, -1 for an unknown axis."""
    shape = tuple(-1 if size is None else int(size) for size in tensor.shape)
    return TensorSpec(name=name, dtype=tensor.dtype.name, shape=shape)


def _frozen(traced: Traced) -> Any:
    """Return the traced function with variables as constants, under the same names.

    Left as variables, Keras 3 weights become READ_VARIABLE operators in TFLite and arrive there as NaN; constants are
    also what the converters to ONNX and Core ML begin with.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    constant = convert_variables_to_constants_v2(traced.concrete, lower_control_flow=False)
    # the order in which TensorFlow flattens a dict
    outputs = sorted(traced.signature.outputs, key=lambda spec: spec.name)

    def serve(*tensors: Any) -> dict[str, Any]:
        answers = {}
        for spec, tensor in zip(outputs, constant(*tensors), strict=True):
            tensor.set_shape(spec.shape)
            answers[spec.name] = tensor
        return answers

    specs = [tf.TensorSpec(spec.shape, spec.dtype, name=spec.name) for spec in traced.signature.inputs]
    return tf.function(serve, input_signature=specs, autograph=False).get_concrete_function()
