"""Pages in a real browser: headless Chromium, driven by Playwright, without a network. What is missing skips."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import pytest

from toolkit.core import process

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "mobile_harness" / "reports"))

import compared_samples  # noqa: E402
import report_samples as samples  # noqa: E402

from mobile_harness.reports import html  # noqa: E402
from mobile_harness.reports._document import document_of  # noqa: E402

AXE = "4.14.1"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip

PAGES: dict[str, Callable[[], str]] = {
    "run": lambda: samples.page("warm"),
    "comparison": lambda: html.render_comparison(compared_samples.unlike_comparison()),
    "history": lambda: html.render_history(compared_samples.history()),
    "long": lambda: html.render(document_of(samples.big_run(132))),
    "hostile-run": lambda: samples.page("hostile"),
    "hostile-comparison": lambda: html.render_comparison(compared_samples.hostile_comparison()),
    "hostile-history": lambda: html.render_history(compared_samples.hostile_history()),
}


@pytest.fixture(scope="session")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the file of a page, made when first asked for."""
    folder = tmp_path_factory.mktemp("pages")

    def made(name: str) -> Path:
        path = folder / f"{name}.html"
        if not path.exists():
            path.write_text(PAGES[name](), encoding="utf-8")
        return path

    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a network; closed with its module, for Playwright's event loop would be in others' way."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield launched
        launched.close()


class Opened:
    """A page that was opened, with what it said and asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        self.dialogs: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("dialog", self._dismiss)

    def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()


@pytest.fixture
def visit(browser: Any, page_file: Callable[[str], Path]) -> Iterator[Callable[..., Opened]]:
    """Open a page by its name; further words are the browser context's."""
    contexts = []

    def opened(name: str, width: int = 1440, **words: Any) -> Opened:
        path = page_file(name)
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **words)
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.goto(path.as_uri(), wait_until="load")
        return found

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, installed once by npm into an ignored folder."""
    folder = ROOT / "build" / "axe"
    source = folder / AXE / "node_modules" / "axe-core" / "axe.min.js"
    npm = shutil.which("npm")
    if not source.exists() and npm is None:
        pytest.skip("npm is not installed, so axe-core is not there")
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / f"{AXE}.lock"):
        if not source.exists():
            command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder / AXE), f"axe-core@{AXE}"]
            done = process.run([str(word) for word in command], deadline_s=120)
            if not source.exists():
                pytest.skip(f"npm could not install axe-core {AXE}: {done.tail()}")
    return source.read_text(encoding="utf-8")
