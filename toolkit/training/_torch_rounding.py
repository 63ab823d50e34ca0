"""The formulas of :mod:`toolkit.training.trainee` in PyTorch. Runs in a child process only."""

from __future__ import annotations

from typing import Any

from toolkit.training.trainee import BETA_1, BETA_2, EPSILON, Goal


def straight(value: Any) -> Any:
    """Round half to even; the gradient passes as if nothing had happened."""
    return value + (value.round() - value).detach()


def round_weight(value: Any, bits: int, kept: tuple[int, ...]) -> Any:
    """Return a weight on its symmetric grid; see :mod:`toolkit.training.trainee`."""
    import torch

    if bits > 8:
        return value
    others = [axis for axis in range(value.dim()) if axis not in kept]
    span = value.detach().abs().amax(dim=others, keepdim=True)
    scale = torch.where(span > 0, span / (2 ** (bits - 1) - 1), torch.ones_like(span))
    return straight(value / scale) * scale


def round_activation(value: Any, ends: tuple[Any, Any], bits: int, *, symmetric: bool) -> Any:
    """Return activations on their grid; see :mod:`toolkit.training.trainee`."""
    import torch

    zero = torch.zeros(())
    low, high = torch.minimum(ends[0], zero), torch.maximum(ends[1], zero)
    if symmetric:
        top = 2 ** (bits - 1) - 1
        scale = torch.clamp(torch.maximum(-low, high), min=1e-12) / top
        return torch.clamp(straight(value / scale), -top, top) * scale
    scale = torch.clamp(high - low, min=1e-12) / (2**bits - 1)
    offset = straight(-low / scale)
    return (torch.clamp(straight(value / scale) + offset, 0, 2**bits - 1) - offset) * scale


def loss_of(goal: Goal, output: Any, target: Any) -> Any:
    import torch

    if goal.kind == "values":
        return ((output - target) ** 2).mean() / goal.scale
    shares = output.log_softmax(-1) if goal.kind == "scores" else torch.log(output.clamp(min=1e-7))
    return -(target * shares).sum(-1).mean()


def adam(value: Any, gradient: Any, moments: tuple[Any, Any], count: int, rate: float) -> tuple[Any, Any]:
    """Move a value in place by step ``count`` of Adam and return its new moments."""
    import torch

    first = BETA_1 * moments[0] + (1 - BETA_1) * gradient
    second = BETA_2 * moments[1] + (1 - BETA_2) * gradient * gradient
    size = torch.sqrt(second / (1 - BETA_2**count))
    value -= rate * first / (1 - BETA_1**count) / (size + EPSILON)
    return first, second
