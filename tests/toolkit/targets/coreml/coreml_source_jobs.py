"""Models by their sources, for the tests of the Core ML target: converted, executed and compared in child processes."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import signature as binding
from toolkit.core.artifacts import KeptFloat, LayerFact, Requirements, Signature, TensorSpec
from toolkit.core.errors import ModelError
from toolkit.core.recipe import load_recipe
from toolkit.sources import onnx as onnx_source
from toolkit.targets import coreml


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a model: distances from its source in dB, by the source's output names."""

    signature: Signature
    sqnr_db: dict[str, float]
    int8_sqnr_db: dict[str, float]
    kept_float: tuple[KeptFloat, ...] = ()
    layers: tuple[LayerFact, ...] = ()
    float_bytes: int = 0
    int8_bytes: int = 0
    requirements: Requirements | None = None


def sqnr_db(wanted: np.ndarray, found: np.ndarray) -> float:
    wanted, found = wanted.astype(np.float64), found.astype(np.float64)
    noise = ((wanted - found) ** 2).sum()
    return float("inf") if noise == 0 else float(10 * np.log10((wanted**2).sum() / noise))


def run_by_source_names(package: Path, samples: list[dict[str, np.ndarray]], bound: Signature) -> dict[str, np.ndarray]:
    session = coreml.open_session(package, 1)
    results = [binding.unbind(session.run(binding.bind(sample, bound)), bound) for sample in samples]
    session.close()
    return {name: np.concatenate([np.atleast_1d(result[name]) for result in results]) for name in results[0]}


def compare(form: str, model: Path, source: Signature, samples: Any, wanted: Any, folder: Path) -> Outcome:
    """Convert, quantize, and hold both against the source's outputs."""
    plain, small = folder / "float.mlpackage", folder / "int8.mlpackage"
    bound = coreml.convert(form, model, source, plain)
    made = coreml.quantize(plain, load_recipe("weight-int8"), {}, small)
    assert made.signature == bound, (made.signature, bound)
    found = [run_by_source_names(path, samples, bound) for path in (plain, small)]
    inspections = [coreml.inspect(path) for path in (plain, small)]
    return Outcome(
        signature=bound,
        sqnr_db={name: sqnr_db(wanted[name], found[0][name]) for name in wanted},
        int8_sqnr_db={name: sqnr_db(wanted[name], found[1][name]) for name in wanted},
        kept_float=made.kept_float,
        layers=inspections[1].layers,
        float_bytes=inspections[0].size_bytes,
        int8_bytes=inspections[1].size_bytes,
        requirements=coreml.requirements(small),
    )


def keras_cnn(model: Path, folder: Path) -> Outcome:
    """The suite's trained net, by way of a SavedModel."""
    import keras
    import models
    import tensorflow as tf

    net = keras.models.load_model(model)
    spec = tf.TensorSpec((1, 12, 12, 1), tf.float32, name="image")
    images, _ = models.strokes(12, seed=7)
    return _saved_model(net, {"kind": net}, [spec], [{"image": image[None]} for image in images], folder)


