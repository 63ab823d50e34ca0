"""From a folder of builds to ``model.json`` and the files beside it: what is told and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import app_builds
import numpy as np
import pytest
from app_builds import Plan

from mobile_harness import parity
from toolkit.apps import contract, goldens, spec
from toolkit.apps.contract import Contract, Request
from toolkit.apps.spec import Picture
from toolkit.core import manifest
from toolkit.core.artifacts import Preprocess, TensorSpec
from toolkit.core.errors import DataError, ModelError, SettingsError, UsageError


def made(tmp_path: Path, target: str = "tflite", request: dict[str, Any] | None = None, **changes: Any) -> Contract:
    folder = tmp_path / "builds"
    if not folder.exists():
        app_builds.make(folder, **changes)
    return contract.make(Request(folder=folder, target=target, **(request or {})))


def content(found: Contract, name: str) -> bytes:
    return next(file.content for file in found.files if file.name == name)


def test_a_classifier_is_told_from_its_build(tmp_path: Path) -> None:
    found = made(tmp_path)
    model = found.model
    assert (model.task, model.file, model.inputs[0].kind, model.outputs[0].kind) == (
        "classification",
        "model.tflite",
        "image",
        "scores",
    )
    assert model.preprocess == Picture(
        resize=(12, 12), crop=None, colour="gray", scale=1 / 255, mean=(), std=(), layout="nhwc"
    )
    assert model.postprocess == spec.Classification(output="scores", activation="none", top_k=4)
    assert content(found, "labels.txt") == b"bar\ncross\ndot\nring\n"
    assert [file.name for file in found.files] == sorted(
        ["golden.bin", "labels.txt", "model.json", "model.tflite", "preprocess.bin"]
    )


def test_model_json_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    found = made(tmp_path)
    (tmp_path / "model.json").write_bytes(content(found, "model.json"))
    assert contract.read_model(tmp_path / "model.json") == found.model


def test_golden_bin_holds_every_tensor_where_model_json_says(tmp_path: Path) -> None:
    found = made(tmp_path)
    raw, told = content(found, "golden.bin"), found.model.golden
    arrays = np.load(tmp_path / "builds" / "golden" / "all.npz")
    assert (len(raw), hashlib.sha256(raw).hexdigest(), told.samples) == (told.size_bytes, told.sha256, 3)
    for tensor in told.tensors:
        part = raw[tensor.offset : tensor.offset + tensor.size_bytes]
        read = np.frombuffer(part, np.dtype(tensor.dtype).newbyteorder("<")).reshape(tensor.shape)
        prefix = "in" if tensor.role == "input" else "out"
        assert np.array_equal(read, arrays[f"{prefix}/{tensor.name}"][tensor.sample])


def test_the_tolerances_are_those_of_the_host(tmp_path: Path) -> None:
    outputs = {
        "f": np.array([[1.0, -2.5]], np.float32),
        "h": np.array([[3.0]], np.float16),
        "zero": np.zeros((1, 2), np.float32),
        **{name: np.array([[1]], name) for name in ("int8", "uint8", "int16", "uint16", "int32", "int64", "bool")},
    }
    for expected in parity.expect(outputs):
        told = goldens.tolerance(expected.output, outputs[expected.output])
        assert told.max_abs == expected.tolerance
        assert told.cosine_min == (parity.COSINE_MIN if expected.output in ("f", "h") else None)


def test_samples_that_do_not_fit_the_size_are_left_out_but_one_stays() -> None:
    big = np.zeros((3, goldens.BYTES_MAX // 4, 1), np.float32)
    described, raw = goldens.pack(goldens.Samples(inputs={"x": big}, outputs={"y": np.zeros((3, 1))}, count=3))
    assert described.samples == 1
    assert len(raw) == described.size_bytes == goldens.BYTES_MAX + 8


def resampled(pixels: np.ndarray, size: int, axis: int) -> np.ndarray:
    """The page's own words: one pass of bilinear with antialiasing."""
    n = pixels.shape[axis]
    if n == size:
        return pixels
    scale = n / size
    reach = max(scale, 1.0)
    rows = []
    for x in range(size):
        centre = (x + 0.5) * scale
        low, high = max(0, int(np.floor(centre - reach + 0.5))), min(n, int(np.floor(centre + reach + 0.5)))
        weights = np.array([max(0.0, 1 - abs((i - centre + 0.5) / reach)) for i in range(low, high)])
        fixed = np.floor(weights / weights.sum() * (1 << 22) + 0.5).astype(np.int64)
        part = np.take(pixels, range(low, high), axis=axis).astype(np.int64)
        total = np.tensordot(fixed, part, axes=(0, axis))
        rows.append(np.clip((total + (1 << 21)) >> 22, 0, 255))
    return np.stack(rows, axis=axis)


