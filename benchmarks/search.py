"""`palmtop search` against excluding layers by hand and NNCF's accuracy control; and whether certificates hold.

    python benchmarks/search.py MODEL DATA [--metric agreement] [--max-drop 0.05] [-t onnx -t tflite] [--nncf PYTHON]
    python benchmarks/search.py simulate    # certificates of made-up candidates with known drops
    python benchmarks/search.py photographs FOOLBOX/data OUT.npz

MODEL is an ONNX file with one input, DATA an `.npz` of samples, with labels unless the metric is `agreement`. All tools
calibrate on the same samples, choose on the same others, and are scored on a third part that nothing was chosen by.
`--nncf` names a Python that has nncf; without it that row says so. Seconds are of the processor. Builds that compute in
float are left out unless `--floats` is given. A search that went on from an earlier one says so in its row.

Then the search is replayed 200 times: the outcomes of every candidate that it tried are recorded on all samples, which
stand for the population; each replay draws its own samples to choose and to certify from them, decides as the search
does, and is held against the candidate's drop in the population.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])

import _search_peers as peers
from _public_data import photographs
from _search_repeats import everything_of, replayed, simulate
from _search_rungs import climb

from toolkit.core.artifacts import DataRef
from toolkit.core.errors import PalmtopError
from toolkit.core.events import Event
from toolkit.core.isolation import isolate
from toolkit.core.store import blob_of
from toolkit.core.tools import Tools, system_tools
from toolkit.search import evidence, searcher
from toolkit.search.candidates import Candidate
from toolkit.search.evidence import Claim
from toolkit.search.requests import SearchRequest
from toolkit.search.trail import Book, Trail
from toolkit.search.workshop import Bench, Workshop
from toolkit.stages import data as datasets
from toolkit.stages import importer

REPLAYS = 200
DEADLINE_S = 7200


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    tool: str
    build: str
    size_bytes: int
    values: np.ndarray
    evaluations: int
    inferences: int
    seconds: float


def main() -> None:
    if sys.argv[1:] == ["simulate"]:
        simulate(REPLAYS)
        return
    if sys.argv[1:2] == ["photographs"]:
        photographs(*map(Path, sys.argv[2:4]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data")
    parser.add_argument("--metric")
    parser.add_argument("--max-drop", type=float, default=0.05)
    parser.add_argument("-t", "--target", action="append")
    parser.add_argument("--shape", action="append", default=[], help="NAME=1,3,48,192")
    parser.add_argument("-c", "--calibration")
    parser.add_argument("--certify-share", type=float, default=0.5)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--floats", action="store_true", help="Let builds compete that compute in float.")
    parser.add_argument("--nncf", type=Path)
    parser.add_argument("--out", type=Path, help="A folder to search in, or of a search of these very inputs.")
    parser.add_argument(
        "--rungs", help="RECIPE:0,8,16: instead of a search, so many layers of RECIPE in 16-bit floats."
    )
    parser.add_argument("--replays", type=int, default=REPLAYS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="palmtop-search-") as scratch:
        for target in options.target or ["onnx", "tflite"]:
            compare(options, target, Path(scratch))


def compare(options: argparse.Namespace, target: str, scratch: Path) -> None:
    base = system_tools()
    tools = dataclasses.replace(base, emit=_tell)
    request = SearchRequest(
        model=options.model,
        out=(options.out or scratch) / f"{target}-search",
        data=options.data,
        calibration=options.calibration,
        certify_share=options.certify_share,
        targets=(target,),
        metric=options.metric,
        max_drop=options.max_drop,
        samples=options.samples,
        trials=options.trials,
        integer_only=not options.floats,
        shapes={name: tuple(map(int, sizes.split(","))) for name, sizes in (one.split("=") for one in options.shape)},
        jobs=1,
    )
    if options.rungs:
        climb(request, options.rungs, base)
        return
    began = _cpu_s()
    bench, book, outcome, tried, resumed = _searched(request, tools)
    seconds = _cpu_s() - began
    trail = book.trail
    print(
        f"\n{options.model.name}, {target}: {trail.metric}, float {trail.float_value:.4f}, budget {trail.max_drop:g} "
        f"at {trail.confidence:.0%}; {request.samples} calibrate, {trail.selection_samples} choose, "
        f"{trail.certification_samples} certify"
    )
    tool = "palmtop search, resumed" if resumed else "palmtop search"
    rows, float_values = _own_rows(tool, bench, book, outcome, seconds)
    rows += _peer_rows(target, options, bench, trail, scratch)
    _print(rows, float_values, trail)
    if options.replays:
        _replay(bench, book, tried, tools, options.replays)


def _tell(event: Event) -> None:
    if event.phase == "noted":
        print(f"  {event.subject}: {event.message}", flush=True)


def _cpu_s() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _searched(request: SearchRequest, tools: Tools) -> tuple[Bench, Book, object, dict[str, Candidate], bool]:
    """Do what `palmtop search` does, and keep hold of its parts; the last says whether it went on from another."""
    found = searcher.opened(request, tools, anew=True)
    bench, book = found.bench, found.book
    resumed = bool(book.trail.trials)
    hunt = searcher.Hunt(request=request, bench=bench, book=book, tools=tools)
    outcome = hunt.of_target(request.targets[0])
    return bench, book, outcome, hunt.tried, resumed


def _own_rows(tool: str, bench: Bench, book: Book, outcome: object, seconds: float) -> tuple[list[Row], np.ndarray]:
    trail = book.trail
    (ended,) = trail.found
    places = np.load(bench.parts.certification.path)
    float_values = np.load(bench.standard.values)[places]
    rows = []
    if outcome is not None:
        shown = outcome.certified
        drops = np.r_[np.ones(shown.lost), -np.ones(shown.won), np.zeros(shown.n - shown.lost - shown.won)]
        rows.append(
            Row(
                tool=tool,
                build=outcome.candidate.words,
                size_bytes=outcome.trial.size_bytes,
                values=drops,
                evaluations=ended.evaluations,
                inferences=ended.samples,
                seconds=seconds,
            )
        )
    return rows, float_values


def _peer_rows(target: str, options: argparse.Namespace, bench: Bench, trail: Trail, scratch: Path) -> list[Row]:
    tools = system_tools()
    job = _peer_job(target, options, bench, trail, scratch / f"{target}-peers", tools)
    float_values = np.load(bench.standard.values)[np.load(bench.parts.certification.path)]
    made = []
    for function in {"onnx": (peers.onnx_runtime,), "tflite": (peers.litert,)}.get(target, ()):
        try:
            built = isolate(tools, DEADLINE_S, function, job)
        except PalmtopError as error:
            print(f"  {function.__name__} failed: {error}")
            continue
        made.append(
            Row(
                tool=built.name.partition(",")[0],
                build=built.name.partition(", ")[2],
                size_bytes=built.size_bytes,
                values=float_values - np.array(built.values),
                evaluations=built.evaluations,
                inferences=built.inferences,
                seconds=built.seconds,
            )
        )
    if target == "onnx":
        made += _nncf_row(options, job, bench, float_values)
    return made


def _peer_job(
    target: str, options: argparse.Namespace, bench: Bench, trail: Trail, scratch: Path, tools: Tools
) -> peers.PeerJob:
    scratch.mkdir(parents=True, exist_ok=True)
    source, rows = bench.order.source, np.load(bench.parts.inputs[0].blob.path, mmap_mode="r")
    labels = np.load(bench.standard.labels)
    selection, certification = np.load(bench.parts.selection.path), np.load(bench.parts.certification.path)
    for name, places in (("validation", selection), ("held", certification)):
        np.save(scratch / f"{name}.npy", rows[places])
        np.save(scratch / f"{name}-labels.npy", labels[places])
    _write_calibration(bench.order.data, bench, scratch / "calibration.npy")
    model = importer.float_model(source, target, tools)
    return peers.PeerJob(
        model=model.blob.path,
        bound=model.signature,
        source=source.signature,
        output=bench.standard.task.output,
        calibration=scratch / "calibration.npy",
        validation=scratch / "validation.npy",
        validation_labels=scratch / "validation-labels.npy",
        held_out=scratch / "held.npy",
        held_out_labels=scratch / "held-labels.npy",
        validation_float=float(np.load(bench.standard.values)[selection].mean()),
        max_drop=trail.max_drop,
        scratch=scratch,
    )


def _write_calibration(data: DataRef | None, bench: Bench, path: Path) -> None:
    assert data is not None
    name, signature = bench.order.source.signature.inputs[0].name, bench.order.source.signature
    np.save(path, np.stack([sample.feeds[name] for sample in datasets.stream(data, signature)]))


def _nncf_row(options: argparse.Namespace, job: peers.PeerJob, bench: Bench, float_values: np.ndarray) -> list[Row]:
    if options.nncf is None:
        print("  NNCF: not tried, --nncf names no Python that has it (`pip install nncf onnxruntime`)")
        return []
    out, plain = job.scratch / "nncf.onnx", job.scratch / "nncf.json"
    names = {"input": job.bound.inputs[0].name, "output": job.bound.outputs[0].name, "max_drop": job.max_drop}
    paths = {name: str(getattr(job, name)) for name in ("model", "calibration", "validation", "validation_labels")}
    plain.write_text(json.dumps({**names, **paths, "out": str(out)}))
    script = Path(__file__).parent / "_search_nncf.py"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    ended = subprocess.run(
        [options.nncf, script, plain], capture_output=True, text=True, timeout=DEADLINE_S, env=environment, check=False
    )
    if ended.returncode:
        print(f"  NNCF failed: {ended.stderr.strip().splitlines()[-1:]}")
        return []
    told = json.loads(ended.stdout.strip().splitlines()[-1])
    values = isolate(system_tools(), DEADLINE_S, peers.held_out_values, "onnx", out, job)
    return [
        Row(
            tool=f"NNCF {told['version']}",
            build="quantize_with_accuracy_control",
            size_bytes=out.stat().st_size,
            values=float_values - np.array(values),
            evaluations=told["evaluations"],
            inferences=told["inferences"],
            seconds=told["seconds"],
        )
    ]


def _print(rows: Sequence[Row], float_values: np.ndarray, trail: Trail) -> None:
    claim = Claim(max_drop=trail.max_drop, confidence=trail.confidence)
    full = trail.found[0].full_bytes
    plain = next((one for one in trail.trials if one.recipe == "static-int8" and not one.layers), None)
    if plain is not None:
        print(f"  static-int8: {plain.size_bytes:,} bytes, drop {plain.drop:+.4f} on {plain.n} of those that choose")
    print("| tool | build | kB | of static-int8 | drop, held out | at most | within? | evaluations | inferences | s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        shown = evidence.certify(row.values, claim)
        cells = (
            *(row.tool, row.build, f"{row.size_bytes / 1000:.0f}", f"{row.size_bytes / full:.2f}x"),
            *(f"{shown.drop:+.4f}", f"{shown.high:.4f}", "yes" if shown.holds else "not shown"),
            *(row.evaluations, row.inferences, f"{row.seconds:.0f}"),
        )
        print("|", " | ".join(map(str, cells)), "|", flush=True)


def _replay(bench: Bench, book: Book, tried: dict[str, Candidate], tools: Tools, replays: int) -> None:
    """Record all candidates' outcomes on all samples, and repeat choice and certification on samples drawn anew."""
    selection, certification = np.load(bench.parts.selection.path), np.load(bench.parts.certification.path)
    everything = bench.work / "all.npy"
    np.save(everything, np.r_[selection, certification])
    shop = Workshop(bench, book, dataclasses.replace(tools, emit=lambda _: None))
    trials = {one.key: one for one in book.trail.trials if one.verdict != "failed"}
    started, drops = time.monotonic(), {}
    for key in trials:
        ran = shop.outcomes(tried[key], blob_of(everything))
        drops[key] = np.array(ran.float_values) - np.array(ran.values)
    recorded = time.monotonic() - started
    rng, kept, broken, empty = np.random.default_rng(0), 0, 0, 0
    for _ in range(replays):
        chosen = replayed(drops, trials, bench.claim, (len(selection), len(certification)), rng)
        if chosen is None:
            empty += 1
        elif drops[chosen].mean() <= bench.claim.max_drop:
            kept += 1
        else:
            broken += 1
    print(
        f"  {replays} replays over {len(trials)} candidates on {len(everything_of(drops))} samples "
        f"({recorded:.0f} s to record): {kept} certificates hold, {broken} do not, {empty} certify nothing; "
        f"{(replays - broken) / replays:.1%} of searches keep their word"
    )


if __name__ == "__main__":
    main()
