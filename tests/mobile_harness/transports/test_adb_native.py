"""Native tools pushed to a virtual device and run there for real: real programs of this host, compiled for the test."""

from __future__ import annotations

import dataclasses
import json
import shutil
import struct
from pathlib import Path

import pytest
from adb_lab import PrivateServer, use
from bench_builds import make_folder

from mobile_harness import bench as benches
from mobile_harness.bench import BenchRequest
from mobile_harness.measurer.runners import Choice
from mobile_harness.plans import PLANS
from mobile_harness.transports import _native_tools
from mobile_harness.transports.base import DeviceFailed
from mobile_harness.virtual_device import sandbox
from mobile_harness.virtual_device.farm import start_farm
from toolkit.cli.main import execute
from toolkit.core import manifest, process
from toolkit.core.errors import SettingsError, ToolMissing
from toolkit.core.tools import Tools, system_tools

SOURCE = Path(__file__).parents[2] / "fakes" / "native" / "tool.c"
COMPILER = shutil.which("gcc")
SANDBOX = sandbox.find()
SHORT = dataclasses.replace(
    PLANS["quick"], sessions=2, warmup_min_s=0.05, warmup_min_runs=3, warmup_max_s=0.2, min_runs=80, min_seconds=0.1,
    max_seconds=1.0, session_deadline_s=20.0, cooldown_max_s=0.0,
)  # fmt: skip
needs_programs = pytest.mark.skipif(COMPILER is None, reason="no gcc to compile a native tool with")
needs_sandbox = pytest.mark.skipif(isinstance(SANDBOX, str), reason=f"no sandbox for native programs: {SANDBOX}")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory):
    """Compile the tool under a name, with definitions."""
    folder = tmp_path_factory.mktemp("native")

    def make(name: str, *definitions: str) -> Path:
        path = folder / "-".join([*definitions, "x"]) / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            argv = [COMPILER, "-O1", "-o", str(path), *(f"-D{word}" for word in definitions), str(SOURCE)]
            done = process.run(argv, deadline_s=60)
            assert done.code == 0, done.stderr
        return path

    return make


@pytest.fixture(scope="module")
def template(onnx_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(system_tools(), onnx_model, tmp_path_factory.mktemp("native") / "builds", ("float32",))


@pytest.fixture
def builds(template: Path, tmp_path: Path) -> Path:
    """A folder with one build for ONNX Runtime and one for LiteRT."""
    folder = Path(shutil.copytree(template, tmp_path / "builds"))
    found = manifest.read(folder)
    (one,) = found.builds
    shutil.copy(folder / one.path, folder / "net.tflite")
    other = dataclasses.replace(one, id="tflite-float32", target="tflite", path="net.tflite")
    manifest.write(folder, dataclasses.replace(found, builds=(one, other)))
    return folder


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLANS, "quick", SHORT)


def measured(folder: Path, tools: Tools, *paths: Path, **fields):
    choice = Choice(runner="native", native_tools=paths)
    return benches.bench(
        BenchRequest(
            folder=folder, devices=("virtual",), choice=choice, store=f"sqlite:///{folder / 'store.db'}", **fields
        ),
        tools,
    )


