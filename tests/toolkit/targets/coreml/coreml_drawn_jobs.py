"""Draw cases of a family with hypothesis and execute them, many in one program, in a child process."""

from __future__ import annotations

from typing import Any

import numpy as np
from coreml_jobs import TOLERANCE, error_of, execute, wanted_of

from toolkit.targets.coreml.foreign import coremltools

BATCH = 40
"""Cases in one program: a program of its own for each would take most of the time to be written and opened."""


def explore(examples: dict[str, int]) -> dict[str, list[str]]:
    """Return, by family, what was wrong with which case; ``examples`` says how many to draw of each."""
    ct = coremltools(tensorflow=False)
    return {family: _faults(ct, cases_of(family, count)) for family, count in examples.items()}


def families() -> dict[str, Any]:
    import coreml_drawn_layers as layers
    import coreml_drawn_places as places
    import coreml_drawn_values as values

    rooms = {
        values: ("activation", "elementwise", "linear", "normalization", "quantization", "reduction"),
        places: ("arrangement", "gather", "scatter", "slicing"),
        layers: ("attention", "constexpr", "convolution", "detection", "pooling", "recurrent", "resize", "sampling"),
    }
    found = {name: getattr(room, name) for room, names in rooms.items() for name in names}
    return {**found, "shape": places.shapes}


def cases_of(family: str, count: int) -> list[Any]:
    """Return what hypothesis draws, the same at every run."""
    from hypothesis import HealthCheck, Phase, given, settings

    drawn = []

    @settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(families()[family]())
    def keep(case: Any) -> None:
        drawn.append(case)

    keep()
    return drawn


def _faults(ct: Any, drawn: list[Any]) -> list[str]:
    faults = []
    for system in sorted({case.system for case in drawn}):
        fit = [case for case in drawn if case.system == system]
        for start in range(0, len(fit), BATCH):
            faults += _batch(ct, fit[start : start + BATCH], getattr(ct.target, system))
    return faults


def _batch(ct: Any, drawn: list[Any], target: Any) -> list[str]:
    """Execute all together; when that fails, each alone, so that the case at fault is known."""
    try:
        found = execute(ct, {str(index): case.case for index, case in enumerate(drawn)}, target)
    except Exception as error:  # whatever it is, it must be told of the case that it comes from
        if len(drawn) == 1:
            return [f"{drawn[0].name}: {type(error).__name__}: {str(error)[:300]}"]
        return [fault for case in drawn for fault in _batch(ct, [case], target)]
    checked = ((case, _fault(ct, case, found[str(index)], target)) for index, case in enumerate(drawn))
    return [f"{case.name}: {fault}" for case, fault in checked if fault]


def _fault(ct: Any, drawn: Any, found: list[np.ndarray], target: Any) -> str:
    wanted = wanted_of(ct, drawn.case, target)
    shapes = [[item.shape for item in part] for part in (found, wanted)]
    if shapes[0] != shapes[1]:
        return f"shapes {shapes[0]}, wanted {shapes[1]}"
    error = error_of(found, wanted)
    return "" if error < TOLERANCE else f"error {error:.3g}"
