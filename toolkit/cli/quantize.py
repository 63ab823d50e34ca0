"""``palmtop quantize``: a trained model in, verified-to-be builds out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.console import Console, size_words, table
from toolkit.cli.options import Extent, NamedShape, Number, Numbers, common_options, gather, needed, setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    from toolkit.core.artifacts import Preprocess
    from toolkit.core.errors import PalmtopError
    from toolkit.core.manifest import Manifest
    from toolkit.stages.requests import QuantizeRequest

USUAL_RECIPES = ("float32", "static-int8", "weight-int8")
"""The baseline, the recipe to ship, and the one for targets or models that cannot take it."""

_LONG = 8
"""Digits after which a number is looked at whether it is a fraction."""
_PREPROCESS = ("resize", "crop", "colour", "scale", "mean", "std", "layout")
PREPROCESS_OPTIONS = (
    click.option("--resize", type=Extent(), help="Resize images to height,width.", **setting("preprocess.resize")),
    click.option("--crop", type=Extent(), help="Then crop the centre to height,width.", **setting("preprocess.crop")),
    click.option(
        "--colour",
        type=click.Choice(["rgb", "bgr", "gray"]),
        help="Decode images to these channels.  [default: rgb]",
        **setting("preprocess.colour"),
    ),
    click.option(
        "--scale",
        type=Number(),
        help="Multiply values by this, such as 1/255.  [default: 1]",
        **setting("preprocess.scale"),
    ),
    click.option("--mean", type=Numbers(), help="Subtract: one value or one a channel.", **setting("preprocess.mean")),
    click.option("--std", type=Numbers(), help="Divide by: one value or one a channel.", **setting("preprocess.std")),
    click.option(
        "--layout",
        type=click.Choice(["nhwc", "nchw"]),
        help="Axes of the model's image input.  [default: nhwc]",
        **setting("preprocess.layout"),
    ),
)

BUILD_OPTIONS = (
    click.argument("model", type=click.Path(path_type=Path), **needed("model.path")),
    click.option(
        "-d",
        "--data",
        help="Samples to calibrate on: an .npz, a folder of images by class, …",
        **setting("data.calibration"),
    ),
    click.option(
        "-t",
        "--target",
        "targets",
        multiple=True,
        help="Runtime; repeatable.  [default: all]",
        **setting("quantize.targets"),
    ),
    click.option(
        "-r",
        "--recipe",
        "recipes",
        multiple=True,
        help=f"Recipe or .toml file; repeatable.  [default: {', '.join(USUAL_RECIPES)}]",
        **setting("quantize.recipes"),
    ),
    click.option(
        "--samples", type=click.IntRange(min=1), help="Calibrate on at most this many.", **setting("data.samples")
    ),
    click.option(
        "-o",
        "--out",
        type=click.Path(path_type=Path),
        help="Folder for the builds.  [default: NAME-builds]",
        **setting("quantize.out"),
    ),
    click.option(
        "--shape",
        "shapes",
        type=NamedShape(),
        multiple=True,
        help="Sizes for an input with unknown axes; repeatable.",
        **setting("model.shapes", lambda shapes: tuple(shapes.items())),
    ),
    click.option(
        "--jobs", type=click.IntRange(min=1), help="Builds made at once.  [default: 2]", **setting("quantize.jobs")
    ),
)


def _preprocess(**fields: Any) -> Preprocess:
    from toolkit.core.artifacts import Preprocess

    return Preprocess(**fields)


def _request(**fields: Any) -> QuantizeRequest:
    from toolkit.core import discovery
    from toolkit.stages.requests import QuantizeRequest

    fields["out"] = fields["out"] or Path(f"{fields['model'].stem or 'model'}-builds")
    fields["targets"] = fields["targets"] or discovery.names("toolkit.targets")
    fields["recipes"] = fields["recipes"] or USUAL_RECIPES
    fields["shapes"] = dict(fields["shapes"])
    return QuantizeRequest(**fields)


def preprocess_options(function: Any) -> Any:
    """Add how samples are preprocessed to a command, which gets one ``preprocess: Preprocess``."""
    function = gather("preprocess", _PREPROCESS, _preprocess)(function)
    for option in reversed(PREPROCESS_OPTIONS):
        function = option(function)
    return function


def input_words(shapes: Mapping[str, tuple[int, ...]], preprocess: Preprocess) -> list[str]:
    """Return the options that tell a command again what its inputs are and how samples become them."""
    words = []
    for name, shape in shapes.items():
        words += ["--shape", f"{name}={','.join(map(str, shape))}"]
    usual = type(preprocess)()
    for name in _PREPROCESS:
        value = getattr(preprocess, name)
        if value != getattr(usual, name):
            words += [f"--{name}", ",".join(map(_plain, value)) if isinstance(value, tuple) else _plain(value)]
    return words


def _plain(value: object) -> str:
    """Return an option's value as one would type it: 1/255 rather than its 17 digits."""
    if isinstance(value, float) and len(str(value)) > _LONG and 1e-6 < value < 1 and 1 / round(1 / value) == value:
        return f"1/{round(1 / value)}"
    return str(value)


