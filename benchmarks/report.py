"""Time the HTML report of fifty devices by twenty builds: rendering it, and opening it in a browser where one is here.

    python benchmarks/report.py [--devices 50] [--builds 20]

Claims (docs/benchmarks.md): a thousand cells render in under 2 s, and the page opens in under a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "mobile_harness" / "reports"))

import report_samples as samples

from mobile_harness.records import RunRecord
from mobile_harness.reports import html
from mobile_harness.reports._document import document_of

TIMES = 5
OPENED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
WORKED = "TaskDuration"
"""Of the page's main thread, in processor time: what a busy machine does not change."""


def run_of(devices: int, builds: int) -> RunRecord:
    """Return a run of many builds, three sessions of 400 runs each, on many phones."""
    made = [
        dataclasses.replace(
            samples.BUILDS[at % len(samples.BUILDS)],
            id=f"{samples.BUILDS[at % len(samples.BUILDS)].target}-recipe-{at}",
            recipe=f"recipe-{at}" if at >= len(samples.BUILDS) else samples.BUILDS[at].recipe,
        )
        for at in range(builds)
    ]
    phones = [samples.phone(f"Phone {at:02d}", "SoC", serial=f"S{at:05d}") for at in range(devices)]
    cells = tuple(samples.cell(build, phone, sessions=3) for phone in phones for build in made)
    return samples.run_of(cells, dataclasses.replace(samples.MANIFEST, builds=tuple(made)))


def timed_rendering(run: RunRecord) -> str:
    taken, page = [], ""
    for _ in range(TIMES + 1):
        wall, own = time.perf_counter(), time.process_time()
        page = html.render(document_of(run))
        taken.append((time.perf_counter() - wall, time.process_time() - own))
    print(f"render {len(run.cells)} cells, {len(page) / 1e6:.1f} MB")
    print(f"    first in a process: {_seconds(taken[0])}")
    print(f"    then: {_seconds(tuple(map(statistics.median, zip(*taken[1:], strict=True))))}, median of {TIMES}")
    return page


def _seconds(taken: tuple[float, ...]) -> str:
    return f"{taken[0]:.2f} s, of processor {taken[1]:.2f} s"


def timed_opening(page: str) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("open: not timed, there is no chromium with playwright here")
        return
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        path = Path(folder) / "report.html"
        path.write_text(page, encoding="utf-8")
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        taken = []
        for _ in range(TIMES):
            tab = browser.new_page(viewport={"width": 1440, "height": 900})
            watch = tab.context.new_cdp_session(tab)
            watch.send("Performance.enable", {"timeDomain": "threadTicks"})
            tab.goto(path.as_uri(), wait_until="load")
            told = {item["name"]: item["value"] for item in watch.send("Performance.getMetrics")["metrics"]}
            taken.append((tab.evaluate(OPENED), 1000 * told[WORKED]))
            tab.close()
        browser.close()
    wall_ms, own_ms = (statistics.median(values) for values in zip(*taken, strict=True))
    print(f"open it: {wall_ms:.0f} ms, least {min(taken)[0]:.0f}, of processor {own_ms:.0f} ms, median of {TIMES}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--builds", type=int, default=20)
    asked = parser.parse_args()
    timed_opening(timed_rendering(run_of(asked.devices, asked.builds)))


if __name__ == "__main__":
    main()
