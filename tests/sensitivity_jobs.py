"""A net with an uneven depthwise stem, and what child processes do to it: simulate, build, look at what runs."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from seen_ranges import MinMax

from toolkit.core import discovery, signature
from toolkit.core.artifacts import Preprocess, Signature
from toolkit.core.events import silent
from toolkit.core.recipe import Recipe, load_recipe
from toolkit.search.sensitivity_builds import BuildsJob, OneLayer, confirm
from toolkit.search.simulation import SimulationJob, simulate
from toolkit.stages import data as datasets
from toolkit.stages import work


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One layer: its own and the output's SQNR as simulated, and the output's in a real build."""

    layer: str
    own_db: float
    simulated_db: float
    real_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """All layers of a model in the order of execution, and those left out."""

    pairs: tuple[Pair, ...]
    left_out: tuple[tuple[str, str], ...]


def make_uneven_net(out: Path) -> None:
    """Write an inverted residual net at opset 17 whose depthwise stem has channels of very different size."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(3)
    scales = np.geomspace(0.02, 40, 16).reshape(-1, 1, 1, 1)
    weights = {
        "stem_w": rng.normal(0, 0.4, (16, 3, 3, 3)) / np.sqrt(scales),
        "depth_w": rng.normal(0, 0.4, (16, 1, 3, 3)) * scales,
        "down_w": rng.normal(0, 0.3, (8, 16, 1, 1)),
        "up_w": rng.normal(0, 0.3, (24, 8, 1, 1)),
        "wide_w": rng.normal(0, 0.3, (24, 1, 3, 3)),
        "back_w": rng.normal(0, 0.2, (8, 24, 1, 1)),
        "head_w": rng.normal(0, 0.3, (8, 6)),
        "low": np.array(0.0),
        "high": np.array(6.0),
    }
    limits = ["low", "high"]
    nodes = [
        helper.make_node("Conv", ["x", "stem_w"], ["stem_c"], "stem", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Clip", ["stem_c", *limits], ["stem_r"], "stem_clip"),
        helper.make_node("Conv", ["stem_r", "depth_w"], ["depth_c"], "depthwise", pads=[1, 1, 1, 1], group=16),
        helper.make_node("Clip", ["depth_c", *limits], ["depth_r"], "depthwise_clip"),
        helper.make_node("Conv", ["depth_r", "down_w"], ["down"], "project"),
        helper.make_node("Conv", ["down", "up_w"], ["up_c"], "expand"),
        helper.make_node("Clip", ["up_c", *limits], ["up_r"], "expand_clip"),
        helper.make_node("Conv", ["up_r", "wide_w"], ["wide_c"], "", pads=[1, 1, 1, 1], group=24),
        helper.make_node("Clip", ["wide_c", *limits], ["wide_r"], "wide_clip"),
        helper.make_node("Conv", ["wide_r", "back_w"], ["back"], "back"),
        helper.make_node("Add", ["back", "down"], ["sum"], "residual"),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("MatMul", ["flat", "head_w"], ["scores"], "head"),
        helper.make_node("ArgMax", ["scores"], ["best"], "pick", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "uneven",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 6]),
            helper.make_tensor_value_info("best", TensorProto.INT64, [1, 1]),
        ],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), out)


def compare(model: Path, data: Path, recipe: Recipe, folder: Path) -> Compared:
    """Simulate every layer and build every layer alone, over the same samples and ranges."""
    job = _job(model, data, recipe, folder)
    found = simulate(job, silent)
    outputs = {cost.layer: found.members[cost.layer] for cost in found.costs}
    builds = BuildsJob(
        target="onnx",
        model=job.model,
        artefact=job.artefact,
        source=job.source,
        recipe=recipe,
        ranges=job.ranges,
        data=job.data,
        layers=tuple(OneLayer(outputs=members) for members in outputs.values()),
        scratch=folder / "one",
    )
    real = {one.layer: one.output_sqnr_db for one in confirm(builds, silent)}
    pairs = tuple(
        Pair(
            layer=cost.layer,
            own_db=cost.own_sqnr_db,
            simulated_db=cost.output_sqnr_db,
            real_db=real.get(outputs[cost.layer][0]),
        )
        for cost in sorted(found.costs, key=lambda cost: cost.position)
    )
    return Compared(pairs=pairs, left_out=found.left_out)


def _job(model: Path, data: Path, recipe: Recipe, folder: Path) -> SimulationJob:
    source, target = discovery.load("toolkit.sources", "onnx"), discovery.load("toolkit.targets", "onnx")
    wanted: Signature = source.read(model, {})
    source.export(model, "onnx", {}, folder / "form.onnx")
    bound = target.convert("onnx", folder / "form.onnx", wanted, folder / "float.onnx")
    ref = datasets.refer(str(data), wanted, Preprocess(), 12)
    seen = MinMax()
    feeds = (signature.bind(batch.feeds, bound) for batch in work.batches_of(ref, wanted))
    target.calibrate(folder / "float.onnx", feeds, seen.see)
    ranges = {name: [held.low, held.high] for name, held in seen.ranges().items()}
    (folder / "ranges.json").write_text(json.dumps(ranges))
    return SimulationJob(
        model=folder / "float.onnx",
        artefact=bound,
        source=wanted,
        recipe=recipe,
        ranges=folder / "ranges.json" if recipe.needs_data else None,
        data=ref,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A depthwise stem kept in float, in a build of all else in 8 bits: the output's SQNR, and the weights that run.

    ``shipped_db`` is with default optimisations, ``plain_db`` without any; ``bare_db`` with default optimisations where
    the stem's weights were left as they were.
    """

    all_int8_db: float
    shipped_db: float
    plain_db: float
    bare_db: float
    reasons: dict[str, str]
    eight_bit_stems: int