def quantize_options(function: Any) -> Any:
    """Add the model, its data and what to build of it to a command, which gets one ``request: QuantizeRequest``."""
    fields = ("model", "data", "targets", "recipes", "samples", "out", "shapes", "jobs", "preprocess")
    function = gather("request", fields, _request)(function)
    function = preprocess_options(function)
    for option in reversed(BUILD_OPTIONS):
        function = option(function)
    return function


@click.command()
@quantize_options
@common_options
def command(request: QuantizeRequest, console: Console) -> None:
    """Build a model for every mobile runtime.

    Writes the builds and build.json to a folder. Equal inputs are served from the cache, and a folder that holds
    something else is never overwritten.

    Example:
      palmtop quantize model.keras -d calibration.npz -o builds
      palmtop quantize net.onnx -d photos/ --resize 224,224 --scale 1/255 -t tflite -r static-int8
    """
    from toolkit import pipeline

    manifest = pipeline.quantize(request, console.tools())
    console.result(manifest, lambda: _page(manifest, request.out))
    fault = _fault(manifest, request)
    if fault is not None:
        raise fault


def _fault(manifest: Manifest, request: QuantizeRequest) -> PalmtopError | None:
    from toolkit.core.errors import ModelError, SettingsError, SomeFailed

    if manifest.builds and manifest.failed:
        names = ", ".join(f"{one.target}-{one.recipe}" for one in manifest.failed)
        return SomeFailed(f"{len(manifest.failed)} builds failed, the others are in {request.out}: {names}.")
    if manifest.failed:
        return ModelError(f"No build of {request.model} could be made. {' '.join(_failed(manifest))}")
    if not manifest.builds:
        reasons = "; ".join(f"{one.recipe} on {one.target}: {one.reason}" for one in manifest.not_expressible)
        return SettingsError(f"No target can express the recipe. {reasons}", hint="Leave -r out to get the usual ones.")
    return None


def _page(manifest: Manifest, out: Path) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from toolkit.stages import calibration_report, care

    baseline = {build.target: build.size_bytes for build in manifest.builds if build.recipe == "float32"}
    rows = [
        (
            build.id,
            size_words(build.size_bytes),
            f"{baseline[build.target] / build.size_bytes:.2f}×" if build.target in baseline else "–",
            ", ".join(kept.layer for kept in build.kept_float[:3]) + (", …" if len(build.kept_float) > 3 else "")
            or "–",
        )
        for build in manifest.builds
    ]
    notes = [f"{one.recipe} is not expressible on {one.target}: {one.reason}" for one in manifest.not_expressible]
    notes += _failed(manifest)
    notes += [f"{build.id}: {care.words(step)}" for build in manifest.builds for step in build.care if step.kept]
    if manifest.calibration is not None and manifest.calibration.report is not None:
        notes += calibration_report.lines(manifest.calibration.report, manifest.calibration.samples)
    following = [f"Next: palmtop verify {out} -d LABELLED"] if manifest.builds else []
    built = table("build", "size", "smaller", "kept float", rows=rows, right=("size", "smaller"))
    return Group(*([built] if rows else []), *(Text(line) for line in (*notes, *following)))


def _failed(manifest: Manifest) -> list[str]:
    """Return a sentence for each reason that builds failed for."""
    builds: dict[tuple[str, str], list[str]] = {}
    for one in manifest.failed:
        builds.setdefault((one.error, one.log), []).append(f"{one.target}-{one.recipe}")
    return [
        f"{', '.join(names)} failed: {error}" + (f" ({log})" if log else "") for (error, log), names in builds.items()
    ]