def as_the_page_says(pixels: np.ndarray, declared: Picture) -> np.ndarray:
    if declared.colour == "gray":
        red, green, blue = (pixels[..., at].astype(np.int64) for at in range(3))
        pixels = ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16)[..., None]
    if declared.resize:
        pixels = resampled(resampled(pixels, declared.resize[1], 1), declared.resize[0], 0)
    if declared.crop:
        top, left = (pixels.shape[0] - declared.crop[0]) // 2, (pixels.shape[1] - declared.crop[1]) // 2
        pixels = pixels[top : top + declared.crop[0], left : left + declared.crop[1]]
    values = pixels[..., ::-1] if declared.colour == "bgr" else pixels
    values = values.astype(np.float32) * np.float32(declared.scale)
    values = values - np.float32(declared.mean or (0,))
    values = values / np.float32(declared.std or (1,))
    return values.transpose(2, 0, 1)[None] if declared.layout == "nchw" else values[None]


@pytest.mark.parametrize("resize", [(12, 12), (30, 80), (200, 9), (47, 61), None])
@pytest.mark.parametrize(
    "rest",
    [
        {"colour": "gray", "scale": 1 / 255, "mean": (), "std": (), "layout": "nhwc", "crop": None},
        {"colour": "rgb", "scale": 1 / 255, "mean": (0.4, 0.5, 0.6), "std": (0.2,), "layout": "nchw", "crop": (9, 7)},
        {"colour": "bgr", "scale": 2.0, "mean": (9.0,), "std": (3.0, 2.0, 1.0), "layout": "nhwc", "crop": (8, 9)},
    ],
)
def test_the_page_describes_preprocessing_to_the_last_bit(resize: tuple[int, int] | None, rest: dict[str, Any]) -> None:
    declared = Picture(resize=resize, **rest)
    told, raw = goldens.picture(declared, spec.Tensor(name="x", dtype="float32", shape=(), kind="image", layout=None))
    pixels = np.frombuffer(raw[: told.tensor.offset], np.uint8).reshape(told.height, told.width, 3)
    wanted = np.frombuffer(raw[told.tensor.offset :], "<f4").reshape(told.tensor.shape)
    assert (told.height, told.width) != declared.resize
    assert np.array_equal(as_the_page_says(pixels, declared), wanted)


def test_a_turned_input_is_preprocessed_for_the_builds_own_axes(tmp_path: Path) -> None:
    turned = TensorSpec(name="image", dtype="float32", shape=(1, 12, 12, 3), perm=(0, 2, 3, 1))
    model = made(tmp_path, inputs=(turned,), preprocess=Preprocess(scale=1 / 255, layout="nchw")).model
    assert model.preprocess is not None
    assert (model.preprocess.layout, model.inputs[0].layout, model.preprocess.colour) == ("nhwc", "nhwc", "rgb")


def test_integers_that_stand_for_numbers_carry_their_scale_into_the_app(tmp_path: Path) -> None:
    """A build with int8 input and output: both quantizations reach model.json, and pictures become its integers."""
    taken = TensorSpec(name="image", dtype="int8", shape=(1, 12, 12, 1), scale=1 / 255, zero_point=-128)
    given = TensorSpec(name="scores", dtype="int8", shape=(1, 4), scale=1 / 256, zero_point=-128)
    rng = np.random.default_rng(3)
    arrays = {
        "in/image": rng.integers(-128, 128, (3, 1, 12, 12, 1)).astype(np.int8),
        "out/scores": rng.integers(-128, 128, (3, 1, 4)).astype(np.int8),
    }
    model = made(tmp_path, inputs=(taken,), outputs=(given,), arrays=arrays).model
    assert model.inputs[0].quantization == spec.Quantization(scale=1 / 255, zero_point=-128)
    assert model.outputs[0].quantization == spec.Quantization(scale=1 / 256, zero_point=-128)
    assert isinstance(model.postprocess, spec.Classification)
    assert model.postprocess.activation == "softmax"  # random integers are no shares of one
    assert model.preprocess is not None
    told, raw = goldens.picture(model.preprocess, model.inputs[0])
    real, plain = goldens.picture(
        model.preprocess, dataclasses.replace(model.inputs[0], dtype="float32", quantization=None)
    )
    integers = np.frombuffer(raw[told.tensor.offset :], np.int8).astype(np.float64)
    wanted = np.frombuffer(plain[real.tensor.offset :], "<f4").astype(np.float64)
    assert np.abs((integers + 128) / 255 - wanted).max() <= 0.5 / 255 + 1e-9


