"""What the tests of the source formats do in child processes: make odd models, read them, exercise good ones."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import source_variants

from toolkit.core import discovery
from toolkit.core.artifacts import Signature
from toolkit.core.errors import DataError, ModelError
from toolkit.core.probe import probe_feeds, relative_error
from toolkit.sources import _onnx_form

HUGE_BYTES = 3 << 30
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """What one good model did: its signature as read, as the session says and as the exported form says."""

    read: Signature
    session: Signature
    forms: dict[str, Signature]
    form_errors: dict[str, float]
    repeatable: bool
    refused: dict[str, str]


def exercise(source: str, path: Path, shapes: Shapes, folder: Path) -> Exercise:
    """Read, execute and export a model; run every form on the same values as the session."""
    module = discovery.load("toolkit.sources", source)
    session = module.open_session(path, shapes)
    feeds = probe_feeds(session.signature, seed=7)
    answer = session.run(feeds)
    again = session.run(feeds)
    signatures, errors = {}, {}
    for form in module.FORMS:
        module.export(path, form, shapes, folder / form)
        signatures[form], got = RUN_FORM[form](folder / form, feeds)
        errors[form] = relative_error(answer, got)[1]
    name = session.signature.inputs[0].name
    wrong = {
        "missing": {},
        "unknown": {**feeds, "no such input": np.zeros(1, np.float32)},
        "shape": {**feeds, name: np.zeros((1, 1, 1, 1, 1), feeds[name].dtype)},
        "dtype": {**feeds, name: feeds[name].astype(np.complex64)},
    }
    refused = {fault: _refusal(session, bad) for fault, bad in wrong.items()}
    own = session.signature
    session.close()
    session.close()
    return Exercise(
        read=module.read(path, shapes),
        session=own,
        forms=signatures,
        form_errors=errors,
        repeatable=all(np.array_equal(answer[key], again[key]) for key in answer),
        refused=refused,
    )


def refusals(source: str, folder: Path) -> dict[str, str]:
    """Read every file of a folder; return the whole error text by file name, empty where there was none."""
    module = discovery.load("toolkit.sources", source)
    texts = {}
    for path in sorted(folder.iterdir()):
        texts[path.name] = _model_refusal(module, path, {})
    return texts


def refusals_of(
    source: str, folder: Path, path: Path, given: tuple[Shapes, ...]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read every file of a folder, and one model with several wrong sizes; return the error texts of both."""
    module = discovery.load("toolkit.sources", source)
    return refusals(source, folder), tuple(_model_refusal(module, path, shapes) for shapes in given)


def read_with(source: str, path: Path, shapes: Shapes) -> Signature:
    """Read a model with sizes given."""
    signature = discovery.load("toolkit.sources", source).read(path, shapes)
    assert isinstance(signature, Signature)
    return signature


def read_each(source: str, paths: tuple[Path, ...]) -> tuple[Signature, ...]:
    """Read several models."""
    return tuple(read_with(source, path, {}) for path in paths)


def export_to(source: str, path: Path, form: str, out: Path) -> None:
    """Export a model."""
    discovery.load("toolkit.sources", source).export(path, form, {}, out)


def _model_refusal(module, path: Path, shapes: Shapes) -> str:
    try:
        module.read(path, shapes)
    except ModelError as error:
        return str(error) if error.hint else f"{error} NO HINT"
    return ""


def _refusal(session, feeds) -> str:
    try:
        session.run(feeds)
    except DataError as error:
        return str(error)
    return ""


def _run_saved_model(path: Path, feeds):
    import tensorflow as tf

    from toolkit.core.artifacts import TensorSpec

    loaded = tf.saved_model.load(str(path))
    assert list(loaded.signatures) == ["serving_default"]
    serve = loaded.signatures["serving_default"]
    inputs = [
        TensorSpec(name=n, dtype=t.dtype.name, shape=tuple(t.shape))
        for n, t in serve.structured_input_signature[1].items()
    ]
    outputs = [
        TensorSpec(name=n, dtype=t.dtype.name, shape=tuple(t.shape)) for n, t in serve.structured_outputs.items()
    ]
    assert not any(op.type in ("ReadVariableOp", "VarHandleOp") for op in serve.graph.get_operations())
    answers = serve(**{name: tf.constant(value) for name, value in feeds.items()})
    return Signature(inputs=tuple(inputs), outputs=tuple(outputs)), {n: t.numpy() for n, t in answers.items()}


