"""From the source to the forms that targets convert from, each written once."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from toolkit.core import isolation, store
from toolkit.core.artifacts import Blob, SourceModel
from toolkit.core.tools import Tools
from toolkit.stages import work
from toolkit.stages.order import made_by, source_of, target_of

EXPORT_S = 3600
"""Deadline in seconds: a generous guard against a hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exported:
    blob: Blob


def form_of(source: str, target: str) -> str | None:
    """Return the form that a source's format is converted to a target from; None where it is not."""
    offered = source_of(source).FORMS
    return next((form for form in target_of(target).FORMS if form in offered), None)


def export(source: SourceModel, form: str, tools: Tools) -> Blob:
    """Return the source in one of its forms, exported once and cached.

    Raises:
        ModelError: it cannot be expressed in that form.
    """

    def produce(folder: Path) -> _Exported:
        out = folder / form
        model = source.blob.path.absolute()
        isolation.isolate(tools, EXPORT_S, work.export, source.format, model, form, dict(source.shapes), out)
        return _Exported(blob=store.blob_of(out))

    inputs = _inputs(source.format, source.blob, dict(source.shapes), form)
    return tools.store.memo("export/1", inputs, _Exported, produce).blob


def read_and_export(
    source: str, blob: Blob, shapes: dict[str, tuple[int, ...]], out: Path, tools: Tools
) -> work.SourceFacts:
    """Read a model and export it in one child process, as loading takes longest; :func:`export` finds what it wrote.

    A form that cannot be written is left to :func:`export`, which says why. ``out`` has the name of the form; nothing
    stays there.

    Raises:
        ModelError: the model cannot be read, or palmtop does not support what is in it.
        ChildFailed: the process crashed.
    """
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        written = Path(scratch) / out.name
        model = blob.path.absolute()
        made = isolation.isolate(tools, EXPORT_S, work.read_and_export, source, model, out.name, shapes, written)

        def produce(folder: Path) -> _Exported:
            return _Exported(blob=store.blob_of(written.rename(folder / out.name)))

        if made.exported:
            tools.store.memo("export/1", _inputs(source, blob, shapes, out.name), _Exported, produce)
    return made.facts


def _inputs(source: str, blob: Blob, shapes: dict[str, tuple[int, ...]], form: str) -> dict[str, object]:
    return {"source": blob.sha256, "shapes": shapes, "form": form, "made_by": made_by(source_of(source))}
