from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from toolkit.core.artifacts import Preprocess, Signature, TensorSpec
from toolkit.core.errors import DataError
from toolkit.datasets import image_folder

RESIZE = Preprocess(resize=(8, 6), scale=1 / 255)


def signature(shape=(1, 8, 6, 3), dtype="float32", count=1):
    specs = tuple(TensorSpec(name=f"image{index}", dtype=dtype, shape=shape) for index in range(count))
    return Signature(inputs=specs, outputs=())


def opened(folder, preprocess=RESIZE, sig=None, limit=None):
    sig = sig or signature()
    ref = image_folder.refer(str(folder), sig, preprocess, limit)
    samples = list(image_folder.stream(ref, sig))
    assert len(samples) == ref.count
    return ref, samples


def picture(path, value=(255, 0, 0), size=(12, 16), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(value, int) else "RGB", size, value).save(path, **options)
    return path


@pytest.fixture
def classes(tmp_path):
    for name, colour in (("cats", (255, 0, 0)), ("dogs", (0, 255, 0))):
        for index in range(5):
            picture(tmp_path / name / f"{index}.png", colour)
    return tmp_path


def test_class_folders_by_name_are_labels(classes):
    (classes / ".DS_Store").touch()
    (classes / "dogs" / "Thumbs.db").touch()
    (classes / "LICENSE.txt").touch()
    ref, samples = opened(classes)
    assert (ref.count, ref.labelled, ref.label_names) == (10, True, ("cats", "dogs"))
    assert [sample.label for sample in samples] == [0] * 5 + [1] * 5
    assert samples[0].feeds["image0"].shape == (1, 8, 6, 3)
    assert samples[0].feeds["image0"][0, 4, 3].tolist() == [1, 0, 0]
    assert samples[-1].feeds["image0"][0, 4, 3].tolist() == [0, 1, 0]


def test_a_flat_folder_is_unlabelled(tmp_path):
    picture(tmp_path / "a.jpg")
    ref, samples = opened(tmp_path)
    assert (ref.labelled, samples[0].label) == (False, None)


def test_limit_is_balanced_and_the_hash_covers_content_order_and_limit(classes):
    first, samples = opened(classes, limit=4)
    assert [sample.label for sample in samples] == [0, 0, 1, 1]
    assert first.sha256 == opened(classes, limit=4)[0].sha256
    assert first.sha256 != opened(classes)[0].sha256
    picture(classes / "dogs" / "0.png", (0, 0, 255))
    assert opened(classes)[0].sha256 != first.sha256


def test_colour_crop_layout_and_numbers(tmp_path):
    picture(tmp_path / "a.png", (10, 20, 30), size=(20, 20))
    declared = Preprocess(crop=(8, 6), colour="bgr", mean=(1.0, 2.0, 3.0), layout="nchw")
    _, samples = opened(tmp_path, declared, signature((1, 3, 8, 6)))
    assert samples[0].feeds["image0"][0, :, 0, 0].tolist() == [29, 18, 7]
    _, samples = opened(tmp_path, Preprocess(resize=(8, 6), colour="gray"), signature((1, 8, 6, 1)))
    assert samples[0].feeds["image0"][0, 0, 0, 0] == 18


def test_the_crop_is_central(tmp_path):
    pixels = np.zeros((10, 12, 3), np.uint8)
    pixels[1:9, 3:9] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    _, samples = opened(tmp_path, Preprocess(crop=(8, 6)))
    assert samples[0].feeds["image0"].min() == 255