@needs_programs
@needs_sandbox
def test_both_tools_measure_and_their_figures_say_whose_they_are(
    boot, tools: Tools, builds: Path, compiled, short, capfd, monkeypatch
) -> None:
    farm = boot()
    paths = compiled("android_x_benchmark_model"), compiled("onnxruntime_perf_test", "ORT")
    record = measured(builds, tools, *paths)
    cells = {cell.target: cell for cell in record.cells}
    assert {cell.outcome for cell in record.cells} == {"measured"}, [cell.failure for cell in record.cells]
    assert {target: cell.runner for target, cell in cells.items()} == {
        "onnx": "native:onnxruntime_perf_test",
        "tflite": "native:benchmark_model",
    }
    assert cells["tflite"].runtime == "LiteRT in benchmark_model"
    for cell in record.cells:
        for session in cell.sessions:
            assert session.latency_ns == ()
            assert session.aggregate.average_ns > 1000
            assert session.runs >= (80 if cell.target == "tflite" else 6)
            assert session.parity.samples == 0
        assert {f"native_{cell.runner.partition(':')[2]}", "on_virtual"} <= {doubt.kind for doubt in cell.doubts}
        assert not {"warm_up", "unchecked_outputs"} & {doubt.kind for doubt in cell.doubts}
    shown = {tool.name: tool.version for tool in record.toolchain}
    assert shown[f"benchmark_model ({farm[0].system.profile.abis[0]})"].startswith("sha256:")
    monkeypatch.setenv("PALMTOP_STORE", f"sqlite:///{builds / 'store.db'}")
    for form in ("text", "csv"):
        assert execute(["report", record.id, "-f", form]) == 0
    assert "virtual" in capfd.readouterr().out
    assert not list((farm[0].system.files.root / "data/local/tmp").iterdir())


@needs_programs
@needs_sandbox
@pytest.mark.parametrize(
    ("definition", "kind", "word"),
    [
        ("BREAKS=1", "app_crash", "SIGABRT"),
        ("BREAKS=3", "run_failed", "benchmark_model"),
        ("BREAKS=2", "timed_out", "deadline"),
    ],
)
def test_a_tool_that_breaks_fails_its_cell(
    boot, tools: Tools, builds: Path, compiled, monkeypatch: pytest.MonkeyPatch, definition: str, kind: str, word: str
) -> None:
    monkeypatch.setitem(PLANS, "quick", dataclasses.replace(SHORT, sessions=1, session_deadline_s=1.2))
    farm = boot()
    record = measured(builds, tools, compiled("benchmark_model", definition), builds=("tflite-float32",))
    (cell,) = record.cells
    assert cell.outcome == "failed"
    assert cell.failure.kind == kind
    assert word in cell.failure.message
    assert not [item for item in farm[0].system.processes.all() if "benchmark_model" in item.name]


@needs_programs
@needs_sandbox
def test_a_run_goes_on_with_its_own_runner(boot, tools: Tools, builds: Path, compiled, short) -> None:
    boot()
    record = measured(builds, tools, compiled("benchmark_model", "BREAKS=3"), builds=("tflite-float32",))
    assert record.cells[0].outcome == "failed"
    tool = compiled("benchmark_model")
    again = BenchRequest(folder=builds, resume=record.id, store=f"sqlite:///{builds / 'store.db'}")
    with pytest.raises(ToolMissing, match="No native tool is named for tflite"):
        benches.bench(again, tools)
    done = benches.bench(dataclasses.replace(again, choice=Choice(native_tools=(tool,))), tools)
    assert (done.cells[0].outcome, done.cells[0].runner) == ("measured", "native:benchmark_model")


def elf(machine: int, kind: int = 3) -> bytes:
    return struct.pack("<4sBB10xHH", b"\x7fELF", 2, 1, kind, machine) + bytes(100)


def test_a_tool_for_another_processor_is_refused_before_anything_is_sent(
    boot, tools: Tools, builds: Path, tmp_path: Path, short
) -> None:
    boot()
    other = tmp_path / "benchmark_model"
    other.write_bytes(elf(40))
    with pytest.raises(ToolMissing, match="measure no onnx or tflite build on any") as caught:
        measured(builds, tools, other)
    assert "bazel build" in caught.value.hint
    assert "build.sh --android" in caught.value.hint


@needs_sandbox
@needs_programs
def test_a_target_without_a_tool_is_explained_in_its_cells(boot, tools: Tools, builds: Path, compiled, short) -> None:
    boot()
    record = measured(builds, tools, compiled("benchmark_model"))
    cells = {cell.target: cell for cell in record.cells}
    assert cells["tflite"].outcome == "measured"
    assert cells["onnx"].failure.kind == "cannot_launch"
    assert "was not named" in cells["onnx"].failure.message


