"""Take the node cases that ship with ``onnx`` through Core ML, and write the table of docs/coreml_operators.md.

    python benchmarks/coreml_nodes.py [--route own|onnxsim] [--match REGEX] [--seconds N] [--log FILE] [--write]

Each case is converted (ONNX -> ML Program), saved, opened by the interpreter and executed; it passes within the case's
own tolerance. All run in this process, one after the other, with coremltools' clean-up passes alone (``--passes all``
takes twice as long: single operators leave nothing to fuse). ``--log`` keeps one JSON line a case and route and goes on
where an interrupted run stopped; ``--seconds`` ends a run after so much processor time; ``--write`` puts the table into
the page.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import random
import re
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "toolkit" / "targets" / "coreml_lowering")]

import node_cases  # noqa: E402
from node_cases import Outcome  # noqa: E402

PAGE = ROOT / "docs" / "coreml_operators.md"
MARK = "<!-- benchmarks/coreml_nodes.py --write fills in what follows -->"
ROUTES = {"own": node_cases.cleaned_route, "onnxsim": node_cases.onnxsim_route}

Log = dict[str, dict[str, Outcome]]
"""Outcomes by route and case."""


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--route", choices=list(ROUTES), default="own")
    parser.add_argument("--match", default="", help="only cases whose name this regular expression finds")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="processor time to take cases for")
    parser.add_argument("--passes", choices=["clean-up", "all"], default="clean-up")
    parser.add_argument("--log", type=Path, default=Path("coreml_nodes.jsonl"))
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args(words)
    log = _read(chosen.log)
    cases = [
        case
        for case in node_cases.collect()
        if re.search(chosen.match, case.name) and case.name not in log[chosen.route]
    ]
    random.Random(0).shuffle(cases)  # so that a part is a fair sample
    route = node_cases.own_route if (chosen.route, chosen.passes) == ("own", "all") else ROUTES[chosen.route]
    with chosen.log.open("a", encoding="utf-8") as lines:
        for outcome in node_cases.run_all(cases, route):
            lines.write(json.dumps({"route": chosen.route, **dataclasses.asdict(outcome)}) + "\n")
            lines.flush()
            log[chosen.route][outcome.case] = outcome
            if time.process_time() > chosen.seconds:
                break
    print("\n".join(_totals(log)))
    for outcome in log[chosen.route].values():
        if outcome.verdict in ("failed", "unlowered"):
            print(f"{outcome.case}: {outcome.verdict}: {outcome.reason[:200]}")
    if chosen.write:
        head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
        PAGE.write_text("\n".join([f"{head}{MARK}\n", *_totals(log), "", *_table(log)]) + "\n", encoding="utf-8")


def _read(path: Path) -> Log:
    log: Log = {route: {} for route in ROUTES}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        held = json.loads(line)
        outcome = Outcome(**{key: value for key, value in held.items() if key != "route"})
        log[held["route"]][outcome.case] = outcome
    return log


def _totals(log: Log) -> list[str]:
    """Return a line a route: both are held against the cases that palmtop's lowering finds expressible."""
    own = log["own"]
    able = {case for case, outcome in own.items() if outcome.verdict != "inexpressible"}
    lines = [f"{len(own)} cases, of which Core ML can express {len(able)}.", ""]
    for route, outcomes in log.items():
        taken = [outcome for case, outcome in outcomes.items() if case in able]
        count = collections.Counter(outcome.verdict for outcome in taken)
        share = count["passed"] / max(len(taken), 1)
        refused = count["unlowered"] + count["inexpressible"]
        lines.append(
            f"- {route}: {count['passed']} of {len(taken)} pass ({share:.1%}), {count['failed']} fail, "
            f"{refused} are refused."
        )
    return lines


def _table(log: Log) -> list[str]:
    """Return one row an operator."""
    rows = [
        "| operator | expressible | own lowering passes | onnxsim passes | inexpressible | why not |",
        "|---|---|---|---|---|---|",
    ]
    by_operator = collections.defaultdict(list)
    for outcome in log["own"].values():
        by_operator[outcome.operator].append(outcome)
    for operator in sorted(by_operator):
        group = by_operator[operator]
        able = {outcome.case for outcome in group if outcome.verdict != "inexpressible"}
        passed = [
            str(sum(case in outcomes and outcomes[case].verdict == "passed" for case in able)) if able else ""
            for outcomes in log.values()
        ]
        name = operator if operator.startswith("(") else f"`{operator}`"
        numbers = [len(able), *passed, len(group) - len(able)]
        rows.append(f"| {name} | {' | '.join(str(item or '') for item in numbers)} | {_why(group)} |")
    return rows


def _why(group: Iterable[Outcome]) -> str:
    """Say why cases are inexpressible, and what is wrong with those that do not pass though they are not."""
    words = {_short(outcome.reason) for outcome in group if outcome.verdict == "inexpressible"}
    wrong = {f"**{_short(outcome.reason)}**" for outcome in group if outcome.verdict in ("failed", "unlowered")}
    return "; ".join([*sorted(wrong), *sorted(words)][:4])


def _short(reason: str) -> str:
    """Leave the names of tensors and layers out of a reason."""
    plain = re.sub(r"^The ONNX operator (\w+) of layer '[^']*' ", "", reason)
    plain = re.sub(r"^The tensor '[^']*' ", "a tensor ", plain)
    plain = re.sub(r"the argument '[^']*' of (\w+) in layer '[^']*'", r"an argument of \1", plain)
    return plain.rstrip(".").replace("|", "/")[:110]


if __name__ == "__main__":
    main(sys.argv[1:])
