"""The formulas of :mod:`toolkit.training.trainee` in TensorFlow. Runs in a child process only."""

from __future__ import annotations

from typing import Any

from toolkit.training.trainee import BETA_1, BETA_2, EPSILON, Goal


def straight(value: Any) -> Any:
    """Round half to even; the gradient passes as if nothing had happened."""
    import tensorflow as tf

    return value + tf.stop_gradient(tf.round(value) - value)


def round_weight(value: Any, bits: int, kept: tuple[int, ...]) -> Any:
    """Return a weight on its symmetric grid; see :mod:`toolkit.training.trainee`."""
    import tensorflow as tf

    if bits > 8:
        return value
    others = [axis for axis in range(len(value.shape)) if axis not in kept]
    span = tf.stop_gradient(tf.reduce_max(tf.abs(value), axis=others, keepdims=True))
    scale = tf.where(span > 0, span / (2 ** (bits - 1) - 1), tf.ones_like(span))
    return straight(value / scale) * scale


def round_activation(value: Any, ends: tuple[Any, Any], bits: int, *, symmetric: bool) -> Any:
    """Return activations on their grid; see :mod:`toolkit.training.trainee`."""
    import tensorflow as tf

    low, high = tf.minimum(ends[0], 0.0), tf.maximum(ends[1], 0.0)
    if symmetric:
        top = 2.0 ** (bits - 1) - 1
        scale = tf.maximum(tf.maximum(-low, high), 1e-12) / top
        return tf.clip_by_value(straight(value / scale), -top, top) * scale
    scale = tf.maximum(high - low, 1e-12) / (2.0**bits - 1)
    offset = straight(-low / scale)
    return (tf.clip_by_value(straight(value / scale) + offset, 0.0, 2.0**bits - 1) - offset) * scale


def loss_of(goal: Goal, output: Any, target: Any) -> Any:
    import tensorflow as tf

    if goal.kind == "values":
        return tf.reduce_mean((output - target) ** 2) / goal.scale
    shares = tf.nn.log_softmax(output) if goal.kind == "scores" else tf.math.log(tf.maximum(output, 1e-7))
    return -tf.reduce_mean(tf.reduce_sum(target * shares, -1))


def adam(value: Any, gradient: Any, moments: tuple[Any, Any], count: Any, rate: Any) -> None:
    """Move a variable and its moments, in place, by step ``count`` of Adam."""
    import tensorflow as tf

    slope = tf.convert_to_tensor(gradient)
    first = moments[0].assign(BETA_1 * moments[0] + (1 - BETA_1) * slope)
    second = moments[1].assign(BETA_2 * moments[1] + (1 - BETA_2) * slope * slope)
    step = first / (1 - tf.pow(BETA_1, count))
    value.assign_sub(rate * step / (tf.sqrt(second / (1 - tf.pow(BETA_2, count))) + EPSILON))
