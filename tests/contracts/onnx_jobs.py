"""Small ONNX graphs that break naive quantizers, and the jobs that try them in child processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.artifacts import KeptFloat, LayerFact, Range
from toolkit.core.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How a build of a graph did: the worst output's SQNR in dB, sizes in bytes, and what is in it."""

    sqnr_db: float
    float_bytes: int
    build_bytes: int
    kept_float: tuple[KeptFloat, ...]
    layers: tuple[LayerFact, ...]


def trial(case: str, recipe: Recipe, folder: Path) -> Trial:
    """Build a graph, calibrate on 16 samples, quantize, and compare on the same samples."""
    from seen_ranges import MinMax

    from toolkit.targets import onnx as target

    model, build = folder / "float.onnx", folder / "build.onnx"
    write(case, model)
    session = target.open_session(model, 1)
    feeds = [_feeds(session.signature.inputs, seed) for seed in range(16)]
    observer = MinMax()
    if recipe.needs_data:
        target.calibrate(model, feeds, observer.see)
    made = target.quantize(model, recipe, observer.ranges(), build)
    built = target.open_session(build, 1)
    assert built.signature == session.signature == made.signature
    expected, found = [session.run(feed) for feed in feeds], [built.run(feed) for feed in feeds]
    return Trial(
        sqnr_db=min(_sqnr_db([e[name] for e in expected], [f[name] for f in found]) for name in expected[0]),
        float_bytes=model.stat().st_size,
        build_bytes=build.stat().st_size,
        kept_float=made.kept_float,
        layers=target.inspect(build).layers,
    )


def trials(cases: list[str], recipe: Recipe, folder: Path) -> dict[str, Trial]:
    """Try one graph after another in the same process."""
    results = {}
    for case in cases:
        (folder / case).mkdir()
        results[case] = trial(case, recipe, folder / case)
    return results


def write(case: str, out: Path) -> None:
    """Write one of the graphs below."""
    import onnx

    onnx.save(globals()[f"_{case}"](), out)


def quantize_with(case: str, recipe: Recipe, ranges: dict[str, Range], folder: Path) -> None:
    """Quantize a graph with ranges that the test made up."""
    from toolkit.targets import onnx as target

    write(case, folder / "float.onnx")
    target.quantize(folder / "float.onnx", recipe, ranges, folder / "build.onnx")


def convert_onnx(case: str, folder: Path, declared: str) -> None:
    """Hand a graph to the target as the form `onnx`, its source's input under the name `declared`."""
    from toolkit.core.artifacts import Signature, TensorSpec
    from toolkit.targets import onnx as target

    write(case, folder / "float.onnx")
    found = target.open_session(folder / "float.onnx", 1).signature
    first = TensorSpec(name=declared, dtype="float32", shape=found.inputs[0].shape)
    source = Signature(inputs=(first, *found.inputs[1:]), outputs=found.outputs)
    target.convert("onnx", folder / "float.onnx", source, folder / "out.onnx")


def shown_in_calibration(model: Path, data: Path) -> dict[str, tuple[int, float, float]]:
    """Return of each tensor shown how often, and its smallest and largest value."""
    from toolkit.targets import onnx as target

    seen: dict[str, list[np.ndarray]] = {}
    with np.load(data) as file:
        samples = [{"x": file["x"][index : index + 1]} for index in range(4)]
    target.calibrate(model, iter(samples), lambda name, values: seen.setdefault(name, []).append(values))
    return {
        name: (len(values), float(min(v.min() for v in values)), float(max(v.max() for v in values)))
        for name, values in seen.items()
    }