def _run_onnx(path: Path, feeds):
    import onnx
    import onnxruntime as ort

    from toolkit.core.artifacts import TensorSpec

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert 17 <= model.opset_import[0].version <= 20

    def specs(values):
        return tuple(
            TensorSpec(
                name=value.name,
                dtype=onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
                shape=tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim),
            )
            for value in values
        )

    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in model.graph.output]
    signature = Signature(inputs=specs(model.graph.input), outputs=specs(model.graph.output))
    return signature, dict(zip(names, session.run(names, feeds), strict=True))


def _run_tflite(path: Path, feeds):
    from toolkit.targets import tflite

    session, signature = tflite.open_session(path, 1), tflite.inspect(path).signature
    bare = [tuple(replace(spec, source_name="") for spec in end) for end in (signature.inputs, signature.outputs)]
    return Signature(inputs=bare[0], outputs=bare[1]), session.run(feeds)


RUN_FORM = {"saved_model": _run_saved_model, "onnx": _run_onnx, "tflite": _run_tflite}


def make_keras_variants(bad: Path, good: Path) -> None:
    """Write Keras models that must be refused, and odd ones that must be read."""
    import keras

    layers = keras.layers

    class Twice(layers.Layer):
        def call(self, x):
            return x * 2

    def row(*inner):
        return keras.Sequential([keras.Input((8,)), *inner])

    row(layers.Lambda(lambda x: x * 2, name="doubler")).save(bad / "lambda.keras")
    row(Twice(name="twice"), layers.Dense(2)).save(bad / "custom.keras")
    keras.Sequential([layers.Dense(2)]).save(bad / "zero_input.keras")
    row(layers.Dense(3, dtype="float16", name="half")).save(bad / "float16.keras")
    row(layers.Dense(3, dtype="mixed_float16", name="mixed")).save(bad / "mixed.keras")
    integer = row(layers.Dense(3))
    integer.quantize("int8")
    integer.save(bad / "quantized.keras")
    image = keras.Input((None, None, 3), name="image")
    keras.Model(image, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))).save(bad / "dynamic.keras")
    word = keras.Input((1,), dtype="string", name="word")
    keras.Model(word, layers.Flatten()(word)).save(bad / "string.keras")

    row(layers.Dense(3, name="first"), layers.Dense(2, name="last")).save(good / "sequential.keras")
    tokens, facts = keras.Input((6,), dtype="int32", name="tokens"), keras.Input((4,), name="my facts")
    shared = layers.Dense(2, name="zeta")
    embedded = layers.GlobalAveragePooling1D(name="alpha")(layers.Embedding(2, 4)(tokens))
    outputs = {"c": shared(facts), "a": embedded, "b": shared(embedded)}
    keras.Model({"tokens": tokens, "my facts": facts}, outputs).save(good / "structured.keras")
    row(layers.Dense(3, name="first"), layers.Dense(2, name="last")).save(good / "old.h5")
    row(layers.Lambda(lambda x: x * 2, name="doubler")).save(bad / "old_lambda.h5")
    row(Twice(name="twice"), layers.Dense(2)).save(bad / "old_custom.h5")
    (bad / "old_short.h5").write_bytes((good / "old.h5").read_bytes()[:-9])
    (bad / "archive.keras").write_bytes(b"PK\x05\x06" + bytes(18))  # an empty zip


def make_keras_2_file(out: Path) -> None:
    """Write HDF5 that Keras 3 cannot read: a depthwise layer has `groups` in it, which Keras 3 does not know."""
    import tf_keras

    layers = [
        tf_keras.layers.Conv2D(4, 3, input_shape=(8, 8, 3)),
        tf_keras.layers.DepthwiseConv2D(3),
        tf_keras.layers.GlobalAveragePooling2D(),
        tf_keras.layers.Dense(2),
    ]
    tf_keras.Sequential(layers).save(out)


