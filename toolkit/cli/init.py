"""``palmtop init``: a commented ``palmtop.toml`` for a model that it looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.cli.console import Console
from toolkit.cli.options import NamedShape, common_options

if TYPE_CHECKING:
    from toolkit.cli._settings_file import Beginning


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-d", "--data", help="Samples to calibrate on.")
@click.option("-l", "--labelled", help="Labelled samples to verify with.")
@click.option("--shape", "shapes", type=NamedShape(), multiple=True, help="Sizes for an input with unknown axes.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("palmtop.toml"),
    show_default=True,
    help="The file to write.",
)
@common_options
def command(
    model: Path,
    data: str | None,
    labelled: str | None,
    shapes: tuple[tuple[str, tuple[int, ...]], ...],
    out: Path,
    console: Console,
) -> None:
    """Write a palmtop.toml for MODEL, with a comment on every setting.

    Looks at the model for its inputs. A file that is there already is left alone.

    Example:
      palmtop init model.keras -d calibration.npz -l labelled.npz
      palmtop ship
    """
    from toolkit.cli import _settings_file

    wanted = _settings_file.Wanted(model=model, data=data, labelled=labelled, shapes=dict(shapes), out=out)
    beginning = _settings_file.begin(wanted, console.tools())
    console.result(beginning, lambda: _page(beginning))


def _page(beginning: Beginning) -> str:
    lines = [
        f"{role} {spec}"
        for role, specs in (("input", beginning.inputs), ("output", beginning.outputs))
        for spec in specs
    ]
    return "\n".join([*lines, f"Written: {beginning.path}", "Look through it, then: palmtop ship"]) + "\n"
