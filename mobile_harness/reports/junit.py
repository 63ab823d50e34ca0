"""The report as JUnit XML for build servers: a suite a device, a case a cell.

A cell that failed is an error, a build that failed its accuracy check a failure; a build that is undecided, unchecked
or not measured is skipped with the reason. ``time`` is the median latency in seconds.

In a comparison a case fails where the gate does; what is inconclusive, refused or not measured is skipped. A history
fails nothing: a case a run, with what changed there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree as ET

from mobile_harness.comparer import CellComparison, Change, Comparison
from mobile_harness.reports import _changes as changes
from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _trends as trends
from mobile_harness.reports import _words as words
from mobile_harness.reports.base import Document, HistoryDocument, Row

SUFFIX = ".xml"


def render(document: Document) -> str:
    """Return the matrix as JUnit XML."""
    root = ET.Element("testsuites", name=_text(f"palmtop {document.model} {document.run_id}"))
    for name, group in groupby(document.rows, key=lambda row: row.device_name):
        _suite(root, document, name, list(group))
    for item in document.failed_builds:
        case = ET.SubElement(_builds(root), "testcase", classname=_text(item.target), name=_text(item.recipe))
        ET.SubElement(case, "error", type="build", message=_text(item.error))
    for missing in document.not_expressible:
        case = ET.SubElement(_builds(root), "testcase", classname=_text(missing.target), name=_text(missing.recipe))
        ET.SubElement(case, "skipped", message=_text(f"not expressible: {missing.reason}"))
    for suite in root:
        _note(suite, document.notes)
    return _xml(root)


def render_comparison(comparison: Comparison) -> str:
    """Return the comparison as JUnit XML: a case is a cell, or what a build's file and accuracy came to."""
    root = ET.Element("testsuites", name=_text(f"palmtop {comparison.base.id} and {comparison.head.id}"))
    names = changes.device_names(comparison)
    by_device: dict[str, ET.Element] = {}
    for cell in comparison.cells:
        suite = by_device.get(cell.device.serial)
        if suite is None:
            name = f"{names[cell.device.serial]} ({cell.device.kind})"
            suite = by_device[cell.device.serial] = ET.SubElement(root, "testsuite", name=_text(name))
        _compared(ET.SubElement(suite, "testcase", classname=_text(cell.target), name=_text(cell.build_id)), cell)
    for build in comparison.builds:
        case = ET.SubElement(_builds(root), "testcase", classname=_text(build.target), name=_text(build.build_id))
        _changed(case, build.changes, "")
    for suite in root:
        _note(suite, (comparison.sentence, *comparison.notes))
    return _xml(root)


def render_history(history: HistoryDocument) -> str:
    """Return the trends as JUnit XML: a suite a device and model, a case a run."""
    root = ET.Element("testsuites", name=_text(f"palmtop history of {history.build_id}"))
    for trend in history.trends:
        place = f"{trend.model} on {trend.device.model} {trend.device.serial} ({trend.device.kind})"
        suite = ET.SubElement(root, "testsuite", name=_text(place))
        for point in trend.points:
            case = ET.SubElement(suite, "testcase", classname=_text(trend.build_id), name=_text(point.run_id))
            case.set("time", f"{point.median_ns / 1e9:.9f}")
            said = [*filter(None, (trends.step_words(point),)), *point.changed]
            if said:
                ET.SubElement(case, "system-out").text = _text("\n".join(said))
    return _xml(root)


def _compared(case: ET.Element, cell: CellComparison) -> None:
    latency = changes.latency(cell)
    if latency is not None and latency.after is not None:
        case.set("time", f"{latency.after / 1e9:.9f}")
    if cell.status != "compared":
        ET.SubElement(case, "skipped", message=_text(f"{cell.status}: {cell.reason}"))
        return
    _changed(case, cell.changes, "; ".join(item.sentence for item in cell.differences))


