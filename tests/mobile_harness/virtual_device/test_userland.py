"""Android's own userland, as Debian packages it, in a device: native programs find it, our shell agrees with it."""

from __future__ import annotations

import shlex

import pytest

from mobile_harness.virtual_device import sandbox, userland
from mobile_harness.virtual_device.farm import start_farm

REASON = sandbox.find()
MISSING = userland.find().missing
pytestmark = [
    pytest.mark.skipif(isinstance(REASON, str), reason=f"no sandbox for native programs: {REASON}"),
    pytest.mark.skipif(
        bool(MISSING), reason=f"no {', '.join(MISSING)} here: apt-get install mksh toybox busybox-static"
    ),
]
TMP = "/data/local/tmp"


@pytest.fixture(scope="module")
def device(adb):
    with start_farm(1) as farm:
        farm.connect(adb.program, adb.port)
        assert adb.on(farm[0], "push", "/usr/bin/env", f"{TMP}/env").code == 0
        yield farm[0]
        problems = farm.problems()
    assert problems == []


def natively(adb, device, text: str):
    """Run a script in Android's shell with Android's commands."""
    return adb.shell(device, f"{TMP}/env PATH=/system/bin sh -c {shlex.quote(text)}")


def test_a_native_program_starts_commands_of_its_own(adb, device) -> None:
    done = natively(adb, device, 'ls -l /system/bin/sh; toybox --version; echo "$KSH_VERSION"; busybox echo box')
    assert done.code == 0, done.stderr
    assert "-> mksh" in done.stdout
    assert "toybox" in done.stdout
    assert "MIRBSD KSH" in done.stdout
    assert done.stdout.endswith("box\n")
    assert adb.shell(device, "ls /system/bin/toybox; echo ours").stdout == "/system/bin/toybox\nours\n"


@pytest.mark.parametrize(
    "text",
    [
        "echo a 'b  c' \"$HOME\" ${NOPE:-x}; false; echo $?",
        "X='a b'; for i in $X c; do echo [$i]; done; (exit 3); echo $?",
        "seq 3 | while read n; do echo n=$n; done; echo 'a b  c' | { read x y; echo \"$x,$y\"; }",
        "trap 'echo over' EXIT; echo first; exit 3",
        "if [ 2 -gt 1 ] && [ ! -e /nope ]; then echo yes; else echo no; fi; [ -d /data ] || echo odd",
        f"cd {TMP} && mkdir -p u && cd u && touch b a c && echo * && ls && rm a b c && cd .. && rmdir u; pwd",
        f"cd {TMP}; printf 0123456789 >x; dd if=x bs=4 skip=1 count=1 status=none; echo; wc -c <x; rm x",
        f"cd {TMP}; echo hi >f; cp f g; mv g h; cat f h; sha256sum h; md5sum f; stat -c '%s %F' h; rm f h; ls h",
        "seq 12 | sort -r | head -n 3; seq 5 | tail -n 2; echo a:b:c | cut -d : -f 2; echo abc | tr ab xy",
        "printf '%s-%d|' a 1 b 2; printf x | wc -c; echo one two | grep -c two; echo abc | grep -v b",
        f"cd {TMP}; ln -s target l; readlink l; rm l; touch -c none; ls none; echo end",
        "sh -c 'echo $0 $1; exit 4' x y; echo $?; nosuch; echo $?",
        "dd if=/dev/zero bs=1k count=2 status=none | wc -c; cat /nope; echo $?; kill -9 99999; echo $?",
    ],
)
def test_our_shell_says_what_android_s_says(adb, device, text: str) -> None:
    ours, theirs = adb.shell(device, text), natively(adb, device, text)
    assert (ours.stdout, ours.code) == (theirs.stdout, theirs.code)
    assert bool(ours.stderr) == bool(theirs.stderr)
