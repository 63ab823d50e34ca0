"""One small program in every recipe, in a child process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from coreml_source_jobs import sqnr_db
from seen_ranges import MinMax

from toolkit.core.artifacts import KeptFloat, LayerFact, Range
from toolkit.core.errors import ModelError, SettingsError
from toolkit.core.recipe import Recipe, load_recipe
from toolkit.targets import coreml
from toolkit.targets.coreml.foreign import coremltools
from toolkit.targets.coreml.interpreter.program import read_package

WEIGHTS, STATIC = load_recipe("weight-int8"), load_recipe("static-int8")
RECIPES: dict[str, Recipe] = {
    "float16": replace(load_recipe("float32"), name="float16", weight_bits=16, activation_bits=16),
    "weight-int8": WEIGHTS,
    "static-int8": STATIC,
    "kept": replace(STATIC, name="kept", keep_float=("first",)),
    "int4": replace(WEIGHTS, weight_bits=4),
    "int4 block": replace(WEIGHTS, weight_bits=4, granularity="block", block_size=16),
    "w4a8": replace(STATIC, weight_bits=4),
    "lut tensor": replace(WEIGHTS, weight_bits=4, scheme="lut", granularity="tensor", activation_bits=16),
    "lut channel": replace(WEIGHTS, weight_bits=4, scheme="lut", activation_bits=16),
    "lut group uniform": replace(
        WEIGHTS, weight_bits=4, scheme="lut", granularity="block", block_size=16, table="uniform"
    ),
}


OFTEN = ("float16", "weight-int8", "static-int8", "kept", "int4 block", "lut tensor")
"""Recipes that the default run builds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Builds:
    """What became of the program by recipe; ``tapped`` is the SQNR of each tensor of the static build.

    ``refusals`` are the words with which a value beyond float16 and an unknown layer are refused.
    """

    sqnr_db: dict[str, float]
    ios_min: dict[str, str | None]
    layers: dict[str, tuple[LayerFact, ...]]
    kept: dict[str, tuple[KeptFloat, ...]]
    concat_scales: tuple[float, ...]
    float_names: tuple[str, ...]
    tapped: dict[str, float]
    refusals: tuple[str, str]


def build(folder: Path, names: tuple[str, ...]) -> Builds:
    """Build the program in some recipes, static-int8 among them, and hold each against the float one."""
    source = _program(folder / "float.mlpackage")
    samples = [{"x": _picture(index)} for index in range(24)]
    observer = MinMax()
    coreml.calibrate(source, samples[:16], observer.see)
    wanted = _run(source, samples[16:])
    found, layers, kept, floors = {}, {}, {}, {}
    for name in names:
        recipe, out = RECIPES[name], folder / f"{name.replace(' ', '-')}.mlpackage"
        kept[name] = coreml.quantize(source, recipe, observer.ranges(), out).kept_float
        found[name] = sqnr_db(wanted, _run(out, samples[16:]))
        inspection = coreml.inspect(out)
        layers[name] = inspection.layers
        floors[name] = inspection.requirements.ios_min if inspection.requirements else None
    static = folder / "static-int8.mlpackage"
    floats, built = _tapped(source, samples[16:]), _tapped(static, samples[16:])
    return Builds(
        sqnr_db=found,
        ios_min=floors,
        layers=layers,
        kept=kept,
        concat_scales=_concat_scales(static),
        float_names=tuple(floats),
        tapped={name: sqnr_db(floats[name], values) for name, values in built.items() if name in floats}
        | {name: -1.0 for name in built if name not in floats},
        refusals=(
            _refusal(source, STATIC, {"first": Range(low=-1.0, high=2e5)}),
            _refusal(source, replace(WEIGHTS, keep_float=("seconds",)), {}),
        ),
    )


def _refusal(source: Path, recipe: Recipe, ranges: dict[str, Range]) -> str:
    try:
        coreml.quantize(source, recipe, ranges, source.parent / "refused.mlpackage")
    except (ModelError, SettingsError) as error:
        return f"{type(error).__name__}: {error.message} {error.hint}"
    return "not refused"


def _program(out: Path) -> Path:
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb

    rng = np.random.default_rng(6)
    shapes = {"first": (32, 3, 3, 3), "second": (32, 32, 3, 3), "joined": (32, 64, 1, 1), "mix": (32, 32), "y": (6, 32)}
    w = {name: rng.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32) for name, shape in shapes.items()}

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 3, 12, 12))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        one = mb.relu(x=mb.conv(x=x, weight=w["first"], pad_type="same", strides=[2, 2], name="first"), name="one")
        two = mb.relu(x=mb.conv(x=one, weight=w["second"], pad_type="same", name="second"), name="two")
        both = mb.concat(values=[one, two], axis=1, name="both")
        more = mb.conv(x=both, weight=w["joined"], name="joined_conv")
        total = mb.add(x=more, y=two, name="sum")
        flat = mb.reduce_mean(x=total, axes=[2, 3], keep_dims=False, name="flat")
        mixed = mb.matmul(x=mb.tanh(x=flat, name="bent"), y=w["mix"], name="product")
        return mb.linear(x=mixed, weight=w["y"], name="y")

    ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    ).save(str(out))
    return out


def _picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, 3, 12, 12)).astype(np.float32)


def _run(model: Path, samples: list[dict[str, np.ndarray]]) -> np.ndarray:
    session = coreml.open_session(model, 1)
    return np.concatenate([session.run(sample)["y"] for sample in samples])


def _tapped(model: Path, samples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    seen: dict[str, list[np.ndarray]] = {}
    coreml.tap(model, samples, lambda name, values: seen.setdefault(name, []).append(np.array(values)))
    return {name: np.concatenate(parts) for name, parts in seen.items()}


def _concat_scales(model: Path) -> tuple[float, ...]:
    """Return the scales of the pairs around the one concat of a build."""
    program = read_package(model)[1]
    makers = {value.name: operation for operation in program.operations for value in operation.outputs}
    concat = next(operation for operation in program.operations if operation.operator == "concat")
    around = [makers[value.name] for value in concat.inputs["values"]]
    joined = concat.outputs[0].name
    around += [
        operation
        for operation in program.operations
        if operation.operator == "quantize" and operation.inputs["input"][0].name == joined
    ]
    constants = [operation.inputs["scale"][0].constant for operation in around]
    return tuple(float(scale.reshape(-1)[0]) for scale in constants if scale is not None)
