"""``palmtop tune``: training that makes up for what quantization, pruning or clustering costs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.console import Console, size_words, table
from toolkit.cli.options import NamedShape, common_options, gather, needed, setting
from toolkit.cli.quantize import input_words, preprocess_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from toolkit.training.values import Tuned, TuneRequest

OPTIONS = (
    click.argument("model", type=click.Path(path_type=Path), **needed("model.path")),
    click.option("-d", "--data", help="Samples to train on; labels are not needed."),
    click.option("--val", help="Samples to choose the best epoch on.  [default: every tenth of DATA]"),
    click.option("-r", "--recipe", default="static-int8", show_default=True, help="What to train for: name or .toml."),
    click.option("-t", "--target", "targets", multiple=True, help="Runtime to train for; repeatable.  [default: all]"),
    click.option("--epochs", type=int, default=10, show_default=True, help="Passes over the data, at most."),
    click.option("--lr", "rate", type=float, default=5e-4, show_default=True, help="Learning rate at the start."),
    click.option("--batch", type=int, default=32, show_default=True, help="Samples a step."),
    click.option("--seed", type=int, default=0, show_default=True, help="Seed of the order of the samples."),
    click.option(
        "--distill/--labels",
        "distill",
        default=True,
        help="Learn from the float model's outputs, or from the labels.  [default: distill]",
    ),
    click.option("--output", help="The output that the labels speak of."),
    click.option(
        "--ranges",
        type=click.Choice(["frozen", "learned"]),
        default="frozen",
        show_default=True,
        help="Activation ranges after the first third of the epochs.",
    ),
    click.option("--sparsity", type=float, default=0.0, help="Prune this share of the weights, such as 0.5."),
    click.option("--clusters", type=int, default=0, help="Let a layer's weights have this many values, such as 16."),
    click.option("--patience", type=int, default=5, show_default=True, help="Stop after so many epochs without gain."),
    click.option("--samples", type=click.IntRange(min=1), help="Train on at most this many."),
    click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder for the result.  [default: NAME-tuned]"),
    click.option("--resume", is_flag=True, help="Go on in the folder, also with another --lr or --epochs."),
    click.option(
        "--shape",
        "shapes",
        type=NamedShape(),
        multiple=True,
        help="Sizes for an input with unknown axes; repeatable.",
        **setting("model.shapes", lambda shapes: tuple(shapes.items())),
    ),
)
FIELDS = (
    *("model", "data", "val", "recipe", "targets", "epochs", "rate", "batch", "seed", "distill", "output", "ranges"),
    *("sparsity", "clusters", "patience", "samples", "out", "resume", "shapes", "preprocess"),
)

_FAR_WORSE = 2.0
"""Times the loss of the model as it came."""


def _request(*, distill: bool, **fields: Any) -> TuneRequest:
    from toolkit.training.values import TuneRequest

    fields["out"] = fields["out"] or Path(f"{fields['model'].stem or 'model'}-tuned")
    fields["shapes"] = dict(fields["shapes"])
    return TuneRequest(teacher="distill" if distill else "labels", **fields)


def tune_options(function: Any) -> Any:
    """Add the model, its data and how to train to a command, which gets one ``request: TuneRequest``."""
    function = gather("request", FIELDS, _request)(function)
    function = preprocess_options(function)
    for option in reversed(OPTIONS):
        function = option(function)
    return function


@click.command()
@tune_options
@common_options
def command(request: TuneRequest, console: Console) -> None:
    """Train a Keras or PyTorch model so that a recipe costs it less.

    Writes a float model of the same format, whose ordinary builds are the better ones, and how the training went
    (tune.json). Every epoch is kept, so an interrupted training goes on when the same command is run again. A model
    that was trained with quantization elsewhere is converted, and keeps its ranges; that takes no data.

    Example:
      palmtop tune model.keras -d training.npz -r static-int8 -o tuned
      palmtop tune nets.py:make -d photos/ --labels --sparsity 0.5 -o pruned
      palmtop quantize tuned/model.keras -d calibration.npz -r static-int8
    """
    from toolkit import pipeline

    tuned = pipeline.tune(request, console.tools())
    console.result(tuned, lambda: _page(tuned, request))


def _page(tuned: Tuned, request: TuneRequest) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    prunes = tuned.plan is not None and tuned.plan.sparsity > 0
    rows = [
        (
            f"{entry.epoch}{' *' if entry.epoch == tuned.best_epoch else '  '}",
            _number(entry.loss),
            _number(entry.held_out_loss),
            *([_number(entry.score)] if tuned.metric else []),
            *([f"{entry.sparsity:.0%}"] if prunes else []),
        )
        for entry in tuned.history
    ]
    columns = ["epoch", "loss", "held-out loss", *filter(None, [tuned.metric]), *(["zeros"] if prunes else [])]
    shown: list[RenderableType] = (
        [table(*columns, rows=rows, right=columns), Text("* the epoch that was kept")] if rows else []
    )
    return Group(*shown, *(Text(line) for line in _lines(tuned, request)))


def _lines(tuned: Tuned, request: TuneRequest) -> list[str]:
    lines = [tuned.note] if tuned.note else []
    best = next((entry for entry in tuned.history if entry.epoch == tuned.best_epoch), None)
    if best is not None and tuned.metric and best.score is not None and tuned.float_score is not None:
        first = tuned.history[0].score
        same = request.val is None and tuned.held_out_samples == tuned.train_samples
        lines.append(
            f"{tuned.metric} of {tuned.held_out_samples} {'training' if same else 'held-back'} samples, simulated: "
            f"{_number(first)} before, {best.score:.4f} after, float model {tuned.float_score:.4f}."
        )
    if best is not None and best.epoch == 0 and tuned.plan is not None and not tuned.plan.clusters:
        lines.append("No epoch was better than the model as it came: the float model computes what it did.")
        lines += _advice(tuned, request)
    elif best is not None:
        lines.append(
            f"`palmtop verify` holds builds of it against the tuned float model, whose own score may differ from that "
            f"of {request.model}: for the drop from that one, compare scores with those of its builds."
        )
    lines += _sizes(tuned)
    lines += [f"Not pruned: {name}: {why}." for name, why in tuned.left_alone.items()]
    return [*lines, f"Next: {_next(tuned, request)}"]


def _advice(tuned: Tuned, request: TuneRequest) -> list[str]:
    """Say what may help a training that made nothing better."""
    first, last = tuned.history[0], tuned.history[-1]
    if last.held_out_loss > _FAR_WORSE * first.held_out_loss:
        return [f"It got far worse: --lr {request.rate:g} is too high. Try --lr {request.rate / 10:g} and -o NEW."]
    if first.score is not None and tuned.float_score is not None and first.score >= tuned.float_score:
        return [f"Rounding as {tuned.plan.recipe.name if tuned.plan else 'it'} does costs it no {tuned.metric} here."]
    return ["A lower --lr, more epochs or more samples may help."]


def _next(tuned: Tuned, request: TuneRequest) -> str:
    """Return the command that builds the result, with what it must be told again."""
    words = ["palmtop", "quantize", str(request.out / tuned.model), "-d", "DATA"]
    words += ["-r", request.recipe] if tuned.plan is not None else []
    return shlex.join([*words, *input_words(request.shapes, request.preprocess)])


def _sizes(tuned: Tuned) -> list[str]:
    found = tuned.weights
    if found is None or tuned.plan is None or not (tuned.plan.sparsity or tuned.plan.clusters):
        return []
    packed, before = size_words(found.deflated), size_words(found.deflated_before)
    lines = [
        f"Weights in the recipe's bits: {size_words(found.raw)}; in a compressed download {packed}, {before} before."
    ]
    if tuned.plan.sparsity and found.sparse is not None:
        lines.append(
            f"Core ML's sparse form takes {size_words(found.sparse)} (computed, float16); TFLite and ONNX have none."
        )
    if tuned.plan.clusters and found.table is not None:
        lines.append(f"Core ML's look-up tables take {size_words(found.table)} (computed); TFLite and ONNX have none.")
    return lines


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
