"""What a search leaves in its folder: builds with ``build.json``, the recipes that make them again, and the trail."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.core import codec, store
from toolkit.core import manifest as manifests
from toolkit.core.artifacts import DataRef, QuantizedModel, Score
from toolkit.core.errors import ModelError
from toolkit.core.manifest import BuildEntry, CertificateEntry, DataEntry, ErrorEntry, Manifest
from toolkit.core.recipe import Recipe
from toolkit.core.tools import Tools
from toolkit.search import entries
from toolkit.search.reports import Outcome
from toolkit.search.trail import Trail
from toolkit.search.values import Sensitivity
from toolkit.search.workshop import Bench
from toolkit.stages import comparing, packager
from toolkit.stages import data as datasets
from toolkit.stages.comparing import Result, Standard
from toolkit.stages.executing import execute
from toolkit.stages.order import Build, Built, Order
from toolkit.stages.work import ExecutionJob

CHECKED = 32
"""Samples that the golden outputs and the errors of outputs are taken from."""


def recipe_file(target: str) -> str:
    """Return the name of the recipe of a target's build."""
    return f"recipe-{target}.toml"


def is_complete(out: Path, trail: Trail, targets: Sequence[str]) -> bool:
    """Whether every target's search has ended and what it found lies in the folder."""
    ended = {one.target: bool(one.key) for one in trail.found}
    if not all(target in ended for target in targets):
        return False
    return not any(ended.values()) or (out / manifests.FILE).is_file()


def write(bench: Bench, trail: Trail, winners: Sequence[Outcome], known: Sensitivity | None, tools: Tools) -> None:
    """Write builds and recipes into the folder of the trail, ``build.json`` last; ``known`` goes into it.

    Raises:
        OutputError: the folder cannot be written.
        ModelError: a build is not the very file that was certified.
    """
    out = bench.order.request.out
    if winners:
        ids = {(one.trial.target, one.trial.key): one.model_id for one in winners}
        staged = bench.work / "staged"
        shutil.rmtree(staged, ignore_errors=True)
        models = [_certified_file(outcome) for outcome in winners]
        made = _packaged(bench.order, trail, models, staged, tools)
        checked = tuple(
            _entry(entry, outcome, trail, *_checked(bench, model, tools, staged))
            for entry, outcome, model in zip(made.builds, winners, models, strict=True)
        )
        for outcome in winners:
            text = to_toml(outcome.candidate.recipe)
            store.write_atomic(out / recipe_file(outcome.candidate.target), text)
        _move(staged, out, checked)
        whole = dataclasses.replace(
            made,
            builds=checked,
            verification=_verification(trail, bench),
            search=entries.search_entry(trail, ids),
            sensitivity=None if known is None else entries.sensitivity_entry(known),
        )
        manifests.write(out, whole)
    shutil.rmtree(bench.work, ignore_errors=True)


def _certified_file(outcome: Outcome) -> QuantizedModel:
    model = outcome.model
    if model is None or model.blob.sha256 != outcome.certified.sha256:
        raise ModelError(
            f"The build of {outcome.model_id} is not the file that was certified, {outcome.certified.sha256[:12]}.",
            hint="The same command again certifies the file that it ships.",
        )
    return model


def _packaged(order: Order, trail: Trail, models: Sequence[QuantizedModel], staged: Path, tools: Tools) -> Manifest:
    targets = tuple(one.base.base.target for one in models)
    forms = {build.target: build.form for build in order.builds}
    asked = dataclasses.replace(order.request, out=staged, targets=targets)
    builds = tuple(
        Build(target=one.base.base.target, recipe=one.recipe, form=forms[one.base.base.target]) for one in models
    )
    whole = dataclasses.replace(order, request=asked, builds=builds, not_expressible=(), key=trail.key)
    return packager.package(Built(order=whole, models=tuple(models), failed=()), tools)


