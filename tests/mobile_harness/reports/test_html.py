"""The HTML report is one file that runs only its own script, whatever the names in it say."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
import report_samples as samples

from mobile_harness.reports import _vega
from toolkit.core import resources

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects elements as a browser would find them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, str] = {}
        self.words: list[str] = []
        self._open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style"):
            self.raw[self._open[-1]] = self.raw.get(self._open[-1], "") + data
        else:
            self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def hostile() -> Page:
    return Page(samples.page("hostile"))


@pytest.fixture(scope="module")
def demo_text() -> str:
    return samples.page("demo")


@pytest.fixture(scope="module")
def demo(demo_text: str) -> Page:
    return Page(demo_text)


@pytest.fixture(scope="module")
def lab_text() -> str:
    return samples.page("lab")


def test_hostile_names_make_no_element_and_no_handler(hostile: Page, demo: Page):
    assert hostile.unbalanced == []
    assert len(hostile.of("script")) == 1
    assert {name for name, _ in hostile.elements} <= {name for name, _ in demo.elements}
    for _, attributes in hostile.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "srcdoc", "action")]
    assert any("<script>alert('x')</script>" in words for words in hostile.words)


def test_hostile_names_cannot_turn_text_round_or_hide(hostile: Page):
    everything = "".join(hostile.words)
    assert "\u202e" not in everything
    assert "\x1b" not in everything
    assert "49" not in [words.strip() for words in hostile.words]  # {{7*7}} is text


def test_the_policy_allows_the_files_own_style_and_script_only(demo: Page):
    (policy,) = (item["content"] for item in demo.of("meta") if item.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for tag in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(demo.raw[tag].encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


def test_nothing_is_loaded_from_anywhere(demo: Page):
    for _, attributes in demo.elements:
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in demo.raw["style"]
    assert "@import" not in demo.raw["style"]


def test_the_page_can_be_used_without_eyes_or_mouse(demo: Page):
    ids = [attributes["id"] for _, attributes in demo.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in demo.elements:
        for reference in ("aria-labelledby",):
            assert attributes.get(reference) is None or attributes[reference] in ids
        target = attributes.get("href") or ""
        assert not target.startswith("#") or target[1:] in ids
    assert demo.of("html") == [{"lang": "en"}]
    assert len(demo.of("h1")) == len(demo.of("main")) == 1
    assert len(demo.of("caption")) == 2  # the heat map and the matrix
    assert all(attributes.get("scope") in ("col", "row") for attributes in demo.of("th"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in demo.of("svg"))
    scrolling = [item for item in demo.of("div") if "scroll" in (item.get("class") or "").split()]
    assert all(item["tabindex"] == "0" and item["role"] == "group" for item in scrolling)


def test_every_row_has_a_cell_for_every_column(lab_text: str):
    table = re.search(r'<table class="matrix">.*?</table>', lab_text, re.DOTALL)
    assert table
    rows = [len(re.findall(r"<t[hd][ >]", row)) for row in re.findall(r"<tr[ >].*?</tr>", table.group(), re.DOTALL)]
    assert len(rows) == 1 + 20
    assert set(rows) == {rows[0]}


def test_dark_mode_knows_every_colour_of_the_charts(demo_text: str, lab_text: str):
    style = (resources.folder("templates") / "reports" / "report.css").read_text(encoding="utf-8")

    drawings = re.findall(r"<svg .*?</svg>", demo_text + lab_text, re.DOTALL)
    drawn = set(re.findall(r'(?:fill|stroke)="#[0-9a-f]+"', "".join(drawings)))

    assert len(drawn) > 5
    for paint in drawn:
        assert f".charts [{paint}]" in style
    assert {paint.split('"')[1] for paint in drawn} <= set(_vega.COLOURS)


@pytest.mark.parametrize("run", ["empty", "failed", "unscored", "one_session", "extreme"])
def test_awkward_runs_still_make_a_page(run: str):
    page = Page(samples.page(run))

    assert page.unbalanced == []
    assert "nan" not in "".join(page.words).lower().split()


def test_more_devices_than_charts_are_said_to_be_in_the_matrix(lab_text: str):
    assert "Charts show Pixel 8 and SM-S921N; the matrix has 3 more devices." in lab_text
