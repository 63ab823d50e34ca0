"""A folder of real tiny builds for the tests of the harness, and a runner that behaves or misbehaves by order."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from mobile_harness.measurer.machine import Limits
from mobile_harness.transports.host import HostDevice
from toolkit.core import isolation, manifest, store
from toolkit.core.artifacts import Preprocess, Requirements, Signature, TensorSpec
from toolkit.core.clock import SystemClock
from toolkit.core.tools import Tools

SCRIPTED = Path(__file__).parent / "fakes" / "runners" / "scripted.py"
SHORT = Limits(hello_s=20, silence_s=1.5, native_silence_s=2.0, grace_s=1.0, deadline_s=60)


def make_golden(model: Path, target: str, out: Path) -> None:
    """Run a model on three seeded samples in its own runtime and keep inputs and outputs."""
    from toolkit.core import discovery

    session = discovery.load("toolkit.targets", target).open_session(model, 1)
    rng = np.random.default_rng(7)
    arrays: dict[str, list[np.ndarray]] = {}
    for _ in range(3):
        feeds = {
            spec.name: rng.random([max(size, 1) for size in spec.shape]).astype(spec.dtype)
            for spec in session.signature.inputs
        }
        for name, value in feeds.items():
            arrays.setdefault(f"in/{name}", []).append(value)
        for name, value in session.run(feeds).items():
            arrays.setdefault(f"out/{name}", []).append(value)
    np.savez(out, **{name: np.stack(values) for name, values in arrays.items()})


def make_folder(
    tools: Tools, onnx_model: Path, folder: Path, names: tuple[str, ...] = ("float32", "static-int8")
) -> Path:
    """Lay out a folder of builds, all the same small ONNX net under several recipes' names, with golden samples."""
    (folder / "golden").mkdir(parents=True)
    golden = folder / "golden" / "net.npz"
    isolation.isolate(tools, 120, make_golden, onnx_model, "onnx", golden)
    signature = Signature(
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 3, 16, 16)),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 5)),),
    )
    builds = []
    for name in names:
        path = folder / f"onnx-{name}.onnx"
        path.write_bytes(onnx_model.read_bytes())
        builds.append(
            manifest.BuildEntry(
                id=f"onnx-{name}",
                target="onnx",
                recipe=name,
                path=path.name,
                sha256=store.sha256_of(path),
                size_bytes=path.stat().st_size,
                signature=signature,
                kept_float=(),
                requirements=Requirements(runtime="ONNX Runtime", runtime_min="1.16"),
                golden="golden/net.npz",
                golden_sha256=store.sha256_of(golden),
            )
        )
    manifest.write(
        folder,
        manifest.Manifest(
            palmtop="0",
            source=manifest.SourceEntry(
                name="net", path="net.onnx", sha256="0" * 64, format="onnx", signature=signature
            ),
            preprocess=Preprocess(),
            calibration=None,
            toolchain=(),
            builds=tuple(builds),
        ),
    )
    return folder


def scripted(mode: str, memo: Path | None = None) -> HostDevice:
    """A device whose runner follows the protocol or breaks it, as ``tests/fakes/runners/scripted.py`` lists."""
    return HostDevice(SystemClock(), (sys.executable, str(SCRIPTED), mode, str(memo or "")))