def _changed(case: ET.Element, found: Sequence[Change], unlike: str) -> None:
    failing = [change for change in found if change.gates and change.verdict == "regressed"]
    open_ = [change for change in found if change.gates and change.verdict == "inconclusive"]
    if failing:
        ET.SubElement(case, "failure", type="regression", message=_text("; ".join(map(_change_words, failing))))
    elif open_:
        ET.SubElement(case, "skipped", message=_text("; ".join(map(_change_words, open_))))
    lines = [*map(_change_words, found), *([f"Unlike in {unlike}."] if unlike else [])]
    if lines:
        ET.SubElement(case, "system-out").text = _text("\n".join(lines))


def _change_words(change: Change) -> str:
    interval = changes.effect_interval(change)
    shown = f"{changes.effect(change)}{f' ({interval})' if interval else ''}"
    sides = f"{changes.amount(change.before, change)} to {changes.amount(change.after, change)}"
    return f"{changes.METRICS[change.metric]} {change.verdict}: {shown}, {sides}"


def _xml(root: ET.Element) -> str:
    """Count the cases and write the whole."""
    for suite in (*root, root):
        for plural, tag in (
            ("tests", "testcase"),
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            suite.set(plural, str(sum(1 for _ in suite.iter(tag))))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _builds(root: ET.Element) -> ET.Element:
    """Return the suite of the builds themselves, made when first asked for."""
    found = root.find("testsuite[@name='builds']")
    return ET.SubElement(root, "testsuite", name="builds") if found is None else found


def _suite(root: ET.Element, document: Document, name: str, rows: list[Row]) -> None:
    device = rows[0].device
    suite = ET.SubElement(root, "testsuite", name=_text(f"{name} ({device.kind})" if device else "not measured"))
    suite.set("timestamp", _text(document.created_utc.removesuffix("Z")))
    for row in rows:
        case = ET.SubElement(suite, "testcase", classname=_text(row.target), name=_text(row.build_id))
        if row.performance and row.performance.median_ns is not None:
            case.set("time", f"{row.performance.median_ns / 1e9:.9f}")
        _outcome(case, row)
        if row.doubts:
            ET.SubElement(case, "system-out").text = _text(
                "Doubts:\n" + "\n".join(doubt.message for doubt in row.doubts)
            )


def _note(suite: ET.Element, notes: Sequence[str]) -> None:
    """Put notes where build servers show facts about a suite: properties, before its cases."""
    if not notes:
        return
    properties = ET.Element("properties")
    for note in notes:
        ET.SubElement(properties, "property", name="note", value=_text(note))
    suite.insert(0, properties)


def _outcome(case: ET.Element, row: Row) -> None:
    if row.outcome == "failed":
        kind = row.failure.kind if row.failure else "failed"
        also = f" Its check failed, too: {_accuracy_words(row)}" if row.verdict == "fail" else ""
        ET.SubElement(case, "error", type=_text(kind), message=_text(words.failure_words(row) + also))
    elif row.verdict == "fail":
        ET.SubElement(case, "failure", type="accuracy", message=_text(_accuracy_words(row)))
    elif row.outcome in ("skipped", "unmeasured"):
        ET.SubElement(case, "skipped", message=_text(words.failure_words(row) or "not measured in this run"))
    elif row.verdict != "pass":
        reason = f"accuracy undecided: {_accuracy_words(row)}" if row.verdict else "accuracy was not checked"
        ET.SubElement(case, "skipped", message=_text(reason))


def _accuracy_words(row: Row) -> str:
    if row.verdict_reason:
        return row.verdict_reason
    if row.accuracy is None:
        return "the outputs differ from the float model's"
    budget = numbers.metric_change(row.accuracy, row.accuracy.max_drop)
    drop = numbers.metric_change(row.accuracy, row.accuracy.drop)
    return f"{row.accuracy.metric} drops by {drop} ({numbers.metric_interval(row.accuracy)}), budget {budget}"


def _text(text: str) -> str:
    """Return text that XML can hold: controls become escapes one can read."""
    return "\n".join(numbers.visible(line) for line in text.split("\n"))
