"""A third party's source format for the tests: a linear model as JSON in a `.toy` file, executed by numpy alone.

`{"in": [3], "weights": [[...]], "bias": [...], "batch": 1, "turn": false, "faults": {"convert": "crash"}}`. Small and
real: it goes through palmtop's own entry points, stages and child processes, without the seconds a framework needs.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from toolkit.core.artifacts import Signature, TensorSpec, ToolVersion
from toolkit.core.errors import ModelError
from toolkit.core.signature import check_feeds

SUFFIXES = (".toy",)
FORMS = ("toy_json",)


def recognises(path: Path) -> str | None:
    head = path.read_bytes()[:1]
    return None if head == b"{" else "it does not begin with a brace" if head else "it is empty"


def load(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ModelError(f"Cannot read {path}: {error}.") from error


def signature(model: dict) -> Signature:
    batch = model.get("batch", 1)
    outputs = [TensorSpec(name="scores", dtype="float32", shape=(batch, len(model["bias"])))]
    if model.get("extra"):
        outputs.append(TensorSpec(name="extra", dtype="float32", shape=(batch, len(model["bias"]))))
    return Signature(
        inputs=(TensorSpec(name="x", dtype="float32", shape=(batch, *model["in"])),), outputs=tuple(outputs)
    )


def compute(model: dict, x: np.ndarray) -> np.ndarray:
    flat = x.reshape(len(x), -1).astype(np.float32)
    return flat @ np.asarray(model["weights"], np.float32) + np.asarray(model["bias"], np.float32)


def read(path: Path, shapes: dict[str, tuple[int, ...]]) -> Signature:
    model = load(path)
    if not model.get("in"):
        raise ModelError(f"{path} has no input.")
    return signature(model)


def export(path: Path, form: str, shapes: dict[str, tuple[int, ...]], out: Path) -> None:
    shutil.copyfile(path, out)
    from toy_target import fault  # which imports this module

    fault(load(path), "export")


def open_session(path: Path, shapes: dict[str, tuple[int, ...]]) -> ToySession:
    return ToySession(load(path))


class ToySession:
    def __init__(self, model: dict) -> None:
        self.signature = signature(model)
        self.model = model

    def run(self, feeds):
        check_feeds(feeds, self.signature)
        scores = compute(self.model, feeds["x"])
        if self.model.get("float_nan"):
            scores[:] = np.nan
        return {"scores": scores, **({"extra": scores} if self.model.get("extra") else {})}

    def close(self) -> None:
        pass


def toolchain() -> tuple[ToolVersion, ...]:
    return (ToolVersion(name="numpy", version=np.__version__),)
