"""Pictures, labels, flexible shapes and half precision, in a child process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coreml_references as ref
import numpy as np

from toolkit.core.artifacts import Signature
from toolkit.core.errors import DataError
from toolkit.targets import coreml
from toolkit.targets.coreml.foreign import coremltools
from toolkit.targets.coreml.session import ROUNDING

BIAS = [-1.0, -0.5, 0.25]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interfaces:
    """Errors are the largest absolute ones."""

    signatures: dict[str, Signature]
    labels: dict[str, str]
    expected_labels: dict[str, str]
    probability_errors: dict[str, float]
    picture_error: float
    flexible_errors: dict[str, float]
    refusals: dict[str, str]
    unrounded_error: float
    rounded_error: float


def interfaces(folder: Path) -> Interfaces:
    ct = coremltools(tensorflow=False)
    pictures = {colour: _classifier(ct, folder, colour) for colour in ("RGB", "BGR")}
    flexible, chosen = _flexible(ct, folder, "range"), _flexible(ct, folder, "choice")
    plain, rounded = _half(ct, folder)
    return Interfaces(
        signatures={**{name: made[0] for name, made in pictures.items()}, "range": flexible[0], "choice": chosen[0]},
        labels={name: made[1] for name, made in pictures.items()},
        expected_labels={name: made[2] for name, made in pictures.items()},
        probability_errors={name: made[3] for name, made in pictures.items()},
        picture_error=_picture_to_picture(ct, folder),
        flexible_errors={"range": flexible[1], "choice": chosen[1]},
        refusals={"range": flexible[2], "choice": chosen[2]},
        unrounded_error=plain,
        rounded_error=rounded,
    )


def _classifier(ct: Any, folder: Path, colour: str) -> tuple[Signature, str, str, float]:
    from coremltools.converters.mil import Builder as mb

    rng = np.random.default_rng(0)
    weight, dense = rng.normal(size=(4, 3, 3, 3)).astype(np.float32), rng.normal(size=(3, 4)).astype(np.float32) / 4

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 3, 6, 8))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        y = mb.reduce_mean(x=mb.conv(x=x, weight=weight), axes=[2, 3], keep_dims=False)
        return mb.softmax(x=mb.linear(x=y, weight=dense), axis=-1, name="p")

    layout = getattr(ct.colorlayout, colour)
    image = ct.ImageType(name="x", shape=(1, 3, 6, 8), scale=1 / 127.5, bias=BIAS, color_layout=layout)
    labels = ["cat", "dog", "emu"]
    path = _saved(ct, program, folder / f"{colour}.mlpackage", [image], classifier_config=ct.ClassifierConfig(labels))
    picture = rng.integers(0, 256, (1, 6, 8, 3)).astype(np.uint8)
    session = coreml.open_session(path, 1)
    found = session.run({"x": picture})
    seen = picture[..., ::-1] if colour == "BGR" else picture
    x = seen.transpose(0, 3, 1, 2) / 127.5 + np.array(BIAS).reshape(1, 3, 1, 1)
    scores = np.exp(ref.conv(x, weight).mean((2, 3)) @ dense.T)[0]
    wanted = scores / scores.sum()
    error = float(np.abs(found["classLabel_probs"] - wanted).max())
    return session.signature, str(found["classLabel"][0]), labels[int(wanted.argmax())], error


def _picture_to_picture(ct: Any, folder: Path) -> float:
    """Invert a picture: BGR in, RGB out."""
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 3, 4, 5))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        return mb.sub(x=np.float32(255.0), y=x, name="y")

    image = ct.ImageType(name="x", shape=(1, 3, 4, 5), color_layout=ct.colorlayout.BGR)
    plain = ct.models.MLModel(str(_saved(ct, program, folder / "plain.mlpackage", [image])), skip_model_load=True)
    spec = plain.get_spec()
    # coremltools sets the kind of an output for other sources than its own programs only
    spec.description.output[0].type.imageType.CopyFrom(spec.description.input[0].type.imageType)
    path = folder / "invert.mlpackage"
    ct.models.MLModel(spec, weights_dir=plain.weights_dir, skip_model_load=True).save(str(path))
    picture = np.random.default_rng(1).integers(0, 256, (1, 4, 5, 3)).astype(np.uint8)
    found = coreml.open_session(path, 1).run({"x": picture})["y"]
    assert found.dtype == np.uint8
    return float(np.abs(found.astype(int) - (255 - picture.astype(int))).max())


def _flexible(ct: Any, folder: Path, kind: str) -> tuple[Signature, float, str]:
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import get_new_symbol

    weight = np.random.default_rng(2).normal(size=(4, 5)).astype(np.float32)

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, get_new_symbol(), 5))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        return mb.linear(x=mb.tanh(x=x), weight=weight, name="y")

    shape = (1, ct.RangeDim(2, 6, default=3), 5)
    if kind == "choice":
        shape = ct.EnumeratedShapes([(1, 2, 5), (1, 5, 5)], default=(1, 5, 5))
    path = _saved(ct, program, folder / f"{kind}.mlpackage", [ct.TensorType(name="x", shape=shape)])
    session, errors = coreml.open_session(path, 1), []
    for count in (2, 5, 2):
        x = np.random.default_rng(count).normal(size=(1, count, 5)).astype(np.float32)
        errors.append(float(np.abs(session.run({"x": x})["y"] - np.tanh(x) @ weight.T).max()))
    try:
        session.run({"x": np.zeros((1, 9, 5), np.float32)})
    except DataError as error:
        return session.signature, max(errors), error.message
    return session.signature, max(errors), ""


def _half(ct: Any, folder: Path) -> tuple[float, float]:
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 64))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        for _ in range(4):
            x = mb.relu(x=mb.mul(x=x, y=np.float32(1.37)))
        return mb.identity(x=x, name="y")

    path = _saved(ct, program, folder / "half.mlpackage", [ct.TensorType(name="x", shape=(1, 64))], half=True)
    x = np.random.default_rng(5).uniform(0.1, 2, (1, 64)).astype(np.float32)
    wanted = x.astype(np.float16)
    for _ in range(4):
        wanted = (wanted * np.float16(1.37)).astype(np.float16)
    errors = []
    for mode in ("", "round"):
        os.environ[ROUNDING] = mode
        found = coreml.open_session(path, 1).run({"x": x})["y"]
        errors.append(float(np.abs(found - wanted.astype(np.float32)).max()))
    return errors[0], errors[1]


def _saved(ct: Any, program: Any, path: Path, inputs: list[Any], half: bool = False, **more: Any) -> Path:
    ct.convert(
        program,
        convert_to="mlprogram",
        inputs=inputs,
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
        skip_model_load=True,
        **more,
    ).save(str(path))
    return path
