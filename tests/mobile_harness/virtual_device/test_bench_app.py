"""The bench app's role with a real tiny build: from install to the verified result file, and what can befall it."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest

from mobile_harness.virtual_device import faults
from mobile_harness.virtual_device.android.packages import AppManifest, write_test_package
from mobile_harness.wire import frames
from toolkit.core.store import sha256_of

PACKAGE = "org.palmtop.bench"
RUNNER = f"{PACKAGE}/{PACKAGE}.Runner"
PLAN = {
    "warmup_min_s": 0.01, "warmup_min_runs": 2, "warmup_max_s": 0.05, "min_runs": 5, "min_seconds": 0.05,
    "max_seconds": 5.0, "threads": 1, "accelerator": "cpu", "seed": 0,
}  # fmt: skip


class Bench:
    """A device with the app and a model on it."""

    def __init__(self, adb, make_farm, onnx_model: Path, folder: Path, *planned: faults.Fault) -> None:
        self.adb, self.model = adb, onnx_model
        self.farm = make_farm(1, {0: planned})
        self.device = self.farm[0]
        manifest = AppManifest(package=PACKAGE, runner=f"{PACKAGE}.Runner", targets=("onnx", "tflite"))
        assert adb.on(self.device, "install", str(write_test_package(folder / "bench.apk", manifest))).code == 0
        assert adb.on(self.device, "push", str(onnx_model), "/data/local/tmp/palmtop/net.onnx").code == 0

    def order(self, run: str = "5eed0001", **changes) -> str:
        order = {
            "run": run, "target": "onnx", "model": "/data/local/tmp/palmtop/net.onnx", "golden": None,
            "model_sha256": sha256_of(self.model), "plan": PLAN, **changes,
        }  # fmt: skip
        return base64.urlsafe_b64encode(json.dumps(order).encode()).decode().rstrip("=")

    def command(self, word: str | None = None) -> str:
        return f"am instrument -w -r -e palmtop {word or self.order()} {RUNNER}"

    def instrument(self, word: str | None = None) -> str:
        done = self.adb.on(self.device, "shell", self.command(word), deadline_s=60)
        assert done.code == 0, done.stderr
        return done.stdout

    def result(self, run: str = "5eed0001") -> bytes:
        done = self.adb.on(self.device, "exec-out", f"run-as {PACKAGE} cat files/palmtop/{run}.jsonl")
        return done.stdout.encode()


@pytest.fixture
def bench(adb, make_farm, onnx_model: Path, tmp_path: Path):
    return lambda *planned: Bench(adb, make_farm, onnx_model, tmp_path, *planned)


def records(text: str) -> list[dict]:
    found = [chunk for line in text.splitlines() for chunk in frames.scan(line).chunks]
    return [json.loads(chunk.payload) for chunk in found if chunk.count == 1]


def is_whole(raw: bytes) -> bool:
    rows = raw.splitlines(keepends=True)
    try:
        last = json.loads(rows[-1]) if rows else {}
    except ValueError:
        return False
    return last.get("t") == "bye" and last["sha256"] == hashlib.sha256(b"".join(rows[:-1])).hexdigest()


def test_a_build_is_measured_end_to_end(bench) -> None:
    app = bench()
    said = app.instrument()
    assert said.endswith("INSTRUMENTATION_CODE: -1\n")
    lines = said.splitlines()
    assert lines[0].startswith("INSTRUMENTATION_STATUS: palmtop=@PT1 5eed0001 0 1/1 ")
    assert lines[1] == "INSTRUMENTATION_STATUS_CODE: 2"
    kinds = [record["t"] for record in records(said)]
    assert kinds[0] == "hello"
    assert kinds[-2:] == ["result", "bye"]
    assert is_whole(app.result())
    assert app.adb.shell(app.device, f"pidof {PACKAGE}").code == 1
    # the second session of the same app, its frames in the log this time
    app.adb.shell(app.device, f"am start -W -S -n {PACKAGE}/.Main --es palmtop {app.order('5eed0002')}")
    app.adb.await_gone(app.device, PACKAGE)
    assert is_whole(app.result("5eed0002"))
    logged = app.adb.on(app.device, "logcat", "-d", "-s", "PALMTOP").stdout
    assert [record["t"] for record in records(logged)][-1] == "bye"


def test_what_the_app_cannot_do_is_told(bench) -> None:
    app = bench()
    wrong = records(app.instrument(app.order(model_sha256="0" * 64)))
    assert [record["code"] for record in wrong if record["t"] == "error"] == ["model_hash"]
    missing = records(app.instrument(app.order(model="/system/etc/../../../../../../etc/passwd")))
    assert [record["code"] for record in missing if record["t"] == "error"] == ["model_missing"]
    for word in ("no-base64!", app.order(run="../../x"), app.order(target="coreml")):
        said = app.instrument(word)
        assert "shortMsg=java.lang.IllegalArgumentException" in said
        assert said.endswith("INSTRUMENTATION_CODE: 0\n")


def test_the_app_goes_on_when_the_link_is_lost(bench) -> None:
    app = bench(faults.Drop(on="am instrument", after_s=0.3))
    done = app.adb.on(app.device, "shell", app.command(), deadline_s=60)
    assert "INSTRUMENTATION_CODE" not in done.stdout
    app.adb.await_state(app.device, "device")
    app.adb.await_gone(app.device, PACKAGE)
    assert is_whole(app.result())
    assert [event.fault for event in app.farm.log.events()] == ["drop"]


@pytest.mark.parametrize(
    ("fault", "buffer", "word"),
    [
        (faults.AppCrashes(after_frames=4), "crash", "Fatal signal"),
        (faults.OutOfMemory(after_frames=4), "system", "lowmemorykiller"),
    ],
)
def test_the_app_dies(bench, fault: faults.Fault, buffer: str, word: str) -> None:
    app = bench(fault)
    said = app.instrument()
    assert said.endswith("INSTRUMENTATION_RESULT: shortMsg=Process crashed.\nINSTRUMENTATION_CODE: 0\n")
    assert len(records(said)) == 4
    assert not is_whole(app.result())
    assert len(app.result().splitlines()) == 4
    assert word in app.adb.on(app.device, "logcat", "-b", buffer, "-d").stdout
    assert f"package: {PACKAGE}" in app.adb.shell(app.device, f"dumpsys activity exit-info {PACKAGE}").stdout
    assert len(app.farm.log.events(faults.name_of(type(fault)))) == 1
    assert app.instrument().endswith("INSTRUMENTATION_CODE: -1\n")


def test_the_app_hangs_and_is_stopped(bench) -> None:
    app = bench(faults.AppHangs(after_frames=3))
    done = app.adb.on(app.device, "shell", f"timeout 3 {app.command()}; echo rc=$?; pidof {PACKAGE}")
    assert "rc=124\n" in done.stdout
    assert done.stdout.splitlines()[-1].isdigit()
    app.adb.shell(app.device, f"am force-stop {PACKAGE}")
    app.adb.await_gone(app.device, PACKAGE)
    assert not is_whole(app.result())


def test_results_come_back_damaged(bench) -> None:
    app = bench(faults.CorruptResult(), faults.TruncatedResult(skip=1))
    said = app.instrument()
    assert any(frames.scan(line).damaged for line in said.splitlines())
    assert said.endswith("INSTRUMENTATION_CODE: -1\n")
    assert not is_whole(app.result())
    app.instrument(app.order("5eed0002"))
    assert not is_whole(app.result("5eed0002"))
    app.instrument(app.order("5eed0003"))
    assert is_whole(app.result("5eed0003"))
    assert [event.fault for event in app.farm.log.events()] == ["corrupt_result", "truncated_result"]


def test_a_reboot_ends_the_app(bench) -> None:
    app = bench(faults.Reboot(on="reboot-now", down_s=0.1, boot_s=0.1))
    plan = {**PLAN, "min_seconds": 30.0, "max_seconds": 30.0}
    app.adb.shell(app.device, f"am instrument -e palmtop {app.order(plan=plan)} {RUNNER}")
    assert app.adb.shell(app.device, f"pidof {PACKAGE}").code == 0
    app.adb.shell(app.device, "reboot-now")
    app.adb.await_state(app.device, "device")
    assert app.adb.shell(app.device, f"pidof {PACKAGE}").code == 1
