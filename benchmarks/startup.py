"""Time `palmtop --help` against `python -c "import click"`, in pairs, and print the ratio.

    python benchmarks/startup.py [PAIRS]

Claim (docs/benchmarks.md): at most three times.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent


def seconds(argv: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    ours = [str(BIN / "palmtop"), "--help"]
    peer = [sys.executable, "-c", "import click"]
    seconds(ours), seconds(peer)
    timed = [(seconds(ours), seconds(peer)) for _ in range(pairs)]
    ratios = sorted(mine / theirs for mine, theirs in timed)
    print(f"palmtop --help     median {statistics.median(mine for mine, _ in timed) * 1e3:6.1f} ms")
    print(f"import click       median {statistics.median(theirs for _, theirs in timed) * 1e3:6.1f} ms")
    middle = statistics.median(ratios)
    print(f"ratio, pair by pair: median {middle:.2f}, min {ratios[0]:.2f}, max {ratios[-1]:.2f} (n = {pairs})")


if __name__ == "__main__":
    main()
