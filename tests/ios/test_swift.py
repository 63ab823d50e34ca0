"""The generated Swift through the real compiler: BenchCore built, tested and run, the app checked against stubs."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ios_apps import NAME, App
from swift_toolchain import Toolchain

from mobile_harness import parity, stats
from mobile_harness.wire import transcript
from mobile_harness.wire.messages import Bye, Error, Hello, ParityReading, Phase, Place, Result, Samples, Warn
from mobile_harness.wire.transcript import Collector, Transcript
from toolkit.apps.sinks import swift as swift_literal
from toolkit.core import store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

STUBS = Path(__file__).parent / "stubs"
CORPUS = Path(__file__).parent.parent / "samples" / "wire"
MODULES = ("UIKit", "AVFoundation", "CoreML", "OnnxRuntimeBindings", "SwiftUI", "PhotosUI")
RUN = "0badcafe"
WORDS = (
    "",
    "a",
    '"',
    "\\",
    "\\(x)",
    "#",
    "$x",
    "]]>",
    "é",
    "e\u0301",
    "😀",
    "\u202e",
    "\x00",
    "\x7f",
    "\n",
    "\r\n",
    "\t",
)
MORE_WORDS = ("'", '"""', "%@", "*/", "//", "\u2028", "\ufeff", "\U0010ffff")
HOSTILE = [
    text
    for word in (*WORDS, *MORE_WORDS)
    for text in (word, f"{word}{word}", f" {word} ", f"{word}{NAME}", "x" * 300 + word)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A generated project in a folder that the toolchain may write to, BenchCore built in it."""

    folder: Path
    product: str
    tested: str


@pytest.fixture(scope="module")
def package(apps: tuple[App, App], swift: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Package]:
    """BenchCore of the app with ONNX Runtime, built and tested once."""
    folder = tmp_path_factory.mktemp("swift")
    shutil.copytree(apps[1].root, folder / "app")
    shutil.copytree(CORPUS, folder / "corpus")
    corpus, model = (swift.seen(folder, name) for name in ("corpus", f"app/{apps[1].product}/Model"))
    variables = [f"PALMTOP_WIRE_CORPUS={corpus}", f"PALMTOP_MODEL={model}"]
    argv = ["env", *variables, "swift", "test", "--package-path", "app/Packages/BenchCore", "--scratch-path", "scratch"]
    done = swift.run(folder, argv)
    said = f"{done.stdout}\n{done.stderr}"
    assert done.code == 0, said[-6000:]
    yield Package(folder=folder, product=apps[1].product, tested=said)
    shutil.rmtree(folder / "scratch", ignore_errors=True)


def test_benchcore_passes_its_own_tests_on_the_corpus_and_the_apps_goldens(package: Package) -> None:
    assert "warning:" not in package.tested
    for suite in ("ConformanceTests", "ConformanceCaseTests", "AppModelTests", "PreprocessTests", "SessionTests"):
        assert f"Suite {suite} passed" in package.tested, package.tested[-3000:]


def test_a_wrong_preprocessing_golden_fails_the_apps_own_tests(package: Package, swift: Toolchain) -> None:
    wrong = package.folder / "wrong"
    shutil.copytree(package.folder / "app" / package.product / "Model", wrong)
    raw = bytearray((wrong / "preprocess.bin").read_bytes())
    raw[-40:] = bytes(40)
    (wrong / "preprocess.bin").write_bytes(raw)
    plain = json.loads((wrong / "model.json").read_text(encoding="utf-8"))
    plain["preprocess_golden"]["sha256"] = store.sha256_of(wrong / "preprocess.bin")
    (wrong / "model.json").write_text(json.dumps(plain), encoding="utf-8")
    variable = f"PALMTOP_MODEL={swift.seen(package.folder, 'wrong')}"
    argv = ["env", variable, "swift", "test", "--skip-build", "--package-path", "app/Packages/BenchCore"]
    done = swift.run(package.folder, [*argv, "--scratch-path", "scratch", "--filter", "AppModelTests"])
    assert done.code != 0
    assert "preprocessingMakesOfThePictureWhatTheBuildWasVerifiedWith() failed" in f"{done.stdout}{done.stderr}"


def _emit_modules(package: Package, swift: Toolchain) -> None:
    (package.folder / "modules").mkdir(exist_ok=True)
    shutil.copytree(STUBS, package.folder / "stubs", dirs_exist_ok=True)
    sources = {name: [f"stubs/{name}.swift"] for name in MODULES}
    core = package.folder / "app" / "Packages" / "BenchCore" / "Sources" / "BenchCore"
    sources["BenchCore"] = [path.relative_to(package.folder).as_posix() for path in sorted(core.iterdir())]
    for name, files in sources.items():
        argv = ["swiftc", "-swift-version", "6", "-emit-module", "-module-name", name, "-I", "modules"]
        done = swift.run(package.folder, [*argv, "-o", f"modules/{name}.swiftmodule", *files])
        assert done.code == 0, done.tail(40)


def _checked(package: Package, swift: Toolchain, files: list[str]) -> Any:
    argv = ["swiftc", "-typecheck", "-swift-version", "6", "-module-name", "DemoApp", "-I", "modules"]
    return swift.run(package.folder, [*argv, "-parse-as-library", "stubs/Darwin.swift", *files])


def test_the_app_compiles_against_the_signatures_of_apples_frameworks(package: Package, swift: Toolchain) -> None:
    _emit_modules(package, swift)
    root = package.folder / "app" / package.product
    files = [path.relative_to(package.folder).as_posix() for path in sorted(root.rglob("*.swift"))]
    good = _checked(package, swift, files)
    assert good.code == 0, good.tail(60)
    assert "warning:" not in good.stderr, good.tail(60)
    engine = root / "Engine" / "CoreMLEngine.swift"
    engine.write_text(engine.read_text(encoding="utf-8").replace(".cpuAndNeuralEngine", ".neuralEngineOnly"))
    bad = _checked(package, swift, files)
    assert bad.code != 0
    assert "has no member 'neuralEngineOnly'" in f"{bad.stdout}{bad.stderr}"


def test_hostile_texts_come_through_the_compiler_as_they_were(package: Package, swift: Toolchain) -> None:
    literals = "".join(f"    {swift_literal(text)},\n" for text in HOSTILE)
    shown = 'for text in texts { print(text.utf16.map(String.init).joined(separator: " ")) }'
    code = f"let texts: [String] = [\n{literals}]\n{shown}\n"
    (package.folder / "hostile.swift").write_text(code, encoding="utf-8")
    done = swift.run(package.folder, ["swiftc", "-swift-version", "6", "-o", "hostile", "hostile.swift"])
    assert done.code == 0, done.tail(40)
    lines = swift.run(package.folder, ["./hostile"]).stdout.split("\n")[: len(HOSTILE)]
    units = [b"".join(int(unit).to_bytes(2, "little") for unit in line.split()) for line in lines]
    assert [raw.decode("utf-16-le") for raw in units] == HOSTILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """A small convolutional net for the reference engine, and the same in NumPy."""

    kernel: np.ndarray
    bias: np.ndarray
    weights: np.ndarray
    offset: np.ndarray

    def write(self, path: Path) -> None:
        layers = [
            {"kind": "conv", "stride": 2, **_layer(self.kernel, self.bias)},
            {"kind": "relu"},
            {"kind": "mean"},
            {"kind": "dense", **_layer(self.weights, self.offset)},
            {"kind": "softmax"},
        ]
        plain = {"input": {"name": "image", "shape": [1, 12, 12, 3]}, "output": "scores", "layers": layers}
        path.write_text(json.dumps(plain), encoding="utf-8")

    def run(self, image: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(image[0], (3, 3, 3))[::2, ::2, 0].astype(np.float64)
        found = np.einsum("hwijc,ijcf->hwf", windows, self.kernel.astype(np.float64)) + self.bias
        logits = np.maximum(found, 0).mean(axis=(0, 1)) @ self.weights + self.offset
        shares = np.exp(logits - logits.max())
        return (shares / shares.sum()).astype(np.float32)[None]


def _layer(weights: np.ndarray, bias: np.ndarray) -> dict[str, list[float]]:
    return {"shape": list(weights.shape), "weights": weights.ravel().tolist(), "bias": bias.tolist()}


def _net() -> Net:
    rng = np.random.default_rng(3)
    shapes = ((3, 3, 3, 4), (4,), (4, 5), (5,))
    kernel, bias, weights, offset = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return Net(kernel=kernel, bias=bias, weights=weights, offset=offset)


def _measured(package: Package, swift: Toolchain, out: str) -> tuple[int, Transcript]:
    """Run one session of the command on the golden file of that name, and unite its two ways out as the host does."""
    model = package.folder / "net.json"
    _net().write(model)
    plan = {
        "warmup_min_s": 0.05, "warmup_min_runs": 10, "warmup_max_s": 2, "min_runs": 120, "min_seconds": 0.3,
        "max_seconds": 5, "threads": 0, "accelerator": "cpu", "seed": 1,
    }  # fmt: skip
    order = {
        "run": RUN, "target": "reference", "model": "net.json", "model_sha256": store.sha256_of(model),
        "golden": f"{out}.npz", "out": f"{out}.jsonl", "plan": plan,
    }  # fmt: skip
    word = base64.urlsafe_b64encode(json.dumps(order).encode()).decode().rstrip("=")
    done = swift.run(package.folder, ["scratch/debug/bench-command", f"--palmtop={word}"])
    live = Collector(RUN)
    for line in done.stdout.splitlines():
        live.feed(line)
    file = transcript.read_file((package.folder / f"{out}.jsonl").read_bytes())
    return done.code, transcript.merge(live, file)


def _golden() -> dict[str, np.ndarray]:
    images = np.random.default_rng(4).random((3, 1, 12, 12, 3)).astype(np.float32)
    net = _net()
    return {"in/image": images, "out/scores": np.stack([net.run(image) for image in images])}


def _judged(golden: dict[str, np.ndarray], made: Transcript) -> parity.Judgement:
    readings = [
        parity.Reading(output=one.output, max_abs=one.max_abs, cosine=one.cos, samples=one.n)
        for one in made.bodies(ParityReading)
    ]
    return parity.judge(parity.expect({"scores": golden["out/scores"]}), readings)


def test_a_session_of_the_command_is_what_the_host_expects(package: Package, swift: Toolchain) -> None:
    golden = _golden()
    np.savez(package.folder / "good.npz", **golden)
    code, made = _measured(package, swift, "good")
    assert (code, made.verified, made.live_gaps, made.fault) == (0, True, 0, "")
    assert (made.counts.damaged, made.counts.unknown, made.counts.extra_fields) == (0, 0, 0)
    assert made.bodies(Hello)[0].major == 1
    assert [one.name for one in made.bodies(Phase) if one.edge == "begin"] == [
        "load_cold", "parity", "load_warm", "first", "warmup", "measure",
    ]  # fmt: skip
    judged = _judged(golden, made)
    assert judged.parity.ok, judged.reason
    assert 0 <= judged.parity.max_abs < 1e-5
    assert judged.parity.samples == 3
    latencies = transcript.latencies_ns(made.bodies(Samples), "measure")
    result = made.bodies(Result)[0]
    assert result.n == len(latencies) >= 120
    assert transcript.samples_sha256(latencies) == result.samples_sha256
    assert [stats.percentile(latencies, share) for share in (0.5, 0.9, 0.99)] == [result.p50, result.p90, result.p99]
    assert min(latencies) > 1000
    assert made.bodies(Place)[0].total_nodes == 5
    assert made.bodies(Bye)[0].exit == "ok"
    assert not made.bodies(Error)
    assert {one.code for one in made.bodies(Warn)} <= {"peak_not_reset"}


def test_a_build_that_computes_something_else_fails_the_hosts_check(package: Package, swift: Toolchain) -> None:
    golden = _golden()
    golden["out/scores"] = np.roll(golden["out/scores"], 1, axis=-1)
    np.savez(package.folder / "bad.npz", **golden)
    _, made = _measured(package, swift, "bad")
    judged = _judged(golden, made)
    assert not judged.parity.ok
    assert "is off by up to" in judged.reason


def test_compressed_golden_samples_are_refused_in_words(package: Package, swift: Toolchain) -> None:
    np.savez_compressed(package.folder / "packed.npz", **_golden())
    code, made = _measured(package, swift, "packed")
    assert code == 1
    assert "compressed" in made.bodies(Error)[0].msg


def test_an_order_that_makes_no_sense_is_told_apart(package: Package, swift: Toolchain) -> None:
    done = swift.run(package.folder, ["scratch/debug/bench-command", "--palmtop=***"])
    assert (done.code, done.stdout) == (2, "")
    assert "base64url" in done.stderr
