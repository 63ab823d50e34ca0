"""Each lowering function against numpy references or coremltools' own value inference."""

from __future__ import annotations

from pathlib import Path

import coreml_jobs
import pytest
from coreml_cases import CASES, NEWER

from toolkit.core.clock import SystemClock
from toolkit.core.events import silent
from toolkit.core.isolation import isolate
from toolkit.core.process import run
from toolkit.core.store import Store
from toolkit.core.tools import Tools
from toolkit.targets.coreml.interpreter.operators import FAMILIES, LOWERINGS

TOLERANCE = 1e-5
"""Of the largest value: float32 rounding over a few hundred terms."""


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    root = tmp_path_factory.mktemp("operators")
    tools = Tools(run=run, emit=silent, clock=SystemClock(), store=Store(root))
    return {
        **isolate(tools, 300, coreml_jobs.worst_errors, "older"),
        **isolate(tools, 300, coreml_jobs.worst_errors, "newer"),
    }


@pytest.mark.parametrize("name", [*CASES, *NEWER])
def test_operator_computes_what_it_means(name: str, errors: dict[str, float]) -> None:
    assert errors[name] < TOLERANCE


@pytest.mark.parametrize("operator", ["conv", "max", "avg"])
def test_any_window_and_padding(operator: str, tools: Tools) -> None:
    assert isolate(tools, 300, coreml_jobs.explore, operator, 25) >= 25


def test_every_lowered_operator_has_a_case(errors: dict[str, float]) -> None:
    source = Path(__file__).with_name("coreml_cases.py").read_text(encoding="utf-8")
    # these appear under names put together in loops
    built = {f"reduce_{kind}" for kind in ("argmax", "argmin")} | {
        name.split()[0] for name in [*CASES, *NEWER] if name.split()[0] in LOWERINGS
    }
    assert not [name for name in LOWERINGS if name not in built and f".{name}(" not in source]


def test_no_operator_is_in_two_families() -> None:
    assert len(LOWERINGS) == sum(len(family.LOWERINGS) for family in FAMILIES)


def test_the_documentation_lists_every_operator() -> None:
    text = (Path(__file__).parents[4] / "docs" / "coreml.md").read_text(encoding="utf-8")
    assert not [name for name in LOWERINGS if f"`{name}`" not in text]
