"""``palmtop demo``: the main job on a real model and real labelled data that come with the install."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.console import Console
from toolkit.cli.options import common_options, gather

if TYPE_CHECKING:
    from mobile_harness.cli._demo_run import DemoOutcome, DemoRequest

FOLDER = Path("palmtop-demo")


def _request(**fields: Any) -> DemoRequest:
    from mobile_harness.cli._demo_run import DemoRequest

    fields["out"] = fields["out"] or FOLDER / fields["name"]
    return DemoRequest(**fields)


@click.command()
@click.argument("name", default="digits", required=False)
@click.option("-o", "--out", type=click.Path(path_type=Path), help=f"Folder for all of it.  [default: {FOLDER}/NAME]")
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="SEL",
    help="all, host, phone, another kind, or transport:serial; repeatable.  [default: what is attached, else host]",
)
@click.option("--plan", default="quick", show_default=True, metavar="PLAN", help="quick, standard, gate or sustained.")
@gather("request", ("name", "out", "devices", "plan"), _request)
@common_options
def command(request: DemoRequest, console: Console) -> None:
    """Try palmtop on a model that comes with it.

    Quantizes a real model for three runtimes, checks the builds on labelled data, measures them on what is attached
    (this computer if nothing is) and writes a report. NAME is one of: digits, a small network trained on the spot;
    faces, the two pretrained networks of a face detector. Needs `pip install 'palmtop[demo]'`. The same command again
    continues in the same folder.

    Example:
      palmtop demo
      palmtop demo faces -o try-faces
    """
    from mobile_harness.cli import _demo_run

    outcome = _demo_run.run_demo(request, console.tools())
    console.result(outcome, lambda: _page(outcome))
    fault = _demo_run.failures(outcome)
    if fault is not None:
        raise fault


def _page(outcome: DemoOutcome) -> str:
    import textwrap

    from mobile_harness.reports import text

    tables = [text.render(model.document).rstrip() for model in outcome.models]
    notes = "\n".join(textwrap.fill(note, 100, subsequent_indent="  ") for note in (outcome.about, *outcome.notes))
    first = outcome.models[0]
    following = (
        f"Look closer: palmtop inspect {first.folder / 'builds'}\nYour model:  palmtop quantize MODEL -d DATA -o builds"
    )
    paths = [path for model in outcome.models for kind, path in model.reports.items() if path != outcome.last_path]
    listed = "\n".join(str(path) for path in [*paths, outcome.last_path])
    return "\n\n".join([*tables, notes, following, f"Reports:\n{listed}"]) + "\n"
