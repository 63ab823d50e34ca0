"""``palmtop inspect``: what is in a model or a build, read from the file itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.console import Console, size_words, table
from toolkit.cli.options import common_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from toolkit.core.artifacts import Census, Inspection, LayerFact, Requirements


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--layers", is_flag=True, help="List every layer instead of counting them.")
@common_options
def command(file: Path, layers: bool, console: Console) -> None:
    """Show what is in a model or build.

    Its inputs and outputs, operators, the precision of weights and activations, its size, and what a phone must
    offer to run it. FILE may also be a folder that `palmtop quantize` wrote.

    Example:
      palmtop inspect builds/model.tflite
      palmtop inspect builds --json
    """
    from toolkit import pipeline
    from toolkit.core import manifest

    if (file / manifest.FILE).is_file():
        names = [build.id for build in manifest.read(file).builds]
        found = dict(zip(names, pipeline.inspect_builds(file, console.tools()), strict=True))
        console.result({"builds": found}, lambda: _pages(found, layers))
        return
    inspection = pipeline.inspect(file, console.tools())
    console.result(inspection, lambda: _pages({str(file): inspection}, layers))


def _pages(found: dict[str, Inspection], layers: bool) -> RenderableType:
    from rich.console import Group

    return Group(*(_page(name, inspection, layers) for name, inspection in found.items()))


def _page(name: str, inspection: Inspection, layers: bool) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    tensors = [("input", spec.name, spec.dtype, list(spec.shape)) for spec in inspection.signature.inputs]
    tensors += [("output", spec.name, spec.dtype, list(spec.shape)) for spec in inspection.signature.outputs]
    return Group(
        Text(f"{name}: {inspection.format}, {size_words(inspection.size_bytes)}", style="bold"),
        table("", "tensor", "dtype", "shape", rows=tensors),
        _every_layer(inspection.layers) if layers else _by_operator(inspection.layers),
        Text(_runs(inspection.census)),
        Text(_needs(inspection.requirements)),
    )


def _runs(census: Census | None) -> str:
    """Say what the runtime makes of the build once it has loaded it."""
    if census is None:
        return ""
    layers = ", ".join(f"{count} {word}" for word, count in census.layers.items()) or "none"
    weights = ", ".join(
        f"{count} {word} ({size_words(census.weight_bytes[word])})" for word, count in census.weight_tensors.items()
    )
    pieces = "" if census.partitions is None else f"; pieces taken by its delegate: {census.partitions}"
    return (
        f"Loaded by {census.runtime}: layers that compute in {layers}; weights {weights or 'none'}; "
        f"float islands between integer layers: {census.islands}{pieces}"
    )


def _every_layer(layers: tuple[LayerFact, ...]) -> RenderableType:
    rows = [
        (
            fact.name,
            fact.operator,
            fact.weight_dtype or "–",
            fact.activation_dtype or "–",
            size_words(fact.weight_bytes),
        )
        for fact in layers
    ]
    return table("layer", "operator", "weights", "activations", "weight size", rows=rows, right=("weight size",))


def _by_operator(layers: tuple[LayerFact, ...]) -> RenderableType:
    kinds: dict[tuple[str, str, str], list[int]] = {}
    for fact in layers:
        key = (fact.operator, fact.weight_dtype or "–", fact.activation_dtype or "–")
        kinds.setdefault(key, []).append(fact.weight_bytes)
    rows = [(*key, len(sizes), size_words(sum(sizes))) for key, sizes in sorted(kinds.items())]
    numbers = ("count", "weight size")
    return table("operator", "weights", "activations", "count", "weight size", rows=rows, right=numbers)


def _needs(requirements: Requirements | None) -> str:
    if requirements is None:
        return "A source model: `palmtop quantize` makes builds of it.\n"
    floors = [f"{requirements.runtime} {requirements.runtime_min} or later"]
    if requirements.android_api_min is not None:
        floors.append(f"Android API {requirements.android_api_min}")
    if requirements.ios_min is not None:
        floors.append(f"iOS {requirements.ios_min}")
    return f"Needs {', '.join(floors)}\n"
