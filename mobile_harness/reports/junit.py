"""The report as JUnit XML for build servers: a suite a device, a case a build.

A cell that failed is an error, a build that failed its accuracy check a failure; a build that is undecided, unchecked
or not measured is skipped with the reason. ``time`` is the median latency in seconds.
"""

from __future__ import annotations

from itertools import groupby
from xml.etree import ElementTree as ET

from mobile_harness.reports import _numbers as numbers
from mobile_harness.reports import _words as words
from mobile_harness.reports.base import Document, Row

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
    for suite in (*root, root):
        for plural, tag in (
            ("tests", "testcase"),
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            suite.set(plural, str(sum(1 for _ in suite.iter(tag))))
    for suite in root:
        _note(suite, document)
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


def _note(suite: ET.Element, document: Document) -> None:
    """Put the document's notes where build servers show facts about a suite: properties, before its cases."""
    if not document.notes:
        return
    properties = ET.Element("properties")
    for note in document.notes:
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
