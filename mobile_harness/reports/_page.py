"""The frame of every HTML page: one file that needs nothing but itself.

Style, script and charts are inside, and the content security policy allows just that style and that script, by their
hashes, so that nothing a name smuggles in could run or load.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _vega
from mobile_harness.reports._vega import Chart
from toolkit.core import resources

MARKS = {
    "pass": "✓", "fail": "✕", "undecided": "?", "unchecked": "–",
    "regressed": "▲", "improved": "▼", "equivalent": "=", "inconclusive": "?", "refused": "✕", "unmeasured": "–",
}  # fmt: skip


FIRST_ROWS = 100
"""Rows of a long table that are laid out before someone asks for more."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table that can be sorted."""

    title: str
    unit: str
    numeric: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """A number in a table: as shown, a smaller note below it, what it sorts by, and the class of its chip if any."""

    figure: str
    note: str = ""
    sort: float | str | None = None
    chip: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter: the rows' attribute it looks at, its label, and what there is to choose."""

    name: str
    label: str
    options: tuple[str, ...]


def page(template: str, **values: Any) -> str:
    """Return a whole page of a template."""
    style, script = _template_file("report.css"), _template_file("report.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template(template)
        .render(
            policy=policy,
            style=Markup(style),  # noqa: S704  # our own file
            script=Markup(script),  # noqa: S704  # our own file
            marks=MARKS,
            first=FIRST_ROWS,
            **values,
        )
    )


@functools.cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(resources.folder("templates") / "reports")
    made = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False, keep_trailing_newline=True
    )
    made.filters["visible"] = numbers.visible
    return made


@functools.cache
def _template_file(name: str) -> str:
    return (resources.folder("templates") / "reports" / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def drawn(charts: Iterable[Chart]) -> tuple[dict[str, Any], ...]:
    """Return charts as the templates take them."""
    return tuple(
        {
            "title": chart.title,
            "summary": chart.summary,
            # the library escapes, and the names in it are escaped before
            "svg": Markup(_vega.draw(chart.spec, label=f"{chart.title}. {chart.summary}")),  # noqa: S704
            "columns": chart.columns,
            "rows": chart.rows,
        }
        for chart in charts
    )


def series_of(targets: Iterable[str]) -> dict[str, str]:
    """Return a class a target, the one its colour in the charts has."""
    return {target: f"s{at % len(_vega.SERIES)}" for at, target in enumerate(sorted(set(targets)))}


def filters_of(**options: Iterable[str]) -> tuple[Filter, ...]:
    """Return the filters that have something to choose between, by the rows' attribute."""
    found = {name: tuple(dict.fromkeys(filter(None, values))) for name, values in options.items()}
    return tuple(
        Filter(name=name, label=name.capitalize(), options=chosen) for name, chosen in found.items() if chosen[1:]
    )
