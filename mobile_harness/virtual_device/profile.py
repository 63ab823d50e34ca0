"""What a virtual device claims to be: no phone, and every figure here is part of a script."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Final

_ABIS: Final = {
    "x86_64": ("x86_64",),
    "AMD64": ("x86_64",),
    "aarch64": ("arm64-v8a",),
    "arm64": ("arm64-v8a",),
}


def host_abis() -> tuple[str, ...]:
    """Return Android's names for what this host executes: the bench app's role is really run here."""
    return _ABIS.get(platform.machine(), (platform.machine(),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The facts of a device. Temperatures in degrees Celsius, current negative while discharging."""

    model: str = "palmtop virtual device"
    sdk: int = 34
    release: str = "14"
    abis: tuple[str, ...] = host_abis()
    page_size: int = 4096
    memory_kb: int = 4 << 20
    storage_bytes: int = 4 << 30
    cpu_max_khz: tuple[int, ...] = (1_800_000, 1_800_000, 2_400_000, 2_400_000)
    battery_level: int = 84
    battery_mah: int = 4000
    battery_c: float = 28.5
    battery_mv: int = 4012
    current_ua: int = -240_000
    load_ua: int = -900_000
    """The current while the bench app runs."""
    skin_c: float = 31.0
    cpu_c: float = 38.0
    delayed_ack: bool = True
    """Whether ``delayed_ack`` is offered to a host that knows it."""
    asks: bool = True
    """Whether a host's key must be accepted first; virtual owners accept any, unless a fault says otherwise."""


DEFAULT: Final = Profile()