@needs_programs
def test_a_device_without_a_sandbox_says_what_it_cannot_do(
    adb_server: PrivateServer, tools: Tools, builds: Path, compiled, short, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, adb_server)
    with start_farm(1, native=False) as farm:
        adb_server.take(farm)
        record = measured(builds, tools, compiled("benchmark_model"), builds=("tflite-float32",))
        assert farm.problems() == []
    failure = record.cells[0].failure
    assert failure.kind == "run_failed"
    assert "native programs are not supported by the virtual device without a sandbox" in failure.message


def test_without_a_tool_the_command_says_what_to_get(
    boot, builds: Path, capfd: pytest.CaptureFixture[str], adb_server: PrivateServer
) -> None:
    boot()
    code = execute(["bench", str(builds), "--device", "virtual", "--runner", "native", "--json"])
    said = capfd.readouterr()
    assert code == 6
    assert "benchmark_model" in said.err + said.out


def test_what_a_file_is_decides_its_head_and_its_name(tmp_path: Path) -> None:
    tool = tmp_path / "android_aarch64_benchmark_model"
    tool.write_bytes(elf(183))
    (found,) = _native_tools.read_tools([tool])
    assert (found.kind, found.abi, found.target) == ("benchmark_model", "arm64-v8a", "tflite")
    folder = tmp_path / "ort"
    folder.mkdir()
    (folder / "onnxruntime_perf_test").write_bytes(elf(62))
    (folder / "libonnxruntime.so").write_bytes(elf(62))
    (found,) = _native_tools.read_tools([folder])
    assert (found.kind, found.abi, found.file) == ("onnxruntime_perf_test", "x86_64", "onnxruntime_perf_test")
    with pytest.raises(SettingsError, match="Two native tools measure tflite builds on arm64-v8a"):
        _native_tools.read_tools([tool, tool])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("benchmark_model", b"#!/bin/sh\n", "no program of Android's"),
        ("benchmark_model", b"", "no program of Android's"),
        ("benchmark_model", elf(183, kind=1), "no program of Android's"),
        ("benchmark_model", elf(8), "ELF machine 8"),
        ("my_tool", elf(183), "none by its name"),
    ],
)
def test_what_is_no_tool_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError, match=words):
        _native_tools.read_tools([tmp_path / name])


def test_the_plan_becomes_the_tool_s_options(tmp_path: Path) -> None:
    (tmp_path / "benchmark_model").write_bytes(elf(183))
    (tmp_path / "onnxruntime_perf_test").write_bytes(elf(183))
    litert, ort = _native_tools.read_tools([tmp_path / "benchmark_model", tmp_path / "onnxruntime_perf_test"])
    plan = dataclasses.replace(SHORT, threads=4, accelerator="gpu")
    assert _native_tools.arguments(litert, "/m", plan) == [
        "--graph=/m", "--warmup_runs=3", "--warmup_min_secs=0.05", "--num_runs=80", "--min_secs=0.1", "--max_secs=1",
        "--num_threads=4", "--use_gpu=true",
    ]  # fmt: skip
    words = _native_tools.arguments(ort, "/m", dataclasses.replace(plan, accelerator="xnnpack"))
    assert words == ["-m", "duration", "-t", "1", "-e", "xnnpack", "-x", "4", "-I", "/m"]
    with pytest.raises(DeviceFailed, match="cannot be asked for the accelerator 'gpu'"):
        _native_tools.arguments(ort, "/m", plan)


def test_json_of_a_record_keeps_the_aggregate(tools: Tools) -> None:
    from mobile_harness.records import Aggregate, Share
    from toolkit.core import codec

    one = Aggregate(runner="benchmark_model", runs=80, average_ns=5, percentiles=(Share(share=0.5, value_ns=4),))
    plain = json.loads(json.dumps(codec.unstructure(one)))
    assert codec.structure(plain, Aggregate, what="aggregate") == one