def keep_stem(model: Path, data: Path, folder: Path) -> Kept:
    """Build a net with its depthwise layer kept in float, once as palmtop does and once without its protection."""
    from toolkit.targets.onnx import exceptions, graph, quantize, runtime

    job = _job(model, data, load_recipe("static-int8"), folder)
    whole, kept, bare = (folder / f"{name}.onnx" for name in ("whole", "kept", "bare"))
    keeping = replace(job.recipe, keep_float=("depthwise", "depthwise_clip"))
    known = _ranges(job)
    quantize(job.model, job.recipe, known, whole)
    made = quantize(job.model, keeping, known, kept)
    protect = exceptions.protect_float
    exceptions.protect_float = lambda _: ()
    try:
        quantize(job.model, keeping, known, bare)
    finally:
        exceptions.protect_float = protect
    runtime.dump(kept, folder / "optimised.onnx")
    optimised = graph.read_unchecked(folder / "optimised.onnx")
    return Kept(
        all_int8_db=_sqnr_db(job, whole, optimise=True),
        shipped_db=_sqnr_db(job, kept, optimise=True),
        plain_db=_sqnr_db(job, kept, optimise=False),
        bare_db=_sqnr_db(job, bare, optimise=True),
        reasons={item.layer: item.reason for item in made.kept_float},
        eight_bit_stems=sum(
            list(init.dims) == [16, 1, 3, 3] and init.data_type in (2, 3) for init in optimised.graph.initializer
        ),
    )


def write_scored(model: Path, count: int, out: Path) -> None:
    """Write samples labelled with the float model's scores, every twentieth with wrong ones."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    made = np.random.default_rng(10).normal(0, 1, (count, 3, 16, 16)).astype(np.float32)
    labels = np.concatenate([session.run(["scores"], {"x": one[None]})[0] for one in made])
    labels[::20] *= 2
    np.savez(out, x=made, labels=labels)


def close_enough(outputs: dict[str, np.ndarray], label: np.ndarray) -> float:
    """Return 1 where the scores are off by less than 0.95 %: a metric that 8 bits do not pass."""
    return float(np.linalg.norm(outputs["scores"] - label) < 0.0095 * np.linalg.norm(label))


def _ranges(job: SimulationJob):
    from toolkit.core.artifacts import Range

    assert job.ranges is not None
    return {name: Range(low=low, high=high) for name, (low, high) in json.loads(job.ranges.read_text()).items()}


def _sqnr_db(job: SimulationJob, build: Path, *, optimise: bool) -> float:
    from toolkit.targets.onnx import runtime

    base, made = (runtime.load(path, 1, optimise=optimise) for path in (job.model, build))
    signal = noise = 0.0
    for batch in work.batches_of(job.data, job.source):
        expected, found = (session.run(["scores"], dict(batch.feeds))[0] for session in (base, made))
        signal += float(np.sum(expected**2))
        noise += float(np.sum((expected - found) ** 2))
    return float(10 * np.log10(signal / noise))


def make_weightless_net(out: Path) -> None:
    """Write a net that only pools and adds."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"], "pool"),
        helper.make_node("Add", ["p", "p"], ["y"], "twice"),
    ]
    graph = helper.make_graph(
        nodes,
        "pooled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 1, 1])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), out)
