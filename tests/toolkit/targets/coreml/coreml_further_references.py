"""What recurrent layers, sampling and suppression must compute, step by step in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "scaled_tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "linear": lambda x: x,
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
}


def lstm_one_way(x: Array, h: Array, c: Array, weights: dict[str, Any], words: tuple[str, str, str]) -> list[Array]:
    """States [s, b, H] in the order computed, last hidden, last cell. Gates are i, f, o, z."""
    gate, cell, out = (ACTIVATIONS[word] for word in words)
    peep = np.split(weights.get("peephole", np.zeros(3 * h.shape[1])), 3)
    states = []
    for step in x.astype(np.float64):
        i, f, o, z = np.split(step @ weights["ih"].T + h @ weights["hh"].T + weights.get("bias", 0), 4, axis=1)
        i, f, z = gate(i + c * peep[0]), gate(f + c * peep[1]), cell(z)
        c = f * c + i * z
        h = gate(o + c * peep[2]) * out(c)
        states.append(h)
    return [np.stack(states), h, c]


def gru_one_way(x: Array, h: Array, weights: dict[str, Any], *, after: bool = False) -> list[Array]:
    """Gates are r, o, z."""
    states, inner = [], weights.get("input_bias", np.zeros(3 * h.shape[1]))
    own = weights.get("bias", np.zeros(3 * h.shape[1]))
    ri, oi, zi = np.split(weights["ih"], 3)
    rh, oh, zh = np.split(weights["hh"], 3)
    (br, bo, bz), (ir, io, iz) = np.split(own, 3), np.split(inner, 3)
    for step in x.astype(np.float64):
        r = sigmoid(step @ ri.T + h @ rh.T + br + ir)
        z = sigmoid(step @ zi.T + h @ zh.T + bz + iz)
        o = step @ oi.T + io + (r * (h @ oh.T + bo) if after else (r * h) @ oh.T + bo)
        h = (1 - z) * np.tanh(o) + z * h
        states.append(h)
    return [np.stack(states), h]


def attention(q: Array, k: Array, v: Array, mask: Array | None = None) -> Array:
    scores = q.astype(np.float64) @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


def sample(x: Array, points: Array, padding: str, nearest: bool = False) -> Array:
    """Sample [B, C, H, W] at points [B, h, w, 2] in pixels, (x, y)."""
    height, width = x.shape[-2:]

    def pixel(batch: int, row: int, column: int) -> Array:
        places = []
        for place, size in ((row, height), (column, width)):
            if padding == "border":
                place = min(max(place, 0), size - 1)
            elif padding == "symmetric":
                place = place % (2 * size)
                place = min(place, 2 * size - 1 - place)
            elif padding == "reflection":
                place = place % (2 * size - 2)
                place = min(place, 2 * size - 2 - place)
            places.append(place)
        inside = 0 <= places[0] < height and 0 <= places[1] < width
        return x[batch, :, places[0], places[1]].astype(np.float64) if inside else np.zeros(x.shape[1])

    made = np.zeros((len(x), x.shape[1], *points.shape[1:3]))
    for batch, i, j in np.ndindex(*points.shape[:3]):
        across, down = points[batch, i, j]
        if nearest:
            made[batch, :, i, j] = pixel(batch, int(np.rint(down)), int(np.rint(across)))
            continue
        left, top = int(np.floor(across)), int(np.floor(down))
        for row, tall in ((top, 1 - (down - top)), (top + 1, down - top)):
            for column, wide in ((left, 1 - (across - left)), (left + 1, across - left)):
                made[batch, :, i, j] += tall * wide * pixel(batch, row, column)
    return made


def crop_resize(x: Array, boxes: Array, which: list[int], out: tuple[int, int], pad: float) -> Array:
    """Boxes are corners in pixels, height first; points run from corner to corner, one alone lies in the middle."""
    made = []
    for image, (top, left, bottom, right) in zip(which, boxes, strict=True):
        rows, columns = (
            np.linspace(start, end, count) if count > 1 else np.array([(start + end) / 2])
            for start, end, count in ((top, bottom, out[0]), (left, right, out[1]))
        )
        grid = np.stack(np.meshgrid(columns, rows), -1)[None]
        values = sample(x[image : image + 1], grid, "border")[0]
        limits = np.array(x.shape[:-3:-1]) - 1
        made.append(np.where(((grid[0] >= 0) & (grid[0] <= limits)).all(-1), values, pad))
    return np.stack(made)


def suppress(boxes: Array, scores: Array, iou: float, least: float, most: int, by_class: bool) -> list[Array]:
    """Boxes [n, B, 4] around their centres, scores [n, B, K]."""

    def overlap(a: Array, b: Array) -> float:
        shared = [
            min(a[k] + a[k + 2] / 2, b[k] + b[k + 2] / 2) - max(a[k] - a[k + 2] / 2, b[k] - b[k + 2] / 2)
            for k in (0, 1)
        ]
        area = max(shared[0], 0) * max(shared[1], 0)
        return float(area / (a[2] * a[3] + b[2] * b[3] - area))

    n, _, classes = scores.shape
    found = [np.zeros((n, most, 4)), np.zeros((n, most, classes)), np.full((n, most), -1), np.zeros(n, int)]
    for item in range(n):
        best, own = scores[item].max(-1), scores[item].argmax(-1)
        kept: list[int] = []
        for box in np.argsort(-best):
            rivals = [other for other in kept if not by_class or own[other] == own[box]]
            if best[box] > least and all(overlap(boxes[item, box], boxes[item, other]) <= iou for other in rivals):
                kept.append(int(box))
        kept = kept[:most]
        for part, values in zip(found[:3], (boxes[item, kept], scores[item, kept], kept), strict=True):
            part[item, : len(kept)] = values
        found[3][item] = len(kept)
    return found
