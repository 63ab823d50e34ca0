"""Models of every opset, and of scalars, taken the whole way: importer, lowering, package, interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.core.probe import probe_feeds, relative_error
from toolkit.core.recipe import load_recipe
from toolkit.core.signature import bind, unbind
from toolkit.sources import onnx as source
from toolkit.targets import coreml
from toolkit.targets.coreml.foreign import coremltools
from toolkit.targets.coreml.lowering.operators import LOWERINGS
from toolkit.targets.coreml.lowering.program import lower


def converted_errors(opsets: list[int], folder: Path) -> list[dict[str, float]]:
    """Convert a network of each opset; return it with the relative errors of the float32 and the float16 program."""
    errors = []
    for opset in opsets:
        place = folder / str(opset)
        place.mkdir()
        errors.append({"opset": float(opset), **_errors(opset, place)})
    return errors


def _errors(opset: int, folder: Path) -> dict[str, float]:
    model, form = folder / "net.onnx", folder / "form.onnx"
    model.write_bytes(_network(opset).SerializeToString())
    signature = source.read(model, {})
    source.export(model, "onnx", {}, form)
    packages = {"float32": folder / "net.mlpackage", "float16": folder / "half.mlpackage"}
    coreml.convert("onnx", form, signature, packages["float32"])
    coreml.quantize(packages["float32"], load_recipe("float16"), {}, packages["float16"])
    feeds = probe_feeds(signature, seed=3)
    wanted = source.open_session(model, {}).run(feeds)
    errors = {}
    for precision, package in packages.items():
        session = coreml.open_session(package, 1)
        got = unbind(session.run(bind(feeds, session.signature)), session.signature)
        errors[precision] = relative_error(wanted, got)[1]
    return errors


class _Net:
    """Nodes and constants; what became an argument in a later opset is one there."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.rng = np.random.default_rng(opset)

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weight(self, *shape: int) -> str:
        return self.constant((self.rng.standard_normal(shape) * 0.3).astype(np.float32))

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        made = [f"t{len(self.nodes)}_{at}" for at in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, made, **attributes))
        return made[0]

    def moved(self, since: int, operator: str, x: str, keys: Sequence[str], values: Sequence[Any]) -> str:
        """Add a node whose attributes became arguments in the opset ``since``."""
        if self.opset < since:
            return self.add(operator, x, **dict(zip(keys, values, strict=True)))
        return self.add(operator, x, *map(self.constant, map(np.asarray, values)))


def _network(opset: int) -> Any:
    net = _Net(opset)
    x = net.add("Conv", "x", net.weight(8, 3, 3, 3), net.weight(8), pads=[1, 1, 1, 1], strides=[2, 2])
    variance = net.constant(np.linspace(0.5, 2, 8).astype(np.float32))
    x = net.add("BatchNormalization", x, *(net.weight(8) for _ in range(3)), variance)
    x = net.moved(11, "Clip", x, ["min", "max"], [np.float32(0), np.float32(6)])
    x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.moved(11, "Pad", x, ["pads"], [np.asarray([0, 0, 1, 0, 0, 0, 1, 0])])
    x = net.moved(10, "Slice", x, ["starts", "ends", "axes"], [np.asarray([1]), np.asarray([5]), np.asarray([2])])
    scales = np.asarray([1, 1, 2, 2], np.float32)
    if opset < 9:
        x = net.add("Upsample", x, scales=scales.tolist(), mode="nearest")
    elif opset < 11:
        x = net.add("Upsample" if opset < 10 else "Resize", x, net.constant(scales), mode="nearest")
    else:
        more = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        region = net.constant(np.zeros(0, np.float32)) if opset < 13 else ""  # it was no option before
        x = net.add("Resize", x, region, net.constant(scales), **more)
    if opset >= 17:
        x = net.add("LayerNormalization", x, net.weight(8))
    x = net.add("ConvTranspose", x, net.weight(8, 4, 2, 2), strides=[2, 2])
    x = net.moved(13, "Split", x, ["split"], [np.asarray([2, 2])])
    net.nodes[-1].output.append("unused")
    net.nodes[-1].attribute.append(helper.make_attribute("axis", 1))
    x = net.moved(18, "ReduceMean", x, ["axes"], [np.asarray([3])])
    x = net.moved(13, "Squeeze", x, ["axes"], [np.asarray([3])])
    x = net.moved(13, "Unsqueeze", x, ["axes"], [np.asarray([0])])
    x = net.add("Transpose", x, perm=[1, 0, 2, 3])
    x = net.add("Reshape", x, net.constant(np.asarray([0, -1])))
    x = net.add("Gemm", x, net.weight(5, 32), net.weight(5), transB=1)
    if opset >= 20:
        x = net.add("Gelu", x)
    net.nodes.append(helper.make_node("Softmax", [x], ["y"], axis=1))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])]
    graph = helper.make_graph(net.nodes, "net", inputs, outputs, net.constants)
    ir_version = 8 if opset < 20 else 10
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def damaged(count: int, seed: int = 0) -> dict[str, int]:
    """Lower networks damaged at random; return how many were refused and how many still were models.

    Any other exception than the house's own ends it.
    """
    ct, rng = coremltools(tensorflow=False), np.random.default_rng(seed)
    counted = {"refused": 0, "lowered": 0}
    for turn in range(count):
        model = _network(int(rng.integers(7, 25)))
        for _ in range(int(rng.integers(1, 4))):
            _DAMAGES[int(rng.integers(len(_DAMAGES)))](model.graph, rng)
        try:
            lower(model, ct)
            counted["lowered"] += 1
        except ModelError:
            counted["refused"] += 1
        except Exception as error:
            raise AssertionError(f"damage {turn} of seed {seed}: {type(error).__name__}: {error}") from error
    return counted


