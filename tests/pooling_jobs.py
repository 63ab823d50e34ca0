"""ONNX operators that are written anew for TFLite, run by ONNX Runtime before and after; runs in a child process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.targets.tflite import conversion
from toolkit.targets.tflite.activations import with_plain_activations
from toolkit.targets.tflite.pooling import with_floors
from toolkit.targets.tflite.squeezing import with_reshapes


def errors(count: int, seed: int) -> dict[str, float]:
    """Return the largest difference of each random case, by its description; infinite where shapes differ."""
    rng = np.random.default_rng(seed)
    found = {}
    for _ in range(count):
        kind = str(rng.choice(["MaxPool", "AveragePool"]))
        kernel, stride = rng.integers(1, 5, 2), rng.integers(1, 4, 2)
        pads = [int(rng.integers(0, (size + 1) // 2 + 1)) if size > 1 else 0 for size in (*kernel, *kernel)]
        pads = [min(pad, int(size) - 1) for pad, size in zip(pads, (*kernel, *kernel), strict=True)]
        shape = [1, 2, *map(int, rng.integers(5, 12, 2))]
        attributes = {"kernel_shape": kernel.tolist(), "strides": stride.tolist(), "pads": pads, "ceil_mode": 1}
        found[f"{kind} {shape[2:]} {attributes}"] = _error(kind, shape, attributes, rng)
    return found


def activation_errors(cases: tuple[tuple[str, dict[str, float]], ...]) -> tuple[float, ...]:
    """Return the largest difference of each activation, computed from -8 to 8 without zero."""
    return tuple(_activation_error(kind, attributes) for kind, attributes in cases)


def _activation_error(kind: str, attributes: dict[str, float]) -> float:
    values = {"x": np.linspace(-8, 8, 64, dtype=np.float32).reshape(1, 1, 8, 8)}
    before = _model(kind, [1, 1, 8, 8], attributes)
    after = with_plain_activations(before)
    assert kind not in {node.op_type for node in after.graph.node}
    first, second = (_run(model, values) for model in (before, after))
    return float(np.abs(first - second).max())


def left(attributes: dict[str, int]) -> int:
    """Return `ceil_mode` of an average pool with other attributes after the rewriting."""
    (node,) = with_floors(_model("AveragePool", [1, 2, 8, 8], {"kernel_shape": [3, 3], **attributes})).graph.node
    return next((item.i for item in node.attribute if item.name == "ceil_mode"), 0)


def reshaped(cases: tuple[tuple[tuple[int, ...], int], ...]) -> tuple[list[str], ...]:
    """Return the operators of a net that squeezes ``axes`` of an image of some width, after the rewriting."""
    found = []
    for axes, width in cases:
        before = _squeezing(axes, width)
        after = with_reshapes(before)
        values = {"x": np.random.default_rng(3).normal(0, 1, (1, 3, 3, width + 2)).astype(np.float32)}
        assert np.array_equal(_run(before, values), _run(after, values))
        found.append([node.op_type for node in after.graph.node])
    return tuple(found)


def squeezed(folder: Path) -> str:
    """Convert a net that squeezes the height; return why its translation without the rewriting is refused."""
    import onnx

    onnx.save(_squeezing((2,), 12), folder / "squeezed.onnx")
    specs = {name: TensorSpec(name=name, dtype="float32", shape=shape) for name, shape in _ends(12).items()}
    source = Signature(inputs=(specs["x"],), outputs=(specs["y"],))
    conversion.from_onnx(folder / "squeezed.onnx", source, folder / "squeezed.tflite")
    conversion.with_reshapes = lambda plain: plain
    try:
        conversion.from_onnx(folder / "squeezed.onnx", source, folder / "plain.tflite")
    except ModelError as error:
        return error.message
    return ""


def _ends(width: int) -> dict[str, tuple[int, ...]]:
    return {"x": (1, 3, 3, width + 2), "y": (1, width, 5) if width > 1 else (1, 5)}


def _squeezing(axes: tuple[int, ...], width: int) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(2)
    values = {"w": rng.normal(0, 0.3, (8, 3, 3, 3)), "m": rng.normal(0, 0.3, (8, 5))}
    named = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in values.items()]
    named.append(numpy_helper.from_array(np.array(axes, np.int64), "axes"))
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Squeeze", ["c", "axes"], ["s"], "squeeze"),
        *([helper.make_node("Transpose", ["s"], ["t"], "turn", perm=[0, 2, 1])] if width > 1 else []),
        helper.make_node("MatMul", ["t" if width > 1 else "s", "m"], ["y"], "product"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in _ends(width).items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], named)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _model(kind: str, shape: list[int], attributes: dict[str, Any]) -> Any:
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, own) for name, own in (("x", shape), ("y", None))]
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"], "pool", **attributes)], "g", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _error(kind: str, shape: list[int], attributes: dict[str, Any], rng: np.random.Generator) -> float:
    values = {"x": rng.normal(0, 1, shape).astype(np.float32)}
    model = with_floors(_model(kind, shape, attributes))
    answers = [_run(_model(kind, shape, attributes), values), _run(model, values)]
    assert all(item.name != "ceil_mode" for node in model.graph.node for item in node.attribute)
    if answers[0].shape != answers[1].shape:
        return float("inf")
    return float(np.abs(answers[0] - answers[1]).max())


def _run(model: Any, values: dict[str, Any]) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, values)[0]