def make_onnx_variants(bad: Path, good: Path) -> None:
    """Write ONNX models that must be refused, and odd ones that must be read."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(3)
    weight = rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)

    def value(name, shape, dtype=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, dtype, shape)

    def save(path, nodes, inputs, outputs, weights=(), opset=17, ir=8, domains=()):
        named = [numpy_helper.from_array(array, name) for name, array in weights]
        graph = helper.make_graph(nodes, "g", inputs, outputs, named)
        opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=ir)
        onnx.save(model, path)
        return model

    node = helper.make_node
    conv = node("Conv", ["x", "w"], ["y"], "conv")
    image, answer = value("x", ["N", 3, 8, 8]), value("y", ["N", 4, 6, 6])
    save(bad / "zero_input.onnx", [node("Relu", ["w"], ["y"])], [], [value("y", [4, 3, 3, 3])], [("w", weight)])
    save(bad / "dynamic.onnx", [conv], [value("x", ["N", 3, "H", "W"])], [value("y", None)], [("w", weight)])
    half = [value("x", [1, 3, 8, 8], TensorProto.FLOAT16)], [value("y", [1, 4, 6, 6], TensorProto.FLOAT16)]
    save(bad / "float16.onnx", [conv], *half, [("w", weight.astype(np.float16))])
    quantize = node("QuantizeLinear", ["x", "s", "z"], ["q"], "to_int")
    back = node("DequantizeLinear", ["q", "s", "z"], ["y"])
    grid = [("s", np.float32(0.1)), ("z", np.uint8(0))]
    save(bad / "quantized.onnx", [quantize, back], [value("x", [1, 4])], [value("y", [1, 4])], grid)
    save(bad / "opset.onnx", [node("Relu", ["x"], ["y"])], [value("x", [1, 4])], [value("y", [1, 4])], opset=99)
    custom = [node("Sparkle", ["x"], ["y"], "glitter", domain="org.example")]
    save(bad / "custom.onnx", custom, [value("x", [1, 4])], [value("y", [1, 4])], domains=["org.example"])
    for name, kind in (("unknown", "Sparkle"), ("misspelt", "Relv"), ("later", "Gelu")):
        save(bad / f"{name}.onnx", [node(kind, ["x"], ["y"], "own")], [value("x", [1, 4])], [value("y", [1, 4])])
    double, cast = TensorProto.DOUBLE, node("Cast", ["x"], ["c"], "widen", to=TensorProto.DOUBLE)
    product, back = node("MatMul", ["c", "w"], ["d"]), node("Cast", ["d"], ["y"], to=TensorProto.FLOAT)
    square = ("w", np.eye(4))
    ends = [value("x", [1, 4])], [value("y", [1, 4])]
    save(bad / "mixed.onnx", [cast, product, back], *ends, [square])
    save(bad / "double_input.onnx", [node("Cast", ["x"], ["y"], to=1)], [value("x", [1, 4], double)], ends[1])
    half_x = value("x", [1, 4], TensorProto.FLOAT16)
    save(bad / "half_input.onnx", [node("Cast", ["x"], ["y"], to=1)], [half_x], ends[1])
    (bad.parent / "secret.bin").write_bytes(bytes(10_000))
    with (bad / "huge.bin").open("wb") as file:
        file.truncate(HUGE_BYTES)  # sparse: no disk is used
    places = (("outside", "../secret.bin"), ("absent", "weights.bin"), ("short", "short.onnx"), ("huge", "huge.bin"))
    for name, location in places:
        model = save(bad / f"{name}.onnx", [conv], [image], [answer], [("w", weight)])
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        if name == "huge":
            tensor.dims[:] = [4, 3, 3, HUGE_BYTES // 144]
        length = HUGE_BYTES - 64 if name == "huge" else weight.nbytes
        for key, text in (("location", location), ("offset", "64"), ("length", str(length))):
            tensor.external_data.add(key=key, value=text)
        (bad / f"{name}.onnx").write_bytes(model.SerializeToString())

    listed = [image, value("w", [4, 3, 3, 3])]
    save(good / "weights_as_inputs.onnx", [conv], listed, [answer], [("w", weight)], opset=8, ir=3)
    constant = node("Constant", [], ["w"], value=numpy_helper.from_array(weight))
    save(good / "weights_as_constants.onnx", [constant, conv], [image], [value("y", ["N", 4, 99, 99])], opset=11)
    pair = [node("Sub", ["a.1", "b"], ["later"]), node("Mul", ["a.1", "b"], ["early"])]
    two = [value("b", [1, 3, 4, 5]), value("a.1", [1, 3, 4, 5])]
    save(good / "two.onnx", pair, two, [value("later", None), value("early", None)], opset=23, ir=10)
    ids = [value("ids", ["N", 6], TensorProto.INT64)]
    table = rng.normal(0, 1, (9, 4)).astype(np.float32)
    save(good / "tokens.onnx", [node("Gather", ["t", "ids"], ["e"])], ids, [value("e", ["N", 6, 4])], [("t", table)])
    onnx.save(
        onnx.load(good / "weights_as_inputs.onnx"), good / "external.onnx",
        save_as_external_data=True, location="external.bin", size_threshold=0,
    )  # fmt: skip


def saturated_detector(folder: Path) -> tuple[float, str]:
    """Write the form of a detector that finds nothing in noise, after its weights were rewritten as folding does.

    Return how far the form is from it on noise, where its sigmoid has hardly a digit left; and with what words a
    rewriting that is 2 % off is refused.
    """
    try:
        _rewritten_form(folder, 1.02)
    except ModelError as error:
        return _rewritten_form(folder, 1.0), str(error)
    return _rewritten_form(folder, 1.0), "not refused"


def _rewritten_form(folder: Path, gain: float) -> float:
    import onnx
    import onnxruntime as ort

    session = discovery.load("toolkit.sources", "onnx").open_session(_detector(folder / "detector.onnx", 1.0, 1.0), {})
    rewritten = onnx.load(_detector(folder / "rewritten.onnx", 1.37, gain))
    _onnx_form.write(folder / "detector.onnx", rewritten, session, folder / "form.onnx")
    feeds = probe_feeds(session.signature, seed=1)
    form = ort.InferenceSession(folder / "form.onnx", providers=["CPUExecutionProvider"])
    return relative_error(session.run(feeds), {"y": form.run(None, feeds)[0]})[1]


def _detector(path: Path, scale: float, gain: float) -> Path:
    """Write it with ``scale`` moved from its last weights into its first ones."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(5)
    weights = {
        "w": rng.normal(0, 0.2, (16, 3, 3, 3)) * scale,
        "p": rng.normal(0, 0.2, (1, 16, 3, 3)) / scale * gain,
        "c": [-14.5],
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], pads=[1] * 4),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Conv", ["r", "p", "c"], ["l"], pads=[1] * 4),
        helper.make_node("Sigmoid", ["l"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, 1, [1, size, 32, 32]) for name, size in (("x", 3), ("y", 1))]
    named = [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], named)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


