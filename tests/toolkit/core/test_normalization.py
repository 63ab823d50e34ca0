"""Normalisations written out as arithmetic are found in every usual form, and nothing else is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from toolkit.core import normalization


@dataclass(frozen=True)
class Node:
    op_type: str
    input: tuple[str, ...]
    output: tuple[str, ...]


CONSTANTS = {"two": 2.0, "half": 0.5, "minus_half": -0.5, "count": 64.0, "eps": 1e-5, "gamma": None, "beta": None}


def graph(text: str) -> list[Node]:
    """Read lines such as `Mul x x -> square`."""
    nodes = []
    for line in filter(None, map(str.strip, text.splitlines())):
        left, right = line.split(" -> ")
        operator, *inputs = left.split()
        nodes.append(Node(operator, tuple(inputs), tuple(right.split())))
    return nodes


def found(text: str) -> list[str]:
    nodes = normalization.find(graph(text), CONSTANTS.__contains__, lambda name: CONSTANTS.get(name))
    return [node.output[0] for node in nodes]


CENTRED = """
    Conv image w -> x
    ReduceMean x -> mean
    Sub x mean -> d
    Pow d two -> square
    ReduceMean square -> variance
    Add variance eps -> safe
    Sqrt safe -> root
    Div d root -> normal
    Mul normal gamma -> scaled
    Add scaled beta -> y
"""
DIFFERENCE = """
    Gemm image w -> x
    ReduceSum x -> sum
    Div sum count -> mean
    Mul x x -> square
    ReduceMean square -> squares
    Mul mean mean -> mean_square
    Sub squares mean_square -> variance
    Add variance eps -> safe
    Sqrt safe -> root
    Reciprocal root -> inverse
    Mul inverse gamma -> factor
    Reshape mean shape -> mean_again
    Sub x mean_again -> d
    Mul d factor -> normal
    Add normal beta -> y
"""


def test_the_usual_form() -> None:
    assert found(CENTRED) == ["square", "variance", "safe", "root", "normal"]


def test_a_variance_that_is_the_difference_of_two_means_keeps_the_mean_too() -> None:
    names = ["sum", "mean", "square", "squares", "mean_square", "variance", "safe", "root", "inverse", "factor"]
    assert found(DIFFERENCE) == [*names, "mean_again", "d", "normal"]


@pytest.mark.parametrize("root", ["Pow safe minus_half -> root", "Sqrt safe -> root"])
def test_a_root_by_any_name(root: str) -> None:
    assert "root" in found(CENTRED.replace("Sqrt safe -> root", root))


def test_length_one() -> None:
    assert found("ReduceL2 x -> square\nSqrt square -> root\nDiv x root -> y") == ["square", "root", "y"]


@pytest.mark.parametrize(
    "text",
    [
        "Conv x w -> a\nSqrt a -> y",
        "Mul x x -> square\nConv square w -> c\nSqrt c -> y",
        "Mul x gamma -> a\nAdd a beta -> b\nSqrt b -> y",
        "Mul x x -> y",
        "Pow x half -> y",
    ],
)
def test_other_arithmetic_is_left_alone(text: str) -> None:
    assert found(text) == []
