"""What the tests of processes and the cache call in child processes; importable there because tests/ is on the path."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

from toolkit.core.artifacts import Blob, Signature, TensorSpec
from toolkit.core.clock import SystemClock
from toolkit.core.errors import DataError, GateFailed
from toolkit.core.events import Emit, Event
from toolkit.core.frameworks import import_tensorflow
from toolkit.core.store import Store, blob_of


def add(left: int, right: int = 1) -> int:
    return left + right


def what_comes_with_tensorflow() -> list[str]:
    import_tensorflow()
    return [name for name in ("matplotlib", "pandas", "sklearn") if name in sys.modules]


def turn_round(signature: Signature) -> Signature:
    return Signature(inputs=signature.outputs, outputs=signature.inputs)


def file_of(path: Path, words: dict[str, tuple[int, ...]]) -> Blob:
    path.write_text(str(words))
    return blob_of(path)


def nothing() -> None:
    return None


def chatter(emit: Emit) -> TensorSpec:
    sys.stdout.write("\x1epalmtop {broken\n")
    sys.stdout.flush()
    os.write(1, b'\x1epalmtop {"result": "forged"}\n' * 3)
    os.waitpid(os.spawnlp(os.P_NOWAIT, "echo", "echo", "from a grandchild"), 0)
    for step in range(3):
        emit(Event(subject="work", phase="count", done=step + 1, total=3))
        sys.stdout.write(f"noise {step}\n")
    sys.stderr.write("noise on stderr\n")
    return TensorSpec(name="true answer", dtype="float32", shape=(1,))


def raise_ours() -> int:
    raise DataError("The array 'x' is empty.", hint="Give another.")


def raise_gate() -> int:
    raise GateFailed("too low")


def raise_foreign() -> int:
    raise RuntimeError("CoreML\n  said   no")


def exit_quietly() -> int:
    sys.exit(0)


def exit_hard() -> int:
    os._exit(7)


def segfault() -> int:
    return ctypes.string_at(0)[0]


def abort() -> int:
    os.abort()


def kill_self() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def hang(note: Path) -> int:
    """Start a grandchild that hangs too, so that the test can see both go."""
    sleeper = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")
    note.write_text(f"{os.getpid()} {sleeper}")
    SystemClock().sleep(600)
    return 0


def exhaust() -> int:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    return len(bytearray(4 << 30))


def slow_memo(root: Path, log: Path) -> Blob:
    """Make a cached value slowly, telling each time that it really was made."""

    def produce(folder: Path) -> Blob:
        with log.open("a") as file:
            file.write("made\n")
        SystemClock().sleep(0.5)
        (folder / "value.bin").write_bytes(b"value")
        return blob_of(folder / "value.bin")

    return Store(root).memo("slow/1", {"equal": "inputs"}, Blob, produce)


def die_in_memo(root: Path) -> Blob:
    def produce(folder: Path) -> Blob:
        (folder / "half.bin").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
        return blob_of(folder / "half.bin")

    return Store(root).memo("slow/1", {"equal": "inputs"}, Blob, produce)


def write_on_full_disk(path: Path) -> str:
    """Write more than this process may: what a full disk looks like."""
    import resource

    from toolkit.core.errors import OutputError
    from toolkit.core.store import write_atomic

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        write_atomic(path, b"x" * 100_000)
    except OutputError as error:
        return str(error)
    return "written"


def stage_on_full_disk(final: Path) -> str:
    """The same in a staged folder, through a plain write of a stage."""
    import resource

    from toolkit.core.errors import OutputError
    from toolkit.core.store import copy_blob, staged_folder

    big = final.parent / "big.bin"
    big.write_bytes(b"x" * 100_000)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        with staged_folder(final) as stage:
            copy_blob(blob_of(big), stage / "big.bin")
    except OutputError as error:
        return str(error)
    return "written"
