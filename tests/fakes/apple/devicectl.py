"""``devicectl`` of the stand-in: phones with pairing, locks, containers and crash logs; JSON of versions 2 to 5."""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import signal
import sys
import uuid
from pathlib import Path
from typing import Any, NoReturn

import world
from world import HOME

ROLE = Path(__file__).with_name("role.py")
CORE = "com.apple.dt.CoreDeviceError"
VALUES = {
    "--device", "--timeout", "--json-output", "--domain-type", "--domain-identifier", "--source", "--destination",
    "--pid", "--signal", "--remove-existing-content",
}  # fmt: skip
FLAGS = {"--terminate-existing", "--console", "--kill"}
VERBS = (
    "list devices", "device info details", "device info lockState", "device info processes", "device info files",
    "device install app", "device process launch", "device process signal", "device process terminate",
    "device copy to", "device copy from",
)  # fmt: skip


class Call:
    """One command: what it is, its options and words, and where its JSON goes."""

    def __init__(self, words: list[str]) -> None:
        verb = next((verb for verb in VERBS if words[: len(verb.split())] == verb.split()), None)
        if verb is None:
            world.fail(64, f"Error: Unexpected argument '{' '.join(words[:3])}'")
        self.verb = verb
        tool = "launch" if verb.endswith("launch") else "devicectl"
        rest = words[len(verb.split()) :]
        if tool == "launch":  # its own options may also follow the app's arguments in our use: take those first
            rest, tail = _split_tail(rest)
            rest = [*tail, *rest]
        self.given, self.rest = world.options(rest, FLAGS, VALUES, tool)
        if int(self.given.get("--timeout", "5")) < 5:
            world.fail(64, "Error: The value for '--timeout' must be at least 5")
        self.state = world.read()

    def answer(self, result: Any = None, error: Any = None) -> None:
        version = self.state["json_version"]
        info = {
            "arguments": ["devicectl", *sys.argv[1:]], "commandType": f"devicectl.{self.verb.replace(' ', '.')}",
            "environment": {}, "jsonVersion": version, "outcome": "failed" if error else "success", "version": "477.39",
        }  # fmt: skip
        document = {"info": info, **({"error": error} if error else {"result": result})}
        if "--json-output" in self.given:
            Path(self.given["--json-output"]).write_text(json.dumps(document, indent=2))

    def fail(self, error: dict[str, Any]) -> NoReturn:
        self.answer(error=error)
        said = error["userInfo"]["NSLocalizedDescription"]["string"]
        world.fail(1, f"ERROR: {said} ({error['domain']} error {error['code']}.)")

    def phone(self) -> dict[str, Any]:
        wanted = self.given.get("--device", "")
        found = next((item for item in self.state["phones"] if wanted in (item["udid"], item["identifier"])), None)
        if found is None:
            self.fail(made(CORE, 1000, f"The specified device was not found. (Name: {wanted})"))
        if found.get("gone"):
            timed_out = made("Network.NWError", 60, "Operation timed out", key="NSDescription")
            domain = "com.apple.CoreDevice.ControlChannelConnectionError"
            self.fail(made(domain, 1, "Internal logic error: Connection was invalidated", timed_out))
        return found


def _split_tail(words: list[str]) -> tuple[list[str], list[str]]:
    tail = []
    while len(words) >= 2 and words[-2] in ("--json-output", "--timeout"):
        tail = [*words[-2:], *tail]
        words = words[:-2]
    return words, tail


def made(domain: str, code: int, text: str, under: Any = None, key: str = "NSLocalizedDescription") -> dict[str, Any]:
    info: dict[str, Any] = {key: {"string": text}}
    if under is not None:
        info["NSUnderlyingError"] = {"error": under}
    return {"domain": domain, "code": code, "userInfo": info}


def main(words: list[str]) -> int:
    call = Call(words)
    verbs = {
        "list devices": list_devices, "device info details": details, "device info lockState": lock_state,
        "device info processes": processes, "device info files": files, "device install app": install,
        "device process launch": launch, "device process signal": send_signal, "device process terminate": end,
        "device copy to": copy_to, "device copy from": copy_from,
    }  # fmt: skip
    return verbs[call.verb](call)


