"""The values that templates see; ``docs/apps.md`` lists them."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from toolkit.apps import strings
from toolkit.apps.record import Answers
from toolkit.apps.render import TemplateError
from toolkit.apps.spec import ModelSpec
from toolkit.apps.strings import Strings
from toolkit.apps.tree import Tree
from toolkit.core import codec

LICENCE = "0BSD"
VERSION = "1.0.0"


def palmtop_version() -> str:
    """Return the version of the installed palmtop."""
    return importlib.metadata.version("palmtop")


def for_templates(tree: Tree, answers: Answers, model: ModelSpec, texts: Strings) -> dict[str, Any]:
    """Return plain data: nothing in it has behaviour of ours.

    Raises:
        TemplateError: ``versions.toml`` does not say the oldest system it is for.
    """
    app = {
        "display_name": answers.name,
        "id": answers.id,
        "package": answers.id,
        "bundle_id": answers.id,
        "product": answers.product,
        "platform": answers.platform,
        "version": VERSION,
        "build_number": 1,
        "min_os": _min_os(tree, model),
        "template_version": tree.description.version,
        "palmtop_version": palmtop_version(),
        "licence": LICENCE,
    }
    return {
        "app": app,
        "engine": answers.engine,
        "model": codec.unstructure(model),
        "strings": strings.values(texts),
        "versions": tree.versions,
    }


def _min_os(tree: Tree, model: ModelSpec) -> int | str:
    """Return the newer of what the template and the build need."""
    least = tree.versions.get("min_os")
    if tree.description.platform == "android" and isinstance(least, int):
        return max(least, model.requirements.android_api_min or 0)
    if tree.description.platform == "ios" and isinstance(least, str):
        return max(least, model.requirements.ios_min or "0", key=_version)
    raise TemplateError(f"{tree.root} does not say its min_os: a number for android, a text such as 17.0 for ios.")


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in text.split("."))
