"""One session, phase by phase: load cold, parity, load warm, first, warm-up, measure; each told as it ends.

What is timed: ``load_cold`` is the first ``open_session`` of the process, with the runtime's library imported before
(by its name, and by an empty file that it is asked to open and refuses). ``load_warm`` opens the same file again after
the first session was closed, and ``first`` is the first inference of that second session. Latencies are whole calls of
``session.run`` with ready arrays: the Python binding is in them, preprocessing is not.
"""

from __future__ import annotations

import gc
import importlib
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import discovery
from toolkit.core.artifacts import ToolVersion
from toolkit.core.errors import PalmtopError
from toolkit.core.ports import Array, Session
from toolkit.core.store import sha256_of
from toolkit.host_runner import machine, parity, timing
from toolkit.host_runner.channel import Channel
from toolkit.host_runner.order import Order

PROTO = "1.0"
MESSAGE_MAX = 400
ONE_SYSTEM_ONLY = {"coreml": "Darwin"}
"""Runtimes that exist on one system; elsewhere their target executes by a stand-in."""


class Refused(Exception):
    """The session cannot go on; ``code`` is the word of the protocol for why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def serve(order: Order) -> int:
    """Measure one build and tell; returns the exit code of the process."""
    live = os.fdopen(os.dup(1), "wb")
    channel = Channel(order.run, order.out, live)
    phase = ["start"]
    try:
        _session(order, channel, phase)
    except BaseException as error:
        channel.say("error", code=_code(error, phase[0]), msg=_words(error), where=phase[0], fatal=True)
        channel.close("error")
        traceback.print_exc()
        return 1
    channel.close("ok")
    return 0


def _session(order: Order, channel: Channel, phase: list[str]) -> None:
    target = _target(order.target)
    libraries = _import_runtime(target)
    found = sha256_of(order.model) if order.model.exists() else ""
    _say_hello(order, libraries, found, channel)
    channel.start_beating()
    _check_model(order, found)
    if order.plan.accelerator != "cpu":
        raise Refused("accelerator_unavailable", f"this host has no accelerator {order.plan.accelerator!r}")
    if ONE_SYSTEM_ONLY.get(order.target, platform.system()) != platform.system():
        channel.say("warn", code="stand_in_runtime", msg=f"{order.target} is executed by a stand-in on this system")
    _load_and_check(order, target, channel, phase)
    session, call = _reload(order, target, channel, phase)
    _time(order, channel, phase, call)
    session.close()


def _target(name: str) -> Any:
    try:
        return discovery.load("toolkit.targets", name)
    except PalmtopError as error:
        raise Refused("bad_args", str(error)) from error


def _import_runtime(target: Any) -> list[ToolVersion]:
    """Have the runtime's library imported before any load is timed, and return what executes the builds.

    A target that does not name its ``RUNTIME`` is made to load an empty file, which must fail after the import.
    """
    named: dict[str, str] = getattr(target, "RUNTIME", {})
    for module in named.values():
        importlib.import_module(module)
    before = set(sys.modules)
    with tempfile.TemporaryDirectory(prefix="palmtop-empty-") as folder:
        empty = Path(folder) / f"empty{target.SUFFIX}"
        empty.touch()
        try:
            target.open_session(empty, 1).close()
        except Exception as error:  # whatever a runtime says to an empty file: it is imported now
            sys.stderr.write(f"the runtime refuses an empty file, as it should: {error}\n")
    if named:
        return [ToolVersion(name=name, version=version(name)) for name in named]
    came = set(sys.modules) - before
    return [tool for tool in target.toolchain() if tool.name.lower().replace("-", "_") in came]


def _say_hello(order: Order, libraries: list[ToolVersion], model_sha256: str, channel: Channel) -> None:
    clock = time.get_clock_info("perf_counter")
    channel.say(
        "hello",
        proto=PROTO,
        run=order.run,
        app="palmtop-host-runner",
        app_ver=version("palmtop"),
        runtime=" + ".join(tool.name for tool in libraries) or order.target,
        runtime_ver=" + ".join(tool.version for tool in libraries),
        model_sha256=model_sha256,
        os=platform.platform()[:200],
        device=platform.machine(),
        pid=os.getpid(),
        page_size=os.sysconf("SC_PAGE_SIZE"),
        clock=f"{clock.implementation} {clock.resolution:g} s"[:100],
        caps=["parity", "stride"],
    )


def _check_model(order: Order, found: str) -> None:
    if not found:
        raise Refused("model_missing", f"there is no {order.model.name}")
    if found != order.model_sha256:
        raise Refused("model_hash", f"the model's sha256 is {found}, not {order.model_sha256}")


def _load_and_check(order: Order, target: Any, channel: Channel, phase: list[str]) -> None:
    if not machine.reset_peak():
        channel.say("warn", code="peak_not_reset", msg="the peak memory counts from the start of the process")
    channel.say("mem", at="before_load", **machine.memory_kb())
    modules = len(sys.modules)
    session = _load("load_cold", order, target, channel, phase)
    if len(sys.modules) > modules + 20:
        channel.say("warn", code="load_includes_import", msg=f"{len(sys.modules) - modules} modules were imported")
    channel.say("mem", at="after_load", **machine.memory_kb())
    with _phase("parity", channel, phase):
        if order.golden is not None:
            _say_parity(session, parity.read(order.golden), channel)
    session.close()
    del session
    gc.collect()
    machine.reset_peak()


def _load(name: str, order: Order, target: Any, channel: Channel, phase: list[str]) -> Session:
    with _phase(name, channel, phase) as end:
        start = time.perf_counter_ns()
        session: Session = target.open_session(order.model, order.plan.threads)
        end["took_ns"] = time.perf_counter_ns() - start
    return session


def _say_parity(session: Session, golden: parity.Golden, channel: Channel) -> None:
    found: dict[str, parity.Distance] = {}
    for done, found in enumerate(parity.check(session, golden), start=1):  # noqa: B007  (the last one is wanted)
        channel.progress("parity", done, golden.count)
    for index, (name, distance) in enumerate(found.items()):
        channel.say(
            "parity",
            output_index=index,
            output=name,
            max_abs=distance.max_abs,
            cos=distance.cosine,
            top1=distance.top1,
            n=distance.samples,
        )


def _reload(order: Order, target: Any, channel: Channel, phase: list[str]) -> tuple[Session, timing.Call]:
    session = _load("load_warm", order, target, channel, phase)
    if order.golden is None:
        channel.say("warn", code="random_inputs", msg="no golden samples: timed on seeded random inputs")
        feeds = _random_feeds(session, order.plan.seed)
    else:
        feeds = parity.read(order.golden).feeds(0)

    def call() -> object:
        return session.run(feeds)

    with _phase("first", channel, phase) as end:
        end["took_ns"] = timing.timed(call)
    return session, call


def _random_feeds(session: Session, seed: int) -> dict[str, Array]:
    """Return floats in [0, 1), and zeros for the rest: they are valid as indices of any table."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for spec in session.signature.inputs:
        shape = tuple(max(size, 1) for size in spec.shape)
        dtype = np.dtype(spec.dtype)
        feeds[spec.name] = (rng.random(shape) if dtype.kind == "f" else np.zeros(shape)).astype(dtype)
    return feeds


