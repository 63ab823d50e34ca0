"""``palmtop app``: starter apps around a build, made, brought up to date and built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolkit.cli.console import Console, size_words, table
from toolkit.cli.options import common_options, gather, keep_examples

if TYPE_CHECKING:
    from rich.console import RenderableType

    from toolkit.apps.building import BuiltApp
    from toolkit.apps.contract import Request
    from toolkit.apps.project import Project, Wish
    from toolkit.apps.update import Plan

PLATFORMS = ("android", "ios")
ENGINES = ("litert", "onnx", "coreml", "coreml+onnx")
TASKS = ("classification", "detection", "text", "tensor")

HELP = """Make an Android or iOS app around a build, and keep it up to date.

Example:
  palmtop app create android --build builds --target tflite -o DigitsApp
  palmtop app build DigitsApp --variant bench
  palmtop app update DigitsApp --build builds2
"""


@click.group(help=keep_examples(HELP))
def command() -> None:
    """Hold the commands together."""


_LABEL_OPTIONS = (
    click.option("--labels", type=click.Path(path_type=Path), help="Labels, one a line, in the order of the classes."),
    click.option("--labels-csv", type=click.Path(path_type=Path), help="Labels with a column per language tag."),
    click.option("--vocab", type=click.Path(path_type=Path), help="Words of a text model, one a line."),
)


def _label_options(function: Any) -> Any:
    for option in reversed(_LABEL_OPTIONS):
        function = option(function)
    return function


def _wish(**fields: Any) -> Wish:
    from toolkit.apps.contract import Request
    from toolkit.apps.project import Wish

    named = {name: fields.pop(name) for name in ("platform", "name", "id", "engine")}
    return Wish(build=Request(**fields), **named)


_WISH = ("platform", "folder", "target", "recipe", "name", "id", "engine", "task", "labels", "labels_csv", "vocab")


@command.command()
@click.argument("platform", type=click.Choice(PLATFORMS))
@click.option("--build", "folder", type=click.Path(path_type=Path), required=True, help="Folder of verified builds.")
@click.option("--target", required=True, help="Runtime of the build: tflite, onnx or coreml.")
@click.option("--recipe", help="Recipe of the build.  [default: static-int8, else the smallest that did not fail]")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="Folder for the app, empty or new.")
@click.option("--name", help="What people read below the icon.  [default: the model's name]")
@click.option("--id", help="Application or bundle id, such as com.example.digits.")
@click.option("--engine", type=click.Choice(ENGINES), help="What executes the model.  [default: the target's usual]")
@click.option("--task", type=click.Choice(TASKS), help="What the app shows.  [default: told from the build]")
@_label_options
@gather("wish", _WISH, _wish)
@common_options
def create(wish: Wish, out: Path, console: Console) -> None:
    """Make an Android Studio or Xcode project around a build.

    Model, labels, preprocessing and golden samples come from the build; the app's own tests fail when it computes
    something else than the build does. The folder is written whole or not at all, the same every time.

    Example:
      palmtop app create android --build builds --target tflite -o DigitsApp --name Digits --id com.example.digits
      palmtop app create ios --build builds --target coreml -o Digits --labels-csv labels.csv
    """
    from toolkit.apps import project, tree

    made = project.design(tree.shipped(wish.platform), wish)
    for note in made.notes:
        console.note(note)
    project.create(made, out, console.tools())
    document = {"app": str(out), **_facts(made), "files": made.record.files}
    console.result(document, lambda: _created(made, out))


def _facts(made: Project) -> dict[str, Any]:
    return {
        "answers": made.record.answers,
        "template_version": made.record.template_version,
        "notes": made.notes,
    }


def _created(made: Project, out: Path) -> RenderableType:
    answers = made.record.answers
    kinds = [entry.kind for entry in made.record.files]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("managed", "seed", "model") if kind in kinds)
    return (
        f"{out}: {answers.name} ({answers.id}), {answers.platform} with {answers.engine}, {counts} files.\n"
        f"Next: palmtop app build {out}\n"
    )


def _newer(**fields: Any) -> Request | None:
    from toolkit.apps.contract import Request

    if fields["folder"] is None:
        given = [name for name in ("labels", "labels_csv", "vocab") if fields[name] is not None]
        if given:
            raise click.UsageError(f"--{given[0].replace('_', '-')} takes effect with --build.")
        return None
    return Request(target="", **fields)


@command.command()
@click.argument("app", type=click.Path(path_type=Path))
@click.option("--build", "folder", type=click.Path(path_type=Path), help="Folder of newer builds.  [default: none]")
@click.option("--diff", is_flag=True, help="Print what would change as a patch; nothing is written.")
@click.option("--dry-run", is_flag=True, help="Say what would change; nothing is written.")
@click.option(
    "--conflict",
    type=click.Choice(["new", "inline"]),
    default="new",
    help="Where you and palmtop changed the same lines: the new text beside yours as FILE.new, or marks in yours.  "
    "[default: new]",
)
@_label_options
@gather("newer", ("folder", "labels", "labels_csv", "vocab"), _newer)
@common_options
def update(newer: Request | None, app: Path, console: Console, **how: Any) -> None:
    """Bring an app to today's template, and with --build to a newer build.

    Files you did not touch are rewritten, files you changed are merged, files you removed stay removed. What you wrote
    is never lost.

    Example:
      palmtop app update DigitsApp --dry-run
      palmtop app update DigitsApp --build builds2 --conflict inline
    """
    from toolkit.apps import record, renewal, tree
    from toolkit.apps import update as updates

    before = record.read(app)
    made = renewal.renew(tree.shipped(before.answers.platform), app, before, newer)
    tools = console.tools()
    plan = updates.plan(app, before, made, how["conflict"], tools)
    for note in made.notes:
        console.note(note)
    written = not (how["diff"] or how["dry_run"])
    patch = updates.patch(app, plan) if how["diff"] else ""
    if written:
        updates.apply(app, plan, tools)
    document = {"app": str(app), "written": written, "changes": _changes(plan), "patch": patch or None}
    console.result(document, lambda: patch or _updated(plan, app, written=written))
    _tell_unsolved(plan, written=written)


def _changes(plan: Plan) -> list[dict[str, Any]]:
    return [
        {"path": step.path, "action": step.action, "beside": step.beside, "aside": step.aside}
        for step in plan.steps
        if step.action != "unchanged"
    ]


def _updated(plan: Plan, app: Path, *, written: bool) -> RenderableType:
    rows = [
        (step.action, step.path, step.beside or step.aside or "") for step in plan.steps if step.action != "unchanged"
    ]
    if not rows:
        return f"{app} is up to date.\n"
    return table("would be" if not written else "", "file", "see", rows=rows)


def _tell_unsolved(plan: Plan, *, written: bool) -> None:
    if not plan.unsolved or not written:
        return
    from toolkit.core.errors import SomeFailed

    names = ", ".join(step.beside or step.path for step in plan.unsolved)
    raise SomeFailed(
        f"You and palmtop changed the same lines of {len(plan.unsolved)} files: {names}. The rest is up to date.",
        hint="Take over what you want, then remove the .new files or the marks.",
    )


@command.command()
@click.argument("app", type=click.Path(path_type=Path))
@click.option("--variant", help="debug, release or bench.  [default: debug]")
@common_options
def build(app: Path, variant: str | None, console: Console) -> None:
    """Build an app with Gradle or xcodebuild.

    Example:
      palmtop app build DigitsApp
      palmtop app build DigitsApp --variant bench
    """
    from toolkit.apps import building

    done = building.build(app, variant, console.tools())
    console.result(done, lambda: _built(done, app))


def _built(done: BuiltApp, app: Path) -> RenderableType:
    if done.artefact is None:
        return f"{app}: {done.variant} built in {done.seconds:.0f} s.\n"
    from toolkit.core import store

    size = size_words(store.size_of(app / done.artefact))
    return f"{app / done.artefact} ({size}), built in {done.seconds:.0f} s.\n"
