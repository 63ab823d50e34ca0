"""The table of the operators that are executed on the host, which docs/coreml.md shows."""

from __future__ import annotations

from typing import Any

from toolkit.targets.coreml.foreign import coremltools

ELSEWHERE = {"classify": 2}
"""Cases that are whole models, in ``coreml_interface_jobs``, as coremltools puts in the operator itself."""


def table_of_operators() -> str:
    """Return, by family, each operator with the number of cases that it is held against, as Markdown rows."""
    coremltools(tensorflow=False)
    import coreml_cases
    import coreml_further_cases as further

    from toolkit.targets.coreml.interpreter.operators import FAMILIES

    cases = {**coreml_cases.CASES, **coreml_cases.NEWER, **further.FURTHER, **further.OLD, **further.NEW}
    used = {name: _operators_of(case) for name, case in cases.items()}
    rows = []
    for family in FAMILIES:
        counts = {name: sum(name in built for built in used.values()) for name in sorted(family.LOWERINGS)}
        words = [f"`{name}` {counts[name] or ELSEWHERE.get(name, 0)}" for name in counts]
        rows.append(f"| {family.__name__.rpartition('.')[2]} | {', '.join(words)} |")
    return "\n".join(sorted(rows))


class _Recorder:
    """Stands for coremltools' builder: notes which operators a case asks for."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def note(**_: Any) -> Any:
            self.seen.append(name)
            return [_Anything(), _Anything(), _Anything(), _Anything()]

        return note


class _Anything:
    """Stands for a variable."""

    def __getattr__(self, name: str) -> Any:
        return self


def _operators_of(case: Any) -> set[str]:
    recorder = _Recorder()
    case.build(recorder, *[_Anything() for _ in case.inputs])
    return set(recorder.seen)
