from __future__ import annotations

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from toolkit.core.artifacts import Preprocess, Signature, TensorSpec
from toolkit.core.errors import DataError
from toolkit.core.sampling import spread
from toolkit.datasets import npz


def signature(*inputs):
    return Signature(
        inputs=tuple(TensorSpec(name=name, dtype=dtype, shape=shape) for name, dtype, shape in inputs), outputs=()
    )


IMAGE = signature(("image", "float32", (1, 4, 5, 3)))
PAIR = signature(("ids", "int32", (1, 6)), ("mask", "float32", (1, 6)))


def opened(path, sig=IMAGE, preprocess=None, limit=None):
    ref = npz.refer(str(path), sig, preprocess or Preprocess(), limit)
    samples = list(npz.stream(ref, sig))
    assert len(samples) == ref.count
    return ref, samples


def save(tmp_path, **arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_samples_come_one_by_one_with_a_batch_axis(tmp_path, rng, write):
    images, labels = rng.normal(0, 1, (7, 4, 5, 3)).astype(np.float32), np.arange(7) % 3
    write(tmp_path / "data.npz", image=images, labels=labels, label_names=np.array(["a", "b", "c"]))
    ref, samples = opened(tmp_path / "data.npz")
    assert (ref.count, ref.labelled, ref.label_names) == (7, True, ("a", "b", "c"))
    assert np.array_equal(np.concatenate([sample.feeds["image"] for sample in samples]), images)
    assert [sample.label for sample in samples] == labels.tolist()
    assert samples[3].origin.endswith("data.npz[3]")


def test_memory_does_not_grow_with_the_file(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "data.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as file,
    ):
        header = {"descr": "<f4", "fortran_order": False, "shape": (2000, 4, 5, 300)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(2000):
            file.write(np.ones((4, 5, 300), np.float32).tobytes())
    sig = signature(("x", "float32", (1, 4, 5, 300)))
    ref = npz.refer(str(tmp_path / "data.npz"), sig, Preprocess(), None)
    tracemalloc.start()
    assert sum(1 for _ in npz.stream(ref, sig)) == 2000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000  # the array is 48 MB


def test_a_single_input_takes_the_only_array(tmp_path, rng):
    images = rng.normal(0, 1, (2, 4, 5, 3)).astype(np.float32)
    _, samples = opened(save(tmp_path, x_train=images, labels=np.zeros(2, int)))
    assert np.array_equal(samples[1].feeds["image"], images[1:2])


def test_fortran_order_is_read_too(tmp_path, rng):
    images = np.asfortranarray(rng.normal(0, 1, (3, 4, 5, 3)).astype(np.float32))
    _, samples = opened(save(tmp_path, image=images), limit=2)
    assert np.array_equal(np.concatenate([sample.feeds["image"] for sample in samples]), images[list(spread(3, 2))])


def test_whole_numbers_are_cast_where_they_fit(tmp_path):
    _, samples = opened(save(tmp_path, ids=np.full((2, 6), 7, np.int64), mask=np.ones((2, 6), bool)), PAIR)
    assert samples[0].feeds["ids"].dtype == np.int32
    assert samples[0].feeds["mask"].dtype == np.float32
    with pytest.raises(DataError, match=r"beyond the input's dtype int32 in sample .*\[1\]"):
        opened(save(tmp_path, ids=np.array([[1] * 6, [2**40] * 6]), mask=np.ones((2, 6))), PAIR)


def test_preprocessing_applies_to_floats_only(tmp_path):
    path = save(tmp_path, ids=np.full((1, 6), 7, np.uint8), mask=np.full((1, 6), 255, np.uint8))
    _, samples = opened(path, PAIR, Preprocess(scale=1 / 255))
    assert samples[0].feeds["ids"].tolist() == [[7] * 6]
    assert np.allclose(samples[0].feeds["mask"], 1)


def test_stored_channels_last_turn_for_a_channels_first_model(tmp_path, rng):
    images = rng.integers(0, 255, (2, 4, 5, 3), np.uint8)
    sig = signature(("x", "float32", (1, 3, 4, 5)))
    _, samples = opened(save(tmp_path, x=images), sig, Preprocess(layout="nchw", mean=(1.0, 2.0, 3.0)))
    expected = (images[1].astype(np.float32) - [1, 2, 3]).transpose(2, 0, 1)
    assert np.allclose(samples[1].feeds["x"][0], expected)


def test_limit_is_balanced_and_part_of_the_hash(tmp_path, rng):
    path = save(tmp_path, image=rng.normal(0, 1, (40, 4, 5, 3)), labels=np.repeat([0, 1], 20))
    part, samples = opened(path, limit=6)
    assert [sample.label for sample in samples] == [0, 0, 0, 1, 1, 1]
    whole, _ = opened(path)
    enough, _ = opened(path, limit=99)
    assert part.sha256 != whole.sha256 == enough.sha256


def test_labels_may_be_arrays(tmp_path, rng):
    boxes = rng.normal(0, 1, (3, 4))
    _, samples = opened(save(tmp_path, image=rng.normal(0, 1, (3, 4, 5, 3)), labels=boxes))
    assert np.array_equal(samples[2].label, boxes[2])


def test_a_column_of_labels_is_class_numbers(tmp_path, rng):
    _, samples = opened(save(tmp_path, image=rng.normal(0, 1, (3, 4, 5, 3)), labels=np.array([[2], [0], [1]])))
    assert [sample.label for sample in samples] == [2, 0, 1]


GOOD = np.zeros((2, 4, 5, 3), np.float32)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"image": GOOD[:, :3]}, r"'image' of .* is \[2, 3, 5, 3\]; the input 'image' wants \[samples, 4, 5, 3\]"),
        ({"image": GOOD.astype(str)}, "is of dtype <U"),
        ({"image": GOOD.astype(complex)}, "is of dtype complex128"),
        ({"image": GOOD[:0]}, "holds no samples"),
        ({"image": np.float32(3)}, "wants"),
        ({"image": GOOD, "labels": np.zeros(3, int)}, "unlike numbers of samples: image 2, labels 3"),
        ({"image": GOOD, "label": np.zeros(2, int)}, "neither an input nor `labels`. Did you mean 'labels'"),
        ({"picture": GOOD, "other": GOOD}, "no array for the input 'image'"),
        ({"image": np.array([object()])}, "holds Python objects"),
        ({"image": GOOD, "labels": np.array(["cat", "dog"])}, "one number or array a sample"),
        ({"image": GOOD, "label_names": np.zeros(2)}, "not a list of words"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, arrays, words):
    with pytest.raises(DataError, match=words):
        opened(save(tmp_path, **arrays))


