"""The toy runtime's twin that gives way where the model's `fragile` table says so, while `toy` goes on."""

from __future__ import annotations

import json
from pathlib import Path

import toy_target
from toy_source import load
from toy_target import calibrate, inspect, not_expressible, open_session, quantize, requirements, toolchain

from toolkit.core.artifacts import Signature

__all__ = ["calibrate", "inspect", "not_expressible", "open_session", "quantize", "requirements", "toolchain"]

SUFFIX = ".fragileq"
FORMS = ("toy_json",)


def convert(form: str, model: Path, source: Signature, out: Path) -> Signature:
    content = load(model)
    content["faults"] = content.get("fragile", {})
    toy_target.fault(content, "convert")
    out.write_text(json.dumps(content))
    return toy_target.artefact_signature(content)
