"""What a measured run says of whole builds, so that a search can weigh time or energy rather than bytes.

Read from what ``palmtop history export`` writes, as plain data: the toolkit knows nothing of devices.
"""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import DataError
from toolkit.search.requests import Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What whole builds cost on one device, by ``(target, recipe)``: nanoseconds or microjoules an inference.

    ``place`` says where that was, and what kind of device it is.
    """

    place: str
    costs: dict[tuple[str, str], float]


def read(path: Path, objective: Objective) -> Measured:
    """Read an exported run; of several devices the one with the most builds counts, phones before others.

    Raises:
        DataError: it is no exported run, or holds no figure of that kind.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        cells = [cell for cell in plain["cells"] if cell["outcome"] == "measured"]
        places: dict[tuple[bool, str], dict[tuple[str, str], float]] = {}
        for cell in cells:
            cost = _cost(cell, objective)
            if cost is not None:
                device = cell["device"]
                place = (device["kind"] == "phone", f"{device['model']} ({device['kind']})")
                places.setdefault(place, {})[str(cell["target"]), str(cell["recipe"])] = cost
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path} is no exported run: {type(error).__name__}: {error}.", hint="`palmtop history export RUN -o FILE`."
        ) from error
    if not places:
        raise DataError(
            f"{path} holds no {objective} of any build.",
            hint="Measure energy with `palmtop bench --plan standard`."
            if objective == "energy"
            else "Bench them first.",
        )
    chosen = max(places, key=lambda place: (place[0], len(places[place]), place[1]))
    return Measured(place=chosen[1], costs=places[chosen])


def _cost(cell: dict[str, Any], objective: Objective) -> float | None:
    if objective == "energy":
        found = (cell.get("energy") or {}).get("per_inference_uj")
        return _positive(found)
    medians = [statistics.median(one["latency_ns"]) for one in cell["sessions"] if one["latency_ns"]]
    return _positive(statistics.median(medians)) if medians else None


def _positive(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{value!r} is no measured figure")
    return number