MAKE_VARIANTS = {
    "keras": make_keras_variants,
    "onnx": make_onnx_variants,
    "pytorch": source_variants.make_pytorch_variants,
    "saved_model": source_variants.make_saved_model_variants,
    "tflite": source_variants.make_tflite_variants,
}


def exercise_all(source: str, good: Path, out: Path) -> dict[str, Exercise]:
    """Exercise every model of a folder."""
    made = {}
    suffixes = discovery.load("toolkit.sources", source).SUFFIXES
    for path in sorted(item for item in good.iterdir() if item.is_dir() or item.suffix in suffixes):
        folder = out / path.stem
        folder.mkdir()
        made[path.name] = exercise(source, path, {}, folder)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Workout:
    """The whole error texts of the bad models by name, and what the good ones did.

    `as_advised` are the sizes that the refusal of the model ``dynamic`` proposes, and what reading with them yields.
    """

    refused: dict[str, str]
    done: dict[str, Exercise]
    as_advised: tuple[Shapes, Signature]


def work_out_each(sources: tuple[str, ...], folders: tuple[Path, ...]) -> tuple[Workout, ...]:
    """Work out several formats, each in its folder."""
    return tuple(work_out(source, folder) for source, folder in zip(sources, folders, strict=True))


def work_out(source: str, folder: Path) -> Workout:
    """Make a format's variants in the folders ``bad`` and ``good``, read the bad ones and exercise the good ones."""
    bad, good, out = folder / "bad", folder / "good", folder / "out"
    MAKE_VARIANTS[source](bad, good)
    specimen = next(good.glob("specimen*"))
    suffix = discovery.load("toolkit.sources", source).SUFFIXES[0]
    for name, content in (("truncated", _content(specimen)[:-40]), ("empty", b"")):
        place = bad / (name if specimen.is_dir() else f"{name}{suffix}")
        if specimen.is_dir():
            place.mkdir()
            place = place / "saved_model.pb"
        place.write_bytes(content)
    refused = refusals(source, bad)
    return Workout(refused=refused, done=exercise_all(source, good, out), as_advised=_advised(source, bad, refused))


def _advised(source: str, bad: Path, refused: dict[str, str]) -> tuple[Shapes, Signature]:
    path = next(bad.glob("dynamic*"))
    found = re.search(r"--shape (\S+)=([\d,]+)", refused[path.name])
    assert found is not None, refused[path.name]
    shapes = {found[1]: tuple(map(int, found[2].split(",")))}
    return shapes, read_with(source, path, shapes)


def _content(model: Path) -> bytes:
    return (model / "saved_model.pb" if model.is_dir() else model).read_bytes()
