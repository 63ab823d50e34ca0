"""Lower ``If``, ``Loop`` and ``Scan`` through copies of their subgraphs."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from toolkit.core.errors import ModelError
from toolkit.targets.coreml.lowering.control import MAX_TURNS, ScanForm, copied, scan_form
from toolkit.targets.coreml.lowering.node import Node, Tensor, count, kind, narrow, shape_of
from toolkit.targets.coreml.lowering.operators.shape import chosen


class Scope(Protocol):
    """The graph being lowered: its tensors so far by ONNX name, and a way to lower one more node."""

    values: dict[str, Tensor | None]

    def node(self, spec: Any, index: int) -> None:
        """Lower a node of the ONNX graph."""


def lower_if(scope: Scope, node: Node) -> list[Tensor]:
    """Return a known condition's branch; else compute both and choose."""
    branches = [node.subgraph(key) for key in ("then_branch", "else_branch")]
    if node.is_known(0):
        taken = branches[0 if bool(node.known(0).all()) else 1]
        return [_value(scope, name) for name in _inlined(scope, node, taken, f"{node.name}/branch", [])]
    made = [
        [_value(scope, name) for name in _inlined(scope, node, branch, f"{node.name}/{word}", [])]
        for branch, word in zip(branches, ("then", "else"), strict=True)
    ]
    return [_either(node, a, b) for a, b in zip(*made, strict=True)]


def lower_loop(scope: Scope, node: Node) -> list[Tensor]:
    """Write out a loop whose turns can be counted beforehand.

    Raises:
        NeedsConstant: the number of turns hangs on the inputs.
        NotExpressible: so does the condition under which it goes on.
    """
    body = node.subgraph("body")
    turns = int(node.known(0).reshape(-1)[0]) if node.has(0) else None
    goes_on = bool(node.known(1).all()) if node.has(1) else True
    carried = list(node.argument_names[2:])
    lists: list[list[str]] = [[] for _ in range(len(body.output) - 1 - len(carried))]
    step = 0
    while goes_on and (turns is None or step < turns):
        _check_turns(node, step + 1)
        prefix = f"{node.name}/{step}"
        own = {f"{prefix}/turn": np.asarray(step, np.int64), f"{prefix}/goes_on": np.asarray(True)}
        scope.values.update(own)
        condition, *made = _inlined(scope, node, body, prefix, [*own, *carried])
        known = _value(scope, condition)
        if not isinstance(known, np.ndarray):
            raise node.refusal("goes on for as long as the values of a tensor say, and ML Programs have a fixed length")
        goes_on, carried = bool(known.all()), made[: len(carried)]
        for names, name in zip(lists, made[len(carried) :], strict=True):
            names.append(name)
        step += 1
    states = [_value(scope, name) for name in carried]
    return [*states, *(_stacked(scope, node, names, 0) for names in lists)]


def lower_scan(scope: Scope, node: Node) -> list[Tensor]:
    """Write out a scan, whose turns are as many as its inputs are long."""
    if node.opset < 9:
        raise node.unlowered("is of an opset before 9, whose scans have a batch axis")
    body = node.subgraph("body")
    form = scan_form(node.attributes, len(node.arguments))
    carried, scanned = list(node.argument_names[: form.states]), node.argument_names[form.states :]
    lengths = {_length(node, form, at) for at in range(len(scanned))}
    if len(lengths) != 1:
        raise ModelError(f"The inputs of the scan {node.name!r} are of different lengths.", hint="Export it again.")
    length = lengths.pop()
    _check_turns(node, length)
    lists: list[list[str]] = [[] for _ in form.output_axes]
    for step in range(length):
        slices = [_slice(scope, node, form, (at, step, length)) for at in range(len(scanned))]
        made = _inlined(scope, node, body, f"{node.name}/{step}", [*carried, *slices])
        carried = list(made[: form.states])
        for names, name in zip(lists, made[form.states :], strict=True):
            names.append(name)
    ordered = [names[::-1] if back else names for names, back in zip(lists, form.backward_outputs, strict=True)]
    states = [_value(scope, name) for name in carried]
    stacks = [_stacked(scope, node, names, axis) for names, axis in zip(ordered, form.output_axes, strict=True)]
    return [*states, *stacks]


