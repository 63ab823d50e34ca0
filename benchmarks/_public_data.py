"""Samples for public models, made from what packages ship or rendered here; the same every time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CALIBRATION = 100
TEST = 200
_CALIBRATION_PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg")
_TEST_PHOTOS = ("motorcycle_left.png", "hubble_deep_field.jpg", "ihc.png", "grass.png", "color.png")
"""Of scikit-image."""
_TEST_PHOTOS_TOO = ("china.jpg", "flower.jpg")
"""Of scikit-learn."""

_TYPES = {
    "py": "python", "pyc": "pythonbytecode", "js": "javascript", "ts": "typescript", "css": "css", "html": "html",
    "json": "json", "xml": "xml", "md": "markdown", "rst": "rst", "txt": "txt", "toml": "toml", "yaml": "yaml",
    "yml": "yaml", "png": "png", "jpg": "jpeg", "gif": "gif", "svg": "svg", "so": "elf", "ttf": "ttf", "woff": "woff",
    "woff2": "woff", "gz": "gzip", "zip": "zip", "whl": "zip", "npy": "npy", "npz": "npz", "csv": "csv", "c": "c",
    "cpp": "cpp", "cc": "cpp", "sh": "shell", "ipynb": "ipynb", "pdf": "pdf", "wav": "wav", "tsv": "tsv",
    "cmake": "cmake", "swift": "swift", "java": "java", "cu": "cpp", "proto": "proto", "po": "po", "tif": "tiff",
    "ini": "ini", "sql": "sql", "lua": "lua", "onnx": "onnx", "parquet": "parquet", "mat": "matlab",
}  # fmt: skip
_A_TYPE_AT_MOST = 60


NOTES = ("note", "StatefulPartitionedCall:1")
"""What basic-pitch's forms call their note frames; its ONNX file has no better name (its ``inference.py``)."""


def frame_f1(outputs: dict[str, Any], label: Any) -> float:
    """Return the F1 score of the note frames of one piece: 2 TP / (2 TP + FP + FN), a frame counting from 0.5 on."""
    notes = next(outputs[name] for name in NOTES if name in outputs)
    found, wanted = notes[0] >= 0.5, np.asarray(label, bool)
    hits = int((found & wanted).sum())
    return 2 * hits / max(1, int(found.sum()) + int(wanted.sum()))


def noise(path: Path, shape: tuple[int, ...], count: int = 20) -> Path:
    """Write noise: enough to see whether a model builds, nothing to score it on."""
    np.savez(path, x=np.random.default_rng(0).normal(0, 0.5, (count, *shape)).astype(np.float32))
    return path


def text_lines(path: Path, count: int, seed: int) -> Path:
    """Write lines of text of 48x192, half of them upside down (class 1), as the OCR package prepares them."""
    from PIL import Image, ImageDraw, ImageFont

    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"))
    images, labels = np.zeros((count, 3, 48, 192), np.float32), np.arange(count) % 2
    for index in range(count):
        words = ["".join(rng.choice(letters, int(rng.integers(2, 8)))) for _ in range(int(rng.integers(1, 4)))]
        size, ink, paper = int(rng.integers(22, 36)), *map(int, (rng.integers(0, 90), rng.integers(150, 256)))
        font = ImageFont.load_default(size=size)
        box = font.getbbox(" ".join(words))
        line = Image.new("RGB", (int(box[2]) + 16, int(box[3]) + 12), (paper,) * 3)
        ImageDraw.Draw(line).text((8, 5), " ".join(words), font=font, fill=(ink,) * 3)
        line = line.rotate(180) if labels[index] else line
        width = min(192, max(1, round(48 * line.width / line.height)))
        pixels = np.asarray(line.resize((width, 48), Image.Resampling.BILINEAR), np.float32)
        images[index, :, :, :width] = ((pixels + rng.normal(0, 4, pixels.shape)) / 127.5 - 1).transpose(2, 0, 1)
    np.savez(path, x=images, labels=labels)
    return path


