"""What the host asks for: the one argument of a bench app."""

from __future__ import annotations

import base64
import binascii
import json
import re
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_KEY = "--palmtop="
_RUN = re.compile(r"[0-9a-f]{8}")


class BadOrder(ValueError):
    """The argument cannot be followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long to measure; the fields of ``RunPlan`` that concern a single session."""

    warmup_min_s: float
    warmup_min_runs: int
    warmup_max_s: float
    min_runs: int
    min_seconds: float
    max_seconds: float
    threads: int = 1
    accelerator: str = "cpu"
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One session: measure ``model`` on ``target`` and write the result file ``out``.

    ``run`` is eight hex digits. ``golden`` is an ``.npz`` of ``in/NAME`` and ``out/NAME``, sample first, or None.
    """

    run: str
    target: str
    model: Path
    model_sha256: str
    out: Path
    plan: Plan
    golden: Path | None = None


def read(arguments: list[str]) -> Order:
    """Read the argument ``--palmtop=``; keys that are not known are ignored, as the protocol asks.

    Raises:
        BadOrder: it is missing, damaged or incomplete.
    """
    given = [word.removeprefix(_KEY) for word in arguments if word.startswith(_KEY)]
    if len(given) != 1:
        raise BadOrder("give the order once, as --palmtop=<base64url of JSON>")
    try:
        padded = given[0] + "=" * (-len(given[0]) % 4)
        plain = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        order = _made(plain, Order)
    except (binascii.Error, ValueError, TypeError) as error:
        raise BadOrder(f"the order cannot be read: {error}") from error
    if not _RUN.fullmatch(order.run):
        raise BadOrder(f"the run {order.run!r} is not eight hex digits")
    return order


def _made(plain: Any, kind: type[T]) -> T:
    """Return the value that plain data describes; the house's codec could too, and takes 0.1 s to be imported."""
    if not isinstance(plain, dict):
        raise TypeError(f"{plain!r} is no object")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value(name, plain[name], hint) for name, hint in hints.items() if name in plain})


def _value(name: str, plain: Any, hint: Any) -> Any:
    if hint is Plan:
        return _made(plain, Plan)
    if plain is None and hint == Path | None:
        return None
    wanted = {float: (int, float), int: (int,)}.get(hint, (str,))
    if isinstance(plain, bool) or not isinstance(plain, wanted):
        raise TypeError(f"{name} is {plain!r}")
    return hint(plain) if hint in (float, int, str) else Path(plain)
