"""``palmtop search``: the lightest build whose drop is certified to be within a budget."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.console import Console, size_words, table
from toolkit.cli.options import NamedShape, Numbers, common_options, gather, needed, setting
from toolkit.cli.quantize import input_words, preprocess_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from toolkit.core.errors import PalmtopError
    from toolkit.search.requests import SearchRequest
    from toolkit.search.trail import Certified, Found, Trail
    from toolkit.search.values import Sensitivity

_FIELDS = (
    *("model", "out", "data", "targets", "calibration", "metric", "output", "metric_range", "max_drop", "confidence"),
    *("objective", "measured", "samples", "certify_share", "seed", "trials", "jobs", "integer_only", "resume"),
    *("preprocess", "shapes"),
)
OPTIONS = (
    click.argument("model", type=click.Path(path_type=Path), **needed("model.path")),
    click.option(
        "-d", "--data", help="Labelled samples: they choose, and others of them certify.", **setting("data.labelled")
    ),
    click.option(
        "-c",
        "--calibration",
        help="Samples to learn ranges from.  [default: some of DATA, which then never certify]",
        **setting("data.calibration"),
    ),
    click.option(
        "--metric",
        help="top1, top5, accuracy, agreement (with the float model, no labels), or package.module:function.",
        **setting("verify.metric"),
    ),
    click.option("--output", help="The output that the metric reads.", **setting("verify.output")),
    click.option(
        "--metric-range", type=Numbers(), default="0,1", show_default=True, help="The scale of a metric of your own."
    ),
    click.option(
        "--max-drop",
        type=click.FloatRange(min=0),
        help="The drop of the metric that is still fine.  [default: 0.01]",
        **setting("verify.max_drop"),
    ),
    click.option(
        "--confidence",
        type=click.FloatRange(0.5, 1, max_open=True),
        help="How sure of that to be.  [default: 0.95]",
        **setting("verify.confidence"),
    ),
    click.option(
        "--objective",
        type=click.Choice(["size", "latency", "energy"]),
        default="size",
        show_default=True,
        help="What is to be least.",
    ),
    click.option(
        "--measured",
        "--latency",
        "measured",
        type=click.Path(path_type=Path),
        help="A run that `palmtop history export` wrote, for the objectives latency and energy.",
    ),
    click.option(
        "-t",
        "--target",
        "targets",
        multiple=True,
        help="Runtime; repeatable.  [default: all]",
        **setting("quantize.targets"),
    ),
    click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for the builds.  [default: NAME-search]"),
    click.option(
        "--samples",
        type=click.IntRange(min=1),
        help="Calibrate on at most this many.  [default: 128]",
        **setting("data.samples"),
    ),
    click.option(
        "--certify-share",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.5,
        show_default=True,
        help="The part of DATA to set apart for certification.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of the split."),
    click.option(
        "--trials",
        type=click.IntRange(min=1),
        default=40,
        show_default=True,
        help="Candidates to try for each target, at most.",
    ),
    click.option(
        "--jobs",
        type=click.IntRange(min=1),
        help="Candidates tried at once.  [default: 2]",
        **setting("quantize.jobs"),
    ),
    click.option("--integer-only", is_flag=True, help="Leave out builds that compute in float."),
    click.option(
        "--shape",
        "shapes",
        type=NamedShape(),
        multiple=True,
        help="Sizes for an input with unknown axes; repeatable.",
        **setting("model.shapes", lambda shapes: tuple(shapes.items())),
    ),
    click.option("--resume", is_flag=True, help="Insist that the folder holds a search to go on with."),
)


def _request(**fields: Any) -> SearchRequest:
    from toolkit.core import discovery
    from toolkit.core.errors import UsageError
    from toolkit.search.requests import SearchRequest

    fields["data"] = fields["data"] or fields["calibration"]
    if not fields["data"]:
        raise UsageError("A search needs samples.", hint="Give labelled ones with -d DATA, or set data.labelled.")
    if len(fields["metric_range"]) != 2:
        raise UsageError("--metric-range takes two numbers, such as 0,1.")
    fields["out"] = fields["out"] or Path(f"{fields['model'].stem or 'model'}-search")
    fields["targets"] = tuple(dict.fromkeys(fields["targets"])) or discovery.names("toolkit.targets")
    fields["samples"] = fields["samples"] or SearchRequest.__dataclass_fields__["samples"].default
    fields["shapes"] = dict(fields["shapes"])
    return SearchRequest(**fields)


def search_options(function: Any) -> Any:
    """Add what to search to a command, which gets one ``request: SearchRequest``."""
    function = gather("request", _FIELDS, _request)(function)
    function = preprocess_options(function)
    for option in reversed(OPTIONS):
        function = option(function)
    return function


@click.command()
@search_options
@click.option("--sensitivity-only", is_flag=True, help="Measure what each layer costs, and search nothing.")
@common_options
def command(request: SearchRequest, sensitivity_only: bool, console: Console) -> None:
    """Search the lightest build within an accuracy budget, for every runtime.

    Layers get 8 bits, 16-bit activations or 16-bit floats, whichever keeps the drop within the budget at the least
    size (or time, or energy). Candidates are chosen on some of the samples and certified on others. The folder gets
    the builds, build.json, recipes that make them again, and search.json. The same command again goes on where the
    last one stopped. Exits with 4 when a runtime has no such build.

    Example:
      palmtop search model.keras -d labelled.npz --max-drop 0.01
      palmtop search net.onnx -d photos/ --metric agreement --max-drop 0.02 -t tflite
      palmtop search net.onnx -d photos/ --objective latency --measured run.json
    """
    from toolkit import pipeline

    if sensitivity_only:
        found = pipeline.sensitivity(request, console.tools())
        console.result(found, lambda: _layers_page(found))
        return
    from toolkit.cli._search_view import SearchView

    view = SearchView()
    console.use(view)
    trail = pipeline.search(request, console.tools(), view.see)
    console.result(trail, lambda: page(trail, request))
    fault = fault_of(trail)
    if fault is not None:
        raise fault


def fault_of(trail: Trail) -> PalmtopError | None:
    """Return the error that a search ends with where a runtime has no build, None where all have one."""
    from toolkit.core.errors import GateFailed

    without = [one for one in trail.found if not one.key]
    if not without:
        return None
    names = ", ".join(one.target for one in without)
    return GateFailed(
        f"No build of {trail.model} for {names} is certified to lose at most {trail.max_drop:g} of {trail.metric}.",
        hint="\n".join(line for one in without for line in _advice(trail, one)),
    )


def _advice(trail: Trail, found: Found) -> list[str]:
    """Return the lines on one runtime: the nearest build with its bound, or what other samples may show of it."""
    if not found.nearest:
        return [f"{found.target}: {line}" for line in found.advice]
    shown = any((one.target, one.key) == (found.target, found.nearest) for one in trail.certified)
    bound = round_up(found.nearest_high) if math.isfinite(found.nearest_high) else ""
    figure = f", which loses at most {bound}" if shown else f", of which a certificate may say at most {bound}"
    return [f"{found.target}: nearest is {found.words}{figure if bound else ''}.", *found.advice]


def round_up(bound: float) -> str:
    """Return a bound in four decimals that do not lie below it."""
    return f"{math.ceil(round(bound * 1e4, 5)) / 1e4:.4f}"


def page(trail: Trail, request: SearchRequest) -> RenderableType:
    """Return what a search found, a row a runtime."""
    from rich.console import Group
    from rich.text import Text

    from toolkit.cli._search_view import cost_column

    rows = [_row(trail, found) for found in trail.found]
    figures = (*cost_column(trail), "size", "of int8", "drop", "at most", "certified on", "tried")
    shown = table("target", "build", *figures, rows=rows, right=figures)
    said = (
        f"{trail.metric} of the float model: {trail.float_value:.4f}; {trail.selection_samples} samples chose, "
        f"{trail.certification_samples} others certify at {trail.confidence:.0%}."
    )
    if trail.place:
        said += f" {trail.objective.capitalize()} is estimated from whole builds on {trail.place}: bench the result."
    held = [found for found in trail.found if found.key]
    again = [Text("Make a build again with its recipe:")] if held else []
    again += [Text(f"  {again_words(request, found.target)}", overflow="fold") for found in held]
    following = [Text(f"Next: palmtop bench {request.out}")] if held else []
    return Group(shown, Text(said), *again, *following)


def again_words(request: SearchRequest, target: str) -> str:
    """Return the command that makes the build of one target again."""
    words = ["palmtop", "quantize", str(request.model), "-d", request.calibration or request.data]
    words += ["--samples", str(request.samples), "-t", target, "-r", str(request.out / f"recipe-{target}.toml")]
    return shlex.join([*words, *input_words(request.shapes, request.preprocess)])


def _row(trail: Trail, found: Found) -> tuple[object, ...]:
    from toolkit.cli._search_view import cost_column, cost_words

    shown = _certified(trail, found)
    of_full = f"{found.size_bytes / found.full_bytes:.2f}×" if found.full_bytes and found.size_bytes else "–"
    tried = f"{found.evaluations} builds"
    weighed = cost_column(trail)
    if not found.key or shown is None:
        return (found.target, "no such build", *("–" for _ in weighed), "–", "–", "–", "–", "–", tried)
    figures = (f"{shown.drop:+.4f}", f"{round_up(shown.high)}", shown.n)
    costs = (cost_words(trail, found.cost) for _ in weighed)
    return (found.target, found.words, *costs, size_words(found.size_bytes), of_full, *figures, tried)


def _certified(trail: Trail, found: Found) -> Certified | None:
    return next((one for one in trail.certified if (one.target, one.key) == (found.target, found.key)), None)


def _layers_page(found: Sensitivity) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from toolkit.search.values import gains_db

    gains = gains_db(found)
    confirmed = {one.layer: f"{one.output_sqnr_db:.1f}" for one in found.confirmed}
    rows = [
        (
            one.layer,
            one.operator,
            size_words(one.weight_bytes),
            f"{one.own_sqnr_db:.1f}",
            f"{one.output_sqnr_db:.1f}",
            confirmed.get(one.layer, "–"),
            f"{gains[one.layer]:.2f}",
        )
        for one in found.layers
    ]
    columns = ("layer", "operator", "float32", "own dB", "output dB", "confirmed dB", "gain dB")
    shown = table(*columns, rows=rows, right=columns[2:])
    said = f"Each layer quantized alone as {found.recipe} has it, over {found.samples} samples; the costliest first."
    left = [Text(f"{layer}: {reason}") for layer, reason in found.left_out]
    return Group(shown, Text(said), *left)
