"""Reads a ``.tflite`` file, ours or foreign, into plain values; gives one from ONNX its names and axis order back."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from toolkit.core import tflite_file
from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import ModelError

IDENTIFIER = b"TFL3"
AXES_METADATA = "palmtop_axes"
"""Name of the metadata that holds, as JSON, the axis order of each input and output whose source had another."""
RUNTIME_METADATA = "min_runtime_version"
"""Name of the metadata in which the converter notes the oldest runtime that has all operators."""
_MOST_ITEMS = 2_000_000
_ON_GRID = ("int8", "uint8", "int16")
_DTYPES = {"float": "float32", "half": "float16", "double": "float64"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a subgraph. ``constant_bytes`` is 0 for activations; ``scales`` counts quantization scales.

    ``grid`` is scale and zero point where one of each serves the whole tensor, else None.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    constant_bytes: int
    scales: int
    grid: tuple[float, int] | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of a subgraph; inputs and outputs are tensor numbers, -1 for an omitted one.

    ``activated`` says that an activation such as RELU6 is fused into it.
    """

    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    builtin: bool
    activated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """One subgraph of a model, most often the only one, and what the file says of the whole.

    ``inputs`` and ``outputs`` pair a public name with a tensor number, in the model's order.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    axes: dict[str, tuple[int, ...]]
    runtime_noted: str
    subgraphs: int

    def is_constant(self, index: int) -> bool:
        """Whether a tensor's values lie in the file."""
        return index >= 0 and self.tensors[index].constant_bytes > 0

    def signature(self) -> Signature:
        """Return the public inputs and outputs."""
        return Signature(
            inputs=tuple(self._spec(name, index) for name, index in self.inputs),
            outputs=tuple(self._spec(name, index) for name, index in self.outputs),
        )

    def _spec(self, name: str, index: int) -> TensorSpec:
        tensor = self.tensors[index]
        scale, zero = tensor.grid if tensor.grid is not None and tensor.dtype in _ON_GRID else (0.0, 0)
        return TensorSpec(
            name=name,
            dtype=tensor.dtype,
            shape=tensor.shape,
            source_name=name,
            perm=self.axes.get(name, ()),
            scale=scale,
            zero_point=zero,
        )


def read_all(path: Path) -> tuple[Graph, ...]:
    """Read every subgraph of a ``.tflite`` file, the main one first; the others are bodies of loops and branches.

    Raises:
        ModelError: the file is missing, is none, or is damaged.
    """
    main = read_graph(path)
    return (main, *(read_graph(path, index) for index in range(1, main.subgraphs)))


