"""Which samples steps of care learn from, and which they are judged by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.preprocess import Preprocess
from toolkit.core.recipe import load_recipe
from toolkit.stages import data
from toolkit.stages.care_job import GLANCED, CareJob, Use, glanced_at, judged_by, samples_of, shares_of


def job_of(path: Path, count: int, batch: int) -> CareJob:
    source = Signature(inputs=(TensorSpec(name="x", dtype="float32", shape=(batch, 1)),), outputs=())
    np.savez(path, x=np.arange(count, dtype=np.float32)[:, None])
    return CareJob(
        target="toy",
        model=path,
        artefact=source,
        source=source,
        recipe=load_recipe("static-int8"),
        ranges=None,
        data=data.refer(str(path), source, Preprocess(), None),
        out=path,
    )


def taken(job: CareJob, use: Use) -> set[float]:
    return {float(value) for feeds in samples_of(job, use) for value in feeds["x"].reshape(-1)}


@pytest.mark.parametrize(("count", "batch"), [(200, 1), (48, 1), (9, 1), (3, 1), (96, 4), (12, 4)])
def test_a_glance_takes_some_of_those_that_judge_and_none_that_taught(count: int, batch: int, tmp_path: Path) -> None:
    job = job_of(tmp_path / "data.npz", count, batch)
    learned, judged, glanced = (taken(job, use) for use in ("learn", "judge", "glance"))
    assert (len(learned), len(judged)) == shares_of(count, batch)
    assert not learned & judged
    assert glanced <= judged
    assert len(judged) == judged_by(job)
    assert len(glanced) == glanced_at(job) == min(len(judged), GLANCED * batch)
    if len(judged) > 2 * GLANCED * batch:
        assert max(glanced) > count / 2, "they are spread over the data"


def test_one_batch_serves_for_all(tmp_path: Path) -> None:
    job = job_of(tmp_path / "data.npz", 4, 4)
    assert taken(job, "learn") == taken(job, "judge") == taken(job, "glance")
