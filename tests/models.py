"""Makes the tiny real models of the test suite. Runs in child processes, so heavy imports stay inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KINDS = ("horizontal", "vertical", "falling", "rising")


def strokes(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw one noisy stroke on each 12 x 12 picture; the label is its direction."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0.15, 0.08, (count, 12, 12, 1))
    labels = np.arange(count) % len(KINDS)
    for image, label in zip(images, labels, strict=True):
        offset = int(rng.integers(-3, 4))
        for step in range(1, 11):
            ways = ((6 + offset, step), (step, 6 + offset), (step, step + offset), (step, 11 - step + offset))
            row, column = ways[int(label)]
            if 0 <= row < 12 and 0 <= column < 12:
                image[row, column, 0] += rng.uniform(0.4, 0.8)
    return np.clip(images, 0, 1).astype(np.float32), labels


def make_shapes(out: Path, count: int) -> None:
    """Write labelled strokes as an `.npz`."""
    images, labels = strokes(count, seed=1)
    np.savez(out, image=images, labels=labels)


def make_noise(out: Path, count: int) -> None:
    """Write smooth random pictures for the ONNX net."""
    rng = np.random.default_rng(2)
    coarse = rng.normal(0, 1, (count, 3, 4, 4))
    smooth = np.kron(coarse, np.ones((4, 4))) + rng.normal(0, 0.1, (count, 3, 16, 16))
    np.savez(out, x=smooth.astype(np.float32))


def make_keras_cnn(out: Path) -> None:
    """Train a depthwise-separable CNN on the strokes for a few seconds and save it."""
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    image = keras.Input((12, 12, 1), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(image)
    x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))
    for block, width in enumerate((16, 24)):
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"depthwise_{block}")(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.Conv2D(width, 1, use_bias=False, name=f"pointwise_{block}")(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(len(KINDS), activation="softmax", name="kind")(x)
    model = keras.Model(image, x, name="strokes")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    images, labels = strokes(1024, seed=4)
    model.fit(images, labels, batch_size=64, epochs=12, verbose=0)
    model.save(out)


def make_onnx_net(out: Path) -> None:
    """Write a small convolutional net by hand, at opset 13 as many published models are."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(5)
    weights = {
        "w1": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "b1": rng.normal(0, 0.1, 8),
        "w2": rng.normal(0, 0.3, (8, 1, 3, 3)),
        "b2": rng.normal(0, 0.1, 8),
        "w3": rng.normal(0, 0.3, (8, 8, 1, 1)),
        "b3": rng.normal(0, 0.1, 8),
        "w4": rng.normal(0, 0.2, (5, 16)),
        "b4": rng.normal(0, 0.1, 5),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], "stem", pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"], "stem_relu"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "depthwise", pads=[1, 1, 1, 1], group=8),
        helper.make_node("Relu", ["c2"], ["r2"], "depthwise_relu"),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["c3"], "pointwise"),
        helper.make_node("Add", ["c3", "r1"], ["s"], "residual"),
        helper.make_node("MaxPool", ["s"], ["m"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("AveragePool", ["r2"], ["a"], "average", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Concat", ["m", "a"], ["k"], "join", axis=1),
        helper.make_node("GlobalAveragePool", ["k"], ["g"], "global"),
        helper.make_node("Flatten", ["g"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["y"], "classify", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), out)
