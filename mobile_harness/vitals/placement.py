"""Where a runtime says that it executes a model, from its log: delegates, partitions, silent fallback to the CPU."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mobile_harness.records.state import Placement
from mobile_harness.vitals import reading

_REPLACED = re.compile(
    r"Replacing ([0-9]{1,7}) out of ([0-9]{1,7}) node\(s\) with delegate \(([^()]{1,100})\) node"
    r"(?:, yielding ([0-9]{1,7}) partitions?)?"
)
_DECLINED = re.compile(r"Though ([\w -]{1,60}?) delegate is explicitly applied, the model graph will not be executed")
_TELL = "will not be executed by the delegate"
_PLACED = re.compile(r"[Nn]odes?(?:\(s\))? placed on \[(\w{1,80})\]\. {1,8}Number of nodes: ([0-9]{1,7})")
_CAPABLE = re.compile(
    r"(\w{1,80})::GetCapability, number of partitions supported by \w{1,40}: ([0-9]{1,7}) "
    r"number of nodes in the graph: ([0-9]{1,7}) number of nodes supported by \w{1,40}: ([0-9]{1,7})"
)
_FULLY = re.compile(r"Fully accelerated:\s{0,40}(True|False|true|false)")
_ROWS_MAX = 256

_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "gpu": ("gpu", "opencl", "webgpu"),
    "nnapi": ("nnapi",),
    "npu": ("qnn", "htp", "hexagon", "edgetpu", "neuron", "enn", "dispatch", "npu"),
    "coreml": ("coreml", "core ml"),
    "xnnpack": ("xnnpack",),
    "cpu": ("xnnpack", "cpuexecutionprovider"),
}
_ON_CPU: Final = {"cpu", "xnnpack"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one delegate or provider took: ``nodes`` of ``total`` (None: not said), in so many partitions."""

    delegate: str
    nodes: int
    total: int | None
    partitions: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What the log says of placement, row by row. ``declined`` are the delegates that were applied and took nothing."""

    shares: tuple[Share, ...]
    declined: tuple[str, ...]
    fully_accelerated: bool | None


def read_log(text: str) -> Log:
    """Return the placement lines of a log of ``benchmark_model``, LiteRT or ONNX Runtime; none is an answer too."""
    shares: list[Share] = []
    declined: list[str] = []
    fully: bool | None = None
    for line in reading.lines(text):
        if _TELL in line:
            match = _DECLINED.search(line)
            declined.append(reading.shown(match[1] if match else line))
        elif (share := _share(line)) is not None:
            shares.append(share)
        elif match := _FULLY.search(line):
            fully = match[1].lower() == "true"
    shares = _totals(shares)
    return Log(shares=tuple(shares[:_ROWS_MAX]), declined=tuple(declined[:_ROWS_MAX]), fully_accelerated=fully)


def _share(line: str) -> Share | None:
    if match := _REPLACED.search(line):
        partitions = int(match[4]) if match[4] else None
        return Share(delegate=reading.shown(match[3]), nodes=int(match[1]), total=int(match[2]), partitions=partitions)
    if match := _PLACED.search(line):
        return Share(delegate=match[1], nodes=int(match[2]), total=None, partitions=None)
    if "::GetCapability" in line and (match := _CAPABLE.search(line)):
        return Share(delegate=match[1], nodes=int(match[4]), total=int(match[3]), partitions=int(match[2]))
    return None


def _totals(shares: list[Share]) -> list[Share]:
    """Give ONNX Runtime's rows their total: the nodes of all its providers, which are every node of the graph."""
    bare = [share for share in shares if share.total is None]
    total = sum(share.nodes for share in bare)
    placed = {share.delegate for share in bare}
    return [
        share
        if share.total is not None
        else Share(delegate=share.delegate, nodes=share.nodes, total=total, partitions=None)
        for share in shares
        if share.total is None or share.delegate not in placed
    ]


def judge(log: Log, requested: str) -> Placement:
    """Return where the model ran, given what was asked for; the words of a refusal win over a count of nodes."""
    words = _WORDS.get(requested, (requested.lower(),))
    refused = next((name for name in log.declined if _is_of(name, words)), "")
    ours = [share for share in log.shares if _is_of(share.delegate, words)]
    total = max((share.total for share in log.shares if share.total is not None), default=None)
    nodes = 0 if refused else sum(share.nodes for share in ours) if ours else None
    counted = [share.partitions for share in ours if share.partitions is not None]
    if nodes is None and log.shares and requested not in _ON_CPU:
        nodes = 0
    evidence = (
        f"{refused} was applied and took nothing" if refused
        else "; ".join(f"{share.delegate} took {share.nodes} of {share.total or '?'}" for share in log.shares[:4])
    )  # fmt: skip
    return Placement(
        requested=requested,
        delegated_nodes=nodes,
        total_nodes=total,
        partitions=sum(counted) if counted and not refused else None,
        fallback=requested not in _ON_CPU and nodes == 0,
        evidence=evidence,
    )


def _is_of(name: str, words: tuple[str, ...]) -> bool:
    lowered = name.lower()
    return any(word in lowered for word in words)
