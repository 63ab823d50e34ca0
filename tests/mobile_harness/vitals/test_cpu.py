from __future__ import annotations

import dataclasses

import pytest

from mobile_harness.vitals import sysfs
from mobile_harness.vitals.cpu import Cluster, effective_mhz, mask, read_cores, read_cpus
from mobile_harness.vitals.reading import Unavailable


@pytest.fixture
def cpus(composed):
    return tuple(read_cpus(sysfs.read_files(composed(f"sysfs_cpu_{when}.txt"))) for when in ("before", "after"))


def test_clusters(cpus) -> None:
    before, after = cpus
    assert before.online == tuple(range(8))
    assert before.clusters[0] == Cluster(
        cores=(0, 1, 2, 3), max_khz=1_900_000, limit_khz=1_900_000, capacity=250, governor="walt",
        time_in_state=((300_000, 1000), (1_900_000, 500)),
    )  # fmt: skip
    assert [cluster.mask for cluster in before.clusters] == ["f", "70", "80"]
    assert [cluster.limit_khz for cluster in after.clusters] == [1_900_000, 2_800_000, 2_400_000]


def test_effective_clocks(cpus) -> None:
    before, after = cpus
    clocks = [effective_mhz(a, b) for a, b in zip(before.clusters, after.clusters, strict=True)]
    assert clocks == [1100.0, 2800.0, 2625.0]


def test_clocks_that_cannot_be_told(cpus) -> None:
    before, after = cpus
    for a, b, words in (
        (after.clusters[0], before.clusters[0], "went backward"),
        (before.clusters[0], before.clusters[0], "too close together"),
        (before.clusters[0], after.clusters[1], "does not tell"),
        (before.clusters[0], dataclasses.replace(before.clusters[0], time_in_state=()), "does not tell"),
    ):
        found = effective_mhz(a, b)
        assert isinstance(found, Unavailable)
        assert words in found.reason


def test_cores_without_a_stated_cluster_are_grouped_by_what_is_known() -> None:
    root = "/sys/devices/system/cpu"
    files = {f"{root}/cpu{core}/cpufreq/cpuinfo_max_freq": ("2000000" if core else "3000000",) for core in range(4)}
    found = read_cpus(files)
    assert [(cluster.cores, cluster.max_khz) for cluster in found.clusters] == [
        ((1, 2, 3), 2_000_000),
        ((0,), 3_000_000),
    ]
    assert found.online == ()
    assert isinstance(read_cpus({"/proc/version": ("Linux",)}), Unavailable)


def test_lists_and_masks() -> None:
    assert read_cores("0-3,6\n") == (0, 1, 2, 3, 6)
    assert read_cores("") == read_cores("0-999999999999999999") == read_cores("3-1,-2") == ()
    assert mask((0, 7)) == "81"
    assert mask(()) == "0"
