"""The toy runtime's twin that gives way where the model's `fragile` table says so, while `toy` goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import toy_target
from toy_source import load
from toy_target import calibrate, inspect, not_expressible, open_session, quantize, requirements, toolchain

from toolkit.core.artifacts import Signature
from toolkit.core.linear import LinearLayer

__all__ = [
    "calibrate",
    "correct_biases",
    "inspect",
    "linear_layers",
    "not_expressible",
    "open_session",
    "quantize",
    "requirements",
    "toolchain",
]


def linear_layers(model: Path) -> tuple[LinearLayer, ...]:
    """Show no layer that care could be taken of; reading them may be what goes wrong."""
    toy_target.fault(load(model), "care")
    return ()


def correct_biases(model: Path, shifts: dict[str, Any], out: Path) -> None:
    raise AssertionError("there is no layer to correct")


SUFFIX = ".fragileq"
FORMS = ("toy_json",)


def convert(form: str, model: Path, source: Signature, out: Path) -> Signature:
    content = load(model)
    content["faults"] = content.get("fragile", {})
    toy_target.fault(content, "convert")
    out.write_text(json.dumps(content))
    return toy_target.artefact_signature(content)