def test_resizing_is_antialiased(tmp_path):
    board = (np.indices((80, 60)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).convert("RGB").save(tmp_path / "a.png")
    _, samples = opened(tmp_path)
    assert np.abs(samples[0].feeds["image0"] - 0.5).max() < 0.02


def test_the_exif_orientation_is_applied(tmp_path):
    pixels = np.zeros((6, 8, 3), np.uint8)
    pixels[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    _, samples = opened(tmp_path, Preprocess())
    upright = samples[0].feeds["image0"][0, :, :, 0]
    assert upright.shape == (8, 6)
    assert (upright[:4].min(), upright[4:].max()) == (255, 0)


def test_bytes_go_as_they_are_to_whole_number_inputs(tmp_path):
    picture(tmp_path / "a.png", (10, 20, 30))
    _, samples = opened(tmp_path, RESIZE, signature(dtype="uint8"))
    assert samples[0].feeds["image0"].dtype == np.uint8
    assert samples[0].feeds["image0"][0, 0, 0].tolist() == [10, 20, 30]


def test_an_unlike_size_is_never_stretched_silently(classes):
    with pytest.raises(DataError, match=r"0.png comes out 16 x 12; .* wants 8 x 6.*resize 8,6"):
        opened(classes, Preprocess())
    with pytest.raises(DataError, match=r"0.png: The image is 16 x 12, smaller than the crop"):
        opened(classes, Preprocess(crop=(8, 60)), signature((1, 8, 60, 3)))


@pytest.mark.parametrize("content", [b"", b"this is no picture", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_a_file_that_is_no_image_is_named(classes, content):
    (classes / "dogs" / "odd.png").write_bytes(content)
    with pytest.raises(DataError, match=r"odd.png as an image"):
        opened(classes)


def test_a_truncated_image_is_named(classes):
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    path = classes / "cats" / "cut.jpg"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match=r"cut.jpg as an image"):
        opened(classes)


def test_a_decompression_bomb_is_refused(classes):
    Image.new("1", (20_000, 20_000)).save(classes / "cats" / "bomb.png")
    with pytest.raises(DataError, match=r"bomb.png as an image"):
        opened(classes)


def test_deep_pixels_are_refused(tmp_path):
    Image.fromarray(np.full((8, 6), 40_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match="more than 8 bits"):
        opened(tmp_path)


def test_links_that_leave_the_folder_are_refused(classes, tmp_path_factory):
    outside = picture(tmp_path_factory.mktemp("outside") / "secret.png")
    (classes / "cats" / "link.png").symlink_to(outside)
    with pytest.raises(DataError, match=r"link.png is a link that leaves"):
        opened(classes)
    (classes / "cats" / "link.png").unlink()
    (classes / "mice").symlink_to(outside.parent)
    with pytest.raises(DataError, match="mice is a link that leaves"):
        opened(classes)


def test_links_within_the_folder_are_fine(classes):
    (classes / "cats" / "link.png").symlink_to(classes / "cats" / "0.png")
    assert opened(classes)[0].count == 11


def test_unclear_folders_are_refused(classes, tmp_path_factory):
    with pytest.raises(DataError, match="holds no images"):
        opened(tmp_path_factory.mktemp("empty"))
    (classes / "cats" / "inner").mkdir()
    with pytest.raises(DataError, match="holds another folder, 'inner'"):
        opened(classes)
    (classes / "cats" / "inner").rmdir()
    picture(classes / "loose.png")
    with pytest.raises(DataError, match="side by side"):
        opened(classes)


def test_models_that_take_no_image_are_refused(classes):
    with pytest.raises(DataError, match="this one has 2"):
        opened(classes, sig=signature(count=2))
    for shape in ((1, 48), (1, 8, 6, 1), (1, 3, 8, 6)):
        with pytest.raises(DataError, match="not images of 3 channels"):
            opened(classes, sig=signature(shape))
    with pytest.raises(DataError, match="mean has 2 values for 3 channels"):
        opened(classes, Preprocess(resize=(8, 6), mean=(1.0, 2.0)))


def test_names_need_not_be_utf_8(tmp_path):
    odd = os.fsdecode(b"caf\xe9")
    picture(tmp_path / odd / "a.png")
    ref, samples = opened(tmp_path)
    assert ref.label_names == ("caf�",)
    samples[0].origin.encode("utf-8")