def read_graph(path: Path, subgraph: int = 0) -> Graph:
    """Read one subgraph of a ``.tflite`` file, by default the main one.

    Raises:
        ModelError: the file is missing, is none, or is damaged.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ModelError(f"Cannot read {path}: {error.strerror or error}.", hint="Check the path.") from error
    if raw[4:8] != IDENTIFIER:
        raise ModelError(f"{path} is not a TFLite model (its bytes 4 to 8 are not TFL3).", hint="Check the file.")
    try:
        return _graph(raw, subgraph)
    except (struct.error, IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(
            f"{path} is a damaged TFLite model ({type(error).__name__}: {error}).", hint="Build or download it again."
        ) from error


def rename(model: bytes, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> bytes:
    """Give a converted model public names, a signature and a note of the axis order.

    Args:
        model: the flatbuffer, its inputs and outputs in the order of ``inputs`` and ``outputs``.
        inputs: names and ``perm`` to give, one for each input.
        outputs: the same for outputs.
    """
    parsed = tflite_file.parse(model)
    graph = parsed.subgraphs[0]
    for index, spec in zip((*graph.inputs, *graph.outputs), (*inputs, *outputs), strict=True):
        graph.tensors[index].name = spec.name.encode()
    _make_unique(graph, {*graph.inputs, *graph.outputs})
    ends = ((inputs, graph.inputs), (outputs, graph.outputs))
    tflite_file.sign(parsed, *({spec.name: index for spec, index in zip(*end, strict=True)} for end in ends))
    axes = {spec.name: list(spec.perm) for spec in (*inputs, *outputs) if spec.perm}
    _add_metadata(parsed, AXES_METADATA, json.dumps(axes).encode())
    return tflite_file.serialize(parsed)


def _make_unique(graph: Any, public: set[int]) -> None:
    """Rename inner tensors that bear a name that is taken: the quantizer knows tensors by name."""
    taken = {graph.tensors[index].name for index in public}
    for index, tensor in enumerate(graph.tensors):
        if index in public:
            continue
        if tensor.name in taken:
            tensor.name = b"%s;%d" % (tensor.name, index)
        taken.add(tensor.name)


def _add_metadata(parsed: Any, name: str, content: bytes) -> None:
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    parsed.buffers.append(buffer)
    note = schema.MetadataT()
    note.name = name.encode()
    note.buffer = len(parsed.buffers) - 1
    parsed.metadata = [*(parsed.metadata or []), note]


def _graph(raw: bytes, subgraph: int) -> Graph:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(raw, 0)
    if not 0 <= subgraph < _count(model.SubgraphsLength()).stop:
        raise ValueError("it has no subgraph")
    main = model.Subgraphs(subgraph)
    tensors = tuple(_tensor(model, main.Tensors(i), len(raw)) for i in _count(main.TensorsLength()))
    operators = tuple(_operator(model, main.Operators(i), len(tensors)) for i in _count(main.OperatorsLength()))
    inputs, outputs = _public(model, subgraph, tensors)
    notes = dict(_metadata(model, raw))
    return Graph(
        tensors=tensors,
        operators=operators,
        inputs=inputs,
        outputs=outputs,
        axes=_axes(notes.get(AXES_METADATA, b"{}")),
        runtime_noted=notes.get(RUNTIME_METADATA, b"").rstrip(b"\0").decode("ascii", "replace"),
        subgraphs=model.SubgraphsLength(),
    )


def _count(length: int) -> range:
    if not 0 <= length <= _MOST_ITEMS:
        raise ValueError(f"a list of {length} items")
    return range(length)


def _tensor(model: Any, tensor: Any, file_bytes: int) -> Tensor:
    word = _names("TensorType")[tensor.Type()].lower()
    quantization = tensor.Quantization()
    shape = tuple(tensor.ShapeSignature(i) for i in _count(tensor.ShapeSignatureLength()))
    if not shape:
        shape = tuple(tensor.Shape(i) for i in _count(tensor.ShapeLength()))
    buffer = model.Buffers(tensor.Buffer())
    size = int(buffer.DataLength() or buffer.Size())
    if size > file_bytes:
        raise ValueError(f"a buffer of {size} bytes")
    return Tensor(
        name=(tensor.Name() or b"").decode("utf-8"),
        dtype=_DTYPES.get(word, word),
        shape=tuple(map(int, shape)),
        constant_bytes=size,
        scales=quantization.ScaleLength() if quantization is not None else 0,
        grid=_grid(quantization),
    )


def _grid(quantization: Any) -> tuple[float, int] | None:
    if quantization is None or quantization.ScaleLength() != 1:
        return None
    scale = float(quantization.Scale(0))
    zero = int(quantization.ZeroPoint(0)) if quantization.ZeroPointLength() else 0
    return (scale, zero) if math.isfinite(scale) and scale > 0 else None


def _operator(model: Any, operator: Any, tensor_count: int) -> Operator:
    code = model.OperatorCodes(operator.OpcodeIndex())
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # old files use the deprecated field alone
    kind = _names("BuiltinOperator")[number]
    custom = kind == "CUSTOM"
    inputs = tuple(int(operator.Inputs(i)) for i in _count(operator.InputsLength()))
    outputs = tuple(int(operator.Outputs(i)) for i in _count(operator.OutputsLength()))
    if any(not -1 <= index < tensor_count for index in (*inputs, *outputs)):
        raise ValueError(f"{kind} names a tensor that is not there")
    return Operator(
        kind=(code.CustomCode() or b"CUSTOM").decode("utf-8") if custom else kind,
        version=code.Version(),
        inputs=inputs,
        outputs=outputs,
        builtin=not custom,
        activated=not custom and _is_activated(operator),
    )


def _is_activated(operator: Any) -> bool:
    from ai_edge_litert import schema_py_generated as schema

    table = operator.BuiltinOptions()
    options = None if table is None else schema.BuiltinOptionsCreator(operator.BuiltinOptionsType(), table)
    return bool(getattr(options, "fusedActivationFunction", 0))


def _public(model: Any, subgraph: int, tensors: tuple[Tensor, ...]) -> tuple[Any, Any]:
    main = model.Subgraphs(subgraph)
    inputs = [int(main.Inputs(i)) for i in _count(main.InputsLength())]
    outputs = [int(main.Outputs(i)) for i in _count(main.OutputsLength())]
    if any(not 0 <= index < len(tensors) for index in (*inputs, *outputs)):
        raise ValueError("an input or output is not there")
    named: tuple[dict[int, list[str]], dict[int, list[str]]] = ({}, {})
    for i in _count(model.SignatureDefsLength()):
        definition = model.SignatureDefs(i)
        if definition.SubgraphIndex() == subgraph and not named[1]:
            _collect(named[0], (definition.Inputs(j) for j in _count(definition.InputsLength())))
            _collect(named[1], (definition.Outputs(j) for j in _count(definition.OutputsLength())))
    return _pairs(inputs, named[0], tensors), _pairs(outputs, named[1], tensors)


def _collect(names: dict[int, list[str]], entries: Iterator[Any]) -> None:
    for entry in entries:
        names.setdefault(entry.TensorIndex(), []).append(entry.Name().decode("utf-8"))


def _pairs(indices: list[int], names: dict[int, list[str]], tensors: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """Pair each public tensor with its names in the signature (two outputs may be one tensor), else with its own."""
    pairs = [(name, index) for index in dict.fromkeys(indices) for name in names.get(index, [tensors[index].name])]
    return tuple(pairs)


def _metadata(model: Any, raw: bytes) -> Iterator[tuple[str, bytes]]:
    for i in _count(model.MetadataLength()):
        note = model.Metadata(i)
        buffer = model.Buffers(note.Buffer())
        if buffer.DataLength():
            content = bytes(buffer.DataAsNumpy())
        else:
            content = raw[buffer.Offset() : buffer.Offset() + buffer.Size()]
        yield (note.Name() or b"").decode("utf-8"), content


def _axes(content: bytes) -> dict[str, tuple[int, ...]]:
    plain = json.loads(content)
    axes = {str(name): tuple(int(axis) for axis in order) for name, order in plain.items()}
    if any(sorted(order) != list(range(len(order))) for order in axes.values()):
        raise ValueError("its note of the axis order is no permutation")
    return axes


@cache
def _names(enumeration: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {number: name for name, number in vars(getattr(schema, enumeration)).items() if not name.startswith("_")}
