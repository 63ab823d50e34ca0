"""The pages of ``palmtop history serve``: the list of runs, a run's report, a comparison, a build's trend."""

from __future__ import annotations

from urllib.parse import quote

from markupsafe import Markup, escape

from mobile_harness import comparer
from mobile_harness.history import History, RunSummary
from mobile_harness.history.web import OWN_POLICY, Page, Pages
from mobile_harness.reports import _document, html

AT_ONCE = 200
_STYLE = Markup(
    "<style>:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:1.5rem auto;max-width:72rem;"
    "padding:0 1rem}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;"
    "padding:.3rem .7rem .3rem 0;border-bottom:1px solid #8886}pre{overflow-x:auto}</style>"
)


def pages_of(store: History) -> Pages:
    """Return the pages of a store. Whatever a record holds is escaped."""

    def pages(parts: tuple[str, ...], query: dict[str, str]) -> Page | None:
        match parts:
            case ():
                return _list(store, query.get("from", "0"))
            case ("run", name):
                return Page(html=html.render(_document.document_of(store.read(name))), policy=OWN_POLICY)
            case ("compare", base, head):
                found = comparer.compare(store.read(base), store.read(head))
                return Page(html=html.render_comparison(found), policy=OWN_POLICY)
            case ("trend", build):
                history = _document.history_of(build, store.cells_of(build, query.get("device")))
                return Page(html=html.render_history(history), policy=OWN_POLICY)
        return None

    return pages


def _list(store: History, start: str) -> Page:
    first = int(start) if start.isascii() and start.isdigit() and len(start) < 9 else 0
    runs = store.runs(limit=first + AT_ONCE + 1)[first:]
    shown, more = runs[:AT_ONCE], len(runs) > AT_ONCE
    rows = Markup("").join(_row(run, older) for run, older in zip(shown, [*runs[1:], None], strict=False))
    parts = [
        Markup("<h1>Runs</h1>"),
        Markup("<p>{} in {}</p>").format(store.count(), store.shown),
        Markup("<div class=wide><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>").format(
            Markup("").join(map(Markup("<th scope=col>{}</th>").format, _HEADS)), rows
        ),
        Markup('<p><a href="/?from={}">older runs</a></p>').format(first + AT_ONCE) if more else Markup(""),
    ]
    return _page("Runs", Markup("").join(parts))


_HEADS = ("run", "started (UTC)", "model", "plan", "devices", "cells", "against the run before")


def _row(run: RunSummary, older: RunSummary | None) -> Markup:
    against = Markup("")
    if older is not None and older.model == run.model:
        against = Markup('<a href="/compare/{}/{}">compare</a>').format(quote(older.id, ""), quote(run.id, ""))
    cells = (
        Markup('<a href="/run/{}">{}</a>').format(quote(run.id, ""), run.id),
        *map(escape, (run.created_utc, run.model, run.plan, ", ".join(run.devices))),
        escape(f"{run.measured} of {run.cells}" + (f", {run.failed} failed" if run.failed else "")),
        against,
    )
    return Markup("<tr>{}</tr>").format(Markup("").join(map(Markup("<td>{}</td>").format, cells)))


def _page(title: str, body: Markup) -> Page:
    frame = Markup(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        'content="width=device-width"><title>{} · palmtop</title>{}</head><body><main>{}</main></body></html>'
    )
    return Page(html=str(frame.format(title, _STYLE, body)))
