"""Spectra in decibels as float16 programs, in child processes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from coreml_program_jobs import save_program
from coreml_source_jobs import sqnr_db

from toolkit.core.artifacts import KeptFloat
from toolkit.core.recipe import load_recipe
from toolkit.targets import coreml
from toolkit.targets.coreml.foreign import coremltools
from toolkit.targets.coreml.half import logarithms
from toolkit.targets.coreml.interpreter.program import read_package
from toolkit.targets.coreml.session import ROUNDING

LENGTH, WINDOW = 512, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectra:
    """What is kept in float32 by guard, and how close a tone's decibels come to those of the float32 program."""

    chains: dict[str, frozenset[str]]
    kept_float: dict[str, tuple[KeptFloat, ...]]
    exact_db: float
    rounded_db: float


def spectra(folder: Path) -> Spectra:
    """Make a program for each of several guards, and float16 of the one with the least."""
    programs = {f"{guard:g}": _program(folder / f"{guard:g}.mlpackage", guard) for guard in (1e-10, 1e-3)}
    half = folder / "half.mlpackage"
    source = programs["1e-10"]
    kept = {"float16": coreml.quantize(source, load_recipe("float16"), {}, half).kept_float}
    eight_bit = replace(load_recipe("weight-int8"), activation_bits=16)
    kept["weights"] = coreml.quantize(source, eight_bit, {}, folder / "weights.mlpackage").kept_float
    tone = np.sin(np.arange(LENGTH) * 0.7).astype(np.float32).reshape(1, 1, LENGTH)
    wanted = _run(source, tone)
    exact = sqnr_db(wanted, _run(half, tone))
    os.environ[ROUNDING] = "round"
    rounded = sqnr_db(wanted, _run(half, tone))
    return Spectra(
        chains={guard: logarithms(read_package(path)[1]) for guard, path in programs.items()},
        kept_float=kept,
        exact_db=exact,
        rounded_db=rounded,
    )


def _run(model: Path, tone: np.ndarray) -> np.ndarray:
    return coreml.open_session(model, 1).run({"x": tone})["y"]


def _program(out: Path, guard: float) -> Path:
    """A windowed Fourier transform by convolution, in decibels, then a layer on them; and softened odds beside it."""
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb

    angle = 2 * np.pi * np.outer(np.arange(WINDOW // 2), np.arange(WINDOW)) / WINDOW
    kernels = [(wave(angle) * np.hanning(WINDOW))[:, None].astype(np.float32) for wave in (np.cos, np.sin)]
    weight = np.random.default_rng(3).normal(0, 0.1, (8, WINDOW // 2, 3)).astype(np.float32)

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 1, LENGTH))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        padded = mb.pad(x=x, pad=[32, 32], mode="reflect", name="padded")
        parts = [
            mb.conv(x=padded, weight=kernel, strides=[16], name=f"part_{index}") for index, kernel in enumerate(kernels)
        ]
        squares = [mb.square(x=part, name=f"square_{index}") for index, part in enumerate(parts)]
        power = mb.add(x=squares[0], y=squares[1], name="power")
        loud = mb.log(x=mb.add(x=power, y=np.float32(guard), name="guarded"), epsilon=0.0, name="loud")
        return mb.conv(x=loud, weight=weight, name="y")

    save_program(ct, program, out)
    return out
