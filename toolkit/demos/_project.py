"""What a demo is: one or more trained models, each with samples to calibrate on and labelled ones it never saw."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from toolkit.core.artifacts import Blob, Preprocess
from toolkit.core.events import Emit


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoModel:
    """A trained model and its data, both ``.npz`` with raw samples under the input's name.

    ``labelled`` shares no sample with ``calibration`` nor with what the model was trained on here. ``output`` names the
    output that ``metric`` reads (None: the only one); ``preprocess`` turns a stored sample into the model's input.
    ``notes`` are sentences on the split, the licences and what the data cannot show.
    """

    name: str
    model: Blob
    calibration: Blob
    labelled: Blob
    output: str | None
    metric: str
    preprocess: Preprocess
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoProject:
    """What :meth:`Demo.prepare` leaves behind."""

    name: str
    summary: str
    models: tuple[DemoModel, ...]


class Demo(Protocol):
    """A module of this room. Its name is the word a user types after ``palmtop demo``."""

    SUMMARY: str
    """One line for the list of demos."""
    PACKAGES: tuple[str, ...]
    """Distributions that have a part in the result; another version of one makes it anew."""

    def prepare(self, out: Path, emit: Emit) -> DemoProject:
        """Write models and data into the empty folder ``out``; called in a child process.

        Raises:
            ToolMissing: a package of the extra ``demo`` is not installed.
            ModelError: a file that a package ships is not the one this demo was made for.
        """
