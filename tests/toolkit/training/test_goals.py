"""What outputs are held against, chosen from the plan, the labels and a look at the outputs."""

from __future__ import annotations

import numpy as np
import pytest
from test_loop import a_plan

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import DataError
from toolkit.training.goals import aim
from toolkit.training.material import Part

N = 60
SIGNATURE = Signature(inputs=(), outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 4)),))


def part(outputs: np.ndarray, labels: np.ndarray | None = None) -> Part:
    return Part({}, labels, {"y": outputs.astype(np.float32)}, np.arange(N))


@pytest.fixture
def scores(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(0, 2, (N, 4))


def shares_of(scores: np.ndarray) -> np.ndarray:
    return np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)


def test_without_labels_the_float_model_teaches(scores: np.ndarray) -> None:
    found = aim(a_plan(), part(scores), SIGNATURE)
    assert [(goal.kind, goal.output) for goal in found.goals] == [("values", "y")]
    assert found.goals[0].scale == pytest.approx(scores.var(), rel=1e-5)
    assert found.metric == "agreement"
    places = np.arange(8)
    targets = found.targets(part(scores), places)
    assert np.allclose(targets["y"], scores[:8])
    assert found.loss({"y": scores[:8] + 1}, targets) == pytest.approx(1 / scores.var(), rel=1e-4)


def test_a_distribution_is_known_by_its_sums(scores: np.ndarray) -> None:
    shares = shares_of(scores)
    found = aim(a_plan(), part(shares, scores.argmax(-1)), SIGNATURE)
    assert found.goals[0].kind == "shares"
    assert found.metric == "top1"
    targets = found.targets(part(shares), np.arange(5))
    expected = -np.mean(np.sum(shares[:5] * np.log(shares[:5]), -1))
    assert found.loss({"y": shares[:5]}, targets) == pytest.approx(expected, rel=1e-4)
    hits = found.hits({"y": shares}, part(shares, scores.argmax(-1)), np.arange(N))
    assert hits.all()


def test_labels_teach_when_asked_for(scores: np.ndarray) -> None:
    labels = scores.argmax(-1)
    found = aim(a_plan(teacher="labels"), part(scores, labels), SIGNATURE)
    assert found.goals[0].kind == "scores"
    targets = found.targets(part(scores, labels), np.arange(3))
    assert targets["y"].argmax(-1).tolist() == labels[:3].tolist()
    assert found.loss({"y": scores[:3]}, targets) == pytest.approx(
        -np.mean(np.log(shares_of(scores)[np.arange(3), labels[:3]])), rel=1e-4
    )
    arrays = aim(a_plan(teacher="labels"), part(scores, scores * 2), SIGNATURE)
    assert (arrays.goals[0].kind, arrays.metric) == ("values", "")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "the data has none"),
        (np.full(N, 4), "4 classes"),
        (np.full(N, -1), "from -1"),
        (np.zeros((N, 7)), r"of shape \[7\]"),
    ],
)
def test_labels_that_cannot_be_learned_from_are_refused(
    labels: np.ndarray | None, words: str, scores: np.ndarray
) -> None:
    with pytest.raises(DataError, match=words):
        aim(a_plan(teacher="labels"), part(scores, labels), SIGNATURE)


def test_outputs_that_are_not_finite_are_refused(scores: np.ndarray) -> None:
    scores[7, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        aim(a_plan(), part(scores), SIGNATURE)
