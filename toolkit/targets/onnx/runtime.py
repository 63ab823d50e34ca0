"""ONNX Runtime on this host: sessions, their signature, and its errors in the words of the house."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array, Feeds
from toolkit.core.signature import check_feeds

DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
}
"""ONNX Runtime's words for tensor types, and numpy's."""

_SHARED_WEIGHT = "Attempt to replace the existing tensor"


def load_library() -> ModuleType:
    """Import ONNX Runtime with its telemetry off; the variable counts only before the import."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(3)
    library: ModuleType = onnxruntime
    return library


@contextmanager
def translated(failed: str, hint: str = "") -> Iterator[None]:
    """Turn ONNX Runtime's own errors inside the block into one of ours that begins with what failed.

    Raises:
        ModelError: ONNX Runtime raised; its message, in one line, is part of ours.
    """
    foreign: tuple[type[Exception], ...] = (*_own_errors(), RuntimeError, ValueError)
    try:
        yield
    except foreign as error:
        raise ModelError(f"{failed}: {one_line(error)}", hint=hint) from error


@functools.cache
def _own_errors() -> tuple[type[Exception], ...]:
    load_library()
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception))


def one_line(error: BaseException) -> str:
    """Return a foreign error's message without its line ends and at a readable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 500 else f"{text[:500]} …"


class OrtSession:
    """A loaded model; see :class:`toolkit.core.ports.Session`."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._names = [output.name for output in session.get_outputs()]
        self._foreign: tuple[type[Exception], ...] = (*_own_errors(), RuntimeError, ValueError)
        self.signature = Signature(inputs=specs(session.get_inputs()), outputs=specs(session.get_outputs()))

    def run(self, feeds: Feeds) -> dict[str, Array]:
        if self._session is None:
            raise RuntimeError("the session is closed")
        check_feeds(feeds, self.signature)
        # asarray: ONNX Runtime takes 0-d arrays and refuses numpy scalars
        arrays = {name: np.asarray(array, order="C") for name, array in feeds.items()}
        try:  # not `translated`: this is inside every timed call
            values = self._session.run(self._names, arrays)
        except self._foreign as error:
            raise ModelError(f"ONNX Runtime failed to execute the model: {one_line(error)}") from error
        return dict(zip(self._names, (np.asarray(value) for value in values), strict=True))

    def close(self) -> None:
        self._session = None


def open_session(model: Path | bytes, threads: int) -> OrtSession:
    """Load a model as an app would; see :func:`load`."""
    return OrtSession(load(model, threads))


def load(model: Path | bytes, threads: int, *, optimise: bool = True) -> Any:
    """Load a model on the CPU and return ONNX Runtime's own session.

    Integer arithmetic is made exact (``session.x64quantprecision``): otherwise ONNX Runtime adds pairs of u8 x s8
    products in saturating 16 bits on x86 processors without VNNI, which no phone does and which can ruin a good model.
    The rewriting behind it fails on weights that several layers share, so these are given copies in memory.

    Args:
        model: a file, or the bytes of one.
        threads: of one operator; 0 is the library's default. Idle threads sleep instead of spinning.
        optimise: False executes the graph node by node as it is written.

    Raises:
        ModelError: it is no ONNX model, is damaged, or holds an operator that ONNX Runtime does not know.
    """
    if isinstance(model, Path) and not model.is_file():
        raise ModelError(f"There is no ONNX file {model}.")
    name = model.name if isinstance(model, Path) else "the model"
    with translated(f"ONNX Runtime cannot load {name}", "The file is damaged, or made for a newer ONNX Runtime."):
        try:
            return _start(str(model) if isinstance(model, Path) else model, threads, optimise)
        except _own_errors() as error:
            if _SHARED_WEIGHT not in str(error):
                raise
        return _start(_with_own_weights(model), threads, optimise)


def dump(model: Path, out: Path) -> None:
    """Load a file with default optimisations and write the graph that ONNX Runtime executes.

    Raises:
        ModelError: it does not load.
    """
    with translated(f"ONNX Runtime cannot load {model.name}"):
        try:
            _start(str(model), 1, True, str(out))
        except _own_errors() as error:
            if _SHARED_WEIGHT not in str(error):
                raise
            _start(_with_own_weights(model), 1, True, str(out))


def _start(model: str | bytes, threads: int, optimise: bool, dump_to: str = "") -> Any:
    ort = load_library()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.x64quantprecision", "1")
    if dump_to:
        options.optimized_model_filepath = dump_to
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _with_own_weights(model: Path | bytes) -> bytes:
    """Return a copy in which every layer has a DequantizeLinear and an integer weight of its own."""
    import onnx

    proto = onnx.load_model_from_string(model.read_bytes() if isinstance(model, Path) else model)
    constants = {init.name: init for init in proto.graph.initializer}
    sources = {
        node.output[0]: node
        for node in proto.graph.node
        if node.op_type == "DequantizeLinear" and constants.keys() >= set(node.input)
    }
    copies = []
    for position, node in enumerate(proto.graph.node):
        for index, name in enumerate(node.input):
            if name in sources:
                copy = onnx.NodeProto()
                copy.CopyFrom(sources[name])
                copy.name = copy.output[0] = node.input[index] = f"{name}/own/{position}/{index}"
                for part, constant in enumerate(copy.input):
                    proto.graph.initializer.add().CopyFrom(constants[constant])
                    proto.graph.initializer[-1].name = copy.input[part] = f"{copy.name}/{part}"
                copies.append(copy)
    nodes = [*copies, *(node for node in proto.graph.node if node.output[0] not in sources)]
    ordered = onnx.GraphProto()
    ordered.node.extend(nodes)
    del proto.graph.node[:]
    proto.graph.node.extend(ordered.node)
    return bytes(proto.SerializeToString())


def probe_feeds(signature: Signature) -> dict[str, Array]:
    """Return inputs to try a model with: seeded values in [0, 1) for floats, zeros (valid as indices) for the rest."""
    rng = np.random.default_rng(0)
    feeds: dict[str, Array] = {}
    for spec in signature.inputs:
        shape = tuple(1 if size < 0 else size for size in spec.shape)
        dtype = np.dtype(spec.dtype)
        feeds[spec.name] = (rng.random(shape) if dtype.kind == "f" else np.zeros(shape)).astype(dtype)
    return feeds


def try_out(model: Path) -> dict[str, Array]:
    """Load a model with default optimisations and execute it once on :func:`probe_feeds`.

    Raises:
        ModelError: it does not load or does not run.
    """
    session = open_session(model, threads=1)
    outputs = session.run(probe_feeds(session.signature))
    session.close()
    return outputs


def specs(args: Iterable[Any]) -> tuple[TensorSpec, ...]:
    """Return a session's inputs or outputs in the words of the house.

    Raises:
        ModelError: one is no tensor of numbers.
    """
    return tuple(_spec(arg) for arg in args)


def _spec(arg: Any) -> TensorSpec:
    if arg.type not in DTYPES:
        raise ModelError(
            f"The tensor {arg.name!r} is of type {arg.type}, which palmtop cannot feed or read.",
            hint="Inputs and outputs must be tensors of numbers.",
        )
    shape = tuple(size if isinstance(size, int) else -1 for size in arg.shape)
    return TensorSpec(name=arg.name, dtype=DTYPES[arg.type], shape=shape, source_name=arg.name)
