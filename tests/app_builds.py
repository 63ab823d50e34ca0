"""Folders of builds for the tests of the starter apps: the files of models that no app test executes, and real golden
arrays of a small linear classifier whose input is a preprocessed picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import manifest, store
from toolkit.core.artifacts import Preprocess, Requirements, Signature, TensorSpec

SUFFIXES = {"tflite": ".tflite", "onnx": ".onnx", "coreml": ".mlpackage"}
PICTURE = TensorSpec(name="image", dtype="float32", shape=(1, 12, 12, 1))
SCORES = TensorSpec(name="scores", dtype="float32", shape=(1, 4))
SCALED = Preprocess(scale=1 / 255, colour="gray")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a folder of builds is made of."""

    targets: tuple[str, ...] = ("tflite", "onnx", "coreml")
    inputs: tuple[TensorSpec, ...] = (PICTURE,)
    outputs: tuple[TensorSpec, ...] = (SCORES,)
    preprocess: Preprocess = SCALED
    label_names: tuple[str, ...] = ("bar", "cross", "dot", "ring")
    verdicts: dict[str, Any] = field(default_factory=dict)
    recipes: tuple[str, ...] = ("static-int8",)
    content: bytes = b"model \x00 bytes"
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def make(folder: Path, plan: Plan | None = None, **changes: Any) -> Path:
    """Write ``build.json``, artefacts, golden samples and labelled data."""
    plan = replace(plan or Plan(), **changes)
    (folder / "golden").mkdir(parents=True)
    golden = folder / "golden" / "all.npz"
    np.savez(golden, **(plan.arrays or golden_arrays(plan)))
    data = folder.parent / f"{folder.name}-labelled.npz"
    extra = {"label_names": np.array(plan.label_names)} if plan.label_names else {}
    np.savez(data, image=np.zeros((2, 12, 12, 1), np.uint8), labels=np.zeros(2, np.int64), **extra)
    builds = [_entry(folder, plan, target, recipe) for target in plan.targets for recipe in plan.recipes]
    manifest.write(folder, _manifest(plan, tuple(builds), data))
    return folder


def golden_arrays(plan: Plan) -> dict[str, np.ndarray]:
    """Return three seeded samples; a picture's outputs are a softmax of a fixed linear map of it."""
    rng = np.random.default_rng(11)
    arrays: dict[str, np.ndarray] = {}
    for spec in plan.inputs:
        shape = (3, *(max(size, 1) for size in spec.shape))
        whole = spec.dtype.startswith(("int", "uint"))
        arrays[f"in/{spec.name}"] = (rng.integers(0, 9, shape) if whole else rng.random(shape)).astype(spec.dtype)
    for spec in plan.outputs:
        logits = rng.normal(size=(3, *(max(size, 1) for size in spec.shape)))
        shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        arrays[f"out/{spec.name}"] = shares.astype(spec.dtype)
    return arrays


def _entry(folder: Path, plan: Plan, target: str, recipe: str) -> manifest.BuildEntry:
    path = folder / f"{target}-{recipe}{SUFFIXES[target]}"
    if target == "coreml":
        (path / "Data" / "com.apple.CoreML" / "weights").mkdir(parents=True)
        (path / "Manifest.json").write_text("{}\n")
        (path / "Data" / "com.apple.CoreML" / "model.mlmodel").write_bytes(plan.content)
        (path / "Data" / "com.apple.CoreML" / "weights" / "weight.bin").write_bytes(plan.content * 3)
    else:
        path.write_bytes(plan.content + recipe.encode())
    return manifest.BuildEntry(
        id=f"{target}-{recipe}",
        target=target,
        recipe=recipe,
        path=path.name,
        sha256=store.sha256_of(path),
        size_bytes=store.size_of(path),
        signature=Signature(inputs=plan.inputs, outputs=plan.outputs),
        kept_float=(),
        requirements=Requirements(runtime="a runtime", runtime_min="1.0", android_api_min=21, ios_min="15.0"),
        golden="golden/all.npz",
        golden_sha256=store.sha256_of(folder / "golden" / "all.npz"),
        verdict=plan.verdicts.get(recipe),
    )


def _manifest(plan: Plan, builds: tuple[manifest.BuildEntry, ...], data: Path) -> manifest.Manifest:
    signature = Signature(inputs=plan.inputs, outputs=plan.outputs)
    return manifest.Manifest(
        palmtop="0.1.0",
        source=manifest.SourceEntry(
            name="strokes", path="s.keras", sha256="0" * 64, format="keras", signature=signature
        ),
        preprocess=plan.preprocess,
        calibration=None,
        verification=manifest.DataEntry(data=str(data), format="npz", sha256="0" * 64, samples=2, method="top1"),
        toolchain=(),
        builds=builds,
    )
