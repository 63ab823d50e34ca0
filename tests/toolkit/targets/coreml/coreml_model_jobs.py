"""Whole models for the tests of the Core ML target: made, converted, executed and compared in child processes."""

from __future__ import annotations

import importlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import signature as binding
from toolkit.core.artifacts import KeptFloat, LayerFact, Requirements, Signature, TensorSpec
from toolkit.core.errors import DataError, ModelError
from toolkit.core.probe import probe_feeds
from toolkit.core.recipe import load_recipe
from toolkit.sources import onnx as onnx_source
from toolkit.targets import coreml
from toolkit.targets.coreml.foreign import coremltools, own_temporary_folder


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
    feeds = probe_feeds(source)
    wanted = conversion._run_onnx(form, feeds)
    conversion._check_same(out, made, feeds, wanted)
    weights = next(out.rglob("weight.bin"))
    content = np.fromfile(weights, np.float32)
    content[-8:] *= 1.5
    content.tofile(weights)
    conversion._check_same(out, made, feeds, wanted)


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


def _small_program(
    ct: Any, precision: Any, target: Any, halves: bool = False, **more: Any
) -> tuple[Any, np.ndarray, np.ndarray]:
    """A conv net with weights worth compressing: coremltools model, one input, and its output in float64."""
    import coreml_references as ref
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    rng = np.random.default_rng(4)
    word = np.float16 if halves else np.float32
    weight, dense = rng.normal(0, 0.3, (16, 3, 3, 3)).astype(word), rng.normal(0, 0.2, (6, 16)).astype(word)
    spec = mb.TensorSpec(shape=(1, 3, 12, 12), dtype=types.fp16 if halves else types.fp32)

    @mb.program(input_specs=[spec], opset_version=target)
    def program(x: Any) -> Any:
        y = mb.relu(x=mb.conv(x=x, weight=weight, pad_type="same", strides=[2, 2]))
        y = mb.reduce_mean(x=y, axes=[2, 3], keep_dims=False)
        return mb.linear(x=y, weight=dense, name="y")

    made = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=target,
        compute_precision=precision,
        skip_model_load=True,
        **more,
    )
    x = rng.normal(size=(1, 3, 12, 12)).astype(np.float32)
    features = np.maximum(ref.conv(x, weight, pad_type="same", strides=[2, 2]), 0).mean((2, 3))
    return made, x, features @ dense.T.astype(np.float64)


def float16_program(folder: Path) -> dict[str, float]:
    """Float16 inside, and once at its interface too."""
    ct = coremltools(tensorflow=False)
    outputs = {kind: [ct.TensorType(name="y", dtype=np.dtype(kind).type)] for kind in ("float32", "float16")}
    found = {}
    for kind in ("float32", "float16"):
        made, x, wanted = _small_program(
            ct, ct.precision.FLOAT16, ct.target.iOS16, kind == "float16", outputs=outputs[kind]
        )
        made.save(str(folder / f"{kind}.mlpackage"))
        session = coreml.open_session(folder / f"{kind}.mlpackage", 1)
        assert [spec.dtype for spec in (*session.signature.inputs, *session.signature.outputs)] == [kind, kind]
        out = session.run({"x": x.astype(kind)})["y"]
        assert str(out.dtype) == kind
        found[kind] = sqnr_db(wanted, out)
    return found


def compressed_programs(folder: Path, *names: str) -> dict[str, float]:
    """Hold each of coremltools' weight compressions against what coremltools itself expands it to."""
    ct = coremltools(tensorflow=False)
    import coremltools.optimize.coreml as cto

    def affine(joint: bool = False, **more: Any) -> Any:
        config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(weight_threshold=10, **more))
        return lambda model: cto.linear_quantize_weights(model, config, joint_compression=joint)

    def table(joint: bool = False, mode: str = "uniform", **more: Any) -> Any:
        config = cto.OptimizationConfig(global_config=cto.OpPalettizerConfig(mode=mode, weight_threshold=10, **more))
        return lambda model: cto.palettize_weights(model, config, joint_compression=joint)

    def sparse(model: Any) -> Any:
        kind = cto.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=10)
        return cto.prune_weights(model, cto.OptimizationConfig(global_config=kind))

    forms = {
        "int8 symmetric": affine(mode="linear_symmetric"),
        "int8 asymmetric": affine(mode="linear"),
        "uint8 per tensor": affine(mode="linear", dtype="uint8", granularity="per_tensor"),
        "lut 4": table(nbits=4),
        "lut 6": table(nbits=6),
        "lut 8": table(nbits=8),
        "sparse": sparse,
    }
    newer = {
        "int8 iOS 18": affine(mode="linear_symmetric"),
        "int4": affine(mode="linear_symmetric", dtype="int4"),
        "int4 blocks": affine(mode="linear", dtype="int4", granularity="per_block", block_size=8),
        "lut 4 grouped": table(nbits=4, granularity="per_grouped_channel", group_size=8),
        "lut 3": table(nbits=3),
        "lut of pairs": table(mode="kmeans", nbits=2, cluster_dim=2),
        "lut 4 scaled by channel": table(nbits=4, enable_per_channel_scale=True),
        "lut 4 of int8": lambda model: affine(joint=True, granularity="per_tensor")(table(nbits=4)(model)),
        "sparse int8": lambda model: affine(joint=True)(sparse(model)),
        "sparse lut 4": lambda model: table(joint=True, nbits=4)(sparse(model)),
    }
    found = {}
    for target, group in ((ct.target.iOS16, forms), (ct.target.iOS18, newer)):
        for name in [name for name in group if not names or name in names]:
            made, x, _ = _small_program(ct, ct.precision.FLOAT32, target)
            small = group[name](made)
            large = cto.decompress_weights(small)
            arrays = []
            for kind, model in (("small", small), ("large", large)):
                path = folder / f"{name} {kind}.mlpackage"
                model.save(str(path))
                arrays.append(coreml.open_session(path, 1).run({"x": x})["y"])
            layers = coreml.inspect(folder / f"{name} small.mlpackage").layers
            assert name == "sparse" or not {layer.weight_dtype for layer in layers} <= {"", "float32"}, name
            found[name] = sqnr_db(arrays[1], arrays[0])
    return found


