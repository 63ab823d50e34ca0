"""Framing: whatever comes in whatever pieces is read as it was written, or refused."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobile_harness.virtual_device import auth, protocol
from mobile_harness.virtual_device.protocol import BadMessage, Message, MessageReader, Packet, PacketReader

WORDS = st.integers(0, 0xFFFFFFFF)
MESSAGES = st.builds(Message, st.sampled_from(protocol.COMMANDS), WORDS, WORDS, st.binary(max_size=300))
PACKETS = st.builds(Packet, st.integers(0, 255), st.binary(max_size=300))


def pieces(raw: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
    return [raw[a:b] for a, b in itertools.pairwise(edges)]


@given(st.lists(MESSAGES, max_size=5), st.lists(st.integers(0, 5000), max_size=20))
def test_messages_survive_any_cutting(messages: list[Message], cuts: list[int]) -> None:
    raw = b"".join(map(protocol.encode, messages))
    reader = MessageReader()
    assert [found for piece in pieces(raw, cuts) for found in reader.feed(piece)] == messages
    assert reader.pending == 0


@given(st.lists(PACKETS, max_size=5), st.lists(st.integers(0, 5000), max_size=20))
def test_packets_survive_any_cutting(packets: list[Packet], cuts: list[int]) -> None:
    raw = b"".join(map(protocol.encode_packet, packets))
    reader = PacketReader()
    assert [found for piece in pieces(raw, cuts) for found in reader.feed(piece)] == packets


@given(st.binary(max_size=400))
def test_noise_is_refused_or_waited_for(noise: bytes) -> None:
    reader = MessageReader()
    try:
        found = reader.feed(noise)
    except BadMessage:
        return
    assert len(noise) < 24 or found or reader.pending == len(noise)


def test_a_payload_larger_than_allowed_is_refused_before_it_comes() -> None:
    head = struct.pack("<6I", protocol.WRTE, 1, 1, protocol.PAYLOAD_MAX + 1, 0, protocol.WRTE ^ 0xFFFFFFFF)
    with pytest.raises(BadMessage, match="payload"):
        MessageReader().feed(head)


def test_a_packet_larger_than_allowed_is_refused() -> None:
    with pytest.raises(BadMessage, match="packet"):
        PacketReader().feed(struct.pack("<BI", 0, protocol.PACKET_MAX + 1))


def test_the_handshake_carries_a_checksum_and_the_rest_does_not() -> None:
    assert struct.unpack_from("<6I", protocol.encode(Message(protocol.CNXN, 0, 0, b"ab")))[4] == ord("a") + ord("b")
    assert struct.unpack_from("<6I", protocol.encode(Message(protocol.WRTE, 0, 0, b"ab")))[4] == 0


def test_banner_and_features() -> None:
    raw = protocol.banner({"ro.product.name": "x"}, ("shell_v2", "cmd"))
    assert raw == b"device::ro.product.name=x;features=shell_v2,cmd"
    assert protocol.features_of(raw) == {"shell_v2", "cmd"}
    assert protocol.features_of(b"host::\xff") == frozenset()


@given(st.integers(-(2**31), 2**31 - 1))
def test_credit_goes_round(size: int) -> None:
    assert protocol.read_credit(protocol.credit(size)) == size
    assert protocol.read_credit(b"") == 0


@given(st.binary(max_size=900), st.binary(max_size=300))
def test_no_noise_is_a_signature(key: bytes, signature: bytes) -> None:
    assert not auth.is_signed(key, auth.new_token(), signature)
