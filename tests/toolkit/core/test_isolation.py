"""Functions in real child processes: whatever happens there is a value or an error here, never our end."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import core_jobs
import pytest

from toolkit.core import errors, isolation, process
from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.events import Event
from toolkit.core.isolation import isolate
from toolkit.core.tools import Tools


def gone(pid: int, within_s: float = 10) -> bool:
    until = time.monotonic() + within_s
    while True:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("Z", "X"):
                return True
        except FileNotFoundError:
            return True
        if time.monotonic() >= until:
            return False
        threading.Event().wait(0.02)


def test_results_come_back_as_values_of_their_type(tools: Tools, tmp_path: Path) -> None:
    signature = Signature(inputs=(TensorSpec(name="ä\n\x1e", dtype="int8", shape=(1, -1), perm=(1, 0)),), outputs=())
    assert isolate(tools, 60, core_jobs.add, 2, right=3) == 5
    assert isolate(tools, 60, core_jobs.add, 2) == 3
    assert isolate(tools, 60, core_jobs.turn_round, signature).outputs == signature.inputs
    blob = isolate(tools, 60, core_jobs.file_of, tmp_path / "x.txt", {"a": (1, 2)})
    assert blob.path.read_text() == "{'a': (1, 2)}"
    assert isolate(tools, 60, core_jobs.nothing) is None


def test_nothing_that_is_printed_disturbs_the_answer_and_events_arrive(tools: Tools) -> None:
    events: list[Event] = []
    spec = isolate(tools, 60, core_jobs.chatter, events.append)
    assert spec.name == "true answer"
    assert events == [Event(subject="work", phase="count", done=n, total=3) for n in (1, 2, 3)]


def test_an_error_of_the_house_is_the_same_error_here(tools: Tools) -> None:
    with pytest.raises(errors.DataError) as caught:
        isolate(tools, 60, core_jobs.raise_ours)
    assert (caught.value.message, caught.value.hint) == ("The array 'x' is empty.", "Give another.")
    with pytest.raises(errors.GateFailed):
        isolate(tools, 60, core_jobs.raise_gate)


def test_a_foreign_exception_is_told_in_one_line_with_its_whole_trace_kept(tools: Tools) -> None:
    with pytest.raises(errors.ChildFailed, match=r"^RuntimeError: CoreML said no ") as caught:
        isolate(tools, 60, core_jobs.raise_foreign)
    assert caught.value.kind == "raised"
    log = Path(caught.value.log).read_text()
    assert "Traceback" in log
    assert "in raise_foreign" in log


@pytest.mark.parametrize(
    ("job", "kind", "said"),
    [
        (core_jobs.segfault, "crashed", "signal SIGSEGV"),
        (core_jobs.abort, "crashed", "signal SIGABRT"),
        (core_jobs.exit_hard, "crashed", "exit code 7"),
        (core_jobs.kill_self, "memory", "SIGKILL"),
        (core_jobs.exhaust, "memory", "MemoryError"),
        (core_jobs.exit_quietly, "raised", "SystemExit"),
    ],
)
def test_a_child_that_dies_is_an_error_that_says_how(tools: Tools, job: object, kind: str, said: str) -> None:
    with pytest.raises(errors.ChildFailed) as caught:
        isolate(tools, 60, job)  # type: ignore[arg-type]
    assert caught.value.kind == kind
    assert said in caught.value.message
    assert Path(caught.value.log).is_file()
    assert caught.value.exit_code == 3


def test_a_crash_leaves_the_native_trace_in_the_log(tools: Tools) -> None:
    with pytest.raises(errors.ChildFailed) as caught:
        isolate(tools, 60, core_jobs.segfault)
    assert "Segmentation fault" in Path(caught.value.log).read_text()


def test_a_hang_ends_at_the_deadline_with_all_that_it_started(tools: Tools, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    with pytest.raises(errors.ChildFailed, match="did not finish within") as caught:
        isolate(tools, 4, core_jobs.hang, note)
    assert caught.value.kind == "timeout"
    assert all(gone(int(pid)) for pid in note.read_text().split())


def test_a_child_killed_from_outside_fails_alone(tools: Tools, tmp_path: Path) -> None:
    note, caught = tmp_path / "pids", []

    def call() -> None:
        try:
            isolate(tools, 60, core_jobs.hang, note)
        except errors.ChildFailed as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    until = time.monotonic() + 30
    while not (note.is_file() and " " in note.read_text()) and time.monotonic() < until:
        threading.Event().wait(0.05)
    assert isolate(tools, 60, core_jobs.add, 1) == 2, "a neighbour goes on"
    os.kill(int(note.read_text().split()[0]), 9)
    thread.join(20)
    assert [error.kind for error in caught] == ["memory"]


def test_a_child_ends_with_a_parent_that_was_killed_and_takes_along_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    code = (
        "import core_jobs, sys\n"
        "from pathlib import Path\n"
        "from toolkit.core.isolation import isolate\n"
        "from toolkit.core.tools import system_tools\n"
        "isolate(system_tools(), 600, core_jobs.hang, Path(sys.argv[1]))\n"
    )
    with process.start([sys.executable, "-c", code, str(note)]) as parent:
        until = time.monotonic() + 30
        while not (note.is_file() and " " in note.read_text()) and time.monotonic() < until:
            threading.Event().wait(0.05)
        pids = [int(pid) for pid in note.read_text().split()]
        assert not any(gone(pid, within_s=0) for pid in pids)
        os.kill(parent.pid, 9)
        assert all(gone(pid) for pid in pids)


def test_an_unusable_argument_is_refused_by_name(tools: Tools) -> None:
    with pytest.raises(errors.SettingsError, match=r"argument left.*'two' is not a whole number"):
        isolate(tools, 60, core_jobs.add, "two")  # type: ignore[arg-type]


def test_a_stray_module_of_the_working_folder_is_not_imported(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "numpy", "toolkit"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the stray one')")
    monkeypatch.chdir(tmp_path)
    assert isolate(tools, 60, core_jobs.add, 1) == 2


def test_children_send_nothing_home_and_say_so_before_any_import() -> None:
    assert isolation.CHILD_ENVIRONMENT["ORT_DISABLE_TELEMETRY"] == "1"
    assert isolation.CHILD_ENVIRONMENT["CUDA_VISIBLE_DEVICES"] == "-1"
