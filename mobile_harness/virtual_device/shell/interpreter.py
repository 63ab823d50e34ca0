"""Runs scripts: every command is a task with a pid, every pipe is in memory, nothing of the host is started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mobile_harness.virtual_device.android.call import Call, Command, Trouble, describe
from mobile_harness.virtual_device.android.system import WITHOUT_SANDBOX, System
from mobile_harness.virtual_device.filesystem import View
from mobile_harness.virtual_device.shell import builtins, parser, syntax
from mobile_harness.virtual_device.shell.expansion import Expander
from mobile_harness.virtual_device.shell.plumbing import (
    Collected,
    FileSink,
    FileSource,
    Nothing,
    Pipe,
    Sink,
    Source,
)
from mobile_harness.virtual_device.shell.redirection import Streams, duplicate, put, tell

SYSTEM_SHELL: Final = "/system/bin/sh"
NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126
DEPTH_MAX: Final = 24


@dataclass(slots=True, kw_only=True)
class Shell:
    """One shell: its variables, its folder, its rights, and the commands it can find."""

    system: System
    view: View
    commands: Mapping[str, Command]
    environment: dict[str, str] = field(default_factory=dict)
    parameters: list[str] = field(default_factory=lambda: ["sh"])
    status: int = 0
    depth: int = 0
    last_job: int = 0
    jobs: list[asyncio.Task[None]] = field(default_factory=list)
    held: list[asyncio.Task[None]] = field(default_factory=list)
    """Jobs in the background that still hold the streams of the session."""
    pid: int = 0
    traps: dict[int, str] = field(default_factory=dict)
    """What to do at signals, by number; 0 is the shell's own end."""

    def copy(self) -> Shell:
        """Return a subshell: what it changes is its own, what it leaves running is held by all."""
        return replace(
            self,
            view=self.view.copy(),
            environment=dict(self.environment),
            parameters=list(self.parameters),
            depth=self.depth + 1,
            jobs=[],
            traps={},
        )

    # entries ----------------------------------------------------------------------------------------------------

    async def run(self, text: str, streams: Streams) -> int:
        """Run a script and return its exit code."""
        if self.depth > DEPTH_MAX:
            await tell(streams, f"{SYSTEM_SHELL}: shells nested too deep")
            return 2
        try:
            script = parser.parse(text)
        except parser.BadSyntax as error:
            reason = f"{error} {WITHOUT_SANDBOX}" if error.unsupported else f"syntax error: {error}"
            await tell(streams, f"{SYSTEM_SHELL}: {reason}")
            return 2
        try:
            return await self.script(script, streams)
        except builtins.Leave as leave:
            return leave.code
        except builtins.LoopControl:
            return 0

    async def run_words(self, call: Call, words: list[str]) -> int:
        """Run a command by its words, as :class:`.call.Runner` says."""
        shell = self.copy()
        shell.view = call.view
        shell.environment = dict(call.environment)
        return await shell.command(words, Streams(call.stdin, call.stdout, call.stderr))

    async def run_text(self, call: Call, text: str, parameters: list[str]) -> int:
        """Run a script in a shell of its own, as :class:`.call.Runner` says."""
        shell = self.copy()
        shell.view = call.view
        shell.environment = dict(call.environment)
        shell.parameters = parameters
        return await shell.run(text, Streams(call.stdin, call.stdout, call.stderr))

    async def run_words_here(self, words: list[str], streams: Streams) -> int:
        """Run a command by its words with this shell's own variables."""
        return await self.command(words, streams)

    def lookup(self, name: str) -> str | None:
        """Return the value of a variable or parameter."""
        if name.isdigit():
            return self.parameters[int(name)] if int(name) < len(self.parameters) else None
        special = {
            "?": str(self.status),
            "$": str(self.pid),
            "!": str(self.last_job),
            "#": str(len(self.parameters) - 1),
            "@": " ".join(self.parameters[1:]),
            "*": " ".join(self.parameters[1:]),
            "PWD": self.view.folder,
        }
        return special[name] if name in special else self.environment.get(name)

    # the tree ---------------------------------------------------------------------------------------------------

    async def script(self, script: syntax.Script, streams: Streams) -> int:
        """Run chain after chain."""
        for chain in script.chains:
            if chain.background:
                self._start_job(chain, streams)
                self.status = 0
            else:
                self.status = await self.chain(chain, streams)
        return self.status

    async def chain(self, chain: syntax.Chain, streams: Streams) -> int:
        """Run the steps of a chain that their joints ask for."""
        for step in chain.steps:
            if (step.joint == "&&" and self.status) or (step.joint == "||" and not self.status):
                continue
            code = await self._pipeline(step.pipeline, streams)
            self.status = int(not code) if step.pipeline.negated else code
        return self.status

    def _start_job(self, chain: syntax.Chain, streams: Streams) -> None:
        shell = self.copy()
        own = Streams(Nothing(), streams.stdout, streams.stderr)

        async def work() -> None:
            try:
                await shell.chain(chain, own)
            except (builtins.Leave, builtins.LoopControl, ConnectionError):
                return  # the job is over, and nobody waits for its code

        def end(_: int) -> None:
            task.cancel()

        task = self.system.spawn(work())
        process = self.system.processes.start(user=self.view.identity.name, argv=(SYSTEM_SHELL,), end=end)
        task.add_done_callback(lambda _: self.system.processes.stop(process))
        shell.pid = self.last_job = process.pid
        self.jobs.append(task)
        if not _lets_go(chain):
            self.held.append(task)

    async def _pipeline(self, pipeline: syntax.Pipeline, streams: Streams) -> int:
        if len(pipeline.commands) == 1:
            return await self.node(pipeline.commands[0], streams)
        pipes = [Pipe() for _ in pipeline.commands[1:]]
        works = []
        for number, node in enumerate(pipeline.commands):
            source: Source = pipes[number - 1] if number else streams.stdin
            sink: Sink = pipes[number] if number < len(pipes) else streams.stdout
            works.append(self._stage(node, Streams(source, sink, streams.stderr)))
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            codes = await asyncio.gather(*tasks)
        finally:
            await end_tasks(tasks)
        return codes[-1]

    async def _stage(self, node: syntax.Command, streams: Streams) -> int:
        try:
            return await self.copy().node(node, streams)
        except builtins.Leave as leave:
            return leave.code
        except BrokenPipeError:
            return 141
        finally:
            if isinstance(streams.stdout, Pipe):
                await streams.stdout.end_writing()
            if isinstance(streams.stdin, Pipe):
                await streams.stdin.end_reading()

    async def node(self, node: syntax.Command, streams: Streams) -> int:
        """Run one command, simple or compound, with its redirections."""
        try:
            async with self._redirected(node.redirects, streams) as inner:
                if isinstance(node, syntax.Simple):
                    return await self._simple(node, inner)
                return await self._compound(node, inner)
        except Trouble as trouble:
            await tell(streams, f"{SYSTEM_SHELL}: {trouble}")
            return trouble.code

    async def _compound(self, node: syntax.Group | syntax.If | syntax.For | syntax.While, streams: Streams) -> int:
        if isinstance(node, syntax.Group):
            return await self._group(node, streams)
        if isinstance(node, syntax.If):
            return await self._if(node, streams)
        return await self._loop(node, streams)

    async def _group(self, node: syntax.Group, streams: Streams) -> int:
        if not node.subshell:
            return await self.script(node.body, streams)
        try:
            return await self.copy().script(node.body, streams)
        except builtins.Leave as leave:
            return leave.code

    async def _if(self, node: syntax.If, streams: Streams) -> int:
        for condition, body in node.branches:
            if await self.script(condition, streams) == 0:
                return await self.script(body, streams)
        return await self.script(node.otherwise, streams) if node.otherwise else 0

    async def _loop(self, node: syntax.For | syntax.While, streams: Streams) -> int:
        code = 0
        async for _ in self._turns(node, streams):
            await asyncio.sleep(0)
            try:
                code = await self.script(node.body, streams)
            except builtins.LoopControl as control:
                if control.ends:
                    break
        return code

    async def _turns(self, node: syntax.For | syntax.While, streams: Streams) -> AsyncIterator[None]:
        if isinstance(node, syntax.For):
            words = self.parameters[1:] if node.words is None else await self._expander().arguments(node.words)
            for word in words:
                self.environment[node.name] = word
                yield
            return
        while (await self.script(node.condition, streams) != 0) == node.until:
            yield

    # one command ------------------------------------------------------------------------------------------------

    async def _simple(self, node: syntax.Simple, streams: Streams) -> int:
        expander = self._expander()
        self_status = self.status
        words = await expander.arguments(node.words)
        assigned = {name: await expander.single(word) for name, word in node.assignments}
        if not words:
            self.environment.update(assigned)
            return self.status if self.status != self_status else 0
        builtin = builtins.BUILTINS.get(words[0])
        if builtin is not None:
            self.environment.update(assigned)
            return await builtin(self, words, streams)
        if not assigned:
            return await self.command(words, streams)
        inner = self.copy()
        inner.environment.update(assigned)
        return await inner.command(words, streams)

    async def command(self, words: list[str], streams: Streams) -> int:
        """Find and run a command as a process of the device; a builtin in a shell of its own."""
        builtin = builtins.BUILTINS.get(words[0])
        if builtin is not None:
            return await builtin(self.copy(), words, streams)
        name = words[0].rpartition("/")[2]
        is_path = "/" in words[0] and not words[0].startswith("/system/bin/")
        command = None if is_path else self.commands.get(name)
        if command is None and not is_path:
            await tell(streams, f"{SYSTEM_SHELL}: {words[0]}: inaccessible or not found")
            return NOT_FOUND
        return await self._process(command or self.commands["*"], name if command else words[0], words, streams)

    async def _process(self, command: Command, name: str, words: list[str], streams: Streams) -> int:
        signals: list[int] = []

        def end(signal: int) -> None:
            signals.append(signal)
            task.cancel()

        table = self.system.processes
        with table.running(user=self.view.identity.name, argv=tuple(words), end=end) as process:
            call = Call(
                system=self.system,
                runner=self,
                view=self.view.copy(),
                environment=dict(self.environment),
                name=name,
                args=words[1:],
                stdin=streams.stdin,
                stdout=streams.stdout,
                stderr=streams.stderr,
                pid=process.pid,
            )
            task = asyncio.ensure_future(_guarded(command, call))
            try:
                return await task
            except asyncio.CancelledError:
                if not signals or _is_cancelled():
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    raise
                return 128 + signals[-1]

    def _expander(self) -> Expander:
        async def capture(script: syntax.Script) -> str:
            collected = Collected()
            shell = self.copy()
            try:
                self.status = await shell.script(script, Streams(Nothing(), collected, Nothing()))
            except builtins.Leave as leave:
                self.status = leave.code
            return collected.data.decode("utf-8", "surrogateescape")

        return Expander(self.lookup, self.parameters[1:], capture, self.view)

    @asynccontextmanager
    async def _redirected(self, redirects: tuple[syntax.Redirect, ...], streams: Streams) -> AsyncIterator[Streams]:
        inner = replace(streams)
        opened: list[FileSink | FileSource] = []
        try:
            for redirect in redirects:
                target = await self._expander().single(redirect.target)
                try:
                    opened.extend(self._redirect(redirect, target, inner))
                except OSError as error:
                    verb = "open" if redirect.operator == "<" else "create"
                    raise Trouble(f"can't {verb} {target}: {describe(error)}") from error
            yield inner
        finally:
            for file in opened:
                file.close()

    def _redirect(self, redirect: syntax.Redirect, target: str, streams: Streams) -> list[FileSink | FileSource]:
        if redirect.operator in (">&", "<&"):
            duplicate(redirect.fd, target, streams)
            return []
        if target == "/dev/null":
            put(redirect.fd, Nothing(), streams)
            return []
        if redirect.operator == "<":
            source = FileSource(self.view.open_read(target))
            streams.stdin = source
            return [source]
        sink = FileSink(self.view.open_write(target, append=redirect.operator == ">>"))
        put(redirect.fd, sink, streams)
        return [sink]


async def _guarded(command: Command, call: Call) -> int:
    try:
        return await command(call)
    except Trouble as trouble:
        await call.complain(str(trouble))
        return trouble.code
    except BrokenPipeError:
        return 141
    except OSError as error:
        if isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError):
            return 1  # the host has gone, and with it everybody who could read a message
        await call.complain(describe(error))
        return 1


async def end_tasks(tasks: list[Any]) -> None:
    """Cancel what still runs and wait until all have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _lets_go(chain: syntax.Chain) -> bool:
    """Say whether a background job sends both its outputs elsewhere, so that the session can end before it."""
    first = chain.steps[0].pipeline.commands
    moved = {redirect.fd for redirect in first[-1].redirects}
    return len(chain.steps) == 1 and {1, 2} <= moved
