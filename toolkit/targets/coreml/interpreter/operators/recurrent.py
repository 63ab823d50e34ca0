"""Recurrent layers. Formulas: coremltools' documentation of ``lstm``, ``gru`` and ``rnn``.

ONNX holds the gates in other orders (Hochreiter and Schmidhuber's i, o, f, c; Cho's z, r, h). A layer of direction
``reverse`` reads its input from the end and yields its states in the order in which it computed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering

_FAR = 2**31 - 1
_ACTIVATIONS = {
    "hard_sigmoid": ("HardSigmoid", 0.2, 0.5),
    "linear": ("Affine", 1.0, 0.0),
    "relu": ("Relu", 0.0, 0.0),
    "scaled_tanh": ("ScaledTanh", 1.0, 1.0),
    "sigmoid": ("Sigmoid", 0.0, 0.0),
    "sigmoid_hard": ("HardSigmoid", 0.2, 0.5),
    "tanh": ("Tanh", 0.0, 0.0),
}


@dataclass(frozen=True, slots=True)
class _Cell:
    """What differs between the layers: ONNX's operator, where it has MIL's gates, and the activation arguments."""

    operator: str
    gates: tuple[int, ...]
    activations: tuple[tuple[str, str], ...]


_LSTM = _Cell(
    "LSTM", (0, 2, 1, 3), (("recurrent_activation", "sigmoid"), ("cell_activation", "tanh"), ("activation", "tanh"))
)
_GRU = _Cell("GRU", (2, 0, 1), (("recurrent_activation", "sigmoid"), ("activation", "tanh")))
_RNN = _Cell("RNN", (0,), (("activation", "tanh"),))


def lstm(layer: Layer) -> None:
    """``lstm``: forward, reverse or both ways, with peepholes; without clipping, which ONNX does elsewhere."""
    if layer.has("clip"):
        raise layer.refusal("clips its cell state, which is not executed")
    sides = ["", "_back"] if _direction(layer) == "bidirectional" else [""]
    inputs = [
        *_weights(layer, _LSTM, sides),
        "",
        _states(layer, "initial_h", sides),
        _states(layer, "initial_c", sides),
    ]
    if layer.has("peephole") or layer.has("peephole_back"):
        hidden = layer.type("weight_hh").shape[1]
        peepholes = [_reordered(_optional(layer, f"peephole{side}", 3 * hidden), (0, 2, 1)) for side in sides]
        inputs.append(layer.floats(np.stack(peepholes)))
    _emit(layer, _LSTM, inputs, states=2)


def gru(layer: Layer) -> None:
    """``gru``: the reset gate acts before the recurrent product, or after it where ``reset_after`` says so."""
    after = layer.flag("reset_after", False)
    _emit(
        layer,
        _GRU,
        [*_weights(layer, _GRU, [""]), "", _states(layer, "initial_h", [""])],
        linear_before_reset=int(after),
    )


def rnn(layer: Layer) -> None:
    """``rnn``: one activation of an affine function of input and state."""
    _emit(layer, _RNN, [*_weights(layer, _RNN, [""]), "", _states(layer, "initial_h", [""])])


def _emit(layer: Layer, cell: _Cell, inputs: Sequence[str], states: int = 1, **attributes: int) -> None:
    direction = _direction(layer)
    x = layer.tensor("x")
    if direction == "reverse":
        x = layer.step("Slice", x, *[layer.ints([part]) for part in (-1, -_FAR, 0, -1)])
    names = [layer.graph.fresh(layer.operation.name) for _ in range(1 + states)]
    words = [_activation(layer, key, default) for key, default in cell.activations]
    both = 2 if direction == "bidirectional" else 1
    layer.graph.add(
        cell.operator,
        [x, *inputs],
        names,
        hidden_size=layer.type("weight_hh").shape[1],
        direction="bidirectional" if both == 2 else "forward",
        activations=[word[0] for word in words] * both,
        activation_alpha=[word[1] for word in words] * both,
        activation_beta=[word[2] for word in words] * both,
        **attributes,
    )
    finals = [layer.step("Transpose", name, perm=[1, 0, 2]) for name in names[1:]]
    sequence = (
        layer.step("Transpose", names[0], perm=[0, 2, 1, 3]) if layer.flag("output_sequence", False) else finals[0]
    )
    for value, made in zip(layer.operation.outputs, [sequence, *finals], strict=True):
        layer.graph.add("Reshape", [made, layer.ints(value.type.shape)], [layer.graph.name_of(value)])


def _direction(layer: Layer) -> str:
    word = layer.word("direction", "forward").lower()
    if word not in ("forward", "reverse", "bidirectional"):
        raise layer.refusal(f"has the direction {word!r}, which is not known")
    return word


def _activation(layer: Layer, key: str, default: str) -> tuple[str, float, float]:
    word = layer.word(key, default).lower()
    if word not in _ACTIVATIONS:
        raise layer.refusal(f"has the activation {word!r}, which is not known")
    return _ACTIVATIONS[word]


def _weights(layer: Layer, cell: _Cell, sides: Sequence[str]) -> list[str]:
    """Return the names of ONNX's W [sides, gates H, in], R [sides, gates H, H] and B [sides, 2 gates H]."""
    inner, recurrent, biases = [], [], []
    for side in sides:
        inner.append(_reordered(layer.array(f"weight_ih{side}"), cell.gates))
        recurrent.append(_reordered(layer.array(f"weight_hh{side}"), cell.gates))
        count = len(recurrent[-1])
        bias = _reordered(_optional(layer, f"bias{side}", count), cell.gates)
        given = _reordered(_optional(layer, "input_bias", count), cell.gates)
        # a GRU's input bias is its own; elsewhere one bias is the sum of both
        biases.append(np.concatenate([given, bias] if layer.has("input_bias") else [bias, given]))
    return [layer.floats(np.stack(part)) for part in (inner, recurrent, biases)]


def _optional(layer: Layer, key: str, count: int) -> NDArray[np.float32]:
    return layer.array(key).astype(np.float32) if layer.has(key) else np.zeros(count, np.float32)


def _reordered(array: NDArray[np.float32], gates: Sequence[int]) -> NDArray[np.float32]:
    parts = np.split(array, len(gates))
    return np.concatenate([parts[gate] for gate in gates])


def _states(layer: Layer, key: str, sides: Sequence[str]) -> str:
    """Turn a state [batch, sides H] into ONNX's [sides, batch, H]."""
    batch, width = layer.type(key).shape
    split = layer.step("Reshape", layer.tensor(key), layer.ints([batch, len(sides), width // len(sides)]))
    return layer.step("Transpose", split, perm=[1, 0, 2])


LOWERINGS: dict[str, Lowering] = {"gru": gru, "lstm": lstm, "rnn": rnn}
