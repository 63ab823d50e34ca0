"""Which service a host means."""

from __future__ import annotations

from typing import Final

from mobile_harness.virtual_device.services import compression, control, ports, shell, sync
from mobile_harness.virtual_device.services.session import Service

SERVICES: Final[dict[str, Service]] = {
    "shell": shell.shell, "exec": shell.exec_, "abb": shell.abb, "abb_exec": shell.abb_exec, "sync": sync.sync,
    "tcp": ports.tcp, "reverse": ports.reverse, "reboot": control.reboot, "root": control.root,
    "unroot": control.unroot, "remount": control.remount, "tcpip": control.only_tcp, "usb": control.only_tcp,
}  # fmt: skip

FEATURES: Final = (
    "shell_v2", "cmd", "stat_v2", "ls_v2", "fixed_push_mkdir", "fixed_push_symlink_timestamp", "abb", "abb_exec",
    "sendrecv_v2", "sendrecv_v2_dry_run_send", *compression.features(),
)  # fmt: skip


def split(service: str) -> tuple[str, tuple[str, ...], str]:
    """Return a service's kind, its options and its argument.

    >>> split("shell,v2,raw:ls -l")
    ('shell', ('v2', 'raw'), 'ls -l')
    """
    head, _, argument = service.partition(":")
    kind, *options = head.split(",")
    return kind, tuple(options), argument
