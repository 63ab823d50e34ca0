"""What the tests of accuracy care do in child processes: a net that quantization hurts, built with and without care."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from seen_ranges import MinMax

from toolkit.core import discovery, signature
from toolkit.core.artifacts import CareStep, Census, KeptFloat, Preprocess
from toolkit.core.equalization import equalise
from toolkit.core.errors import PalmtopError
from toolkit.core.recipe import Recipe
from toolkit.datasets import npz
from toolkit.stages import care

SAMPLES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Cared:
    """One build, or what was said instead; ``sqnr_db`` is over the samples that it was made with."""

    error: str = ""
    care: tuple[CareStep, ...] = ()
    sqnr_db: float = 0.0
    kept_float: tuple[KeptFloat, ...] = ()
    census: Census | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A net on one target: how close its float artefact is to the source, and every build."""

    float_db: float
    equalised_db: float
    linked: tuple[str, ...]
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
        helper.make_node("Relu", ["behind_concat"], ["r3"], "relu_3"),
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
        own = care.bound(session.signature, made)
        got = [signature.unbind(session.run(signature.bind(one, own)), own)["y"] for one in samples]
        noise = float(np.sum((np.concatenate(got) - answers) ** 2))
        return float(10 * np.log10(float(np.sum(answers**2)) / max(noise, 1e-30)))

    builds = {}
    for recipe in recipes:
        job = care.CareJob(
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
            care=built.care, sqnr_db=sqnr(job.out), kept_float=built.kept_float, census=built.census
        )
    layers = {layer.name: layer for layer in module.linear_layers(converted)}
    links = module.links(converted)
    changed = equalise(layers, links, {})
    equalised = folder / f"equalised{module.SUFFIX}"
    module.rewrite(converted, changed.values(), equalised)
    operators = tuple(layer.operator for layer in module.inspect(converted).layers)
    return Tried(
        float_db=sqnr(converted),
        equalised_db=sqnr(equalised),
        linked=tuple(changed),
        operators=operators,
        builds=builds,
    )
