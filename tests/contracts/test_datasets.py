"""What every data-set format in the room promises, whatever it reads."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from PIL import Image

from toolkit.core import discovery, ports
from toolkit.core.artifacts import Preprocess, Signature, TensorSpec
from toolkit.core.errors import DataError

SIGNATURE = Signature(inputs=(TensorSpec(name="image", dtype="float32", shape=(1, 4, 4, 1)),), outputs=())
DECLARED = Preprocess(colour="gray", scale=1 / 255, mean=(0.5,))
COUNT = 12


def _npz(folder):
    pixels = np.arange(COUNT * 16, dtype=np.uint8).reshape(COUNT, 4, 4, 1)
    np.savez(folder / "data.npz", image=pixels, labels=np.repeat([0, 1], COUNT // 2))
    return folder / "data.npz"


def _image_folder(folder):
    for index in range(COUNT):
        place = folder / "images" / ("one" if index < COUNT // 2 else "two")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(index * 16, index * 16 + 16, dtype=np.uint8).reshape(4, 4)).save(
            place / f"{index:02}.png"
        )
    return folder / "images"


MAKERS = {"npz": _npz, "image_folder": _image_folder}
NAMES = discovery.names("toolkit.datasets")


@pytest.fixture(params=NAMES)
def case(request, tmp_path):
    assert request.param in MAKERS, "a new format needs a maker of its samples here"
    return discovery.load("toolkit.datasets", request.param), str(MAKERS[request.param](tmp_path))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("verb", ["recognises", "refer", "stream"])
def test_signatures_are_the_protocols(name, verb):
    own = inspect.signature(getattr(discovery.load("toolkit.datasets", name), verb))
    protocol = list(inspect.signature(getattr(ports.DatasetFormat, verb)).parameters)
    assert list(own.parameters) == protocol[1:]


def test_exactly_one_format_recognises_a_location(case):
    _, location = case
    assert sum(discovery.load("toolkit.datasets", name).recognises(location) for name in NAMES) == 1


def test_same_pixels_same_samples_in_every_format(case):
    module, location = case
    ref = module.refer(location, SIGNATURE, DECLARED, None)
    samples = list(module.stream(ref, SIGNATURE))
    assert (ref.count, ref.labelled, len(samples)) == (COUNT, True, COUNT)
    stored = np.arange(COUNT * 16).reshape(COUNT, 4, 4, 1)
    for index, sample in enumerate(samples):
        assert sample.label == index // (COUNT // 2)
        assert sample.feeds["image"].dtype == np.float32
        assert np.allclose(sample.feeds["image"], stored[index : index + 1] / 255 - 0.5, atol=1e-6)


def test_streaming_again_gives_the_same_and_references_are_values(case):
    module, location = case
    ref = module.refer(location, SIGNATURE, DECLARED, 5)
    assert ref == module.refer(location, SIGNATURE, DECLARED, 5)
    first, second = list(module.stream(ref, SIGNATURE)), list(module.stream(ref, SIGNATURE))
    assert [sample.origin for sample in first] == [sample.origin for sample in second]
    assert ref.count == len(first) == 5
    assert {sample.label for sample in first} == {0, 1}


def test_what_does_not_fit_or_is_not_there_is_a_data_error(case):
    module, location = case
    other = Signature(inputs=(TensorSpec(name="image", dtype="float32", shape=(1, 9, 9, 1)),), outputs=())
    with pytest.raises(DataError):
        module.refer(location, other, DECLARED, None)
    with pytest.raises(DataError):
        module.refer(location + "-gone.npz", SIGNATURE, DECLARED, None)
