"""Commands on processes, time and the machine: ``ps``, ``kill``, ``sleep``, ``id``, ``timeout``, ``sh`` and others."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable
from typing import Final

from mobile_harness.virtual_device.android import words
from mobile_harness.virtual_device.android.call import Call, Command, Trouble, describe
from mobile_harness.virtual_device.filesystem import View
from mobile_harness.virtual_device.network import Socket
from mobile_harness.virtual_device.shell.plumbing import Nothing, read_all

SCRIPT_MAX: Final = 1 << 20


async def true(call: Call) -> int:
    """Succeed."""
    return 0


async def false(call: Call) -> int:
    """Fail."""
    return 1


async def sleep(call: Call) -> int:
    """Wait for some seconds."""
    units = {"s": 1, "m": 60, "h": 3600, "": 1}
    total = 0.0
    for word in call.args or [""]:
        found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([smh]?)", word)
        if found is None:
            raise Trouble(f"bad seconds '{word}'")
        total += float(found.group(1)) * units[found.group(2)]
    await asyncio.sleep(total)
    return 0


async def date(call: Call) -> int:
    """Print the time, UTC as the device's zone is."""
    form = next((word[1:] for word in call.args if word.startswith("+")), "%a %b %e %H:%M:%S UTC %Y")
    now = call.system.clock.utc()
    form = form.replace("%N", f"{now.microsecond * 1000:09d}").replace("%s", str(int(now.timestamp())))
    await call.say(now.strftime(form) + "\n")
    return 0


async def identity(call: Call) -> int:
    """Print who one is."""
    given = words.read(call.args, "u n g G")
    who = call.view.identity
    if call.name == "whoami" or given.flags >= {"u", "n"}:
        await call.say(f"{who.name}\n")
    elif given.flags & {"u", "g"}:
        await call.say(f"{who.uid}\n")
    else:
        await call.say(f"uid={who.uid}({who.name}) gid={who.uid}({who.name}) context=u:r:{who.name}:s0\n")
    return 0


async def ps(call: Call) -> int:
    """List processes."""
    given = words.read(call.args, "A e f w", "p o")
    only = {words.number(word, "-p") for word in given.values.get("p", "").split(",") if word}
    found = [item for item in call.system.processes.all() if not only or item.pid in only]
    if "o" in given.values:
        return await _ps_fields(call, given.values["o"])
    await call.say("USER           PID  PPID     VSZ    RSS WCHAN            ADDR S NAME\n")
    for item in found:
        row = f"{item.user:<12} {item.pid:>5} {item.parent:>5} {item.rss_kb * 8:>7} {item.rss_kb:>6}"
        await call.say(f"{row} 0                   0 S {item.name}\n")
    return 0


async def _ps_fields(call: Call, wanted: str) -> int:
    names = [name.strip().upper() for name in wanted.split(",")]
    await call.say(" ".join(names) + "\n")
    for item in call.system.processes.all():
        fields = {"PID": str(item.pid), "PPID": str(item.parent), "USER": item.user, "NAME": item.name,
                  "ARGS": " ".join(item.argv), "CMD": item.name, "RSS": str(item.rss_kb)}  # fmt: skip
        if set(names) - set(fields):
            raise Trouble(f"bad -o {wanted!r}: known are {', '.join(fields)}")
        await call.say(" ".join(fields[name] for name in names) + "\n")
    return 0


async def pidof(call: Call) -> int:
    """Print the pids of processes by name."""
    given = words.read(call.args, "s")
    pids = [str(item.pid) for name in given.rest for item in call.system.processes.named(name)]
    if not pids:
        return 1
    await call.say(" ".join(pids[:1] if "s" in given.flags else pids) + "\n")
    return 0


async def kill(call: Call) -> int:
    """Send a signal."""
    args = list(call.args)
    number = signal.SIGTERM.value
    if args and re.fullmatch(r"-(\w+)", args[0]):
        number = _signal(args.pop(0)[1:] if args[0] != "-s" else args.pop(1))
    code = 0
    for word in args:
        try:
            call.system.processes.kill(words.number(word, "kill"), number, call.view.identity.name)
        except OSError as error:
            await call.complain(describe(error, word))
            code = 1
    return code


def _signal(word: str) -> int:
    if word.isdigit():
        return int(word)
    try:
        return signal.Signals[f"SIG{word.removeprefix('SIG')}"].value
    except KeyError as error:
        raise Trouble(f"unknown signal {word}") from error


