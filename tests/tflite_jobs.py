"""What the tests of the TFLite target do in child processes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from toolkit.core import discovery
from toolkit.core.artifacts import KeptFloat, Range, Signature
from toolkit.core.errors import ModelError
from toolkit.core.probe import probe_feeds
from toolkit.core.recipe import Recipe, load_recipe
from toolkit.core.signature import bind, unbind
from toolkit.targets import tflite

RECIPES = ("float32", "static-int8", "weight-int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One build and its distance from the source."""

    path: Path
    signature: Signature
    session_signature: Signature
    kept_float: tuple[KeptFloat, ...]
    sqnr_db: float
    size_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """All builds of one model."""

    source: Signature
    float_path: Path
    float_signature: Signature
    convert_seconds: float
    ranges: dict[str, Range]
    builds: dict[str, Build]


def whole_job(source: str, model: Path, data: Path, folder: Path) -> Whole:
    """Export, convert, calibrate on the data and build every recipe; score each on the same data."""
    module = discovery.load("toolkit.sources", source)
    form = module.FORMS[0]
    signature = module.read(model, {})
    module.export(model, form, {}, folder / form)
    started = time.monotonic()
    float_path = folder / "float.tflite"
    made = tflite.convert(form, folder / form, signature, float_path)
    seconds = time.monotonic() - started
    samples = _samples(data, signature)
    reference = module.open_session(model, {})
    wanted = [reference.run(sample) for sample in samples]
    ranges = ranges_of(float_path, [bind(sample, made) for sample in samples])
    builds = {name: _build(name, float_path, ranges, samples, wanted) for name in RECIPES}
    return Whole(
        source=signature,
        float_path=float_path,
        float_signature=made,
        convert_seconds=seconds,
        ranges=ranges,
        builds=builds,
    )


def ranges_of(model: Path, samples) -> dict[str, Range]:
    """Return true minima and maxima, and check that every sample shows the same tensors."""
    low, high, seen = {}, {}, []

    def observe(name, values):
        assert values.dtype == np.float32
        seen.append(name)
        low[name] = min(low.get(name, np.inf), float(values.min()))
        high[name] = max(high.get(name, -np.inf), float(values.max()))

    tflite.calibrate(model, iter(samples), observe)
    assert len(seen) == len(low) * len(samples)
    return {name: Range(low=low[name], high=high[name]) for name in low}


def _samples(data: Path, signature: Signature):
    arrays = np.load(data)
    count = len(arrays[signature.inputs[0].name])
    return [{spec.name: arrays[spec.name][i : i + 1] for spec in signature.inputs} for i in range(count)]


def _build(name, float_path, ranges, samples, wanted) -> Build:
    recipe = load_recipe(name)
    path = float_path.with_name(f"{name}.tflite")
    started = time.monotonic()
    made = tflite.quantize(float_path, recipe, ranges if recipe.needs_data else {}, path)
    seconds = time.monotonic() - started
    session = tflite.open_session(path, 1)
    got = [unbind(session.run(bind(sample, session.signature)), session.signature) for sample in samples]
    output = next(iter(wanted[0]))
    signal, other = (np.concatenate([answer[output] for answer in answers]) for answers in (wanted, got))
    noise = float(np.sum((signal - other) ** 2))
    return Build(
        path=path,
        signature=made.signature,
        session_signature=session.signature,
        kept_float=made.kept_float,
        sqnr_db=float(10 * np.log10(float(np.sum(signal**2)) / max(noise, 1e-30))),
        size_bytes=path.stat().st_size,
        seconds=seconds,
    )


def quantize_job(model: Path, recipe: Recipe, ranges: dict[str, Range], out: Path) -> tuple[KeptFloat, ...]:
    """Quantize."""
    return tflite.quantize(model, recipe, ranges, out).kept_float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A small model's float build and its signature, or the error text in their stead."""

    path: Path
    signature: Signature | None
    error: str


