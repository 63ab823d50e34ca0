"""``dumpsys powerstats``: which power rails a device measures."""

from __future__ import annotations

from dataclasses import dataclass

from mobile_harness.vitals import reading
from mobile_harness.vitals.reading import Unavailable, Unreadable

CHANNELS_MAX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A rail: its name means something on this device only."""

    id: int
    name: str
    subsystem: str


def read_powerstats(text: str) -> tuple[Channel, ...] | Unavailable | Unreadable:
    """Return the channels in the order of their numbers, each once."""
    found: dict[int, Channel] = {}
    for line in reading.lines(text):
        if "PowerStats HAL is not initialized" in line:
            return Unavailable(reason="the device has no PowerStats HAL, so no power monitors")
        channel = _channel(line) if "ChannelId" in line else None
        if channel is not None and len(found) < CHANNELS_MAX:
            found.setdefault(channel.id, channel)
    if not found:
        return reading.unreadable("dumpsys powerstats", text, "ChannelId")
    return tuple(found[number] for number in sorted(found))


def _channel(line: str) -> Channel | None:
    fields = dict(part.strip().partition(": ")[::2] for part in line.split(","))
    number = reading.integer(fields.get("ChannelId", ""))
    name = reading.shown(fields.get("ChannelName", ""))
    if number is None or not name:
        return None
    return Channel(id=number, name=name, subsystem=reading.shown(fields.get("ChannelSubsystem", "")))
