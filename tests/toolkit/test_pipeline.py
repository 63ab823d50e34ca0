"""The pipeline from end to end: with a third party's toy source and runtimes for speed, and with the real ones."""

from __future__ import annotations

import dataclasses
import json
import signal
import subprocess  # noqa: TID251  (whole palmtop processes are what is tested)
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest

from toolkit import pipeline
from toolkit.core import discovery, manifest, store
from toolkit.core.artifacts import Preprocess
from toolkit.core.errors import DataError, ModelError, OutputError, SettingsError
from toolkit.core.store import Store
from toolkit.stages import packager
from toolkit.stages.requests import QuantizeRequest, VerifyRequest

RECIPES = ("float32", "static-int8", "weight-int8")


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tools(tools, shared_cache):
    """Tools whose cache the tests share: what counts work or fails has a model of its own."""
    return dataclasses.replace(tools, store=Store(shared_cache))


@pytest.fixture
def heard(tools):
    """Tools whose events are kept, and the list they are kept in."""
    events = []
    return dataclasses.replace(tools, emit=events.append), events


def left_behind(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_the_steps_read_like_a_table_of_contents():
    assert pipeline.IMPORT.names + pipeline.BUILD.names == ("import", "convert", "calibrate", "quantize", "package")
    assert pipeline.VERIFY.names == ("open", "examine", "trace", "judge", "store")


def test_quantize_writes_every_build_and_build_json(request_for, toy_model, heard):
    tools, events = heard
    request = request_for(toy_model(padding="told"), preprocess=Preprocess(scale=0.5))
    made = pipeline.quantize(request, tools)
    assert made == manifest.read(request.out)
    assert [build.id for build in made.builds] == [
        f"{target}-{recipe}" for target in request.targets for recipe in RECIPES
    ]
    for build in made.builds:
        assert store.sha256_of(request.out / build.path) == build.sha256
        assert store.size_of(request.out / build.path) == build.size_bytes
    static = next(build for build in made.builds if build.id == "toy-static-int8")
    assert static.signature.inputs[0].source_name == "x"
    assert static.kept_float[0].layer == "bias"
    assert static.requirements.runtime == "Toy"
    assert made.preprocess == request.preprocess
    assert made.calibration is not None
    assert (made.calibration.samples, made.calibration.method, made.calibration.format) == (40, "mse", "npz")
    assert {"palmtop", "python", "platform", "numpy", "toy"} == {tool.name for tool in made.toolchain}
    assert left_behind(request.out.parent) == []
    by_subject = {}
    for event in events:
        by_subject.setdefault(event.subject, []).append(event.phase)
    assert list(dict.fromkeys(by_subject["toy/static-int8"])) == ["import", "convert", "calibrate", "quantize", "done"]
    assert by_subject["toy/weight-int8"][-1] == "done"
    counted = [event for event in events if event.subject == "toy/static-int8" and event.total]
    assert (counted[-1].done, counted[-1].total) == (40, 40)
    ranges = json.loads((request.out / "toy-static-int8.toyq").read_text())["ranges"]
    with np.load(request.data) as arrays:
        seen = arrays["x"] * np.float32(0.5)
    assert ranges["toy:x"] == [float(seen.min()), float(seen.max())], "of the preprocessed data, in the target's names"


def test_conversion_and_calibration_are_shared_and_a_second_run_starts_no_process(request_for, toy_model, tools):
    calls = []

    def counted(argv, **options):
        calls.append(json.loads(options["stdin"])["call"].rpartition(":")[2])
        return tools.run(argv, **options)

    counting = dataclasses.replace(tools, run=counted)
    request = request_for(toy_model(padding="counted"))
    first = pipeline.quantize(request, counting)
    of_each_target = ["convert", "calibrate", "deflated_size_of", "quantize", "quantize"]
    assert sorted(calls) == sorted(["read_and_export", "scan", *of_each_target, *of_each_target])
    calls.clear()
    assert pipeline.quantize(request, counting) == first
    elsewhere = dataclasses.replace(request, out=request.out.with_name("elsewhere"))
    assert pipeline.quantize(elsewhere, counting).builds == first.builds
    assert calls == []


def test_equal_inputs_are_served_without_a_heavy_import_or_a_child(request_for, tools, monkeypatch, toy):
    request = request_for(targets=("toy",), recipes=("static-int8",))
    monkeypatch.setenv("PALMTOP_CACHE", str(tools.store.root))
    pipeline.quantize(request, tools)
    code = f"""
import sys
from pathlib import Path
from toolkit import pipeline
from toolkit.core.tools import system_tools
from toolkit.stages.requests import QuantizeRequest
started = []
sys.addaudithook(lambda event, given: started.append(given[1]) if event == "subprocess.Popen" else None)
for out in ({str(request.out)!r}, {str(toy / "elsewhere")!r}):
    pipeline.quantize(QuantizeRequest(model=Path({str(request.model)!r}), out=Path(out), data={request.data!r},
                      targets={request.targets!r}, recipes={request.recipes!r}), system_tools())
assert not [argv for argv in started if "toolkit.core.isolation" in argv]
assert not {{"tensorflow", "keras", "onnx", "onnxruntime", "coremltools", "scipy"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize(
    ("step", "what", "words"),
    [
        ("convert", "crash", "crashed with signal SIGSEGV"),
        pytest.param("convert", "killed", "was killed", marks=pytest.mark.slow),
        pytest.param("convert", "refuse", "The operator Linear cannot be handled in convert", marks=pytest.mark.slow),
        ("quantize", "raise", "ZeroDivisionError: a toolchain's own error"),
    ],
)
def test_a_build_that_fails_leaves_the_others(request_for, toy_model, heard, step, what, words):
    tools, events = heard
    request = request_for(toy_model(fragile={step: what}), recipes=("float32", "weight-int8"))
    made = pipeline.quantize(request, tools)
    assert {build.target for build in made.builds} == ({"toy"} if step == "convert" else {"toy", "fragile"})
    assert all(words in gone.error for gone in made.failed)
    assert len(made.failed) == (2 if step == "convert" else 1)
    for gone in made.failed:
        assert (gone.log != "") == (what != "refuse")
        assert not gone.log or Path(gone.log).is_file()
    assert [event.phase for event in events if event.subject == "fragile/weight-int8"][-1] == "failed"


def test_failed_calibration_loses_only_the_builds_that_need_it(request_for, toy_model, tools):
    request = request_for(toy_model(fragile={"calibrate": "crash"}), recipes=("static-int8", "weight-int8"))
    made = pipeline.quantize(request, tools)
    assert [gone.recipe for gone in made.failed] == ["static-int8"]
    assert "fragile-weight-int8" in {build.id for build in made.builds}


def test_a_crash_while_care_is_taken_costs_the_care_and_not_the_build(toy_model, request_for, heard) -> None:
    tools, events = heard
    request = request_for(toy_model(fragile={"care": "crash"}), recipes=("static-int8",))
    made = pipeline.quantize(request, tools)
    found = {build.target: build for build in made.builds}
    assert not made.failed
    (step,) = found["fragile"].care
    assert not step.kept
    assert "SIGSEGV" in step.reason
    assert step.reason.endswith("built without any")
    assert found["fragile"].size_bytes > 0
    assert any("No accuracy care: " in event.message for event in events if event.message)


def test_nothing_built_is_an_error_with_every_reason(request_for, toy_model, tools):
    request = request_for(toy_model(faults={"convert": "refuse"}, fragile={"convert": "crash"}))
    with pytest.raises(ModelError) as caught:
        pipeline.quantize(request, tools)
    for words in ("float32 on toy", "cannot be handled", "weight-int8 on fragile", "SIGSEGV", ".log"):
        assert words in str(caught.value)
    assert not request.out.exists()
    assert left_behind(request.out.parent) == []


@pytest.mark.parametrize(("what", "words"), [("refuse", "cannot be handled in export"), ("crash", "SIGSEGV")])
def test_a_model_that_cannot_be_exported_is_read_and_every_build_says_why(request_for, toy_model, tools, what, words):
    request = request_for(toy_model(faults={"export": what}), recipes=("weight-int8",))
    with pytest.raises(ModelError) as caught:
        pipeline.quantize(request, tools)
    assert all(part in str(caught.value) for part in (words, "weight-int8 on toy", "weight-int8 on fragile"))
    assert left_behind(request.out.parent) == []


def test_failed_builds_are_tried_again_into_the_same_folder(request_for, toy_model, tools, toy, monkeypatch):
    """A child that was killed from outside is made up for, and what was verified stays."""

    def killing(argv, **options):
        if '"fragile"' in options["stdin"] and ":convert" in options["stdin"]:
            return tools.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], **options)
        return tools.run(argv, **options)

    request = request_for(toy_model(padding="killed"), recipes=("weight-int8",))
    broken = pipeline.quantize(request, dataclasses.replace(tools, run=killing))
    assert len(broken.failed) == 1
    pipeline.verify(VerifyRequest(folder=request.out), tools)
    whole = pipeline.quantize(request, tools)
    assert whole.failed == ()
    assert [(build.target, build.verdict is not None) for build in whole.builds] == [("toy", True), ("fragile", False)]
    assert whole == manifest.read(request.out)


def test_a_build_that_is_there_stays_when_it_cannot_be_made_again(request_for, toy_model, tools, toy):
    """Two targets fail in turn, as on a machine that runs out of memory now and then; the cache is not shared."""

    def killing(target):
        def run(argv, **options):
            if f'"{target}"' in options["stdin"] and ":convert" in options["stdin"]:
                return tools.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], **options)
            return tools.run(argv, **options)

        return dataclasses.replace(tools, run=run, store=Store(toy / f"cache without {target}"))

    request = request_for(toy_model(padding="in turn"), recipes=("static-int8",))
    first = pipeline.quantize(request, killing("fragile"))
    assert [build.target for build in first.builds] == ["toy"]
    whole = pipeline.quantize(request, killing("toy"))
    assert [build.target for build in whole.builds] == ["toy", "fragile"]
    assert (whole.builds[:1], whole.failed) == (first.builds, ())
    assert whole.calibration is not None
    assert first.calibration is not None
    assert whole.calibration.report is not None
    assert set(whole.calibration.report.targets) == {"toy", "fragile"}, "and what calibration noticed is joined"
    assert dataclasses.replace(whole.calibration, report=first.calibration.report) == first.calibration
    assert all(packager.is_intact(request.out, build) for build in whole.builds)
    assert whole == manifest.read(request.out)


def test_what_no_target_expresses_is_said(request_for, tools, toy):
    (toy / "tiny.toml").write_text('summary = "x"\nweight_bits = 4\nactivation_bits = 32\nactivation_mode = "none"\n')
    made = pipeline.quantize(request_for(recipes=("weight-int8", str(toy / "tiny.toml"))), tools)
    assert [(one.target, one.recipe) for one in made.not_expressible] == [("toy", "tiny"), ("fragile", "tiny")]
    with pytest.raises(SettingsError, match="4-bit weights"):
        pipeline.quantize(request_for(out=toy / "other", recipes=(str(toy / "tiny.toml"),)), tools)


def test_a_target_without_a_common_form_is_said(request_for, tools):
    made = pipeline.quantize(request_for(targets=("toy", "onnx"), recipes=("weight-int8",)), tools)
    assert made.not_expressible[0].reason == "it does not convert from toy models"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"targets": ("toi",)}, SettingsError, "Did you mean 'toy'"),
        ({"recipes": ("static-int9",)}, SettingsError, "Did you mean 'static-int8'"),
        ({"data": None}, DataError, "learns activation ranges from data, and none is given"),
        ({"data": "nowhere"}, DataError, "not a data set that palmtop knows"),
        ({"data": "nowhere.npz"}, DataError, "no data file"),
        ({"preprocess": Preprocess(scale=0)}, SettingsError, "scale"),
        ({"model": Path("gone.toy")}, ModelError, "no model gone.toy"),
    ],
)
def test_bad_requests_end_before_any_work(request_for, tools, changes, error, words):
    request = request_for(**changes)
    with pytest.raises(error, match=words):
        pipeline.quantize(request, tools)
    assert not request.out.exists()


def test_data_is_not_needed_without_a_recipe_that_needs_it(request_for, tools):
    made = pipeline.quantize(request_for(data=None, recipes=("float32", "weight-int8")), tools)
    assert made.calibration is None


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m.bin", b"\x89BIN", r"No model format ends in '.bin'.*\.keras.*\.onnx.*\.toy"),
        ("m.h5", b"\x89HDF\r\n\x1a\n", "damaged HDF5 file"),
        ("m.toy", b"", "is not a model for toy: it is empty"),
        ("m.toy", b"nonsense", "does not begin with a brace"),
        ("m.toy", b"{ truncated", "Cannot read"),
        ("m.txt", b'{"in": [6]}', "It looks like a model for toy: rename it"),
        ("m.keras", b'{"in": [6]}', "It looks like a model for toy"),
        ("m.toy", b'{"in": [], "bias": []}', "has no input"),
    ],
)
def test_what_is_no_model_is_explained(request_for, tools, toy, name, content, words):
    (toy / name).write_bytes(content)
    with pytest.raises(ModelError, match=words):
        pipeline.quantize(request_for(toy / name), tools)


def test_nan_in_the_data_ends_the_run_before_conversion(request_for, tools, toy_data, heard):
    x = np.zeros((4, 6), np.float32)
    x[2, 1] = np.nan
    loud, events = heard
    with pytest.raises(DataError, match=r"'x' holds NaN in sample .*bad.npz\[2\]"):
        pipeline.quantize(request_for(data=str(toy_data("bad.npz", x=x, labels=None))), loud)
    assert events == []


def test_a_folder_with_something_else_is_never_touched(request_for, tools, toy_data):
    request = request_for()
    request.out.mkdir()
    (request.out / "precious.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        pipeline.quantize(request, tools)
    (request.out / "precious.txt").rename(request.out.parent / "precious.txt")
    pipeline.quantize(request, tools)
    before = store.sha256_of(request.out)
    with pytest.raises(OutputError, match="builds of another model, data, setting"):
        pipeline.quantize(dataclasses.replace(request, samples=7), tools)
    assert store.sha256_of(request.out) == before
    (request.out / "toy-float32.toyq").write_text("tampered")
    with pytest.raises(OutputError, match=r"toy-float32.toyq is missing or was changed"):
        pipeline.quantize(request, tools)


@pytest.mark.parametrize("place", ["file", "under a file", "/proc/palmtop"])
def test_places_that_cannot_be_written_are_refused_early(request_for, heard, toy, place):
    tools, events = heard
    (toy / "file").touch()
    out = {"file": toy / "file", "under a file": toy / "file" / "out"}.get(place, Path(place))
    with pytest.raises(OutputError):
        pipeline.quantize(request_for(out=out), tools)
    assert events == []


def test_too_little_room_is_said_early(request_for, toy_model, tools):
    """A sparse file stands for a model larger than any disk."""
    huge = toy_model("huge.toy")
    with huge.open("r+b") as file:
        file.truncate(1 << 43)
    with pytest.raises(OutputError, match=r"Only .* MB are free"):
        pipeline.quantize(request_for(huge), tools)


FULL = """
import resource, sys
from pathlib import Path
from toolkit import pipeline
from toolkit.core.errors import OutputError
from toolkit.core.tools import system_tools
from toolkit.stages.requests import QuantizeRequest
model, out, data = map(Path, sys.argv[1:])
request = QuantizeRequest(model=model, out=out, data=str(data), targets=("toy",), recipes=("float32", "weight-int8"))
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
try:
    pipeline.quantize(request, system_tools())
except OutputError as error:
    sys.exit(f"OutputError: {error}")
"""


def test_a_disk_that_fills_up_leaves_nothing_half_written(request_for, toy_model, tools, monkeypatch):
    """A limit on file sizes stands for the full disk; the system answers writes beyond it with an error, too."""
    monkeypatch.setenv("PALMTOP_CACHE", str(tools.store.root))
    request = request_for(toy_model(padding="x" * 60_000))
    argv = [sys.executable, "-c", FULL, request.model, request.out, request.data]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.stderr.startswith("OutputError: Cannot write to"), done.stderr
    assert not request.out.exists()
    assert left_behind(request.out.parent) == []


INTERRUPTED = """
import sys
from pathlib import Path
from toolkit import pipeline
from toolkit.core.tools import system_tools
from toolkit.stages.requests import QuantizeRequest
model, out, data = map(Path, sys.argv[1:])
request = QuantizeRequest(model=model, out=out, data=str(data), targets=("toy", "fragile"), recipes=("weight-int8",))
print("go", flush=True)
pipeline.quantize(request, system_tools(lambda event: print(event.subject, event.phase, flush=True)))
"""


def test_an_interrupt_ends_the_children_and_the_next_run_goes_on(request_for, toy_model, tools, monkeypatch):
    monkeypatch.setenv("PALMTOP_CACHE", str(tools.store.root))
    request = request_for(toy_model(fragile={"quantize": "hang"}), recipes=("weight-int8",))
    argv = [sys.executable, "-c", INTERRUPTED, str(request.model), str(request.out), request.data]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as parent:
        assert parent.stdout is not None
        killer = threading.Timer(60, parent.kill)
        killer.start()
        begun = {"toy/weight-int8 quantize", "fragile/weight-int8 quantize"}  # both are converted by then
        for line in parent.stdout:
            begun.discard(line.strip())
            if not begun:
                break
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.send_signal(signal.SIGINT)
        assert parent.wait(timeout=30) != 0
        killer.cancel()
    assert psutil.wait_procs(children, timeout=5)[1] == []
    assert not request.out.exists()
    assert left_behind(request.out.parent) == []
    calls = []

    def counted(argv, **options):
        calls.append(options["stdin"])
        return tools.run(argv, **options)

    pipeline.quantize(dataclasses.replace(request, targets=("toy",)), dataclasses.replace(tools, run=counted))
    assert not [call for call in calls if ":convert" in call or ":export" in call]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["keras", "onnx"])
def test_the_real_sources_and_targets(model, keras_model, onnx_model, shapes_npz, noise_npz, tools, tmp_path):
    """Every target of the room from each real source: built, close to the float model, executable by `predict`."""
    path, data = {"keras": (keras_model, shapes_npz), "onnx": (onnx_model, noise_npz)}[model]
    targets = tuple(name for name in discovery.names("toolkit.targets") if name in ("tflite", "onnx", "coreml"))
    out = tmp_path / "out"
    request = QuantizeRequest(model=path, out=out, data=str(data), targets=targets, recipes=RECIPES)
    made = pipeline.quantize(request, tools)
    assert made.failed == ()
    assert {build.target for build in made.builds} == set(targets)
    verified = pipeline.verify(VerifyRequest(folder=out), tools)
    for build in verified.builds:
        worst = min(error.sqnr_db for error in build.tensor_errors.values())
        assert worst > (90 if build.recipe == "float32" else 20), build.id
        assert (build.score is not None) == (model == "keras")
        assert build.golden is not None
        with np.load(out / build.golden) as golden:
            feeds = {key.removeprefix("in/"): golden[key] for key in golden.files if key.startswith("in/")}
            expected = {key.removeprefix("out/"): golden[key] for key in golden.files if key.startswith("out/")}
        np.savez(tmp_path / "in.npz", **{name: values.reshape(-1, *values.shape[2:]) for name, values in feeds.items()})
        pipeline.predict(out / build.path, tmp_path / "in.npz", tmp_path / "out.npz", tools)
        with np.load(tmp_path / "out.npz") as answers:
            for name, values in expected.items():
                assert np.allclose(answers[name], values.reshape(-1, *values.shape[2:]), atol=1e-5)
    again = pipeline.quantize(dataclasses.replace(request, out=tmp_path / "again"), _without_children(tools))
    assert [build.sha256 for build in again.builds] == [build.sha256 for build in made.builds]


def _without_children(tools):
    def refused(argv, **options):
        raise AssertionError(f"equal inputs started {argv}")

    return dataclasses.replace(tools, run=refused)
