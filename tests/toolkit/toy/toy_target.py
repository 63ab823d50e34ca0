"""A third party's runtime for the tests: real 8-bit weights, ranges from calibration, and faults on request.

Its artefacts turn a rank-4 NHWC input to NCHW where the model says `turn`, and rename tensors, as converters do.
`faults` of the model name a step (`export`, `convert`, `calibrate`, `quantize`, `run`, `tap` of a build, `tap_float`)
and what happens there.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from toy_source import compute, load, signature

from toolkit.core.artifacts import (
    Inspection,
    KeptFloat,
    LayerFact,
    Range,
    Requirements,
    Signature,
    TensorSpec,
    ToolVersion,
)
from toolkit.core.errors import ModelError
from toolkit.core.ports import Quantized
from toolkit.core.recipe import Recipe
from toolkit.core.signature import check_feeds
from toolkit.core.store import size_of

SUFFIX = ".toyq"
FORMS = ("toy_json",)
TURN = (0, 3, 1, 2)


def not_expressible(recipe: Recipe) -> str | None:
    return None if recipe.weight_bits in (8, 32) else f"{recipe.weight_bits}-bit weights"


def fault(model: dict, step: str) -> None:
    kind = model.get("faults", {}).get(step)
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hang":
        threading.Event().wait()
    if kind == "refuse":
        raise ModelError(f"The operator Linear cannot be handled in {step}.")
    if kind == "raise":
        raise ZeroDivisionError("a toolchain's own error")


def artefact_signature(model: dict, *, turn: bool = True) -> Signature:
    own = signature(model)
    x = own.inputs[0]
    perm = TURN if model.get("turn") and turn else ()
    shape = tuple(x.shape[axis] for axis in perm) if perm else x.shape
    return Signature(
        inputs=(TensorSpec(name="toy:x", dtype="float32", shape=shape, source_name="x", perm=perm),),
        outputs=tuple(
            TensorSpec(name=f"toy:{spec.name}", dtype="float32", shape=spec.shape, source_name=spec.name)
            for spec in own.outputs
        ),
    )


def convert(form: str, model: Path, source: Signature, out: Path) -> Signature:
    content = load(model)
    fault(content, "convert")
    out.write_text(json.dumps(content))
    return artefact_signature(content)


def calibrate(model: Path, samples: Iterable, observe) -> None:
    content = load(model)
    fault(content, "calibrate")
    session = open_session(model, 0)
    for feeds in samples:
        observe("toy:x", feeds["toy:x"])
        for name, values in session.run(feeds).items():
            observe(name, values)


def tap(model: Path, samples: Iterable, observe) -> None:
    content = load(model)
    fault(content, "tap" if content.get("quantized") else "tap_float")
    session = open_session(model, 0)
    for feeds in samples:
        observe("toy:x", feeds["toy:x"])
        for name, values in session.run(feeds).items():
            observe(name, values)
            observe(f"{name}/positive", np.maximum(values, 0))


def quantize(model: Path, recipe: Recipe, ranges: dict[str, Range], out: Path) -> Quantized:
    content = load(model)
    fault(content, "quantize")
    if recipe.needs_data:
        content["ranges"] = {name: [seen.low, seen.high] for name, seen in ranges.items()}
    weights = np.asarray(content["weights"], np.float32)
    scale = np.abs(weights).max(axis=0, keepdims=True) / 127
    content["weights"] = (np.round(weights / scale) * scale).tolist()
    content["quantized"] = recipe.name
    out.write_text(json.dumps(content))
    plain = Signature(
        inputs=tuple(
            TensorSpec(name=spec.name, dtype=spec.dtype, shape=spec.shape)
            for spec in artefact_signature(content).inputs
        ),
        outputs=tuple(
            TensorSpec(name=spec.name, dtype=spec.dtype, shape=spec.shape)
            for spec in artefact_signature(content).outputs
        ),
    )
    return Quantized(signature=plain, kept_float=(KeptFloat(layer="bias", reason="small"),))


class ToyqSession:
    def __init__(self, model: dict) -> None:
        self.signature = artefact_signature(model)
        self.model = model

    def run(self, feeds):
        check_feeds(feeds, self.signature)
        if self.model.get("quantized"):
            fault(self.model, "run")
        x = feeds["toy:x"]
        if self.model.get("turn"):
            x = x.transpose(0, 2, 3, 1)
        scores = compute(self.model, x)
        if self.model.get("quantized") and self.model.get("faults", {}).get("run") == "nan" and x.flat[0] > 0.5:
            scores[0, 0] = np.nan
        if self.model.get("quantized") and self.model.get("faults", {}).get("run") == "narrow":
            scores = scores[:, 1:]
        answers = {f"toy:{spec.source_name}": scores for spec in self.signature.outputs}
        gain = {"extra_lost": 0.0, "extra_weak": 1.1}.get(self.model.get("faults", {}).get("run"))
        if self.model.get("quantized") and gain is not None:
            answers["toy:extra"] = np.asarray(scores * gain, np.float32)
        return answers

    def close(self) -> None:
        pass


def open_session(model: Path, threads: int) -> ToyqSession:
    return ToyqSession(load(model))


def inspect(model: Path) -> Inspection:
    content = load(model)
    kind = "int8" if content.get("quantized") else "float32"
    weights = np.asarray(content["weights"]).size
    outputs = tuple(spec.name for spec in artefact_signature(content).outputs)
    layer = LayerFact(
        name="linear",
        operator="Linear",
        weight_dtype=kind,
        activation_dtype="float32",
        weight_bytes=weights,
        outputs=outputs,
    )
    positive = LayerFact(
        name="positive",
        operator="Relu",
        weight_dtype="",
        activation_dtype="float32",
        weight_bytes=0,
        outputs=tuple(f"{name}/positive" for name in outputs),
    )
    return Inspection(
        format="toy",
        signature=artefact_signature(content),
        layers=(layer, positive),
        size_bytes=size_of(model),
        requirements=requirements(model),
    )


def requirements(model: Path) -> Requirements:
    return Requirements(runtime="Toy", runtime_min="1.0", operators=("Linear",))


def toolchain() -> tuple[ToolVersion, ...]:
    return (ToolVersion(name="toy", version="1.0"),)
