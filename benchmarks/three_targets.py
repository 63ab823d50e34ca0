"""Time three INT8 builds of one Keras model by `palmtop quantize` against three first-party scripts one after another.

    python benchmarks/three_targets.py MODEL.keras DATA.npz [PAIRS]
    python benchmarks/three_targets.py mobilenet FOLDER

The second form writes Keras' MobileNetV2 at 224 pixels, its weights random, and 50 noise images to FOLDER.

palmtop starts with an empty cache and builds `static-int8` for TFLite, ONNX and Core ML: it checks the data, converts,
holds every conversion against the model, calibrates, quantizes and counts what became integers. The scripts do what
their tools' guides say and no more, each in a process of its own, with the same samples: TensorFlow's converter with a
representative data set; tf2onnx, ONNX Runtime's `quant_pre_process` and `quantize_static`; coremltools' conversion and
`linear_quantize_weights` (it cannot quantize activations off a Mac, so that build is the lesser one). Both are timed in
turn. Claim (docs/benchmarks.md): at most 0.8 of the scripts' time.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

PALMTOP = Path(sys.executable).parent / "palmtop"
PAIRS = 3
CLAIM = 0.8


def feeds(data: Path) -> Iterator[Any]:
    with np.load(data) as file:
        name = next(name for name in file.files if name not in ("labels", "label_names"))
        for row in file[name].astype(np.float32):
            yield row[None]


def tflite(model: Path, data: Path, out: Path) -> None:
    import keras
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(keras.models.load_model(model, compile=False))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row] for row in feeds(data))
    (out / "model.tflite").write_bytes(converter.convert())


def onnx(model: Path, data: Path, out: Path) -> None:
    import keras
    import tensorflow as tf
    import tf2onnx
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    loaded = keras.models.load_model(model, compile=False)
    spec = tf.TensorSpec((1, *loaded.inputs[0].shape[1:]), tf.float32, name="image")
    function = tf.function(lambda image: {"scores": loaded(image, training=False)}, input_signature=[spec])
    tf2onnx.convert.from_function(function, input_signature=[spec], opset=17, output_path=str(out / "float.onnx"))
    quant_pre_process(str(out / "float.onnx"), str(out / "ready.onnx"))
    stream = feeds(data)

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, Any] | None:
            row = next(stream, None)
            return None if row is None else {"image": row}

    quantize_static(str(out / "ready.onnx"), str(out / "model.onnx"), Reader())


def coreml(model: Path, data: Path, out: Path) -> None:
    import coremltools as ct
    import keras
    import tensorflow as tf
    from coremltools.optimize import coreml as cto

    loaded = keras.models.load_model(model, compile=False)
    spec = tf.TensorSpec((1, *loaded.inputs[0].shape[1:]), tf.float32, name="image")
    function = tf.function(lambda image: loaded(image, training=False), input_signature=[spec])
    made = ct.convert([function.get_concrete_function()], source="tensorflow", convert_to="mlprogram")
    config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(mode="linear_symmetric"))
    cto.linear_quantize_weights(made, config).save(str(out / "model.mlpackage"))


SCRIPTS: dict[str, Callable[[Path, Path, Path], None]] = {"tflite": tflite, "onnx": onnx, "coreml": coreml}


def timed(argv: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Run a command and return its seconds: on the clock, and of processor with all it started."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(argv, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def pair(model: Path, data: Path) -> dict[str, tuple[float, float]]:
    """Time palmtop and each script once."""
    quiet = {**os.environ, "ORT_DISABLE_TELEMETRY": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        argv = [str(PALMTOP), "quantize", str(model), "-d", str(data), "-o", str(place / "builds"), "-q"]
        found["palmtop"] = timed([*argv, "-r", "static-int8"], {**quiet, "PALMTOP_CACHE": str(place / "cache")})
        for target in SCRIPTS:
            (place / target).mkdir()
            argv = [sys.executable, __file__, "--child", target, str(model), str(data), str(place / target)]
            found[target] = timed(argv, quiet)
    return found


def compare(model: Path, data: Path, pairs: int) -> None:
    print(f"{model.name}, {sum(1 for _ in feeds(data))} samples, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print("| pair | palmtop | TFLite | ONNX | Core ML | the three | wall ratio | processor ratio |")
    print("|---|---|---|---|---|---|---|---|")
    ratios = []
    for turn in range(pairs):
        found = pair(model, data)
        scripts = [found[target] for target in SCRIPTS]
        wall, cpu = (sum(script[index] for script in scripts) for index in (0, 1))
        ratios.append((found["palmtop"][0] / wall, found["palmtop"][1] / cpu))
        each = " | ".join(f"{script[0]:.1f} s" for script in scripts)
        shares = f"{ratios[-1][0]:.2f} | {ratios[-1][1]:.2f}"
        print(f"| {turn + 1} | {found['palmtop'][0]:.1f} s | {each} | {wall:.1f} s | {shares} |", flush=True)
    middle = [float(np.median([ratio[index] for ratio in ratios])) for index in (0, 1)]
    print(f"Median ratio on the clock {middle[0]:.2f} (claim: at most {CLAIM}), of processor time {middle[1]:.2f}.")


def mobilenet(folder: Path, count: int = 50) -> None:
    """Write the model and the data."""
    import keras

    keras.utils.set_random_seed(0)
    keras.applications.MobileNetV2(weights=None).save(folder / "mobilenet.keras")
    images = np.random.default_rng(0).uniform(-1, 1, (count, 224, 224, 3)).astype(np.float32)
    np.savez(folder / "images.npz", image=images)


def main() -> None:
    if sys.argv[1] == "--child":
        SCRIPTS[sys.argv[2]](*map(Path, sys.argv[3:6]))
    elif sys.argv[1] == "mobilenet":
        mobilenet(Path(sys.argv[2]))
    else:
        compare(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else PAIRS)


if __name__ == "__main__":
    main()
