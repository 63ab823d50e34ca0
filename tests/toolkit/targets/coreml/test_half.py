"""What stays float32 in a float16 program."""

from __future__ import annotations

import coreml_half_jobs as jobs
import pytest

from toolkit.core.isolation import isolate
from toolkit.core.tools import system_tools


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> jobs.Spectra:
    return isolate(system_tools(), 120, jobs.spectra, tmp_path_factory.mktemp("half"))


def test_a_logarithm_of_less_than_float16_holds_stays_float32_with_all_that_leads_to_it(found: jobs.Spectra) -> None:
    chain = {"padded", "part_0", "part_1", "square_0", "square_1", "power", "guarded", "loud"}
    assert found.chains == {"1e-10": chain, "0.001": frozenset()}
    reason = "it stays float32: it is part of a logarithm of values smaller than float16 holds"
    wanted = dict.fromkeys(chain - {"padded"}, reason)
    assert {name: {item.layer: item.reason for item in kept} for name, kept in found.kept_float.items()} == {
        "float16": wanted,
        "weights": wanted,
    }


def test_its_decibels_are_those_of_the_float_program(found: jobs.Spectra) -> None:
    assert found.exact_db > 60
    assert found.rounded_db > 50