def test_pictures_of_another_scale_than_the_data_are_not_taken_for_the_models(tmp_path: Path) -> None:
    found = made(tmp_path, preprocess=Preprocess(colour="gray"))
    assert (found.model.task, found.model.preprocess) == ("tensor", None)
    assert "up to 255, but the model was verified on up to" in found.notes[-1]
    with pytest.raises(SettingsError, match="cannot be an app for classification: pixels come out"):
        made(tmp_path, request={"task": "classification"})


def test_scores_that_are_no_shares_get_a_softmax(tmp_path: Path) -> None:
    arrays = app_builds.golden_arrays(Plan())
    arrays["out/scores"] = arrays["out/scores"] * 9 - 3
    found = made(tmp_path, arrays=arrays)
    assert isinstance(found.model.postprocess, spec.Classification)
    assert found.model.postprocess.activation == "softmax"


def test_a_build_without_labels_shows_tensors_and_says_why(tmp_path: Path) -> None:
    found = made(tmp_path, label_names=())
    assert (found.model.task, found.model.labels) == ("tensor", None)
    assert "no labels" in found.notes[-1]
    with pytest.raises(SettingsError, match="the build has none") as told:
        made(tmp_path, request={"task": "classification"})
    assert "--labels FILE" in told.value.hint


def test_labels_come_from_a_file_or_a_csv(tmp_path: Path) -> None:
    lines = tmp_path / "labels.txt"
    lines.write_text("\ufeffa\r\nb\r\nc\r\nd\r\n", encoding="utf-8")
    assert content(made(tmp_path, request={"labels": lines}, label_names=()), "labels.txt") == b"a\nb\nc\nd\n"
    table = tmp_path / "labels.csv"
    table.write_text('label,de,sr-Latn\na,A,1\n"b, c","B ""x""",2\nc,C,3\nd,D,4\n', encoding="utf-8")
    found = made(tmp_path, request={"labels_csv": table})
    assert content(found, "labels-de.txt").decode().splitlines() == ["A", 'B "x"', "C", "D"]
    assert found.model.labels == spec.LabelsFile(file="labels.txt", count=4, languages=("de", "sr-Latn"))
    with pytest.raises(UsageError):
        made(tmp_path, request={"labels": lines, "labels_csv": table})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"a\nb\n", "There are 2 labels, but no output of 2 scores"),
        (b"", "empty"),
        (b"a\n\nb\nc\n", "empty, too long"),
        (b"a\x1b\nb\nc\nd\n", "control characters"),
        (b"\xff\xfe", "cannot be read"),
        (b"x" * 300 + b"\nb\nc\nd\n", "too long"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, text: bytes, why: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(text)
    with pytest.raises((DataError, SettingsError), match=why):
        made(tmp_path, request={"labels": path, "task": "classification"})


def test_a_text_model_reads_bytes_or_a_vocabulary(tmp_path: Path) -> None:
    tokens = (TensorSpec(name="ids", dtype="int32", shape=(1, 16)),)
    found = made(tmp_path, inputs=tokens)
    assert (found.model.task, found.model.text) == ("text", spec.TextInput(input="ids", encoding="utf8", length=16))
    assert found.model.preprocess_golden is None
    assert "bytes of UTF-8, lower case" in found.notes[-1]
    words = tmp_path / "words.txt"
    words.write_text("[pad]\n[unk]\nhello\n")
    spoken = made(tmp_path, request={"vocab": words})
    assert spoken.model.text is not None
    assert (spoken.model.text.encoding, content(spoken, "vocab.txt")) == ("vocabulary", words.read_bytes())


def detection(*outputs: tuple[str, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=name, dtype="float32", shape=shape) for name, shape in outputs)


@pytest.mark.parametrize(
    ("outputs", "layout", "names"),
    [
        (
            detection(("b", (1, 9, 4)), ("classes", (1, 9)), ("s", (1, 9)), ("n", (1,))),
            "ssd",
            ("b", "s", "classes", "n"),
        ),
        (detection(("p", (1, 9, 4)), ("c", (1, 9)), ("s", (1, 9)), ("n", (1,))), "ssd", ("p", "s", "c", "n")),
        (detection(("b", (1, 9, 4)), ("s", (1, 9, 3))), "raw", ("b", "s", None, None)),
        (detection(("y", (1, 7, 99))), "yolo", ("y", None, None, None)),
    ],
)
def test_boxes_are_told_from_their_shapes(tmp_path: Path, outputs: Any, layout: str, names: Any) -> None:
    lines = tmp_path / "l.txt"
    lines.write_text("cat\ndog\nowl\n")
    said = made(tmp_path, request={"task": "detection", "labels": lines}, outputs=outputs)
    found = said.model.postprocess
    assert "which shapes do not tell" in said.notes[-1]
    assert isinstance(found, spec.Detection)
    assert (found.layout, (found.boxes, found.scores, found.classes, found.count)) == (layout, names)


def test_features_of_an_image_are_not_taken_for_boxes(tmp_path: Path) -> None:
    outputs = detection(("tokens", (1, 197, 768)))
    assert made(tmp_path, outputs=outputs).model.task == "tensor"
    with pytest.raises(SettingsError, match="the build has none"):
        made(tmp_path, request={"task": "detection"})


def test_a_build_of_several_inputs_shows_tensors(tmp_path: Path) -> None:
    two = (app_builds.PICTURE, TensorSpec(name="z", dtype="float32", shape=(1, 3)))
    found = made(tmp_path, inputs=two)
    assert (found.model.task, found.model.postprocess) == ("tensor", spec.Plain())
    for task, why in (("classification", "its inputs are"), ("text", "token numbers"), ("detection", "its inputs are")):
        with pytest.raises(SettingsError, match=why):
            made(tmp_path, request={"task": task})


def test_the_build_to_ship_is_the_usual_recipe_that_did_not_fail(tmp_path: Path) -> None:
    recipes = ("float32", "lut-4bit", "static-int8")
    found = made(tmp_path, recipes=recipes, verdicts={"static-int8": "fail"})
    assert found.model.build.recipe == "lut-4bit"
    assert made(tmp_path, request={"recipe": "static-int8"}).model.build.recipe == "static-int8"
    with pytest.raises(SettingsError, match="Unknown recipe"):
        made(tmp_path, request={"recipe": "static-int9"})
    with pytest.raises(SettingsError, match="Unknown target"):
        made(tmp_path, target="tflit")


def test_when_every_build_failed_none_is_chosen(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="failed its verification"):
        made(tmp_path, verdicts={"static-int8": "fail"})


def test_a_model_that_no_app_carries_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = app_builds.make(tmp_path / "builds", targets=("tflite",))
    with (folder / "tflite-static-int8.tflite").open("r+b") as file:
        file.truncate(contract.MODEL_MAX_BYTES + 1)  # sparse: no disk is used
    with pytest.raises(ModelError, match="150 MB") as told:
        contract.make(Request(folder=folder, target="tflite"))
    assert "asset pack" in told.value.hint


def change(folder: Path, **fields: Any) -> None:
    plain = json.loads((folder / manifest.FILE).read_text())
    plain["builds"][0].update(fields)
    (folder / manifest.FILE).write_text(json.dumps(plain))


@pytest.mark.parametrize("fault", ["no golden", "golden changed", "model changed", "model gone", "golden of another"])
def test_builds_that_cannot_be_trusted_are_refused(tmp_path: Path, fault: str) -> None:
    folder = app_builds.make(tmp_path / "builds", targets=("onnx",))
    model, golden = folder / "onnx-static-int8.onnx", folder / "golden" / "all.npz"
    if fault == "no golden":
        change(folder, golden=None, golden_sha256=None)
    elif fault == "golden changed":
        golden.write_bytes(golden.read_bytes() + b"x")
    elif fault == "model changed":
        model.write_bytes(b"other")
    elif fault == "model gone":
        model.unlink()
    else:
        np.savez(golden, **{"in/image": np.ones((1, 1, 5), np.float32), "out/scores": np.ones((1, 1, 4), np.float32)})
        change(folder, golden_sha256=None)
    with pytest.raises(ModelError):
        contract.make(Request(folder=folder, target="onnx"))


@pytest.mark.parametrize(
    "arrays",
    [
        {"in/image": np.full((1, 1, 12, 12, 1), np.nan, np.float32), "out/scores": np.ones((1, 1, 4), np.float32)},
        {"in/image": np.ones((2, 1, 12, 12, 1), np.float32), "out/scores": np.ones((1, 1, 4), np.float32)},
        {"in/image": np.ones((1, 1, 12, 12, 1), np.complex64), "out/scores": np.ones((1, 1, 4), np.float32)},
        {"in/image": np.ones((1, 1, 12, 12, 1), np.float32)},
        {"in/image": np.ones((1, 1, 12, 12, 1), np.float32), "out/other": np.ones((1, 1, 4), np.float32)},
    ],
)
def test_golden_samples_that_apps_could_not_read_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    with pytest.raises(ModelError, match="golden samples"):
        made(tmp_path, arrays=arrays)
