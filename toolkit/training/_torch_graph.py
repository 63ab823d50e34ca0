"""What of an exported PyTorch graph is rounded, and which batch normalisations are folded: read off its nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toolkit.core.layers import Layer

_CONVS = ("conv1d", "conv2d", "conv3d")
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
_PRODUCTS = ("matmul", "mm", "bmm", "addmm", "linear")
_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training")
_FUSED = ("relu", "relu_", "relu6", "hardtanh", "hardtanh_", "clamp", "clamp_")
"""Activation functions that every target computes within the layer before them."""
_WITH_FUSED = (*_CONVS, *_TRANSPOSED, *_NORMS, *_PRODUCTS, "convolution", "add", "add_")
_TURNS = ("t", "permute", "transpose", "numpy_T")
_MOVES = frozenset(
    {
        *("view", "reshape", "_unsafe_view", "flatten", "permute", "transpose", "t", "squeeze", "unsqueeze", "expand"),
        *("contiguous", "clone", "slice", "select", "split", "split_with_sizes", "chunk", "unbind", "narrow", "alias"),
        *("max_pool1d", "max_pool2d", "max_pool2d_with_indices", "max_pool3d", "adaptive_max_pool2d", "pad", "flip"),
        *("constant_pad_nd", "dropout", "dropout_", "feature_dropout", "detach", "detach_", "lift_fresh_copy", "roll"),
        *("upsample_nearest1d", "upsample_nearest2d", "pixel_shuffle", "index_select", "repeat", "to", "_to_copy"),
        *("getitem", "movedim", "unflatten", "_assert_tensor_metadata"),
    }
)
"""Operators whose values lie on the grid of what they read."""
_FLOAT = frozenset({"softmax", "_softmax", "log_softmax", "_log_softmax", "embedding"})
"""Operators that stay float in the builds, or whose output grid is not ours to choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A batch normalisation taken into the layer before it; parameters are named as in the state dictionary."""

    layer: str
    norm: str
    scale: str | None
    shift: str | None
    mean: str
    variance: str
    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A layer's weight: its name in the state, its bias's, the axes of a scale each, whether pruning may touch it."""

    parameter: str
    bias: str | None
    kept: tuple[int, ...]
    prunable: bool


@dataclass(slots=True)
class Surgery:
    """A graph's plan, by node name."""

    used: dict[str, Used] = field(default_factory=dict)
    folds: dict[str, Fold] = field(default_factory=dict)
    sites: list[str] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)

    @property
    def norms(self) -> set[str]:
        """The nodes that pass their input on, since they are folded."""
        return {fold.norm for fold in self.folds.values()}


def word(node: Any) -> str:
    """Return an operator's bare name: ``conv2d`` of ``aten.conv2d.default``."""
    if node.op != "call_function":
        return ""
    return str(getattr(node.target, "overloadpacket", node.target).__name__)


def plan(graph: Any, state: dict[str, Any]) -> Surgery:
    """Look a graph over.

    Args:
        graph: of ``ExportedProgram.module()``: parameters are ``get_attr`` nodes named as in ``state``.
        state: tensors by name.
    """
    surgery = Surgery()
    for node in graph.nodes:
        found = _weight(node, state)
        if found is not None:
            surgery.used[node.name] = found
    shared = _shared(surgery.used)
    for node in graph.nodes:
        fold = _fold(node, surgery.used, shared)
        if fold is not None:
            surgery.folds[fold.layer] = fold
    surgery.sites = [node.name for node in graph.nodes if _is_site(node, surgery)]
    surgery.layers = [
        Layer(
            name=_layer_name(node, surgery),
            operator=word(node),
            weighted=node.name in surgery.used,
            words=("depthwise",) if node.name in surgery.used and not surgery.used[node.name].prunable else (),
            aliases=(node.name,),
        )
        for node in graph.nodes
        if node.op == "call_function"
    ]
    return surgery


def _layer_name(node: Any, surgery: Surgery) -> str:
    used = surgery.used.get(node.name)
    return used.parameter.rpartition(".")[0] or node.name if used else node.name


