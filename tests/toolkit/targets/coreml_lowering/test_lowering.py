"""ONNX lowered to ML Programs: held against the node cases that ship with ``onnx``, executed on the host."""

from __future__ import annotations

from pathlib import Path

import lowering_jobs
import opset_jobs
import pytest

from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools
from toolkit.targets.coreml.lowering.operators import FAMILIES, LOWERINGS

IN_EVERY_RUN = (
    *(
        "AveragePool",
        "BatchNormalization",
        "BitwiseNot",
        "Clip",
        "Col2Im",
        "Compress",
        "Conv",
        "ConvTranspose",
        "CumProd",
    ),
    *("DeformConv", "Div", "GRU", "GatherND", "Gemm", "LSTM", "LayerNormalization", "MaxUnpool", "Mod", "OneHot"),
    *("Pad", "QLinearConv", "ReduceMax", "Resize", "RoiAlign", "ScatterND", "Slice", "TensorScatter", "TopK", "Where"),
)
"""One case of each is taken in every run; one of every operator, and every case, in the slow ones."""

NO_PLAIN_CASE = {
    *("Cast", "CastLike", "ConstantOfShape", "Einsum", "GlobalLpPool", "MelWeightMatrix"),
    *("Range", "ReduceLogSumExp", "Scatter", "Upsample"),
}
"""Lowered operators of which ``onnx`` has no case of plain numbers that reaches the lowering."""


@pytest.mark.slow
def test_cases_of_intricate_operators_round_trip(tools: Tools) -> None:
    found = isolate(tools, 600, lowering_jobs.verdicts, list(IN_EVERY_RUN))
    assert found["failed"] == []
    assert set(found["passed"]) == set(IN_EVERY_RUN)


@pytest.mark.slow
def test_a_case_of_every_lowered_operator_round_trips(tools: Tools) -> None:
    found = isolate(tools, 1200, lowering_jobs.verdicts, [])
    assert found["failed"] == []
    assert set(LOWERINGS) - set(found["passed"]) <= NO_PLAIN_CASE


def test_what_the_cases_leave_out_agrees_with_onnx_runtime(tools: Tools) -> None:
    assert isolate(tools, 600, lowering_jobs.written) == {}


@pytest.mark.slow
def test_nineteen_of_twenty_expressible_cases_round_trip(tools: Tools) -> None:
    outcomes = isolate(tools, 7200, lowering_jobs.all_verdicts)
    expressible = [outcome for outcome in outcomes if outcome.verdict != "inexpressible"]
    wrong = [f"{outcome.case}: {outcome.reason}" for outcome in expressible if outcome.verdict != "passed"]
    assert len(expressible) > 1300
    assert len(wrong) <= 0.05 * len(expressible), wrong


REFUSALS = {
    "NonZero": "The ONNX operator NonZero of layer 'layer_7' yields a tensor whose shape depends on the values",
    "BitShift": "The ONNX operator BitShift of layer 'layer_7' works on the bits of numbers, which palmtop does not",
    "TfIdfVectorizer": "The ONNX operator TfIdfVectorizer of layer 'layer_7' has no counterpart in Core ML",
    "If": "The ONNX operator If of layer 'layer_7' lacks its subgraph 'then_branch'.",
    "other domain": "The ONNX operator FusedThing of layer 'fused' has no counterpart in Core ML that palmtop knows.",
    "same name": "The ONNX operator NonZero of layer 'own' has no counterpart in Core ML that palmtop knows.",
    "absurd window": "The ONNX operator MaxPool of layer 'pool' looks at more than 1,048,576 places along an axis.",
    "large window": "The ONNX operator MaxPool of layer 'pool' has a window of more than 4,096 elements",
    "no branch": "The ONNX operator If of layer 'fork' lacks its subgraph 'then_branch'.",
    "half scan": "layer 'scan' has arguments that Core ML does not take: 'num_scan_inputs' is missing or unknown",
    "flexible": "The tensor 'x' has an axis whose length is not fixed.",
    "empty": "The tensor 'x' has no elements",
    "rank": "The tensor 'x' has 6 axes; Core ML takes 5 at most.",
    "recursive": "The ONNX operator Again of layer 'loop/",
    "wide": "layer 'adder' has an integer beyond 32 bits",
    "contradiction": "The ONNX operator MatMul of layer 'product' has arguments that Core ML does not take: ",
    "absurd input": "The tensor 'x' has 1,099,511,627,776 elements; Core ML takes 2,147,483,647 at most.",
    "absurd growth": "The ONNX operator Tile of layer 'grower' yields 25,769,803,776 elements",
    "long loop": "The ONNX operator Loop of layer 'counter' has more than 512 turns",
}
DAMAGED = {
    "dangling": "The ONNX operator Add uses the tensor 'nowhere' before it exists.",
    "unmade": "Nothing makes the output 'y'.",
    "absurd constant": "The constant layer 'grower' (ConstantOfShape) would have 1,099,511,627,776 elements.",
}


def test_what_core_ml_lacks_and_what_is_damaged_is_named(tools: Tools) -> None:
    wanted = {**REFUSALS, **DAMAGED}
    told = isolate(tools, 120, lowering_jobs.refused, list(wanted))
    assert not [kind for kind, words in wanted.items() if words not in told.get(kind, "lowered")]
    assert all(told[kind].endswith("leave out this target.") for kind in REFUSALS)


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_randomly_damaged_models_are_refused_or_lowered(tools: Tools, count: int) -> None:
    counted = isolate(tools, 1200, opset_jobs.damaged, count)
    assert counted["refused"] > count // 2
    assert sum(counted.values()) == count


@pytest.mark.slow
def test_functions_that_multiply_are_refused(tools: Tools) -> None:
    told = isolate(tools, 900, lowering_jobs.refused, ["many functions"])
    assert "Written out, the model has more than 30,000 nodes." in told["many functions"]


def test_computed_shapes_vanish_and_names_stay(tools: Tools, tmp_path: Path) -> None:
    found = isolate(tools, 120, lowering_jobs.shape_chain, tmp_path)
    assert found["names"] == ["x<", "y_0<y:0", "copy<"]
    assert found["operators"] == ["conv", "reshape", "softmax"] or found["operators"][:2] == ["conv", "reshape"]
    assert not {"shape", "gather", "concat"} & set(found["operators"])


@pytest.mark.parametrize(
    "opsets", [pytest.param([7, 24], id="ends"), pytest.param([*range(8, 24)], id="between", marks=pytest.mark.slow)]
)
def test_models_of_every_opset_convert_and_agree(tools: Tools, tmp_path: Path, opsets: list[int]) -> None:
    for errors in isolate(tools, 600, opset_jobs.converted_errors, opsets, tmp_path):
        assert errors["float32"] < 1e-5, errors
        assert errors["float16"] < 1e-2, errors


def test_scalars_go_in_and_come_out(tools: Tools, tmp_path: Path) -> None:
    found = isolate(tools, 120, opset_jobs.scalars, tmp_path)
    assert found["shapes"] == [[2, 3], [1], []]
    assert found["answer"] == pytest.approx(42.0)


def test_no_operator_is_in_two_families() -> None:
    assert len(LOWERINGS) == sum(len(family.LOWERINGS) for family in FAMILIES)


def test_the_documentation_lists_every_operator() -> None:
    text = (Path(__file__).parents[4] / "docs" / "coreml_operators.md").read_text(encoding="utf-8")
    assert not [name for name in LOWERINGS if f"`{name}`" not in text]
