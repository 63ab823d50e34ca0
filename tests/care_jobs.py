"""What the tests of accuracy care do in child processes: a net that quantization hurts, built with and without care."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from reweigh_jobs import Reweighed, reweigh
from seen_ranges import MinMax

from toolkit.core import discovery, signature
from toolkit.core.artifacts import CareStep, Census, KeptFloat, Preprocess
from toolkit.core.equalization import Link, equalise
from toolkit.core.errors import PalmtopError
from toolkit.core.recipe import Recipe
from toolkit.datasets import npz
from toolkit.stages import care, care_job

SAMPLES = 48
CAP = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cared:
    """One build, or what was said instead; ``sqnr_db`` is over the samples that it was made with."""

    error: str = ""
    care: tuple[CareStep, ...] = ()
    sqnr_db: float = 0.0
    kept_float: tuple[KeptFloat, ...] = ()
    census: Census | None = None
    reweighed: Reweighed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A net on one target: how close its float artefact is to the source, and every build.

    ``saturated`` is the share of channels that reach the cap, by the first layer of each link with one;
    ``unseen_bias_links`` is how many links a layer begins whose bias is computed.
    """

    float_db: float
    equalised_db: float
    linked: tuple[str, ...]
    saturated: dict[str, float]
    unseen_bias_links: int
    operators: tuple[str, ...]
    builds: dict[str, Cared]