def _shared(used: dict[str, Used]) -> set[str]:
    names = [one.parameter for one in used.values()]
    return {name for name in names if names.count(name) > 1}


def _weight(node: Any, state: dict[str, Any]) -> Used | None:
    name = word(node)
    place = {"addmm": 2}.get(name, 1)
    if name not in (*_CONVS, *_TRANSPOSED, *_PRODUCTS, "convolution") or len(node.args) <= place:
        return None
    parameter, turned = _parameter(node.args[place])
    if parameter is None or parameter not in state or state[parameter].dim() < 2:
        return None
    rank = state[parameter].dim()
    bias = {"addmm": 0, "mm": None, "matmul": None, "bmm": None}.get(name, 2)
    transposed = name in _TRANSPOSED or (name == "convolution" and bool(node.args[6]))
    groups = _groups(node, name)
    axis = 1 if transposed else 0
    if name in ("addmm", "mm", "matmul", "bmm"):
        axis = rank - 2 if turned else rank - 1
    return Used(
        parameter=parameter,
        bias=None if bias is None or len(node.args) <= bias else _parameter(node.args[bias])[0],
        kept=(axis,),
        prunable=groups == 1,
    )


def _groups(node: Any, name: str) -> int:
    place = {"convolution": 8, **dict.fromkeys(_CONVS, 6), **dict.fromkeys(_TRANSPOSED, 6)}.get(name)
    return int(node.args[place]) if place is not None and len(node.args) > place else 1


def _parameter(node: Any) -> tuple[str | None, bool]:
    """Return the parameter that a node is, perhaps behind an exchange of its last two axes."""
    turned = False
    while getattr(node, "op", "") == "call_function" and word(node) in _TURNS:
        node, turned = node.args[0], not turned
    return (str(node.target), turned) if getattr(node, "op", "") == "get_attr" else (None, turned)


def _fold(node: Any, used: dict[str, Used], shared: set[str]) -> Fold | None:
    name = word(node)
    if name not in _NORMS:
        return None
    layer = node.args[0]
    known = used.get(getattr(layer, "name", ""))
    if known is None or known.parameter in shared or len(layer.users) != 1 or word(layer) in ("mm", "matmul", "bmm"):
        return None
    if layer.kwargs or word(layer) == "addmm" or (known.kept != (0,) and not known.prunable):
        return None  # a grouped transposed layer has fewer scales than channels
    scale, shift, mean, variance = (_parameter(argument)[0] for argument in node.args[1:5])
    if mean is None or variance is None or _users_of(node.args[3]) > 1:
        return None
    place = 7 if name == "batch_norm" else 6
    return Fold(
        layer=layer.name,
        norm=node.name,
        scale=scale,
        shift=shift,
        mean=mean,
        variance=variance,
        epsilon=float(node.args[place]),
    )


def _users_of(node: Any) -> int:
    return len(node.users)


def _is_site(node: Any, surgery: Surgery) -> bool:
    if node.op == "placeholder":
        return _is_float(node)
    name = word(node)
    normed = name == "getitem" and word(node.args[0]) in _NORMS and node.args[1] == 0
    if node.op != "call_function" or (name in _MOVES and not normed) or name in _FLOAT or not _is_float(node):
        return False
    if node.name in surgery.folds or (name in _TURNS and _parameter(node)[0] is not None):
        return False
    users = list(node.users)
    if (normed or name in _WITH_FUSED) and users and all(word(user) in _FUSED for user in users):
        return False
    return bool(_reads_activation(node))


def _is_float(node: Any) -> bool:
    value = node.meta.get("val")
    return value is not None and hasattr(value, "dtype") and value.dtype.is_floating_point and value.numel() > 1


def _reads_activation(node: Any) -> bool:
    """Whether a value depends on an input: arithmetic on parameters alone is no activation."""
    waiting, seen = list(node.all_input_nodes), set()
    while waiting:
        one = waiting.pop()
        if one.op == "placeholder":
            return True
        if one.name not in seen:
            seen.add(one.name)
            waiting.extend(one.all_input_nodes)
    return False
