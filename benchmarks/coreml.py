"""Core ML programs executed on the host, against ONNX Runtime on the source's ONNX; and the table of operators.

    python benchmarks/coreml.py latency MODEL.onnx [RUNS]
    python benchmarks/coreml.py operators

`latency` converts the ONNX file to Core ML, opens both on one thread, and times them in pairs on the same input. The
session alone is timed, with the arrays ready on both sides. Claim (docs/coreml.md): at most 1.3 times.
`operators` prints the rows of the table in docs/coreml.md: what each operator of the interpreter is held against.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

CASES = Path(__file__).parents[1] / "tests" / "toolkit" / "targets" / "coreml"


def latency(model: Path, runs: int, folder: Path) -> list[float]:
    """Return seconds: ours and ONNX Runtime's in turns."""
    import numpy as np
    import onnxruntime

    from toolkit.core.probe import probe_feeds
    from toolkit.core.signature import bind
    from toolkit.sources import onnx as source
    from toolkit.targets import coreml

    signature, form = source.read(model, {}), folder / "form.onnx"
    source.export(model, "onnx", {}, form)
    bound = coreml.convert("onnx", form, signature, folder / "model.mlpackage")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    theirs = onnxruntime.InferenceSession(str(form), options, providers=["CPUExecutionProvider"])
    ours = coreml.open_session(folder / "model.mlpackage", 1)
    feeds = {name: np.ascontiguousarray(array) for name, array in probe_feeds(signature).items()}
    mine = bind(feeds, bound)
    seconds = []
    for turn in range(runs + 10):
        started = time.perf_counter()
        ours.run(mine)
        middle = time.perf_counter()
        theirs.run(None, feeds)
        if turn >= 10:
            seconds += [middle - started, time.perf_counter() - middle]
    return seconds


def operators() -> str:
    sys.path.insert(0, str(CASES))
    import coreml_jobs

    return str(coreml_jobs.table_of_operators())


def main() -> None:
    if sys.argv[1:2] == ["operators"]:
        print(operators())
        return
    model, runs = Path(sys.argv[2]).resolve(), int(sys.argv[3]) if len(sys.argv) > 3 else 200
    with tempfile.TemporaryDirectory() as folder:
        seconds = latency(model, runs, Path(folder))
    ours, theirs = seconds[0::2], seconds[1::2]
    ratios = sorted(mine / peer for mine, peer in zip(ours, theirs, strict=True))
    print(
        f"{model.name}, 1 thread, {runs} pairs: Core ML program executed on the host against ONNX Runtime on the ONNX"
    )
    for name, part in (("ours", ours), ("ONNX Runtime", theirs)):
        print(f"{name:13} median {statistics.median(part) * 1e3:7.3f} ms, min {min(part) * 1e3:7.3f} ms")
    print(f"ratio, pair by pair: median {statistics.median(ratios):.2f}; of the minima {min(ours) / min(theirs):.2f}")


if __name__ == "__main__":
    main()