def every_inner_tensor(model: Path, data: Path) -> dict[str, tuple[int, float, float]]:
    """The same by ONNX's own reference evaluator, which shares no code with the target."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    proto = onnx.load(model)
    names = ["x", *(name for node in proto.graph.node for name in node.output)]
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names[1:])
    evaluator = ReferenceEvaluator(proto)
    with np.load(data) as file:
        samples = [file["x"][index : index + 1] for index in range(4)]
    rows = [[sample, *evaluator.run(None, {"x": sample})] for sample in samples]
    return {
        name: (len(rows), float(min(row[i].min() for row in rows)), float(max(row[i].max() for row in rows)))
        for i, name in enumerate(names)
    }


def run_scalar(folder: Path) -> float:
    """Feed a numpy scalar, which ONNX Runtime itself refuses."""
    from toolkit.targets import onnx as target

    write("scalar_input", folder / "m.onnx")
    session = target.open_session(folder / "m.onnx", 0)
    out = session.run({"x": np.ones((1, 4), np.float32), "gain": np.float32(3)})  # type: ignore[dict-item]
    return float(out["y"].sum())


def run_after_close(folder: Path) -> str:
    from toolkit.targets import onnx as target

    write("scalar_input", folder / "m.onnx")
    session = target.open_session(folder / "m.onnx", 0)
    session.close()
    try:
        session.run({})
    except RuntimeError as error:
        return str(error)
    return "ran"


def _feeds(specs: Any, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        spec.name: rng.normal(0, 1, spec.shape).astype(spec.dtype)
        if spec.dtype.startswith("float")
        else rng.integers(0, 8, spec.shape).astype(spec.dtype)
        for spec in specs
    }


def _sqnr_db(expected: list[np.ndarray], found: list[np.ndarray]) -> float:
    signal, noise = np.stack(expected).astype(np.float64), np.stack(expected) - np.stack(found).astype(np.float64)
    power = float(np.square(noise).sum())
    return 10 * np.log10(float(np.square(signal).sum()) / power) if power else float("inf")


def _weights(*shape: int, seed: int = 0) -> np.ndarray:
    fan_in = max(1, int(np.prod(shape[1:])))
    return np.random.default_rng(seed + sum(shape)).normal(0, 1 / np.sqrt(fan_in), shape).astype(np.float32)


def _model(nodes: list[Any], inputs: dict[str, list[int]], outputs: dict[str, list[int]], **constants: Any) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    def value(name: str, shape: list[int]) -> Any:
        kind = TensorProto.INT32 if name.startswith("ids") else TensorProto.FLOAT
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        nodes,
        "case",
        [value(*item) for item in inputs.items()],
        [value(*item) for item in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name.replace("__", "/")) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _node(operator: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(operator, inputs.split(), outputs.split(), name, **attributes)


def _shared_bias_beside_a_tensor_of_its_numbered_name() -> Any:
    """ORT's quantizer copies a shared bias `b` to `b2`, which here is a tensor already."""
    nodes = [
        _node("Conv", "x w1 b", "c", "first", pads=[1] * 4),
        _node("Neg", "c", "b2", "negate"),
        _node("Conv", "b2 w2 b", "y", "second", pads=[1] * 4),
    ]
    weights = {"w1": _weights(8, 3, 3, 3), "w2": _weights(8, 8, 3, 3), "b": _weights(8)}
    return _model(nodes, {"x": [1, 3, 8, 8]}, {"y": [1, 8, 8, 8]}, **weights)


def _weights_as_constant_nodes() -> Any:
    from onnx import numpy_helper

    nodes = [
        _node("Constant", "", "w", value=numpy_helper.from_array(_weights(16, 3, 3, 3))),
        _node("Constant", "", "b", value=numpy_helper.from_array(_weights(16))),
        _node("Conv", "x w b", "c"),
        _node("Relu", "c", "y"),
    ]
    return _model(nodes, {"x": [1, 3, 8, 8]}, {"y": [1, 16, 6, 6]})


def _clip_that_does_not_hold_zero() -> Any:
    nodes = [
        _node("Conv", "x w", "c", "conv"),
        _node("Clip", "c", "free", "free"),
        _node("Clip", "free low high", "y", "clip"),
    ]
    bounds = {"low": np.float32(1), "high": np.float32(3)}
    return _model(nodes, {"x": [1, 3, 8, 8]}, {"y": [1, 16, 6, 6]}, w=2 * _weights(16, 3, 3, 3), **bounds)


def _grouped_transposed_convolution() -> Any:
    node = _node("ConvTranspose", "x w b", "y", "up", group=2, strides=[2, 2])
    return _model([node], {"x": [1, 8, 4, 4]}, {"y": [1, 12, 8, 8]}, w=_weights(8, 6, 2, 2), b=_weights(12))


def _gemms_with_odd_biases() -> Any:
    """Biases of shape [1, N] and [], which ORT's quantizer indexes by channel, and a factor that it loses."""
    nodes = [
        _node("Gemm", "x w1 row", "h", "wide", transB=1, alpha=0.5),
        _node("Gemm", "h w2 one", "y", "narrow", beta=3.0),
    ]
    constants = {"w1": _weights(24, 16), "row": _weights(1, 24), "w2": _weights(24, 10), "one": np.float32(0.25)}
    return _model(nodes, {"x": [1, 16]}, {"y": [1, 10]}, **constants)


def _one_weight_with_two_channel_axes() -> Any:
    nodes = [_node("Gemm", "x w", "h", "one", transB=1), _node("Gemm", "h w", "y", "two")]
    return _model(nodes, {"x": [1, 32]}, {"y": [1, 32]}, w=_weights(32, 32) * np.linspace(0.1, 4, 32, dtype="f4"))


