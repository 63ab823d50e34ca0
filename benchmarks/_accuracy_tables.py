"""The tables of `accuracy.py`, from the outcomes of every sample that it kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.metrics import Budget, score

BUDGET = Budget(max_drop=0.01, confidence=0.95)
STATIC = "palmtop static-int8"
FLOAT = "palmtop float32"
NAMES = {"tflite": "TFLite", "onnx": "ONNX", "coreml": "Core ML"}
MEAN_PP, WORST_PP = 0.4, 1.5
FEW = 100
Row = dict[str, Any]


def write(folder: Path, machine: str) -> None:
    """Print what the folder holds."""
    kept = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    print(machine)
    _breadth(kept)
    print("\n| model | n | target | build by | float | build | drop (95 %), points | size |")
    print("|---|---|---|---|---|---|---|---|")
    for model in kept:
        if not any("outcomes" in row for row in model["rows"]):
            continue
        for target in NAMES:
            rows = [row for row in model["rows"] if row["target"] == target]
            for row in rows:
                if row["tool"] == STATIC or not row["tool"].startswith("palmtop"):
                    print(_line(model["model"], row, _floats(model, target)))
    _recipes(kept)
    print()
    for line in summary(kept):
        print(line)


def _breadth(kept: list[Row]) -> None:
    """Print what became of every model with the default recipe."""
    print(f"\n| model | {' | '.join(NAMES.values())} |\n|---|---|---|---|")
    for model in kept:
        cells = []
        for target in NAMES:
            row = next(row for row in model["rows"] if (row["target"], row["tool"]) == (target, STATIC))
            cells.append(f"{row['size'] / 1000:.0f} kB" if "size" in row else _reason(row, 400))
        print(f"| {model['model']} | {' | '.join(cells)} |")


def _reason(row: Row, limit: int) -> str:
    """Say why a row has no figures: what the row itself says, or what it lacks."""
    word = next((word for word in ("error", "not_expressible") if word in row), None)
    if word is None:
        return "no float build to hold it against" if "outcomes" in row else "not measured"
    text = " ".join(row[word].split())
    return f"{'fails' if word == 'error' else 'not expressible'}: {text[:limit].replace('|', '/')}"


def _floats(model: Row, target: str) -> Any:
    """Return the float build's outcomes on a target, or None where it has none."""
    found = (row for row in model["rows"] if row["target"] == target and row["tool"] == FLOAT and "outcomes" in row)
    row = next(found, None)
    return None if row is None else np.array(row["outcomes"])


def _line(name: str, row: Row, floats: Any) -> str:
    target = NAMES[row["target"]]
    if "outcomes" not in row or floats is None:
        return f"| {name} | – | {target} | {row['tool']} | – | {_reason(row, 120)} | – | – |"
    values = np.array(row["outcomes"])
    return (
        f"| {name} | {len(values)} | {target} | {row['tool']} | {floats.mean():.2%} | {values.mean():.2%} "
        f"| {drop(floats, values)} | {row['size'] / 1000:.0f} kB |"
    )


def drop(floats: Any, values: Any) -> str:
    """Return the drop and its interval in points."""
    found = score("top1", floats, values, BUDGET)
    return f"{100 * found.drop:.2f} ({100 * found.ci_low:.2f} to {100 * found.ci_high:.2f})"


def _recipes(kept: list[Row]) -> None:
    """Print every recipe that was measured besides static-int8, a column a target, and why builds are missing."""
    lines, why = [], dict[str, list[str]]()
    for model in kept:
        tools = dict.fromkeys(row["tool"] for row in model["rows"] if row["tool"].startswith("palmtop"))
        if len(tools) <= len((STATIC, FLOAT)):
            continue
        for tool in [FLOAT, *sorted(tools.keys() - {FLOAT})]:
            cells = [_cell(model, tool, target) for target in NAMES]
            lines.append(f"| {model['model']} | {tool.removeprefix('palmtop ')} | {' | '.join(cells)} |")
        for reason in _missing(model):
            why.setdefault(reason, []).append(model["model"])
    if lines:
        print(f"\n| model | recipe | {' | '.join(NAMES.values())} |\n|---|---|---|---|---|")
        print("\n".join(lines) + "\n")
        print("\n".join(f"- {reason} ({', '.join(models)})" for reason, models in sorted(why.items())))