OFTEN = ("int8 asymmetric", "lut 4", "sparse", "int4 blocks", "lut of pairs", "sparse int8")
"""Compressions that the default run looks at, of the 17."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOutcomes:
    float16: dict[str, float]
    compressed: dict[str, float]
    functions: dict[str, float]
    refusals: dict[str, str]
    inspected_state: tuple[str, ...]
    shared_bytes: tuple[int, int]


def programs(folder: Path) -> ProgramOutcomes:
    """All that starts from a program of coremltools' own, in one child."""
    refused = (unsupported_program, stateful_program, neural_network, tiny_weights, contradiction, absurd_shape)
    messages = {job.__name__: refusal(job, folder) for job in refused}
    return ProgramOutcomes(
        float16=float16_program(folder),
        compressed=compressed_programs(folder, *OFTEN),
        functions=several_functions(folder),
        refusals=messages,
        inspected_state=coreml.requirements(folder / "s.mlpackage").operators,
        shared_bytes=shared_weights(folder),
    )


def several_functions(folder: Path) -> dict[str, float]:
    """Two functions in one package: the default one is executed, whatever its name."""
    ct = coremltools(tensorflow=False)
    from coremltools.models.utils import MultiFunctionDescriptor, save_multifunction

    found = {}
    for name, factor in (("small", 2.0), ("large", 5.0)):
        program = _scaling(ct, factor)
        _save(ct, program, folder / f"{name}.mlpackage", inputs=[ct.TensorType(name="x", shape=(1, 4))])
    for default, factor in (("small", 2.0), ("large", 5.0)):
        both = MultiFunctionDescriptor()
        for name in ("small", "large"):
            both.add_function(str(folder / f"{name}.mlpackage"), "main", name)
        both.default_function_name = default
        path = folder / f"both {default}.mlpackage"
        save_multifunction(both, str(path))
        made = coreml.open_session(path, 1).run({"x": np.ones((1, 4), np.float32)})["y"]
        assert coreml.inspect(path).signature.inputs[0].shape == (1, 4)
        found[default] = float(np.abs(made - factor).max())
    return found


def _scaling(ct: Any, factor: float) -> Any:
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        return mb.mul(x=x, y=np.float32(factor), name="y")

    return program


def shared_weights(folder: Path) -> tuple[int, int]:
    """Two layers with one weight: bytes by layers, and of the weight."""
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb

    weight = np.random.default_rng(3).normal(size=(32, 32)).astype(np.float32)

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 32))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        both = mb.const(val=weight, name="both")
        return mb.linear(x=mb.tanh(x=mb.linear(x=x, weight=both)), weight=both, name="y")

    _save(ct, program, folder / "shared.mlpackage", pass_pipeline=ct.PassPipeline.EMPTY)
    linear = [layer for layer in coreml.inspect(folder / "shared.mlpackage").layers if layer.operator == "linear"]
    assert {layer.weight_dtype for layer in linear} == {"float32"}
    biases = 2 * 32 * weight.itemsize
    return sum(layer.weight_bytes for layer in linear), weight.nbytes + biases


def contradiction(folder: Path) -> None:
    """A sound program whose convolution is then told of an axis too many."""
    package = folder / "contradiction.mlpackage"
    small_package(package)
    _change(package, "strides", lambda value: value.immediateValue.tensor.ints.values.append(2))


def absurd_shape(folder: Path) -> None:
    """A sound program whose convolution then claims to yield a terabyte."""
    package = folder / "absurd.mlpackage"
    small_package(package)

    def grow(model: Any) -> None:
        for function in model.mlProgram.functions.values():
            for operation in function.block_specializations[function.opset].operations:
                if operation.type == "conv":
                    operation.outputs[0].type.tensorType.dimensions[1].constant.size = 1 << 24

    _rewritten(package, grow)
    coreml.open_session(package, 1)


