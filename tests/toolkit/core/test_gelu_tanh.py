"""The approximation of GELU by a tanh is found however its factors are ordered, and its look-alikes are not."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pytest

from toolkit.core import gelu


@dataclass(frozen=True)
class Node:
    op_type: str
    input: tuple[str, ...]
    output: tuple[str, ...]


CONSTANTS = {"k": 0.044715, "root": math.sqrt(2 / math.pi), "one": 1.0, "half": 0.5, "three": 3.0, "wrong": 0.9}
CUBES = {
    "power": ["Pow x three -> cube", "Mul cube k -> small"],
    "products": ["Mul k x -> a", "Mul x a -> b", "Mul x b -> small"],
    "square": ["Mul x x -> square", "Mul square x -> cube", "Mul k cube -> small"],
}
ENDS = {
    "halved sum": ["Mul half raised -> h", "Mul x h -> y"],
    "halved source": ["Mul x half -> h", "Mul h raised -> y"],
    "halved product": ["Mul x raised -> p", "Mul p half -> y"],
}
MIDDLE = ["Add x small -> sum", "Mul root sum -> scaled", "Tanh scaled -> t", "Add one t -> raised"]


def graph(lines: list[str]) -> list[Node]:
    nodes = []
    for line in lines:
        left, right = line.split(" -> ")
        operator, *inputs = left.split()
        nodes.append(Node(operator, tuple(inputs), tuple(right.split())))
    return nodes


def found(lines: list[str], shown: frozenset[str] = frozenset({"y"})) -> list[gelu.Gelu]:
    return list(gelu.find(graph(lines), CONSTANTS.get, shown))


@pytest.mark.parametrize(("cube", "end"), list(itertools.product(CUBES, ENDS)))
def test_every_order(cube: str, end: str) -> None:
    before = ["Conv image w -> c", "Add c bias -> x"]
    lines = [*before, *CUBES[cube], *MIDDLE, *ENDS[end], "Conv y w -> z"]
    (one,) = found(lines, frozenset({"z"}))
    assert (one.source, one.output, one.approximate) == ("x", "y", True)
    assert {node.output[0] for node in one.nodes} == {line.split(" -> ")[1] for line in lines[2:-1]}
    assert one.nodes[-1].output == ("y",)


@pytest.mark.parametrize(
    "change",
    [("Mul root sum", "Mul wrong sum"), ("Add x small", "Add z small"), ("Tanh scaled", "Sigmoid scaled")],
)
def test_look_alikes(change: tuple[str, str]) -> None:
    lines = [*CUBES["power"], *MIDDLE, *ENDS["halved sum"]]
    assert found(lines)
    assert not found([line.replace(*change) for line in lines])


def test_an_inner_tensor_that_something_else_reads() -> None:
    lines = [*CUBES["power"], *MIDDLE, *ENDS["halved sum"]]
    assert not found([*lines, "Relu t -> other"])
    assert not found(lines, frozenset({"y", "cube"}))
    assert not found(["Tanh x -> y"])
