"""ONNX lowered to ML Programs: held against the node cases that ship with ``onnx``, executed on the host."""

from __future__ import annotations

from pathlib import Path

import lowering_jobs
import pytest

from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools
from toolkit.targets.coreml.lowering.operators import FAMILIES, LOWERINGS

NO_PLAIN_CASE = {
    *("Cast", "CastLike", "ConstantOfShape", "Einsum", "GlobalLpPool"),
    *("Range", "ReduceLogSumExp", "Scatter", "Upsample"),
}
"""Lowered operators of which ``onnx`` has no case of float32, int32, int64 or bool that reaches the lowering."""


def test_a_case_of_every_lowered_operator_round_trips(tools: Tools) -> None:
    found = isolate(tools, 600, lowering_jobs.verdicts)
    assert found["failed"] == []
    assert set(LOWERINGS) - set(found["passed"]) <= NO_PLAIN_CASE


@pytest.mark.slow
def test_nineteen_of_twenty_expressible_cases_round_trip(tools: Tools) -> None:
    outcomes = isolate(tools, 3600, lowering_jobs.all_verdicts)
    expressible = [outcome for outcome in outcomes if outcome.verdict != "inexpressible"]
    failed = [f"{outcome.case}: {outcome.reason}" for outcome in expressible if outcome.verdict == "failed"]
    assert len(expressible) > 1000
    assert len(failed) <= 0.05 * len(expressible), failed


REFUSALS = {
    "Det": "The ONNX operator Det of layer 'layer_7' has no counterpart in Core ML.",
    "flexible": "The tensor 'x' has an axis whose length is not fixed.",
    "empty": "The tensor 'x' has no elements",
    "rank": "The tensor 'x' has 6 axes; Core ML takes 5 at most.",
    "recursive": "The ONNX operator Again of layer 'loop/",
    "wide": "layer 'adder' has an integer beyond 32 bits",
}


def test_what_core_ml_lacks_is_named(tools: Tools) -> None:
    told = isolate(tools, 120, lowering_jobs.refused, list(REFUSALS))
    assert not [kind for kind, words in REFUSALS.items() if words not in told.get(kind, "lowered")]
    assert all(words.endswith("leave out this target.") for words in told.values())


def test_computed_shapes_vanish_and_names_stay(tools: Tools, tmp_path: Path) -> None:
    found = isolate(tools, 120, lowering_jobs.shape_chain, tmp_path)
    assert found["names"] == ["x<", "y_0<y:0", "copy<"]
    assert found["operators"] == ["conv", "reshape", "softmax"] or found["operators"][:2] == ["conv", "reshape"]
    assert not {"shape", "gather", "concat"} & set(found["operators"])


def test_no_operator_is_in_two_families() -> None:
    assert len(LOWERINGS) == sum(len(family.LOWERINGS) for family in FAMILIES)


def test_the_documentation_lists_every_operator() -> None:
    text = (Path(__file__).parents[4] / "docs" / "coreml_operators.md").read_text(encoding="utf-8")
    assert not [name for name in LOWERINGS if f"`{name}`" not in text]
