"""Bringing a project up to date: first a plan that only reads, then its steps. No edit of the user is ever lost.

A managed file that is as palmtop wrote it is rewritten; one that the user changed is merged, or the new text is put
beside it. A file that the user removed stays removed. Files of the model follow the build; those that had been
changed are kept aside.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from toolkit.apps import merge, record
from toolkit.apps.project import Item, Project, keeps_base, place
from toolkit.apps.record import FileEntry, Record
from toolkit.core import codec, store
from toolkit.core.errors import BadInput
from toolkit.core.events import Event
from toolkit.core.tools import Tools

Conflict = Literal["new", "inline"]
Action = Literal[
    "written", "updated", "merged", "conflict", "beside", "kept", "removed", "left", "replaced", "unchanged"
]
"""``conflict``: marks are in the file; ``beside``: the new text is in ``FILE.new``; ``kept``: the user's change stays;
``removed``: no longer part of the template; ``left``: the user removed it; ``replaced``: the user's is in ``.old``."""

UNSOLVED: Final[tuple[Action, ...]] = ("conflict", "beside")
QUIET: Final[tuple[Action, ...]] = ("unchanged", "kept", "left")
"""What an update does not write."""
_DIFF_MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What happens to one file.

    ``content`` is a merged text, ``item`` the file as palmtop makes it now, ``aside`` where the user's own is kept,
    ``beside`` where the new text goes instead.
    """

    path: str
    action: Action
    content: bytes | None = None
    item: Item | None = None
    aside: str | None = None
    beside: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All steps by path, and the record and base texts that hold afterwards."""

    steps: tuple[Step, ...]
    after: Record
    bases: tuple[Item, ...]

    @property
    def unsolved(self) -> tuple[Step, ...]:
        """What the user has to look at."""
        return tuple(step for step in self.steps if step.action in UNSOLVED)


def plan(app: Path, before: Record, project: Project, conflict: Conflict, tools: Tools) -> Plan:
    """Say what an update does to every file; nothing is written.

    Args:
        app: the project's folder.
        before: what is recorded there.
        project: the project as it would be created now; files of kinds that are not in it are removed.
        conflict: where the user and the template changed the same lines.
        tools: to merge with.

    Raises:
        BadInput: a file lies behind a link that leads out of the project.
    """
    known = {entry.path: entry for entry in before.files}
    wanted = {item.path: item for item in project.items}
    steps, entries = [], []
    for path in sorted(known.keys() | wanted.keys()):
        now = _read(app, path)
        item, entry = wanted.get(path), known.get(path)
        step = _step(_Case(app, path, now, item, entry), conflict, tools)
        steps.append(step)
        if item is not None:
            entries.append(FileEntry(path=path, sha256=_offered(item, entry), kind=item.kind))
    after = Record(
        palmtop=project.record.palmtop,
        template_version=project.record.template_version,
        answers=project.record.answers,
        files=tuple(entries),
    )
    return Plan(steps=tuple(steps), after=after, bases=tuple(item for item in project.items if keeps_base(item)))


def _offered(item: Item, entry: FileEntry | None) -> str:
    """A seed file is compared with what it was when it was written, all others with what they are now."""
    return entry.sha256 if item.kind == "seed" and entry is not None else item.sha256


@dataclass(frozen=True, slots=True)
class _Case:
    app: Path
    path: str
    now: bytes | None
    item: Item | None
    entry: FileEntry | None

    @property
    def edited(self) -> bool:
        """Whether the file is not what palmtop wrote; line ends that a checkout turned do not count."""
        if self.now is None or self.entry is None:
            return self.now is not None
        plain = self.now.replace(b"\r\n", b"\n")
        return self.entry.sha256 not in (record.sha256(self.now), record.sha256(plain))


def _step(case: _Case, conflict: Conflict, tools: Tools) -> Step:
    if case.item is None:
        return _dropped(case)
    if case.item.kind == "model":
        return _model(case, case.item)
    if case.now is None:
        if case.entry is None:
            return Step(path=case.path, action="written", item=case.item)
        return Step(path=case.path, action="left")
    if case.item.kind == "seed":
        return Step(path=case.path, action="kept" if case.edited else "unchanged")
    if case.now == case.item.content:
        return Step(path=case.path, action="unchanged")
    if not case.edited:
        return _rewritten(case, case.item)
    if case.entry is not None and case.entry.sha256 == case.item.sha256:
        return Step(path=case.path, action="kept")
    return _merged(case, case.item, conflict, tools)


def _rewritten(case: _Case, item: Item) -> Step:
    if case.entry is not None and case.entry.sha256 == item.sha256:
        return Step(path=case.path, action="unchanged")  # only its line ends differ
    return Step(path=case.path, action="updated", item=item)


def _dropped(case: _Case) -> Step:
    if case.now is None:
        return Step(path=case.path, action="left")
    if case.edited or (case.entry is not None and case.entry.kind == "seed"):
        return Step(path=case.path, action="kept")
    return Step(path=case.path, action="removed")