def _time(order: Order, channel: Channel, phase: list[str], call: timing.Call) -> None:
    gc.collect()
    gc.freeze()
    gc.disable()
    with _phase("warmup", channel, phase) as end:
        warmed = timing.warm_up(call, order.plan, channel)
        end.update(took_ns=warmed.took_ns, runs=warmed.runs, converged=warmed.converged)
    channel.say("env", at="start", load_1m=machine.load_1m())
    series = timing.Series(channel)
    before = machine.cpu_times()
    with _phase("measure", channel, phase) as end:
        done = timing.measure(
            call, order.plan, warmed.typical_ns, series, lambda runs: channel.progress("measure", runs, 0)
        )
        end.update(took_ns=done.took_ns, runs=done.runs, calls=done.calls)
    shares = machine.shares(before, machine.cpu_times())
    around = {"other_cpu": shares.other, "steal": shares.steal} if shares else {}
    channel.say("env", at="end", load_1m=machine.load_1m(), **around)
    channel.say("mem", at="end", **machine.memory_kb())
    channel.say("result", **series.summary(), runs=done.runs, stride=done.stride)


@contextmanager
def _phase(name: str, channel: Channel, phase: list[str]) -> Iterator[dict[str, Any]]:
    """Tell both edges of a phase; what the block puts into the value it gets is told with the second."""
    phase[0] = name
    channel.say("phase", name=name, edge="begin")
    channel.progress(name, 0, 0)
    end: dict[str, Any] = {}
    yield end
    channel.say("phase", name=name, edge="end", **end)


def _code(error: BaseException, phase: str) -> str:
    if isinstance(error, Refused):
        return error.code
    if isinstance(error, MemoryError):
        return "oom"
    if phase.startswith("load"):
        return "load_failed"
    return "check_failed" if phase == "parity" else "run_failed"


def _words(error: BaseException) -> str:
    said = f"{type(error).__name__}: {error}" if not isinstance(error, Refused) else str(error)
    trace = "".join(traceback.format_tb(error.__traceback__)[-2:])
    text = " ".join(said.split())
    rest = MESSAGE_MAX - len(text) - 3
    return text[:MESSAGE_MAX] if rest < 40 else f"{text} | {' '.join(trace.split())[-rest:]}"
