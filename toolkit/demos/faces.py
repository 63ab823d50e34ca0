"""Faces: the pretrained refinement and output networks of MTCNN (Zhang et al. 2016, arXiv:1604.02878).

Weights: the package mtcnn. Data: scikit-image's subset of Labeled Faces in the Wild, 100 faces and 100 pieces of
background, 25x25 gray; they are resized to each network's input. Nothing is trained here.

A fully connected layer over a whole feature map is the convolution whose kernel is as large as the map. The networks
are built so: the same numbers, and every PReLU acts on four axes, which all converters take (one fails on two).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core import store
from toolkit.core.artifacts import Preprocess
from toolkit.core.errors import ModelError
from toolkit.core.events import Emit, Event
from toolkit.demos._joblib import read_arrays
from toolkit.demos._project import DemoModel, DemoProject
from toolkit.demos._samples import stratified, write_samples
from toolkit.demos._shipped import shipped_file

SUMMARY = "Faces: the pretrained R-Net and O-Net of the MTCNN face detector, two and three outputs."
PACKAGES = ("mtcnn", "scikit-image", "lz4", "pillow", "keras", "tensorflow")

SUBJECT = "demo/faces"
CLASSES = ("background", "face")
CALIBRATION = 40
SEED = 0

_FACES = ("skimage", "data/lfw_subset.npy", "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c")
NOTES = (
    "Weights: MTCNN as the package mtcnn ships it (MIT). Data: scikit-image's subset of Labeled Faces in the Wild.",
    "Split, balanced: 40 of 200 images to calibrate on, the other 160 to verify on; nothing is trained on them here.",
    "160 images cannot prove a drop below 1 %, so a build may stay undecided even when it errs nowhere.",
    "The images are gray and 25x25: they show the face-or-not output at work, and boxes and landmarks by tensor error.",
)

Pixels = NDArray[np.uint8]
Weights = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    """One of the cascade's networks; the sizes of its layers are those of the weights.

    ``poolings`` follow the convolutions: (side, padding) with stride 2, or None. ``heads`` are the outputs in the order
    of the weights; the last one is the probability of background and face.
    """

    name: str
    side: int
    weights: tuple[str, str, str]
    poolings: tuple[tuple[int, str] | None, ...]
    heads: tuple[str, ...]


RNET = _Network(
    name="rnet",
    side=24,
    weights=(
        "mtcnn",
        "assets/weights/rnet.lz4",
        "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    ),
    poolings=((3, "same"), (3, "valid"), None),
    heads=("box", "face"),
)
ONET = _Network(
    name="onet",
    side=48,
    weights=(
        "mtcnn",
        "assets/weights/onet.lz4",
        "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
    ),
    poolings=((3, "same"), (3, "valid"), (2, "same"), None),
    heads=("box", "landmarks", "face"),
)


def prepare(out: Path, emit: Emit) -> DemoProject:
    """Write both networks as ``.keras`` and their data as ``.npz``.

    Pixels are stored as uint8 0..255 in [n, side, side, 3], gray in all three channels; the declared mean of 127.5 and
    standard deviation of 128 make inputs of them.

    Raises:
        ToolMissing: mtcnn, lz4 or scikit-image is not installed.
        ModelError: a file of theirs is another one.
    """
    images, labels = _read_faces()
    calibration, held_out = stratified(labels, [CALIBRATION], SEED)
    models = []
    for network in (RNET, ONET):
        emit(Event(subject=SUBJECT, phase="build", message=network.name))
        folder = out / network.name
        folder.mkdir()
        _build(network, _read_weights(network)).save(folder / f"{network.name}.keras")
        samples = _resized(images, network.side)
        models.append(
            DemoModel(
                name=network.name,
                model=store.blob_of(folder / f"{network.name}.keras"),
                calibration=write_samples(
                    folder / "calibration.npz", samples[calibration], labels[calibration], CLASSES
                ),
                labelled=write_samples(folder / "labelled.npz", samples[held_out], labels[held_out], CLASSES),
                output=network.heads[-1],
                metric="top1",
                preprocess=Preprocess(mean=(127.5,), std=(128.0,)),
                notes=NOTES,
            )
        )
    emit(Event(subject=SUBJECT, phase="done", message="two networks"))
    return DemoProject(name="faces", summary=SUMMARY, models=tuple(models))


def _read_faces() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the images [200, 25, 25] in 0..1 and their labels: 1 for the first hundred, which are faces."""
    path = shipped_file(*_FACES)
    images = np.load(path, allow_pickle=False)
    if images.shape != (200, 25, 25):
        raise ModelError(f"{path} does not hold 200 images of 25x25.")
    return images, np.repeat(np.array([1, 0], np.int64), 100)


def _resized(images: NDArray[np.float64], side: int) -> Pixels:
    """Return the images as uint8 [n, side, side, 3], bilinear."""
    from PIL import Image

    gray = np.rint(images * 255).astype(np.uint8)
    scaled = [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR)) for one in gray]
    return np.repeat(np.stack(scaled)[..., np.newaxis], 3, axis=-1)


def _read_weights(network: _Network) -> list[Weights]:
    import lz4.frame

    path = shipped_file(*network.weights)
    return read_arrays(lz4.frame.decompress(path.read_bytes()), str(path))


def _build(network: _Network, weights: Sequence[Weights]) -> Any:
    """Return the Keras model with the weights in place.

    They come in the order kernel, bias and slopes of each convolution, then of the hidden layer, then kernel and bias
    of each head. The hidden layer was trained on feature maps flattened column by column, which its kernel's axes undo.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras

    layers, left = keras.layers, list(weights)

    def convolved(tensor: Any, kernel: Weights, name: str) -> Any:
        layer = layers.Conv2D(kernel.shape[-1], kernel.shape[:2], name=f"conv_{name}")
        slopes = layers.PReLU(shared_axes=[1, 2], name=f"prelu_{name}")
        tensor = slopes(layer(tensor))
        layer.set_weights([kernel, left.pop(0)])
        slopes.set_weights([left.pop(0).reshape(1, 1, -1)])
        return tensor

    image = keras.Input((network.side, network.side, 3), name="image")
    tensor = image
    for number, pooling in enumerate(network.poolings, start=1):
        tensor = convolved(tensor, left.pop(0), str(number))
        if pooling is not None:
            tensor = layers.MaxPooling2D(pooling[0], strides=2, padding=pooling[1], name=f"pool_{number}")(tensor)
    height, width, channels = tensor.shape[1:]
    kernel = left.pop(0).reshape(width, height, channels, -1).transpose(1, 0, 2, 3)
    tensor = layers.Flatten(name="flatten")(convolved(tensor, kernel, "hidden"))
    outputs = []
    for name in network.heads:
        weight, bias = left.pop(0), left.pop(0)
        head = layers.Dense(len(bias), activation="softmax" if name == "face" else None, name=name)
        outputs.append(head(tensor))
        head.set_weights([weight, bias])
    if left:
        raise ModelError(f"The weights of {network.name} have {len(left)} arrays too many.")
    return keras.Model(image, outputs, name=network.name)