def _model(case: _Case, item: Item) -> Step:
    if item.fixed:
        return Step(path=case.path, action="left" if case.now is None else "kept" if case.edited else "unchanged")
    if case.now is not None and record.sha256(case.now) == item.sha256:
        return Step(path=case.path, action="unchanged")
    if case.now is None:
        return Step(path=case.path, action="written", item=item)
    if not case.edited:
        return Step(path=case.path, action="updated", item=item)
    return Step(path=case.path, action="replaced", item=item, aside=_free(case.app, f"{case.path}.old", case.now))


def _merged(case: _Case, item: Item, conflict: Conflict, tools: Tools) -> Step:
    assert case.now is not None
    base = _read(case.app, f"{record.BASE}/{case.path}")
    if base is not None and keeps_base(item) and b"\0" not in case.now:
        found = merge.three_way(tools, base, case.now, item.content)
        if found is not None and not found.conflicts:
            action: Action = "kept" if found.content == case.now else "merged"
            content = None if found.content == case.now else found.content
            return Step(path=case.path, action=action, content=content, item=item)
        if found is not None and conflict == "inline":
            return Step(path=case.path, action="conflict", content=found.content, item=item)
    beside = _free(case.app, f"{case.path}.new", item.content)
    return Step(path=case.path, action="beside", item=item, beside=beside)


def _free(app: Path, path: str, content: bytes) -> str:
    """Return the path, numbered where a file of other content already has it."""
    number = 1
    while True:
        tried = path if number == 1 else f"{path}.{number}"
        if _read(app, tried) in (None, content):
            return tried
        number += 1


def _read(app: Path, path: str) -> bytes | None:
    """Return a file of the project, or None.

    Raises:
        BadInput: it lies behind a link that leads out of the project, is a folder, or cannot be read.
    """
    place = _inside(app, path)
    try:
        return place.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BadInput(f"{place} cannot be read: {error.strerror}.") from error


def _inside(app: Path, path: str) -> Path:
    place = app / path
    if place.is_symlink() or not place.parent.resolve().is_relative_to(app.resolve()):
        raise BadInput(
            f"{place} is a link, or lies behind one that leads out of the project.",
            hint="Replace the link by the file itself: palmtop writes nothing outside of an app's folder.",
        )
    return place


def apply(app: Path, made: Plan, tools: Tools) -> None:
    """Carry a plan out: what is kept aside first, the record last, so that an interrupted update can be repeated.

    Raises:
        OutputError: a file cannot be written.
        BadInput: a link leads out of the project.
    """
    at_work = [step for step in made.steps if step.action not in QUIET]
    for done, step in enumerate(at_work):
        tools.emit(Event(subject=app.name, phase=step.action, message=step.path, done=done, total=len(at_work)))
        _carry_out(app, step)
    for item in made.bases:
        base = f"{record.BASE}/{item.path}"
        if _read(app, base) != item.content:
            place(item, _inside(app, base))
    _drop_bases(app, made)
    store.write_atomic(_inside(app, record.FILE), codec.pretty(made.after))
    tools.emit(Event(subject=app.name, phase="done", message=f"{len(at_work)} files"))


def _carry_out(app: Path, step: Step) -> None:
    path = _inside(app, step.path)
    if step.aside is not None:
        store.write_atomic(_inside(app, step.aside), path.read_bytes())
    if step.action == "removed":
        with store.writing_to(path.parent):
            path.unlink()
            _prune(path.parent, app)
    elif step.content is not None:
        mode = path.stat().st_mode & 0o777
        store.write_atomic(path, step.content)
        path.chmod(mode)
    elif step.item is not None:
        place(step.item, _inside(app, step.beside or step.path))


def _prune(folder: Path, app: Path) -> None:
    """Remove folders that became empty."""
    while folder != app and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _drop_bases(app: Path, made: Plan) -> None:
    kept = {item.path for item in made.bases}
    for step in made.steps:
        place_of = _inside(app, f"{record.BASE}/{step.path}")
        if step.path not in kept and place_of.is_file():
            with store.writing_to(place_of.parent):
                place_of.unlink()
                _prune(place_of.parent, app)


def patch(app: Path, made: Plan) -> str:
    """Return what a plan changes as a unified diff; binary and large files are only named."""
    parts = []
    for step in made.steps:
        if step.action in QUIET:
            continue
        target = step.beside or step.path
        before = _read(app, target) or b""
        after = step.item.read() if step.content is None and step.item is not None else step.content or b""
        parts.append(_difference(target, before, after))
    return "".join(parts)


def _difference(path: str, before: bytes, after: bytes) -> str:
    if b"\0" in before + after or max(len(before), len(after)) > _DIFF_MAX_BYTES:
        return f"Binary file {path} changes: {len(before)} to {len(after)} bytes\n"
    old = before.decode("utf-8", "replace").splitlines(keepends=True)
    new = after.decode("utf-8", "replace").splitlines(keepends=True)
    lines = difflib.unified_diff(old, new, f"a/{path}", f"b/{path}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
