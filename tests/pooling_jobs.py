"""ONNX operators that are written anew for TFLite, run by ONNX Runtime before and after; runs in a child process."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.targets.tflite.activations import with_plain_activations
from toolkit.targets.tflite.pooling import with_floors


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


def activation_error(kind: str, attributes: dict[str, float]) -> float:
    """Return the largest difference of one activation, computed from -8 to 8 without zero."""
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
