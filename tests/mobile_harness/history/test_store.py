from __future__ import annotations

import dataclasses
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from history_records import run, session

from mobile_harness.history import History, locate, read_export, record_of
from mobile_harness.records import Doubt, Failure
from toolkit.cli.main import execute
from toolkit.core import codec
from toolkit.core.errors import BadInput, OutputError, SettingsError
from toolkit.core.tools import Tools


@pytest.fixture
def store(url: str) -> History:
    return History(url)


def test_a_run_reads_back_as_planned_then_as_it_was_filled(store: History) -> None:
    planned = run()
    store.create(planned)
    assert store.read(planned.id) == planned
    first = planned.cells[0]
    store.add_session(planned.id, first.id, session(1))
    store.add_session(planned.id, first.id, session(0))
    ended = dataclasses.replace(
        first, outcome="measured", failure=None, runtime="r", doubts=(Doubt(kind="k", message="d"),)
    )
    store.save_cell(ended)
    found = store.read(planned.id)
    assert codec.unstructure(found.cells[0].sessions) == codec.unstructure((session(0), session(1)))
    assert dataclasses.replace(found.cells[0], sessions=()) == ended
    assert found.cells[1] == planned.cells[1]


def test_doubts_of_before_there_were_kinds_are_read() -> None:
    plain = codec.unstructure(run())
    plain["cells"][0]["doubts"] = ["Few runs.", {"kind": "busy", "message": "Busy."}]
    found = record_of(plain, what="run").cells[0].doubts
    assert found == (Doubt(kind="", message="Few runs."), Doubt(kind="busy", message="Busy."))


def test_a_session_replaces_one_of_its_index(store: History) -> None:
    planned = run()
    store.create(planned)
    store.add_session(planned.id, planned.cells[0].id, session(0))
    again = dataclasses.replace(session(0), latency_ns=(9,))
    store.add_session(planned.id, planned.cells[0].id, again)
    assert [item.latency_ns for item in store.read(planned.id).cells[0].sessions] == [(9,)]


def test_runs_are_listed_latest_first_with_how_they_stand(store: History) -> None:
    store.create(run("20261123-0041-aaaa"))
    later = dataclasses.replace(run("20261124-0041-bbbb", cells=1), created_utc="2026-11-24T00:41:00Z")
    store.create(later)
    store.save_cell(dataclasses.replace(later.cells[0], outcome="failed", failure=Failure(kind="hung", message="m")))
    late, early = store.runs()
    assert (late.id, late.failed, late.measured, late.complete) == ("20261124-0041-bbbb", 1, 0, True)
    assert (early.cells, early.complete, early.devices, early.model) == (2, False, ("host:1f3a90c2",), "net")


def test_runs_are_found_by_id_beginning_and_latest(store: History) -> None:
    store.create(run("20261123-0041-aaaa"))
    store.create(run("20261123-0042-bbbb"))
    assert store.resolve("20261123-0041-aaaa") == store.resolve("20261123-0041") == "20261123-0041-aaaa"
    assert store.resolve("latest") == "20261123-0042-bbbb"
    assert store.has("20261123-0042-bbbb")
    assert not store.has("20261123-0042")
    with pytest.raises(SettingsError, match="begins the ids of 2 runs"):
        store.resolve("2026")
    with pytest.raises(SettingsError, match="Did you mean '20261123-0042-bbbb'"):
        store.resolve("20261123-0042-bbbc")
    with pytest.raises(SettingsError, match="Unknown run ''"):
        store.resolve("")


def test_an_id_is_stored_once(store: History) -> None:
    store.create(run())
    with pytest.raises(BadInput, match="already has a run"):
        store.create(run())
    assert len(store.runs()) == 1


def test_export_and_import_give_the_same_run(store: History, tmp_path: Path) -> None:
    whole = run()
    cells = (
        dataclasses.replace(whole.cells[0], sessions=(session(0), session(1)), outcome="measured", failure=None),
        whole.cells[1],
    )
    whole = dataclasses.replace(whole, cells=cells)
    path = tmp_path / "run.json"
    path.write_text(codec.pretty(whole), encoding="utf-8")
    other = History(locate(str(tmp_path / "other.sqlite")))
    other.create(read_export(path))
    assert codec.canonical(other.read(whole.id)) == codec.canonical(whole)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 1}', '"x"', "[" * 50_000])
def test_what_is_no_exported_run_is_bad_input(text: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=r"run\.json"):
        read_export(path)
    with pytest.raises(BadInput, match="Cannot read"):
        read_export(tmp_path / "none.json")


def _measured() -> dict[str, Any]:
    whole = run()
    cell = dataclasses.replace(whole.cells[0], sessions=(session(0), session(1)), outcome="measured", failure=None)
    plain: dict[str, Any] = codec.unstructure(dataclasses.replace(whole, cells=(cell, whole.cells[1])))
    record_of(plain, what="run")
    return plain


