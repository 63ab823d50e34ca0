"""Both frameworks fulfil the contract of a trainee, on small networks with what folding and rounding meet."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import training_jobs

from toolkit.core import isolation
from toolkit.core.tools import Tools

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
SITES = {"keras": ("re_lu", "kind:linear", "first", "image"), "pytorch": ("x", "hardtanh_", "linear", "matmul")}


def test_one_step_of_a_keras_network(tmp_path: Path, tools: Tools) -> None:
    made = isolation.isolate(tools, 300, training_jobs.glance, tmp_path)
    assert made.float_error < 1e-5
    assert made.sites == ("image", "first", "re_lu", "block/plain", "point", "add", "kind:linear")
    assert made.losses[1] < made.losses[0]
    assert made.saved_error < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("source", ["keras", pytest.param("pytorch", marks=needs_torch)])
def test_a_network_in_training(source: str, tmp_path: Path, tools: Tools) -> None:
    made = isolation.isolate(tools, 300, training_jobs.exercise, source, tmp_path)
    assert made.float_error < 1e-5
    assert made.weights_off_grid < 1e-6
    assert made.activations_off_grid < 1e-5
    assert made.folded == 2
    assert set(SITES[source]) <= set(made.sites)
    assert not {"stem", "norm", "flatten", "conv2d", "view"} & set(made.sites), (
        "folded, fused or moved: nothing to round"
    )
    assert min(made.losses[6:]) < made.losses[0]
    assert made.learned_moved
    assert made.same_after_restore
    assert made.masked
    assert made.clustered <= 4
    assert made.stayed_zero, "the entry of pruned weights is not trained away"
    assert made.saved_error < 1e-5
    assert made.kept_names
