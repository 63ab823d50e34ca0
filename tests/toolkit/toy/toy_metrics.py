"""Metrics of a user, as `--metric toy_metrics:NAME` finds them."""

from __future__ import annotations

import math
from pathlib import Path


def margin(outputs, label):
    scores = outputs["scores"][0]
    return float(scores[label] - max(value for index, value in enumerate(scores) if index != label))


def hit(outputs, label):
    return float(outputs["scores"][0].argmax() == label)


def broken(outputs, label):
    raise KeyError("nothing here")


def not_a_number(outputs, label):
    return math.nan


def refuses_what_is_not_exact(outputs, label):
    """Fails on builds alone: the float model's outputs are exact multiples of what `exact.txt` says."""
    step = float(Path("exact.txt").read_text())
    if (outputs["scores"] / step % 1).any():
        raise ValueError("not exact")
    return 1.0


def as_the_file_says(outputs, label):
    with Path("calls.txt").open("a") as calls:
        calls.write("x")
    return float(Path("value.txt").read_text()) + 0.01 * label


def unlabelled(outputs, label):
    assert label is None
    return float(outputs["scores"].max())