def convert_cases(folder: Path) -> dict[str, Case]:
    """Write the small ONNX models and convert each; the last is converted under a false signature."""
    make_onnx_cases(folder)
    cases = {}
    for path in sorted(folder.glob("*.onnx")):
        cases[path.stem] = _case(path, path.with_suffix(".tflite"), None)
    two = cases["two"].signature
    assert two is not None
    false = replace(two, outputs=(replace(two.outputs[0], shape=(1, 3, 4, 6)), two.outputs[1]))
    cases["false"] = _case(folder / "two.onnx", folder / "false.tflite", false)
    return cases


def _case(path: Path, out: Path, claimed: Signature | None) -> Case:
    module = discovery.load("toolkit.sources", "onnx")
    form = out.with_suffix(".form")
    try:
        module.export(path, "onnx", {}, form)
        signature = tflite.convert("onnx", form, claimed or module.read(path, {}), out)
    except ModelError as error:
        return Case(path=out, signature=None, error=str(error) if error.hint else "NO HINT")
    return Case(path=out, signature=signature, error="")


def run_job(model: Path, wide: bool) -> dict[str, str]:
    """Run a model on made-up values, its whole numbers as 64-bit ones if ``wide``; return dtypes and shapes."""
    session = tflite.open_session(model, 0)
    feeds = probe_feeds(session.signature)
    if wide:
        feeds = {name: value.astype(np.int64) if value.dtype == np.int32 else value for name, value in feeds.items()}
    answers = session.run(feeds)
    session.close()
    session.close()
    return {name: f"{value.dtype} {list(value.shape)}" for name, value in answers.items()}


def make_onnx_cases(folder: Path) -> None:
    """Write small ONNX models that stress one thing each."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)

    def save(name, nodes, inputs, outputs, **weights):
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info(key, dtype, shape) for key, dtype, shape in inputs],
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs],
            [numpy_helper.from_array(array, key) for key, array in weights.items()],
        )
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / f"{name}.onnx"
        )

    node, real, box = helper.make_node, TensorProto.FLOAT, [1, 3, 4, 5]
    kernel = rng.normal(0, 0.4, (4, 3, 3, 3)).astype(np.float32)
    slope = rng.uniform(0.1, 0.3, (4, 1, 1)).astype(np.float32)
    save("two", [node("Sub", ["a", "b"], ["later"]), node("Mul", ["a", "b"], ["early"])],
         [("b", real, box), ("a", real, box)], [("later", box), ("early", box)])  # fmt: skip
    save("map", [node("Conv", ["input.1", "w"], ["c"], pads=[1, 1, 1, 1]), node("PRelu", ["c", "s"], ["out/0"])],
         [("input.1", real, [1, 3, 8, 8])], [("out/0", [1, 4, 8, 8])], w=kernel, s=slope)  # fmt: skip
    save("det", [node("Det", ["a"], ["d"], "volume")], [("a", real, [1, 4, 4])], [("d", [1])])
    save("tokens", [node("Gather", ["t", "ids"], ["e"]), node("MatMul", ["e", "w"], ["y"])],
         [("ids", TensorProto.INT64, [1, 6])], [("y", [1, 6, 3])],
         t=rng.normal(0, 1, (9, 4)).astype(np.float32), w=rng.normal(0, 1, (4, 3)).astype(np.float32))  # fmt: skip
    save("erf", [node("Erf", ["a"], ["e"]), node("Add", ["e", "one"], ["f"]), node("Mul", ["a", "f"], ["y"])],
         [("a", real, [1, 4, 8])], [("y", [1, 4, 8])], one=np.ones((), np.float32))  # fmt: skip
    save("gelu", [node("Div", ["a", "root"], ["d"]), node("Erf", ["d"], ["e"]), node("Add", ["one", "e"], ["f"]),
                  node("Mul", ["a", "half"], ["h"]), node("Mul", ["f", "h"], ["y"])],
         [("a", real, [1, 4, 8])], [("y", [1, 4, 8])], one=np.ones((), np.float32),
         root=np.float32([2**0.5]), half=np.float32(0.5).reshape(()))  # fmt: skip
    save("exp", [node("Exp", ["a"], ["y"])], [("a", real, [1, 4])], [("y", [1, 4])])
