"""Samples that choose and samples that certify: apart, whatever the data repeats or calibration has seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit.core.artifacts import Preprocess, Signature, TensorSpec
from toolkit.core.errors import DataError
from toolkit.core.sampling import spread
from toolkit.search.parts import Parts, SplitJob, samples_at, split
from toolkit.stages import data as datasets

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 3)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=(1, 2)),),
)


def parted(folder: Path, x: np.ndarray, calibrate: int, seed: int = 0) -> tuple[Parts, np.ndarray, np.ndarray]:
    np.savez(folder / "data.npz", x=x)
    refer = datasets.refer
    made = split(
        SplitJob(
            data=refer(str(folder / "data.npz"), SIGNATURE, Preprocess(), None),
            calibration=refer(str(folder / "data.npz"), SIGNATURE, Preprocess(), calibrate),
            source=SIGNATURE,
            share=0.5,
            seed=seed,
            out=folder,
        )
    )
    return made, np.load(made.selection.path), np.load(made.certification.path)


def test_copies_stay_together_but_one_certifies_and_calibration_never(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(0, 1, (60, 3)).astype(np.float32)
    which = rng.integers(0, 60, 200)
    made, selection, certification = parted(tmp_path, kinds[which], calibrate=10)
    assert len({*which[certification]}) == len(certification) == made.certification_count
    left_out = {*range(200)} - {*selection} - {*certification}
    assert left_out
    assert {*which[[*left_out]]} <= {*which[certification]}  # nothing but copies of what certifies
    assert not {*which[selection]} & {*which[certification]}
    seen = {which[place] for place in spread(200, 10) or ()}
    assert not seen & {*which[certification]}
    assert 60 <= made.certification_count + len(left_out) <= 100
    shown = [sample.feeds["x"][0] for sample in samples_at(made, certification[:5])]
    np.testing.assert_array_equal(shown, kinds[which][certification[:5]])


def test_the_seed_draws_the_parts(tmp_path: Path) -> None:
    x = np.arange(300, dtype=np.float32).reshape(100, 3)
    first, again, other = (parted(tmp_path, x, 5, seed)[2] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert {*first} != {*other}
    assert list(first) != sorted(first)


def test_data_that_all_calibrates_certifies_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No sample is left to certify by"):
        parted(tmp_path, np.ones((20, 3), np.float32), calibrate=4)
