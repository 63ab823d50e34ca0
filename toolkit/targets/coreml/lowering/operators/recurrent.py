"""Recurrent layers, written out step by step: Core ML's own layers differ from ONNX in biases and activations.

Formulas from the ONNX operator specification of LSTM, GRU and RNN. A plain LSTM becomes Core ML's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from toolkit.targets.coreml.lowering.node import Known, Lowering, Node, Tensor, shape_of

MAX_STEPS = 512
"""A layer that is written out step by step makes a dozen operations of each; more steps are refused."""

_PLAIN = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu", "Softsign": "softsign", "Softplus": "softplus"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Direction:
    """One direction of a layer: its weights, activations and the state it begins with."""

    node: Node
    weight: Known
    recurrence: Known
    bias: Known
    peephole: Known | None
    activations: list[str]
    begin: list[Tensor]

    @property
    def hidden(self) -> int:
        """The size of the state."""
        return int(self.recurrence.shape[1])

    def activate(self, index: int, x: Tensor) -> Tensor:
        """Apply the activation at a place of the node's list."""
        name = self.activations[index]
        if name == "Affine" or name not in _PLAIN:
            raise self.node.refusal(f"has the activation {name}, which is not lowered")
        return getattr(self.node.mil, _PLAIN[name])(x=x)

    def gates(self, state: Tensor, bias: Known, rows: slice) -> Tensor:
        """Return what a state adds to the gates of some rows."""
        return self.node.mil.linear(x=state, weight=self.recurrence[rows].copy(), bias=bias[rows].copy())


_Step = Callable[[_Direction, Tensor, list[Tensor]], list[Tensor]]
"""Computes the next states, the output first, from the input's part of the gates and the states before."""


def _lstm_step(side: _Direction, x: Tensor, states: list[Tensor]) -> list[Tensor]:
    mil, (state, cell), size = side.node.mil, states, side.hidden
    total = mil.add(x=x, y=side.gates(state, side.bias[4 * size :], slice(None)))
    into, out, forget, fresh = mil.split(x=total, num_splits=4, axis=1)
    if side.peephole is not None:
        ahead = side.peephole.reshape(3, size)
        into = mil.add(x=into, y=mil.mul(x=cell, y=ahead[0]))
        forget = mil.add(x=forget, y=mil.mul(x=cell, y=ahead[2]))
    into = side.activate(0, into)
    coupled = side.node.integer("input_forget", 0)
    forget = mil.sub(x=np.float32(1), y=into) if coupled else side.activate(0, forget)
    cell = mil.add(x=mil.mul(x=forget, y=cell), y=mil.mul(x=into, y=side.activate(1, fresh)))
    if side.peephole is not None:
        out = mil.add(x=out, y=mil.mul(x=cell, y=side.peephole.reshape(3, size)[1]))
    return [mil.mul(x=side.activate(0, out), y=side.activate(2, cell)), cell]


def _gru_step(side: _Direction, x: Tensor, states: list[Tensor]) -> list[Tensor]:
    mil, state, size = side.node.mil, states[0], side.hidden
    back = side.bias[3 * size :]
    first, last = slice(0, 2 * size), slice(2 * size, 3 * size)
    given, fresh = mil.split(x=x, split_sizes=[2 * size, size], axis=1)
    both = side.activate(0, mil.add(x=given, y=side.gates(state, back, first)))
    update, reset = mil.split(x=both, num_splits=2, axis=1)
    if side.node.integer("linear_before_reset", 0):
        past = mil.mul(x=reset, y=side.gates(state, back, last))
    else:
        past = side.gates(mil.mul(x=reset, y=state), back, last)
    hidden = side.activate(1, mil.add(x=fresh, y=past))
    kept = mil.mul(x=update, y=state)
    return [mil.add(x=mil.mul(x=mil.sub(x=np.float32(1), y=update), y=hidden), y=kept)]


def _rnn_step(side: _Direction, x: Tensor, states: list[Tensor]) -> list[Tensor]:
    total = side.node.mil.add(x=x, y=side.gates(states[0], side.bias[side.hidden :], slice(None)))
    return [side.activate(0, total)]


def _layer(step: _Step, states: int, default: tuple[str, ...]) -> Lowering:
    def lower(node: Node) -> list[Tensor]:
        x = _sequence(node)
        directions = node.known(1).shape[0]
        made = []
        for at in range(directions):
            side = _direction(node, at, states, default)
            backward = at == 1 or node.word("direction", "forward") == "reverse"
            made.append(_run(side, step, x, backward=backward))
        return _joined(node, made, states)

    return lower


