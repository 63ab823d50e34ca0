"""The shell and its commands, without adb: text in, bytes and exit code out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobile_harness.virtual_device.android import registry
from mobile_harness.virtual_device.device import VirtualDevice
from mobile_harness.virtual_device.filesystem import SHELL, View
from mobile_harness.virtual_device.injection import EventLog, Faults
from mobile_harness.virtual_device.profile import Profile
from mobile_harness.virtual_device.services.session import ENVIRONMENT
from mobile_harness.virtual_device.shell.interpreter import Shell
from mobile_harness.virtual_device.shell.plumbing import Collected, Given
from mobile_harness.virtual_device.shell.redirection import Streams
from toolkit.core.clock import SystemClock

Said = tuple[int, str, str]


@pytest.fixture
def device(tmp_path: Path) -> VirtualDevice:
    clock = SystemClock()
    return VirtualDevice("virtual-0", tmp_path, Profile(), Faults("virtual-0", 0, EventLog(clock)), clock)


@pytest.fixture
def sh(device: VirtualDevice) -> Callable[..., Said]:
    def run(text: str, stdin: bytes = b"") -> Said:
        out, err = Collected(), Collected()

        async def play() -> int:
            view = View(device.system.files, SHELL)
            shell = Shell(
                system=device.system, view=view, commands=registry.COMMANDS, environment=dict(ENVIRONMENT), pid=77
            )
            try:
                return await asyncio.wait_for(shell.run(text, Streams(Given(stdin), out, err)), 10)
            finally:
                await device.stop()

        code = asyncio.run(play())
        assert device.system.problems == []
        return code, out.data.decode("utf-8", "surrogateescape"), err.data.decode("utf-8", "surrogateescape")

    return run


@pytest.mark.parametrize(
    ("text", "code", "out"),
    [
        ("echo a b", 0, "a b\n"),
        ("echo 'a  b' \"c $HOME\" d\\ e", 0, "a  b c / d e\n"),
        ("false; echo $?", 0, "1\n"),
        ("false && echo no || echo yes", 0, "yes\n"),
        ("true && false", 1, ""),
        ("! true", 1, ""),
        ("exit 7", 7, ""),
        ("(exit 3); echo $?", 0, "3\n"),
        ("(cd /system; pwd); pwd", 0, "/system\n/\n"),
        ("{ echo a; echo b; } | wc -l", 0, "2\n"),
        ("A=1; B=2 env | grep ^B; echo $A$B", 0, "B=2\n1\n"),
        ("X='a b'; for i in $X c; do echo [$i]; done", 0, "[a]\n[b]\n[c]\n"),
        ('X="a b"; for i in "$X" c; do echo [$i]; done', 0, "[a b]\n[c]\n"),
        ("if [ -d /data ]; then echo d; elif true; then echo t; else echo e; fi", 0, "d\n"),
        ("if [ 1 -gt 2 ]; then echo gt; else echo le; fi", 0, "le\n"),
        ("i=aaa; while [ $i != x ]; do echo $i; i=x; done", 0, "aaa\n"),
        ("for i in 1 2 3; do if [ $i = 2 ]; then break; fi; echo $i; done", 0, "1\n"),
        ("for i in 1 2 3; do [ $i = 2 ] && continue; echo $i; done", 0, "1\n3\n"),
        ("echo $(echo a; echo b) `echo c`", 0, "a b c\n"),
        ("echo ${NOPE:-fallback} ${HOME}", 0, "fallback /\n"),
        ("echo a#b # comment", 0, "a#b\n"),
        ("cd /data/local/tmp && echo hi >x && cat x && echo more >>x && wc -l x && rm x", 0, "hi\n2 x\n"),
        ("ls /nope 2>/dev/null || echo gone", 0, "gone\n"),
        ("ls /nope 2>&1 | grep -c 'No such'", 0, "1\n"),
        ("cd /data/local/tmp; touch a1 a2 b; echo a* 'a*' c*", 0, "a1 a2 a* c*\n"),
        ("cat /sys/class/thermal/thermal_zone*/type", 0, "skin\ncpu\nbattery\n"),
        ("sh -c 'echo $0 $1' x y", 0, "x y\n"),
        ("echo one | sh -c 'cat; exit 5'; echo $?", 0, "one\n5\n"),
        ("echo 'echo from file; exit 4' > /data/local/tmp/s; sh /data/local/tmp/s; echo $?", 0, "from file\n4\n"),
        ("timeout 0.1 sleep 5; echo $?", 0, "124\n"),
        ("sleep 30 >/dev/null 2>&1 & kill $!; wait; echo done", 0, "done\n"),
        ("sleep 30 & kill -9 $(pidof sleep); wait; echo done", 0, "done\n"),
        ("taskset 3 echo pinned", 0, "pinned\n"),
        ("getconf PAGE_SIZE", 0, "4096\n"),
        ("printf '%s-%d\\n' a 1 b 2", 0, "a-1\nb-2\n"),
        ("seq 3 | tail -n 1; seq 3 | head -n 1; seq 3 | sort -r | head -1", 0, "3\n1\n3\n"),
        ("seq 100000 | head -n 2", 0, "1\n2\n"),
        ("echo a:b:c | cut -d : -f 2; echo abc | tr ab xy", 0, "b\nxyc\n"),
        ("echo hi | tee /data/local/tmp/t | cat; cat /data/local/tmp/t", 0, "hi\nhi\n"),
        ("export A=5; sh -c 'echo $A'", 0, "5\n"),
        ("exec echo replaced; echo not here", 0, "replaced\n"),
        ("id -u; whoami", 0, "2000\nshell\n"),
        ("cd /data/local/tmp; mkdir -p d; touch d; touch -c none; ls -d d none 2>&1 | wc -l; [ -d d ]", 0, "2\n"),
        (
            "dd if=/dev/zero bs=7 count=2 2>/dev/null | wc -c; dd if=/dev/urandom bs=1k count=3 status=none | wc -c",
            0,
            "14\n3072\n",
        ),
        (
            "cd /data/local/tmp; printf 0123456789 >x; dd if=x of=y bs=4 skip=1 2>&1; cat y",
            0,
            "1+1 records in\n1+1 records out\n6 bytes copied\n456789",
        ),
        (
            'seq 3 | while read n; do echo [$n]; done; echo "a b  c" | { read x y; echo "$x,$y"; }',
            0,
            "[1]\n[2]\n[3]\na,b  c\n",
        ),
        ("printf 'one\ntwo\n' | { read a; cat; }; read none </dev/null; echo $?", 0, "two\n1\n"),
        ("[ -t 0 ] || echo no; [ ! -t 1 ] && echo nor", 0, "no\nnor\n"),
        ("cd /data/local/tmp; echo x >r; chmod a-rwx r; cat r 2>/dev/null || chmod u+r r; cat r", 0, "x\n"),
        ("\n\n echo a\n\n echo b; ", 0, "a\nb\n"),
        ("", 0, ""),
    ],
)
def test_what_a_shell_does(sh: Callable[..., Said], text: str, code: int, out: str) -> None:
    assert sh(text) == (code, out, "")


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("nosuch", 127, "nosuch: inaccessible or not found"),
        ("/data/nosuch", 127, "inaccessible or not found"),
        ("cat /nope", 1, "/nope: No such file or directory"),
        ("echo x > /system/x", 1, "Read-only file system"),
        ("cat /data/data/x", 1, "Permission denied"),
        ("echo 'a", 2, "no closing quote"),
        ("if true; then", 2, "expected 'fi'"),
        ("a() { echo; }", 2, "functions not supported by the virtual device"),
        ("cat <<X", 2, "here-documents not supported"),
        ("echo $((1+1))", 2, "arithmetic not supported"),
        ("ls --nope", 1, "Unknown option --nope"),
        ("su root id", 255, "not supported by the virtual device"),
        ("kill -9 1", 1, "No such process"),
        ("[ 1 -eq a ]", 1, "no number"),
        ("screencap -p", 255, "not supported by the virtual device"),
        ("setprop ro.palmtop.virtual 0", 1, "Failed to set property"),
        ("run-as org.nope id", 1, "unknown package"),
        ("dd if=/nope of=/data/local/tmp/x", 1, "/nope: No such file or directory"),
        ("dd bs=0", 1, "bad bs '0'"),
        ("dd conv=swab", 1, "conv=swab is not supported"),
        ("dd count", 1, "bad arg 'count'"),
        ("trap 'echo' NOSUCH", 2, "bad signal 'NOSUCH'"),
        ("read 1x", 2, "1x: is not an identifier"),
        ("cmd", 20, "No service specified"),
    ],
)
def test_what_a_shell_refuses(sh: Callable[..., Said], text: str, code: int, words: str) -> None:
    found = sh(text)
    assert found[0] == code
    assert found[1] == ""
    assert words in found[2]


def test_patterns_find_names_behind_plain_steps_links_and_live_files(sh: Callable[..., Said]) -> None:
    def found(pattern: str) -> str:
        return sh(f"cd /data/local/tmp; mkdir -p d/e .h; touch d/e/x.txt .h/y.txt; echo {pattern}")[1]

    assert found("d/e/*.txt d/*/x.txt ./d/e/x*") == "d/e/x.txt d/e/x.txt ./d/e/x.txt\n"
    assert found("/sdcard/../../data/local/tmp/d/[e]") == "/sdcard/../../data/local/tmp/d/[e]\n"
    assert found("*/y.txt .h/*") == "*/y.txt .h/y.txt\n"
    assert found("/sys/class/power_supply/*/charge_counter") == "/sys/class/power_supply/battery/charge_counter\n"


def test_a_native_program_is_refused_out_loud(sh: Callable[..., Said], device: VirtualDevice) -> None:
    device.system.files.put("/data/local/tmp/tool", b"\x7fELF\x02\x01\x01", 0o755)
    code, _, err = sh("/data/local/tmp/tool --flag")
    assert code == 126
    assert "native programs are not supported by the virtual device without a sandbox" in err


def test_a_script_runs_by_its_path(sh: Callable[..., Said], device: VirtualDevice) -> None:
    device.system.files.put("/data/local/tmp/run.sh", b"#!/system/bin/sh\necho ran $1 in $PWD\nexit 6\n", 0o755)
    assert sh("cd /data/local/tmp && ./run.sh x") == (6, "ran x in /data/local/tmp\n", "")
    assert sh("chmod 644 /data/local/tmp/run.sh; /data/local/tmp/run.sh")[0] == 126


def test_a_loop_without_end_can_be_ended(sh: Callable[..., Said]) -> None:
    assert sh("timeout 0.2 sh -c 'while true; do true; done'; echo $?") == (0, "124\n", "")


def test_shells_cannot_nest_for_ever(sh: Callable[..., Said], device: VirtualDevice) -> None:
    device.system.files.put("/data/local/tmp/r", b"sh /data/local/tmp/r\n", 0o755)
    code, _, err = sh("sh /data/local/tmp/r")
    assert code == 2
    assert "nested too deep" in err


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.text(alphabet="ab '\"\\$`(){};&|<>\n#*[]=!?~if", max_size=30))
def test_no_text_breaks_the_shell(sh: Callable[..., Said], text: str) -> None:
    code, _, _ = sh(text)
    assert 0 <= code <= 255


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10), max_size=4))
def test_quoted_words_arrive_as_they_are(sh: Callable[..., Said], words: list[str]) -> None:
    import shlex

    said = sh("printf '%s|' " + shlex.join(words)) if words else (0, "", "")
    assert said == (0, "".join(f"{word}|" for word in words), "")


def test_every_service_of_dumpsys_answers(sh: Callable[..., Said]) -> None:
    from mobile_harness.virtual_device.android.dumpsys import SERVICES

    for name in SERVICES:
        code, out, err = sh(f"dumpsys {name} {'exit-info' if name == 'activity' else ''}")
        assert (code, err) == (0, ""), name
        assert out or name == "package"
    assert sh("dumpsys nosuch")[0] == 20


def test_battery_stays_as_it_was_set_until_reset(sh: Callable[..., Said]) -> None:
    assert "  level: 84\n" in sh("dumpsys battery")[1]
    out = sh("dumpsys battery set level 12; dumpsys battery")[1]
    assert "  level: 12\n" in out
    assert "UPDATES STOPPED" in out
    assert "  level: 84\n" in sh("dumpsys battery reset; cmd battery")[1]


def test_thermal_override_is_said_and_reset(sh: Callable[..., Said]) -> None:
    assert "Thermal Status: 4\n" in sh("cmd thermalservice override-status 4; dumpsys thermalservice")[1]
    assert "Thermal Status: 0\n" in sh("cmd thermalservice reset; dumpsys thermalservice")[1]


def test_settings_keep_what_is_put(sh: Callable[..., Said]) -> None:
    text = "settings put global a 1; settings get global a; settings delete global a; settings get global a"
    assert sh(text) == (0, "1\nDeleted 1 rows\nnull\n", "")


def test_it_says_what_it_is(sh: Callable[..., Said]) -> None:
    found = dict(line[1:-1].split("]: [") for line in sh("getprop")[1].splitlines())
    assert found["ro.palmtop.virtual"] == "1"
    assert found["ro.hardware"] == "palmtop_virtual"
    assert found["ro.serialno"] == "virtual-0"
    assert "virtual" in found["ro.product.model"]


def test_process_files_are_those_of_the_process(sh: Callable[..., Said]) -> None:
    text = "sleep 9 >/dev/null 2>&1 & P=$(pidof sleep); grep ^Name /proc/$P/status; kill $P; wait; cat /proc/$P/status"
    code, out, err = sh(text)
    assert (code, out) == (1, "Name:\tsleep\n")
    assert "No such file" in err


def test_reading_the_input_line_by_line(sh: Callable[..., Said]) -> None:
    assert sh("sort -n", b"10\n9\n") == (0, "9\n10\n", "")
    assert sh("grep -v b | sort -r", b"a\nb\nc\n") == (0, "c\na\n", "")


def test_what_never_ends_can_be_ended(sh: Callable[..., Said]) -> None:
    for text in ("cat /dev/zero >/dev/null", "dd if=/dev/zero of=/dev/null", "sha256sum /dev/urandom"):
        assert sh(f"timeout 0.1 {text}; echo $?") == (0, "124\n", "")


def test_a_full_storage_stops_dd(sh: Callable[..., Said], device: VirtualDevice) -> None:
    device.system.files.capacity = device.system.files.used + 1000
    code, _, err = sh("dd if=/dev/zero of=/data/local/tmp/big bs=1k")
    assert code == 1
    assert "No space left" in err
