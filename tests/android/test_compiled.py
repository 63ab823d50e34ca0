"""The generated apps compiled by Kotlin's own compiler and run on the JVM against real runtimes of this host."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import android_ladder
import numpy as np
import pytest
from android_apps import HOSTILE, LABELS, App, Apps
from android_ladder import Kotlin
from PIL import Image

from mobile_harness import parity, plans
from mobile_harness.measurer.loop import Watch, take
from mobile_harness.measurer.machine import Finish, Limits
from mobile_harness.measurer.session import Frame, figures
from mobile_harness.measurer.verdict import energy_of
from mobile_harness.records import Failure, RunPlan, Session
from mobile_harness.records.state import Cooled, Energy, PowerPair, Unavailable, Vitals
from mobile_harness.transports.base import Job
from mobile_harness.transports.host import HostDevice
from mobile_harness.vitals import instrument
from mobile_harness.wire.messages import Env, Phase, Power, Thermal, Warn
from toolkit.core import codec
from toolkit.core.artifacts import Preprocess
from toolkit.core.clock import SystemClock
from toolkit.core.preprocess import apply, central_box
from toolkit.core.store import sha256_of

WIRE = android_ladder.ROOT / "tests" / "samples" / "wire"
LIMITS = Limits(hello_s=60, silence_s=10, native_silence_s=30, grace_s=5, deadline_s=120)
IDLE_UW, CALL_UJ, GAUGED_CALL_UJ = 1_000_000, 20_000, 500
"""What the fake rails count (Meter.kt)."""
RAILS = ("[VDD_CPU]:CPU", "[VDD_MEM]:DDR", "[VDD_OFF]:GPU")
TESTS = (
    "Json",
    "Frames",
    "Tensor",
    "Preprocess",
    "Postprocess",
    "TextTokens",
    "Stats",
    "Parity",
    "Order",
    "BenchRunner",
)


def plan(accelerator: str = "cpu", idle_s: float = 0.0) -> RunPlan:
    quick = codec.unstructure(plans.load("quick"))
    short = {"warmup_min_s": 0.05, "warmup_max_s": 0.4, "min_runs": 250, "min_seconds": 0.3, "max_seconds": 5.0}
    return codec.structure({**quick, **short, "accelerator": accelerator, "idle_s": idle_s}, RunPlan, what="plan")


def measure(kotlin: Kotlin, jar: Path, app: App, home: Path, *words: str, **changes: Any) -> Finish:
    """Have the app's instrumentation measure a build, by the loop that measures phones."""
    argv = android_ladder.java_argv(kotlin, jar, "instrument", app.package, str(home), *words)
    device = HostDevice(SystemClock(), argv)
    order = {
        "run": "00c0ffee",
        "target": app.target,
        "model": str(app.model),
        "model_sha256": sha256_of(app.model),
        "golden": str(app.golden),
        "plan": plan(),
    }
    watch = Watch(clock=SystemClock(), cancelled=threading.Event(), progress=lambda phase, done: None)
    try:
        return take(device, Job(**{**order, **changes}), LIMITS, watch)
    finally:
        device.cleanup()


@pytest.fixture(autouse=True)
def runtimes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in android_ladder.environment().items():
        monkeypatch.setenv(name, value)


def judged(finish: Finish, golden: Path) -> Session | Failure:
    with np.load(golden) as arrays:
        outputs = {name.removeprefix("out/"): arrays[name] for name in arrays.files if name.startswith("out/")}
    frame = Frame(
        index=0,
        started_utc="2026-11-23T00:00:00Z",
        expected=parity.expect(outputs),
        cooled=Cooled(waited_s=0.0, reached=True, reason="", vitals=Vitals(at_ns=0)),
    )
    return figures(finish, frame)


