"""Logarithms of spectra are found with what leads to them, and nothing behind an operator that noise does not pass."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from toolkit.core import logarithm
from toolkit.core.artifacts import Range


@dataclass(frozen=True)
class Node:
    op_type: str
    input: tuple[str, ...]
    output: tuple[str, ...]


SPECTRUM = """
    Conv sound window -> wave
    Mul wave wave -> power
    ReduceSum power -> energy
    Add energy tiny -> safe
    Log safe -> bels
    Conv bels w -> features
    Relu features -> y
"""


def found(text: str, too_wide: tuple[str, ...] = ("safe",)) -> list[str]:
    """Read lines such as `Mul x x -> square` and return the outputs of the nodes found."""
    nodes = []
    for line in filter(None, map(str.strip, text.splitlines())):
        left, right = line.split(" -> ")
        operator, *inputs = left.split()
        nodes.append(Node(operator, tuple(inputs), tuple(right.split())))
    return [node.output[0] for node in logarithm.find(nodes, too_wide.__contains__)]


def test_a_spectrum_is_found_from_the_input_on() -> None:
    assert found(SPECTRUM) == ["wave", "power", "energy", "safe", "bels"]


def test_the_order_of_nodes_does_not_count() -> None:
    turned = "\n".join(reversed(SPECTRUM.strip().splitlines()))
    assert sorted(found(turned)) == sorted(found(SPECTRUM))


def test_a_logarithm_of_values_that_integers_hold_is_left_alone() -> None:
    assert found(SPECTRUM, too_wide=()) == []


@pytest.mark.parametrize("operator", ["Softmax", "Relu", "Exp", "Sigmoid"])
def test_what_noise_does_not_pass_ends_the_way(operator: str) -> None:
    text = SPECTRUM.replace("Mul wave wave -> power", f"{operator} wave -> power")
    assert found(text) == ["energy", "safe", "bels"]


def test_two_ways_meet() -> None:
    text = (
        "Conv x a -> real\nConv x b -> imaginary\nConcat real imaginary -> both\nReduceL2 both -> safe\nLog safe -> y"
    )
    assert found(text) == ["real", "imaginary", "both", "safe", "y"]


@pytest.mark.parametrize(
    ("low", "bits", "wide"), [(1e-10, 8, True), (1e-10, 16, True), (0.01, 8, False), (0.001, 8, True)]
)
def test_how_wide_is_too_wide(low: float, bits: int, wide: bool) -> None:
    assert logarithm.is_too_wide(Range(low=low, high=1.0), bits) is wide
