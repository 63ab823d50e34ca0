"""The report as JSON: the document itself (schema 1), figures as numbers in nanoseconds, bytes and kilobytes."""

from __future__ import annotations

from mobile_harness.reports.base import Document
from toolkit.core import codec

SUFFIX = ".json"


def render(document: Document) -> str:
    r"""Return the document as indented JSON; a half character in a name stays a ``\ud800`` escape."""
    return codec.pretty(document).encode("utf-8", "backslashreplace").decode("utf-8")
