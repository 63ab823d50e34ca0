"""Time a second `palmtop quantize` with equal inputs, which the cache serves, against the first.

    python benchmarks/again.py MODEL DATA.npz

Claim (docs/benchmarks.md): under three seconds.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent


def quantize(model: str, data: str, out: Path, cache: Path) -> float:
    started = time.perf_counter()
    argv = [str(BIN / "palmtop"), "quantize", model, "-d", data, "-o", str(out), "-q"]
    subprocess.run(
        argv, check=True, stdout=subprocess.DEVNULL, env={"PALMTOP_CACHE": str(cache), "PATH": "/usr/bin:/bin"}
    )
    return time.perf_counter() - started


def main() -> None:
    model, data = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        first = quantize(model, data, place / "first", place / "cache")
        again = [quantize(model, data, place / f"again{turn}", place / "cache") for turn in range(3)]
    print(
        f"first  {first:6.2f} s\nagain  {sorted(again)[1]:6.2f} s (median of 3)\nratio  {sorted(again)[1] / first:6.3f}"
    )


if __name__ == "__main__":
    main()