def keras_two_heads(folder: Path) -> Outcome:
    """Two inputs, one of int64 identifiers, and two outputs whose names sort against their order."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(5)
    layers = keras.layers
    tokens, picture = keras.Input((7,), dtype="int64", name="tokens"), keras.Input((10, 10, 3), name="picture")
    words = layers.Embedding(40, 24)(tokens)
    words = layers.LayerNormalization()(layers.Dense(24, activation="gelu")(words))
    words = layers.MultiHeadAttention(2, 12)(words, words)
    image = layers.Conv2D(12, 4, strides=3, padding="same", activation="silu")(picture)
    image = layers.MaxPooling2D(3, strides=2, padding="same")(layers.UpSampling2D(2, interpolation="bilinear")(image))
    image = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="elu")(image)
    image = layers.AveragePooling2D(2, padding="same")(image)
    joined = layers.Concatenate()([layers.GlobalAveragePooling1D()(words), layers.Flatten()(image)])
    heads = [layers.Dense(5, name="zebra")(joined), layers.Dense(3, activation="softmax", name="ant")(joined)]
    net = keras.Model([tokens, picture], heads)
    specs = [tf.TensorSpec((1, 7), tf.int64, name="tokens"), tf.TensorSpec((1, 10, 10, 3), tf.float32, name="picture")]
    rng = np.random.default_rng(3)
    samples = [
        {"tokens": rng.integers(0, 40, (1, 7)), "picture": rng.normal(size=(1, 10, 10, 3)).astype(np.float32)}
        for _ in range(6)
    ]
    return _saved_model(net, {"zebra": net, "ant": net}, specs, samples, folder)


def _saved_model(net: Any, heads: dict[str, Any], specs: list[Any], samples: Any, folder: Path) -> Outcome:
    import tensorflow as tf

    def call(**arrays: Any) -> dict[str, Any]:
        made = net([arrays[spec.name] for spec in specs] if len(specs) > 1 else arrays[specs[0].name])
        return dict(zip(heads, made if isinstance(made, list | tuple) else [made], strict=True))

    module = tf.Module()
    module.net, module.call = net, tf.function(call)
    serve = module.call.get_concrete_function(**{spec.name: spec for spec in specs})
    tf.saved_model.save(module, str(folder / "saved"), signatures={"serving_default": serve})
    wanted = [{name: part.numpy() for name, part in call(**sample).items()} for sample in samples]
    stacked = {name: np.concatenate([item[name] for item in wanted]) for name in heads}
    source = Signature(
        inputs=tuple(TensorSpec(name=s.name, dtype=s.dtype.name, shape=tuple(s.shape)) for s in specs),
        outputs=tuple(TensorSpec(name=n, dtype="float32", shape=stacked[n][:1].shape) for n in heads),
    )
    return compare("saved_model", folder / "saved", source, samples, stacked, folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxOutcomes:
    net: Outcome
    odd_names: Outcome
    refusals: dict[str, str]


def onnx_models(model: Path, folder: Path) -> OnnxOutcomes:
    """All that starts from ONNX, in one child."""
    places = {name: folder / name for name in ("net", "names", "changed", "unsupported")}
    for place in places.values():
        place.mkdir()
    return OnnxOutcomes(
        net=onnx_net(model, places["net"]),
        odd_names=onnx_text_with_odd_names(places["names"]),
        refusals={
            "changed": refusal(onnx_net_with_a_changed_weight, model, places["changed"]),
            "unsupported": refusal(onnx_unsupported, places["unsupported"]),
        },
    )


def refusal(job: Any, *given: Any) -> str:
    """Return the words with which something is refused."""
    try:
        job(*given)
    except ModelError as error:
        return error.message
    return "not refused"


def onnx_net(model: Path, folder: Path) -> Outcome:
    """The suite's ONNX net at a fixed batch and opset 17."""
    import onnx
    from onnx import version_converter

    net = onnx.load(model)
    for value in (*net.graph.input, *net.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(version_converter.convert_version(net, 17), folder / "net.onnx")
    return _onnx(folder / "net.onnx", folder)


def onnx_net_with_a_changed_weight(model: Path, folder: Path) -> None:
    """Convert, spoil the weights as a faulty converter would, and check the program as the conversion does."""
    source, form, out = onnx_source.read(model, {}), folder / "net.onnx", folder / "net.mlpackage"
    onnx_source.export(model, "onnx", {}, form)
    made = coreml.convert("onnx", form, source, out)
    conversion = importlib.import_module("toolkit.targets.coreml.convert")  # the package names its function alike
    reference = conversion.onnx_runner(form)
    conversion.check_same(out, made, source, reference)
    weights = next(out.rglob("weight.bin"))
    content = np.fromfile(weights, np.float32)
    content[-8:] *= 1.5
    content.tofile(weights)
    conversion.check_same(out, made, source, reference)


def onnx_text_with_odd_names(folder: Path) -> Outcome:
    """Attention over int64 identifiers, with tensor names that are no Core ML identifiers."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(8)
    make = helper.make_node
    nodes = [
        make("Gather", ["table", "input.ids:0"], ["e"], "embed"),
        make("LayerNormalization", ["e", "gain", "shift"], ["n"], "norm", axis=-1),
        make("MatMul", ["n", "query"], ["q"], "query"),
        make("MatMul", ["n", "key"], ["k"], "key"),
        make("Transpose", ["k"], ["kt"], "turn", perm=[0, 2, 1]),
        make("MatMul", ["q", "kt"], ["s"], "scores"),
        make("Softmax", ["s"], ["p"], "attend", axis=-1),
        make("MatMul", ["p", "n"], ["input_ids_0"], "mix"),
        make("ReduceMean", ["input_ids_0", "one"], ["1/pooled"], "pool", keepdims=0),
    ]
    sizes = {"table": (40, 24), "gain": (24,), "shift": (24,), "query": (24, 24), "key": (24, 24)}
    weights = [numpy_helper.from_array(rng.normal(0, 0.4, s).astype(np.float32), n) for n, s in sizes.items()]
    graph = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("input.ids:0", TensorProto.INT64, [1, 9])],
        [
            helper.make_tensor_value_info("1/pooled", TensorProto.FLOAT, [1, 24]),
            helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, 9, 9]),
        ],
        [*weights, numpy_helper.from_array(np.array([1]), "one")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "t.onnx")
    return _onnx(folder / "t.onnx", folder)


def _onnx(model: Path, folder: Path) -> Outcome:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    words = {"tensor(float)": "float32", "tensor(int64)": "int64"}

    def specs(values: Any) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(name=v.name, dtype=words[v.type], shape=tuple(v.shape)) for v in values)

    source = Signature(inputs=specs(session.get_inputs()), outputs=specs(session.get_outputs()))
    rng = np.random.default_rng(9)
    samples = [
        {
            s.name: rng.integers(0, 40, s.shape) if s.dtype == "int64" else rng.normal(size=s.shape).astype(np.float32)
            for s in source.inputs
        }
        for _ in range(6)
    ]
    names = [spec.name for spec in source.outputs]
    runs = [session.run(names, sample) for sample in samples]
    wanted = {name: np.concatenate([run[index] for run in runs]) for index, name in enumerate(names)}
    return compare("onnx", model, source, samples, wanted, folder)


def onnx_unsupported(folder: Path) -> None:
    """A model with an operator that cannot be converted."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("RandomNormalLike", ["x"], ["y"], "dice")],
        "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "d.onnx")
    source = Signature(
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 3)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 3)),),
    )
    coreml.convert("onnx", folder / "d.onnx", source, folder / "d.mlpackage")
