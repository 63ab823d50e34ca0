"""Ranges beside a model reach the integers of its builds, whatever the data would have given."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from toolkit import pipeline
from toolkit.core import pins
from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.events import Event
from toolkit.core.ports import Array
from toolkit.core.probe import probe_feeds
from toolkit.core.tools import Tools
from toolkit.stages.requests import QuantizeRequest

LOW, HIGH = -3.0, 17.0
SCALES = pytest.mark.parametrize("scale", [1.0, pytest.param(0.5, marks=pytest.mark.slow)])


def pin_input(model: Path, values: Array, scale: float) -> None:
    """Give a model's input an odd range; another ``scale`` than 1 makes its mark that of no tensor."""
    mark = pins.fingerprint(np.asarray(values) * scale)
    stray = dataclasses.replace(mark, size=mark.size + 1)
    pins.write(pins.beside(model), [pins.Pin(site="input", low=LOW, high=HIGH, fingerprint=mark),
                                    pins.Pin(site="stray", low=0.0, high=1.0, fingerprint=stray)])  # fmt: skip


def said_of(news: list[Event]) -> tuple[str, str]:
    (said,) = (event for event in news if ".ranges.json" in event.message)
    return said.level, said.message


@SCALES
def test_the_range_of_an_input_arrives_in_a_build(
    scale: float, request_for: Callable[..., QuantizeRequest], toy_model: Callable[..., Path], tools: Tools
) -> None:
    model, news = toy_model("odd.toy"), list[Event]()
    spec = TensorSpec(name="x", dtype="float32", shape=(1, 6))
    pin_input(model, probe_feeds(Signature(inputs=(spec,), outputs=()))["x"], scale)
    request = request_for(model=model, targets=("toy",), recipes=("static-int8",))
    (build,) = pipeline.quantize(request, dataclasses.replace(tools, emit=news.append)).builds
    ranges = json.loads((request.out / build.path).read_text())["ranges"]
    with np.load(str(request.data)) as data:
        measured = [float(data["x"].min()), float(data["x"].max())]
    assert ranges["toy:x"] == ([LOW, HIGH] if scale == 1.0 else measured)
    level, words = said_of(news)
    if scale == 1.0:
        assert (level, words.partition(" that")[0]) == ("info", "1 of 2 ranges")
    else:
        assert (level, words.partition(" of odd")[0]) == ("warning", "none of the 2 ranges")


@pytest.mark.slow
@SCALES
def test_the_range_of_an_input_is_in_the_integers_of_onnx(
    scale: float, tmp_path: Path, onnx_model: Path, noise_npz: Path, tools: Tools
) -> None:
    from toolkit.sources import onnx as source

    model, news = tmp_path / "odd.onnx", list[Event]()
    shutil.copy(onnx_model, model)
    (values,) = probe_feeds(source.read(model, {})).values()
    pin_input(model, values, scale)
    request = QuantizeRequest(
        model=model, out=tmp_path / "builds", data=str(noise_npz), targets=("onnx",), recipes=("static-int8",)
    )
    (build,) = pipeline.quantize(request, dataclasses.replace(tools, emit=news.append)).builds
    low, high = input_range(request.out / build.path)
    if scale == 1.0:
        assert (low, high) == (pytest.approx(LOW, abs=0.1), pytest.approx(HIGH, abs=0.1))
    else:
        assert high < HIGH / 2, "no tensor has that mark, so the range is calibrated"
    assert said_of(news)[0] == ("info" if scale == 1.0 else "warning")


def input_range(build: Path) -> tuple[float, float]:
    """Return the ends of the grid that a build rounds its input to."""
    model = onnx.load(build)
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    name = model.graph.input[0].name
    (node,) = (node for node in model.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == name)
    step, zero = float(known[node.input[1]]), known[node.input[2]]
    limits = np.iinfo(zero.dtype)
    return (limits.min - int(zero)) * step, (limits.max - int(zero)) * step
