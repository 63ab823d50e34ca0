"""Every target in the folder keeps the contract of `toolkit.core.ports.Target`, with real models, one after another."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from contracts import target_jobs as jobs

from toolkit.core import discovery, ports, process, store
from toolkit.core.artifacts import Signature, TensorSpec, ToolVersion
from toolkit.core.clock import SystemClock
from toolkit.core.errors import DataError, ModelError, PalmtopError
from toolkit.core.events import silent
from toolkit.core.isolation import isolate
from toolkit.core.recipe import Recipe, load_recipe, recipe_names
from toolkit.core.signature import source_name
from toolkit.core.store import Store
from toolkit.core.tools import Tools

DEADLINE_S = 300
FLOAT_DB, HALF_DB, INTEGER_DB, FOUR_BITS_DB = 60.0, 45.0, 15.0, 3.0
TARGETS = {name: discovery.load("toolkit.targets", name) for name in discovery.names("toolkit.targets")}
SOURCES = {"onnx": ("onnx", "onnx_model", "noise_npz"), "saved_model": ("keras", "keras_model", "shapes_npz")}
CASES = [(name, form) for name, module in TARGETS.items() for form in getattr(module, "FORMS", ())]


@dataclass(frozen=True)
class Converted:
    """A float artefact of one target, made from one form, with what it came from."""

    target: str
    model: Path
    signature: Signature
    source: Signature
    data: Path
    reference: dict[str, np.ndarray]
    answer: jobs.Converted


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    root = tmp_path_factory.mktemp("contracts")
    return Tools(run=process.run, emit=silent, clock=SystemClock(), store=Store(root / "store"))


@pytest.fixture(scope="module")
def exported(maker: Tools, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest):
    """A function from a form to (model in that form, source signature, data, outputs of the source)."""
    made: dict[str, tuple[Path, Signature, Path, dict[str, np.ndarray]]] = {}

    def export(form: str) -> tuple[Path, Signature, Path, dict[str, np.ndarray]]:
        if form not in made:
            source, model_fixture, data_fixture = SOURCES[form]
            model, data = request.getfixturevalue(model_fixture), request.getfixturevalue(data_fixture)
            folder = tmp_path_factory.mktemp(form)
            signature = isolate(maker, DEADLINE_S, jobs.export, source, model, form, folder / "model.onnx")
            isolate(maker, DEADLINE_S, jobs.run_source, source, model, data, folder / "reference.npz")
            made[form] = (folder / "model.onnx", signature, data, jobs.read_arrays(folder / "reference.npz"))
        return made[form]

    return export


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def converted(request: pytest.FixtureRequest, maker: Tools, exported, tmp_path_factory: pytest.TempPathFactory):
    target, form = request.param
    model, source, data, reference = exported(form)
    out = tmp_path_factory.mktemp(target) / f"float{TARGETS[target].SUFFIX}"
    answer = isolate(maker, DEADLINE_S, jobs.convert, target, form, model, source, out)
    return Converted(target, out, answer.signature, source, data, reference, answer)


def sqnr_db(reference: np.ndarray, found: np.ndarray) -> float:
    noise = float(np.square(reference.astype(np.float64) - found).sum())
    return float("inf") if noise == 0 else 10 * np.log10(float(np.square(reference.astype(np.float64)).sum()) / noise)


@pytest.mark.parametrize("name", TARGETS)
def test_has_every_constant_and_function_with_the_contract_s_parameters(name: str) -> None:
    module = TARGETS[name]
    assert module.SUFFIX.startswith(".")
    assert module.FORMS
    assert set(module.FORMS) <= set(SOURCES)
    for verb, contract in inspect.getmembers(ports.Target, inspect.isfunction):
        if not verb.startswith("_"):
            wanted = [parameter for parameter in inspect.signature(contract).parameters if parameter != "self"]
            assert list(inspect.signature(getattr(module, verb)).parameters) == wanted, verb


@pytest.mark.parametrize("name", TARGETS)
def test_importing_it_loads_no_heavy_library(name: str, tools: Tools) -> None:
    assert isolate(tools, DEADLINE_S, jobs.loaded_libraries, f"toolkit.targets.{name}") == []


@pytest.mark.parametrize("name", TARGETS)
def test_cheap_functions_answer_in_this_process(name: str) -> None:
    versions = TARGETS[name].toolchain()
    assert versions
    assert all(isinstance(version, ToolVersion) and version.version[0].isdigit() for version in versions)
    for recipe in recipe_names():
        reason = TARGETS[name].not_expressible(load_recipe(recipe))
        assert reason is None or reason.strip()


def test_float_artefact_computes_what_the_source_does(converted: Converted, maker: Tools, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    isolate(
        maker,
        DEADLINE_S,
        jobs.run_artefact,
        converted.target,
        converted.model,
        converted.signature,
        converted.source,
        converted.data,
        out,
    )
    found = jobs.read_arrays(out)
    assert found.keys() == converted.reference.keys()
    for name, values in converted.reference.items():
        assert found[name].shape == values.shape
        assert sqnr_db(values, found[name]) > FLOAT_DB, name


def test_every_tensor_stands_for_one_of_the_source(converted: Converted) -> None:
    for ours, theirs in (
        (converted.signature.inputs, converted.source.inputs),
        (converted.signature.outputs, converted.source.outputs),
    ):
        by_name = {spec.name: spec for spec in theirs}
        assert sorted(source_name(spec) for spec in ours) == sorted(by_name)
        for spec in ours:
            assert axes_of_source(spec) == by_name[source_name(spec)].shape


def axes_of_source(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(spec.shape[index] for index in np.argsort(spec.perm)) if spec.perm else spec.shape


def test_says_what_a_phone_must_offer(converted: Converted) -> None:
    needs = converted.answer.requirements
    assert needs.runtime
    assert needs.runtime_min
    assert needs.android_api_min or needs.ios_min
    assert needs.operators


def test_refuses_feeds_of_another_shape(converted: Converted, maker: Tools) -> None:
    with pytest.raises(DataError):
        isolate(maker, DEADLINE_S, jobs.run_with_bad_feeds, converted.target, converted.model, converted.signature)


@pytest.mark.parametrize("verb", [jobs.open_only, jobs.inspect])
def test_a_truncated_artefact_is_an_error_of_the_model(
    converted: Converted, verb, maker: Tools, tmp_path: Path
) -> None:
    broken = truncated(converted.model, tmp_path / converted.model.name)
    with pytest.raises(ModelError):
        isolate(maker, DEADLINE_S, verb, converted.target, broken)


def truncated(model: Path, copy: Path) -> Path:
    """Copy an artefact with every file cut to 60 %."""
    files = [model] if model.is_file() else [path for path in model.rglob("*") if path.is_file()]
    for file in files:
        to = copy if model.is_file() else copy / file.relative_to(model)
        to.parent.mkdir(parents=True, exist_ok=True)
        raw = file.read_bytes()
        to.write_bytes(raw[: len(raw) * 6 // 10])
    return copy


@dataclass(frozen=True)
class Attempt:
    """Every recipe of the house on one float artefact; a recipe that is not there is not expressible."""

    folder: Path
    builds: dict[str, jobs.Built]


@pytest.fixture(scope="module")
def attempt(converted: Converted, maker: Tools, tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    folder = tmp_path_factory.mktemp(f"recipes-{converted.target}")
    recipes = tuple(load_recipe(name) for name in recipe_names())
    known = (converted.target, converted.model, converted.signature, converted.source)
    return Attempt(folder, isolate(maker, DEADLINE_S, jobs.build_all, *known, recipes, converted.data, folder))


@pytest.mark.parametrize("name", recipe_names())
def test_recipe(name: str, converted: Converted, attempt: Attempt) -> None:
    """What a target says it can express it builds, and the build computes nearly what the source does."""
    recipe, module = load_recipe(name), TARGETS[converted.target]
    assert (name in attempt.builds) == (module.not_expressible(recipe) is None)
    if name not in attempt.builds:
        return
    built, out = attempt.builds[name], attempt.folder / f"{name}{module.SUFFIX}"
    for output, values in jobs.read_arrays(attempt.folder / f"{name}.npz").items():
        assert values.shape == converted.reference[output].shape
        assert sqnr_db(converted.reference[output], values) > least_db(recipe), output
    facts = built.inspection
    assert facts.size_bytes == store.size_of(out)
    assert [spec.name for spec in facts.signature.inputs] == [spec.name for spec in built.signature.inputs]
    assert [spec.name for spec in facts.signature.outputs] == [spec.name for spec in built.signature.outputs]
    assert sum(layer.weight_bytes for layer in facts.layers) <= facts.size_bytes
    assert facts.requirements == built.requirements
    assert recipe.weight_bits == 32 or facts.census == built.census
    assert {kept.layer for kept in built.kept_float} <= {layer.name for layer in facts.layers}


def least_db(recipe: Recipe) -> float:
    if recipe.weight_bits == 4:
        return FOUR_BITS_DB
    return HALF_DB if recipe.weight_bits == 16 else FLOAT_DB if recipe.is_float else INTEGER_DB


@pytest.mark.parametrize("name", [name for name in recipe_names() if not load_recipe(name).is_float])
def test_weights_are_what_the_recipe_says(name: str, attempt: Attempt) -> None:
    """4 bits may be 8 where the target has no 4-bit form, and every such layer is named; nothing else is float."""
    if name not in attempt.builds:
        return
    recipe, built = load_recipe(name), attempt.builds[name]
    weighted = {layer.weight_dtype for layer in built.inspection.layers if layer.weight_bytes}
    if recipe.scheme == "affine":
        assert weighted & ({"int8", "uint8"} if recipe.weight_bits == 8 else {"int4", "uint4", "int8", "uint8"})
    if built.census is not None:
        small = sum(built.census.weight_tensors.get(f"int{bits}", 0) for bits in (4, 8))
        others = sum(built.census.weight_tensors.values()) - small
        assert small > 0
        assert others <= len(built.kept_float)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_that_is_not_expressible_is_refused(
    name: str, converted: Converted, attempt: Attempt, maker: Tools, tmp_path: Path
) -> None:
    if name in attempt.builds:
        return
    out = tmp_path / f"build{TARGETS[converted.target].SUFFIX}"
    with pytest.raises(PalmtopError, match="expressible"):
        isolate(maker, DEADLINE_S, jobs.quantize, converted.target, converted.model, load_recipe(name), {}, out)


@pytest.mark.parametrize("name", [name for name in recipe_names() if not load_recipe(name).is_float])
def test_tap_shows_what_is_computed(name: str, attempt: Attempt) -> None:
    """A tap of a build has the names of the float artefact's, and values near them."""
    if name not in attempt.builds:
        return
    tapped = attempt.builds[name].tapped
    assert tapped is not None
    assert tapped.times == (4,)
    assert set(tapped.built_names) <= set(tapped.float_names)
    merged = set(tapped.float_names) - set(tapped.built_names) - set(tapped.built_outputs)
    assert len(tapped.built_names) >= 0.8 * (len(tapped.float_names) - len(merged))
    assert len(merged) <= 0.5 * len(tapped.float_names)
    assert min(tapped.sqnr_db.values()) > least_db(load_recipe(name)) - 5
    assert max(tapped.sqnr_db.values()) > min(tapped.sqnr_db.values())


def test_calibration_sees_what_a_tap_shows(converted: Converted, maker: Tools) -> None:
    module = TARGETS[converted.target]
    if module.not_expressible(load_recipe("static-int8")) is not None:
        return
    known = (converted.target, converted.model, converted.signature, converted.source)
    shown = isolate(maker, DEADLINE_S, jobs.shown, *known, converted.data)
    assert sorted(shown.calibrated) == sorted(shown.tapped)
    assert shown.same_values


def test_static_recipes_refuse_to_work_without_ranges(converted: Converted, maker: Tools, tmp_path: Path) -> None:
    out = tmp_path / f"build{TARGETS[converted.target].SUFFIX}"
    with pytest.raises(PalmtopError):
        isolate(
            maker, DEADLINE_S, jobs.quantize, converted.target, converted.model, load_recipe("static-int8"), {}, out
        )
