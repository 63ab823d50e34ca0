"""The native benchmark tools that the user has: what each file is, which builds it measures, and how it is asked.

Sources of the options: the READMEs of LiteRT's ``benchmark_model`` and of ONNX Runtime's ``perftest``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mobile_harness.records import RunPlan
from mobile_harness.transports.base import DeviceFailed
from mobile_harness.vitals.native import (
    TARGETS,
    Figures,
    Needed,
    Runner,
    read_benchmark_litert_model,
    read_benchmark_model,
    read_onnxruntime_perf_test,
)
from mobile_harness.vitals.reading import Unreadable
from toolkit.core import store
from toolkit.core.artifacts import Blob, ToolVersion
from toolkit.core.errors import SettingsError

KINDS: Final[tuple[Runner, ...]] = tuple(TARGETS)
_ABIS: Final = {183: "arm64-v8a", 40: "armeabi-v7a", 62: "x86_64", 3: "x86", 243: "riscv64"}
"""Android's names by the machine's number of the ELF specification."""
_HEAD: Final = struct.Struct("<4sBB10xHH")
_EXECUTABLE: Final = (2, 3)

_LITERT_ACCELERATORS: Final = {"cpu": (), "xnnpack": ("--use_xnnpack=true",), "gpu": ("--use_gpu=true",),
                               "nnapi": ("--use_nnapi=true",)}  # fmt: skip
_ORT_ACCELERATORS: Final = {"cpu": "cpu", "xnnpack": "xnnpack", "nnapi": "nnapi", "npu": "qnn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeTool:
    """A tool of one kind for one ABI. ``blob`` is its file, or the folder that it and its libraries lie in."""

    kind: Runner
    abi: str
    file: str
    blob: Blob

    @property
    def target(self) -> str:
        """The target whose builds it measures."""
        return TARGETS[self.kind]

    @property
    def runner(self) -> str:
        """The kind of runner that its figures carry."""
        return f"native:{self.kind}"

    @property
    def version(self) -> ToolVersion:
        """Which one it is: tools tell no version, so the content does."""
        return ToolVersion(name=f"{self.kind} ({self.abi})", version=f"sha256:{self.blob.sha256[:12]}")


def read_tools(paths: Sequence[Path]) -> tuple[NativeTool, ...]:
    """Return what the files and folders are that the user named.

    Raises:
        SettingsError: one is not there, is no tool by its name, or no program of Android's processors.
    """
    found = tuple(_read(path.expanduser()) for path in paths)
    places = [(tool.target, tool.abi) for tool in found]
    twice = next((tool for tool, place in zip(found, places, strict=True) if places.count(place) > 1), None)
    if twice is not None:
        raise SettingsError(
            f"Two native tools measure {twice.target} builds on {twice.abi}.", hint="Name one --native-tool for each."
        )
    return found


def _read(path: Path) -> NativeTool:
    files = sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else [path]
    named = [(file, kind) for file in files if (kind := _kind(file.name)) is not None]
    if len(named) != 1:
        what = f"holds {len(named)} native tools" if path.is_dir() else "is none by its name"
        raise SettingsError(f"{path} {what}.", hint=f"Their names hold one of: {', '.join(KINDS)}.")
    file, kind = named[0]
    abi = _abi(file)
    try:
        return NativeTool(kind=kind, abi=abi, file=file.name, blob=store.blob_of(path))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from error


def _kind(name: str) -> Runner | None:
    return next((kind for kind in KINDS if kind in name and ".so" not in name), None)


def _abi(path: Path) -> str:
    """Return the ABI that a program is for, from the head of the file (ELF, System V ABI chapter 4)."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD.size)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror or error}.") from error
    magic, _, order, kind, machine = _HEAD.unpack(head.ljust(_HEAD.size, b"\0"))
    if magic != b"\x7fELF" or order != 1 or kind not in _EXECUTABLE:
        raise SettingsError(f"{path} is no program of Android's.", hint="It is another system's, or a script.")
    if machine not in _ABIS:
        raise SettingsError(f"{path} is for a processor that Android does not run on (ELF machine {machine}).")
    return _ABIS[machine]


def arguments(tool: NativeTool, model: str, plan: RunPlan) -> list[str]:
    """Return what the tool is told to do.

    Raises:
        DeviceFailed: ``cannot_launch``, it does not know the plan's accelerator.
    """
    known = _ORT_ACCELERATORS if tool.target == "onnx" else _LITERT_ACCELERATORS
    if plan.accelerator not in known:
        raise DeviceFailed(
            f"{tool.kind} cannot be asked for the accelerator {plan.accelerator!r}.",
            kind="cannot_launch",
            hint=f"It knows: {', '.join(known)}. The bench app may know others (--runner app).",
        )
    return _perf_test(model, plan) if tool.target == "onnx" else _benchmark_model(model, plan)


def _benchmark_model(model: str, plan: RunPlan) -> list[str]:
    threads = [f"--num_threads={plan.threads}"] if plan.threads else []
    return [
        f"--graph={model}",
        f"--warmup_runs={plan.warmup_min_runs}",
        f"--warmup_min_secs={plan.warmup_min_s:g}",
        f"--num_runs={plan.min_runs}",
        f"--min_secs={plan.min_seconds:g}",
        f"--max_secs={plan.max_seconds:g}",
        *threads,
        *_LITERT_ACCELERATORS[plan.accelerator],
    ]


def _perf_test(model: str, plan: RunPlan) -> list[str]:
    """It times for a while or a number of runs, never at least both: the while, as runs are told in the output."""
    threads = ["-x", str(plan.threads)] if plan.threads else []
    seconds = max(1, math.ceil(plan.min_seconds))
    return ["-m", "duration", "-t", str(seconds), "-e", _ORT_ACCELERATORS[plan.accelerator], *threads, "-I", model]


def read_output(tool: NativeTool, text: str, needed: Needed) -> Figures | Unreadable:
    """Return the figures in what a tool printed; LiteRT's newer tool may bear the older one's name."""
    if tool.target == "onnx":
        return read_onnxruntime_perf_test(text, needed)
    readers: list[Callable[[str, Needed], Figures | Unreadable]] = [read_benchmark_model, read_benchmark_litert_model]
    if tool.kind == "benchmark_litert_model":
        readers.reverse()
    first = readers[0](text, needed)
    if not isinstance(first, Unreadable):
        return first
    second = readers[1](text, needed)
    return first if isinstance(second, Unreadable) else second
