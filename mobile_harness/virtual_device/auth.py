"""Who may connect: keys that were accepted once, and the check of a host's signature of our token."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import struct
from typing import Final

TOKEN_SIZE: Final = 20
KEY_MAX: Final = 8192
_WORDS: Final = 64
_MODULUS: Final = slice(8, 264)
_EXPONENT: Final = slice(520, 524)
_SHA1_PREFIX: Final = bytes.fromhex("3021300906052b0e03021a05000414")


def new_token() -> bytes:
    """Return the random bytes that a host has to sign."""
    return os.urandom(TOKEN_SIZE)


def is_signed(public_key: bytes, token: bytes, signature: bytes) -> bool:
    """Say whether ``signature`` is the key's RSA PKCS #1 v1.5 signature of ``token``, taken as a SHA-1 digest.

    ``public_key`` is what a host offers: the base64 of Android's structure (words, inverse, modulus of 2048 bits, its
    Montgomery constant, exponent, all little-endian), then a blank and a name. A key of another form signs nothing.
    """
    modulus, exponent = _numbers(public_key)
    if not modulus or len(signature) != 256:
        return False
    padding = b"\x00\x01" + b"\xff" * (256 - 3 - len(_SHA1_PREFIX) - TOKEN_SIZE) + b"\x00"
    opened = pow(int.from_bytes(signature, "big"), exponent, modulus).to_bytes(256, "big")
    return hmac.compare_digest(opened, padding + _SHA1_PREFIX + token)


def _numbers(public_key: bytes) -> tuple[int, int]:
    try:
        raw = base64.b64decode(public_key[:KEY_MAX].split(b" ")[0].rstrip(b"\0"), validate=True)
    except binascii.Error:
        return 0, 0
    if len(raw) != _EXPONENT.stop or struct.unpack_from("<I", raw)[0] != _WORDS:
        return 0, 0
    modulus = int.from_bytes(raw[_MODULUS], "little")
    exponent = int.from_bytes(raw[_EXPONENT], "little")
    return (modulus, exponent) if modulus.bit_length() == 2048 and exponent in (3, 65537) else (0, 0)


class Keyring:
    """The keys that the device's owner allowed. ``ask`` off lets any host in without AUTH, as an emulator does."""

    def __init__(self, *, ask: bool = True) -> None:
        self.ask = ask
        self._known: set[bytes] = set()

    def allow(self, public_key: bytes) -> None:
        """Remember a key, as the phone's dialog does with *always allow from this computer*."""
        self._known.add(public_key[:KEY_MAX])

    def forget(self) -> None:
        """Forget all keys, as *revoke USB debugging authorisations* does."""
        self._known.clear()

    def opens(self, token: bytes, signature: bytes) -> bool:
        """Say whether one of the known keys signed the token."""
        return any(is_signed(key, token, signature) for key in self._known)
