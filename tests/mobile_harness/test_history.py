from __future__ import annotations

import dataclasses
import os
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mobile_harness import plans
from mobile_harness.history import NOT_YET, History, locate, read_export, record_of
from mobile_harness.parity import UNCHECKED
from mobile_harness.records import Cell, DeviceInfo, Doubt, Failure, RunRecord, Session, Warmup
from toolkit.cli.main import execute
from toolkit.core import codec
from toolkit.core.artifacts import Preprocess, Signature
from toolkit.core.errors import BadInput, OutputError, SettingsError
from toolkit.core.manifest import Manifest, SourceEntry
from toolkit.core.tools import Tools

DEVICE = DeviceInfo(
    transport="host", serial="1f3a90c2", platform="linux", model="cpu", soc="2 cores", os_version="x", abis=("x86_64",),
    ram_mb=1, kind="host",
)  # fmt: skip
MANIFEST = Manifest(
    palmtop="0",
    source=SourceEntry(name="net", path="n", sha256="0", format="onnx", signature=Signature(inputs=(), outputs=())),
    preprocess=Preprocess(),
    calibration=None,
    toolchain=(),
    builds=(),
)


def session(index: int) -> Session:
    return Session(
        index=index, load_cold_ns=1, load_warm_ns=2, first_ns=3, warmup=Warmup(runs=1, elapsed_ns=2, converged=True),
        latency_ns=(4, 5), rss_before_load_kb=6, rss_after_load_kb=7, peak_rss_kb=8, parity=UNCHECKED, live_gaps=0,
        started_utc="t", busy_share=0.5, notes=("x",),
    )  # fmt: skip


def run(run_id: str = "20261123-0041-7f3a", cells: int = 2) -> RunRecord:
    return RunRecord(
        id=run_id,
        palmtop="0.1",
        created_utc="2026-11-23T00:41:00Z",
        build_dir="/b",
        manifest=MANIFEST,
        plan=plans.load("quick"),
        cells=tuple(
            Cell(
                id=f"b{index}@host:1f3a90c2", run_id=run_id, device=DEVICE, build_id=f"b{index}", build_sha256="0",
                target="onnx", recipe="r", size_bytes=1, plan=plans.load("quick"), outcome="skipped", runner="python",
                runtime="", runtime_version="", failure=NOT_YET,
            )
            for index in range(cells)
        ),
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> History:
    return History(locate(str(tmp_path / "deep" / "history.sqlite")))


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


def test_a_damaged_record_is_bad_input(store: History, tmp_path: Path) -> None:
    planned = run()
    store.create(planned)
    link = sqlite3.connect(tmp_path / "deep" / "history.sqlite")
    link.execute("update cells set record = '{' where position = 0")
    link.commit()
    link.close()
    with pytest.raises(BadInput, match="damaged record"):
        store.read(planned.id)


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
from test_history import run, session
from mobile_harness.history import History, locate
store = History(locate(sys.argv[1]))
planned = run(sys.argv[2])
store.create(planned)
for index in range(20):
    for cell in planned.cells:
        store.add_session(planned.id, cell.id, session(index))
        store.save_cell(cell)
"""


def test_two_processes_may_write_at_once(tmp_path: Path, tools: Tools) -> None:
    path = tmp_path / "history.sqlite"

    def write(run_id: str) -> None:
        here = str(Path(__file__).parent)
        done = tools.run([sys.executable, "-c", WRITER, str(path), run_id, here], deadline_s=120)
        assert done.code == 0, done.stderr

    names = ["20261123-0041-aaaa", "20261123-0041-bbbb", "20261123-0041-cccc"]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, names))
    store = History(locate(str(path)))
    for name in names:
        assert [len(cell.sessions) for cell in store.read(name).cells] == [20, 20]


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
