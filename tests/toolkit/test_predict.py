"""One artefact by itself: `predict` and `inspect`, on the toy runtimes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit import pipeline
from toolkit.core.errors import DataError, ModelError, OutputError


def left_behind(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_predict_runs_an_artefact_and_a_source_model_on_many_samples(request_for, tools, toy):
    request = request_for(targets=("toy",), recipes=("float32", "weight-int8"))
    pipeline.quantize(request, tools)
    with np.load(request.data) as arrays:
        np.savez(toy / "in.npz", **{"toy:x": arrays["x"]})
    signature = pipeline.predict(request.out / "toy-float32.toyq", toy / "in.npz", toy / "out.npz", tools)
    assert [spec.name for spec in signature.inputs] == ["toy:x"]
    pipeline.predict(request.model, toy / "in.npz", toy / "reference.npz", tools)
    with np.load(toy / "out.npz") as made, np.load(toy / "reference.npz") as reference:
        assert made.files == ["toy:scores"]
        assert made["toy:scores"].shape == (40, 3)
        assert np.allclose(made["toy:scores"], reference["scores"])


def test_predict_fills_up_the_last_batch(toy_model, toy_data, tools, toy):
    model, data = toy_model(batch=16), toy_data(labels=None)
    pipeline.predict(model, data, toy / "out.npz", tools)
    pipeline.predict(toy_model("one.toy"), data, toy / "one.npz", tools)
    with np.load(toy / "out.npz") as batched, np.load(toy / "one.npz") as single:
        assert np.allclose(batched["scores"], single["scores"], atol=1e-6)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((2, 5), np.float32)}, "wants float32"),
        ({"x": np.zeros((0, 6), np.float32)}, "no sample"),
        ({"a": np.zeros(1), "b": np.zeros(1)}, "no array for the input 'x'"),
        ({"x": np.zeros((1, 6)), "b": np.zeros(1)}, "an unknown array 'b'"),
        ({"x": np.array([None])}, "Cannot read"),
        ({"x": np.array(["a"])}, "wants float32"),
    ],
)
def test_predict_explains_arrays_that_do_not_fit(toy_model, tools, toy, arrays, words):
    np.savez(toy / "in.npz", **arrays)
    with pytest.raises(DataError, match=words):
        pipeline.predict(toy_model(), toy / "in.npz", toy / "out.npz", tools)
    assert not (toy / "out.npz").exists()
    assert left_behind(toy) == []


def test_predict_explains_missing_files_and_places(toy_model, toy_data, tools, toy):
    with pytest.raises(ModelError, match="no model"):
        pipeline.predict(toy / "gone.toy", toy_data(), toy / "out.npz", tools)
    with pytest.raises(DataError, match="Cannot read"):
        pipeline.predict(toy_model(), toy / "gone.npz", toy / "out.npz", tools)
    np.save(toy / "in.npz.npy", np.zeros((1, 6)))
    with pytest.raises(DataError, match="single array"):
        pipeline.predict(toy_model(), toy / "in.npz.npy", toy / "out.npz", tools)
    with pytest.raises(OutputError):
        pipeline.predict(toy_model(), toy_data(), Path("/proc/palmtop/out.npz"), tools)
    (toy / "m.xyz").touch()
    with pytest.raises(ModelError, match=r"Builds end in: .*\.toyq"):
        pipeline.predict(toy / "m.xyz", toy_data(), toy / "out.npz", tools)


def test_inspect_an_artefact_a_source_and_a_folder(request_for, tools):
    request = request_for(targets=("toy",), recipes=("float32", "weight-int8"))
    pipeline.quantize(request, tools)
    assert pipeline.inspect(request.out / "toy-weight-int8.toyq", tools).layers[0].weight_dtype == "int8"
    source = pipeline.inspect(request.model, tools)
    assert (source.format, source.layers, source.signature.outputs[0].name) == ("toy", (), "scores")
    assert [one.layers[0].weight_dtype for one in pipeline.inspect_builds(request.out, tools)] == ["float32", "int8"]
