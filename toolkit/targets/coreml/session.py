"""Execute a Core ML program on this host: its ML Program lowered to ONNX, run by ONNX Runtime.

Compressed weights are expanded when the session opens (``session.disable_quant_qdq``), because ONNX Runtime would else
expand them again at every run, which no Core ML runtime does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.artifacts import Signature
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array, Feeds, Observe
from toolkit.core.signature import check_feeds
from toolkit.targets.coreml.interpreter.lower import lower
from toolkit.targets.coreml.interpreter.program import Program, read_package
from toolkit.targets.coreml.messages import signature_of

HOST_LABEL = "Core ML program executed on the host"
"""What a figure measured here is called: it says nothing of Apple's runtime or Neural Engine."""


FLOATS = ("fp16", "fp32", "fp64")
"""MIL's words for the element types of floats."""


class CoreMLSession:
    """A Core ML program loaded for execution on this host."""

    def __init__(self, signature: Signature, runtime: Any) -> None:
        self.signature = signature
        self._runtime = runtime

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once; see :meth:`toolkit.core.ports.Session.run`."""
        check_feeds(feeds, self.signature)
        if self._runtime is None:
            raise ModelError("The session is closed.")
        names = [spec.name for spec in self.signature.outputs]
        arrays = self._runtime.run(names, dict(feeds))
        return {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}

    def close(self) -> None:
        """Free it; safe to call twice."""
        self._runtime = None


def open_session(model: Path, threads: int) -> CoreMLSession:
    """Load an ``.mlpackage``, also one that palmtop did not make; ``threads`` 0 is ONNX Runtime's default.

    Raises:
        ModelError: it is not an ML Program, is damaged, or an operator of it is not executed on the host.
    """
    message, program = read_package(model)
    declared = signature_of(message, model)
    lowered = lower(program, declared)
    return CoreMLSession(with_program_shapes(declared, program), _runtime(lowered.SerializeToString(), threads, model))


def tap(model: Path, samples: Iterable[Feeds], observe: Observe) -> None:
    """Run a program over the samples and show what its operations make, as float32; see :class:`Target`.

    Names are the program's, which quantizing weights leaves alone. One sample's tensors are in memory at a time.

    Raises:
        DataError: a sample does not fit the model.
        ModelError: as :func:`open_session`, or an operator fails on a sample.
    """
    import onnxruntime

    message, program = read_package(model)
    declared = signature_of(message, model)
    lowered = lower(program, declared)
    signature = with_program_shapes(declared, program)
    shown = _expose(lowered, program)
    inputs = [value.name for value in program.inputs if value.type.dtype in FLOATS]
    session = _runtime(lowered.SerializeToString(), 0, model)
    refused = onnxruntime.capi.onnxruntime_pybind11_state
    for feeds in samples:
        check_feeds(feeds, signature)
        try:
            values = session.run(shown, dict(feeds))
        except (refused.Fail, refused.RuntimeException, refused.InvalidArgument) as error:
            text = " ".join(str(error).split())[:300]
            raise ModelError(f"{model}: ONNX Runtime fails on a sample: {text}") from error
        for name in inputs:
            observe(name, feeds[name])
        for name, array in zip(shown, values, strict=True):
            observe(name, array)


def _expose(lowered: Any, program: Program) -> list[str]:
    """Make every float tensor that an operation computes an output of the lowered graph and return their names."""
    from onnx import ValueInfoProto

    known = {output.name for output in lowered.graph.output}
    made = {name for node in lowered.graph.node for name in node.output}
    values = [
        output
        for operation in program.operations
        if not operation.operator.startswith("constexpr_")
        for output in operation.outputs
    ]
    names = [value.name for value in values if value.type.dtype in FLOATS and value.name in made]
    lowered.graph.output.extend(ValueInfoProto(name=name) for name in names if name not in known)
    return names


def _runtime(graph: bytes, threads: int, model: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    refused = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except (refused.Fail, refused.InvalidGraph, refused.InvalidArgument, refused.NotImplemented) as error:
        raise ModelError(
            f"{model}: ONNX Runtime refuses the lowered program: {' '.join(str(error).split())[:300]}",
            hint="The program contradicts itself, or an operator is lowered wrongly; please report it.",
        ) from error


def with_program_shapes(signature: Signature, program: Program) -> Signature:
    """Take the shapes from the program: descriptions often leave out those of outputs."""
    shapes = {value.name: value.type.shape for value in (*program.inputs, *program.outputs)}
    return Signature(
        inputs=tuple(replace(spec, shape=shapes.get(spec.name, spec.shape)) for spec in signature.inputs),
        outputs=tuple(replace(spec, shape=shapes.get(spec.name, spec.shape)) for spec in signature.outputs),
    )