def _inlined(scope: Scope, node: Node, graph: Any, prefix: str, given: list[str]) -> tuple[str, ...]:
    """Lower a copy of a subgraph; return the names of its outputs."""
    from onnx import numpy_helper

    if len(given) != len(graph.input):
        raise ModelError(
            f"The subgraph of layer {node.name!r} takes {len(graph.input)} tensors and is given {len(given)}.",
            hint="The model is damaged; export it again.",
        )
    turn = copied(graph, prefix, given)
    scope.values.update({name: numpy_helper.to_array(item) for name, item in turn.constants.items()})
    for index, spec in enumerate(turn.nodes):
        scope.node(spec, index)
    return turn.outputs


def _value(scope: Scope, name: str) -> Tensor:
    value = scope.values.get(name)
    if value is None:
        raise ModelError(
            f"A subgraph yields {name!r}, which nothing makes.", hint="The model is damaged; export it again."
        )
    return value


def _either(node: Node, a: Tensor, b: Tensor) -> Tensor:
    if shape_of(a) != shape_of(b):
        raise node.refusal("yields tensors of one shape or another, depending on the inputs")
    a, b = (narrow(item, node) if isinstance(item, np.ndarray) else item for item in (a, b))
    condition = node.mil.reshape(x=node.tensor(0), shape=[1] * max(len(shape_of(a)), 1))
    if not shape_of(a):
        condition = node.mil.squeeze(x=condition)
    if kind(a) == "b":
        whole = [_integers(node, item) for item in (a, b)]
        return node.mil.not_equal(x=chosen(node, condition, *whole), y=np.int32(0))
    return chosen(node, condition, a, b)


def _integers(node: Node, x: Tensor) -> Tensor:
    return x.astype(np.int32) if isinstance(x, np.ndarray) else node.mil.cast(x=x, dtype="int32")


def _check_turns(node: Node, turns: int) -> None:
    if turns > MAX_TURNS:
        raise node.refusal(f"has more than {MAX_TURNS} turns, the most that are written out one by one")


def _length(node: Node, form: ScanForm, at: int) -> int:
    return shape_of(node.arguments[form.states + at])[form.input_axes[at]]


def _slice(scope: Scope, node: Node, form: ScanForm, place: tuple[int, int, int]) -> str:
    """Make what a turn sees of a scanned input; ``place`` is (which, turn, turns)."""
    from onnx import helper

    at, step, length = place
    position = length - 1 - step if form.backward_inputs[at] else step
    name, where = f"{node.name}/{step}/slice_{at}", f"{node.name}/{step}/place_{at}"
    scope.values[where] = np.asarray(position, np.int64)
    source = node.argument_names[form.states + at]
    scope.node(helper.make_node("Gather", [source, where], [name], name=name, axis=form.input_axes[at]), step)
    return name


def _stacked(scope: Scope, node: Node, names: list[str], axis: int) -> Tensor:
    if not names:
        raise node.refusal("makes no turn, so that an output has no elements, which Core ML has not")
    values = [_value(scope, name) for name in names]
    if all(isinstance(value, np.ndarray) for value in values):
        return np.stack(values, axis)
    mil = node.mil
    plain = [narrow(value, node) if isinstance(value, np.ndarray) else value for value in values]
    truth = kind(plain[0]) == "b"
    axis = axis % (len(shape_of(plain[0])) + 1)
    if count(shape_of(plain[0])) == 0:
        raise node.refusal("yields a tensor without elements, which Core ML has not")
    whole = [_integers(node, value) if truth else value for value in plain]
    grown = [mil.expand_dims(x=value, axes=[axis]) for value in whole]
    made = mil.concat(values=grown, axis=axis) if len(grown) > 1 else grown[0]
    return mil.not_equal(x=made, y=np.int32(0)) if truth else made
