"""ONNX graphs with QuantizeLinear and DequantizeLinear: float weights again, and a range for each rounded tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import pins
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array, Feeds
from toolkit.core.probe import probe_feeds
from toolkit.stages.order import source_of
from toolkit.training.elsewhere import SHORT, Converted, falling_short

_Q, _DQ = "QuantizeLinear", "DequantizeLinear"
_AGAIN = (
    "Export it again with QuantizeLinear and DequantizeLinear around float operators (QDQ), float inputs and outputs."
)


@dataclass(frozen=True, slots=True)
class _Grid:
    """How a tensor was rounded: ``(integer - zero) * scale`` along ``axis``, within the integers of ``dtype``."""

    scale: Array
    zero: Array
    axis: int

    def floats(self, integers: Array) -> Array:
        scale, zero = self._spread(self.scale, integers.ndim), self._spread(self.zero, integers.ndim)
        return ((integers.astype(np.float64) - zero) * scale).astype(np.float32)

    def rounded(self, values: Array) -> Array:
        limits = np.iinfo(self.zero.dtype)
        scale, zero = self._spread(self.scale, values.ndim), self._spread(self.zero, values.ndim)
        return self.floats(np.clip(np.rint(values / scale) + zero, limits.min, limits.max))

    def ends(self) -> tuple[float, float]:
        """Return the least and largest value on the grid, of all channels."""
        limits = np.iinfo(self.zero.dtype)
        ends = [(limit - self.zero.astype(np.float64)) * self.scale for limit in (limits.min, limits.max)]
        return float(np.min(ends[0])), float(np.max(ends[1]))

    def _spread(self, values: Array, rank: int) -> Array:
        wide = values.astype(np.float64)
        if wide.ndim == 0 or wide.size == 1:
            return wide.reshape(())
        return wide.reshape([-1 if index == self.axis % rank else 1 for index in range(rank)])


@dataclass(slots=True)
class _Work:
    """A graph on its way: constants by name, what stands for what, and the ranges found."""

    path: Path
    constants: dict[str, Array]
    quantized: dict[str, tuple[str, _Grid]] = field(default_factory=dict)
    stands_for: dict[str, str] = field(default_factory=dict)
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    short: int = 0


def convert(path: Path, shapes: dict[str, tuple[int, ...]], out: Path) -> Converted:
    """See :func:`toolkit.training.elsewhere.convert`."""
    import onnx

    try:
        model = onnx.load_model(path, load_external_data=False)
    except Exception as error:  # protobuf's own kinds
        raise ModelError(f"Cannot read the model {path}: it is damaged.", hint="Copy or export it again.") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ModelError(f"The weights of {path} lie in other files.", hint="Save it as one file (onnx.save) first.")
    work = _Work(path, _constants(model))
    kept = [node for node in model.graph.node if not _taken(node, work)]
    _check(kept, work)
    _rewire(model, kept, work)
    onnx.save(model, out)
    signature = source_of("onnx").read(out, shapes)  # with every check of a file from elsewhere
    marks = _marks(model, probe_feeds(signature), list(work.ranges))
    pins.write(
        pins.beside(out),
        [pins.Pin(site=name, low=low, high=high, fingerprint=marks[name]) for name, (low, high) in work.ranges.items()],
    )
    return Converted(ranges=len(work.ranges), notes=(SHORT.format(work.short),) if work.short else ())


def _constants(model: Any) -> dict[str, Array]:
    from onnx import numpy_helper

    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def _taken(node: Any, work: _Work) -> bool:
    """Take a node that only rounds out of the graph; nodes come in the order of execution."""
    source = node.input[0] if node.input else ""
    if node.op_type == _Q:
        work.quantized[node.output[0]] = (work.stands_for.get(source, source), _grid(node, work))
        return True
    if node.op_type != _DQ:
        return False
    made = node.output[0]
    if source in work.constants:
        work.constants[made] = _grid(node, work).floats(work.constants[source])
        grid = _grid(node, work)
        work.short += falling_short(work.constants[source], grid.zero, grid.axis if grid.scale.size > 1 else None)
    elif source in work.quantized:
        origin, grid = work.quantized[source]
        if origin in work.constants:
            work.constants[made] = grid.rounded(work.constants[origin])
        else:
            work.stands_for[made] = origin
            work.ranges.setdefault(origin, grid.ends())
    else:
        raise ModelError(f"{work.path} computes with the integers {source!r} themselves.", hint=_AGAIN)
    return True


def _grid(node: Any, work: _Work) -> _Grid:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
    block = next((attribute.i for attribute in node.attribute if attribute.name == "block_size"), 0)
    parts = [work.constants.get(name) for name in node.input[1:3]]
    if parts[0] is None or block:
        raise ModelError(f"{work.path}: {node.op_type} {node.name!r} has scales that are computed, or blocks of them.",
                         hint=_AGAIN)  # fmt: skip
    zero = parts[1] if len(parts) > 1 and parts[1] is not None else np.zeros((), np.uint8)
    if zero.dtype.kind not in "iu":
        raise ModelError(
            f"{work.path}: {node.op_type} {node.name!r} rounds to {zero.dtype}, not to integers.", hint=_AGAIN
        )
    return _Grid(parts[0], zero, axis)


def _check(kept: list[Any], work: _Work) -> None:
    for node in kept:
        if node.op_type.startswith("QLinear") or node.op_type.endswith("Integer"):
            raise ModelError(f"{work.path} computes in integers: {node.name or node.op_type!r} is a {node.op_type}.",
                             hint=_AGAIN)  # fmt: skip
        used = [name for name in node.input if name in work.quantized]
        if used:
            raise ModelError(f"{work.path}: {node.name or node.op_type!r} reads the integers {used[0]!r}.", hint=_AGAIN)


def _rewire(model: Any, kept: list[Any], work: _Work) -> None:
    from onnx import helper, numpy_helper

    outputs = {value.name for value in model.graph.output}
    for node in kept:
        for index, name in enumerate(node.input):
            node.input[index] = work.stands_for.get(name, name)
    shown = sorted(outputs & work.stands_for.keys())
    kept.extend(helper.make_node("Identity", [work.stands_for[name]], [name]) for name in shown)
    used = {name for node in kept for name in node.input}
    own = {name for node in kept for name in node.output}
    del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
    model.graph.node.extend(kept)
    wanted = [name for name in work.constants if name in used and name not in own]
    model.graph.initializer.extend(numpy_helper.from_array(work.constants[name], name) for name in wanted)
    inputs = [value for value in model.graph.input if value.name not in work.constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)


def _marks(model: Any, feeds: Feeds, names: list[str]) -> dict[str, pins.Fingerprint]:
    """Run the float graph on made-up inputs and take the fingerprint of some tensors."""
    import onnx
    import onnxruntime

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    own = {value.name for value in shown.graph.output}
    made = [name for name in names if name not in feeds]
    shown.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in made if name not in own
    )
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    values = dict(zip(made, session.run(made, dict(feeds)), strict=True))
    return {name: pins.fingerprint(feeds[name] if name in feeds else values[name]) for name in names}
