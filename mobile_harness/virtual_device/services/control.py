"""Services that change the device as a whole: ``reboot:``, and ``root:`` with its kin, which a user build refuses."""

from __future__ import annotations

from mobile_harness.virtual_device.faults import Reboot
from mobile_harness.virtual_device.services.session import Opened


async def reboot(opened: Opened) -> None:
    """Restart the device; it has no other mode to restart into."""
    if opened.argument:
        return
    opened.stream.accept()
    opened.system.reboot(Reboot())


async def root(opened: Opened) -> None:
    """Refuse, as the builds on shipped devices do."""
    opened.stream.accept()
    await opened.stream.write(b"adbd cannot run as root in production builds\n")


async def unroot(opened: Opened) -> None:
    """Say that there was nothing to give up."""
    opened.stream.accept()
    await opened.stream.write(b"adbd not running as root\n")


async def remount(opened: Opened) -> None:
    """Refuse: the system is read-only."""
    opened.stream.accept()
    await opened.stream.write(b'Not running as root. Try "adb root" first.\n')


async def only_tcp(opened: Opened) -> None:
    """Refuse to change the way adbd listens."""
    opened.stream.accept()
    await opened.stream.write(b"not supported by the virtual device\n")