def row(item: dict[str, Any], version: int) -> dict[str, Any]:
    """Return a device as the JSON version shows it."""
    hardware = {
        "udid": item["udid"], "marketingName": item["model"], "productType": item["product"],
        "platform": item["platform"], "deviceType": item["kind"], "reality": item["reality"],
        "cpuType": {"name": "arm64e"},
    }  # fmt: skip
    connection = {"pairingState": item["pairing"], "transportType": item["transport"]}
    if not item["transport"]:
        connection.pop("transportType")
    shown: dict[str, Any] = {
        "identifier": item["identifier"],
        "visibilityClass": "simulators" if item["reality"] == "simulated" else "default",
        "hardwareProperties": hardware, "connectionProperties": {**connection, "tunnelState": item["connection"]},
        "deviceProperties": {
            "name": item["name"], "osVersionNumber": item["os"], "osBuildUpdate": "22A3354",
            "developerModeStatus": item["developer_mode"], "bootState": "booted",
        },
    }  # fmt: skip
    if version >= 5:
        shown["properties"] = {
            "hardware": hardware, "connection": {**connection, "state": item["connection"]},
            "software": {"osVersionNumber": {"components": [18, 0], "stringValue": item["os"]}},
            "state": {"name": item["name"], "developerModeStatus": {item["developer_mode"]: {"mode": 1}}},
        }  # fmt: skip
        shown["_deprecationNotice"] = "hardwareProperties, deviceProperties, connectionProperties will go away"
    return shown


def list_devices(call: Call) -> int:
    version = call.state["json_version"]
    shown = [item for item in call.state["phones"] if item["reality"] != "simulated" or version >= 5]
    call.answer({"devices": [row(item, version) for item in shown]})
    sys.stdout.write("Name   Hostname   Identifier   State   Model\n")
    return 0


def details(call: Call) -> int:
    call.answer(row(call.phone() | {"connection": "connected"}, call.state["json_version"]))
    return 0


def lock_state(call: Call) -> int:
    phone = call.phone()
    call.answer(
        {"deviceIdentifier": phone["identifier"], "passcodeRequired": phone["locked"], "unlockedSinceBoot": True}
    )
    return 0


def install(call: Call) -> int:
    phone, path = call.phone(), Path(call.rest[0])
    facts = plistlib.loads((path / "Info.plist").read_bytes())
    if phone.get("full"):
        under = made("MIInstallerErrorDomain", 12, "There is not enough space on the device to install this app.")
        call.fail(made(CORE, 3002, "Failed to install the app on the device.", under))
    if "iPhoneOS" not in facts.get("CFBundleSupportedPlatforms", []):
        under = made("MIInstallerErrorDomain", 13, "The application is not valid for the device's platform.")
        call.fail(made(CORE, 3002, "Failed to install the app on the device.", under))
    bundle = facts["CFBundleIdentifier"]
    place = HOME / "Phones" / phone["udid"] / bundle
    (place / "Documents").mkdir(parents=True, exist_ok=True)
    with world.changing() as state:
        item = next(item for item in state["phones"] if item["udid"] == phone["udid"])
        item["apps"][bundle] = {"home": str(place), "name": facts["CFBundleExecutable"], "folder": path.name, "pid": 0}
    url = f"file:///private/var/containers/Bundle/Application/{uuid.uuid4()}/{path.name}/"
    call.answer({"installedApplications": [{"bundleID": bundle, "installationURL": url, "options": {}}]})
    return 0


def refused(bundle: str, code: int, why: str) -> dict[str, Any]:
    inner = made("FBSOpenApplicationErrorDomain", code, why, key="NSLocalizedFailureReason")
    service = 4 if code == 4 else 1
    middle = made("FBSOpenApplicationServiceErrorDomain", service, f'The request to open "{bundle}" failed.', inner)
    return made(CORE, 10002, "The application failed to launch.", middle)


