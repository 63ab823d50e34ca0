"""Run one function in a process of its own: a crash, a hang or a full memory there is an error value here.

The function and its arguments travel as JSON (frozen values of the house, paths, numbers, text), so nothing is pickled
and nothing heavy is imported in the parent. Everything the child prints goes to a log file; a pipe carries its events
and its answer, which libraries that print cannot disturb.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import threading
import traceback
import typing
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from toolkit.core import codec, errors
from toolkit.core.errors import ChildFailed, PalmtopError
from toolkit.core.events import Emit, Event
from toolkit.core.process import Finished, exit_words
from toolkit.core.tools import Tools

P = ParamSpec("P")
R = TypeVar("R")

CHILD_ENVIRONMENT = {
    "ORT_DISABLE_TELEMETRY": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "CUDA_VISIBLE_DEVICES": "-1",
    "PYTHONSAFEPATH": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONFAULTHANDLER": "1",
    "PYTHONIOENCODING": "utf-8",
}
"""TensorFlow's oneDNN kernels round differently from machine to machine, so the reference runs without them. The safe
path keeps a stray ``numpy.py`` of the user's folder from being imported in place of the library."""

_FRAME = "\x1epalmtop "
_WATCH_S = 1.0


def isolate(tools: Tools, deadline_s: float, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a module-level function in a child process and return its result.

    Arguments and result are structured by the function's type hints. An argument of type ``Emit`` is replaced by the
    child's own, whose events arrive at the one given.

    Args:
        tools: ``tools.run`` starts the child.
        deadline_s: seconds until the child is killed.
        function: what to call; must be importable by name.

    Raises:
        ChildFailed: the child crashed, hung, ran out of memory or raised something foreign.
        PalmtopError: the very error of the house that the function raised.
    """
    listeners = [value for value in (*args, *kwargs.values()) if callable(value)]
    call = f"{function.__module__}:{function.__qualname__}"
    request = {
        "call": call,
        "parent": os.getpid(),
        "args": [None if callable(value) else codec.unstructure(value) for value in args],
        "kwargs": {key: None if callable(value) else codec.unstructure(value) for key, value in kwargs.items()},
    }
    answers: list[dict[str, Any]] = []

    def take(line: str) -> None:
        if not line.startswith(_FRAME):
            return
        frame = json.loads(line.removeprefix(_FRAME))
        if "event" not in frame:
            answers.append(frame)
            return
        for listener in listeners:
            listener(codec.structure(frame["event"], Event, what="event"))

    argv = [sys.executable, "-m", "toolkit.core.isolation"]
    finished = tools.run(argv, deadline_s=deadline_s, env=CHILD_ENVIRONMENT, stdin=json.dumps(request), on_line=take)
    if not answers:
        raise _no_answer(call, finished)
    answer = answers[-1]
    if "error" in answer:
        raise _revive(answer["error"], finished)
    hints = typing.get_type_hints(function)
    if hints["return"] is type(None):
        return typing.cast(R, None)
    return typing.cast(R, codec.structure(answer["result"], hints["return"], what=f"answer of {call}"))


def keep_log(finished: Finished) -> str:
    """Write all that a child printed to a file of the user's temporary folder and return its path.

    Where that folder is full the words that say so are returned: the child's own error is what matters.
    """
    try:
        handle, name = tempfile.mkstemp(prefix="palmtop-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(finished.describe() + "\n" + finished.stderr)
    except OSError as error:
        return f"not kept, {error.strerror}"
    return name


def _no_answer(call: str, finished: Finished) -> ChildFailed:
    log = keep_log(finished)
    if finished.timed_out:
        kind, why = "timeout", f"did not finish within {finished.seconds:.0f} s and was ended"
    elif finished.code == -9:
        kind, why = "memory", "was killed (SIGKILL), most often because memory ran out"
    else:
        kind, why = "crashed", f"crashed with {exit_words(finished.code)}"
    return ChildFailed(f"The child process for {call} {why}.", kind=kind, log=log, hint=f"Its whole output: {log}")


def _revive(plain: dict[str, Any], finished: Finished) -> PalmtopError:
    if plain["class"]:
        return typing.cast(PalmtopError, getattr(errors, plain["class"])(plain["message"], hint=plain["hint"]))
    log = keep_log(finished)
    kind = "memory" if plain["memory"] else "raised"
    return ChildFailed(plain["message"], kind=kind, log=log, hint=f"The whole trace: {log}")


def main() -> None:
    """Be the child: read a request from stdin, answer on what was stdout, send all printing to the log."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_end_with, args=(request["parent"],), daemon=True).start()

    def send(frame: dict[str, Any]) -> None:
        channel.write(_FRAME + json.dumps(frame) + "\n")
        channel.flush()

    try:
        send({"result": _serve(request, lambda event: send({"event": codec.unstructure(event)}))})
    except BaseException as error:
        send({"error": _plain_error(error)})  # first: on a full disk the log cannot be written
        traceback.print_exc()
    channel.close()
    sys.stderr.flush()
    os._exit(0)  # native libraries crash in their clean-up now and then; the answer is out


def _end_with(parent: int) -> None:
    """End this process and what it started once its parent is gone: nobody waits for the answer any more.

    The parent kills its children itself whenever it can. A parent that was killed cannot, and a child that leads a
    session of its own does not hear the signals of the terminal.
    """
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(_WATCH_S)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(3)


def _serve(request: dict[str, Any], emit: Emit) -> Any:
    module_name, _, name = request["call"].partition(":")
    function = getattr(__import__(module_name, fromlist=[name]), name)
    hints = typing.get_type_hints(function)
    names = [key for key in hints if key != "return"]
    given = {**dict(zip(names, request["args"], strict=False)), **request["kwargs"]}
    ready = {
        key: emit if hints[key] == Emit else codec.structure(value, hints[key], what=f"argument {key}")
        for key, value in given.items()
    }
    return codec.unstructure(function(**ready))


def _plain_error(error: BaseException) -> dict[str, Any]:
    if isinstance(error, PalmtopError) and not isinstance(error, ChildFailed):
        return {"class": type(error).__name__, "message": error.message, "hint": error.hint}
    message = " ".join(str(error).split())[:600]
    name = type(error).__name__
    return {"class": "", "message": f"{name}: {message}", "hint": "", "memory": isinstance(error, MemoryError)}


if __name__ == "__main__":
    main()
