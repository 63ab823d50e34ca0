"""``palmtop predict``: run one artefact on the host's reference interpreter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.console import Console, table
from toolkit.cli.options import common_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from toolkit.core.artifacts import Signature


@click.command()
@click.argument("artefact", type=click.Path(path_type=Path))
@click.option(
    "-i", "--input", "inputs", required=True, type=click.Path(path_type=Path), help="An .npz: one array an input name."
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The .npz to write: one array an output name.",
)
@click.option("--threads", type=click.IntRange(min=0), default=0, help="Threads; 0 is the runtime's own choice.")
@common_options
def command(artefact: Path, inputs: Path, output: Path, threads: int, console: Console) -> None:
    """Run one build or source model on this host.

    Takes arrays by the artefact's own tensor names from an .npz and writes its outputs to another.

    Example:
      palmtop predict builds/model.tflite -i inputs.npz -o outputs.npz
    """
    from toolkit import pipeline

    signature = pipeline.predict(artefact, inputs, output, console.tools(), threads)
    document = {"artefact": str(artefact), "output": str(output), "signature": signature}
    console.result(document, lambda: _page(signature, output))


def _page(signature: Signature, output: Path) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    rows = [(spec.name, spec.dtype, list(spec.shape)) for spec in signature.outputs]
    return Group(table("output", "dtype", "shape", rows=rows), Text(f"Written to {output}"))