def _pick(items: Any, rng: np.random.Generator) -> Any:
    return items[int(rng.integers(len(items)))]


def _misdirect(graph: Any, rng: np.random.Generator) -> None:
    node, other = _pick(graph.node, rng), _pick(graph.node, rng)
    if node.input:
        node.input[int(rng.integers(len(node.input)))] = _pick(["", "nowhere", *other.input, *other.output], rng)


def _drop_node(graph: Any, rng: np.random.Generator) -> None:
    del graph.node[int(rng.integers(len(graph.node)))]


def _drop_input(graph: Any, rng: np.random.Generator) -> None:
    node = _pick(graph.node, rng)
    if node.input:
        del node.input[int(rng.integers(len(node.input)))]


def _drop_attribute(graph: Any, rng: np.random.Generator) -> None:
    node = _pick(graph.node, rng)
    if node.attribute:
        del node.attribute[int(rng.integers(len(node.attribute)))]


def _spoil_attribute(graph: Any, rng: np.random.Generator) -> None:
    node = _pick(graph.node, rng)
    if node.attribute:
        attribute = _pick(node.attribute, rng)
        values = [-1, 0, 3, 2**31, 2**62, -(2**63)]
        given = (
            [_pick(values, rng) for _ in range(int(rng.integers(0, 6)))] if rng.random() < 0.5 else _pick(values, rng)
        )
        attribute.CopyFrom(helper.make_attribute(attribute.name, given, attr_type=None if given != [] else 7))


def _rename_operator(graph: Any, rng: np.random.Generator) -> None:
    _pick(graph.node, rng).op_type = _pick([*sorted(LOWERINGS), "If", "Loop", "Scan", "Nothing"], rng)


def _spoil_constant(graph: Any, rng: np.random.Generator) -> None:
    tensor = _pick(graph.initializer, rng)
    shape = [int(rng.integers(0, 7)) for _ in range(int(rng.integers(0, 5)))]
    dtype = _pick([np.float32, np.int64, np.bool_, np.uint8], rng)
    tensor.CopyFrom(numpy_helper.from_array(rng.integers(-3, 90, shape).astype(dtype), tensor.name))


_DAMAGES = (
    *(_misdirect, _drop_node, _drop_input, _drop_attribute),
    *(_spoil_attribute, _rename_operator, _spoil_constant),
)


def scalars(folder: Path) -> dict[str, Any]:
    """Convert a model with a scalar input and a scalar output; return their shapes and the answer."""
    nodes = [
        helper.make_node("Mul", ["x", "s"], ["m"]),
        helper.make_node("ReduceSum", ["m"], ["y"], keepdims=0),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])]
    inputs.append(helper.make_tensor_value_info("s", TensorProto.FLOAT, []))
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])])
    path = folder / "scalar.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    shapes: dict[str, tuple[int, ...]] = {"x": (2, 3), "s": (), "y": ()}
    x, s, y = (TensorSpec(name=name, dtype="float32", shape=shape) for name, shape in shapes.items())
    signature = coreml.convert("onnx", path, Signature(inputs=(x, s), outputs=(y,)), folder / "scalar.mlpackage")
    session = coreml.open_session(folder / "scalar.mlpackage", 1)
    feeds = {"x": np.arange(1, 7, dtype=np.float32).reshape(2, 3), "s": np.asarray(2, np.float32)}
    answer = unbind(session.run(bind(feeds, signature)), signature)
    shapes_found = [list(spec.shape) for spec in (*signature.inputs, *signature.outputs)]
    return {"shapes": shapes_found, "answer": float(answer["y"])}
