"""The HTML reports in a real browser: they render, filter, sort, fit, print, and can be used without eyes or mouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

REAL = ("run", "comparison", "history")
HOSTILE = ("hostile-run", "hostile-comparison", "hostile-history")
Visit = Callable[..., Any]


def visible_rows(page: Any) -> int:
    return page.evaluate(
        "[...document.querySelectorAll('table.matrix tbody tr')].filter(row => row.getClientRects().length).length"
    )


@pytest.mark.parametrize(
    ("name", "width"), [(name, width) for width in (360, 1440) for name in REAL] + [(name, 360) for name in HOSTILE]
)
def test_a_page_fits_its_window_says_nothing_and_asks_for_nothing(visit: Visit, name: str, width: int):
    opened = visit(name, width)

    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith("file:")] == []
    assert len(opened.asked) == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_names_with_markup_run_nothing(visit: Visit, name: str):
    opened = visit(name)

    assert opened.page.evaluate("document.scripts.length") == 1
    assert (
        opened.page.evaluate("document.querySelectorAll('img, iframe, object, embed, link, form[action]').length") == 0
    )
    handlers = "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on')))"
    assert opened.page.evaluate(f"{handlers}.length") == 0
    for select in opened.page.query_selector_all("select"):
        select.select_option(index=1)
    for button in opened.page.query_selector_all("table.matrix thead button"):
        button.click()
    assert "<script>alert('x')</script>" in opened.page.inner_text("h1")
    assert opened.dialogs == []
    assert opened.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", REAL)
def test_axe_finds_no_barrier(visit: Visit, axe: str, name: str, scheme: str):
    opened = visit(name, color_scheme=scheme, bypass_csp=True)

    opened.page.evaluate(f"{axe}; undefined")
    found = opened.page.evaluate("axe.run(document, {resultTypes: ['violations']})")

    told = [(item["id"], [node["html"][:160] for node in item["nodes"]][:3]) for item in found["violations"]]
    assert told == []
    assert len(found["passes"]) > 20


def test_filters_hide_rows_and_the_heat_map_follows(visit: Visit):
    page = visit("run").page
    assert page.inner_text("form.filters output") == ""
    every = visible_rows(page)

    page.select_option("form.filters select[name=device]", "Pixel 8")
    page.select_option("form.filters select[name=target]", "tflite")

    assert visible_rows(page) == 2
    assert page.inner_text("form.filters output") == f"2 of {every} rows"
    assert page.evaluate("[...document.querySelector('table.map').rows].filter(row => !row.hidden).length") == 2
    assert (
        page.evaluate("[...document.querySelector('table.map').rows[0].cells].filter(cell => !cell.hidden).length") == 3
    )
    page.fill("form.filters input", "float32")
    assert visible_rows(page) == 1
    page.click("form.filters button[type=reset]")
    page.wait_for_function("document.querySelector('form.filters output').textContent === ''")
    assert visible_rows(page) == every


def test_a_header_sorts_from_the_keyboard_both_ways(visit: Visit):
    page = visit("run").page
    medians = (
        "[...document.querySelectorAll('table.matrix tbody tr')].map(row => row.cells[6].dataset.sort)"
        ".filter(value => value !== undefined).map(Number)"
    )

    page.focus("table.matrix th[data-name=Median] button")
    page.keyboard.press("Enter")
    rising = page.evaluate(medians)
    page.keyboard.press("Enter")
    falling = page.evaluate(medians)

    assert len(rising) == 8
    assert rising == sorted(rising) == falling[::-1]
    assert page.get_attribute("table.matrix th[data-name=Median]", "aria-sort") == "descending"
    assert page.evaluate("document.querySelectorAll('table.matrix [aria-sort]').length") == 1


def test_the_heat_map_shows_what_is_chosen(visit: Visit):
    page = visit("run").page
    first = "table.map tbody tr:first-child td"
    latencies = page.eval_on_selector_all(first, "cells => cells.map(cell => cell.textContent)")

    page.select_option("select[name=metric]", "memory")

    memory = page.eval_on_selector_all(first, "cells => cells.map(cell => cell.textContent)")
    assert memory != latencies
    assert page.inner_text("table.map caption").startswith("Peak memory, MB")
    steps = page.eval_on_selector_all(first, "cells => cells.map(cell => cell.className)")
    best = min(range(len(memory)), key=lambda at: float(memory[at]))
    assert steps[best] == "h0"


def test_a_comparison_filters_by_verdict(visit: Visit):
    page = visit("comparison").page

    page.select_option("form.filters select[name=verdict]", "regressed")

    shown = page.eval_on_selector_all("table.matrix tbody tr:not([hidden])", "rows => rows.map(r => r.dataset.verdict)")
    assert shown
    assert set(shown) == {"regressed"}


def test_a_long_table_opens_short_and_shows_all_when_asked(visit: Visit):
    page = visit("long").page
    assert visible_rows(page) == 100

    page.click("button.more")

    assert visible_rows(page) == 132
    assert not page.is_visible("button.more")
    assert page.locator("table.matrix tbody tr").nth(100).locator("th").is_visible()


def test_sorting_and_filtering_a_long_table_looks_at_all_its_rows(visit: Visit):
    page = visit("long").page
    every = page.inner_text("button.more")

    page.click("table.matrix th[data-name=Size] button")
    page.click("table.matrix th[data-name=Size] button")

    assert (every, visible_rows(page)) == ("Show all 132 rows", 100)
    sizes = page.evaluate("[...document.querySelectorAll('table.matrix tbody tr')].map(r => +r.cells[2].dataset.sort)")
    assert len(sizes) == 132
    assert sizes == sorted(sizes, reverse=True)
    page.select_option("form.filters select[name=device]", index=2)
    count, total = (int(word) for word in page.inner_text("form.filters output").split()[:3:2])
    assert (visible_rows(page), total) == (min(count, 100), 132)


def test_without_scripts_and_on_paper_every_row_is_there(visit: Visit):
    plain = visit("long", java_script_enabled=False).page
    assert plain.locator("table.matrix tbody tr").last.is_visible()
    assert not plain.is_visible("form.filters")

    page = visit("long").page
    page.emulate_media(media="print")
    page.wait_for_function("document.querySelectorAll('table.matrix tbody tr').length === 132")
    assert visible_rows(page) == 132
    assert not page.is_visible("form.filters")
    printed = visit("long").page
    assert printed.pdf().startswith(b"%PDF")
    assert printed.locator("table.matrix tbody tr").count() == 132


def test_the_keyboard_reaches_everything_in_order(visit: Visit):
    page = visit("comparison").page
    seen = []

    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.tagName"))
        shown = "getComputedStyle(document.activeElement).outlineStyle"
        assert seen[-1] == "BODY" or page.evaluate(shown) != "none", seen

    assert seen[0] == "A"
    assert {"INPUT", "SELECT", "BUTTON", "DIV"} <= set(seen)