async def pkill(call: Call) -> int:
    """End processes whose name fits."""
    given = words.read([word for word in call.args if not re.fullmatch(r"-\d+|-[A-Z]+", word)], "f")
    found = [
        item
        for item in call.system.processes.all()
        if item.pid != call.pid
        and item.user == call.view.identity.name
        and any(re.search(name, " ".join(item.argv) if "f" in given.flags else item.name) for name in given.rest)
    ]
    for item in found:
        item.end(signal.SIGTERM.value)
    return int(not found)


async def sh(call: Call) -> int:
    """Run a script: ``-c TEXT``, a file, or the input."""
    args = list(call.args)
    while args and args[0] in ("-e", "-u", "-x", "-i", "-"):
        args.pop(0)
    if args and args[0] in ("-c", "-ec"):
        if len(args) < 2:
            raise Trouble("-c requires an argument")
        return await call.runner.run_text(call, args[1], args[2:] or ["sh"])
    if not args:
        text = await read_all(call.stdin, SCRIPT_MAX)
        return await call.runner.run_text(call, text.decode("utf-8", "surrogateescape"), ["sh"])
    return await run_script(call, args)


async def run_script(call: Call, words_: list[str]) -> int:
    """Run a file of the device as a script."""
    try:
        with call.view.open_read(words_[0]) as file:
            text = file.read(SCRIPT_MAX)
    except OSError as error:
        raise Trouble(f"can't open {words_[0]}: {describe(error)}", 127) from error
    return await call.runner.run_text(call, text.decode("utf-8", "surrogateescape"), words_)


async def nohup(call: Call) -> int:
    """Run a command; nothing here is hung up on, once it is in the background."""
    if not call.args:
        raise Trouble("Needs 1 argument")
    return await call.runner.run_words(call, call.args)


async def env(call: Call) -> int:
    """Print the variables, or run a command with more of them."""
    args = list(call.args)
    while args and re.match(r"[A-Za-z_]\w*=", args[0]):
        name, _, value = args.pop(0).partition("=")
        call.environment[name] = value
    if args:
        return await call.runner.run_words(call, args)
    await call.say("".join(f"{name}={value}\n" for name, value in call.environment.items()))
    return 0


async def taskset(call: Call) -> int:
    """Run a command on some processors; the mask is checked, not applied: scheduling is the host's."""
    given = words.read(call.args, "p a", first_only=True)
    if not given.rest:
        raise Trouble("Needs 1 argument")
    all_cores = (1 << len(call.system.profile.cpu_max_khz)) - 1
    if "p" in given.flags:
        await call.say(f"pid {given.rest[-1]}'s current affinity mask: {all_cores:x}\n")
        return 0
    try:
        mask = int(given.rest[0], 16)
    except ValueError as error:
        raise Trouble(f"bad mask '{given.rest[0]}'") from error
    if not mask & all_cores:
        raise Trouble("sched_setaffinity: Invalid argument")
    return await call.runner.run_words(call, list(given.rest[1:]))


async def timeout(call: Call) -> int:
    """Run a command for at most so long; 124 when it was ended."""
    given = words.read(call.args, "v", "s k", first_only=True)
    if len(given.rest) < 2:
        raise Trouble("Needs 2 arguments")
    try:
        seconds = float(given.rest[0].rstrip("s"))
    except ValueError as error:
        raise Trouble(f"bad seconds '{given.rest[0]}'") from error
    try:
        return await asyncio.wait_for(call.runner.run_words(call, list(given.rest[1:])), seconds)
    except TimeoutError:
        return 124


async def getconf(call: Call) -> int:
    """Print a limit of the system."""
    cores = str(len(call.system.profile.cpu_max_khz))
    known = {
        "PAGE_SIZE": str(call.system.profile.page_size), "PAGESIZE": str(call.system.profile.page_size),
        "_NPROCESSORS_ONLN": cores, "_NPROCESSORS_CONF": cores, "LONG_BIT": "64", "CLK_TCK": "100",
    }  # fmt: skip
    if not call.args or call.args[0] not in known:
        raise Trouble(f"{' '.join(call.args)}: unknown name")
    await call.say(known[call.args[0]] + "\n")
    return 0


async def uname(call: Call) -> int:
    """Print what kernel this plays."""
    given = words.read(call.args, "a s r m n")
    machine = {"x86_64": "x86_64", "arm64-v8a": "aarch64"}.get(call.system.profile.abis[0], "unknown")
    fields = {"s": "Linux", "n": "localhost", "r": "0.0-palmtop-virtual", "m": machine}
    shown = list(fields) if "a" in given.flags else [key for key in fields if key in given.flags] or ["s"]
    await call.say(" ".join(fields[key] for key in shown) + "\n")
    return 0


