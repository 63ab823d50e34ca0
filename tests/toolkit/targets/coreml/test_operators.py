"""Each lowering function against numpy references or coremltools' own value inference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import coreml_drawn_jobs
import coreml_jobs
import coreml_table
import pytest
from coreml_cases import CASES, NEWER
from coreml_further_cases import FURTHER, NEW, OLD

from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools, system_tools
from toolkit.targets.coreml.interpreter.operators import FAMILIES, LOWERINGS

ALL_CASES = [*CASES, *NEWER, *FURTHER, *OLD, *NEW]
DRAWN = sorted(coreml_drawn_jobs.families())
FEW, MANY = 30, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Errors of the written cases, faults of the drawn ones, and the table that the documentation shows."""

    errors: dict[str, float]
    faults: dict[str, list[str]]
    table: str


def look() -> Found:
    return Found(
        errors=coreml_jobs.worst_errors(),
        faults=coreml_drawn_jobs.explore(dict.fromkeys(DRAWN, FEW)),
        table=coreml_table.table_of_operators(),
    )


@pytest.fixture(scope="module")
def found() -> Found:
    return isolate(system_tools(), 300, look)


@pytest.mark.parametrize("name", ALL_CASES)
def test_operator_computes_what_it_means(name: str, found: Found) -> None:
    assert found.errors[name] < coreml_jobs.TOLERANCE


@pytest.mark.parametrize("family", DRAWN)
def test_any_use_of_a_family_computes_what_it_means(family: str, found: Found) -> None:
    assert found.faults[family] == []


@pytest.mark.slow
@pytest.mark.parametrize("family", DRAWN)
def test_many_uses_of_a_family_compute_what_they_mean(family: str, tools: Tools) -> None:
    assert isolate(tools, 600, coreml_drawn_jobs.explore, {family: MANY}) == {family: []}


def test_every_family_is_drawn_from() -> None:
    names = {family.__name__.rpartition(".")[2] for family in FAMILIES}
    assert names == {*DRAWN, "classification"}  # that one is whole models, in test_interface


def test_every_lowered_operator_has_a_case() -> None:
    files = ("coreml_cases.py", "coreml_further_cases.py", "coreml_interface_jobs.py")
    source = "".join(Path(__file__).with_name(file).read_text(encoding="utf-8") for file in files)
    # these appear under names put together in loops
    built = (
        set(coreml_table.ELSEWHERE)
        | {f"reduce_{kind}" for kind in ("argmax", "argmin")}
        | {name.split()[0] for name in ALL_CASES if name.split()[0] in LOWERINGS}
    )
    assert not [name for name in LOWERINGS if name not in built and f".{name}(" not in source]


def test_no_operator_is_in_two_families() -> None:
    assert len(LOWERINGS) == sum(len(family.LOWERINGS) for family in FAMILIES)


def test_the_documentation_counts_the_cases_of_every_operator(found: Found) -> None:
    text = (Path(__file__).parents[4] / "docs" / "coreml.md").read_text(encoding="utf-8")
    missing = [family for family in found.table.splitlines() if family not in text]
    assert not missing, "regenerate the table: python benchmarks/coreml.py operators"
