"""Generated iOS apps of both flavours under a hostile name, and a Swift toolchain where there is one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import app_builds
import swift_toolchain
from ios_apps import NAME, App
from swift_toolchain import Toolchain

from toolkit.apps import project, tree
from toolkit.apps.contract import Request
from toolkit.apps.project import Wish
from toolkit.core import process
from toolkit.core.clock import SystemClock
from toolkit.core.events import silent
from toolkit.core.store import Store
from toolkit.core.tools import Tools


@pytest.fixture(scope="session")
def apps(tmp_path_factory: pytest.TempPathFactory) -> tuple[App, App]:
    """Both flavours, made by the engine that `palmtop app create` uses."""
    root = tmp_path_factory.mktemp("ios")
    tools = Tools(run=process.run, emit=silent, clock=SystemClock(), store=Store(root / "cache"))
    builds = app_builds.make(root / "builds")
    made = []
    for engine in ("coreml", "coreml+onnx"):
        request = Request(folder=builds, target="coreml")
        wish = Wish(platform="ios", build=request, name=NAME, id="com.example.digits-app", engine=engine)
        out = root / engine.replace("+", "_")
        project.create(project.design(tree.shipped("ios"), wish), out, tools)
        made.append(App(root=out, engine=engine))
    return made[0], made[1]


@pytest.fixture(scope="session")
def swift() -> Toolchain:
    """The Swift toolchain, or a skip that names what is missing."""
    return swift_toolchain.found()
