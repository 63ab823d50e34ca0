"""Builds with ever more layers in 16-bit floats, over the samples that choose and those that nothing is chosen by."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from toolkit.core.recipe import load_recipe
from toolkit.core.tools import Tools
from toolkit.search import evidence, searcher
from toolkit.search.candidates import Candidate
from toolkit.search.costs import Weigh, ordered
from toolkit.search.requests import SearchRequest
from toolkit.search.workshop import Workshop


def climb(request: SearchRequest, rungs: str, tools: Tools) -> None:
    """Print a line for each number of layers; `rungs` is such as `weight-int8:0,16,31`."""
    name, _, counts = rungs.partition(":")
    (target,) = request.targets
    found = searcher.opened(request, tools, anew=True)
    bench = found.bench
    shop = Workshop(bench, found.book, tools)
    hunt = searcher.Hunt(request=request, bench=bench, book=found.book, tools=tools)
    base = Candidate(target=target, base=load_recipe(name))
    table = hunt.table(base, shop)
    order = [] if table is None else [layer for layer, _ in ordered(table, base, "float16", Weigh())]
    full = _size(shop, Candidate(target=target, base=load_recipe("static-int8")))
    print(f"\n{request.model.name}, {target}: {bench.metric}; {len(order)} layers; static-int8 has {full:,} bytes")
    print("| build | kB | of static-int8 | SQNR | lost, won: choosing | held out | drop, held out | 95 %, each side |")
    print("|---|---|---|---|---|---|---|---|")
    for count in map(int, counts.split(",")):
        candidate = base.with_layers(order[:count], "float16")
        chose = shop.outcomes(candidate, bench.parts.selection)
        held = shop.outcomes(candidate, bench.parts.certification)
        drops = [np.array(one.float_values) - np.array(one.values) for one in (chose, held)]
        shown = evidence.certify(drops[1], bench.claim)
        size = _size(shop, candidate)
        lost = ", ".join(f"{int((drops[0] * sign > 0).sum())}" for sign in (1, -1))
        cells = (
            *(candidate.words, f"{size / 1000:.0f}", f"{size / full:.3f}x", f"{held.sqnr_db:.1f} dB"),
            *(f"{lost} of {len(drops[0])}", f"{shown.lost}, {shown.won} of {shown.n}", f"{shown.drop:+.4f}"),
            f"{shown.low:+.4f} to {shown.high:+.4f}",
        )
        print("|", " | ".join(cells), "|", flush=True)


def _size(shop: Workshop, candidate: Candidate) -> int:
    with tempfile.TemporaryDirectory(prefix="palmtop-rung-") as scratch:
        return shop.build(candidate, Path(scratch)).blob.size_bytes
