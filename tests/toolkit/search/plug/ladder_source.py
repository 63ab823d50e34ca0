"""A third party's source format for tests of the search: dense layers with ReLU between them, in an `.npz` of its own.

Arrays `step0`, `step1`, ... [in, out]; all but the last are followed by ReLU. Small and real: it goes through entry
points, stages and child processes, executed by numpy alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from toolkit.core.artifacts import Signature, TensorSpec, ToolVersion
from toolkit.core.errors import ModelError
from toolkit.core.signature import check_feeds

SUFFIXES = (".ladder",)
FORMS = ("ladder",)


def recognises(path: Path) -> str | None:
    return None if path.read_bytes()[:2] == b"PK" else "it is no zip"


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def steps(arrays: dict[str, np.ndarray]) -> list[str]:
    return sorted((name for name in arrays if name.startswith("step")), key=lambda name: int(name[4:]))


def signature(arrays: dict[str, np.ndarray], prefix: str = "") -> Signature:
    names = steps(arrays)
    wide, classes = arrays[names[0]].shape[0], arrays[names[-1]].shape[1]
    return Signature(
        inputs=(TensorSpec(name=f"{prefix}x", dtype="float32", shape=(1, wide), source_name="x"),),
        outputs=(TensorSpec(name=f"{prefix}scores", dtype="float32", shape=(1, classes), source_name="scores"),),
    )


def compute(arrays: dict[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    made, names = {}, steps(arrays)
    for name in names:
        x = np.asarray(x, np.float32) @ arrays[name].astype(np.float32)
        x = x if name == names[-1] else np.maximum(x, 0)
        made[name] = x
    return made


def read(path: Path, shapes: dict[str, tuple[int, ...]]) -> Signature:
    arrays = load(path)
    if not steps(arrays):
        raise ModelError(f"{path} has no layer.")
    return signature(arrays)


def export(path: Path, form: str, shapes: dict[str, tuple[int, ...]], out: Path) -> None:
    shutil.copyfile(path, out)


class LadderSession:
    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.signature = signature(arrays)
        self._arrays = arrays

    def run(self, feeds):
        check_feeds(feeds, self.signature)
        return {"scores": list(compute(self._arrays, feeds["x"]).values())[-1]}

    def close(self) -> None:
        pass


def open_session(path: Path, shapes: dict[str, tuple[int, ...]]) -> LadderSession:
    return LadderSession(load(path))


def toolchain() -> tuple[ToolVersion, ...]:
    return (ToolVersion(name="numpy", version=np.__version__),)