def _one_weight_in_two_convolutions() -> Any:
    nodes = [
        _node("Conv", "x w b", "c", "first", pads=[1] * 4),
        _node("Relu", "c", "r", "relu"),
        _node("Conv", "r w b", "y", "second", pads=[1] * 4),
    ]
    return _model(nodes, {"x": [1, 16, 8, 8]}, {"y": [1, 16, 8, 8]}, w=_weights(16, 16, 3, 3), b=_weights(16))


def _embedding_of_int32() -> Any:
    nodes = [
        _node("Gather", "table ids", "rows", "embed"),
        _node("ReduceMean", "rows", "mean", "mean", axes=[1], keepdims=0),
        _node("Gemm", "mean w b", "y", "classify"),
    ]
    constants = {"table": _weights(64, 24), "w": _weights(24, 6), "b": _weights(6)}
    return _model(nodes, {"ids": [1, 10]}, {"y": [1, 6]}, **constants)


def _branches() -> Any:
    """A weight inside the branches of an If, which also read a tensor of the graph around them."""
    from onnx import TensorProto, helper, numpy_helper

    def branch(name: str, seed: int) -> Any:
        out = helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, [1, 8])
        weight = numpy_helper.from_array(_weights(8, 8, seed=seed), f"{name}_w")
        node = _node("MatMul", f"r {name}_w", f"{name}_out", f"{name}_product")
        return helper.make_graph([node], name, [], [out], [weight])

    nodes = [
        _node("Gemm", "x w", "g", "before"),
        _node("Relu", "g", "r", "relu"),
        _node("Greater", "x2 zero", "positive", "ask"),
        _node("If", "positive", "i", "choose", then_branch=branch("yes", 1), else_branch=branch("no", 2)),
        _node("Gemm", "i w2", "y", "after"),
    ]
    constants = {"w": _weights(8, 8), "w2": _weights(8, 4), "zero": np.float32(0)}
    return _model(nodes, {"x": [1, 8], "x2": [1]}, {"y": [1, 4]}, **constants)


def _float_only_layers() -> Any:
    """A slope for each channel, a recurrent layer and a normalisation: no integer kernels."""
    nodes = [
        _node("Conv", "x w", "c", "conv"),
        _node("PRelu", "c slope", "p", "slopes"),
        _node("Reshape", "p shape", "s", "flatten"),
        _node("LSTM", "s W R B", "all", "recur", hidden_size=8),
        _node("Reshape", "all flat", "f", "flatten_again"),
        _node("LayerNormalization", "f gain shift", "n", "norm"),
        _node("Gemm", "n out", "y", "classify"),
    ]
    constants = {
        "w": _weights(12, 3, 3, 3),
        "slope": np.full((12, 1, 1), 0.25, np.float32),
        "shape": np.array([4, 1, 12], np.int64),
        "flat": np.array([1, 32], np.int64),
        "W": _weights(1, 32, 12),
        "R": _weights(1, 32, 8),
        "B": _weights(1, 64),
        "gain": np.ones(32, np.float32),
        "shift": np.zeros(32, np.float32),
        "out": _weights(32, 4),
    }
    return _model(nodes, {"x": [1, 3, 4, 4]}, {"y": [1, 4]}, **constants)


def _product_of_two_inputs() -> Any:
    nodes = [_node("MatMul", "x x2", "m", "scores"), _node("Softmax", "m", "y", "softmax")]
    return _model(nodes, {"x": [1, 4, 8], "x2": [1, 8, 4]}, {"y": [1, 4, 4]})


def _nothing_to_quantize() -> Any:
    return _model([_node("Exp", "x", "y", "exp")], {"x": [1, 4]}, {"y": [1, 4]})


def _logarithm_of_small_numbers() -> Any:
    """In 8 bits the smallest inputs of the logarithm become zero."""
    nodes = [_node("Gemm", "x w", "g", "fc"), _node("Add", "g tiny", "a", "add"), _node("Log", "a", "y", "log")]
    constants = {"w": np.full((4, 4), 0.01, np.float32), "tiny": np.full(4, 1e-3, np.float32)}
    return _model(nodes, {"x": [1, 4]}, {"y": [1, 4]}, **constants)


def _weights_elsewhere() -> Any:
    from onnx import TensorProto

    model = _model([_node("Gemm", "x w", "y", "fc")], {"x": [1, 8]}, {"y": [1, 8]}, w=_weights(8, 8))
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../etc/passwd")
    return model


def _old_operator_set() -> Any:
    model = _model([_node("Gemm", "x w", "y", "fc")], {"x": [1, 8]}, {"y": [1, 8]}, w=_weights(8, 8))
    model.opset_import[0].version = 13
    return model


def _scalar_input() -> Any:
    return _model([_node("Mul", "x gain", "y", "mul")], {"x": [1, 4], "gain": []}, {"y": [1, 4]})
