"""ONNX models of a few nodes for what ONNX's node cases leave out; each is held against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import node_cases
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from toolkit.core.probe import relative_error
from toolkit.targets.coreml.foreign import coremltools

_TYPES = {
    "float32": TensorProto.FLOAT,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}
_RNG = np.random.default_rng(7)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A model and what goes in."""

    name: str
    nodes: list[Any]
    feeds: dict[str, Any]
    constants: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("y",)
    opset: int = 20

    def model(self) -> Any:
        """Return the ``onnx.ModelProto``."""
        inputs = [
            helper.make_tensor_value_info(name, _TYPES[str(value.dtype)], value.shape)
            for name, value in self.feeds.items()
        ]
        constants = [numpy_helper.from_array(np.asarray(value), name) for name, value in self.constants.items()]
        made = helper.make_graph(self.nodes, "g", inputs, [_untyped(name) for name in self.outputs], constants)
        return helper.make_model(made, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)


def _untyped(name: str) -> Any:
    value = helper.ValueInfoProto()
    value.name = name
    return value


def _floats(*shape: int) -> Any:
    return _RNG.standard_normal(shape).astype(np.float32)


def all_written() -> Iterator[Written]:
    """Yield every model."""
    for family in (_einsum, _control, _sampling, _pooling, _quantized, _spectral, _running, _empty):
        yield from family()


def _one(name: str, operator: str, *feeds: Any, **attributes: Any) -> Written:
    names = [f"x{at}" for at in range(len(feeds))]
    node = helper.make_node(operator, names, ["y"], **attributes)
    return Written(name=name, nodes=[node], feeds=dict(zip(names, feeds, strict=True)))


def _einsum() -> Iterator[Written]:
    for equation, shapes in (
        ("...ij,...jk->...ik", ((2, 1, 3, 4), (2, 5, 4, 2))),
        ("...ij->...ji", ((2, 3, 4),)),
        ("bij,bjk,kl->bil", ((2, 3, 4), (2, 4, 5), (5, 2))),
        ("ii->i", ((3, 3),)),
        ("bii", ((2, 3, 3),)),
        ("i,j->ij", ((3,), (4,))),
        ("bhid,bhjd->bhij", ((2, 2, 3, 4), (2, 2, 5, 4))),
        ("bi,bi->b", ((2, 5), (2, 5))),
    ):
        yield _one(f"einsum {equation}", "Einsum", *(_floats(*shape) for shape in shapes), equation=equation)


def _graph(nodes: list[Any], given: list[str], made: list[str]) -> Any:
    """Return a subgraph; the first input of a loop's body is the turn, the second and first output the condition."""
    kinds = {"turn": TensorProto.INT64, "on": TensorProto.BOOL, "on_out": TensorProto.BOOL}
    inputs = [
        helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), [] if name in kinds else None)
        for name in given
    ]
    outputs = [helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), None) for name in made]
    return helper.make_graph(nodes, "inner", inputs, outputs)