def make_net(out: Path) -> None:
    """Write a net with batch normalisation in every place and a depthwise layer whose rounding moves its means.

    Its kernel has one weight that is far larger than all the others together, so that integers lose these.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(11)
    constants: list[Any] = []

    def const(name: str, values: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def norm(source: str, output: str, channels: int) -> Any:
        parts = {"s": (0.5, 2), "b": (-1, 1), "m": (-1, 1), "v": (0.5, 2)}
        names = [const(f"{output}.{part}", rng.uniform(*span, channels)) for part, span in parts.items()]
        return helper.make_node("BatchNormalization", [source, *names], [output], f"norm_{output}")

    def conv(source: str, output: str, weight: Any, bias: bool, **more: Any) -> Any:
        inputs = [source, const(f"{output}.w", weight), *([const(f"{output}.c", np.ones(len(weight)))] if bias else [])]
        return helper.make_node("Conv", inputs, [output], f"conv_{output}", **more)

    deep = rng.uniform(0.01, 0.023, (8, 1, 5, 5))
    deep[:, 0, 2, 2] = 6  # half a step of the grid is more than any other weight
    nodes = [
        norm("x", "first", 3),
        conv("first", "a", rng.normal(0, 0.3, (8, 3, 3, 3)), bias=False, pads=[1] * 4),
        norm("a", "behind_conv", 8),
        helper.make_node("Relu", ["behind_conv"], ["r1"], "relu_1"),
        conv("r1", "deep", deep, bias=True, pads=[2] * 4, group=8),
        conv("deep", "b", rng.normal(0, 0.3, (8, 8, 1, 1)) * ([[[1]], [[-1]]] * 4), bias=True, strides=[2, 2]),
        helper.make_node("Relu", ["b"], ["r2"], "relu_2"),
        helper.make_node("MaxPool", ["r1"], ["half"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Concat", ["half", "r2"], ["both"], "concat", axis=1),
        norm("both", "behind_concat", 16),
        helper.make_node("Clip", ["behind_concat", const("zero", 0), const("six", CAP)], ["r3"], "relu_3"),
        norm("r3", "before_conv", 16),
        conv("before_conv", "d", rng.normal(0, 0.3, (8, 16, 3, 3)), bias=True, pads=[1, 0, 1, 2], dilations=[1, 1]),
        helper.make_node("GlobalAveragePool", ["d"], ["pooled"], "mean"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        norm("flat", "before_product", 8),
        helper.make_node(
            "Gemm",
            ["before_product", const("g.w", rng.normal(0, 0.3, (8, 5))), const("g.b", rng.normal(0, 1, 5))],
            ["product"],
            "gemm",
        ),
        norm("product", "y", 5),
    ]
    shapes = {"x": [1, 3, 12, 12], "y": [1, 5]}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "care", ends[:1], ends[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), out)


def try_care(target: str, recipes: tuple[Recipe, ...], folder: Path) -> Tried:
    """Convert the net, calibrate it and build every recipe with care; those named ``blind…`` without data."""
    folder.mkdir(parents=True, exist_ok=True)
    model, data = folder / "net.onnx", folder / "data.npz"
    make_net(model)
    rng = np.random.default_rng(12)
    np.savez(data, x=rng.normal(0, 1, (SAMPLES, 3, 12, 12)).astype(np.float32))
    source, module = discovery.load("toolkit.sources", "onnx"), discovery.load("toolkit.targets", target)
    wanted = source.read(model, {})
    source.export(model, "onnx", {}, folder / "form.onnx")
    converted = folder / f"float{module.SUFFIX}"
    made = module.convert("onnx", folder / "form.onnx", wanted, converted)
    samples = [{"x": one[None]} for one in np.load(data)["x"]]
    seen = MinMax()
    module.calibrate(converted, (signature.bind(one, made) for one in samples), seen.see)
    ranges = {name: [held.low, held.high] for name, held in seen.ranges().items()}
    (folder / "ranges.json").write_text(json.dumps(ranges), encoding="utf-8")
    reference = source.open_session(model, {})
    answers = np.concatenate([reference.run(one)["y"] for one in samples])

    def sqnr(path: Path) -> float:
        session = module.open_session(path, 1)
        own = care_job.bound(session.signature, made)
        got = [signature.unbind(session.run(signature.bind(one, own)), own)["y"] for one in samples]
        noise = float(np.sum((np.concatenate(got) - answers) ** 2))
        return float(10 * np.log10(float(np.sum(answers**2)) / max(noise, 1e-30)))

    builds = {}
    for recipe in recipes:
        job = care_job.CareJob(
            target=target,
            model=converted,
            artefact=made,
            source=wanted,
            recipe=recipe,
            ranges=folder / "ranges.json" if recipe.needs_data else None,
            data=None if recipe.name.startswith("blind") else npz.refer(str(data), wanted, Preprocess(), None),
            out=folder / f"{recipe.name}{module.SUFFIX}",
            trained=recipe.name.startswith("trained"),
        )
        try:
            built = care.quantize(job)
        except PalmtopError as error:
            builds[recipe.name] = Cared(error=str(error))
            continue
        builds[recipe.name] = Cared(
            care=built.care,
            sqnr_db=sqnr(job.out),
            kept_float=built.kept_float,
            census=built.census,
            reweighed=reweigh(module, job.out, folder / f"{recipe.name}-reweighed{module.SUFFIX}"),
        )
    layers = {layer.name: layer for layer in module.linear_layers(converted)}
    links = module.links(converted)
    capped = {link.tensor: link for link in links if link.cap == CAP}
    largest = _largest(module, converted, [signature.bind(one, made) for one in samples], set(capped))
    changed = equalise(layers, links, largest)
    equalised = folder / f"equalised{module.SUFFIX}"
    module.rewrite(converted, changed.values(), equalised)
    operators = tuple(layer.operator for layer in module.inspect(converted).layers)
    return Tried(
        float_db=sqnr(converted),
        equalised_db=sqnr(equalised),
        linked=tuple(changed),
        saturated={link.first: float(np.mean(largest[name] >= CAP)) for name, link in capped.items()},
        unseen_bias_links=_links_of_a_computed_bias(converted, links[0]) if target == "tflite" else 0,
        operators=operators,
        builds=builds,
    )


def _largest(module: Any, model: Path, feeds: list[Any], tensors: set[str]) -> dict[str, Any]:
    axis = getattr(module, "CHANNEL_AXIS", 1)
    found: dict[str, Any] = {}

    def observe(tensor: str, values: Any) -> None:
        if tensor in tensors:
            seen = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1).max(axis=1)
            found[tensor] = np.maximum(found.get(tensor, seen), seen)

    module.tap(model, feeds, observe)
    return found


def _links_of_a_computed_bias(model: Path, link: Link) -> int:
    """Make the bias of a link's first layer an input of the model; return how many links that layer begins then."""
    from ai_edge_litert.tools import flatbuffer_utils

    from toolkit.targets.tflite import linear

    parsed = flatbuffer_utils.read_model(str(model))
    graph = parsed.subgraphs[0]
    layer = next(op for op in graph.operators if graph.tensors[op.outputs[0]].name.decode() == link.first)
    bias = int(layer.inputs[2])
    graph.tensors[bias].buffer = 0
    graph.inputs = [*map(int, graph.inputs), bias]
    changed = model.with_name("computed_bias.tflite")
    flatbuffer_utils.write_model(parsed, str(changed))
    assert any(one.name == link.first and one.bias is None for one in linear.layers_of(changed))
    return sum(one.first == link.first for one in linear.links(changed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """The links of a small graph, and by how much its output moved when it was equalised along them."""

    links: int
    error: float


def link_small_graphs() -> dict[str, Linked]:
    """Equalise small ONNX graphs of two layers, whose channels have very different sizes, as they are written."""
    return {name: _linked(shape, nodes, sizes) for name, (shape, nodes, sizes) in SMALL_GRAPHS.items()}


SMALL_GRAPHS: dict[str, tuple[list[int], list[tuple[Any, ...]], dict[str, tuple[int, ...]]]] = {
    "gemm vector": ([2, 3], [("Gemm", "w", "b"), ("Relu",), ("Gemm", "v")], {"w": (3, 4), "b": (4,), "v": (4, 2)}),
    "gemm row": ([2, 3], [("Gemm", "w", "b"), ("Relu",), ("Gemm", "v")], {"w": (3, 4), "b": (1, 4), "v": (4, 2)}),
    "gemm one": ([2, 3], [("Gemm", "w", "b"), ("Relu",), ("Gemm", "v")], {"w": (3, 4), "b": (1,), "v": (4, 2)}),
    "matmul": ([1, 5, 3], [("MatMul", "w"), ("Relu",), ("MatMul", "v")], {"w": (3, 4), "v": (4, 2)}),
    "matmul clip": (
        [1, 4, 3],
        [("MatMul", "w"), ("Clip", "low", "high"), ("MatMul", "v")],
        {"w": (3, 4), "v": (4, 2), "low": (), "high": ()},
    ),
    "matmul pool": (
        [1, 1, 4, 3],
        [("MatMul", "w"), ("MaxPool", {"kernel_shape": [1, 3], "pads": [0, 1, 0, 1]}), ("MatMul", "v")],
        {"w": (3, 4), "v": (4, 2)},
    ),
    "conv": (
        [1, 2, 4, 4],
        [("Conv", "w", "b"), ("Relu",), ("MaxPool", {"kernel_shape": [2, 2]}), ("Conv", "v")],
        {"w": (4, 2, 1, 1), "b": (4,), "v": (3, 4, 1, 1)},
    ),
    "conv matmul": (
        [1, 2, 4, 4],
        [("Conv", "w"), ("Relu",), ("MatMul", "v")],
        {"w": (4, 2, 1, 1), "v": (4, 2)},
    ),
    "conv mean gemm": (
        [2, 2, 4, 4],
        [("Conv", "w"), ("Relu",), ("GlobalAveragePool",), ("Flatten",), ("Gemm", "v")],
        {"w": (4, 2, 1, 1), "v": (4, 2)},
    ),
    "conv mean matmul": (
        [1, 4, 4, 4],
        [("Conv", "w"), ("GlobalAveragePool",), ("MatMul", "v")],
        {"w": (1, 4, 1, 1), "v": (1, 2)},
    ),
}
"""By name: the input's shape, nodes as type, constants and attributes, and the shapes of the constants."""


def _linked(shape: list[int], nodes: list[tuple[Any, ...]], sizes: dict[str, tuple[int, ...]]) -> Linked:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    from toolkit.targets.onnx import linear

    rng = np.random.default_rng(5)
    values = {name: rng.normal(size=size) * np.exp(rng.normal(0, 1, size)) for name, size in sizes.items()}
    values |= {name: bound for name, bound in (("low", 0.0), ("high", 0.5)) if name in sizes}
    constants = [numpy_helper.from_array(np.asarray(held, np.float32), name) for name, held in values.items()]
    made, name = [], "x"
    for place, (kind, *more) in enumerate(nodes):
        inputs = [name, *(part for part in more if isinstance(part, str))]
        attributes = next((part for part in more if isinstance(part, dict)), {})
        name = "y" if place == len(nodes) - 1 else f"t{place}"
        made.append(helper.make_node(kind, inputs, [name], f"{kind}_{place}", **attributes))
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(made, "small", ends, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feeds = {"x": rng.normal(size=shape).astype(np.float32)}

    def run(one: Any) -> Any:
        return onnxruntime.InferenceSession(one.SerializeToString()).run(None, feeds)[0]

    links, before = linear.links(model), run(model)
    linear.rewrite(model, equalise({layer.name: layer for layer in linear.layers_of(model)}, links, {}).values())
    return Linked(links=len(links), error=float(np.abs(run(model) - before).max() / np.abs(before).max()))
