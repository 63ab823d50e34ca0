"""Where the built bench variant of a project lies, for `palmtop bench --app`."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from toolkit.apps import record, tree
from toolkit.apps.identifiers import Platform
from toolkit.core.errors import BadInput

_TARGETS: Final[dict[str, tuple[str, ...]]] = {
    "litert": ("tflite",),
    "onnx": ("onnx",),
    "coreml": ("coreml",),
    "coreml+onnx": ("coreml", "onnx"),
}
"""The builds that an app of an engine measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedApp:
    """A bench app that was built: ``package`` comes from the artefacts; ``runner`` is Android's instrumentation.

    Of an iOS app there may be one artefact for phones and one for simulators.
    """

    platform: Platform
    targets: tuple[str, ...]
    package: str
    runner: str
    artefacts: tuple[Path, ...]


def bench_app(app: Path) -> PlacedApp:
    """Find the bench variant of a project.

    Raises:
        BadInput: it is no project of palmtop's, or the variant has not been built.
    """
    answers = record.read(app).answers
    place = tree.shipped(answers.platform).description.bench
    words = {"package": answers.id, "product": answers.product}
    places = [app / _filled(one, words) for one in (place.artefact, *place.also)]
    artefacts = tuple(one for one in places if one.exists())
    if not artefacts:
        raise BadInput(
            f"The app {app} has not been built for measuring: there is no {places[0]}.",
            hint=f"`palmtop app build {app} --variant {place.variant}` builds it.",
        )
    return PlacedApp(
        platform=answers.platform,
        targets=_TARGETS[answers.engine],
        package=_filled(place.package, words),
        runner=_filled(place.runner, words),
        artefacts=artefacts,
    )


def _filled(text: str, words: dict[str, str]) -> str:
    for word, meaning in words.items():
        text = text.replace(f"{{{word}}}", meaning)
    return text


def bench_variables(app: Path) -> dict[str, str]:
    """Return the variables that have the transports use a project's app: what ``--app`` of ``palmtop bench`` sets.

    Raises:
        BadInput: as :func:`bench_app`.
    """
    found = bench_app(app)
    files = [str(path.absolute()) for path in found.artefacts]
    if found.platform == "ios":
        prefix, words = "PALMTOP_IOS_APP_", files
    else:
        component = f"{found.package}/{found.runner}" if found.runner else found.package
        prefix, words = "PALMTOP_APP_", [component, *files]
    return {f"{prefix}{re.sub(r'[^A-Za-z0-9_]', '_', target).upper()}": shlex.join(words) for target in found.targets}
