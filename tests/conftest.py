"""What all tests share: real tools with a cache of their own, and tiny real models made once in child processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import filelock
import numpy as np
import pytest

from toolkit.core import isolation, process
from toolkit.core.clock import SystemClock
from toolkit.core.events import silent
from toolkit.core.store import Store, sha256_of
from toolkit.core.tools import Tools

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import models  # noqa: E402  (tests/models.py: the functions that make the models, importable in children)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--slow``: without it the tests marked slow are skipped, and the summary counts them."""
    parser.addoption("--slow", action="store_true", help="Run the tests marked slow, too (make test-all).")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip slow tests by name unless asked for them."""
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="slow: `make test-all` runs it"))


def pytest_configure() -> None:
    """Let child processes import the job modules that lie beside the tests."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")]))
    os.environ.pop("PALMTOP_STORE", None)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test off the user's cache, history, settings and adb server."""
    monkeypatch.setenv("PALMTOP_ADB_SERVERS", "none")
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path_factory.getbasetemp() / "palmtop-cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")  # temporary paths are long, and tables wrap


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """Real tools; the cache is the test's own."""
    return Tools(run=process.run, emit=silent, clock=SystemClock(), store=Store(tmp_path / "cache"))


@pytest.fixture(scope="session")
def built_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny models, made once and kept between test runs while `models.py` stays the same."""
    root = Path(os.environ.get("PALMTOP_TEST_MODELS", HERE.parent / ".pytest_cache" / "palmtop-models"))
    folder = root / sha256_of(HERE / "models.py")[:16]
    root.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            folder.mkdir(exist_ok=True)
            maker = Tools(run=process.run, emit=silent, clock=SystemClock(), store=Store(root / "store"))
            isolation.isolate(maker, 300, models.make_keras_cnn, folder / "cnn.keras")
            isolation.isolate(maker, 120, models.make_onnx_net, folder / "net.onnx")
            models.make_shapes(folder / "shapes.npz", count=96)
            models.make_noise(folder / "noise.npz", count=32)
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def keras_model(built_models: Path) -> Path:
    """A trained depthwise-separable CNN: `image` [1, 12, 12, 1] in [0, 1] -> softmax over 4 kinds of strokes."""
    return built_models / "cnn.keras"


@pytest.fixture(scope="session")
def onnx_model(built_models: Path) -> Path:
    """A convolutional net with a residual, a concatenation and pooling: `x` [1, 3, 16, 16] -> logits `y` [1, 5]."""
    return built_models / "net.onnx"


@pytest.fixture(scope="session")
def shapes_npz(built_models: Path) -> Path:
    """96 labelled samples for `keras_model`."""
    return built_models / "shapes.npz"


@pytest.fixture(scope="session")
def noise_npz(built_models: Path) -> Path:
    """32 unlabelled samples for `onnx_model`."""
    return built_models / "noise.npz"


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded source of random numbers."""
    return np.random.default_rng(20261123)
