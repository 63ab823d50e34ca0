"""Take the node cases that ship with ``onnx`` through Core ML, and write the table of docs/coreml_operators.md.

    python benchmarks/coreml_nodes.py [--route own|onnxsim] [--match REGEX] [--log FILE] [--write]

Each case is converted (ONNX -> ML Program), saved, opened by the interpreter and executed; it passes within the case's
own tolerance. All run in this process, one after the other: a few minutes of processor time. ``--log`` keeps one JSON
line a case and goes on where an interrupted run stopped; ``--write`` puts the table into the page.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "toolkit" / "targets" / "coreml_lowering")]

import node_cases  # noqa: E402
from node_cases import Outcome  # noqa: E402

PAGE = ROOT / "docs" / "coreml_operators.md"
MARK = "<!-- benchmarks/coreml_nodes.py --write fills in what follows -->"


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--route", choices=["own", "onnxsim"], default="own")
    parser.add_argument("--match", default="", help="only cases whose name this regular expression finds")
    parser.add_argument("--log", type=Path, default=Path("coreml_nodes.jsonl"))
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args(words)
    route = node_cases.own_route if chosen.route == "own" else node_cases.onnxsim_route
    outcomes = _logged(chosen.log)
    done = {outcome.case for outcome in outcomes}
    cases = [case for case in node_cases.collect() if re.search(chosen.match, case.name) and case.name not in done]
    with chosen.log.open("a", encoding="utf-8") as log:
        for outcome in node_cases.run_all(cases, route):
            log.write(json.dumps(dataclasses.asdict(outcome)) + "\n")
            log.flush()
            outcomes.append(outcome)
    print("\n".join(_table(outcomes)))
    for outcome in outcomes:
        if outcome.verdict == "failed":
            print(f"{outcome.case}: {outcome.reason[:200]}")
    if chosen.write:
        head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
        PAGE.write_text("\n".join([f"{head}{MARK}\n", *_table(outcomes)]) + "\n", encoding="utf-8")


def _logged(log: Path) -> list[Outcome]:
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    return [Outcome(**json.loads(line)) for line in lines]


def _table(outcomes: list[Outcome]) -> list[str]:
    """Return the totals and one row an operator."""
    total = collections.Counter(outcome.verdict for outcome in outcomes)
    expressible = total["passed"] + total["failed"]
    share = total["passed"] / max(expressible, 1)
    rows = [
        (
            f"{len(outcomes)} cases: {expressible} expressible, of which {total['passed']} pass ({share:.1%}); "
            f"{total['inexpressible']} not expressible."
        ),
        "",
        "| operator | pass | fail | not expressible | why not |",
        "|---|---|---|---|---|",
    ]
    by_operator = collections.defaultdict(list)
    for outcome in outcomes:
        by_operator[outcome.operator].append(outcome)
    for operator in sorted(by_operator):
        group = by_operator[operator]
        count = collections.Counter(outcome.verdict for outcome in group)
        why = sorted({_short(outcome.reason) for outcome in group if outcome.verdict == "inexpressible"})
        name = operator if operator.startswith("(") else f"`{operator}`"
        numbers = f"{count['passed']} | {count['failed'] or ''} | {count['inexpressible'] or ''}"
        rows.append(f"| {name} | {numbers} | {'; '.join(why[:3])} |")
    return rows


def _short(reason: str) -> str:
    """Leave the names of tensors and layers out of a reason."""
    plain = re.sub(r"^The ONNX operator (\w+) of layer '[^']*' ", r"\1 ", reason)
    plain = re.sub(r"^The tensor '[^']*' ", "a tensor ", plain)
    plain = re.sub(r"the argument '[^']*' of (\w+) in layer '[^']*'", r"an argument of \1", plain)
    return plain.rstrip(".").replace("|", "/")[:110]


if __name__ == "__main__":
    main(sys.argv[1:])
