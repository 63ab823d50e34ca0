"""Runs a ``.tflite`` file in LiteRT, the runtime that ships."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array, Feeds, Observe
from toolkit.core.probe import probe_feeds
from toolkit.core.signature import check_feeds
from toolkit.targets.tflite.flatbuffer import Graph, read_graph

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
    """Run the float model over the samples without delegates and show every float activation to ``observe``.

    One interpreter keeps one copy of each tensor, so memory is that of one sample however many there are.

    Raises:
        DataError: a sample does not fit the model.
        ModelError: an operator fails; it is named.
    """
    from ai_edge_litert.interpreter import OpResolverType

    graph = read_graph(model)
    refuse_control_flow(model, graph)
    interpreter = _interpreter(
        model,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    signature = graph.signature()
    seen = float_activations(graph)
    for feeds in samples:
        check_feeds(feeds, signature)
        for name, index in graph.inputs:
            interpreter.set_tensor(index, np.ascontiguousarray(feeds[name]))
        _invoke(model, interpreter)
        for index in seen:
            observe(graph.tensors[index].name, interpreter.get_tensor(index))


def float_activations(graph: Graph) -> tuple[int, ...]:
    """Return the float tensors that inputs and operators produce, each once."""
    produced = [index for _, index in graph.inputs]
    produced += [index for operator in graph.operators for index in operator.outputs]
    return tuple(i for i in dict.fromkeys(produced) if i >= 0 and graph.tensors[i].dtype == "float32")


def refuse_control_flow(model: Path, graph: Graph) -> None:
    """Refuse a model with subgraphs: ranges inside branches that no sample takes would be unknown.

    Raises:
        ModelError: it has several.
    """
    if graph.subgraphs > 1:
        flow = next((op.kind for op in graph.operators if op.kind in ("WHILE", "IF", "CALL_ONCE", "CALL")), "subgraphs")
        raise ModelError(
            f"The model {model.name} has control flow ({flow}), whose activations are not calibrated.",
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
