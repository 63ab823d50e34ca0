"""What the tests of the ONNX lowering do in child processes."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import node_cases
import numpy as np
import written_models
from onnx import TensorProto, helper, numpy_helper

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.targets import coreml
from toolkit.targets.coreml.foreign import coremltools
from toolkit.targets.coreml.interpreter.program import read_package
from toolkit.targets.coreml.lowering.operators import LOWERINGS
from toolkit.targets.coreml.lowering.program import lower

_ATTEMPTS = 4
"""Some cases of an operator ask for what Core ML cannot tell, such as the positions that a pooling chose."""


def verdicts(operators: list[str]) -> dict[str, list[str]]:
    """Take one expressible case of each operator; return which operators' passed, and what failed.

    All operators are meant when none is named.
    """
    offered = collections.defaultdict(list)
    cases, operators = (
        (node_cases.collect_of(operators), operators) if operators else (node_cases.collect(), [*LOWERINGS])
    )
    for case in cases:
        operator = node_cases.operator_of(case)
        if operator in operators and _plain(case):
            offered[operator].append(case)
    passed, failed = [], []
    waiting = dict(offered)
    for attempt in range(_ATTEMPTS):
        cases = [cases[attempt] for cases in waiting.values() if len(cases) > attempt]
        for outcome in node_cases.run_all(cases, node_cases.cleaned_route):
            if outcome.verdict not in ("inexpressible", "unlowered"):
                del waiting[outcome.operator]
                words = f"{outcome.case}: {outcome.reason}"
                passed.append(outcome.operator) if outcome.verdict == "passed" else failed.append(words)
    return {"passed": sorted(passed), "failed": failed}


def all_verdicts() -> list[node_cases.Outcome]:
    """Take every case."""
    return list(node_cases.run_all(node_cases.collect(), node_cases.own_route))


def _plain(case: Any) -> bool:
    kinds = {item.type.tensor_type.elem_type for item in (*case.model.graph.input, *case.model.graph.output)}
    return kinds <= {
        *(TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT8, TensorProto.UINT8),
        *(TensorProto.INT32, TensorProto.INT64),
    }


def refused(kinds: list[str]) -> dict[str, str]:
    """Lower models that Core ML cannot express; return each error's words."""
    ct, told = coremltools(tensorflow=False), {}
    for kind in kinds:
        try:
            lower(_refused_model(kind), ct)
        except ModelError as error:
            told[kind] = str(error)
    return told


def written() -> dict[str, str]:
    """Take the models written for these tests; return what differs."""
    return written_models.differing()


def _refused_model(kind: str) -> Any:
    shape: list[Any] = [2, 3]
    if kind in _HOSTILE:
        return _HOSTILE[kind]()
    if kind == "flexible":
        return _model([helper.make_node("Relu", ["x"], ["y"])], ["n", 3], shape)
    if kind == "empty":
        return _model([helper.make_node("Relu", ["x"], ["y"])], [0, 3], [0, 3])
    if kind == "rank":
        return _model([helper.make_node("Relu", ["x"], ["y"])], [1] * 6, [1] * 6)
    if kind == "recursive":
        model = _model([helper.make_node("Again", ["x"], ["y"], name="loop", domain="own")], shape, shape)
        inner = [helper.make_node("Again", ["a"], ["b"], domain="own")]
        imports = [helper.make_opsetid("own", 1)]
        model.functions.append(helper.make_function("own", "Again", ["a"], ["b"], inner, imports))
        model.opset_import.append(imports[0])
        return model
    if kind == "wide":
        big = numpy_helper.from_array(np.asarray([2**40], np.int64), "big")
        nodes = [helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT64)]
        nodes += [helper.make_node("Add", ["whole", "big"], ["sum"], name="adder")]
        nodes += [helper.make_node("Cast", ["sum"], ["y"], to=TensorProto.FLOAT)]
        return _model(nodes, shape, shape, [big])
    return _model([helper.make_node(kind, ["x"], ["y"], name="layer_7")], shape, shape)


def _model(nodes: list[Any], given: list[Any], made: list[Any], constants: Any = ()) -> Any:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, given)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, made)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def _dangling() -> Any:
    return _model([helper.make_node("Add", ["x", "nowhere"], ["y"], name="adder")], [2], [2])


def _unmade() -> Any:
    return _model([helper.make_node("Relu", ["x"], ["z"])], [2], [2])


def _absurd_input() -> Any:
    return _model([helper.make_node("Relu", ["x"], ["y"])], [2**20, 2**20], [2**20, 2**20])


def _absurd_constant() -> Any:
    shape = numpy_helper.from_array(np.asarray([2**20, 2**20], np.int64), "shape")
    nodes = [helper.make_node("ConstantOfShape", ["shape"], ["big"], name="grower")]
    return _model([*nodes, helper.make_node("Add", ["x", "big"], ["y"])], [1], [1], [shape])