def _sequence(node: Node) -> Tensor:
    """Return the input as [steps, batch, features]."""
    if "clip" in node.attributes:
        raise node.refusal("clips its gates, which is not lowered")
    x = node.mil.transpose(x=node.tensor(0), perm=[1, 0, 2]) if node.integer("layout", 0) else node.tensor(0)
    if node.has(4) and any(int(item) != shape_of(x)[0] for item in node.known(4)):
        raise node.refusal("has sequences of different lengths, which Core ML has not")
    return x


def _direction(node: Node, at: int, states: int, default: tuple[str, ...]) -> _Direction:
    weight, recurrence = node.known(1)[at].astype(np.float32), node.known(2)[at].astype(np.float32)
    rows, hidden = recurrence.shape
    bias = node.known(3)[at].astype(np.float32) if node.has(3) else np.zeros(2 * rows, np.float32)
    named = [item.decode() if isinstance(item, bytes) else str(item) for item in node.attributes.get("activations", [])]
    batch = shape_of(node.tensor(0))[0 if node.integer("layout", 0) else 1]
    return _Direction(
        node=node,
        weight=weight,
        recurrence=recurrence,
        bias=bias,
        peephole=node.known(7)[at].astype(np.float32) if states == 2 and node.has(7) else None,
        activations=named[at * len(default) : (at + 1) * len(default)] or list(default),
        begin=[_begin(node, 5 + index, at, (batch, hidden)) for index in range(states)],
    )


def _begin(node: Node, index: int, at: int, shape: tuple[int, int]) -> Tensor:
    if not node.has(index):
        return np.zeros(shape, np.float32)
    axis, state = 1 if node.integer("layout", 0) else 0, node.tensor(index)
    if isinstance(state, np.ndarray):
        return np.take(state, at, axis=axis)
    return node.mil.gather(x=state, indices=np.int32(at), axis=axis)


def _run(side: _Direction, step: _Step, x: Tensor, *, backward: bool) -> tuple[Tensor, list[Tensor]]:
    """Return the outputs of every step [steps, batch, hidden], in the order of the input, and the last states."""
    mil = side.node.mil
    x = mil.reverse(x=x, axes=[0]) if backward else x
    plain = side.activations == ["Sigmoid", "Tanh", "Tanh"] and not side.node.integer("input_forget", 0)
    if step is _lstm_step and plain and side.peephole is None:
        outputs, states = _own_lstm(side, x)
    else:
        outputs, states = _written_out(side, step, x)
    return (mil.reverse(x=outputs, axes=[0]) if backward else outputs), states


def _own_lstm(side: _Direction, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    size = side.hidden
    order = [0, 2, 1, 3]  # ONNX has i, o, f, c; Core ML i, f, o, c
    rows = np.concatenate([np.arange(gate * size, (gate + 1) * size) for gate in order])
    outputs, state, cell = side.node.mil.lstm(
        x=x,
        initial_h=side.begin[0],
        initial_c=side.begin[1],
        weight_ih=side.weight[rows],
        weight_hh=side.recurrence[rows],
        bias=(side.bias[: 4 * size] + side.bias[4 * size :])[rows],
        direction="forward",
        output_sequence=True,
    )
    return outputs, [state, cell]


def _written_out(side: _Direction, step: _Step, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    mil, (steps, batch, features) = side.node.mil, shape_of(x)
    if steps > MAX_STEPS:
        raise side.node.refusal(f"has {steps} steps; at most {MAX_STEPS} are written out one by one")
    rows = len(side.weight)
    flat = mil.reshape(x=x, shape=[steps * batch, features])
    given = mil.linear(x=flat, weight=side.weight, bias=side.bias[:rows].copy())
    parts = mil.split(x=given, num_splits=steps, axis=0) if steps > 1 else [given]
    states, outputs = side.begin, []
    for part in parts:
        states = step(side, part, states)
        outputs.append(states[0])
    return mil.stack(values=outputs, axis=0), states


def _joined(node: Node, made: list[tuple[Tensor, list[Tensor]]], states: int) -> list[Tensor]:
    """Put the directions together: outputs [steps, directions, batch, hidden], states [directions, batch, hidden]."""
    mil, first = node.mil, bool(node.integer("layout", 0))
    outputs = mil.stack(values=[item for item, _ in made], axis=1)
    last = [mil.stack(values=[item[index] for _, item in made], axis=1 if first else 0) for index in range(states)]
    return [mil.transpose(x=outputs, perm=[2, 0, 1, 3]) if first else outputs, *last]


LOWERINGS: dict[str, Lowering] = {
    "GRU": _layer(_gru_step, 1, ("Sigmoid", "Tanh")),
    "LSTM": _layer(_lstm_step, 2, ("Sigmoid", "Tanh", "Tanh")),
    "RNN": _layer(_rnn_step, 1, ("Tanh",)),
}
