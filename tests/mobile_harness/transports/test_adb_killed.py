"""A palmtop that is killed in the middle: the next one on this computer restores the device and sweeps what is left."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from mobile_harness.transports import _adb_place, adb
from mobile_harness.transports._adb_device import AdbDevice
from toolkit.core import process, store
from toolkit.core.tools import Tools

PUSH_AND_DIE = """
import os, signal, sys
from pathlib import Path
from mobile_harness.transports import adb
from toolkit.core import store
from toolkit.core.tools import system_tools
(device,) = adb.discover(system_tools()).devices
print(device.push(store.blob_of(Path(sys.argv[1]))), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_changed_is_restored_by_the_next(boot, tools: Tools, tmp_path: Path) -> None:
    farm = boot(1)
    settings = farm[0].system.settings
    settings["global", "window_animation_scale"] = "1.5"
    before = dict(settings)
    model = tmp_path / "model.onnx"
    model.write_bytes(b"123")
    died = process.run([sys.executable, "-c", PUSH_AND_DIE, str(model)], deadline_s=60, cwd=Path.cwd())
    assert died.code == -signal.SIGKILL, died.stderr
    place = died.stdout.strip()
    assert {key: settings["global", key] for key in _adb_place.CHANGES} == _adb_place.CHANGES
    (device,) = adb.discover(tools).devices
    assert isinstance(device, AdbDevice)
    assert device._session.look(place) is not None
    kept = device.push(store.blob_of(model))
    assert device._session.look(place) is None
    assert device._session.look(kept) is not None
    assert {key: settings["global", key] for key in _adb_place.CHANGES} == _adb_place.CHANGES
    device.cleanup()
    assert dict(settings) == before
    assert device._session.look(_adb_place.ROOT) is None
