"""Execute a Core ML program on this host: its ML Program lowered to ONNX, run by ONNX Runtime.

Compressed weights are expanded when the session opens (``session.disable_quant_qdq``), because ONNX Runtime would else
expand them again at every run, which no Core ML runtime does.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.artifacts import Signature
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array, Feeds, Observe
from toolkit.core.signature import check_feeds
from toolkit.targets.coreml.flexible import default_shapes, fixed
from toolkit.targets.coreml.interface import Interface, interface_of
from toolkit.targets.coreml.interpreter.lower import check_supported, lower
from toolkit.targets.coreml.interpreter.program import Program, read_package
from toolkit.targets.coreml.partners import FLOATS, partners

HOST_LABEL = "Core ML program executed on the host"
"""What a figure measured here is called: it says nothing of Apple's runtime or Neural Engine."""


ROUNDING = "PALMTOP_COREML_FLOAT16"
"""Environment variable: ``round`` lets float16 tensors be rounded to half precision as they are computed, as a phone
does; otherwise float16 programs are executed in float32."""


class CoreMLSession:
    """A Core ML program loaded for execution on this host."""

    def __init__(self, interface: Interface, signature: Signature, runtime: Any) -> None:
        self.signature = signature
        self._interface = interface
        self._runtime = runtime

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once; see :meth:`toolkit.core.ports.Session.run`."""
        check_feeds(feeds, self.signature)
        if self._runtime is None:
            raise ModelError("The session is closed.")
        names = [spec.name for spec in self.signature.outputs]
        arrays = dict(zip(names, map(np.asarray, executed(self._runtime, names, feeds, "The program")), strict=True))
        if self._interface.label:
            place = int(arrays[self._interface.label][0])
            arrays[self._interface.label] = np.array([self._interface.labels[place]])
        return arrays

    def close(self) -> None:
        """Free it; safe to call twice."""
        self._runtime = None


class FlexibleSession:
    """A Core ML program whose inputs may have several shapes: each is made a program of its own when first met."""

    def __init__(self, model: Path, message: Any, interface: Interface, threads: int) -> None:
        self._model, self._threads = model, threads
        self._interface = interface
        self._sessions: dict[tuple[tuple[int, ...], ...], CoreMLSession] | None = {}
        shapes = default_shapes(message)
        first = self._session(shapes)
        flexible = {value.name: value.type.shape for value in read_package(model)[1].outputs}
        outputs = (replace(spec, shape=_loosened(spec.shape, flexible[spec.name])) for spec in first.signature.outputs)
        self.signature = Signature(inputs=interface.signature.inputs, outputs=tuple(outputs))

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once; see :meth:`toolkit.core.ports.Session.run`."""
        check_feeds(feeds, self.signature)
        self._interface.check_shapes(feeds)
        return self._session({name: tuple(array.shape) for name, array in feeds.items()}).run(feeds)

    def close(self) -> None:
        """Free it; safe to call twice."""
        self._sessions = None

    def _session(self, shapes: dict[str, tuple[int, ...]]) -> CoreMLSession:
        if self._sessions is None:
            raise ModelError("The session is closed.")
        key = tuple(shapes[spec.name] for spec in self._interface.signature.inputs)
        if key not in self._sessions:
            self._sessions[key] = _opened(self._model, *fixed(self._model, shapes), self._threads)
        return self._sessions[key]


def open_session(model: Path, threads: int) -> CoreMLSession | FlexibleSession:
    """Load an ``.mlpackage``, also one that palmtop did not make; ``threads`` 0 is ONNX Runtime's default.

    Raises:
        ModelError: it is not an ML Program, is damaged, or an operator of it is not executed on the host.
    """
    message, program = read_package(model)
    interface = interface_of(message, model)
    if interface.is_flexible:
        check_supported(program)
        return FlexibleSession(model, message, interface, threads)
    return _opened(model, message, program, threads)


def _opened(model: Path, message: Any, program: Program, threads: int) -> CoreMLSession:
    interface = interface_of(message, model)
    lowered = lower(program, interface, rounded=os.environ.get(ROUNDING) == "round")
    runtime = _runtime(lowered.SerializeToString(), threads, model)
    return CoreMLSession(interface, with_program_shapes(interface.signature, program, interface.pictures), runtime)


def _loosened(shape: tuple[int, ...], declared: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != len(declared):
        return shape
    return tuple(-1 if wanted == -1 else size for size, wanted in zip(shape, declared, strict=True))


def tap(model: Path, samples: Iterable[Feeds], observe: Observe) -> None:
    """Run a program over the samples and show what its operations make, as float32; see :class:`Target`.

    Names are the program's, which quantizing leaves alone. One sample's tensors are in memory at a time.

    Raises:
        DataError: a sample does not fit the model.
        ModelError: as :func:`open_session`, or an operator fails on a sample.
    """
    message, program = read_package(model)
    interface = interface_of(message, model)
    lowered = lower(program, interface)
    signature = with_program_shapes(interface.signature, program, interface.pictures)
    wanted = partners(program)
    computed = _expose(lowered, wanted.values())
    shown = {name: made for name, made in wanted.items() if made in computed}
    inputs = [value.name for value in program.inputs if value.type.dtype in FLOATS]
    session = _runtime(lowered.SerializeToString(), 0, model)
    for feeds in samples:
        check_feeds(feeds, signature)
        values = executed(session, list(shown.values()), feeds, str(model))
        for name in inputs:
            observe(name, feeds[name])
        for name, array in zip(shown, values, strict=True):
            observe(name, array)


def executed(runtime: Any, names: list[str], feeds: Feeds, what: str) -> list[Any]:
    """Return the values of tensors for one sample.

    Raises:
        ModelError: an operator fails on it, such as a gather by an index that its table does not have.
    """
    import onnxruntime

    refused = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        return list(runtime.run(names, dict(feeds)))
    except (refused.Fail, refused.RuntimeException, refused.InvalidArgument) as error:
        text = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{what} cannot be executed on this sample: {text}",
            hint="Check the sample's values, such as identifiers beyond a vocabulary; or the program is damaged.",
        ) from error


def _expose(lowered: Any, names: Iterable[str]) -> set[str]:
    """Make tensors outputs of the lowered graph; return the names of those that it computes."""
    from onnx import ValueInfoProto

    known = {output.name for output in lowered.graph.output}
    made = {name for node in lowered.graph.node for name in node.output}
    computed = [name for name in dict.fromkeys(names) if name in made]
    lowered.graph.output.extend(ValueInfoProto(name=name) for name in computed if name not in known)
    return set(computed)


def _runtime(graph: bytes, threads: int, model: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    refused = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except (
        refused.Fail,
        refused.InvalidGraph,
        refused.InvalidArgument,
        refused.NotImplemented,
        refused.RuntimeException,
    ) as error:
        raise ModelError(
            f"{model}: ONNX Runtime refuses the lowered program: {' '.join(str(error).split())[:300]}",
            hint="The program contradicts itself, or an operator is lowered wrongly; please report it.",
        ) from error


def with_program_shapes(signature: Signature, program: Program, pictures: Container[str] = ()) -> Signature:
    """Take the shapes from the program: descriptions often leave out those of outputs. ``pictures`` keep theirs."""
    values = (*program.inputs, *program.outputs)
    shapes = {value.name: value.type.shape for value in values if value.name not in pictures}
    return Signature(
        inputs=tuple(replace(spec, shape=shapes.get(spec.name, spec.shape)) for spec in signature.inputs),
        outputs=tuple(replace(spec, shape=shapes.get(spec.name, spec.shape)) for spec in signature.outputs),
    )