def _put(plain: Any, path: str, value: object) -> None:
    *way, last = path.split(".")
    for step in way:
        plain = plain[int(step)] if step.isdigit() else plain[step]
    plain[last] = value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("id", "../../outside", "its id"),
        ("id", "20261123-0041-7f3a\n", "its id"),
        ("id", "/etc/passwd", "its id"),
        ("id", "20261123-0041-7f3b", "is of the run"),
        ("cells.1.id", "b0@host:1f3a90c2", "one id"),
        ("cells.1.id", "x" * 301, "no usable id"),
        ("cells.0.sessions", [], "without a session"),
        ("cells.0.size_bytes", -1, "negative size"),
        ("cells.0.sessions.1.index", 0, "numbered"),
        ("cells.0.sessions.0.index", -1, "numbered"),
        ("cells.0.sessions.0.latency_ns", [], "without latencies"),
        ("cells.0.sessions.0.latency_ns", [5, -1], "negative"),
        ("cells.0.sessions.0.first_ns", -1, "negative"),
        ("cells.0.sessions.0.stride", 0, "negative"),
        ("cells.0.sessions.0.latency_ns", [10**400], "64 bits"),
        ("cells.0.size_bytes", 10**400, "64 bits"),
    ],
)
def test_a_run_that_contradicts_itself_is_bad_input(path: str, value: object, said: str) -> None:
    plain = _measured()
    _put(plain, path, value)
    with pytest.raises(BadInput, match=said) as caught:
        record_of(plain, what="run in x.json")
    assert caught.value.exit_code == 3


def test_no_file_is_written_for_a_stored_run_whose_id_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    path = tmp_path / "stores" / "history.sqlite"
    History(locate(str(path))).create(run("../escaped"))
    assert execute(["history", "export", "latest", "--store", str(path)]) == 3
    assert "its id" in capsys.readouterr().err
    assert not list(inner.iterdir())
    assert [item.name for item in tmp_path.iterdir() if "escaped" in item.name] == []


def test_a_run_of_a_newer_palmtop_is_refused() -> None:
    with pytest.raises(BadInput, match="schema 2"):
        record_of({"schema": 2}, what="run x")


@pytest.mark.parametrize(
    "content", [b"this is no database, however long it goes on" * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_damaged_store_is_bad_input_and_names_its_place(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=str(path)):
        History(locate(str(path))).runs()
    assert path.read_bytes() == content


def spoil(url: str, statement: str) -> None:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.begin() as link:
        assert link.exec_driver_sql(statement).rowcount == 1


def test_a_damaged_record_is_reported_and_the_rest_still_reads(store: History, url: str) -> None:
    for run_id in ("20261123-0041-aaaa", "20261123-0041-bbbb", "20261123-0041-cccc"):
        store.create(run(run_id))
    spoil(url, "update cells set record = '{' where run_id = '20261123-0041-aaaa' and position = 0")
    spoil(url, "update summaries set words = '[' where run_id = '20261123-0041-bbbb'")
    with pytest.raises(BadInput, match=r"20261123-0041-aaaa .* damaged record"):
        store.read("20261123-0041-aaaa")
    assert store.read("20261123-0041-bbbb").id == "20261123-0041-bbbb"
    assert [(item.id[-4:], item.damaged) for item in store.runs()] == [("cccc", False), ("bbbb", True), ("aaaa", False)]
    found = store.check()
    assert found.sound == ("20261123-0041-bbbb", "20261123-0041-cccc")
    assert list(found.damaged) == ["20261123-0041-aaaa"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(OutputError):
        History(locate(str(tmp_path / "locked" / "h" / "history.sqlite")))


def test_a_folder_in_the_way_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        History(locate(str(tmp_path / "file" / "history.sqlite")))
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(OutputError):
        History(locate(str(tmp_path / "folder.sqlite")))


@pytest.mark.parametrize("url", ["://", "nosuchdb://x/y"])
def test_what_is_no_url_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError):
        History(url)


WRITER = """
import sys
sys.path[:0] = sys.argv[3:]
from history_records import run, session
from mobile_harness.history import History
store = History(sys.argv[1])
planned = run(sys.argv[2])
store.create(planned)
for index in range(8):
    for cell in planned.cells:
        store.add_session(planned.id, cell.id, session(index))
        store.save_cell(cell)
"""


def test_processes_may_open_and_write_at_once(url: str, tools: Tools) -> None:
    def write(run_id: str) -> None:
        here = str(Path(__file__).parent)
        done = tools.run([sys.executable, "-c", WRITER, url, run_id, here], deadline_s=120)
        assert done.code == 0, done.stderr

    names = ["20261123-0041-aaaa", "20261123-0041-bbbb", "20261123-0041-cccc"]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, names))
    store = History(url)
    for name in names:
        assert [len(cell.sessions) for cell in store.read(name).cells] == [8, 8]


