"""What of a Keras model is rounded, and which batch normalisations are folded: read off its functional graphs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolkit.core.layers import Layer
from toolkit.training.trainee import Floats

_LAST, _LAST_TWO, _NEXT_TO_LAST = (-1,), (-2, -1), (-2,)
_KERNELS: dict[str, tuple[tuple[str, tuple[int, ...]], ...]] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D", "Dense"), (("_kernel", _LAST),)),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), (("kernel", _LAST_TWO),)),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), (("kernel", _NEXT_TO_LAST),)),
    **dict.fromkeys(
        ("SeparableConv1D", "SeparableConv2D"), (("depthwise_kernel", _LAST_TWO), ("pointwise_kernel", _LAST))
    ),
    "EinsumDense": (("_kernel", ()),),
}
_FOLDABLE = ("Conv1D", "Conv2D", "Conv3D", "Dense", "DepthwiseConv1D", "DepthwiseConv2D", "Conv2DTranspose")
_WITH_FUSED = (*_KERNELS, "BatchNormalization", "Add")
_FUSED = ("ReLU", "Relu", "Relu6")
_MOVES = frozenset(
    {
        *("Reshape", "Flatten", "Permute", "RepeatVector", "Identity", "Dropout", "SpatialDropout1D", "AlphaDropout"),
        *("SpatialDropout2D", "SpatialDropout3D", "GaussianNoise", "GaussianDropout", "ActivityRegularization"),
        *("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Cropping1D", "Cropping2D", "Cropping3D", "MaxPooling1D"),
        *("MaxPooling2D", "MaxPooling3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D"),
        *("UpSampling1D", "GetItem", "Transpose", "ExpandDims", "Squeeze", "Split", "Masking", "Swapaxes", "Flip"),
    }
)
"""Layers and operations whose values lie on the grid of what they read."""
_FLOAT = frozenset({"Softmax", "Embedding", "LogSoftmax"})
"""What stays float in the builds, or whose output grid is not ours to choose."""


@dataclass(slots=True)
class Fold:
    """A batch normalisation taken into the layer before it."""

    layer: Any
    norm: Any
    name: str


@dataclass(slots=True)
class Kernel:
    """A weight of a layer: the variable, the axes of a scale each, and whether pruning may touch it."""

    layer: str
    variable: Any
    kept: tuple[int, ...]
    prunable: bool


@dataclass(slots=True)
class Surgery:
    """A model's plan. Keys are the ids of operations, which belong to the loaded model."""

    names: dict[int, str] = field(default_factory=dict)
    folds: dict[int, Fold] = field(default_factory=dict)
    kernels: list[Kernel] = field(default_factory=list)
    activations: dict[int, Any] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)
    layers: list[Layer] = field(default_factory=list)
    operations: list[Any] = field(default_factory=list)

    @property
    def norms(self) -> dict[int, Fold]:
        """Folds by the id of their normalisation."""
        return {id(fold.norm): fold for fold in self.folds.values()}


def functional_of(model: Any) -> Any | None:
    """Return the functional graph of a model, None for anything else."""
    inner = getattr(model, "_functional", None) if type(model).__name__ == "Sequential" else model
    return inner if hasattr(inner, "_run_through_graph") else None


def plan(model: Any) -> Surgery:
    """Look a model over, nested ones included."""
    surgery = Surgery()
    _plan_graph(functional_of(model), "", surgery)
    return surgery


def _plan_graph(graph: Any, prefix: str, surgery: Surgery) -> None:
    consumers: dict[int, list[Any]] = {}
    calls: dict[int, int] = {}
    for node in _nodes(graph):
        calls[id(node.operation)] = calls.get(id(node.operation), 0) + 1
        for tensor in node.input_tensors:
            consumers.setdefault(_producer(tensor), []).append(node)
    for tensor in graph.outputs:
        consumers.setdefault(_producer(tensor), []).append(None)
    for node in _nodes(graph):
        operation = node.operation
        if id(operation) in surgery.names:
            continue
        surgery.names[id(operation)] = name = f"{prefix}{operation.name}"
        inner = functional_of(operation)
        if inner is not None:
            _plan_graph(inner, f"{name}/", surgery)
            continue
        surgery.operations.append(operation)
        _take_kernels(operation, name, surgery)
        _take_activation(operation, surgery)
        if calls[id(operation)] == 1 and type(operation).__name__ == "BatchNormalization":
            _take_fold(node, consumers, calls, surgery)
    for node in _nodes(graph):
        if _is_silent(node.operation, consumers.get(id(node.operation), []), surgery):
            surgery.silent.add(id(node.operation))


def _nodes(graph: Any) -> Iterator[Any]:
    by_depth = graph._nodes_by_depth  # noqa: SLF001  (Keras offers no public walk over nodes)
    for depth in sorted(by_depth, reverse=True):
        yield from (node for node in by_depth[depth] if node.operation and not node.is_input)


