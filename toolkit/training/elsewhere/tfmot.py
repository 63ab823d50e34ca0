"""HDF5 files of tf_keras with TensorFlow Model Optimization's wrappers: the layers inside them, and their ranges.

Nothing of either library is needed: the wrappers are taken out of the file's configuration, the weights are copied, and
Keras 3 reads what is left in safe mode, as it reads any file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import pins
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array
from toolkit.core.probe import probe_feeds
from toolkit.stages.order import source_of
from toolkit.training.elsewhere import SHRINKERS, Converted, dropped

_ORDER = ("depthwise_kernel", "pointwise_kernel", "kernel", "embeddings", "bias", "gamma", "beta", "moving_mean",
          "moving_variance")  # fmt: skip
"""Weights by name, in the order that Keras stores those of a layer."""
_RANGES = ("output", "post_activation", "pre_activation", "quantize_layer")
_GROUPED = ("Conv1D", "Conv2D", "Conv3D", "GroupNormalization")
_STRIP = (
    "Strip it where it was trained (tfmot.sparsity.keras.strip_pruning, tfmot.clustering.keras.strip_clustering), and "
    "save it again."
)
_AGAIN = "Save it where it was trained with `model.save('NAME.h5')`: palmtop takes tfmot's models from HDF5."


def convert(path: Path, shapes: dict[str, tuple[int, ...]], out: Path) -> Converted:
    """See :func:`toolkit.training.elsewhere.convert`."""
    if path.suffix.lower() == ".keras":
        raise ModelError(
            f"{path} holds TensorFlow Model Optimization's wrappers in tf_keras's own archive.", hint=_AGAIN
        )
    import h5py

    with tempfile.TemporaryDirectory(prefix="palmtop-") as scratch:
        plain = Path(scratch) / f"{path.stem}.h5"
        try:
            with h5py.File(path, "r") as source, h5py.File(plain, "w") as made:
                ranges, lost = _unwrapped(path, source, made)
        except (OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(
                f"Cannot read the model {path}: it is damaged, or not what tf_keras writes ({error}).",
                hint="Copy it again, or save it again where it was trained.",
            ) from error
        keras = source_of("keras")
        signature = keras.read(plain, shapes)
        model = keras.load(plain, shapes)
    model.save(out)
    marks = _marks(model, probe_feeds(signature), list(ranges))
    found = [
        pins.Pin(site=name, low=low, high=high, fingerprint=marks[name])
        for name, (low, high) in ranges.items()
        if name in marks
    ]
    pins.write(pins.beside(out), found)
    return Converted(ranges=len(found), notes=dropped([*lost, *(name for name in ranges if name not in marks)]))


def _unwrapped(path: Path, source: Any, made: Any) -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Copy a file without its wrappers; return the range of each layer's output, and layers whose ranges are others."""
    config = json.loads(source.attrs["model_config"])
    _check_wrappers(path, config)
    for layer in list(_layers(config)):
        _unwrap(path, layer)
    made.attrs["model_config"] = json.dumps(_without_foreign(path, config)).encode()
    for name in ("keras_version", "backend"):
        if name in source.attrs:
            made.attrs[name] = source.attrs[name]
    group = made.create_group("model_weights")
    names = [_text(name) for name in source["model_weights"].attrs["layer_names"]]
    group.attrs["layer_names"] = [name.encode() for name in names]
    ranges, lost = {}, []
    for name in names:
        weights = {_text(full): source["model_weights"][name][full][()]
                   for full in source["model_weights"][name].attrs["weight_names"]}  # fmt: skip
        _copy_weights(group.create_group(name), weights)
        found = _range_of(weights)
        if found is not None:
            ranges[name] = found
        elif _ends(weights):
            lost.append(name)
    return ranges, lost


def _check_wrappers(path: Path, config: Any) -> None:
    for layer in _layers(config):
        kind = str(layer["class_name"]).rpartition(">")[2]
        if kind.startswith(SHRINKERS):
            raise ModelError(f"{path}: {layer['config'].get('name')!r} is a wrapper of pruning or clustering ({kind}).",
                             hint=_STRIP)  # fmt: skip


