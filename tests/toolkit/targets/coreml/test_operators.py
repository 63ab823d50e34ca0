"""Each lowering function against numpy references or coremltools' own value inference."""

from __future__ import annotations

from pathlib import Path

import coreml_jobs
import pytest
from coreml_cases import CASES, NEWER
from coreml_further_cases import FURTHER, NEW, OLD

from toolkit.core.clock import SystemClock
from toolkit.core.events import silent
from toolkit.core.isolation import isolate
from toolkit.core.process import run
from toolkit.core.store import Store
from toolkit.core.tools import Tools
from toolkit.targets.coreml.interpreter.operators import FAMILIES, LOWERINGS

ALL_CASES = [*CASES, *NEWER, *FURTHER, *OLD, *NEW]

TOLERANCE = 1e-5
"""Of the largest value: float32 rounding over a few hundred terms."""


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    root = tmp_path_factory.mktemp("operators")
    tools = Tools(run=run, emit=silent, clock=SystemClock(), store=Store(root))
    groups = ("old", "older", "newer")
    return {
        name: error for group in groups for name, error in isolate(tools, 300, coreml_jobs.worst_errors, group).items()
    }


@pytest.mark.parametrize("name", ALL_CASES)
def test_operator_computes_what_it_means(name: str, errors: dict[str, float]) -> None:
    assert errors[name] < TOLERANCE


@pytest.mark.parametrize("operator", ["conv", "max", "avg"])
def test_any_window_and_padding(operator: str, tools: Tools) -> None:
    assert isolate(tools, 300, coreml_jobs.explore, operator, 25) >= 25


def test_every_lowered_operator_has_a_case() -> None:
    files = ("coreml_cases.py", "coreml_further_cases.py", "coreml_interface_jobs.py")
    source = "".join(Path(__file__).with_name(file).read_text(encoding="utf-8") for file in files)
    # these appear under names put together in loops
    built = (
        set(coreml_jobs.ELSEWHERE)
        | {f"reduce_{kind}" for kind in ("argmax", "argmin")}
        | {name.split()[0] for name in ALL_CASES if name.split()[0] in LOWERINGS}
    )
    assert not [name for name in LOWERINGS if name not in built and f".{name}(" not in source]


def test_no_operator_is_in_two_families() -> None:
    assert len(LOWERINGS) == sum(len(family.LOWERINGS) for family in FAMILIES)


def test_the_documentation_counts_the_cases_of_every_operator(tools: Tools) -> None:
    text = (Path(__file__).parents[4] / "docs" / "coreml.md").read_text(encoding="utf-8")
    missing = [
        family for family in isolate(tools, 120, coreml_jobs.table_of_operators).splitlines() if family not in text
    ]
    assert not missing, "regenerate the table: python benchmarks/coreml.py operators"