def launch(call: Call) -> int:
    phone, (bundle, *arguments) = call.phone(), call.rest
    app = phone["apps"].get(bundle)
    if phone["locked"]:
        call.fail(
            refused(bundle, 7, f"Unable to launch {bundle} because the device was not, or could not be, unlocked.")
        )
    if app is None:
        call.fail(refused(bundle, 4, f'Application "{bundle}" is unknown to FrontBoard.'))
    if "--console" not in call.given:
        world.fail(64, "this stand-in launches with a console only")
    reports = HOME / "Phones" / phone["udid"] / "CrashLogs"
    sys.stdout.write(
        f"Launched application with {bundle} bundle identifier.\nWaiting for the application to terminate…\n"
    )
    sys.stdout.flush()
    pid_file = Path(app["home"]) / "tmp" / "pid"
    pid_file.unlink(missing_ok=True)
    role = world.spawn(
        [str(ROLE), app["home"], str(reports), app["name"], *arguments], shown=True, PALMTOP_FAKE_CONSOLE="1"
    )
    while not (pid_file.exists() and pid_file.read_text()):
        world.pause()
    with world.changing() as state:
        item = next(item for item in state["phones"] if item["udid"] == phone["udid"])
        item["apps"][bundle]["pid"] = int(pid_file.read_text()) if pid_file.exists() else 0
    code = os.waitstatus_to_exitcode(os.waitpid(role, 0)[1])
    call.answer({"deviceIdentifier": phone["identifier"], "launchOptions": {"arguments": arguments}})
    return code


def processes(call: Call) -> int:
    rows = [{"executable": "file:///sbin/launchd", "processIdentifier": 1}]
    for app in call.phone()["apps"].values():
        if app["pid"] and alive(app["pid"]):
            place = f"file:///private/var/containers/Bundle/Application/X/{app['folder']}"
            rows.append({"executable": f"{place}/{app['name']}", "processIdentifier": app["pid"]})
            rows.append({"executable": f"{place}/PlugIns/W.appex/W", "processIdentifier": app["pid"] + 1})
    call.answer({"runningProcesses": rows})
    return 0


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def own(call: Call) -> int:
    pid = int(call.given["--pid"])
    if pid not in {app["pid"] for app in call.phone()["apps"].values()} or not alive(pid):
        call.fail(made(CORE, 10004, f"No process with identifier {pid} was found."))
    return pid


def send_signal(call: Call) -> int:
    os.kill(own(call), signal.Signals[call.given["--signal"]])
    call.answer({"process": {}})
    return 0


def end(call: Call) -> int:
    os.kill(own(call), signal.SIGKILL if "--kill" in call.given else signal.SIGTERM)
    call.answer({"process": {}})
    return 0


def domain(call: Call) -> Path:
    phone = call.phone()
    if call.given.get("--domain-type") == "systemCrashLogs":
        return HOME / "Phones" / phone["udid"] / "CrashLogs"
    if call.given.get("--domain-type") != "appDataContainer":
        world.fail(64, f"Error: The value '{call.given.get('--domain-type')}' is invalid for '--domain-type'")
    app = phone["apps"].get(call.given.get("--domain-identifier", ""))
    if app is None:
        call.fail(made(CORE, 7000, f"The app {call.given.get('--domain-identifier')} is not installed on this device."))
    return Path(app["home"])


def files(call: Call) -> int:
    folder = domain(call)
    found = sorted(path for path in folder.glob("*.ips")) if folder.is_dir() else []
    call.answer({"files": [{"name": path.name, "relativePath": path.name} for path in found]})
    return 0


def copy_to(call: Call) -> int:
    if call.phone().get("full"):
        call.fail(
            made(
                CORE, 7000, "The file could not be written.", made("NSPOSIXErrorDomain", 28, "No space left on device")
            )
        )
    source, place = Path(call.given["--source"]), domain(call) / call.given["--destination"]
    if call.given.get("--remove-existing-content") == "true":
        shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, place, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, place)
    call.answer({"files": []})
    return 0


def copy_from(call: Call) -> int:
    source = domain(call) / call.given["--source"]
    if not source.exists():
        call.fail(
            made(
                CORE,
                7000,
                f"The file {call.given['--source']} does not exist.",
                made("NSPOSIXErrorDomain", 2, "No such file or directory"),
            )
        )
    shutil.copyfile(source, call.given["--destination"])
    call.answer({"files": []})
    return 0
