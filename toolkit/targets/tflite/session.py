"""Runs a ``.tflite`` file in LiteRT, the runtime that ships."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array, Feeds, Observe
from toolkit.core.probe import probe_feeds
from toolkit.core.signature import check_feeds
from toolkit.targets.tflite.flatbuffer import Graph, read_graph

_INTEGERS = ("int8", "uint8", "int16")
_NODE = re.compile(r"[Nn]ode number (\d+) \((\w+)\)")


class TfliteSession:
    """A model in the LiteRT interpreter, with XNNPACK where it takes over.

    Inputs and outputs bear the names of the file's signature, else those of its tensors.
    """

    def __init__(self, model: Path, threads: int) -> None:
        self._path = model
        self._graph = read_graph(model)
        self.signature: Signature = self._graph.signature()
        self._interpreter: Any = _interpreter(model, num_threads=threads or None)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once; whole numbers of 64 bits may stand for 32-bit inputs.

        Raises:
            DataError: a feed is missing, or its shape or dtype is not the signature's.
            ModelError: an operator fails on these values; it is named.
        """
        assert self._interpreter is not None, "the session is closed"
        narrow = {spec.name: _narrowed(feeds[spec.name], spec) for spec in self.signature.inputs if spec.name in feeds}
        fed = {**feeds, **narrow}
        check_feeds(fed, self.signature)
        for name, index in self._graph.inputs:
            self._interpreter.set_tensor(index, np.ascontiguousarray(fed[name]))
        _invoke(self._path, self._interpreter)
        return {name: self._interpreter.get_tensor(index) for name, index in self._graph.outputs}

    def close(self) -> None:
        self._interpreter = None


def partitions(model: Path) -> int:
    """Return how many pieces of a graph LiteRT's default delegate, XNNPACK, takes over.

    Raises:
        ModelError: LiteRT cannot load it.
    """
    interpreter = _interpreter(model, num_threads=1)
    return sum(operator["op_name"] == "DELEGATE" for operator in interpreter._get_ops_details())  # noqa: SLF001


def smoke_run(model: Path) -> dict[str, Array]:
    """Load a model and execute it once on made-up values; return the outputs.

    Raises:
        ModelError: LiteRT cannot load or execute it; the operator is named.
    """
    session = TfliteSession(model, threads=1)
    try:
        return session.run(probe_feeds(session.signature))
    finally:
        session.close()


def calibrate(model: Path, samples: Iterable[Feeds], observe: Observe) -> None:
    """Run the float model over the samples and show every float activation to ``observe``; see :func:`tap`."""
    graph = read_graph(model)
    _watch(model, graph, {index: graph.tensors[index].name for index in float_activations(graph)}, samples, observe)


def tap(model: Path, samples: Iterable[Feeds], observe: Observe) -> None:
    """Run a model over the samples without delegates and show its activations to ``observe``, integers dequantized.

    One interpreter keeps one copy of each tensor, so memory is that of one sample however many there are.

    Raises:
        DataError: a sample does not fit the model.
        ModelError: an operator fails (it is named), or the model has control flow.
    """
    graph = read_graph(model)
    _watch(model, graph, _activations(graph), samples, observe)


def _watch(model: Path, graph: Graph, names: Mapping[int, str], samples: Iterable[Feeds], observe: Observe) -> None:
    """Show the tensors that have names, each sample's after the inference."""
    from ai_edge_litert.interpreter import OpResolverType

    refuse_control_flow(graph)
    interpreter = _interpreter(
        model,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    signature = graph.signature()
    scales = {detail["index"]: detail["quantization"] for detail in interpreter.get_tensor_details()}
    for feeds in samples:
        check_feeds(feeds, signature)
        for name, index in graph.inputs:
            interpreter.set_tensor(index, np.ascontiguousarray(feeds[name]))
        _invoke(model, interpreter)
        for index, name in names.items():
            observe(name, _dequantized(interpreter.get_tensor(index), *scales[index]))


def _dequantized(values: Array, scale: float, zero_point: int) -> Array:
    if values.dtype.kind == "f":
        return values
    return (values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


def _activations(graph: Graph) -> dict[int, str]:
    """Return the tensors that hold float values, float or quantized, each with its partner's name in the float model.

    The quantizer puts a QUANTIZE or DEQUANTIZE where integers meet floats and names what that makes itself: the float
    model knows it by what went in. Of two tensors with one name the integers are taken, as they are what is computed
    with.
    """
    partners = {
        operator.outputs[0]: operator.inputs[0]
        for operator in graph.operators
        if operator.kind in ("QUANTIZE", "DEQUANTIZE")
    }
    chosen: dict[str, int] = {}
    for index in dict.fromkeys(_produced(graph)):
        origin = index
        while origin in partners:
            origin = partners[origin]
        name, dtype = graph.tensors[origin].name, graph.tensors[index].dtype
        if graph.is_constant(origin) or not (dtype == "float32" or (dtype in _INTEGERS and _has_scale(graph, index))):
            continue
        if name not in chosen or graph.tensors[chosen[name]].dtype == "float32":
            chosen[name] = index
    return {index: name for name, index in chosen.items()}


def _has_scale(graph: Graph, index: int) -> bool:
    return graph.tensors[index].scales == 1


def _produced(graph: Graph) -> Iterator[int]:
    """Yield the tensors that inputs and operators make, in the order of execution."""
    yield from (index for _, index in graph.inputs)
    yield from (index for operator in graph.operators for index in operator.outputs if index >= 0)


def float_activations(graph: Graph) -> tuple[int, ...]:
    """Return the float tensors that inputs and operators produce, each once."""
    return tuple(index for index in dict.fromkeys(_produced(graph)) if graph.tensors[index].dtype == "float32")


def refuse_control_flow(graph: Graph) -> None:
    """Refuse a model with subgraphs: activations inside branches that no sample takes would be unknown.

    Raises:
        ModelError: it has several.
    """
    if graph.subgraphs > 1:
        flow = next(
            (
                f"{op.kind} that makes {graph.tensors[op.outputs[0]].name!r}" if op.outputs else op.kind
                for op in graph.operators
                if op.kind in ("WHILE", "IF", "CALL_ONCE", "CALL")
            ),
            "subgraphs",
        )
        raise ModelError(
            f"The TFLite model has control flow ({flow}), whose activations are not seen.",
            hint="Build it with the recipe weight-int8 or float32, or unroll its loops.",
        )


def _interpreter(model: Path, **options: Any) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(model), **options)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError, TypeError) as error:
        raise _refused(model, "load", error) from error
    return interpreter


def _invoke(model: Path, interpreter: Any) -> None:
    try:
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise _refused(model, "execute", error) from error


def _refused(model: Path, verb: str, error: Exception) -> ModelError:
    text = " ".join(str(error).split())[:300].rstrip(".")
    node = _NODE.search(text)
    where = f" at operator {node[2]} (number {node[1]})" if node else ""
    return ModelError(
        f"LiteRT cannot {verb} {model.name}{where}: {text}.",
        hint="Replace that operator in the source model, or choose another target.",
    )


def _narrowed(array: Array, spec: TensorSpec) -> Array:
    if spec.dtype == "int32" and array.dtype == np.int64:
        limits = np.iinfo(np.int32)
        if not array.size or (int(array.min()) >= limits.min and int(array.max()) <= limits.max):
            return array.astype(np.int32)
    return array