def check_energy(finish: Finish, got: Session) -> None:
    """Three sessions like this one come to what the fake rails count for an inference, and at rest."""
    phases = [body for body in finish.transcript.bodies(Phase) if body.edge == "begin"]
    used = energy_of([got] * 3)
    assert [phase.name for phase in phases[:2]] == ["idle", "load_cold"]
    assert isinstance(got.power, PowerPair), got.power
    assert got.power.inferences > got.runs
    assert isinstance(used, Energy), used
    assert used.method == "power_monitors"
    assert used.per_inference_uj == pytest.approx(CALL_UJ, rel=0.03)
    assert used.idle_uw == pytest.approx(IDLE_UW, rel=0.2)
    assert {len(sample.rails_uws) for sample in (*got.power.idle, *got.power.load)} == {2}


def check_no_energy(finish: Finish, got: Session) -> None:
    """Rails that answer with what was true half a minute ago are left out, and why there is no energy is said."""
    used = energy_of([got] * 3)
    told = finish.transcript.bodies(Power)
    assert isinstance(used, Unavailable), used
    assert "charge_counter: " in used.reason
    assert len(told) >= 4
    assert not any(power.energy_uws for power in told)
    assert (told[-1].status, told[-1].level_percent, told[-1].voltage_raw) == (3, 80.0, 3900)
    assert (told[-1].current_raw, told[-1].counter_raw) == (-250_000, 3_000_000)
    warned = {warn.code: warn.msg for warn in finish.transcript.bodies(Warn)}
    assert "ACCESS_FINE_POWER_MONITORS" in warned["power_monitors_unused"]


@pytest.mark.parametrize(("flavour", "words"), [("lite", ()), ("ort", ("coarse",))])
def test_the_bench_entry_gives_verified_figures_of_a_real_model(
    kotlin: Kotlin, jar: Path, apps: Apps, flavour: str, words: tuple[str, ...], tmp_path: Path
) -> None:
    app: App = getattr(apps, flavour)
    finish = measure(kotlin, jar, app, tmp_path, *words, plan=plan(idle_s=0.5))
    got = judged(finish, app.golden)
    assert finish.outcome == "COMPLETE", finish
    assert isinstance(got, Session), got
    assert got.parity.ok
    assert got.parity.samples == 3
    assert 0 <= got.parity.max_abs <= got.parity.tolerance
    assert len(got.latency_ns) >= 250
    assert min(got.latency_ns) > 1000
    assert got.load_cold_ns > 0
    assert got.rss_after_load_kb > 0
    assert (got.live_gaps, got.stride) == (0, 1)
    assert 0 < (got.pss_after_load_kb or 0) <= got.rss_after_load_kb * 1.5
    (check_no_energy if words else check_energy)(finish, got)
    assert [env.power_monitors for env in finish.transcript.bodies(Env)] == [RAILS, RAILS]
    assert [heat.headroom for heat in finish.transcript.bodies(Thermal)] == [0.5, 0.5]


@pytest.mark.slow
@pytest.mark.parametrize(("vendor", "words"), [("micro", "µA; it is negative"), ("milli", "mA; it is positive")])
def test_a_battery_s_current_gives_energy_where_nothing_adds_up(
    kotlin: Kotlin, jar: Path, apps: Apps, vendor: str, words: str, tmp_path: Path
) -> None:
    """Neither rails nor a charge counter: twelve seconds of rest and of work, as the plan ``standard`` has them."""
    long = dataclasses.replace(plan(idle_s=12.0), min_seconds=12.0, max_seconds=30.0)
    finish = measure(kotlin, jar, apps.ort, tmp_path, vendor, plan=long)
    got = judged(finish, apps.ort.golden)
    assert isinstance(got, Session), got
    assert isinstance(got.power, PowerPair), got.power
    assert 11 <= len(got.power.load) <= 14
    used = energy_of([got] * 3)
    assert isinstance(used, Energy), used
    assert used.method == "current_voltage"
    assert words in used.scale
    assert used.per_inference_uj == pytest.approx(GAUGED_CALL_UJ, rel=0.2)
    assert used.idle_uw == pytest.approx(IDLE_UW, rel=0.05)