async def nproc(call: Call) -> int:
    """Print the number of processors."""
    await call.say(f"{len(call.system.profile.cpu_max_khz)}\n")
    return 0


async def test(call: Call) -> int:
    """Say whether something is so: files, texts, numbers."""
    args = list(call.args)
    if call.name == "[":
        closing = args.pop() if args else ""
        if closing != "]":
            raise Trouble("missing ]", 2)
    negated = bool(args) and args[0] == "!"
    asked = args[1:] if negated else args
    held = _is_terminal(call, asked[1]) if len(asked) == 2 and asked[0] == "-t" else _holds(call.view, asked)
    return int(held == negated)


def _is_terminal(call: Call, descriptor: str) -> bool:
    terminals = {"0": call.stdin.is_terminal, "1": call.stdout.is_terminal, "2": call.stderr.is_terminal}
    return terminals.get(descriptor, False)


_NUMBERS: Final = {"-eq": "==", "-ne": "!=", "-lt": "<", "-le": "<=", "-gt": ">", "-ge": ">="}


def _holds(view: View, args: list[str]) -> bool:
    if len(args) == 1:
        return bool(args[0])
    if len(args) == 2:
        return _unary(view, *args)
    if len(args) == 3:
        return _binary(*args)
    if args:
        raise Trouble("this expression is not supported by the virtual device", 2)
    return False


def _unary(view: View, operator: str, word: str) -> bool:
    if operator in ("-n", "-z"):
        return bool(word) == (operator == "-n")
    kinds: dict[str, Callable[[str], bool]] = {
        "-e": view.exists, "-f": lambda path: view.exists(path) and not view.is_folder(path), "-d": view.is_folder,
        "-r": view.exists, "-s": lambda path: view.exists(path) and view.stat(path).st_size > 0,
        "-x": lambda path: view.exists(path) and bool(view.stat(path).st_mode & 0o111),
        "-w": lambda path: view.exists(path) and view.identity.may_write(view.files.real(view.absolute(path))),
    }  # fmt: skip
    if operator not in kinds:
        raise Trouble(f"{operator}: unknown operator", 2)
    return kinds[operator](word)


def _binary(left: str, operator: str, right: str) -> bool:
    if operator in ("=", "=="):
        return left == right
    if operator == "!=":
        return left != right
    if operator not in _NUMBERS:
        raise Trouble(f"{operator}: unknown operator", 2)
    a, b = words.number(left, "test"), words.number(right, "test")
    return {"-eq": a == b, "-ne": a != b, "-lt": a < b, "-le": a <= b, "-gt": a > b, "-ge": a >= b}[operator]


async def uptime(call: Call) -> int:
    """Print how long the device has been up."""
    await call.say(f" up {int(call.system.uptime_s())} s,  0 users,  load average: 0.00, 0.00, 0.00\n")
    return 0


async def netcat(call: Call) -> int:
    """Connect to a port of the device, or listen on one (``-l -p PORT``) for a single connection."""
    given = words.read(call.args, "l", "p w")
    network = call.system.network
    if "l" in given.flags:
        arrived: asyncio.Queue[Socket] = asyncio.Queue()
        port = network.listen(words.number(given.values.get("p", "0"), "-p"), arrived.put)
        try:
            socket = await arrived.get()
        finally:
            network.close(port)
    else:
        if len(given.rest) != 2:
            raise Trouble("Needs a host and a port")
        socket = await network.connect(words.number(given.rest[1], "port"))
    return await _exchange(call, socket)


async def _exchange(call: Call, socket: Socket) -> int:

    async def send() -> None:
        try:
            while data := await call.stdin.read():
                await socket.outgoing.write(data)
        except BrokenPipeError:
            return  # the other end has gone: what it said before is still read below
        await socket.outgoing.end_writing()

    sender = asyncio.ensure_future(send())
    try:
        while data := await socket.incoming.read():
            await call.stdout.write(data)
    finally:
        if isinstance(call.stdin, Nothing):
            await sender
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        await socket.close()
    return 0


COMMANDS: Final[dict[str, Command]] = {
    "true": true, "false": false, "sleep": sleep, "date": date, "id": identity, "whoami": identity, "ps": ps,
    "pidof": pidof, "kill": kill, "pkill": pkill, "sh": sh, "nohup": nohup, "env": env, "printenv": env,
    "taskset": taskset, "timeout": timeout, "getconf": getconf, "uname": uname, "nproc": nproc, "test": test,
    "[": test, "uptime": uptime, "nc": netcat,
}  # fmt: skip
