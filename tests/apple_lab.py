"""Sets the stand-in for ``xcrun`` up: an Xcode with simulators and iPhones, and bench apps for both."""

from __future__ import annotations

import json
import os
import plistlib
import sys
from pathlib import Path
from typing import Any

import pytest

FAKES = Path(__file__).parent / "fakes" / "bin"
BUNDLE = "org.palmtop.bench"
RUNTIME = "com.apple.CoreSimulator.SimRuntime.iOS-{}"
TYPE = "com.apple.CoreSimulator.SimDeviceType.{}"
PHONE = "00008110-0000000000000001"
BOOTED = "3062F87E-E482-4389-94D9-F4949BAED4A4"
RESTING = "547F6011-D095-471A-8FB1-0BE2C0BA00B4"


def runtime(version: str, *, available: bool = True) -> dict[str, Any]:
    return {
        "identifier": RUNTIME.format(version.replace(".", "-")), "name": f"iOS {version}", "platform": "iOS",
        "version": version, "buildversion": "22A3351", "isAvailable": available, "supportedDeviceTypes": [],
    }  # fmt: skip


def device_type(name: str, model: str) -> dict[str, Any]:
    return {"identifier": TYPE.format(name.replace(" ", "-")), "name": name, "modelIdentifier": model}


def simulator(udid: str, name: str, state: str, version: str, kind: str) -> dict[str, Any]:
    return {
        "udid": udid, "name": name, "state": state, "isAvailable": True, "deviceTypeIdentifier": TYPE.format(kind),
        "runtime": RUNTIME.format(version.replace(".", "-")), "apps": {},
    }  # fmt: skip


def phone(udid: str = PHONE, **changes: Any) -> dict[str, Any]:
    return {
        "udid": udid, "identifier": f"id-{udid}", "name": "A phone", "model": "iPhone 13", "product": "iPhone14,5",
        "kind": "iPhone", "platform": "iOS", "reality": "physical", "os": "18.0", "pairing": "paired",
        "connection": "connected", "transport": "wired", "developer_mode": "enabled", "locked": False, "apps": {},
        **changes,
    }  # fmt: skip


class AppleLab:
    """The stand-in's world: ``change`` alters its state as a user or a fate would."""

    def __init__(self, home: Path, xcode: int = 26, json_version: int = 3) -> None:
        self.home = home
        home.mkdir(exist_ok=True)
        self.change(
            lambda state: state.update({
                "xcode": xcode, "json_version": json_version, "shape": "new", "faults": [],
                "runtimes": [runtime("17.5"), runtime("18.0"), runtime("16.4", available=False)],
                "device_types": [device_type("iPhone 15", "iPhone15,4"), device_type("iPhone 16 Pro", "iPhone17,1")],
                "simulators": [
                    simulator(BOOTED, "iPhone 16 Pro", "Booted", "18.0", "iPhone-16-Pro"),
                    simulator(RESTING, "iPhone 15", "Shutdown", "17.5", "iPhone-15"),
                ],
                "phones": [phone()],
            })
        )  # fmt: skip

    @property
    def state(self) -> dict[str, Any]:
        path = self.home / "state.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def change(self, how: Any) -> None:
        state = self.state
        how(state)
        (self.home / "state.json").write_text(json.dumps(state))

    def fault(self, *names: str) -> None:
        self.change(lambda state: state.update(faults=list(names)))

    def app(self, platform: str, **changes: Any) -> Path:
        """Make a bench app for a platform: its folder with what describes it."""
        folder = self.home / "apps" / platform / "Bench.app"
        folder.mkdir(parents=True, exist_ok=True)
        facts = {
            "CFBundleIdentifier": BUNDLE, "CFBundleExecutable": "Bench", "CFBundleSupportedPlatforms": [platform],
            **changes,
        }  # fmt: skip
        (folder / "Info.plist").write_bytes(plistlib.dumps(facts))
        return folder

    def use(self, monkeypatch: pytest.MonkeyPatch, *programs: str) -> None:
        """Put the stand-in on the path, with apps for simulators and for iPhones; ``programs`` instead of Xcode's."""
        own = self.home / "-".join(["bin", *programs])
        own.mkdir(exist_ok=True)
        for name in programs or ("xcrun", "xcode-select"):
            text = (FAKES / name).read_text().replace('$(dirname "$0")', str(FAKES))
            (own / name).write_text(text)
            (own / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{own}:{os.environ['PATH']}")
        monkeypatch.setenv("PALMTOP_FAKE_PYTHON", sys.executable)
        monkeypatch.setenv("PALMTOP_FAKE_APPLE", str(self.home))
        monkeypatch.setenv("HOME", str(self.home))
        monkeypatch.setenv("XDG_STATE_HOME", str(self.home / "state"))
        monkeypatch.delenv("DEVELOPER_DIR", raising=False)
        monkeypatch.setenv("PALMTOP_IOS_APP", f"{self.app('iPhoneSimulator')} {self.app('iPhoneOS')}")
