"""Back-pressure of a single stream, with a link that only keeps what is sent."""

from __future__ import annotations

import asyncio

import pytest

from mobile_harness.virtual_device import protocol
from mobile_harness.virtual_device.protocol import BadMessage, Message
from mobile_harness.virtual_device.streams import HIGH_WATER, LIMIT, Stream, StreamClosed


class KeptLink:
    payload_max = 10

    def __init__(self, *, delayed_ack: bool = False) -> None:
        self.delayed_ack = delayed_ack
        self.sent: list[Message] = []
        self.forgotten: list[int] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)

    async def drain(self, sent: int) -> None:
        await asyncio.sleep(0)

    def forget(self, local_id: int) -> None:
        self.forgotten.append(local_id)

    def written(self) -> list[bytes]:
        return [message.payload for message in self.sent if message.command == protocol.WRTE]


def okay(size: int | None = None) -> Message:
    return Message(protocol.OKAY, 7, 1, b"" if size is None else protocol.credit(size))


def test_one_write_is_in_flight_at_a_time() -> None:
    async def play() -> None:
        link = KeptLink()
        stream = Stream(link, 1, 7, 0)
        stream.accept()
        writing = asyncio.ensure_future(stream.write(b"x" * 25))
        await asyncio.sleep(0.01)
        assert link.written() == [b"x" * 10]
        stream.grant(okay())
        await asyncio.sleep(0.01)
        assert link.written() == [b"x" * 10] * 2
        stream.grant(okay())
        await writing
        assert link.written() == [b"x" * 10, b"x" * 10, b"x" * 5]

    asyncio.run(play())


def test_delayed_acknowledgement_spends_credit() -> None:
    async def play() -> None:
        link = KeptLink(delayed_ack=True)
        stream = Stream(link, 1, 7, 15)
        stream.accept()
        assert protocol.read_credit(link.sent[0].payload) == protocol.DELAYED_ACK_BYTES
        writing = asyncio.ensure_future(stream.write(b"x" * 40))
        await asyncio.sleep(0.01)
        assert len(link.written()) == 2
        stream.grant(okay(100))
        await writing
        assert len(link.written()) == 4

    asyncio.run(play())


def test_unread_data_holds_the_okay_back() -> None:
    async def play() -> None:
        link = KeptLink()
        stream = Stream(link, 1, 7, 0)
        stream.feed(b"a" * (HIGH_WATER - 1))
        assert [message.command for message in link.sent] == [protocol.OKAY]
        stream.feed(b"b")
        assert len(link.sent) == 1
        assert await stream.read_exactly(HIGH_WATER) == b"a" * (HIGH_WATER - 1) + b"b"
        assert len(link.sent) == 2

    asyncio.run(play())


def test_a_host_that_ignores_back_pressure_loses_the_link() -> None:
    async def play() -> None:
        stream = Stream(KeptLink(), 1, 7, 0)
        for _ in range(LIMIT // HIGH_WATER):
            stream.feed(bytes(HIGH_WATER))
        with pytest.raises(BadMessage, match="without leave"):
            stream.feed(bytes(HIGH_WATER))

    asyncio.run(play())


def test_the_end_ends_reading_and_fails_writing() -> None:
    async def play() -> None:
        link = KeptLink()
        stream = Stream(link, 1, 7, 0)
        stream.accept()
        stream.feed(b"last")
        stream.hang_up()
        assert await stream.read() == b"last"
        assert await stream.read() == b""
        with pytest.raises(StreamClosed):
            await stream.write(b"x")
        with pytest.raises(StreamClosed):
            await stream.read_exactly(1)
        assert link.forgotten == [1]

    asyncio.run(play())
