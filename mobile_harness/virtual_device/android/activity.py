"""``am``: starts apps and instrumentation, in the words of ``am instrument -r``; and ``run-as``."""

from __future__ import annotations

from typing import Final

from mobile_harness.virtual_device.android import packaging, words
from mobile_harness.virtual_device.android.call import Call, Command, Trouble
from mobile_harness.virtual_device.android.dumpsys import NO_SERVICE
from mobile_harness.virtual_device.android.packages import App
from mobile_harness.virtual_device.bench_app import BenchApp
from mobile_harness.virtual_device.filesystem import View

_EXTRAS: Final = ("--es", "--ei", "--ez", "--el", "--ef", "-e")


async def am(call: Call) -> int:
    """The activity manager."""
    if not call.system.has_booted():
        await call.stderr.write(b"cmd: Can't find service: activity\n")
        return NO_SERVICE
    verbs = {
        "instrument": instrument, "start": start, "start-activity": start, "force-stop": force_stop,
        "broadcast": broadcast, "kill": force_stop, "stack": _nothing, "get-current-user": current_user,
    }  # fmt: skip
    verb = call.args[0] if call.args else ""
    if verb not in verbs:
        raise Trouble(f"Unknown command: {verb}", 255)
    args, extras = _extras(call.args[1:])
    return await verbs[verb](call, args, extras)


def _extras(args: list[str]) -> tuple[list[str], dict[str, str]]:
    """Take the extras out of the words."""
    rest: list[str] = []
    extras: dict[str, str] = {}
    waiting = list(args)
    while waiting:
        word = waiting.pop(0)
        if word in _EXTRAS:
            if len(waiting) < 2:
                raise Trouble(f"Error: {word} needs a key and a value", 1)
            key = waiting.pop(0)
            extras[key] = waiting.pop(0)
        else:
            rest.append(word)
    return rest, extras


async def instrument(call: Call, args: list[str], extras: dict[str, str]) -> int:
    """Start an app's instrumentation; with ``-w`` wait for its end, with ``-r`` show what it says."""
    given = words.read(args, "w r m --no-window-animation --no-hidden-api-checks", "--user --abi p")
    component = given.rest[0] if given.rest else ""
    package, _, runner = component.partition("/")
    app = call.system.packages.get(package)
    if app is None or not runner or runner != app.manifest.runner:
        await call.say(
            "INSTRUMENTATION_STATUS: id=ActivityManagerService\nINSTRUMENTATION_STATUS: Error=Unable to find "
            f"instrumentation info for: ComponentInfo{{{component}}}\nINSTRUMENTATION_STATUS_CODE: -1\n"
        )
        await call.stderr.write(f"android.util.AndroidException: INSTRUMENTATION_FAILED: {component}\n".encode())
        return 1
    packaging.end_app(call.system, package)
    bench = launch(call, app, extras.get("palmtop", ""))
    if "w" not in given.flags:
        return 0
    while (line := await bench.lines.get()) is not None:
        if "r" in given.flags:
            await call.say(f"INSTRUMENTATION_STATUS: palmtop={line}\nINSTRUMENTATION_STATUS_CODE: 2\n")
    await call.say(ending(bench.ended))
    return 0


def launch(call: Call, app: App, word: str) -> BenchApp:
    """Start the bench app as a process of its own, which ends with the device and not with its caller."""
    bench = BenchApp(call.system, app, word)
    call.system.logs.add("I", "ActivityManager", f"Start proc for {app.package}", buffer="system")
    call.system.spawn(bench.run())
    return bench


def ending(ended: str) -> str:
    """Return the last lines of ``am instrument -w``."""
    if not ended:
        return "INSTRUMENTATION_CODE: -1\n"
    if ended in ("crash", "memory", "stopped"):
        return "INSTRUMENTATION_RESULT: shortMsg=Process crashed.\nINSTRUMENTATION_CODE: 0\n"
    return (
        "INSTRUMENTATION_RESULT: shortMsg=java.lang.IllegalArgumentException\n"
        f"INSTRUMENTATION_RESULT: longMsg=java.lang.IllegalArgumentException: {ended}\nINSTRUMENTATION_CODE: 0\n"
    )


async def start(call: Call, args: list[str], extras: dict[str, str]) -> int:
    """Start an app's activity; its frames go to the log, under the tag PALMTOP."""
    given = words.read(args, "W S D N R --activity-clear-top", "n a c d t f --user")
    component = given.values.get("n", given.rest[0] if given.rest else "")
    package = component.partition("/")[0]
    await call.say(f"Starting: Intent {{ cmp={component}{' (has extras)' if extras else ''} }}\n")
    app = call.system.packages.get(package)
    if app is None:
        await call.say(f"Error type 3\nError: Activity class {{{component}}} does not exist.\n")
        return 1
    warm = bool(call.system.processes.named(package)) and "S" not in given.flags
    packaging.end_app(call.system, package)
    if extras.get("palmtop"):
        call.system.spawn(_to_log(call, launch(call, app, extras["palmtop"])))
    if "W" in given.flags:
        await call.say(
            f"Status: ok\nLaunchState: {'HOT' if warm else 'COLD'}\nActivity: {component}\nTotalTime: 100\n"
            "WaitTime: 101\nComplete\n"
        )
    return 0


async def _to_log(call: Call, bench: BenchApp) -> None:
    while (line := await bench.lines.get()) is not None:
        call.system.logs.add("I", "PALMTOP", line, pid=bench.pid)


async def force_stop(call: Call, args: list[str], extras: dict[str, str]) -> int:
    """End an app."""
    given = words.read(args, "", "--user")
    for package in given.rest:
        packaging.end_app(call.system, package)
    return 0


async def broadcast(call: Call, args: list[str], extras: dict[str, str]) -> int:
    """Send an intent nobody listens to."""
    await call.say("Broadcasting: Intent { }\nBroadcast completed: result=0\n")
    return 0


async def current_user(call: Call, args: list[str], extras: dict[str, str]) -> int:
    """Print the one user's number."""
    await call.say("0\n")
    return 0


async def _nothing(call: Call, args: list[str], extras: dict[str, str]) -> int:
    return 0


async def run_as(call: Call) -> int:
    """Run a command with a debuggable app's rights, in its folder."""
    given = words.read(call.args, "", "--user", first_only=True)
    if len(given.rest) < 2:
        raise Trouble("usage: run-as PACKAGE COMMAND")
    package, *command = given.rest
    app = call.system.packages.get(package)
    if app is None:
        raise Trouble(f"unknown package: {package}")
    if not app.manifest.debuggable:
        raise Trouble(f"package not debuggable: {package}")
    call.view = View(call.system.files, call.system.app_view_identity(package), app.data)
    return await call.runner.run_words(call, command)


COMMANDS: Final[dict[str, Command]] = {"am": am, "run-as": run_as}