def _missing(model: Row) -> Iterator[str]:
    """Say for each build of palmtop's that is not there which one it is and why."""
    for row in model["rows"]:
        if row["tool"].startswith("palmtop") and ("error" in row or "not_expressible" in row):
            yield f"`{row['tool'].removeprefix('palmtop ')}`, {NAMES[row['target']]}: {_reason(row, 400)}"


def _cell(model: Row, tool: str, target: str) -> str:
    found = (row for row in model["rows"] if (row["target"], row["tool"]) == (target, tool))
    row = next(found, {})
    floats = _floats(model, target)
    if "outcomes" in row and floats is not None:
        figure = f"{floats.mean():.2%} of {len(floats)}" if tool == FLOAT else drop(floats, np.array(row["outcomes"]))
        return f"{figure}, {row['size'] / 1000:.0f} kB"
    if "error" in row or "not_expressible" in row:
        return "fails" if "error" in row else "not expressible"
    size = f", {row['size'] / 1000:.0f} kB" if "size" in row else ""
    return ("no float build" if "outcomes" in row else "not measured") + size


def summary(kept: list[Row]) -> list[str]:
    """Say how the claims stand."""
    lines = []
    for target, name in NAMES.items():
        drops = _drops(kept, target, "labelled")
        if drops:
            lines.append(f"{name}: static-int8 loses {_worst(drops)} (claims: at most {MEAN_PP} and {WORST_PP}).")
            small = [model["model"] for model in kept if model["model"] in drops and _count(model, target) < FEW]
            rest = {model: found for model, found in drops.items() if model not in small}
            if small and rest:
                few = f"fewer than {FEW} samples, where one error is a point and more"
                lines.append(f"{name}, without {', '.join(small)} ({few}): {_worst(rest)}.")
        others = [f"{100 - found:.1f} % ({model})" for model, found in _drops(kept, target, "agreement").items()]
        if others:
            lines.append(f"{name}: where there are no labels, it agrees with the float model in {', '.join(others)}.")
    return [*lines, *_against_peers(kept)]


def _worst(drops: dict[str, float]) -> str:
    worst, mean = max(drops, key=lambda model: drops[model]), sum(drops.values()) / len(drops)
    average = f"{mean:.2f} points of top-1 in the mean of {len(drops)} labelled classifiers"
    return f"{average} and {drops[worst]:.2f} at worst, {worst}"


def _count(model: Row, target: str) -> int:
    return len(_floats(model, target))


def _drops(kept: list[Row], target: str, kind: str) -> dict[str, float]:
    """Return what static-int8 loses on a target, in points, by model of a kind."""
    found = {}
    for model in kept:
        row, floats = _row(model, target, STATIC), _floats(model, target)
        if model["kind"] == kind and row is not None and floats is not None:
            found[model["model"]] = 100 * float(floats.mean() - np.mean(row["outcomes"]))
    return found


def _row(model: Row, target: str, tool: str) -> Row | None:
    found = (row for row in model["rows"] if (row["target"], row["tool"]) == (target, tool) and "outcomes" in row)
    return next(found, None)


def _against_peers(kept: list[Row]) -> list[str]:
    """Hold static-int8 against the best peer's build, sample by sample."""
    compared, worse, failed = 0, [], 0
    for model in kept:
        for target in ("tflite", "onnx"):
            own = _row(model, target, STATIC)
            peers = [row for row in model["rows"] if row["target"] == target and not row["tool"].startswith("palmtop")]
            failed += sum("error" in row for row in peers)
            built = [row for row in peers if "outcomes" in row]
            if own is None or not built:
                continue
            best = max(built, key=lambda row: float(np.mean(row["outcomes"])))
            found = score("top1", np.array(best["outcomes"]), np.array(own["outcomes"]), BUDGET)
            compared += 1
            if found.ci_low > 0:
                worse.append(f"{model['model']} on {NAMES[target]} ({best['tool']}: {100 * found.drop:.2f} points)")
    said = "; ".join(worse) or "never"
    pairs = f"({compared} pairs; peers failed {failed} times)"
    against = f"Against the best peer's build of the same model on TFLite and ONNX {pairs}"
    return [f"{against}, static-int8 is worse beyond the paired 95 % interval: {said}."]