def _change(package: Path, key: str, change: Any) -> None:
    def through(model: Any) -> None:
        for function in model.mlProgram.functions.values():
            operations = function.block_specializations[function.opset].operations
            wanted = {item.inputs[key].arguments[0].name for item in operations if key in item.inputs}
            for operation in operations:
                if operation.type == "const" and operation.outputs[0].name in wanted:
                    change(operation.attributes["val"])
                    operation.attributes["val"].type.tensorType.dimensions[0].constant.size += 1

    _rewritten(package, through)
    coreml.open_session(package, 1)


def _rewritten(package: Path, change: Any) -> None:
    from toolkit.targets.coreml.messages import read_specification
    from toolkit.targets.coreml.package import open_package

    opened = open_package(package)
    model = read_specification(opened)
    change(model)
    opened.specification.write_bytes(model.SerializeToString())


def unsupported_program(folder: Path) -> None:
    """A program with an operator that is not lowered."""
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        return mb.random_normal(shape=[1, 4], mean=0.0, stddev=1.0, name="dice")

    _save(ct, program, folder / "u.mlpackage")
    coreml.open_session(folder / "u.mlpackage", 1)


def stateful_program(folder: Path) -> None:
    """A program that keeps state between calls."""
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    specs = [mb.TensorSpec(shape=(1, 8), dtype=types.fp16), mb.StateTensorSpec(shape=(1, 8), dtype=types.fp16)]

    @mb.program(input_specs=specs, opset_version=ct.target.iOS18)
    def program(x: Any, memory: Any) -> Any:
        return mb.add(x=x, y=mb.read_state(input=memory), name="y")

    made = ct.convert(program, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS18, skip_model_load=True)
    made.save(str(folder / "s.mlpackage"))
    coreml.open_session(folder / "s.mlpackage", 1)


def neural_network(folder: Path) -> None:
    """An old-format model in a package."""
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 3, 8, 8))])
    def program(x: Any) -> Any:
        return mb.relu(x=x, name="y")

    made = ct.convert(program, convert_to="neuralnetwork", skip_model_load=True)
    package = folder / "nn.mlpackage"
    small = _small_program(ct, ct.precision.FLOAT32, ct.target.iOS16)[0]
    small.save(str(package))
    inner = next(package.glob("Data/*/model.mlmodel"))
    inner.write_bytes(made.get_spec().SerializeToString())
    coreml.open_session(package, 1)


def small_package(out: Path) -> None:
    """A sound package for the tests that damage it."""
    ct = coremltools(tensorflow=False)
    with own_temporary_folder() as scratch:
        _small_program(ct, ct.precision.FLOAT32, ct.target.iOS16)[0].save(str(scratch / "m.mlpackage"))
        shutil.copytree(scratch / "m.mlpackage", out)


def tiny_weights(folder: Path) -> None:
    """A model with nothing worth quantizing."""
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        return mb.linear(x=x, weight=np.ones((3, 4), np.float32), name="y")

    _save(ct, program, folder / "t.mlpackage")
    coreml.quantize(folder / "t.mlpackage", load_recipe("weight-int8"), {}, folder / "q.mlpackage")


def _save(ct: Any, program: Any, path: Path, **more: Any) -> None:
    ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
        **more,
    ).save(str(path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cold:
    """What opening a package in a fresh process brought in."""

    seconds: float
    imported: tuple[str, ...]


def open_cold(package: Path) -> Cold:
    """Open, run and close, and look at what was imported."""
    import sys
    import time

    start = time.perf_counter()
    session = coreml.open_session(package, 1)
    seconds = time.perf_counter() - start
    feeds = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in session.signature.inputs}
    session.run(feeds)
    session.close()
    session.close()
    heavy = ("tensorflow", "coremltools", "torch", "sklearn")
    return Cold(seconds=seconds, imported=tuple(name for name in heavy if name in sys.modules))


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What came of the things that are done with one package."""

    wrong_feed: str
    left: list[str]


def handle(package: Path) -> Handled:
    try:
        wrong_feed(package)
    except DataError as error:
        return Handled(wrong_feed=error.message, left=leftovers(package))
    return Handled(wrong_feed="taken", left=leftovers(package))


def wrong_feed(package: Path) -> None:
    """Run with an array of another shape."""
    session = coreml.open_session(package, 1)
    session.run({"x": np.zeros((1, 3, 12, 13), np.float32)})


def leftovers(package: Path) -> list[str]:
    """Quantize and list what stays in the temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        coreml.quantize(package, load_recipe("weight-int8"), {}, package.parent / "left.mlpackage")
        tempfile.tempdir = None
        return sorted(item.name for item in Path(folder).iterdir())


def rewrite_weight_path(package: Path, name: str) -> None:
    """Point the weights of a package at another file."""

    def change(model: Any) -> None:
        for function in model.mlProgram.functions.values():
            for block in function.block_specializations.values():
                for operation in block.operations:
                    value = operation.attributes.get("val")
                    if value is not None and value.WhichOneof("value") == "blobFileValue":
                        value.blobFileValue.fileName = name

    _rewritten(package, change)
    coreml.open_session(package, 1)