def test_a_missing_input_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no array for the input 'mask'.*It holds: ids"):
        opened(save(tmp_path, ids=np.zeros((2, 6), int)), PAIR)
    with pytest.raises(DataError, match="wants int32"):
        opened(save(tmp_path, ids=np.zeros((2, 6)), mask=np.zeros((2, 6))), PAIR)


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "infinity"), (1e39, "infinity")])
def test_not_finite_values_are_named(tmp_path, bad, word):
    images = GOOD.astype(np.float64)
    images[1, 2, 2, 2] = bad
    with pytest.raises(DataError, match=rf"'image' holds {word} in sample .*data.npz\[1\]"):
        opened(save(tmp_path, image=images))


def test_mean_of_another_length_is_refused(tmp_path):
    with pytest.raises(DataError, match="has 3 channels, and the preprocessing's mean 2 values"):
        opened(save(tmp_path, image=GOOD), preprocess=Preprocess(mean=(0.1, 0.2)))


def test_missing_empty_and_foreign_files(tmp_path):
    path = tmp_path / "data.npz"
    with pytest.raises(DataError, match="no data file"):
        opened(path)
    for content in (b"", b"not a zip", b"PK\x03\x04 but no more"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"not an .npz file or is damaged"):
            opened(path)


def test_truncated_and_damaged_files(tmp_path, rng):
    path = save(tmp_path, image=rng.normal(0, 1, (50, 4, 5, 3)).astype(np.float32))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError):
        opened(path)
    broken = bytearray(whole)
    broken[2000:2100] = bytes(100)
    path.write_bytes(bytes(broken))
    with pytest.raises(DataError, match="damaged"):
        opened(path)


def test_a_member_shorter_than_its_header_says(tmp_path):
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (9, 4, 5, 3)})
    member.write(bytes(4 * 60 * 2))
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("image.npy", member.getvalue())
    with pytest.raises(DataError, match="ends within sample 2"):
        opened(tmp_path / "data.npz")


def test_a_header_that_claims_a_huge_label_array_is_not_believed(tmp_path):
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "<i8", "fortran_order": False, "shape": (2, 2**40)})
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("labels.npy", member.getvalue())
        buffer = io.BytesIO()
        np.save(buffer, GOOD)
        archive.writestr("image.npy", buffer.getvalue())
    with pytest.raises(DataError, match="shorter than its header says"):
        opened(tmp_path / "data.npz")


def test_an_array_twice_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, GOOD)
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("image.npy", buffer.getvalue())
        archive.writestr("image", buffer.getvalue())
    with pytest.raises(DataError, match="twice"):
        opened(tmp_path / "data.npz")