def _control() -> Iterator[Written]:
    x = _floats(2, 3)
    then = _graph([helper.make_node("Exp", ["x"], ["t"])], [], ["t"])
    other = _graph([helper.make_node("Neg", ["x"], ["t0"]), helper.make_node("Tanh", ["t0"], ["e"])], [], ["e"])
    choose = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    for truth in (True, False):
        yield Written(name=f"if {truth}", nodes=[choose], feeds={"c": np.asarray([truth]), "x": x})
        above = helper.make_node("Greater", ["s", "zero"], ["c"])
        feeds = {"x": x, "s": np.asarray(1 if truth else -1, np.float32)}
        zero = {"zero": np.float32(0)}
        yield Written(name=f"if computed {truth}", nodes=[above, choose], feeds=feeds, constants=zero)
    body = _graph(
        [
            helper.make_node("Cast", ["turn"], ["step"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["state", "x"], ["scaled"]),
            helper.make_node("Add", ["scaled", "step"], ["next"]),
            helper.make_node("ReduceSum", ["next"], ["sum"], keepdims=0),
            helper.make_node("Identity", ["on"], ["on_out"]),
        ],
        ["turn", "on", "state"],
        ["on_out", "next", "sum"],
    )
    loop = helper.make_node("Loop", ["turns", "", "x"], ["y", "sums"], body=body)
    outputs = ("y", "sums")
    yield Written(name="loop", nodes=[loop], feeds={"x": x}, constants={"turns": np.int64(4)}, outputs=outputs)
    until = _graph(
        [
            helper.make_node("Add", ["state", "x"], ["next"]),
            helper.make_node("Less", ["turn", "last"], ["on_out"]),
        ],
        ["turn", "on", "state"],
        ["on_out", "next"],
    )
    loop = helper.make_node("Loop", ["", "on_first", "x"], ["y"], body=until)
    constants = {"on_first": np.asarray(True), "last": np.int64(2)}
    yield Written(name="loop while", nodes=[loop], feeds={"x": x}, constants=constants)
    step = _graph(
        [helper.make_node("Add", ["state", "part"], ["next"]), helper.make_node("Exp", ["part"], ["out"])],
        ["state", "part"],
        ["next", "out"],
    )
    for backward in (0, 1):
        scan = helper.make_node(
            *("Scan", ["first", "x"], ["y", "outs"]),
            body=step,
            num_scan_inputs=1,
            scan_input_axes=[1],
            scan_input_directions=[backward],
            scan_output_axes=[1],
            scan_output_directions=[1 - backward],
        )
        feeds = {"x": x, "first": _floats(2)}
        yield Written(name=f"scan {backward}", nodes=[scan], feeds=feeds, outputs=("y", "outs"))


def _sampling() -> Iterator[Written]:
    x, grid = _floats(2, 3, 5, 6), np.clip(_floats(2, 4, 3, 2) * 0.7, -1.4, 1.4)
    for mode, padding, corners in (
        ("linear", "zeros", 1),
        ("linear", "border", 0),
        ("linear", "reflection", 0),
        ("linear", "reflection", 1),
        ("nearest", "zeros", 0),
        ("cubic", "border", 0),
        ("cubic", "zeros", 1),
    ):
        name = f"grid sample {mode} {padding} {corners}"
        yield _one(name, "GridSample", x, grid, mode=mode, padding_mode=padding, align_corners=corners)
    volume, points = _floats(1, 2, 3, 4, 5), np.clip(_floats(1, 2, 3, 2, 3) * 0.7, -1.3, 1.3)
    yield _one("volume zeros", "GridSample", volume, points, mode="linear", padding_mode="zeros")
    yield _one("volume border", "GridSample", volume, points, mode="linear", padding_mode="border", align_corners=1)
    boxes = np.asarray([[0, 0, 7, 6], [1.5, 2, 4, 9], [-1, 1, 3, 3]], np.float32)
    which = np.asarray([0, 1, 1], np.int64)
    for half in ("half_pixel", "output_half_pixel"):
        yield _one(
            *(f"roi align {half}", "RoiAlign", _floats(2, 3, 6, 7), boxes, which),
            output_height=2,
            output_width=3,
            sampling_ratio=2,
            spatial_scale=0.7,
            coordinate_transformation_mode=half,
        )


def _pooling() -> Iterator[Written]:
    x = _floats(2, 3, 7, 8)
    for order, more in (
        (0, {}),
        (0, {"pads": [1, 0, 1, 1], "strides": [2, 1], "dilations": [2, 1]}),
        (1, {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ):
        node = helper.make_node("MaxPool", ["x"], ["y", "at"], kernel_shape=[3, 2], storage_order=order, **more)
        yield Written(name=f"max pool with places {order} {more}", nodes=[node], feeds={"x": x}, outputs=("y", "at"))


def _quantized() -> Iterator[Written]:
    x = _floats(2, 4, 6) * 3
    for name, scale, offset, more in (
        ("tensor", np.float32(0.05), np.uint8(120), {}),
        ("channel", np.asarray([0.01, 0.02, 0.03, 0.5], np.float32), np.zeros(4, np.int8), {"axis": 1}),
        ("block", np.abs(_floats(2, 2, 6)) + 0.01, np.zeros((2, 2, 6), np.int8), {"axis": 1, "block_size": 2}),
    ):
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], **more),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], **more),
        ]
        constants = {"s": scale, "z": offset}
        yield Written(name=f"quantized by {name}", nodes=nodes, feeds={"x": x}, constants=constants, opset=21)


def _spectral() -> Iterator[Written]:
    for name, shape, length, more in (
        ("longer", (2, 7, 1), 10, {}),
        ("shorter", (2, 9, 2), 6, {"inverse": 1}),
        ("half", (1, 8, 1), 8, {"onesided": 1}),
    ):
        node = helper.make_node("DFT", ["x", "n", "axis"], ["y"], **more)
        constants = {"n": np.int64(length), "axis": np.int64(1)}
        yield Written(name=f"dft {name}", nodes=[node], feeds={"x": _floats(*shape)}, constants=constants)
    node = helper.make_node("STFT", ["x", "step", "w", "size"], ["y"])
    constants = {"step": np.int64(8), "w": np.hanning(16).astype(np.float32), "size": np.int64(16)}
    yield Written(name="stft", nodes=[node], feeds={"x": _floats(2, 64, 1)}, constants=constants)


def _running() -> Iterator[Written]:
    node = helper.make_node("CumSum", ["x", "axis"], ["y"], exclusive=1, reverse=1)
    yield Written(name="cumsum", nodes=[node], feeds={"x": _floats(3, 5)}, constants={"axis": np.int64(-1)})
    yield _one("det", "Det", _floats(2, 3, 3))


def _empty() -> Iterator[Written]:
    """A piece of no elements is joined to others, as caches are at the first step."""
    nodes = [
        helper.make_node("Slice", ["x", "from", "to"], ["none"]),
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Concat", ["none", "r", "x"], ["y"], axis=0),
    ]
    constants = {"from": np.asarray([1]), "to": np.asarray([1])}
    yield Written(name="empty piece", nodes=nodes, feeds={"x": _floats(2, 3)}, constants=constants)


def differing(limit: float = 1e-5, make: Callable[[], Iterator[Written]] = all_written) -> dict[str, str]:
    """Take every model through Core ML and ONNX Runtime; return what differs by more than a relative error."""
    import onnxruntime

    ct, wrong = coremltools(tensorflow=False), {}
    for case in make():
        model = case.model()
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        wanted = dict(zip(case.outputs, session.run(list(case.outputs), case.feeds), strict=True))
        got = node_cases.executed(node_cases.cleaned_route(model, ct), case.feeds)
        answers = {name: got[name].reshape(value.shape) for name, value in wanted.items()}
        name, error = relative_error(wanted, answers)
        if error > limit:
            wrong[case.name] = f"{name}: {error:.3g}"
    return wrong