def _absurd_growth() -> Any:
    repeats = numpy_helper.from_array(np.asarray([2**16, 2**16], np.int64), "repeats")
    return _model([helper.make_node("Tile", ["x", "repeats"], ["y"], name="grower")], [2, 3], [2, 3], [repeats])


def _long_loop() -> Any:
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["on_out"]), helper.make_node("Exp", ["state"], ["next"])],
        "body",
        [helper.make_tensor_value_info(name, 1, None) for name in ("turn", "on", "state")],
        [helper.make_tensor_value_info(name, 1, None) for name in ("on_out", "next")],
    )
    turns = numpy_helper.from_array(np.asarray(10**9, np.int64), "turns")
    loop = helper.make_node("Loop", ["turns", "", "x"], ["y"], name="counter", body=body)
    return _model([loop], [2], [2], [turns])


def _many_functions() -> Any:
    """Return functions that call the next one ten times each, eight deep."""
    imports = [helper.make_opsetid("own", 1), helper.make_opsetid("", 17)]
    model = _model([helper.make_node("F0", ["x"], ["y"], domain="own")], [2], [2])
    for depth in range(7):
        names = ["a", *(f"t{at}" for at in range(9)), "b"]
        inner = [helper.make_node(f"F{depth + 1}", [a], [b], domain="own") for a, b in itertools.pairwise(names)]
        if depth == 6:
            inner = [helper.make_node("Exp", [a], [b]) for a, b in itertools.pairwise(names)]
        model.functions.append(helper.make_function("own", f"F{depth}", ["a"], ["b"], inner, imports))
    model.opset_import.append(imports[0])
    return model


def _contradiction() -> Any:
    weight = numpy_helper.from_array(np.zeros((4, 5), np.float32), "w")
    return _model([helper.make_node("MatMul", ["x", "w"], ["y"], name="product")], [2, 3], [2, 5], [weight])


def _other_domain() -> Any:
    return _model([helper.make_node("FusedThing", ["x"], ["y"], name="fused", domain="com.example")], [2], [2])


def _same_name() -> Any:
    """Return an operator of another domain that is called like one that Core ML cannot express."""
    return _model([helper.make_node("NonZero", ["x"], ["y"], name="own", domain="com.example")], [2], [2])


def _absurd_window() -> Any:
    node = helper.make_node("MaxPool", ["x"], ["y"], name="pool", kernel_shape=[2**40], pads=[2**40, 2**40])
    return _model([node], [1, 1, 8], [1, 1, 8])


def _large_window() -> Any:
    node = helper.make_node("MaxPool", ["x"], ["y"], name="pool", kernel_shape=[90, 90], dilations=[2, 2])
    return _model([node], [1, 1, 200, 200], [1, 1, 22, 22])


def _no_branch() -> Any:
    """Return a branch that is a number."""
    node = helper.make_node("If", ["x"], ["y"], name="fork", then_branch=3)
    return _model([node], [1], [1])


def _half_scan() -> Any:
    node = helper.make_node("Scan", ["x"], ["y"], name="scan", body=_model([], [2], [2]).graph)
    return _model([node], [2], [2])


_HOSTILE: dict[str, Callable[[], Any]] = {
    "dangling": _dangling,
    "unmade": _unmade,
    "absurd input": _absurd_input,
    "absurd constant": _absurd_constant,
    "absurd growth": _absurd_growth,
    "long loop": _long_loop,
    "many functions": _many_functions,
    "contradiction": _contradiction,
    "other domain": _other_domain,
    "same name": _same_name,
    "absurd window": _absurd_window,
    "large window": _large_window,
    "no branch": _no_branch,
    "half scan": _half_scan,
}


def shape_chain(folder: Path) -> dict[str, list[str]]:
    """Convert a network whose reshape hangs on computed shapes; return the program's operators and tensor names."""
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.standard_normal((8, 3, 3, 3), dtype=np.float32), "w")
    zero, tail = (numpy_helper.from_array(np.asarray(item, np.int64), name) for item, name in (([0], "0"), ([-1], "t")))
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["features:0"], pads=[1, 1, 1, 1]),
        helper.make_node("Shape", ["features:0"], ["shape"]),
        helper.make_node("Gather", ["shape", "0"], ["batch"], axis=0),
        helper.make_node("Concat", ["batch", "t"], ["target"], axis=0),
        helper.make_node("Reshape", ["features:0", "target"], ["flat"]),
        helper.make_node("Softmax", ["flat"], ["y:0"]),
        helper.make_node("Identity", ["flat"], ["copy"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 128]) for name in ("y:0", "copy")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [weight, zero, tail])
    path = folder / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]).SerializeToString())
    source = Signature(
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 3, 4, 4)),),
        outputs=tuple(TensorSpec(name=name, dtype="float32", shape=(1, 128)) for name in ("y:0", "copy")),
    )
    made = coreml.convert("onnx", path, source, folder / "m.mlpackage")
    _, program = read_package(folder / "m.mlpackage")
    return {
        "names": [f"{item.name}<{item.source_name}" for item in (*made.inputs, *made.outputs)],
        "operators": [operation.operator for operation in program.operations],
    }
