"""Damaged and hostile packages, opened and executed in a child process that may not take the machine's memory."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.errors import DataError, ModelError
from toolkit.targets import coreml
from toolkit.targets.coreml.foreign import coremltools

ADDRESS_SPACE = 12 << 30


def mixed_package(out: Path) -> None:
    """A program with an operator of most families, small and with 6-bit, sparse and plain weights."""
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb

    rng = np.random.default_rng(12)

    def floats(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.4, shape).astype(np.float32)

    packed = np.packbits(rng.integers(0, 2, 6 * 96).astype(np.uint8), bitorder="little")

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 3, 12, 12))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        table = mb.constexpr_lut_to_dense(indices=packed, lut=floats(64), shape=np.array([96, 1, 1, 1], np.uint32))
        y = mb.conv(x=mb.pad(x=x, pad=[1, 1, 1, 1], mode="reflect"), weight=floats(96, 3, 3, 3), strides=[2, 2])
        y = mb.relu(x=mb.conv(x=y, weight=table, groups=96))
        y = mb.batch_norm(x=y, mean=floats(96), variance=np.abs(floats(96)) + 0.1)
        y = mb.concat(values=[mb.max_pool(x=y, kernel_sizes=[2, 2], strides=[1, 1], pad_type="same"), y], axis=1)
        y = mb.resize_bilinear(x=y, target_size_height=4, target_size_width=4, sampling_mode="ALIGN_CORNERS")
        y = mb.reshape(x=mb.transpose(x=y, perm=[2, 3, 0, 1]), shape=[16, 1, -1])
        state = mb.fill(shape=[1, 8], value=0.0)
        y = mb.lstm(x=y, initial_h=state, initial_c=state, weight_ih=floats(32, 192), weight_hh=floats(32, 8))[1]
        y = mb.layer_norm(x=mb.linear(x=y, weight=floats(20, 8)), axes=[-1])
        y = mb.gather(x=y, indices=np.array([3, 1, 19], np.int32), axis=1)
        y = mb.slice_by_index(x=y, begin=[0, 0], end=[1, 3], stride=[1, 2])
        return mb.softmax(x=mb.reduce_sum(x=mb.expand_dims(x=y, axes=[0]), axes=[0]), axis=-1, name="y")

    ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    ).save(str(out))


def damage(folder: Path, count: int) -> dict[str, int]:
    """Make a package and damage it in ``count`` ways; return how often opening and executing was refused, or worked.

    Any other exception than the house's own goes through. What is beside the package must stay as it is.
    """
    package = folder / "mixed.mlpackage"
    mixed_package(package)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    beside, ends = sorted(package.parent.rglob("*")), {"refused": 0, "executed": 0}
    for what in _damages(package, count):
        try:
            session = coreml.open_session(package, 1)
            session.run({"x": np.ones((1, 3, 12, 12), np.float32)})
            coreml.inspect(package)
            ends["executed"] += 1
        except (ModelError, DataError):
            ends["refused"] += 1
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
        assert sorted(package.parent.rglob("*")) == beside, what
    return ends


def _damages(package: Path, count: int) -> Iterator[str]:
    """Flip bytes of a file of the package, or cut it off, and mend it afterwards."""
    rng = np.random.default_rng(4)
    files = sorted(path for path in package.rglob("*") if path.is_file())
    weights = [3 if path.suffix == ".mlmodel" else 1 for path in files]
    for turn in range(count):
        path = files[int(rng.choice(len(files), p=np.array(weights) / sum(weights)))]
        whole = path.read_bytes()
        if turn % 4 == 0:
            keep = int(rng.integers(len(whole)))
            path.write_bytes(whole[:keep])
            what = f"{path.name} cut off at {keep}"
        else:
            broken = np.frombuffer(whole, np.uint8).copy()
            places = rng.integers(0, len(whole), int(rng.integers(1, 4)))
            broken[places] ^= rng.integers(1, 256, len(places)).astype(np.uint8)
            path.write_bytes(broken.tobytes())
            what = f"{path.name} with other bytes at {places.tolist()}"
        yield f"turn {turn}: {what}"
        path.write_bytes(whole)
