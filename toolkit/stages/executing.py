"""A model run over a data set in a child process, its outputs kept in the cache where that is asked for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core import isolation, store
from toolkit.core.artifacts import Blob
from toolkit.core.events import Event
from toolkit.core.tools import Tools
from toolkit.stages import work
from toolkit.stages.work import Execution, ExecutionJob, Recorded

EXECUTE_S = 4 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptOutput:
    name: str
    blob: Blob


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """An :class:`Execution` whose files lie in the cache."""

    outputs: tuple[_KeptOutput, ...]
    labels: Blob | None
    golden: Blob | None
    samples: int


def execute(job: ExecutionJob, subject: str, tools: Tools) -> Execution:
    """Run a model over a data set into ``job.out``, which does not exist yet, and tell how far it is."""

    def tell(event: Event) -> None:
        tools.emit(Event(subject=subject, phase="verify", done=event.done, total=event.total))

    with store.writing_to(job.out):
        job.out.mkdir()
    tools.emit(Event(subject=subject, phase="verify", total=job.data.count))
    return isolation.isolate(tools, EXECUTE_S, work.execute, job, tell)


def remember(job: ExecutionJob, subject: str, inputs: dict[str, Any], tools: Tools) -> Execution:
    """Return what :func:`execute` gives for equal inputs, from the cache if it was run before."""

    def produce(folder: Path) -> _Kept:
        made = execute(dataclasses.replace(job, out=folder / "outputs"), subject, tools)
        return _Kept(
            outputs=tuple(_KeptOutput(name=one.name, blob=store.blob_of(one.path)) for one in made.outputs),
            labels=None if made.labels is None else store.blob_of(made.labels),
            golden=None if made.golden is None else store.blob_of(made.golden),
            samples=made.samples,
        )

    kept = tools.store.memo("execution/1", inputs, _Kept, produce)
    return Execution(
        outputs=tuple(Recorded(name=one.name, path=one.blob.path) for one in kept.outputs),
        labels=None if kept.labels is None else kept.labels.path,
        golden=None if kept.golden is None else kept.golden.path,
        samples=kept.samples,
    )
