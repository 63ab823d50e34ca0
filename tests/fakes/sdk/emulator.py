"""Android's emulator as far as palmtop uses it: its options, its ports, its log lines; a virtual device plays Android.

It lists the AVDs of ``ANDROID_AVD_HOME``, takes the console port and the adb port after it, tells the adb server of
``ANDROID_ADB_SERVER_PORT`` of itself, as the real one does, and boots. What goes wrong stands in the AVD's
``config.ini`` as ``fake=no-kvm``, ``fake=crash`` (while it boots) or ``fake=stuck`` (it never has booted).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path

from mobile_harness.virtual_device.farm import Farm, start_farm
from mobile_harness.virtual_device.profile import Profile

FLAGS = {"-no-window", "-no-audio", "-no-boot-anim", "-no-snapshot", "-read-only"}
VALUES = {"-avd", "-port", "-gpu"}


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def read(words: list[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word not in FLAGS | VALUES or (word in VALUES and not waiting):
            say(f"unknown option: {word}\nplease use -help for a list of valid options")
            sys.exit(1)
        given[word] = waiting.pop(0) if word in VALUES else ""
    return given


def register(port: int) -> None:
    """Tell the adb server that an emulator listens on this port."""
    word = f"host:emulator:{port}".encode()
    with socket.create_connection(("127.0.0.1", int(os.environ["ANDROID_ADB_SERVER_PORT"])), timeout=5) as link:
        link.sendall(b"%04x" % len(word) + word)


def android(farm: Farm, fault: str, over: threading.Event) -> int:
    properties = farm[0].system.properties
    if over.wait(0.4):
        return 0
    if fault == "crash":
        say("INFO    | Boot started\nERROR   | Unable to load VM from snapshot\nFATAL   | the virtual CPU died")
        return 134
    if fault != "stuck":
        properties["sys.boot_completed"] = "1"
        say("INFO    | Boot completed in 412 ms")
    over.wait(120)
    return 0


def main(words: list[str]) -> int:
    home = Path(os.environ["ANDROID_AVD_HOME"])
    if words == ["-list-avds"]:
        say("INFO    | Storing crashdata in: /tmp/android-user/emu-crash.db, detection is enabled for process: 1")
        for item in sorted(home.glob("*.ini")):
            say(item.stem)
        return 0
    given = read(words)
    name, port = given["-avd"], int(given["-port"])
    if not (home / f"{name}.ini").exists():
        say(f"PANIC: Unknown AVD name [{name}], use -list-avds to see valid list.")
        return 1
    say("INFO    | Android emulator version 35.2.10.0 (build_id 12414864) (CL:N/A)")
    facts = dict(line.split("=", 1) for line in (home / f"{name}.avd" / "config.ini").read_text().splitlines())
    if facts.get("fake") == "no-kvm":
        say(
            "ERROR   | x86_64 emulation currently requires hardware acceleration!\n"
            "CPU acceleration status: KVM is not installed"
        )
        return 1
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    with (
        socket.create_server(("127.0.0.1", port)),
        start_farm(1, Profile(model="sdk_gphone64_x86_64", asks=False)) as farm,
    ):
        device = farm[0]
        device.system.properties.update({
            "ro.palmtop.virtual": "0", "ro.kernel.qemu": "1", "ro.hardware": "ranchu",
            "ro.serialno": "EMULATOR35X2X10X0", "sys.boot_completed": "", "dev.bootcomplete": "",
        })  # fmt: skip
        farm.call(device.start(port + 1))
        register(port + 1)
        return android(farm, facts.get("fake", ""), over)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
