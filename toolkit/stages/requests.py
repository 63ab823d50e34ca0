"""What a caller asks of the pipeline: frozen values that the command line and ``palmtop.toml`` are turned into."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from toolkit.core.artifacts import Preprocess


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeRequest:
    """Make builds of ``model`` for every target x recipe and write them, with ``build.json``, to ``out``.

    ``data`` is a location of calibration samples (None when no recipe needs data), ``samples`` the most to use.
    ``shapes`` gives sizes to inputs with unknown axes. ``jobs`` is how many builds are made at once.
    """

    model: Path
    out: Path
    data: str | None
    targets: tuple[str, ...]
    recipes: tuple[str, ...]
    samples: int | None = None
    preprocess: Preprocess = field(default_factory=Preprocess)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    jobs: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """Check every build in ``folder`` against the float model and write the figures to its ``build.json``.

    ``data`` None means the data the builds were calibrated on (errors only, and no score unless it is labelled).
    ``metric`` None means top-1 when the data is labelled. ``output`` names the output the metric reads (None: the only
    one that fits). ``model`` is where the float model lies now (None: where it lay).
    """

    folder: Path
    data: str | None = None
    metric: str | None = None
    output: str | None = None
    max_drop: float = 0.01
    confidence: float = 0.95
    samples: int | None = None
    seed: int = 0
    model: Path | None = None
