"""Fourier transforms, as matrix products with cosines and sines. Formulas from the ONNX operator specification."""

from __future__ import annotations

import numpy as np

from toolkit.targets.coreml.lowering.node import Known, Lowering, Node, Tensor, count, shape_of
from toolkit.targets.coreml.lowering.operators.padding import constant_pad

MAX_LENGTH = 4096
"""Longest transform: the two matrices have as many rows and columns."""


def _dft(node: Node) -> Tensor:
    mil, x = node.mil, node.tensor(0)
    shape = shape_of(x)
    axis = node.integer("axis", 1) if node.opset < 20 else int(node.known(2)) if node.has(2) else -2
    axis %= len(shape)
    inverse, half = bool(node.integer("inverse", 0)), bool(node.integer("onesided", 0))
    held = shape[axis]
    length = int(node.known(1).reshape(-1)[0]) if node.has(1) else 2 * (held - 1) if inverse and half else held
    wanted = length // 2 + 1 if inverse and half else length
    ends = [(0, wanted - held) if at == axis else (0, 0) for at in range(len(shape))]
    perm = [at for at in range(len(shape) - 1) if at != axis] + [axis, len(shape) - 1]
    turned = mil.transpose(x=constant_pad(node, x, ends, 0.0), perm=perm)
    lead = shape_of(turned)[:-2]
    flat = mil.reshape(x=turned, shape=[count(lead), wanted, shape[-1]])
    made = _real_inverse(node, flat, length) if inverse and half else transformed(node, flat, half, inverse)
    made = mil.reshape(x=made, shape=[*lead, *shape_of(made)[1:]])
    return mil.transpose(x=made, perm=[perm.index(at) for at in range(len(shape))])


def transformed(node: Node, x: Tensor, half: bool, inverse: bool = False) -> Tensor:
    """Transform [rows, length, 1 or 2] (real, or real and imaginary) to [rows, frequencies, 2].

    Raises:
        NotLowered: it is longer than the matrices may be.
    """
    mil, (rows, length, parts) = node.mil, shape_of(x)
    cosines, sines = _waves(node, length, length // 2 + 1 if half else length)
    sign = 1 if inverse else -1
    share = np.float32(1 / length if inverse else 1)
    real = mil.reshape(x=_split(node, x, 0), shape=[rows, length])
    made = [_times(node, real, cosines * share), _times(node, real, sign * sines * share)]
    if parts == 2:
        other = mil.reshape(x=_split(node, x, 1), shape=[rows, length])
        made[0] = mil.add(x=made[0], y=_times(node, other, -sign * sines * share))
        made[1] = mil.add(x=made[1], y=_times(node, other, cosines * share))
    return mil.stack(values=made, axis=2)


def _real_inverse(node: Node, x: Tensor, length: int) -> Tensor:
    """Turn one half of a spectrum [rows, length // 2 + 1, 2] back into the real signal [rows, length, 1]."""
    mil, (rows, kept, _) = node.mil, shape_of(x)
    cosines, sines = _waves(node, length, kept)
    # every frequency stands for its mirror image too, but the first and, of an even length, the last
    weight = np.full(kept, 2.0)
    weight[0] = 1
    if length % 2 == 0:
        weight[-1] = 1
    parts = [mil.reshape(x=_split(node, x, part), shape=[rows, kept]) for part in (0, 1)]
    scale = (weight / length)[:, None]
    real, other = _times(node, parts[0], cosines.T * scale), _times(node, parts[1], -sines.T * scale)
    return mil.expand_dims(x=mil.add(x=real, y=other), axes=[2])


def _waves(node: Node, length: int, kept: int) -> tuple[Known, Known]:
    """Return cosines and sines [length, kept] of 2 pi n k / length."""
    if length > MAX_LENGTH:
        raise node.unlowered(f"transforms {length} points; at most {MAX_LENGTH} are written as a matrix product")
    angle = 2 * np.pi * (np.outer(np.arange(length), np.arange(kept)) % length) / length
    return np.cos(angle), np.sin(angle)


def _split(node: Node, x: Tensor, part: int) -> Tensor:
    return node.mil.gather(x=x, indices=np.int32(part), axis=2)


def _times(node: Node, x: Tensor, matrix: Known) -> Tensor:
    return node.mil.linear(x=x, weight=np.ascontiguousarray(matrix.T.astype(np.float32)))


def _stft(node: Node) -> Tensor:
    mil, x = node.mil, node.tensor(0)
    step = int(node.known(1).reshape(-1)[0])
    batch, length = shape_of(x)[:2]
    parts = shape_of(x)[2] if len(shape_of(x)) > 2 else 1
    window = node.tensor(2) if node.has(2) else None
    size = int(node.known(3).reshape(-1)[0]) if node.has(3) else shape_of(window)[0]
    frames = (length - size) // step + 1
    places = np.arange(frames)[:, None] * step + np.arange(size)
    signal = mil.reshape(x=x, shape=[batch, length, parts])
    cut = mil.gather(x=signal, indices=places.reshape(-1).astype(np.int32), axis=1)
    cut = mil.reshape(x=cut, shape=[batch * frames, size, parts])
    if window is not None:
        column = window.reshape(-1, 1) if isinstance(window, np.ndarray) else mil.expand_dims(x=window, axes=[1])
        cut = mil.mul(x=cut, y=column)
    made = transformed(node, cut, bool(node.integer("onesided", 1)))
    return mil.reshape(x=made, shape=[batch, frames, *shape_of(made)[1:]])


def _mel_weight_matrix(node: Node) -> Tensor:
    """Refuse a matrix whose shape or edges depend on the inputs; of known arguments it never gets here."""
    for index in range(len(node.arguments)):
        node.known(index)
    raise node.unlowered("is computed from what is not known")


LOWERINGS: dict[str, Lowering] = {"DFT": _dft, "MelWeightMatrix": _mel_weight_matrix, "STFT": _stft}