def test_the_store_is_found_upward_from_here_then_from_the_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here" / "deep", tmp_path / "there" / "builds"
    here.mkdir(parents=True)
    there.mkdir(parents=True)
    monkeypatch.chdir(here)
    assert locate(near=there) == f"sqlite:///{here}/.palmtop/history.sqlite"
    (there.parent / "palmtop.toml").touch()
    assert locate(near=there) == f"sqlite:///{there.parent}/.palmtop/history.sqlite"
    (here.parent / ".palmtop").mkdir()
    assert locate(near=there) == f"sqlite:///{here.parent}/.palmtop/history.sqlite"
    monkeypatch.setenv("PALMTOP_STORE", "postgresql+psycopg://db/x")
    assert locate(near=there) == "postgresql+psycopg://db/x"
    assert locate("a.sqlite") == f"sqlite:///{here}/a.sqlite"


def test_ends_of_cells_are_counted_though_they_come_at_once(store: History, url: str) -> None:
    planned = run(cells=12)
    store.create(planned)
    ended = [dataclasses.replace(cell, outcome="failed") for cell in planned.cells]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda cell: History(url).save_cell(cell), ended))
    (listed,) = store.runs()
    assert (listed.cells, listed.failed, listed.measured, listed.complete) == (12, 12, 0, True)


def test_the_latest_runs_are_counted_back(store: History) -> None:
    for minute in range(3):
        made = run(f"20261123-004{minute}-aaaa")
        store.create(dataclasses.replace(made, created_utc=f"2026-11-23T00:4{minute}:00Z"))
    assert store.resolve("latest~0") == store.resolve("latest") == "20261123-0042-aaaa"
    assert store.resolve("latest~2") == "20261123-0040-aaaa"
    with pytest.raises(SettingsError, match="holds 3"):
        store.resolve("latest~3")
    assert [item.id for item in store.runs(limit=2)] == ["20261123-0042-aaaa", "20261123-0041-aaaa"]
    assert store.count() == 3


def test_names_that_no_database_keeps_are_kept_in_the_record(store: History) -> None:
    odd = "a\0b\ud800c'); drop table runs; --"
    planned = run()
    first = planned.cells[0]
    first = dataclasses.replace(first, build_id=odd, device=dataclasses.replace(first.device, model=odd))
    store.create(dataclasses.replace(planned, build_dir=odd, cells=(first, planned.cells[1])))
    found = store.read(planned.id)
    assert (found.build_dir, found.cells[0].build_id, found.cells[0].device.model) == (odd, odd, odd)
    assert store.runs()[0].build_dir == odd


def test_the_measured_cells_of_a_build_are_read_over_runs(store: History, url: str) -> None:
    for minute in range(3):
        made = run(f"20261123-004{minute}-aaaa")
        cell = dataclasses.replace(made.cells[0], outcome="measured", sessions=(session(0),), failure=None)
        made = dataclasses.replace(made, created_utc=f"2026-11-23T00:4{minute}:00Z", cells=(cell, made.cells[1]))
        store.create(made)
    found = store.cells_of("b0", "host:1f3a90c2", limit=2)
    assert [(item.run_id[9:13], item.model, len(item.cell.sessions)) for item in found.cells] == [
        ("0041", "net", 1),
        ("0042", "net", 1),
    ]
    with pytest.raises(SettingsError, match="Unknown build 'b7'"):
        store.cells_of("b7")
    with pytest.raises(SettingsError, match="Unknown device 'host:x'"):
        store.cells_of("b0", "host:x")
    with pytest.raises(SettingsError, match="No run has measured"):
        store.cells_of("b1")
    spoil(url, "update sessions set record = '7' where run_id = '20261123-0041-aaaa'")
    found = store.cells_of("b0")
    assert [item.run_id[9:13] for item in found.cells] == ["0040", "0042"]
    assert list(found.damaged) == ["20261123-0041-aaaa"]


def test_a_server_that_does_not_answer_is_bad_input_and_hides_the_password() -> None:
    with pytest.raises(BadInput, match=r"postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/x does not answer") as caught:
        History("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("field", ["build_dir", "palmtop"])  # the first stands in the summaries too
@pytest.mark.parametrize("junk", [b"\xa5", b"\0"])
def test_pages_of_the_file_may_be_damaged_and_other_runs_still_read(tmp_path: Path, field: str, junk: bytes) -> None:
    path = tmp_path / "history.sqlite"
    store = History(f"sqlite:///{path}")
    for number in range(12):
        made = run(f"20261123-0041-{number:04x}")
        store.create(dataclasses.replace(made, **{field: "/b" * 2000}))
    spoil_middle(path, junk)
    assert len(store.runs()) == 12
    found = store.check()
    assert found.damaged
    assert found.sound
    for run_id in found.sound:
        assert getattr(store.read(run_id), field) == "/b" * 2000


def spoil_middle(path: Path, junk: bytes) -> None:
    """Overwrite the pages that hold the records of two runs."""
    import sqlite3

    link = sqlite3.connect(path)
    link.execute("pragma wal_checkpoint(truncate)")
    link.close()
    raw = path.read_bytes()
    at = raw.index(b"/b" * 1000, raw.index(b"/b" * 1000) + 20_000)
    path.write_bytes(raw[: at - at % 4096] + junk * 8192 + raw[at - at % 4096 + 8192 :])
