"""Running a file of the device by its path: a script is interpreted, a native program needs the sandbox."""

from __future__ import annotations

from typing import Final

from mobile_harness.virtual_device.android.call import Call, Trouble, describe
from mobile_harness.virtual_device.android.system import WITHOUT_SANDBOX
from mobile_harness.virtual_device.android.tools import run_script

_NOT_EXECUTABLE: Final = 126
_NOT_FOUND: Final = 127
_ELF: Final = b"\x7fELF"


async def execute(call: Call) -> int:
    """Run the file that the command's name is a path of."""
    path = call.name
    call.name = "/system/bin/sh"
    try:
        mode = call.view.stat(path).st_mode
        with call.view.open_read(path) as file:
            start = file.read(64)
    except FileNotFoundError as error:
        raise Trouble(f"{path}: inaccessible or not found", _NOT_FOUND) from error
    except OSError as error:
        raise Trouble(f"{path}: can't execute: {describe(error)}", _NOT_EXECUTABLE) from error
    if not mode & 0o111:
        raise Trouble(f"{path}: can't execute: Permission denied", _NOT_EXECUTABLE)
    if start.startswith(_ELF):
        return await _native(call, path)
    if start.startswith(b"#!") and b"/sh" not in start.splitlines()[0]:
        raise Trouble(f"{path}: its interpreter is {WITHOUT_SANDBOX}", _NOT_EXECUTABLE)
    return await run_script(call, [path, *call.args])


async def _native(call: Call, path: str) -> int:
    native = call.system.native
    if native is None:
        why = f"{WITHOUT_SANDBOX} ({call.system.no_native})"
        raise Trouble(f"{path}: native programs are {why}", _NOT_EXECUTABLE)
    real = call.system.files.real(call.view.absolute(path))
    return await native.run(call, [real, *call.args])