def _layers(plain: Any) -> Iterator[dict[str, Any]]:
    """Yield every layer of a configuration, nested models' too, before what lies in it."""
    if isinstance(plain, dict):
        if isinstance(plain.get("config"), dict) and "class_name" in plain:
            yield plain
        for value in plain.values():
            yield from _layers(value)
    elif isinstance(plain, list):
        for value in plain:
            yield from _layers(value)


def _unwrap(path: Path, layer: dict[str, Any]) -> None:
    """Put the layer that a wrapper holds in the wrapper's place, under the wrapper's name."""
    kind, config = str(layer["class_name"]).rpartition(">")[2], layer["config"]
    if kind == "QuantizeLayer":
        layer |= {"class_name": "Activation", "config": {"name": config["name"], "activation": "linear"}}
    elif kind in ("QuantizeWrapper", "QuantizeWrapperV2"):
        inner = config.get("layer")
        if not isinstance(inner, dict) or "class_name" not in inner:
            raise ModelError(f"{path}: the wrapper {config.get('name')!r} holds no layer.", hint=_AGAIN)
        layer |= {"class_name": inner["class_name"], "config": {**inner["config"], "name": config["name"]}}
    if layer["class_name"] not in _GROUPED:
        layer["config"].pop("groups", None)  # which Keras 2 writes for every convolution
    layer.pop("registered_name", None)
    layer.pop("module", None)
    activation = layer["config"].get("activation")
    while isinstance(activation, dict) and "QuantizeAwareActivation" in str(activation.get("class_name")):
        activation = activation["config"]["activation"]
    if isinstance(activation, dict) and str(activation.get("class_name")).endswith("NoOpActivation"):
        activation = "linear"
    if isinstance(activation, str):
        layer["config"]["activation"] = activation


def _without_foreign(path: Path, config: Any) -> Any:
    text = json.dumps(config)
    if "tensorflow_model_optimization" in text or "QuantizeConfig" in text:
        raise ModelError(
            f"{path} holds something of TensorFlow Model Optimization besides its wrappers.",
            hint=_STRIP,
        )
    return config


def _copy_weights(group: Any, weights: dict[str, Array]) -> None:
    chosen = {}
    for full, values in weights.items():
        name = full.rpartition("/")[2].partition(":")[0]
        if name in _ORDER:
            chosen[name] = (full, values)
    ordered = [chosen[name] for name in _ORDER if name in chosen]
    group.attrs["weight_names"] = [full.encode() for full, _ in ordered]
    for full, values in ordered:
        group.create_dataset(full, data=values)


def _ends(weights: dict[str, Array]) -> dict[str, float]:
    """Return the ends of ranges among the weights of a layer, by name such as ``post_activation_min``."""
    ends: dict[str, float] = {}
    for full, values in weights.items():
        name = full.rpartition("/")[2].partition(":")[0]
        if np.size(values) == 1 and name.rpartition("_")[0] in _RANGES:
            ends[name] = float(np.reshape(values, ()))
    return ends


def _range_of(weights: dict[str, Array]) -> tuple[float, float] | None:
    ends = _ends(weights)
    for word in _RANGES:
        low, high = ends.get(f"{word}_min"), ends.get(f"{word}_max")
        if word != "pre_activation" and low is not None and high is not None and low <= high:
            return low, high
    return None


def _marks(model: Any, feeds: dict[str, Array], names: list[str]) -> dict[str, pins.Fingerprint]:
    import keras

    chosen = [layer for layer in model.layers if layer.name in names]
    probe = keras.Model(model.inputs, [layer.output for layer in chosen])
    values = probe(list(feeds.values()), training=False)
    found = values if isinstance(values, list | tuple) else [values]
    return {layer.name: pins.fingerprint(np.asarray(value)) for layer, value in zip(chosen, found, strict=True)}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
