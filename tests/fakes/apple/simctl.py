"""``simctl`` of the stand-in: simulators with states, containers and apps, and the words of its errors."""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import signal
import sys
import uuid
from pathlib import Path
from typing import Any

import world
from world import HOME, fail

ROLE = Path(__file__).with_name("role.py")


def main(words: list[str]) -> int:
    verbs = {
        "list": list_all, "create": create, "delete": delete, "boot": boot, "bootstatus": bootstatus,
        "shutdown": shutdown, "install": install, "launch": launch, "terminate": terminate,
        "get_app_container": container,
    }  # fmt: skip
    if not words or words[0] not in verbs:
        fail(64, f"Unrecognized subcommand: {words[0] if words else ''}\nusage: simctl [--set <path>] <subcommand> ...")
    return verbs[words[0]](words[1:])


def trouble(domain: str, code: int, text: str, exit_code: int) -> None:
    fail(exit_code, f"An error was encountered processing the command (domain={domain}, code={code}):\n{text}")


def find(state: dict[str, Any], udid: str) -> dict[str, Any]:
    found = next((item for item in state["simulators"] if item["udid"] == udid), None)
    if found is None:
        fail(148, f"Invalid device: {udid}")
    return found


def folder_of(udid: str) -> Path:
    return HOME / "Devices" / udid / "data"


def list_all(words: list[str]) -> int:
    if words[:1] not in (["-j"], ["--json"]) or words[1:]:
        fail(64, "this stand-in lists as JSON only")
    state = world.read()
    devices: dict[str, list[Any]] = {item["identifier"]: [] for item in state["runtimes"]}
    for item in state["simulators"]:
        row = {key: value for key, value in item.items() if key not in ("runtime", "apps")}
        devices.setdefault(item["runtime"], []).append(
            row | {"dataPath": str(folder_of(item["udid"])), "dataPathSize": 1}
        )
    if state["shape"] == "old":
        names = {item["identifier"]: item["name"] for item in state["runtimes"]}
        devices = {names.get(key, key): rows for key, rows in devices.items()}
        for row in (row for rows in devices.values() for row in rows):
            row["availability"] = (
                "(available)" if row.pop("isAvailable") else "(unavailable, runtime profile not found)"
            )
            row.pop("deviceTypeIdentifier")
    found = {"devicetypes": state["device_types"], "runtimes": state["runtimes"], "devices": devices, "pairs": {}}
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


def create(words: list[str]) -> int:
    if len(words) != 3:
        fail(64, "Usage: simctl create <name> <device type id> [<runtime id>]")
    name, kind, runtime = words
    with world.changing() as state:
        if kind not in {item["identifier"] for item in state["device_types"]}:
            fail(161, f"Invalid device type: {kind}")
        if runtime not in {item["identifier"] for item in state["runtimes"] if item["isAvailable"]}:
            fail(162, f"Invalid runtime: {runtime}")
        udid = str(uuid.uuid4()).upper()
        state["simulators"].append({
            "udid": udid, "name": name, "state": "Shutdown", "isAvailable": True, "deviceTypeIdentifier": kind,
            "runtime": runtime, "apps": {},
        })  # fmt: skip
        folder_of(udid).mkdir(parents=True)
    sys.stdout.write(f"{udid}\n")
    return 0


def delete(words: list[str]) -> int:
    with world.changing() as state:
        item = find(state, words[0])
        end_apps(item)
        state["simulators"].remove(item)
    shutil.rmtree(folder_of(words[0]).parent)
    return 0


def boot(words: list[str]) -> int:
    with world.changing() as state:
        item = find(state, words[0])
        if item["state"] != "Shutdown":
            trouble(
                "com.apple.CoreSimulator.SimError", 405, f"Unable to boot device in current state: {item['state']}", 149
            )
        if "no-boot" in state["faults"]:
            trouble("NSPOSIXErrorDomain", 60, "Unable to boot the Simulator.\nOperation timed out", 60)
        item["state"] = "Booting"
    return 0


def bootstatus(words: list[str]) -> int:
    if words[1:] not in ([], ["-b"]):
        fail(64, f"unknown option {words[1:]}")
    with world.changing() as state:
        item = find(state, words[0])
        if item["state"] == "Shutdown" and words[1:] != ["-b"]:
            trouble("com.apple.CoreSimulator.SimError", 405, "Unable to lookup in current state: Shutdown", 149)
        item["state"] = "Shutdown" if "dies-at-boot" in state["faults"] else "Booted"
    sys.stdout.write("Monitoring boot status for device.\nDevice already booted, nothing to do.\n")
    return 0


