"""``build.json``: what a folder of builds holds, how it was made and how it did. The one value both halves share.

The file is the public contract (schema 1): users and scripts rely on the names, so fields are added, never renamed.
Paths inside are relative to the folder of ``build.json``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from toolkit.core import codec, store
from toolkit.core.artifacts import (
    CalibrationReport,
    CareStep,
    Census,
    KeptFloat,
    LayerError,
    Preprocess,
    Requirements,
    Score,
    Signature,
    ToolVersion,
    Verdict,
)
from toolkit.core.errors import ModelError, SettingsError
from toolkit.core.precision import SearchEntry, SensitivityEntry

FILE = "build.json"
SCHEMA = 1
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEntry:
    """The trained model. ``path`` is where it lay when it was quantized, as the user named it."""

    name: str
    path: str
    sha256: str
    format: str
    signature: Signature
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataEntry:
    """A data set that took part: where it lay, what it held, how it was used.

    ``note`` says what casts doubt on its figures, such as builds verified on the samples they were calibrated with.
    ``report`` is what calibration noticed about data and models (docs/calibration.md).
    """

    data: str
    format: str
    sha256: str
    samples: int
    method: str = ""
    note: str = ""
    report: CalibrationReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEntry:
    """Distance of one output from the float model's; see :class:`toolkit.core.artifacts.TensorError`."""

    sqnr_db: float
    cosine: float
    max_abs: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateEntry:
    """How `palmtop search` found a build, and what certifies its drop (docs/search.md).

    ``recipe`` is the file beside ``build.json`` that makes the build again, ``words`` what it is. Candidates were
    chosen by ``test`` on ``selection_samples``; ``[low, high]`` bounds the drop on ``certification_samples`` that took
    no part in choosing, each end at ``confidence``, by ``method``. ``full_bytes`` is the size with every layer in 8
    bits, 0 where that cannot be built. ``evaluations`` counts the builds that were run.
    """

    recipe: str
    words: str
    objective: str
    metric: str
    max_drop: float
    confidence: float
    drop: float
    low: float
    high: float
    method: str
    test: str
    selection_samples: int
    certification_samples: int
    full_bytes: int
    evaluations: int
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildEntry:
    """One build. ``tensor_errors``, ``score``, ``golden``, ``verdict`` and what follows are filled by verification.

    ``verdict_reason`` says why in a sentence where the score does not: no labels, an output that is not finite, a
    build that did not run. ``layer_errors`` are the worst first, empty for a float build; where they could not be
    measured ``layer_errors_note`` says why. ``activation_mode`` is the recipe's: with ``none`` a build computes in
    float whatever its weights are; empty in files of before it was kept. ``census`` is None for a float build, for a
    target that cannot see what its runtime makes of a build, and in such files. ``certificate`` is that of a search.
    ``care`` is what was tried for the build's accuracy beyond quantizing it (docs/recipes.md). ``deflated_bytes`` is
    what it takes in a compressed download (:func:`toolkit.core.store.deflated_size_of`), 0 where that was not kept.
    """

    id: str
    target: str
    recipe: str
    path: str
    sha256: str
    size_bytes: int
    signature: Signature
    kept_float: tuple[KeptFloat, ...]
    requirements: Requirements
    toolchain: tuple[ToolVersion, ...] = ()
    tensor_errors: dict[str, ErrorEntry] = field(default_factory=dict)
    score: Score | None = None
    golden: str | None = None
    golden_sha256: str | None = None
    verdict: Verdict | None = None
    verdict_reason: str = ""
    layer_errors: tuple[LayerError, ...] = ()
    layer_errors_note: str = ""
    activation_mode: Literal["static", "dynamic", "none", ""] = ""
    deflated_bytes: int = 0
    census: Census | None = None
    care: tuple[CareStep, ...] = ()
    certificate: CertificateEntry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotExpressible:
    """A recipe that a target's runtime cannot express, and why."""

    target: str
    recipe: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedBuild:
    """A build that was tried and failed; the others do not suffer."""

    target: str
    recipe: str
    error: str
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The whole of ``build.json``; ``sensitivity`` and ``search`` are there where a search made the builds."""

    schema: Literal[1] = 1
    palmtop: str
    source: SourceEntry
    preprocess: Preprocess
    calibration: DataEntry | None
    verification: DataEntry | None = None
    toolchain: tuple[ToolVersion, ...]
    builds: tuple[BuildEntry, ...]
    not_expressible: tuple[NotExpressible, ...] = ()
    failed: tuple[FailedBuild, ...] = ()
    inputs_key: str = ""
    sensitivity: SensitivityEntry | None = None
    search: SearchEntry | None = None


def read(folder: Path) -> Manifest:
    """Read the ``build.json`` of a folder.

    Raises:
        ModelError: there is none, it is of a newer palmtop, it is damaged, a build's id is no plain name or is not
            unique, or a path in it leaves the folder.
    """
    path = folder / FILE
    if not path.is_file():
        raise ModelError(f"{folder} holds no {FILE}.", hint="`palmtop quantize MODEL -d DATA -o DIR` writes one.")
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        schema = plain.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise ModelError(
                f"{path} is of schema {schema}; this palmtop reads up to {SCHEMA}.", hint="Update palmtop."
            )
        manifest = codec.structure(plain, Manifest, what=str(path))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError, AttributeError, SettingsError) as error:
        raise ModelError(f"Cannot read {path}: {error}", hint="Build it again with `palmtop quantize`.") from error
    _check_ids(path, manifest.builds)
    for build in manifest.builds:
        for inner in (build.path, build.golden):
            if inner is not None:
                _check_inside(path, inner)
    return manifest


def write(folder: Path, manifest: Manifest) -> None:
    """Write ``build.json``, whole or not at all."""
    store.write_atomic(folder / FILE, codec.pretty(manifest))


def _check_ids(path: Path, builds: tuple[BuildEntry, ...]) -> None:
    """Ids become file names in this folder and in those of measurements."""
    seen: set[str] = set()
    for build in builds:
        if not _PLAIN_ID.fullmatch(build.id):
            raise ModelError(f"{path} names a build {build.id!r}, which is no id.", hint="Do not trust this file.")
        if build.id in seen:
            raise ModelError(f"{path} names two builds {build.id!r}.", hint="Build it again with `palmtop quantize`.")
        seen.add(build.id)


def _check_inside(path: Path, inner: str) -> None:
    pure = PurePosixPath(inner)
    strange = any(not letter.isprintable() or letter == "\\" for letter in inner) or ":" in inner[:2]
    outside = pure.is_absolute() or ".." in pure.parts or not pure.parts
    if strange or outside or not (path.parent / inner).resolve().is_relative_to(path.parent.resolve()):
        raise ModelError(f"{path} names the path {inner!r}, which leaves its folder.", hint="Do not trust this file.")