def typed_files(out: Path, config: Path, root: Path) -> tuple[Path, Path]:
    """Write the first and last 1,024 bytes of files below a folder, as magika reads them, and the type by ending."""
    space = json.loads(config.read_text())["target_labels_space"]
    by_type: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        kind = _TYPES.get(path.suffix.lower().removeprefix("."))
        if kind in space and path.is_file() and not path.is_symlink() and path.stat().st_size >= 64:
            by_type.setdefault(str(kind), []).append(path)
    rows: dict[str, list[tuple[Any, int]]] = {"calibration": [], "test": []}
    for kind, paths in sorted(by_type.items()):
        mixed = sorted(paths, key=lambda path: hashlib.sha256(str(path.relative_to(root)).encode()).digest())
        for place, path in enumerate(mixed[:_A_TYPE_AT_MOST]):
            part = "calibration" if place % 6 == 5 else "test"
            rows[part].append((_ends(path), space.index(kind)))
    for part, found in rows.items():
        values, labels = zip(*found, strict=True)
        np.savez(out / f"{part}.npz", bytes=np.stack(values).astype(np.int32), labels=np.array(labels))
    return out / "calibration.npz", out / "test.npz"


def _ends(path: Path) -> Any:
    """Return 2,048 numbers: the beginning padded behind, the end padded before, by 256."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(4096).lstrip()[:1024]
        file.seek(max(0, size - 4096))
        last = file.read().rstrip()[-1024:]
    row = np.full(2048, 256, np.int32)
    row[: len(first)] = np.frombuffer(first, np.uint8)
    row[2048 - len(last) :] = np.frombuffer(last, np.uint8)
    return row


def face_crops(out: Path, side: int) -> tuple[Path, Path]:
    """Write four crops each of scikit-image's faces in [-1, 1]: 50 faces to calibrate on, 50 to test."""
    from PIL import Image
    from skimage import data

    faces = np.rint(data.lfw_subset()[:100] * 255).astype(np.uint8)
    rng = np.random.default_rng(0)
    crops = []
    for face in np.repeat(faces, 4, axis=0):
        top, left = rng.integers(0, 4, 2)
        crop = face[top : top + 22, left : left + 22]
        crop = crop[:, ::-1] if rng.random() < 0.5 else crop
        crops.append(np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.BILINEAR)))
    images = (np.stack(crops).astype(np.float32) / 127.5 - 1)[..., None]
    return _written(out, images[:200], images[200:])


@dataclass(frozen=True, slots=True)
class Crops:
    """How a model wants its images: (pixel - mean) / std, square."""

    side: int
    mean: float
    std: float
    channels_first: bool

    def ready(self, images: Any) -> Any:
        """Return uint8 images [n, side, side, 3] as the model takes them."""
        values = (images.astype(np.float32) - self.mean) / self.std
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if self.channels_first else values


def photo_crops(out: Path, crops: Crops) -> tuple[Path, Path]:
    """Write random crops of photographs; those to test on come from other photographs than those to calibrate on."""
    import skimage.data
    from sklearn import datasets

    shipped, too = Path(skimage.data.__file__).parent, Path(datasets.__file__).parent / "images"
    parts = [
        [shipped / name for name in _CALIBRATION_PHOTOS],
        [*(shipped / name for name in _TEST_PHOTOS), *(too / name for name in _TEST_PHOTOS_TOO)],
    ]
    made = []
    for seed, (paths, count) in enumerate(zip(parts, (CALIBRATION, TEST), strict=True)):
        made.append(crops.ready(np.stack(list(_random_crops(paths, crops.side, count, seed)))))
    return _written(out, *made)


def _random_crops(paths: list[Path], side: int, count: int, seed: int) -> Iterator[Any]:
    from PIL import Image

    rng = np.random.default_rng(seed)
    photographs = [Image.open(path).convert("RGB") for path in paths]
    for index in range(count):
        photograph = photographs[index % len(photographs)]
        extent = int(rng.integers(min(side, *photograph.size), min(photograph.size) + 1))
        left, top = (int(rng.integers(0, size - extent + 1)) for size in photograph.size)
        box = (left, top, left + extent, top + extent)
        yield np.asarray(photograph.resize((side, side), Image.Resampling.BILINEAR, box=box))


