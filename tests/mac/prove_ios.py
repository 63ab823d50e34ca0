"""``make test-ios``: on a Mac, build the generated app, boot a simulator, and run the contract of transports for real.

What the stand-in for ``xcrun`` cannot prove is proven here and nowhere else (docs/ios.md). It ends with 0 when all
holds, 1 when something does not, and 2 where it cannot be tried, with the reason.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from bench_builds import make_folder  # noqa: E402
from models import make_onnx_net  # noqa: E402

from mobile_harness.apple import xcode  # noqa: E402
from mobile_harness.transports import simctl  # noqa: E402
from toolkit.core import isolation, process  # noqa: E402
from toolkit.core.errors import PalmtopError  # noqa: E402
from toolkit.core.tools import Tools, system_tools  # noqa: E402

STEP_S = 1800.0


def say(text: str) -> None:
    sys.stderr.write(f"test-ios: {text}\n")


def step(words: Sequence[str], **env: str) -> process.Finished:
    """Run one step and end with its last words when it fails."""
    say(" ".join(words))
    finished = process.run(words, deadline_s=STEP_S, cwd=ROOT, env=env)
    if finished.code:
        say(f"{finished.describe()}\n{finished.tail(40)}")
        sys.exit(1)
    return finished


def built_app(work: Path, tools: Tools) -> Path:
    """Return the generated app, built for simulators."""
    isolation.isolate(tools, 120, make_onnx_net, work / "net.onnx")
    builds = make_folder(tools, work / "net.onnx", work / "builds", ("float32",))
    app = work / "app"
    palmtop = str(Path(sys.executable).with_name("palmtop"))
    step([palmtop, "app", "create", "ios", "--build", str(builds), "--target", "onnx", "-o", str(app)])
    (project,) = app.glob("*.xcodeproj")
    listed = json.loads(step(["xcrun", "xcodebuild", "-list", "-json", "-project", str(project)]).stdout)
    step([
        "xcrun", "xcodebuild", "build", "-project", str(project), "-scheme", listed["project"]["schemes"][0],
        "-sdk", "iphonesimulator", "-configuration", "Release", "-derivedDataPath", str(work / "derived"),
        "CODE_SIGNING_ALLOWED=NO",
    ])  # fmt: skip
    (found,) = (work / "derived" / "Build" / "Products").glob("*-iphonesimulator/*.app")
    return found


def main() -> int:
    if platform.system() != "Darwin":
        say(f"simulators run on macOS with Xcode, and this is {platform.system()}; nothing was tried.")
        return 2
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests"), str(ROOT)])  # for child processes
    tools = system_tools()
    try:
        say(f"Xcode {xcode.locate(tools).words}")
    except PalmtopError as error:
        say(str(error))
        return 2
    found = simctl.discover(tools)
    if not found.devices:
        say("; ".join(f"{item.reason} {item.hint}" for item in found.unusable))
        return 2
    with tempfile.TemporaryDirectory(prefix="palmtop-test-ios-") as folder:
        app = built_app(Path(folder), tools)
        pytest = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "tests/contracts/test_transports.py",
            "-k",
            "simctl and not lab",
        ]
        said = step(pytest, PALMTOP_IOS_APP=str(app), PALMTOP_ADB_SERVERS="none")
    say(said.tail(3))
    return 0


if __name__ == "__main__":
    sys.exit(main())