def shutdown(words: list[str]) -> int:
    with world.changing() as state:
        item = find(state, words[0])
        if item["state"] == "Shutdown":
            trouble(
                "com.apple.CoreSimulator.SimError", 405, "Unable to shutdown device in current state: Shutdown", 149
            )
        end_apps(item)
        item["state"] = "Shutdown"
    return 0


def booted(state: dict[str, Any], udid: str) -> dict[str, Any]:
    item = find(state, udid)
    if item["state"] != "Booted":
        trouble("com.apple.CoreSimulator.SimError", 405, f"Unable to lookup in current state: {item['state']}", 149)
    return item


def install(words: list[str]) -> int:
    udid, path = words[0], Path(words[1])
    with world.changing() as state:
        item = booted(state, udid)
        if "disk-full" in state["faults"]:
            trouble("NSPOSIXErrorDomain", 28, "Failed to install the app\nNo space left on device", 28)
        if not (path / "Info.plist").is_file():
            trouble("IXErrorDomain", 13, "Simulator device failed to install the application.\nMissing bundle ID.", 13)
        facts = plistlib.loads((path / "Info.plist").read_bytes())
        if "iPhoneSimulator" not in facts.get("CFBundleSupportedPlatforms", []):
            trouble(
                "NSCocoaErrorDomain", 3587, "Simulator device failed to install the application.\n"
                f"{path.name}: Failed to find matching arch for input file", 149,
            )  # fmt: skip
        home = folder_of(udid) / "Containers" / "Data" / "Application" / str(uuid.uuid4()).upper()
        (home / "Documents").mkdir(parents=True)
        item["apps"][facts["CFBundleIdentifier"]] = {"home": str(home), "name": facts["CFBundleExecutable"], "pid": 0}
    return 0


def app_of(item: dict[str, Any], bundle: str) -> dict[str, Any]:
    found = item["apps"].get(bundle)
    if found is None:
        trouble(
            "FBSOpenApplicationServiceErrorDomain", 4,
            f'Simulator device failed to launch {bundle}.\nThe request to open "{bundle}" failed.\n'
            f'Underlying error: Application "{bundle}" is unknown to FrontBoard.', 4,
        )  # fmt: skip
    app: dict[str, Any] = found
    return app


def launch(words: list[str]) -> int:
    if words[:1] != ["--terminate-running-process"]:
        fail(64, "this stand-in launches with --terminate-running-process only")
    udid, bundle, *arguments = words[1:]
    with world.changing() as state:
        app = app_of(booted(state, udid), bundle)
        end_app(app)
        home = Path(app["home"])
        (home / "tmp").mkdir(exist_ok=True)
        (home / "tmp" / "pid").unlink(missing_ok=True)
        reports = Path.home() / "Library" / "Logs" / "DiagnosticReports"
        world.spawn([str(ROLE), str(home), str(reports), app["name"], *arguments], shown=False)
        app["pid"] = wait_pid(home / "tmp" / "pid")
    sys.stdout.write(f"{bundle}: {app['pid']}\n")
    sys.stdout.flush()
    os._exit(0)


def wait_pid(path: Path) -> int:
    for _ in range(600):
        if path.exists() and path.read_text():
            return int(path.read_text())
        world.pause()
    return fail(3, "the role did not start")


def end_app(app: dict[str, Any]) -> bool:
    if not app["pid"]:
        return False
    try:
        os.kill(app["pid"], signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        app["pid"] = 0
    return True


def end_apps(item: dict[str, Any]) -> None:
    for app in item["apps"].values():
        end_app(app)


def terminate(words: list[str]) -> int:
    udid, bundle = words
    with world.changing() as state:
        app = booted(state, udid)["apps"].get(bundle)
        ended = app is not None and end_app(app)
    if not ended:
        trouble(
            "NSPOSIXErrorDomain", 3, f"Simulator device failed to terminate {bundle}.\nfound nothing to terminate", 3
        )
    return 0


def container(words: list[str]) -> int:
    udid, bundle, kind = words
    with world.changing() as state:
        app = booted(state, udid)["apps"].get(bundle)
    if app is None or kind != "data":
        trouble("NSPOSIXErrorDomain", 2, "No such file or directory", 2)
    sys.stdout.write(f"{app['home']}\n")
    return 0
