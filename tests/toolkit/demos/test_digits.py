from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from toolkit import pipeline
from toolkit.core import process
from toolkit.core.clock import SystemClock
from toolkit.core.events import Event
from toolkit.core.store import Store
from toolkit.core.tools import Tools
from toolkit.demos import digits
from toolkit.demos._prepared import prepared
from toolkit.demos._project import DemoProject


def test_the_data_is_five_hundred_of_each_digit() -> None:
    images, labels = digits.read_digits()
    assert images.shape == (5000, 28, 28, 1)
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 255)
    assert np.bincount(labels).tolist() == [500] * 10


def test_shift_moves_images_and_keeps_what_stays_inside() -> None:
    images = np.zeros((40, 9, 9, 1), np.uint8)
    images[:, 4, 4, 0] = np.arange(1, 41)
    moved = digits.shift(images, np.random.default_rng(0))
    assert moved.shape == images.shape
    assert moved.sum(axis=(1, 2, 3)).tolist() == list(range(1, 41))
    rows, columns = np.nonzero(moved)[1:3]
    assert {*rows.tolist()} == {*columns.tolist()} == {2, 3, 4, 5, 6}


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    rates = [digits._rate(step / 100) for step in range(101)]
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(digits.PEAK_RATE, rel=0.01)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[0] > 0
    assert math.isclose(rates[-1], 0, abs_tol=1e-12)


@pytest.fixture(scope="module")
def news() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, news: list[Event]) -> tuple[DemoProject, Tools]:
    store = Store(tmp_path_factory.mktemp("digits"))
    tools = Tools(run=process.run, emit=news.append, clock=SystemClock(), store=store)
    return prepared("digits", tools), tools


@pytest.mark.slow
def test_the_trained_network_reads_digits_it_never_saw(
    project: tuple[DemoProject, Tools], news: list[Event], tmp_path: Path
) -> None:
    (model,) = project[0].models
    with np.load(model.labelled.path) as held_out, np.load(model.calibration.path) as calibration:
        images, labels = held_out["image"], held_out["labels"]
        seen = {image.tobytes() for image in calibration["image"]}
        assert np.bincount(calibration["labels"]).tolist() == [20] * 10
    assert np.bincount(labels).tolist() == [100] * 10
    assert not seen & {image.tobytes() for image in images}
    np.savez(tmp_path / "in.npz", image=(images * np.float32(model.preprocess.scale)).astype(np.float32))
    signature = pipeline.predict(model.model.path, tmp_path / "in.npz", tmp_path / "out.npz", project[1])
    assert [(spec.name, spec.shape) for spec in signature.inputs] == [("image", (1, 28, 28, 1))]
    with np.load(tmp_path / "out.npz") as answers:
        accuracy = (answers["digit"].reshape(1000, 10).argmax(axis=-1) == labels).mean()
    assert accuracy >= 0.96
    assert [event.done for event in news if event.phase == "train"] == list(range(digits.EPOCHS))


@pytest.mark.slow
def test_a_second_time_it_comes_out_of_the_cache(project: tuple[DemoProject, Tools], news: list[Event]) -> None:
    made, tools = project
    told = len(news)
    assert prepared("digits", tools) == made
    assert len(news) == told
