"""Every target in the folder keeps the contract of `toolkit.core.ports.Target`, on real models of every source format.

By default each recipe and each form meets each target once; the whole product of source, target and recipe is slow.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from contracts import target_jobs as jobs

from toolkit.core import discovery, ports, process, store
from toolkit.core.artifacts import TensorSpec, ToolVersion
from toolkit.core.clock import SystemClock
from toolkit.core.events import silent
from toolkit.core.isolation import isolate
from toolkit.core.recipe import Recipe, load_recipe, recipe_names
from toolkit.core.signature import source_name
from toolkit.core.store import Store
from toolkit.core.tools import Tools

DEADLINE_S = 500
FLOAT_DB, HALF_DB, INTEGER_DB, FOUR_BITS_DB = 60.0, 45.0, 15.0, 3.0
TARGETS = {name: discovery.load("toolkit.targets", name) for name in discovery.names("toolkit.targets")}
SOURCES = discovery.names("toolkit.sources")
RECIPES = recipe_names()
LIGHT = tuple(name for name in SOURCES if name != "pytorch")
"""Sources whose specimens one process makes; PyTorch is another, and an extra."""
FORMS_OF = {name: set(discovery.load("toolkit.sources", name).FORMS) for name in LIGHT}
THIN = tuple(
    name for place, name in enumerate(LIGHT) if FORMS_OF[name] - set().union(*map(FORMS_OF.get, LIGHT[:place]))
)
"""One source a form, for a form is all that a target sees of a source."""
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


@dataclass(frozen=True)
class Case:
    """One source on one target."""

    target: str
    specimen: jobs.Specimen
    worked: jobs.Worked
    folder: Path
    recipes: tuple[str, ...]

    @property
    def reference(self) -> dict[str, np.ndarray]:
        return jobs.read_arrays(self.specimen.reference)


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    root = tmp_path_factory.mktemp("contracts")
    return Tools(run=process.run, emit=silent, clock=SystemClock(), store=Store(root / "store"))


@pytest.fixture(scope="module")
def make(
    maker: Tools,
    tmp_path_factory: pytest.TempPathFactory,
    keras_model: Path,
    shapes_npz: Path,
    onnx_model: Path,
    noise_npz: Path,
) -> Callable[[tuple[str, ...]], dict[str, jobs.Specimen]]:
    """A function from sources to their specimens."""
    known = (keras_model, shapes_npz, onnx_model, noise_npz)

    def made(sources: tuple[str, ...]) -> dict[str, jobs.Specimen]:
        folder = tmp_path_factory.mktemp("specimens")
        return {item.source: item for item in isolate(maker, DEADLINE_S, jobs.make_specimens, sources, *known, folder)}

    return made


@pytest.fixture(scope="module")
def specimens(make: Callable[[tuple[str, ...]], dict[str, jobs.Specimen]]) -> dict[str, jobs.Specimen]:
    return make(THIN)


@pytest.fixture(scope="module")
def every_specimen(make: Callable[[tuple[str, ...]], dict[str, jobs.Specimen]]) -> dict[str, jobs.Specimen]:
    return make(LIGHT)


@pytest.fixture(scope="module")
def thin(
    maker: Tools, specimens: dict[str, jobs.Specimen], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Case]]:
    """A function from a target to its cases, by source: each recipe with one of the sources."""
    done: dict[str, dict[str, Case]] = {}

    def cases(target: str) -> dict[str, Case]:
        if target not in done:
            shares = {name: shared(target, name) for name in THIN}
            done[target] = work(maker, target, specimens, shares, tmp_path_factory.mktemp(target))
        return done[target]

    return cases


def shared(target: str, source: str) -> tuple[str, ...]:
    """Return the recipes of a target that this source is built with; a new recipe finds its source by itself."""
    turn = list(TARGETS).index(target)
    return tuple(name for place, name in enumerate(RECIPES) if THIN[(place + turn) % len(THIN)] == source)


def work(
    maker: Tools,
    target: str,
    specimens: dict[str, jobs.Specimen],
    recipes: dict[str, tuple[str, ...]],
    folder: Path,
) -> dict[str, Case]:
    items, shares = tuple(specimens[name] for name in recipes), tuple(recipes.values())
    worked = isolate(maker, DEADLINE_S, jobs.work_through, target, items, shares, folder)
    return {name: Case(target, specimens[name], worked[name], folder / name, share) for name, share in recipes.items()}


@pytest.fixture
def case(target: str, source: str, thin: Callable[[str], dict[str, Case]]) -> Case:
    return thin(target)[source]


each_target = pytest.mark.parametrize("target", TARGETS)
each_pair = pytest.mark.parametrize(("target", "source"), [(target, name) for target in TARGETS for name in THIN])
each_recipe = pytest.mark.parametrize(
    ("target", "source", "recipe"),
    [(target, source, name) for target in TARGETS for source in THIN for name in shared(target, source)],
)


def sqnr_db(reference: np.ndarray, found: np.ndarray) -> float:
    noise = float(np.square(reference.astype(np.float64) - found).sum())
    return float("inf") if noise == 0 else 10 * np.log10(float(np.square(reference.astype(np.float64)).sum()) / noise)


@each_target
def test_has_every_constant_and_function_with_the_contract_s_parameters(target: str) -> None:
    module = TARGETS[target]
    assert module.SUFFIX.startswith(".")
    assert module.FORMS
    for verb, contract in inspect.getmembers(ports.Target, inspect.isfunction):
        if not verb.startswith("_"):
            wanted = [parameter for parameter in inspect.signature(contract).parameters if parameter != "self"]
            assert list(inspect.signature(getattr(module, verb)).parameters) == wanted, verb


def test_every_form_of_a_target_comes_from_some_source() -> None:
    offered = {form for name in SOURCES for form in discovery.load("toolkit.sources", name).FORMS}
    for module in TARGETS.values():
        assert set(module.FORMS) <= offered


@each_target
def test_importing_it_loads_no_heavy_library(target: str, tools: Tools) -> None:
    assert isolate(tools, DEADLINE_S, jobs.loaded_libraries, f"toolkit.targets.{target}") == []


@each_target
def test_cheap_functions_answer_in_this_process(target: str) -> None:
    versions = TARGETS[target].toolchain()
    assert versions
    assert all(isinstance(version, ToolVersion) and version.version[0].isdigit() for version in versions)
    for recipe in RECIPES:
        reason = TARGETS[target].not_expressible(load_recipe(recipe))
        assert reason is None or reason.strip()


@each_target
def test_the_thin_suite_meets_every_recipe_once(target: str) -> None:
    assert sorted(name for source in THIN for name in shared(target, source)) == sorted(RECIPES)


@each_pair
def test_float_artefact_computes_what_the_source_does(case: Case) -> None:
    check_float(case)


@each_pair
def test_every_tensor_stands_for_one_of_the_source(case: Case) -> None:
    check_tensors(case)


@each_pair
def test_says_what_a_phone_must_offer(case: Case) -> None:
    needs = case.worked.converted.requirements
    assert needs.runtime
    assert needs.runtime_min
    assert needs.android_api_min or needs.ios_min
    assert needs.operators


@each_pair
def test_refuses_what_does_not_fit(case: Case) -> None:
    """Feeds of another shape, cut-off artefacts, static recipes without ranges, recipes it cannot express."""
    refused = dict(case.worked.refused)
    assert refused.pop("feeds").startswith("DataError: ")
    assert refused.pop("open truncated").startswith("ModelError: ")
    assert refused.pop("inspect truncated").startswith("ModelError: ")
    assert refused.pop("static without ranges")
    for text in refused.values():
        assert "expressible" in text
    module = TARGETS[case.target]
    assert set(refused) == {name for name in case.recipes if module.not_expressible(load_recipe(name)) is not None}


@each_recipe
def test_recipe(case: Case, recipe: str) -> None:
    """What a target says it can express it builds, and the build computes nearly what the source does."""
    check_recipe(case, recipe)


@pytest.mark.parametrize("source", [*LIGHT, pytest.param("pytorch", marks=needs_torch)])
@each_target
@pytest.mark.slow
def test_every_recipe_of_every_source(
    target: str,
    source: str,
    maker: Tools,
    every_specimen: dict[str, jobs.Specimen],
    noise_npz: Path,
    tmp_path: Path,
) -> None:
    """The whole product."""
    known = dict(every_specimen)
    if source == "pytorch":
        known[source] = isolate(maker, DEADLINE_S, jobs.make_pytorch_specimen, noise_npz, tmp_path)
    case = work(maker, target, known, {source: RECIPES}, tmp_path / "work")[source]
    check_float(case)
    check_tensors(case)
    for recipe in RECIPES:
        check_recipe(case, recipe)


@each_pair
def test_calibration_sees_what_a_tap_shows(case: Case) -> None:
    shown = case.worked.shown
    assert (shown is None) == (TARGETS[case.target].not_expressible(load_recipe("static-int8")) is not None)
    if shown is not None:
        assert sorted(shown.calibrated) == sorted(shown.tapped)
        assert shown.same_values


def check_float(case: Case) -> None:
    found, reference = jobs.read_arrays(case.folder / "float.npz"), case.reference
    assert found.keys() == reference.keys()
    for name, values in reference.items():
        assert found[name].shape == values.shape
        assert sqnr_db(values, found[name]) > FLOAT_DB, name


def check_tensors(case: Case) -> None:
    ours, theirs = case.worked.converted.signature, case.specimen.signature
    for made, own in ((ours.inputs, theirs.inputs), (ours.outputs, theirs.outputs)):
        by_name = {spec.name: spec for spec in own}
        assert sorted(source_name(spec) for spec in made) == sorted(by_name)
        for spec in made:
            assert axes_of_source(spec) == by_name[source_name(spec)].shape


def axes_of_source(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(spec.shape[index] for index in np.argsort(spec.perm)) if spec.perm else spec.shape


def check_recipe(case: Case, name: str) -> None:
    recipe, module = load_recipe(name), TARGETS[case.target]
    assert (name in case.worked.builds) == (module.not_expressible(recipe) is None)
    if name not in case.worked.builds:
        return
    built, out = case.worked.builds[name], case.folder / f"{name}{module.SUFFIX}"
    reference = case.reference
    for output, values in jobs.read_arrays(case.folder / f"{name}.npz").items():
        assert values.shape == reference[output].shape
        assert sqnr_db(reference[output], values) > least_db(recipe), (name, output)
    facts = built.inspection
    assert facts.size_bytes == store.size_of(out)
    assert [spec.name for spec in facts.signature.inputs] == [spec.name for spec in built.signature.inputs]
    assert [spec.name for spec in facts.signature.outputs] == [spec.name for spec in built.signature.outputs]
    assert sum(layer.weight_bytes for layer in facts.layers) <= facts.size_bytes
    assert facts.requirements == built.requirements
    assert recipe.weight_bits == 32 or facts.census == built.census
    assert {kept.layer for kept in built.kept_float} <= {layer.name for layer in facts.layers}
    if not recipe.is_float:
        check_weights(recipe, built)
        check_tap(recipe, built)


def least_db(recipe: Recipe) -> float:
    if recipe.weight_bits == 4:
        return FOUR_BITS_DB
    return HALF_DB if recipe.weight_bits == 16 else FLOAT_DB if recipe.is_float else INTEGER_DB


def check_weights(recipe: Recipe, built: jobs.Built) -> None:
    """4 bits may be 8 where the target has no 4-bit form, and every such layer is named; nothing else is float."""
    weighted = {layer.weight_dtype for layer in built.inspection.layers if layer.weight_bytes}
    if recipe.scheme == "affine":
        assert weighted & ({"int8", "uint8"} if recipe.weight_bits == 8 else {"int4", "uint4", "int8", "uint8"})
    if built.census is not None and recipe.activation_mode != "none":  # a runtime may fold weights to floats at load
        small = sum(built.census.weight_tensors.get(f"int{bits}", 0) for bits in (4, 8))
        others = sum(built.census.weight_tensors.values()) - small
        assert small > 0
        assert others <= len(built.kept_float)


def check_tap(recipe: Recipe, built: jobs.Built) -> None:
    """A tap of a build has the names of the float artefact's, and values near them."""
    tapped = built.tapped
    assert tapped is not None
    assert tapped.times == (4,)
    assert set(tapped.built_names) <= set(tapped.float_names)
    merged = set(tapped.float_names) - set(tapped.built_names) - set(tapped.built_outputs)
    assert len(tapped.built_names) >= 0.8 * (len(tapped.float_names) - len(merged))
    assert len(merged) <= 0.5 * len(tapped.float_names)
    assert min(tapped.sqnr_db.values()) > least_db(recipe) - 5
    assert max(tapped.sqnr_db.values()) > min(tapped.sqnr_db.values())
