"""``pymobiledevice3`` of the stand-in, on the same phones as ``devicectl``."""

from __future__ import annotations

import json
import os
import plistlib
import re
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parent))

import devicectl
import world
from world import HOME

VERBS = (
    "usbmux list", "version", "amfi developer-mode-status", "apps install", "apps push", "apps pull", "apps rm",
    "developer dvt launch", "developer dvt kill", "developer dvt signal", "developer dvt process-id-for-bundle-id",
    "crash pull",
)  # fmt: skip


def fail(text: str) -> NoReturn:
    world.fail(1, f"2026-11-23 05:00:00 host pymobiledevice3.__main__[1] ERROR {text}")


def main(words: list[str]) -> int:
    verb = next((verb for verb in VERBS if words[: len(verb.split())] == verb.split()), None)
    if verb is None:
        world.fail(2, f"No such command {' '.join(words[:2])!r}.")
    given, rest = world.options(words[len(verb.split()) :], set(), {"--udid", "--match", "--signal-name"}, verb)
    state = world.read()
    if verb == "version":
        sys.stdout.write("11.45.0\n")
        return 0
    if verb == "usbmux list":
        sys.stdout.write(json.dumps([row(item) for item in state["phones"]], indent=4) + "\n")
        return 0
    phone = next((item for item in state["phones"] if item["udid"] == given.get("--udid")), None)
    if phone is None or phone.get("gone"):
        fail(f"Device not found: {given.get('--udid')}")
    return act(verb, phone, rest, given)


def row(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "Identifier": item["udid"], "UniqueDeviceID": item["udid"], "DeviceClass": item["kind"],
        "DeviceName": "A phone", "ProductType": item["product"], "ProductVersion": item["os"],
        "BuildVersion": "22A3354", "ConnectionType": "USB",
    }  # fmt: skip


def act(verb: str, phone: dict[str, Any], rest: list[str], given: dict[str, str]) -> int:
    if verb == "amfi developer-mode-status":
        sys.stdout.write("true\n" if phone["developer_mode"] == "enabled" else "false\n")
    elif verb == "apps install":
        install(phone, Path(rest[0]))
    elif verb == "crash pull":
        pull_crashes(phone, Path(rest[0]), given["--match"])
    elif verb.startswith("apps "):
        files(verb, phone, rest)
    elif verb == "developer dvt launch":
        launch(phone, rest[0])
    elif verb == "developer dvt process-id-for-bundle-id":
        app = phone["apps"].get(rest[0])
        sys.stdout.write(f"{app['pid'] if app and app['pid'] and devicectl.alive(app['pid']) else 0}\n")
    else:
        pid = int(rest[0])
        if pid not in {app["pid"] for app in phone["apps"].values()}:
            fail(f"no process {pid}")
        os.kill(pid, signal.Signals[given["--signal-name"]] if verb.endswith("signal") else signal.SIGKILL)
    return 0


def install(phone: dict[str, Any], path: Path) -> None:
    facts = plistlib.loads((path / "Info.plist").read_bytes())
    if phone.get("full"):
        fail("Not enough space on the device")
    if "iPhoneOS" not in facts["CFBundleSupportedPlatforms"]:
        fail("Failed to install: ApplicationVerificationFailed")
    place = HOME / "Phones" / phone["udid"] / facts["CFBundleIdentifier"]
    (place / "Documents").mkdir(parents=True, exist_ok=True)
    own = {"home": str(place), "name": facts["CFBundleExecutable"], "folder": path.name, "pid": 0}
    with world.changing() as state:
        item = next(item for item in state["phones"] if item["udid"] == phone["udid"])
        item["apps"][facts["CFBundleIdentifier"]] = own


def files(verb: str, phone: dict[str, Any], rest: list[str]) -> None:
    app = phone["apps"].get(rest[0])
    if app is None:
        fail(f"{rest[0]} is not installed")
    home = Path(app["home"])
    if verb == "apps push":
        local, remote = Path(rest[1]), home / rest[2]
        if not remote.parent.is_dir():
            fail(f"Opcode: FILE_OPEN failed with status: OBJECT_NOT_FOUND for {rest[2]}")
        (shutil.copytree if local.is_dir() else shutil.copyfile)(local, remote)
        return
    remote = home / rest[1]
    if not remote.exists():
        fail(f"Opcode: GET_FILE_INFO failed with status: OBJECT_NOT_FOUND for {rest[1]}")
    if verb == "apps pull":
        shutil.copyfile(remote, rest[2])
    elif remote.is_dir():
        shutil.rmtree(remote)
    else:
        remote.unlink()


def pull_crashes(phone: dict[str, Any], out: Path, match: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    folder = HOME / "Phones" / phone["udid"] / "CrashLogs"
    for path in folder.glob("*.ips") if folder.is_dir() else ():
        if re.match(match, path.name):
            shutil.copyfile(path, out / path.name)


def launch(phone: dict[str, Any], words: str) -> None:
    bundle, *arguments = shlex.split(words)
    app = phone["apps"].get(bundle)
    if phone["locked"]:
        fail("The device was not, or could not be, unlocked")
    if app is None:
        fail(f"{bundle} is not installed")
    pid_file = Path(app["home"]) / "tmp" / "pid"
    pid_file.unlink(missing_ok=True)
    reports = HOME / "Phones" / phone["udid"] / "CrashLogs"
    world.spawn([str(devicectl.ROLE), app["home"], str(reports), app["name"], *arguments], shown=False)
    while not (pid_file.exists() and pid_file.read_text()):
        world.pause()
    with world.changing() as state:
        item = next(item for item in state["phones"] if item["udid"] == phone["udid"])
        item["apps"][bundle]["pid"] = int(pid_file.read_text())
    sys.stdout.write(f"Process launched with pid {int(pid_file.read_text())}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
