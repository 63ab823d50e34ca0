"""What a caller asks of a search, as a frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from toolkit.core.artifacts import Preprocess

Objective = Literal["size", "latency", "energy"]
AGREEMENT = "agreement"
"""The metric that needs no labels: whether a build's first class is the float model's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """Find the best build of ``model`` for each target whose drop of ``metric`` is at most ``max_drop``.

    ``data`` are the labelled samples that the search chooses and certifies by, ``calibration`` the ones that ranges
    are learned from (None: ``samples`` of ``data``, evenly spread, which then never certify). ``certify_share`` of
    all of ``data``, drawn by ``seed`` from what does not calibrate, is held out; of exact copies among it one
    certifies. ``metric_range`` is the scale of a metric of the user's own. ``measured`` is an exported run for the
    objectives ``latency`` and ``energy``. ``integer_only`` leaves out builds that compute in float. ``trials``
    bounds the candidates tried for each target. ``resume`` insists that ``out`` holds an unfinished search; without
    it one of equal inputs goes on, too.
    """

    model: Path
    out: Path
    data: str
    targets: tuple[str, ...]
    calibration: str | None = None
    metric: str | None = None
    output: str | None = None
    metric_range: tuple[float, float] = (0.0, 1.0)
    max_drop: float = 0.01
    confidence: float = 0.95
    objective: Objective = "size"
    measured: Path | None = None
    samples: int = 128
    certify_share: float = 0.5
    seed: int = 0
    trials: int = 40
    jobs: int = 2
    integer_only: bool = False
    resume: bool = False
    preprocess: Preprocess = field(default_factory=Preprocess)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