def _checked(bench: Bench, model: QuantizedModel, tools: Tools, staged: Path) -> tuple[Result, str | None]:
    """Run a build and the float model over some samples: how far outputs are apart, and the hash of golden ones."""
    order = bench.order
    assert order.data is not None
    source, some = order.source, min(CHECKED, order.data.count)
    data = datasets.refer(order.data.location, source.signature, order.data.preprocess, some)
    subject = f"{model.base.base.target}/{model.recipe.name}"
    with tempfile.TemporaryDirectory(dir=bench.work, prefix="check-") as scratch:
        place = Path(scratch)
        reference = execute(_float_job(order, data, place / "float"), f"{source.format}/float", tools)
        job = dataclasses.replace(
            _float_job(order, data, place / "build"),
            room="targets",
            name=model.base.base.target,
            model=model.blob.path.absolute(),
            shapes={},
            artefact=model.signature,
        )
        standard = Standard(reference=reference, task=None, float_values=None)
        found = comparing.measure_outputs(standard, execute(job, subject, tools), place, tools)
        if found.golden is None:
            return found, None
        golden = store.blob_of(found.golden)
        packager.copy_into(golden, staged, _golden(model.id))
    return found, golden.sha256


def _float_job(order: Order, data: DataRef, out: Path) -> ExecutionJob:
    source = order.source
    return ExecutionJob(
        room="sources",
        name=source.format,
        model=source.blob.path.absolute(),
        shapes=dict(source.shapes),
        artefact=source.signature,
        source=source.signature,
        data=data,
        out=out,
    )


def _golden(build_id: str) -> str:
    return f"golden/{build_id}.npz"


def _entry(entry: BuildEntry, outcome: Outcome, trail: Trail, result: Result, golden: str | None) -> BuildEntry:
    shown, found = outcome.certified, outcome.found
    return dataclasses.replace(
        entry,
        tensor_errors={
            one.output: ErrorEntry(sqnr_db=one.sqnr_db, cosine=one.cosine, max_abs=one.max_abs) for one in result.errors
        },
        score=Score(
            metric=trail.metric,
            float_value=shown.float_value,
            value=shown.value,
            drop=shown.drop,
            ci_low=shown.low,
            ci_high=shown.high,
            n=shown.n,
            confidence=trail.confidence,
            max_drop=trail.max_drop,
            method=shown.method,
            verdict="pass",
            outcomes=shown.outcomes,
        ),
        golden=None if golden is None else _golden(entry.id),
        golden_sha256=golden,
        verdict="pass",
        certificate=CertificateEntry(
            recipe=recipe_file(entry.target),
            words=outcome.candidate.words,
            objective=trail.objective,
            metric=trail.metric,
            max_drop=trail.max_drop,
            confidence=trail.confidence,
            drop=shown.drop,
            low=shown.low,
            high=shown.high,
            method=shown.method,
            test=trail.test,
            selection_samples=trail.selection_samples,
            certification_samples=shown.n,
            full_bytes=found.full_bytes,
            evaluations=found.evaluations,
            samples=found.samples,
        ),
    )


def _verification(trail: Trail, bench: Bench) -> DataEntry:
    return DataEntry(
        data=bench.data.location,
        format=bench.data.format,
        sha256=bench.data.sha256,
        samples=trail.certification_samples,
        method=trail.metric,
        note=f"Certified by samples of it that took no part in choosing, drawn with seed {trail.seed}",
    )


def _move(staged: Path, out: Path, builds: Sequence[BuildEntry]) -> None:
    """Put artefacts and golden outputs in their places, over what a search that was killed here left."""
    names = [*(build.path for build in builds), *(build.golden for build in builds if build.golden is not None)]
    with store.writing_to(out):
        for name in names:
            place = out / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir():
                shutil.rmtree(place)
            (staged / name).replace(place)


def to_toml(recipe: Recipe) -> str:
    """Return a recipe as the text of a file that :func:`toolkit.core.recipe.load_recipe` reads back.

    >>> from toolkit.core.recipe import load_recipe
    >>> print(to_toml(load_recipe("float32")).splitlines()[2])
    weight_bits = 32
    """
    plain = codec.unstructure(recipe)
    tables = plain.pop("overrides")
    lines = [f"{key} = {_value(value)}" for key, value in plain.items() if value is not None]
    for table in tables:
        lines += ["", "[[overrides]]"]
        lines += [f"{key} = {_value(value)}" for key, value in table.items() if value is not None]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_value(one) for one in value)}]"
    return str(value)