def _producer(tensor: Any) -> int:
    return id(tensor._keras_history.operation)  # noqa: SLF001  (as above)


def _take_kernels(operation: Any, name: str, surgery: Surgery) -> None:
    inner = operation._flatten_layers() if hasattr(operation, "_flatten_layers") else ()  # noqa: SLF001
    found = 0
    for layer in inner:
        for attribute, kept in _KERNELS.get(type(layer).__name__, ()):
            variable = getattr(layer, attribute, None)
            if variable is None:
                variable = getattr(layer, "kernel", None)
            if variable is None or len(variable.shape) < 2:
                continue
            axes = _kept_of_einsum(layer.equation) if type(layer).__name__ == "EinsumDense" else kept
            rank = len(variable.shape)
            surgery.kernels.append(
                Kernel(name, variable, tuple(sorted(axis % rank for axis in axes)), kept != _LAST_TWO)
            )
            found += 1
    kind = type(operation).__name__
    words = ("depthwise",) if kind.startswith("Depthwise") else ("linear",) if kind == "Dense" else ()
    surgery.layers.append(Layer(name=name, operator=kind, weighted=bool(found), words=words))


def _kept_of_einsum(equation: str) -> tuple[int, ...]:
    """Return the axes of the kernel that the output has too: ``abc,cde->abde`` keeps the last two."""
    inputs, _, output = equation.replace(" ", "").partition("->")
    kernel = inputs.partition(",")[2].replace("...", "")
    return tuple(place - len(kernel) for place, letter in enumerate(kernel) if letter in output)


def _take_activation(operation: Any, surgery: Surgery) -> None:
    """Note an activation function inside a layer, so that it can be computed on its own."""
    if type(operation).__name__ in _KERNELS and operation.activation is not None:
        word = operation.activation.__name__
        if word != "linear":
            surgery.activations[id(operation)] = operation.activation


def _take_fold(node: Any, consumers: dict[int, list[Any]], calls: dict[int, int], surgery: Surgery) -> None:
    norm = node.operation
    layer = node.input_tensors[0]._keras_history.operation  # noqa: SLF001  (as above)
    kind = type(layer).__name__
    if kind not in _FOLDABLE or len(consumers[id(layer)]) != 1 or calls.get(id(layer)) != 1:
        return
    channels_last = getattr(layer, "data_format", "channels_last") == "channels_last"
    rank = len(node.input_tensors[0].shape)
    if id(layer) in surgery.activations or not channels_last or norm.axis % rank != rank - 1:
        return
    surgery.folds[id(layer)] = Fold(layer, norm, surgery.names[id(norm)])


def _is_silent(operation: Any, readers: list[Any], surgery: Surgery) -> bool:
    """Whether what an operation makes is not rounded where it stands."""
    kind = type(operation).__name__
    if (
        id(operation) in surgery.folds
        or kind in _MOVES
        or kind in _FLOAT
        or _word_of(operation) in ("softmax", "linear")
    ):
        return True
    if kind == "UpSampling2D" and operation.interpolation == "nearest":
        return True
    fused = [node is not None and is_fused(node.operation) for node in readers]
    return kind in _WITH_FUSED and id(operation) not in surgery.activations and bool(fused) and all(fused)


def is_fused(operation: Any) -> bool:
    """Whether every target computes this activation function within the layer before it."""
    return type(operation).__name__ in _FUSED or _word_of(operation) in ("relu", "relu6")


def _word_of(operation: Any) -> str:
    return str(operation.activation.__name__) if type(operation).__name__ == "Activation" else ""


def factor_of(norm: Any) -> tuple[Floats, Floats]:
    """Return the factor and the shift that a normalisation with stored statistics is, for each channel."""
    factor = 1 / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    factor = factor * norm.gamma.numpy() if norm.scale else factor
    shift = -norm.moving_mean.numpy() * factor + (norm.beta.numpy() if norm.center else 0)
    return factor, shift


def spread(factor: Floats, kernel: Kernel) -> Floats:
    """Return the factor of each output channel in the kernel's axes."""
    shape = [size if axis in kernel.kept else 1 for axis, size in enumerate(kernel.variable.shape)]
    return factor.reshape(shape)


def make_identity(norm: Any, bias: Floats) -> None:
    """Let a normalisation add a bias to each channel and do nothing else."""
    if norm.scale:
        norm.gamma.assign(np.sqrt(norm.moving_variance.numpy() + norm.epsilon))
    else:
        norm.moving_variance.assign(np.full(bias.shape, 1 - norm.epsilon, np.float32))
    if norm.center:
        norm.beta.assign(bias)
        norm.moving_mean.assign(np.zeros(bias.shape, np.float32))
    else:
        norm.moving_mean.assign(-bias)
