"""Real tiny builds for the tests of the generated Android apps: one for LiteRT, one for ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bench_builds import make_golden

from toolkit.core import isolation, manifest, store
from toolkit.core.artifacts import Preprocess, Requirements, Signature, TensorSpec
from toolkit.core.tools import Tools

SIDE = 12
CLASSES = 5
PREPROCESS = Preprocess(resize=(SIDE, SIDE), scale=1 / 255, mean=(0.5, 0.4, 0.3), std=(0.5, 0.6, 0.7))


def make_tflite(path: Path) -> None:
    """Write a fully connected layer and a softmax: `image` [1, 12, 12, 3] -> `scores` [1, 5], weights seeded."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    from toolkit.targets.tflite.flatbuffer import rename

    rng = np.random.default_rng(5)
    weights = (rng.standard_normal((CLASSES, SIDE * SIDE * 3)) * 0.1).astype(np.float32)
    bias = rng.standard_normal(CLASSES).astype(np.float32)

    def buffer(values: np.ndarray | None) -> schema.BufferT:
        made = schema.BufferT()
        made.data = None if values is None else np.frombuffer(values.tobytes(), np.uint8)
        return made

    def tensor(name: str, shape: tuple[int, ...], number: int = 0) -> schema.TensorT:
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name, list(shape), number, schema.TensorType.FLOAT32
        return made

    def operator(code: int, inputs: list[int], outputs: list[int], kind: int, options: object) -> schema.OperatorT:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
        made.builtinOptionsType, made.builtinOptions = kind, options
        return made

    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("in", (1, SIDE, SIDE, 3)),
        tensor("w", weights.shape, 1),
        tensor("b", bias.shape, 2),
        tensor("logits", (1, CLASSES)),
        tensor("out", (1, CLASSES)),
    ]
    graph.inputs, graph.outputs = [0], [4]
    full = schema.BuiltinOptions.FullyConnectedOptions
    graph.operators = [
        operator(0, [0, 1, 2], [3], full, schema.FullyConnectedOptionsT()),
        operator(1, [3], [4], schema.BuiltinOptions.SoftmaxOptions, softmax),
    ]
    model = schema.ModelT()
    model.version, model.subgraphs = 3, [graph]
    model.buffers = [buffer(None), buffer(weights), buffer(bias)]
    codes = (schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOperator.SOFTMAX)
    model.operatorCodes = []
    for code in codes:
        made = schema.OperatorCodeT()
        made.builtinCode = made.deprecatedBuiltinCode = code
        made.version = 1
        model.operatorCodes.append(made)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    names = (TensorSpec(name="image", dtype="float32", shape=(1, SIDE, SIDE, 3)),)
    scores = (TensorSpec(name="scores", dtype="float32", shape=(1, CLASSES)),)
    path.write_bytes(rename(bytes(builder.Output()), names, scores))


def make_lite(tools: Tools, folder: Path) -> Path:
    """Lay out a folder with one LiteRT build, its golden samples and its preprocessing."""
    (folder / "golden").mkdir(parents=True)
    isolation.isolate(tools, 120, make_tflite, folder / "tflite-float32.tflite")
    image = TensorSpec(name="image", dtype="float32", shape=(1, SIDE, SIDE, 3))
    scores = TensorSpec(name="scores", dtype="float32", shape=(1, CLASSES))
    signature = Signature(inputs=(image,), outputs=(scores,))
    return _finish(tools, folder, "tflite", signature, PREPROCESS)


def make_ort(tools: Tools, onnx_model: Path, folder: Path) -> Path:
    """Lay out a folder with one ONNX Runtime build: `x` [1, 3, 16, 16] -> `y` [1, 5]."""
    (folder / "golden").mkdir(parents=True)
    (folder / "onnx-float32.onnx").write_bytes(onnx_model.read_bytes())
    x = TensorSpec(name="x", dtype="float32", shape=(1, 3, 16, 16))
    signature = Signature(inputs=(x,), outputs=(TensorSpec(name="y", dtype="float32", shape=(1, CLASSES)),))
    preprocess = Preprocess(resize=(20, 18), crop=(16, 16), colour="bgr", scale=1 / 255, layout="nchw")
    return _finish(tools, folder, "onnx", signature, preprocess)


def _finish(tools: Tools, folder: Path, target: str, signature: Signature, preprocess: Preprocess) -> Path:
    model = folder / f"{target}-float32.{target}"
    golden = folder / "golden" / "net.npz"
    isolation.isolate(tools, 120, make_golden, model, target, golden)
    build = manifest.BuildEntry(
        id=f"{target}-float32",
        target=target,
        recipe="float32",
        path=model.name,
        sha256=store.sha256_of(model),
        size_bytes=model.stat().st_size,
        signature=signature,
        kept_float=(),
        requirements=Requirements(runtime=target, runtime_min="1.0"),
        golden="golden/net.npz",
        golden_sha256=store.sha256_of(golden),
    )
    source = manifest.SourceEntry(name="net", path="net", sha256="0" * 64, format="onnx", signature=signature)
    made = manifest.Manifest(
        palmtop="0", source=source, preprocess=preprocess, calibration=None, toolchain=(), builds=(build,)
    )
    manifest.write(folder, made)
    return folder
