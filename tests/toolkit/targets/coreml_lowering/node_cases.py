"""The backend node cases that ship with ``onnx``, taken through Core ML: ONNX -> ML Program -> package -> interpreter.

An argument that Core ML must know beforehand (a shape, axes, paddings, how many) is bound to the case's own value.
What Core ML cannot express does not count; what palmtop merely does not lower counts as much as a wrong result.
"""

from __future__ import annotations

import gc
import importlib
import pkgutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.targets import coreml
from toolkit.targets.coreml.foreign import coremltools
from toolkit.targets.coreml.lowering.node import NeedsConstant, NotExpressible, NotLowered
from toolkit.targets.coreml.lowering.program import lower

Route = Callable[[Any, Any], Any]
"""Makes a coremltools model from an ONNX model and coremltools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one case: ``passed``, ``failed``, ``unlowered`` or ``inexpressible`` with the reason."""

    case: str
    operator: str
    verdict: str
    reason: str = ""


def collect() -> list[Any]:
    """Return all node cases of the installed ``onnx``."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflows that cases provoke on purpose
        return sorted(collect_testcases(None), key=lambda case: case.name)


def collect_of(operators: list[str]) -> list[Any]:
    """Return the cases of some operators only, which takes a tenth of the time: each has a module of its own."""
    import onnx.backend.test.case.node as cases

    modules = {item.name.replace("_", ""): item.name for item in pkgutil.iter_modules(cases.__path__)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for operator in operators:
            importlib.import_module(f"{cases.__name__}.{modules[operator.lower()]}")  # its cases are made then
    return sorted(cases._NodeTestCases, key=lambda case: case.name)


def operator_of(case: Any) -> str:
    """Return the operator that a case is about; an expanded function counts for the function."""
    operators = [node.op_type for node in case.model.graph.node]
    if len(set(operators)) == 1:
        return str(operators[0])
    return "(functions written out)" if "expanded" in case.name else "(graphs of several)"


def run_all(cases: list[Any], route: Route) -> Iterator[Outcome]:
    """Take cases through a route, one after the other in this process."""
    ct = coremltools(tensorflow=False)
    gc.collect()
    gc.freeze()  # coremltools collects garbage after every pass; what the cases hold need not be walked each time
    for case in cases:
        yield _outcome(case, route, ct)


def own_route(model: Any, ct: Any) -> Any:
    """Lower with palmtop's own functions, then apply all of coremltools' passes, as palmtop does."""
    return _through_passes(model, ct, ct.PassPipeline.DEFAULT)


def cleaned_route(model: Any, ct: Any) -> Any:
    """Lower with palmtop's own functions, then apply those passes alone without which a program may not be valid."""
    passes = ct.PassPipeline.CLEANUP
    passes.append_pass("common::expand_high_rank_reshape_and_transpose")
    return _through_passes(model, ct, passes)


def _through_passes(model: Any, ct: Any, passes: Any) -> Any:
    return ct.convert(
        lower(model, ct),
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=passes,
        skip_model_load=True,
    )


def onnxsim_route(model: Any, ct: Any) -> Any:
    """Let onnxsim emit the program; where it refuses, it is asked again with scalars and short integer lists bound."""
    from onnxsim.coreml_export import export_coreml

    floor = ct.target.iOS16
    try:
        return export_coreml(model, minimum_deployment_target=floor, compute_precision=ct.precision.FLOAT32)
    except (RuntimeError, ValueError) as error:
        raise NeedsConstant(str(error), tensor="", hint="") from error


def _outcome(case: Any, route: Route, ct: Any) -> Outcome:
    operator = operator_of(case)
    try:
        problem = _problem(case, route, ct)
    except NotExpressible as error:
        return Outcome(case=case.name, operator=operator, verdict="inexpressible", reason=error.message)
    except (NotLowered, NeedsConstant) as error:
        return Outcome(case=case.name, operator=operator, verdict="unlowered", reason=error.message)
    except Exception as error:
        return Outcome(case=case.name, operator=operator, verdict="failed", reason=f"{type(error).__name__}: {error}")
    return Outcome(case=case.name, operator=operator, verdict="failed" if problem else "passed", reason=problem)


def _problem(case: Any, route: Route, ct: Any) -> str:
    """Return what is wrong with a case's outputs, nothing where all are within its tolerance."""
    for inputs, outputs in case.data_sets:
        graph = case.model.graph
        given = dict(zip((item.name for item in graph.input), map(_array, inputs), strict=True))
        wanted = dict(zip((item.name for item in graph.output), map(_array, outputs), strict=True))
        made, left = _converted(case.model, given, route, ct)
        got = executed(made, left)
        for name, value in wanted.items():
            words = _difference(value, got[name], case)
            if words:
                return f"{name}: {words}"
    return ""


def _array(value: Any) -> Any:
    """Return a case's value, which may be a message, as an array; lists and the like stay as they are."""
    from onnx import TensorProto, numpy_helper

    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.ndarray | np.generic | int | float | bool) else value


def _converted(model: Any, given: dict[str, Any], route: Route, ct: Any) -> tuple[Any, dict[str, Any]]:
    """Convert, binding the inputs that must be known; return the model and the inputs that are left."""
    left = dict(given)
    for _ in range(len(given) + 1):
        try:
            return route(bound(model, {name: given[name] for name in given if name not in left}), ct), left
        except NeedsConstant as error:
            # a tensor inside the graph hangs on inputs; shapes, axes and counts are short lists of integers
            names = [error.tensor] if error.tensor in left else [name for name in left if _is_short(left[name])]
            if not names:
                raise
            for name in names:
                del left[name]
    raise AssertionError("every input is bound")


def _is_short(value: Any) -> bool:
    array = np.asarray(value)
    return array.ndim == 0 or (array.ndim == 1 and array.dtype.kind in "iub")


def bound(model: Any, known: dict[str, Any]) -> Any:
    """Return the model with inputs made constants."""
    from onnx import ModelProto, numpy_helper

    made = ModelProto()
    made.CopyFrom(model)
    left = [item for item in made.graph.input if item.name not in known]
    del made.graph.input[:]
    made.graph.input.extend(left)
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in known.items())
    return made


def executed(made: Any, given: dict[str, Any]) -> dict[str, np.ndarray]:
    """Save a model, open it again and run it on a case's values."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.mlpackage"
        made.save(str(path))
        session = coreml.open_session(path, 1)
        feeds = {}
        for spec in session.signature.inputs:
            value = np.asarray(given[spec.name])
            feeds[spec.name] = value.astype(spec.dtype).reshape(spec.shape)
        return session.run(feeds)


def _difference(wanted: np.ndarray, got: np.ndarray, case: Any) -> str:
    if wanted.shape != got.shape and not (wanted.shape == () and got.shape == (1,)):
        return f"shape {got.shape} instead of {wanted.shape}"
    plain = got.reshape(wanted.shape).astype(wanted.dtype)
    if wanted.dtype.kind not in "fiub":
        plain, wanted = plain.astype(np.float32), wanted.astype(np.float32)
    if np.allclose(plain, wanted, rtol=case.rtol, atol=case.atol, equal_nan=True):
        return ""
    gap = np.abs(plain.astype(np.float64) - wanted.astype(np.float64))
    return f"differs by {np.nanmax(gap):.3g}"