def photographs(folder: Path, out: Path, each: int = 20) -> Path:
    """Write crops of foolbox's 20 ImageNet photographs as EfficientNet-Lite0 takes them, with their classes.

    The first crop of each is the centre's seven eighths, as the network was scored; others are of 7/8 to all of the
    side, half of them mirrored. Crops of one photograph are not samples of their own: there are 20.
    """
    from PIL import Image

    rng = np.random.default_rng(0)
    images, labels = [], []
    for file in sorted(folder.glob("imagenet_*.jpg")):
        photograph = Image.open(file).convert("RGB")
        for place in range(each):
            side = min(photograph.size) * (0.875 if place == 0 else rng.uniform(0.875, 1.0))
            left, top = (np.array(photograph.size) - side) * (0.5 if place == 0 else rng.random(2))
            box = (left, top, left + side, top + side)
            crop = np.asarray(photograph.resize((224, 224), Image.Resampling.BICUBIC, box=box), np.float32)
            crop = crop[:, ::-1] if place % 2 else crop
            images.append(((crop - 127) / 128).transpose(2, 0, 1))
            labels.append(int(file.stem.rsplit("_", 1)[1]))
    np.savez(out, x=np.stack(images).astype(np.float32), labels=np.array(labels))
    return out


def _written(out: Path, calibration: Any, test: Any) -> tuple[Path, Path]:
    np.savez(out / "calibration.npz", x=calibration)
    np.savez(out / "test.npz", x=test)
    return out / "calibration.npz", out / "test.npz"


def music(path: Path, count: int, seed: int) -> Path:
    """Write pieces of two seconds of decaying harmonic tones at 22,050 Hz, and which of 88 keys sound in each frame."""
    rate, samples, frames, step = 22050, 43844, 172, 256
    rng = np.random.default_rng(seed)
    sound, labels = np.zeros((count, samples, 1), np.float32), np.zeros((count, frames, 88), np.uint8)
    for piece in range(count):
        for _ in range(int(rng.integers(3, 7))):
            key = int(rng.integers(19, 64))
            start, length = int(rng.integers(0, samples - 8000)), int(rng.integers(8000, 24000))
            stop = min(samples, start + length)
            time = np.arange(stop - start) / rate
            pitch = 27.5 * 2 ** (key / 12)
            tone = sum(np.sin(2 * np.pi * pitch * n * time) / n for n in range(1, 6)) * np.exp(-0.8 * time)
            sound[piece, start:stop, 0] += 0.15 * tone * np.minimum(1, np.minimum(time, time[::-1]) / 0.01)
            labels[piece, -(-start // step) : stop // step, key] = 1
    np.savez(path, x=np.clip(sound, -1, 1), labels=labels)
    return path


def train_digits8(out: Path) -> None:
    """Train a small Keras network on 1,000 of scikit-learn's digits; write it, 100 of those and the 797 others."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras
    from sklearn.datasets import load_digits

    keras.utils.set_random_seed(0)
    images, labels = load_digits(return_X_y=True)
    ready = (images.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(ready))
    known, held_out = order[:1000], order[1000:]
    layers = keras.layers
    model = keras.Sequential([keras.Input((8, 8, 1), name="image")])
    for channels, stride in ((16, 1), (32, 2), (48, 1), (64, 2)):
        model.add(layers.Conv2D(channels, 3, stride, padding="same", use_bias=False))
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10, activation="softmax", name="digit"))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(ready[known], labels[known], batch_size=50, epochs=15, verbose=0)
    model.save(out / "digits8.keras")
    np.savez(out / "calibration.npz", image=ready[known[:CALIBRATION]])
    np.savez(out / "test.npz", image=ready[held_out], labels=labels[held_out])