def test_a_build_that_computes_something_else_has_no_figures(
    kotlin: Kotlin, jar: Path, apps: Apps, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.npz"
    with np.load(apps.ort.golden) as arrays:
        changed = {name: arrays[name] + (0.5 if name.startswith("out/") else 0) for name in arrays.files}
    np.savez(wrong, **{name: values.astype(np.float32) for name, values in changed.items()})
    got = judged(measure(kotlin, jar, apps.ort, tmp_path, golden=str(wrong)), wrong)
    assert isinstance(got, Failure)
    assert "off by up to" in got.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_sha256": "0" * 64}, "sha256"),
        ({"model": "/nowhere/at.all"}, "there is no at.all"),
        ({"target": "tflite"}, "executes onnx, not tflite"),
        ({"plan": plan("npu")}, "not 'npu'"),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_measured_is_a_failure_in_words(
    kotlin: Kotlin, jar: Path, apps: Apps, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    got = judged(measure(kotlin, jar, apps.ort, tmp_path, **changes), apps.ort.golden)
    assert isinstance(got, Failure)
    assert words in got.message


def test_an_order_that_makes_no_sense_ends_the_instrumentation_in_words(
    kotlin: Kotlin, jar: Path, apps: Apps, tmp_path: Path
) -> None:
    text = android_ladder.run_java(kotlin, jar, "instrument", apps.ort.package, str(tmp_path), "--palmtop=%%%")
    _, end = instrument.read_run(text)
    assert end.kind == "failed"
    assert "bad_args" in end.message


PREPROCESSINGS = (
    Preprocess(resize=(7, 5)),
    Preprocess(resize=(40, 64), colour="gray", scale=1 / 255),
    Preprocess(resize=(23, 19), crop=(16, 16), colour="bgr", scale=1 / 127.5, mean=(1.0,), std=(1.0,), layout="nchw"),
    Preprocess(crop=(9, 10), scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    Preprocess(resize=(1, 1)),
    Preprocess(resize=(31, 200), mean=(127.5,)),
)
CORE_TESTS = tuple(f"org.palmtop.core.{name}Test" for name in TESTS)
TRANSCRIPTS = ("complete", "interleaved", "reordered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one JVM printed for many commands, by their names, and what preprocessing had to make of the pictures."""

    printed: dict[str, str]
    tensors: tuple[np.ndarray, ...]

    def lines(self, name: str) -> list[str]:
        return self.printed[name].splitlines()


@pytest.fixture(scope="module")
def told(kotlin: Kotlin, jar: Path, apps: Apps, tmp_path_factory: pytest.TempPathFactory) -> Told:
    folder = tmp_path_factory.mktemp("told")
    picture = folder / "picture.png"
    Image.fromarray(np.random.default_rng(3).integers(0, 256, (31, 47, 3), np.uint8)).save(picture)
    tensors = write_pictures(folder / "pictures.jsonl", apps.lite)
    commands = {
        "core": ("junit", str(apps.lite.assets), *CORE_TESTS),
        "broken": ("junit", str(broken_assets(apps.ort, folder / "broken")), *own_tests(apps.ort)),
        "pictures": ("pictures", str(folder / "pictures.jsonl")),
        "texts": ("texts", "hostile.Texts"),
        "tflite": ("tflite", str(apps.lite.model)),
        "damaged": ("damaged", str(apps.lite.model)),
        "conformance": ("conformance", str(WIRE / "conformance.json")),
        **{name: ("frames", str(WIRE / f"{name}.txt")) for name in TRANSCRIPTS},
        **{f"tests {app.target}": ("junit", str(app.assets), *own_tests(app)) for app in apps},
        **{f"demo {app.target}": ("demo", app.package, str(folder), str(app.assets), str(picture)) for app in apps},
    }
    return Told(printed=android_ladder.run_batch(kotlin, jar, commands, folder), tensors=tensors)


def own_tests(app: App) -> tuple[str, str]:
    return (f"{app.package}.AssetsTest", f"{app.package}.GoldenParityTest")


def broken_assets(app: App, folder: Path) -> Path:
    """Copy an app's assets with another order of colours declared, as if somebody had changed the preprocessing."""
    folder.mkdir()
    for path in app.assets.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert model["preprocess"]["colour"] == "bgr"
    model["preprocess"]["colour"] = "rgb"
    (folder / "model.json").write_text(json.dumps(model))
    return folder


def write_pictures(path: Path, app: App) -> tuple[np.ndarray, ...]:
    """Write pictures with the preprocessing to do, and return what data sets make of them."""
    model = json.loads((app.assets / "model.json").read_text(encoding="utf-8"))
    rng = np.random.default_rng(11)
    lines, wanted = [], []
    for height, width in ((31, 47), (12, 12), (9, 200), (90, 33)):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        for declared in PREPROCESSINGS:
            wanted.append(expected(pixels, declared))
            port = {**model["inputs"][0], "shape": list(wanted[-1].shape), "layout": declared.layout}
            fields = {**model["preprocess"], **codec.unstructure(declared)}
            picture = base64.b64encode(pixels.tobytes()).decode()
            changed = {**model, "preprocess": fields, "inputs": [port]}
            lines.append(json.dumps({"model": changed, "width": width, "height": height, "pixels": picture}))
    path.write_text("\n".join(lines))
    return tuple(wanted)


def expected(pixels: np.ndarray, declared: Preprocess) -> np.ndarray:
    """What data sets make of a picture: Pillow, then the arithmetic that every part of palmtop shares."""
    image = Image.fromarray(pixels).convert("L" if declared.colour == "gray" else "RGB")
    if declared.resize:
        image = image.resize(declared.resize[::-1], Image.Resampling.BILINEAR)
    if declared.crop:
        image = image.crop(central_box(image.height, image.width, declared.crop))
    array = np.asarray(image).reshape(1, image.height, image.width, -1)
    array = array[..., ::-1] if declared.colour == "bgr" else array
    return apply(array, declared, turned=declared.layout == "nchw")


def test_the_apps_own_tests_pass(told: Told, apps: Apps) -> None:
    """The unit tests of the module, and for each flavour those of its assets and of parity on a device."""
    found = sorted(path.stem for path in (apps.lite.root / "core/src/test").rglob("*Test.kt"))
    assert found == sorted(f"{name}Test" for name in TESTS)
    lines = [line for name in ("core", "tests tflite", "tests onnx") for line in told.lines(name)]
    assert len(lines) > 45
    assert [line for line in lines if not line.endswith(" pass")] == []


def test_a_changed_preprocessing_is_found_by_the_apps_own_tests(told: Told) -> None:
    failed = {line.split(" ")[0] for line in told.lines("broken") if " FAIL " in line}
    preprocessing, whole = "preprocessingMakesWhatTheBuildWasGiven", "theAppComputesWhatTheBuildComputes"
    assert failed == {f"AssetsTest.{preprocessing}", f"GoldenParityTest.{whole}"}


def test_the_screen_shows_what_the_model_says(told: Told, apps: Apps) -> None:
    for app in apps:
        shown = dict(line.split(" ", 1) for line in told.lines(f"demo {app.target}"))
        assert "check=Check(samples=3, faults=[], " in shown["check"]
        assert any(f"label={label}" in shown["picture"] for label in LABELS)
        assert "problem=null" in shown["picture"]
        assert "latencyNs=" in shown["sample"]
        assert "problem=Picture" in shown["missing"]


def test_pictures_become_the_very_same_numbers_as_in_calibration(told: Told) -> None:
    answers = [json.loads(line) for line in told.lines("pictures")]
    assert [tuple(answer["shape"]) for answer in answers] == [tensor.shape for tensor in told.tensors]
    for answer, tensor in zip(answers, told.tensors, strict=True):
        values = np.frombuffer(base64.b64decode(answer["bytes"]), np.float32)
        np.testing.assert_array_equal(values.reshape(tensor.shape), tensor)


def test_hostile_texts_survive_the_compiler(told: Told) -> None:
    assert json.loads(told.printed["texts"]) == list(HOSTILE)


def test_the_reader_of_tflite_files_agrees_with_the_runtime(told: Told) -> None:
    assert json.loads(told.printed["tflite"]) == {
        "inputs": [["image", "float32", [1, 12, 12, 3], None, None]],
        "outputs": [["scores", "float32", [1, 5], None, None]],
    }


def test_damaged_tflite_files_are_refused_in_words_or_harmless(told: Told) -> None:
    assert 100 < int(told.printed["damaged"]) <= 400


def test_the_conformance_corpus_holds_in_kotlin(told: Told) -> None:
    corpus = json.loads((WIRE / "conformance.json").read_text(encoding="ascii"))
    answers = json.loads(told.printed["conformance"])
    assert answers["frames"] == [case["frames"] for case in corpus["frames"]]
    assert answers["strings"] == [case["json"] for case in corpus["strings"]]
    assert all(map(is_number, answers["numbers"], corpus["numbers"]))
    for got, case in zip(answers["series"], corpus["series"], strict=True):
        assert got["samples"] == case["samples"]
        assert got["result"] == {**case["result"], "mean": pytest.approx(case["result"]["mean"], rel=1e-12)}
    assert answers["hashes"] == [{"sha256": case["sha256"], "crc32": case["crc32"]} for case in corpus["hashes"]]
    for got, case in zip(answers["orders"], corpus["orders"], strict=True):
        assert got == (case["order"] and {"golden": None, **case["order"]}), case["name"]
    for got, case in zip(answers["lines"], corpus["lines"], strict=True):
        assert got == [list(chunk.values()) for chunk in case["chunks"]], case["name"]


def is_number(text: str, case: dict[str, str]) -> bool:
    value = struct.unpack(">d", bytes.fromhex(case["bits"]))[0]
    if not math.isfinite(value):
        return text == case["text"]
    return struct.pack(">d", json.loads(text)).hex() == case["bits"]


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_transcripts_are_read_and_written_as_python_does(told: Told, name: str) -> None:
    texts = (WIRE / "complete.jsonl").read_text(encoding="ascii").splitlines()
    found = {seq: (text, again) for run, seq, text, again in map(json.loads, told.lines(name)) if run == "5eed0001"}
    assert len(found) == (25 if name == "interleaved" else 26)
    assert all(text == again == texts[seq] for seq, (text, again) in found.items())


@pytest.mark.slow
def test_the_screens_keep_the_rules_of_compose(kotlin: Kotlin, jar: Path, apps: Apps, tmp_path: Path) -> None:
    """Compose's plugin checks who may call what before it asks for its runtime, which is not to be had here."""
    sources = sorted((apps.ort.root / "app/src/main/kotlin/com/example/ort/ui").glob("*.kt"))
    sources.append(apps.ort.root / "app/src/main/kotlin/com/example/ort/MainActivity.kt")
    fine = android_ladder.compile_into(kotlin, sources, tmp_path / "fine.jar", against=jar)
    assert "requires the Compose Runtime" in fine.stderr
    assert "error:" not in fine.stderr
    wrong = tmp_path / "Wrong.kt"
    wrong.write_text('package wrong\n\nfun f() = androidx.compose.material3.Text("x")\n')
    refused = android_ladder.compile_into(kotlin, [*sources, wrong], tmp_path / "wrong.jar", against=jar)
    assert "@Composable invocations can only happen from the context" in refused.stderr
