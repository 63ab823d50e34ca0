"""Writes SavedModels, TFLite files and PyTorch exports: good specimens, odd ones, and ones that must be refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

SEED = 11


def make_saved_model_variants(bad: Path, good: Path) -> None:
    """Write SavedModel folders."""
    import tensorflow as tf

    rng = np.random.default_rng(SEED)
    weight = tf.Variable(rng.normal(0, 0.3, (3, 3, 3, 4)).astype(np.float32))
    half = tf.Variable(rng.normal(0, 0.3, (4,)).astype(np.float16))
    wide = tf.Variable(rng.normal(0, 0.3, (4,)))

    def save(folder: Path, shape, call, dtype=tf.float32, **more) -> None:
        module = tf.Module()
        module.kept = {"float16": half, "double": wide}.get(folder.name, weight)
        given = [tf.TensorSpec(shape, dtype, name="image")] if shape is not None else []
        serve = tf.function(call, input_signature=given)
        tf.saved_model.save(module, str(folder), signatures=more or {"serving_default": serve})

    def conv(image):
        maps = tf.nn.relu(tf.nn.conv2d(image, weight, 1, "SAME"))
        return {"scores": tf.reduce_mean(maps, (1, 2)), "maps": maps}

    save(good / "specimen", (None, 8, 8, 3), conv)
    spec = tf.TensorSpec((1, 8, 8, 3), tf.float32, name="x/1")
    lone = tf.function(lambda x: {"a b": tf.nn.conv2d(x, weight, 2, "VALID")}, input_signature=[spec])
    save(good / "lone", (1, 8, 8, 3), conv, lone=lone)
    save(bad / "several", (1, 8, 8, 3), conv, lone=lone, other=lone)
    save(bad / "zero_input", None, lambda: {"y": weight * 2.0})
    save(bad / "dynamic", (None, None, None, 3), conv)
    save(bad / "float16", (1, 4), lambda image: {"y": image * tf.cast(half, tf.float32)})
    save(bad / "double", (1, 4), lambda image: {"y": tf.cast(tf.cast(image, tf.float64) * wide, tf.float32)})
    save(bad / "string", (1,), lambda image: {"y": tf.strings.length(image)}, tf.string)
    save(bad / "quantized", (1, 4), lambda image: {"y": tf.quantization.fake_quant_with_min_max_args(image, -1, 1)})

    def writer(image):
        tf.io.write_file(str(bad.parent / "escaped"), "x")
        return {"y": image + 1.0}

    save(bad / "writer", (1, 4), writer)
    save(
        bad / "python",
        (1, 4),
        lambda image: {"y": tf.ensure_shape(tf.numpy_function(np.sin, [image], tf.float32), (1, 4))},
    )
    (bad / "bare").mkdir()


def make_tflite_variants(bad: Path, good: Path) -> None:
    """Write ``.tflite`` files."""
    import tensorflow as tf

    rng = np.random.default_rng(SEED)
    weight = rng.normal(0, 0.3, (3, 3, 3, 4)).astype(np.float32)
    dense = rng.normal(0, 0.3, (64 * 4, 70)).astype(np.float32)

    def convert(path: Path, shape, call, **options) -> None:
        module = tf.Module()
        serve = tf.function(call, input_signature=[tf.TensorSpec(shape, tf.float32, name="image")])
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)
        for name, value in options.items():
            setattr(converter, name, value)
        path.write_bytes(converter.convert())

    def net(image):
        maps = tf.nn.relu(tf.nn.conv2d(image, weight, 1, "SAME"))
        return {"scores": tf.nn.softmax(tf.reshape(maps, (1, 256)) @ dense), "maps": maps}

    def samples():
        for _ in range(4):
            yield [rng.random((1, 8, 8, 3), np.float32)]

    fast = [tf.lite.Optimize.DEFAULT]
    convert(good / "specimen.tflite", (1, 8, 8, 3), net)
    convert(good / "open_batch.tflite", (None, 8, 8, 3), lambda image: tf.nn.conv2d(image, weight, 2, "VALID"))
    convert(bad / "dynamic.tflite", (1, None, None, 3), lambda image: tf.nn.conv2d(image, weight, 1, "SAME"))
    convert(bad / "float16.tflite", (1, 8, 8, 3), net, optimizations=fast, target_spec=_half())
    convert(bad / "quantized.tflite", (1, 8, 8, 3), net, optimizations=fast, representative_dataset=samples)
    convert(bad / "hybrid.tflite", (1, 8, 8, 3), net, optimizations=fast)
    flex = tf.lite.TargetSpec(supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS])
    convert(bad / "flex.tflite", (1, 8), lambda image: tf.linalg.det(tf.reshape(image, (2, 2, 2))), target_spec=flex)


def _half():
    import tensorflow as tf

    return tf.lite.TargetSpec(supported_types=[tf.float16])


def make_pytorch_variants(bad: Path, good: Path) -> None:
    """Write ``.pt2`` archives, and what people mistake for them."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)
            self.norm = torch.nn.BatchNorm2d(4)
            self.head = torch.nn.Linear(4, 2)

        def forward(self, image):
            maps = torch.relu(self.norm(self.conv(image)))
            return {"logits": self.head(maps.mean((2, 3))), "maps": maps}

    class Two(torch.nn.Module):
        def forward(self, ids, facts):
            return facts[:, ids[0]] * 2, facts - 1

    class Still(torch.nn.Module):
        def forward(self):
            return torch.ones(2)

    def save(path: Path, model, *example, **options) -> None:
        torch.export.save(torch.export.export(model, example, strict=False, **options), str(path))

    torch.manual_seed(SEED)
    net, image, any_size = Net().eval(), torch.rand(2, 3, 8, 8), torch.export.Dim.DYNAMIC
    save(good / "specimen.pt2", net, image, dynamic_shapes=({0: any_size},))
    save(good / "two.pt2", Two(), torch.zeros(1, 3, dtype=torch.int64), torch.rand(1, 4))
    save(bad / "zero_input.pt2", Still())
    save(bad / "dynamic.pt2", net, image, dynamic_shapes=({2: any_size, 3: any_size},))
    save(bad / "float16.pt2", Net().eval().half(), image.half())
    save(bad / "training.pt2", Net().train(), image)
    torch.save(net.state_dict(), bad / "weights.pth")
    torch.save(torch.nn.Linear(2, 2), bad / "whole.pt")
    doctored(good / "specimen.pt2", bad / "evaluated.pt2", _with_code)
    doctored(good / "specimen.pt2", bad / "unpickled.pt2", _with_pickle)
    doctored(good / "specimen.pt2", bad / "looked_up.pt2", _with_lookup)


def doctored(source: Path, to: Path, change) -> None:
    """Copy an archive with every JSON member passed through ``change``."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(to, "w") as made:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith(".json"):
                content = json.dumps(change(json.loads(content))).encode()
            made.writestr(name, content)


def _with_code(plain):
    evil = "__import__('os').system('touch /tmp/palmtop-was-here')"
    return _everywhere(plain, "expr_str", evil)


def _with_pickle(plain):
    return _everywhere(plain, "use_pickle", True)


def _with_lookup(plain):
    return _everywhere(plain, "target", "torch.hub.load")


def _everywhere(plain, key, value):
    if isinstance(plain, dict):
        return {name: value if name == key and not isinstance(inner, dict) else _everywhere(inner, key, value)
                for name, inner in plain.items()}  # fmt: skip
    return [_everywhere(inner, key, value) for inner in plain] if isinstance(plain, list) else plain
