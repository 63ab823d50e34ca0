"""Markdown that GitHub shows as it is meant: names without a meaning, tables, details that fold, a page that fits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from mobile_harness.reports import _numbers as numbers

CHARACTERS_MAX: Final = 60_000
"""A comment on a pull request may have 65,536."""
ROWS: Final = (100, 40, 15, 5, 1)
"""How many rows of a kind are tried, until the page fits."""
NAME_MAX: Final = 400
_MEANT = {character: f"\\{character}" for character in "\\`*_[]|~#!"} | {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "$": "&#36;",
    "@": "@&#8203;",
}
_LINK = re.compile(r"//|(?i:www)\.")


def escape(text: str) -> str:
    """Return a name that Markdown, HTML, mentions and links leave alone."""
    shown = numbers.visible(text[: NAME_MAX + 1])
    shown = shown if len(shown) <= NAME_MAX else f"{shown[:NAME_MAX]}…"
    linked = {at for found in _LINK.finditer(shown) for at in range(found.start(), found.end())}
    return "".join(_escaped(character, linked=at in linked) for at, character in enumerate(shown))


def _escaped(character: str, *, linked: bool) -> str:
    if linked:  # a reference, so that the text is not made a link
        return f"&#{ord(character)};"
    return _MEANT.get(character, character)


def table(head: Sequence[str], lines: Iterable[Sequence[str]], *, left_columns: int) -> str:
    """Return a Markdown table, all but the first columns to the right."""
    rule = ["---" if at < left_columns else "---:" for at in range(len(head))]
    body = [" | ".join(escape(item) for item in line) for line in lines]
    return "\n".join(f"| {line} |" for line in (" | ".join(map(escape, head)), " | ".join(rule), *body))


def fold(title: str, body: str) -> str:
    """Return details that fold away, empty where there are none."""
    return f"<details><summary>{escape(title)}</summary>\n\n{body}\n\n</details>" if body else ""


def fit(shown: Callable[[int], Iterable[str]], folds: Sequence[tuple[str, str]]) -> str:
    """Return blocks as one page that fits a comment: with fewer rows, then with fewer of the details.

    Args:
        shown: makes the blocks that always show, with at most so many rows of a kind.
        folds: titles and bodies of the details, the most important first.
    """
    page = ""
    for most in ROWS:
        page = "\n\n".join(filter(None, shown(most)))
        if len(page) <= CHARACTERS_MAX:
            break
    if len(page) > CHARACTERS_MAX:  # not even so: whole lines go, the last first
        page = page[:CHARACTERS_MAX].rpartition("\n")[0]
    left = []
    for title, body in folds:
        details = fold(title, body)
        if len(page) + len(details) > CHARACTERS_MAX:
            left.append(title)
        elif details:
            page += f"\n\n{details}"
    more = f"\n\nToo long for a comment, so not here: {escape(', '.join(left))}." if left else ""
    return f"{page}{more}\n"
