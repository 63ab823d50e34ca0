from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from history_records import run, session

from mobile_harness import comparer
from mobile_harness.history import History, read_export, run_schema
from mobile_harness.records import Cell, RunRecord
from mobile_harness.records.state import Cooled, Energy, Unavailable, Vitals
from toolkit.cli.main import execute
from toolkit.core import codec, manifest
from toolkit.core.errors import BadInput

PUBLISHED = Path(__file__).parents[3] / "docs" / "run.schema.json"
ENERGY = Energy(
    method="power_monitors", per_inference_uj=5.0, idle_uw=1.0, pairs=3, spread=0.1, resolution_uj=1.0, declined=("x",)
)


def whole() -> RunRecord:
    planned = run()
    cooled = Cooled(waited_s=1.5, reached=False, reason="warm", vitals=Vitals(at_ns=1))
    sessions = (session(0), dataclasses.replace(session(1), cooled=cooled, power=Unavailable(reason="charging")))
    cell = dataclasses.replace(
        planned.cells[0], outcome="measured", failure=None, sessions=sessions, energy=ENERGY, started_utc="t"
    )
    return dataclasses.replace(planned, cells=(cell, planned.cells[1]))


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    path = tmp_path / "run.json"
    path.write_text(codec.pretty(whole()), encoding="utf-8")
    return path


def test_the_published_schema_is_the_records_own() -> None:
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == run_schema(), (
        "make it again: palmtop history schema -o docs/run.schema.json"
    )


def test_what_is_exported_follows_the_published_schema(exported: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(run_schema())
    jsonschema.validate(json.loads(exported.read_text()), run_schema())
    assert codec.canonical(read_export(exported)) == codec.canonical(whole())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda plain: plain.update(extra=1),
        lambda plain: plain.pop("plan"),
        lambda plain: plain["cells"][0].update(outcome="fine"),
        lambda plain: plain["cells"][0]["sessions"][0].update(latency_ns="4"),
        lambda plain: plain["cells"][0]["energy"].update(method="guess"),
    ],
)
def test_the_schema_and_the_reader_refuse_the_same(spoil: Any, exported: Path) -> None:
    plain = json.loads(exported.read_text())
    spoil(plain)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(plain, run_schema())
    exported.write_text(json.dumps(plain))
    with pytest.raises(BadInput, match=r"run\.json"):
        read_export(exported)


def test_a_run_of_an_older_palmtop_is_read() -> None:
    """Fields that came later have defaults: dropping all of those is what an older palmtop wrote."""
    plain = codec.unstructure(whole())
    later = {field.name for field in dataclasses.fields(Cell) if field.default is not dataclasses.MISSING}
    for cell in plain["cells"]:
        for name in later - {"sessions", "failure"}:
            del cell[name]
    from mobile_harness.history import record_of

    assert record_of(plain, what="old run").cells[0].energy is None


def test_a_run_of_a_newer_palmtop_is_named_as_such(exported: Path) -> None:
    plain = json.loads(exported.read_text())
    exported.write_text(json.dumps({**plain, "palmtop": "99.1.0", "brand_new": 1}))
    with pytest.raises(BadInput, match=r"palmtop 99\.1\.0, which is newer than this one: .*'brand_new'"):
        read_export(exported)


def test_a_truncated_file_is_refused_wherever_it_ends(exported: Path) -> None:
    text = exported.read_text()
    for end in range(0, len(text) - 2, len(text) // 60):
        exported.write_text(text[:end])
        with pytest.raises(BadInput, match=r"run\.json"):
            read_export(exported)


def foreign(tmp_path: Path) -> dict[str, Any]:
    from mobile_harness.reports import _document
    from mobile_harness.reports import json as report

    record = whole()
    return {
        "report": json.loads(report.render(_document.document_of(record))),
        "comparison": codec.unstructure(comparer.compare(record, record)),
        "build.json": codec.unstructure(record.manifest),
        "JSON list": [codec.unstructure(record)],
    }


@pytest.mark.parametrize("kind", ["report", "comparison", "build.json", "JSON list"])
def test_other_files_of_ours_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(foreign(tmp_path)[kind]))
    with pytest.raises(BadInput, match=kind.replace(".", r"\.")):
        read_export(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe{}",
        b'{"schema": NaN}',
        b'{"benchmark": {"name": "mobilebert", "latency_us": [1, 2]}}',
        b'{"schema": true}',
        b'{"schema": 1, "id": {"$ref": "#"}}',
        b'{"a":' * 20_000,
        b"\x80\x04\x95\x10",
    ],
)
def test_foreign_and_hostile_files_are_bad_input(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"x\.json"):
        read_export(path)


def test_of_several_files_the_good_ones_are_taken_in(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.json"
    other.write_text(exported.read_text().replace("20261123-0041-7f3a", "20261123-0041-aaaa"))
    bad = tmp_path / "bad.json"
    bad.write_text(exported.read_text()[:-40])
    place = str(tmp_path / "h.sqlite")
    assert execute(["history", "import", str(exported), str(bad), str(other), "--store", place, "--json"]) == 5
    printed = capsys.readouterr()
    shown = json.loads(printed.out)
    assert shown["runs"] == ["20261123-0041-7f3a", "20261123-0041-aaaa"]
    assert "bad.json" in shown["refused"][0]
    assert "bad.json" in printed.err
    assert History(f"sqlite:///{place}").count() == 2


def test_the_printed_schema_is_the_published_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert execute(["history", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == run_schema()
    assert execute(["history", "schema", "-o", str(tmp_path / "s.json")]) == 0
    assert json.loads((tmp_path / "s.json").read_text()) == run_schema()


def test_the_manifest_of_an_export_is_a_build_json(exported: Path, tmp_path: Path) -> None:
    manifest.write(tmp_path, read_export(exported).manifest)
    assert manifest.read(tmp_path) == read_export(exported).manifest
