"""What the tests of the TFLite source do in child processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.core.probe import probe_feeds
from toolkit.core.recipe import load_recipe
from toolkit.core.signature import bind
from toolkit.sources import tflite as source
from toolkit.targets import tflite
from toolkit.targets.tflite.flatbuffer import read_graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A float artefact made of a ``.tflite`` file; ``integers`` says whether `weight-int8` had an effect."""

    shapes: dict[str, tuple[int, ...]]
    operators: tuple[str, ...]
    inner_batches: set[int]
    same: bool
    unique_names: bool
    integers: bool
    float_bytes: int


def make(path: Path) -> None:
    """Write a model with an open batch, operators that ONNX routes lack, and one tensor that is two outputs."""
    import tensorflow as tf

    rng = np.random.default_rng(4)
    weight = rng.normal(0, 0.3, (3, 3, 2, 4)).astype(np.float32)
    dense = rng.normal(0, 0.3, (4, 4)).astype(np.float32)
    wide = rng.normal(0, 0.3, (4, 600)).astype(np.float32)

    def serve(image):
        maps = tf.nn.relu(tf.nn.conv2d(image, weight, 1, "SAME"))
        kept = tf.where(tf.equal(maps, 0.0), -1.0, maps)
        twice = tf.reduce_mean(tf.reduce_mean(kept, (1, 2)) @ dense @ wide, 1, keepdims=True) * tf.ones((1, 4))
        return {"kept": kept, "twice": twice, "again": twice}

    spec = tf.TensorSpec((None, 6, 6, 2), tf.float32, name="image")
    call = tf.function(serve, input_signature=[spec]).get_concrete_function()
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([call], tf.Module()).convert())


def to_tflite(path: Path, shapes: dict[str, tuple[int, ...]], folder: Path) -> Taken:
    """Export, convert, run beside the source, quantize."""
    signature = source.read(path, shapes)
    source.export(path, "tflite", shapes, folder / "form")
    bound = tflite.convert("tflite", folder / "form", signature, folder / "float.tflite")
    graph = read_graph(folder / "float.tflite")
    feeds = probe_feeds(signature, seed=2)
    expected = source.open_session(path, shapes).run(feeds)
    found = tflite.open_session(folder / "float.tflite", 1).run(bind(feeds, bound))
    made = tflite.quantize(folder / "float.tflite", load_recipe("weight-int8"), {}, folder / "int8.tflite")
    names = [tensor.name for tensor in graph.tensors]
    return Taken(
        shapes={spec.name: spec.shape for spec in (*bound.inputs, *bound.outputs)},
        operators=tuple(operator.kind for operator in graph.operators),
        inner_batches={
            graph.tensors[index].shape[0]
            for operator in graph.operators
            for index in operator.outputs
            if operator.kind == "CONV_2D"
        },
        same=all(np.array_equal(expected[name], found[name]) for name in expected),
        unique_names=len(set(names)) == len(names),
        integers=made.census is not None and made.census.weight_tensors.get("int8", 0) > 0,
        float_bytes=(folder / "float.tflite").stat().st_size,
    )
