"""A runtime for tests of the search: weights in 8 bits with one scale a layer, in 16-bit floats, or as they are.

A recipe's overrides and `keep_float` are honoured by layer. The environment variable `LADDER_FAULT` makes every build
that is not float fail (`quantize`), give NaN (`nan`), or wait for ever (`hang`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ladder_source import compute, load, signature, steps

from toolkit.core.artifacts import Inspection, KeptFloat, LayerFact, Range, Requirements, Signature, ToolVersion
from toolkit.core.errors import ModelError
from toolkit.core.layers import Layer, choose
from toolkit.core.ports import Quantized
from toolkit.core.recipe import Recipe
from toolkit.core.signature import check_feeds
from toolkit.core.store import size_of

SUFFIX = ".ladderq"
FORMS = ("ladder",)


def not_expressible(recipe: Recipe) -> str | None:
    if recipe.weight_bits not in (8, 16, 32) or recipe.scheme != "affine":
        return f"{recipe.weight_bits}-bit weights"
    if (recipe.activation_bits == 16 and not recipe.is_float) or any(one.activation_bits for one in recipe.overrides):
        return "16-bit activations"
    return None


def convert(form: str, model: Path, source: Signature, out: Path) -> Signature:
    arrays = load(model)
    _write(out, arrays)
    return signature(arrays, "q:")


def _write(out: Path, arrays: dict[str, np.ndarray]) -> None:
    with out.open("wb") as file:
        np.savez(file, **arrays)


def _floats(path: Path) -> dict[str, np.ndarray]:
    arrays = load(path)
    return {
        name: arrays[name].astype(np.float32) * arrays.get(f"scale:{name}", np.float32(1)) for name in steps(arrays)
    }


def calibrate(model: Path, samples: Iterable, observe) -> None:
    tap(model, samples, observe)


def tap(model: Path, samples: Iterable, observe) -> None:
    arrays = _floats(model)
    for feeds in samples:
        observe("q:x", feeds["q:x"])
        for name, values in compute(arrays, feeds["q:x"]).items():
            observe(name, values)


def quantize(model: Path, recipe: Recipe, ranges: dict[str, Range], out: Path) -> Quantized:
    fault = os.environ.get("LADDER_FAULT", "")
    if fault == "quantize":
        raise ModelError("The toolchain refuses step0.")
    if fault == "hang":
        threading.Event().wait()
    arrays = load(model)
    layers = [Layer(name=name, operator="Step", weighted=True) for name in steps(arrays)]
    choice = choose(recipe, layers, "ladder")
    made: dict[str, np.ndarray] = {}
    for name in steps(arrays):
        if name in choice.halves or recipe.weight_bits == 16:
            made[name] = arrays[name].astype(np.float16)
        elif name in choice.floats or recipe.weight_bits == 32:
            made[name] = arrays[name]
        else:
            scale = np.float32(np.abs(arrays[name]).max() / 127)
            made[name] = np.round(arrays[name] / scale).astype(np.int8)
            made[f"scale:{name}"] = scale * np.float32(np.nan) if fault == "nan" else scale
    _write(out, made)
    kept = tuple(KeptFloat(layer=name, reason="asked") for name in choice.floats)
    return Quantized(signature=signature(arrays, "q:"), kept_float=kept)


class LadderqSession:
    def __init__(self, path: Path) -> None:
        self._arrays = _floats(path)
        self.signature = signature(self._arrays, "q:")

    def run(self, feeds):
        check_feeds(feeds, self.signature)
        return {"q:scores": list(compute(self._arrays, feeds["q:x"]).values())[-1]}

    def close(self) -> None:
        pass


def open_session(model: Path, threads: int) -> LadderqSession:
    return LadderqSession(model)


def inspect(model: Path) -> Inspection:
    arrays = load(model)
    layers = tuple(
        LayerFact(
            name=name,
            operator="Step",
            weight_dtype=str(arrays[name].dtype),
            activation_dtype="float32",
            weight_bytes=arrays[name].nbytes,
            outputs=(name,),
        )
        for name in steps(arrays)
    )
    return Inspection(
        format="ladder",
        signature=signature(arrays, "q:"),
        layers=layers,
        size_bytes=size_of(model),
        requirements=requirements(model),
    )


def requirements(model: Path) -> Requirements:
    return Requirements(runtime="Ladder", runtime_min="1.0", operators=("Step",))


def toolchain() -> tuple[ToolVersion, ...]:
    return (ToolVersion(name="ladder", version="1.0"),)
