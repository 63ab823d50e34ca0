"""Models with control flow, one a format, and what becomes of them on every target; runs in child processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import discovery, signature
from toolkit.core.artifacts import Range
from toolkit.core.errors import PalmtopError
from toolkit.core.recipe import load_recipe

WIDTH = 16


def make_onnx(folder: Path) -> None:
    """Write an If that asks the data and a Loop of three turns."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(8)
    node, value = helper.make_node, helper.make_tensor_value_info

    def weight(name: str) -> Any:
        return numpy_helper.from_array(rng.normal(0, 0.3, (WIDTH, WIDTH)).astype(np.float32), name)

    def tensor(name: str) -> Any:
        return value(name, TensorProto.FLOAT, [1, WIDTH])

    def branch(name: str) -> Any:
        product = node("MatMul", ["h", f"{name}_w"], [f"{name}_out"], f"{name}_product")
        return helper.make_graph([product], name, [], [tensor(f"{name}_out")], [weight(f"{name}_w")])

    def save(name: str, nodes: list[Any], constants: list[Any]) -> None:
        graph = helper.make_graph(nodes, name, [tensor("x")], [tensor("y")], [weight("w"), weight("v"), *constants])
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / f"{name}.onnx")

    first, last = node("Gemm", ["x", "w"], ["h"], "first"), node("Gemm", ["flow", "v"], ["y"], "last")
    ask = [node("ReduceMean", ["h"], ["mean"], keepdims=0), node("Greater", ["mean", "zero"], ["yes"], "ask")]
    choose = node("If", ["yes"], ["flow"], "choose", then_branch=branch("one"), else_branch=branch("other"))
    save("if", [first, *ask, choose, last], [numpy_helper.from_array(np.float32(0), "zero")])
    body = helper.make_graph(
        [node("MatMul", ["state", "w_body"], ["next"], "step"), node("Identity", ["on"], ["go_on"])],
        "body",
        [value("turn", TensorProto.INT64, []), value("on", TensorProto.BOOL, []), tensor("state")],
        [value("go_on", TensorProto.BOOL, []), tensor("next")],
        [weight("w_body")],
    )
    turns = [numpy_helper.from_array(np.int64(3), "turns"), numpy_helper.from_array(np.bool_(True), "always")]
    save("loop", [first, node("Loop", ["turns", "always", "h"], ["flow"], "repeat", body=body), last], turns)


def make_saved_model(folder: Path) -> None:
    """Write a loop that ends when the data says so, as a SavedModel and as TFLite."""
    import tensorflow as tf

    weight = tf.constant(np.random.default_rng(8).normal(0, 0.3, (WIDTH, WIDTH)).astype(np.float32))

    def serve(x: Any) -> dict[str, Any]:
        def step(state: Any, turn: Any) -> tuple[Any, Any]:
            return tf.matmul(state, weight), turn + 1

        def unfinished(state: Any, turn: Any) -> Any:
            return tf.logical_and(tf.reduce_sum(tf.abs(state)) > 1.0, turn < 5)

        state, _ = tf.while_loop(unfinished, step, (tf.matmul(x, weight), 0))
        return {"y": state}

    spec = tf.TensorSpec((1, WIDTH), tf.float32, name="x")
    tf.saved_model.save(tf.Module(), str(folder / "while"), signatures=tf.function(serve, input_signature=[spec]))
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "while"))
    (folder / "while.tflite").write_bytes(converter.convert())


def make_pytorch(folder: Path) -> None:
    """Write a `torch.cond`."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.one, self.last = (torch.nn.Linear(WIDTH, WIDTH) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = torch.relu(self.first(x))
            flow = torch.cond(h.sum() > 1, lambda part: self.one(part), lambda part: part * 2, (h,))
            return self.last(flow)

    torch.manual_seed(8)
    torch.export.save(torch.export.export(Net().eval(), (torch.rand(1, WIDTH),)), folder / "cond.pt2")


def branch_on_onnx(models: Path, folder: Path) -> dict[str, str]:
    """Write the ONNX models and build the one with an If for ONNX Runtime."""
    make_onnx(models)
    return outcomes("onnx", models / "if.onnx", "static-int8", folder, ("onnx",))


def outcomes(
    source: str, model: Path, recipe: str, folder: Path, targets: tuple[str, ...] = ("coreml", "onnx", "tflite")
) -> dict[str, str]:
    """Build a model for these targets: by target the layers kept float, or the class and text of the error."""
    module = discovery.load("toolkit.sources", source)
    own = module.read(model, {})
    found = {}
    for target in targets:
        form = next(form for form in discovery.load("toolkit.targets", target).FORMS if form in module.FORMS)
        if not (folder / form).exists():
            module.export(model, form, {}, folder / form)
        try:
            found[target] = _built(target, form, folder, own, recipe)
        except PalmtopError as error:
            found[target] = f"{type(error).__name__}: {error}"
    return found


def _built(target: str, form: str, folder: Path, own: Any, name: str) -> str:
    module, recipe = discovery.load("toolkit.targets", target), load_recipe(name)
    floats = folder / f"{target}{module.SUFFIX}"
    bound = module.convert(form, folder / form, own, floats)
    seen: dict[str, Range] = {}

    def see(tensor: str, values: Any) -> None:
        known = seen.get(tensor, Range(low=np.inf, high=-np.inf))
        seen[tensor] = Range(low=min(known.low, float(values.min())), high=max(known.high, float(values.max())))

    if recipe.needs_data:
        rng = np.random.default_rng(9)
        rows = ({own.inputs[0].name: rng.normal(0, 1, (1, WIDTH)).astype(np.float32)} for _ in range(8))
        module.calibrate(floats, (signature.bind(row, bound) for row in rows), see)
    made = module.quantize(floats, recipe, seen, folder / f"{target}-{name}{module.SUFFIX}")
    return ", ".join(f"{kept.layer}: {kept.reason}" for kept in made.kept_float)
