from __future__ import annotations

from mobile_harness.vitals.instrument import BUNDLE_MAX, Reader, read_run
from mobile_harness.wire import frames


def codes(statuses) -> list[int | None]:
    return [status.code for status in statuses]


def test_ten_passes(recorded) -> None:
    statuses, end = read_run(recorded("am_instrument_r__ten_pass_extra_result_key.txt"))
    assert codes(statuses) == [1, 0] * 10
    assert statuses[0].values == {
        "class": "com.example.MainActivityTest", "current": "1", "id": "AndroidJUnitRunner", "numtests": "10",
        "stream": "\ncom.example.MainActivityTest:", "test": "testText1",
    }  # fmt: skip
    assert (end.kind, end.code, end.message) == ("finished", -1, "")
    assert end.results == {"allure-id": "some-value", "stream": "\n\nTime: 7.896\n\nOK (10 tests)\n\n"}


def test_a_failure_is_no_crash(recorded) -> None:
    statuses, end = read_run(recorded("am_instrument_r__one_failure.txt"))
    assert codes(statuses) == [1, -2]
    assert statuses[1].values["stack"].count("\n\tat ") + statuses[1].values["stack"].count("\nat ") > 10
    assert (end.kind, end.code) == ("finished", -1)


def test_crashes(recorded) -> None:
    statuses, end = read_run(recorded("am_instrument_r__crash_after_tests.txt"))
    assert codes(statuses) == [1, 0] * 8 + [1, -2]
    assert (end.kind, end.code, end.message) == ("crashed", 0, "Process crashed.")
    statuses, end = read_run(recorded("am_instrument_r__process_crashed_midtest.txt"))
    assert codes(statuses) == [1]
    assert statuses[0].values["test"] == "crashTest"
    assert (end.kind, end.code, end.message) == ("crashed", 0, "Process crashed.")


def test_a_crash_before_the_first_test(recorded) -> None:
    statuses, end = read_run(recorded("am_instrument_r__crash_in_oncreate.txt"))
    assert codes(statuses) == [-2]
    assert "Could not find extra class" in statuses[0].values["stack"]
    assert statuses[0].values["stream"].startswith("\nProcess crashed before executing the test(s):")
    assert (end.kind, end.code) == ("crashed", 0)


def test_an_ignored_class_and_a_complaint_before_the_end(recorded) -> None:
    statuses, end = read_run(recorded("am_instrument_r__ignored_class.txt"))
    assert codes(statuses) == [1, -3]
    assert (end.kind, end.code) == ("finished", -1)
    assert "Error: Failed to generate" in end.results["stream"]


def test_news_from_within_a_test(recorded) -> None:
    statuses, end = read_run(recorded("am_instrument_r__extra_status_code2.txt"))
    assert codes(statuses) == [1, 2, 0]
    assert statuses[1].values == {
        "description": "TestDescription", "displayName": "TestDisplayName", "dsaProfileName": "FooBar",
        "module": "FooBar", "storyIdentifier": "TestIdentifier", "testIdentifier": "Ex-1023",
    }  # fmt: skip
    assert end.kind == "finished"


def test_palmtop_frames_come_as_they_were_sent(composed) -> None:
    statuses, end = read_run(composed("am_instrument_palmtop.txt"))
    sent = [frame for status in statuses for frame in status.frames()]
    assert [frames.scan(frame).chunks[0].seq for frame in sent] == [0, 1]
    assert sum(frames.scan(frame).damaged for frame in sent) == 0
    assert (end.kind, end.results) == ("finished", {"palmtop_exit": "ok"})


def test_a_runner_that_is_not_installed(composed) -> None:
    _, end = read_run(composed("am_instrument_not_found.txt"))
    assert (end.kind, end.code) == ("failed", None)
    assert end.message.startswith("Unable to find instrumentation info for: ComponentInfo{dev.palmtop.bench/")


def test_other_ends() -> None:
    for text, kind, message in (
        ("", "lost", "the run's end never came"),
        ("INSTRUMENTATION_STATUS: a=b\nINSTRUMENTATION_STATUS_CODE: 1", "lost", "the run's end never came"),
        ("INSTRUMENTATION_CODE: 0", "failed", "the runner ended with code 0"),
        ("INSTRUMENTATION_CODE: x", "lost", "the run's end never came"),
        ("INSTRUMENTATION_FAILED: a/b", "failed", "INSTRUMENTATION_FAILED: a/b"),
        ("INSTRUMENTATION_ABORTED: System has crashed.", "aborted", "INSTRUMENTATION_ABORTED: System has crashed."),
        ("onError: commandError=true message=no such", "failed", "onError: commandError=true message=no such"),
        ("INSTRUMENTATION_RESULT: shortMsg=Native\nINSTRUMENTATION_RESULT: longMsg=Native crash: Segmentation fault",
         "crashed", "Native crash: Segmentation fault"),
    ):  # fmt: skip
        _, end = read_run(text)
        assert (end.kind, end.message) == (kind, message)


def test_a_frame_in_a_bundle_that_never_closed_is_kept() -> None:
    statuses, end = read_run("INSTRUMENTATION_STATUS: palmtop=@PT1 last words\r\n")
    assert codes(statuses) == [None]
    assert statuses[0].frames() == ("@PT1 last words",)
    assert end.kind == "lost"


def test_a_bundle_without_end_does_not_fill_the_memory() -> None:
    reader = Reader()
    reader.feed("INSTRUMENTATION_STATUS: palmtop=start")
    for _ in range(3000):
        assert reader.feed("x" * 1000) is None
    status = reader.feed("INSTRUMENTATION_STATUS_CODE: 2")
    assert status.cut
    assert len(status.values["palmtop"]) <= BUNDLE_MAX
    reader.feed("INSTRUMENTATION_STATUS: a=b")
    assert reader.feed("INSTRUMENTATION_STATUS_CODE: 2").values == {"a": "b"}


def test_a_line_without_a_key_is_no_value() -> None:
    statuses, _ = read_run("INSTRUMENTATION_STATUS: nonsense\nmore\nINSTRUMENTATION_STATUS_CODE: what\n")
    assert [(status.code, status.values) for status in statuses] == [(None, {})]
