"""What the tests of the Core ML target do in child processes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.targets import coreml
from toolkit.targets.coreml.foreign import coremltools

TOLERANCE = 1e-5
"""Of the largest value: float32 rounding over a few hundred terms."""


def worst_errors() -> dict[str, float]:
    """Execute all cases, one program for each system; return each one's largest error relative to its largest value."""
    ct = coremltools(tensorflow=False)
    import coreml_cases
    import coreml_further_cases as further

    errors = {}
    for cases, target in (
        (further.OLD, ct.target.iOS16),
        ({**coreml_cases.CASES, **further.FURTHER}, ct.target.iOS17),
        ({**coreml_cases.NEWER, **further.NEW}, ct.target.iOS18),
    ):
        found = execute(ct, cases, target)
        errors |= {name: error_of(found[name], wanted_of(ct, case, target)) for name, case in cases.items()}
    return errors


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


def wanted_of(ct: Any, case: Any, target: Any) -> list[np.ndarray]:
    if case.reference is not None:
        made = case.reference(*case.inputs)
        return [np.asarray(part) for part in (made if isinstance(made, list) else [made])]
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import Function

    with Function({}, opset_version=target):
        made = case.build(mb, *[mb.const(val=array) for array in case.inputs])
        return [np.asarray(value.val) for value in (made if isinstance(made, list) else [made])]


def error_of(found: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    if [item.shape for item in found] != [item.shape for item in wanted]:
        raise AssertionError(f"shapes {[item.shape for item in found]}, wanted {[item.shape for item in wanted]}")
    return max(
        float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max() / max(1.0, np.abs(b).max()))
        for a, b in zip(found, wanted, strict=True)
    )
