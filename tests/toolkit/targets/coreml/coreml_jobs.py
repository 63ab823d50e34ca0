"""What the tests of the Core ML target do in child processes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.targets import coreml
from toolkit.targets.coreml.foreign import coremltools

ELSEWHERE = {"classify": 2}
"""Cases that are whole models, in ``coreml_interface_jobs``, as coremltools puts in the operator itself."""


def worst_errors(group: str) -> dict[str, float]:
    """Execute all cases of a group in one program; return each one's largest error relative to its largest value."""
    import coreml_cases

    ct = coremltools(tensorflow=False)
    import coreml_further_cases as further

    groups = {
        "old": (further.OLD, ct.target.iOS16),
        "older": ({**coreml_cases.CASES, **further.FURTHER}, ct.target.iOS17),
    }
    cases, target = groups.get(group) or ({**coreml_cases.NEWER, **further.NEW}, ct.target.iOS18)
    found = execute(ct, cases, target)
    return {name: _error(found[name], _wanted(ct, case, target)) for name, case in cases.items()}


def execute(ct: Any, cases: dict[str, Any], target: Any) -> dict[str, list[np.ndarray]]:
    """Build one ML Program of all cases, save it, and run it through the interpreter."""
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function, Program, types

    feeds, counts = {}, {}
    for index, case in enumerate(cases.values()):
        feeds |= {f"case{index}_{slot}": array for slot, array in enumerate(case.inputs)}
    dtypes = {np.dtype(np.float32): types.fp32, np.dtype(np.int32): types.int32}
    holders = {name: mb.placeholder(shape=array.shape, dtype=dtypes[array.dtype]) for name, array in feeds.items()}
    program, outputs = Program(), []
    with Function(holders, opset_version=target) as function:
        for index, (name, case) in enumerate(cases.items()):
            made = case.build(mb, *[function.inputs[f"case{index}_{slot}"] for slot in range(len(case.inputs))])
            made = made if isinstance(made, list) else [made]
            counts[name] = len(made)
            for slot, value in enumerate(made):
                plain = mb.cast(x=value, dtype="int32") if value.dtype == types.bool else mb.identity(x=value)
                plain.name = f"out{index}_{slot}"
                outputs.append(plain)
        function.set_outputs(outputs)
    program.add_function("main", function)
    arrays = run(ct, program, feeds, target)
    results = iter([arrays[output.name] for output in outputs])
    return {name: [next(results) for _ in range(count)] for name, count in counts.items()}


def run(ct: Any, program: Any, feeds: dict[str, np.ndarray], target: Any) -> dict[str, np.ndarray]:
    """Save a MIL program untouched by any optimization, open it, and run it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.mlpackage"
        ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=target,
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        ).save(str(path))
        return coreml.open_session(path, 1).run(feeds)


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


def _wanted(ct: Any, case: Any, target: Any) -> list[np.ndarray]:
    if case.reference is not None:
        made = case.reference(*case.inputs)
        return [np.asarray(part) for part in (made if isinstance(made, list) else [made])]
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function

    with Function({}, opset_version=target):
        made = case.build(mb, *[mb.const(val=array) for array in case.inputs])
        return [np.asarray(value.val) for value in (made if isinstance(made, list) else [made])]


def _error(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    if [item.shape for item in found] != [item.shape for item in wanted]:
        raise AssertionError(f"shapes {[item.shape for item in found]}, wanted {[item.shape for item in wanted]}")
    return max(
        float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max() / max(1.0, np.abs(b).max()))
        for a, b in zip(found, wanted, strict=True)
    )


def explore(operator: str, examples: int) -> int:
    """Let hypothesis choose windows for a convolution or pooling; return how many programs were tried."""
    import coreml_references as ref
    from coreml_cases import Case
    from hypothesis import HealthCheck, assume, given, settings
    from hypothesis import strategies as st

    ct = coremltools(tensorflow=False)
    tried = []
    axis = st.tuples(st.integers(3, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(0, 2))

    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(axis, min_size=1, max_size=2), st.sampled_from(["valid", "same", "same_lower", "custom"]))
    def check(axes: list[tuple[int, ...]], pad_type: str) -> None:
        sizes, kernel, strides, before, after = (list(part) for part in zip(*axes, strict=True))
        pad = [item for pair in zip(before, after, strict=True) for item in pair]
        assume(all(k > max(b, a) and s + b + a >= k for s, k, b, a in zip(sizes, kernel, before, after, strict=True)))
        assume(pad_type != "valid" or all(s >= k for s, k in zip(sizes, kernel, strict=True)))
        x = np.random.default_rng(sum(pad)).normal(size=(1, 2, *sizes)).astype(np.float32)
        more = {"pad": pad} if pad_type == "custom" else {}
        if operator == "conv":
            weight = np.random.default_rng(1).normal(size=(3, 2, *kernel)).astype(np.float32)
            case = Case(
                (x,),
                lambda mb, x: mb.conv(x=x, weight=weight, strides=strides, pad_type=pad_type, **more),
                lambda x: ref.conv(x, weight, strides=strides, pad_type=pad_type, **more),
            )
        else:
            case = Case(
                (x,),
                lambda mb, x: getattr(mb, f"{operator}_pool")(
                    x=x, kernel_sizes=kernel, strides=strides, pad_type=pad_type, **more
                ),
                lambda x: ref.pool(x, operator, kernel, strides, pad_type=pad_type, **more),
            )
        found = execute(ct, {"case": case}, ct.target.iOS17)["case"]
        assert _error(found, [np.asarray(case.reference(x))]) < 1e-5
        tried.append(1)

    check()
    return len(tried)
