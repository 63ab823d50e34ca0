"""NNCF's `quantize_with_accuracy_control` on an ONNX model, in an environment of its own.

`pip install nncf onnxruntime` makes one.

PYTHON _search_nncf.py JOB.json     # writes the model to job["out"], what it took to standard output
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import nncf
import numpy as np
import onnx
import onnxruntime

job = json.loads(Path(sys.argv[1]).read_text())
count = {"evaluations": 0, "inferences": 0}


def rows(path):
    return [np.asarray(row) for row in np.load(path, mmap_mode="r")]


def validate(model, items):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    hits = []
    for row, label in items:
        (scores,) = session.run([job["output"]], {job["input"]: row})
        hits.append(float(int(scores.reshape(-1).argmax()) == int(label)))
    count["evaluations"] += 1
    count["inferences"] += len(hits)
    return float(np.mean(hits)), hits


started = time.process_time()
calibration = nncf.Dataset(rows(job["calibration"]), lambda row: {job["input"]: row})
validation = nncf.Dataset(list(zip(rows(job["validation"]), np.load(job["validation_labels"]), strict=True)))
made = nncf.quantize_with_accuracy_control(
    onnx.load(job["model"]),
    calibration_dataset=calibration,
    validation_dataset=validation,
    validation_fn=validate,
    max_drop=job["max_drop"],
    subset_size=len(rows(job["calibration"])),
)
onnx.save(made, job["out"])
print(json.dumps({**count, "seconds": time.process_time() - started, "version": nncf.__version__}))
