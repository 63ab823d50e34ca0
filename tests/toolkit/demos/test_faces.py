from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from toolkit import pipeline
from toolkit.core import process
from toolkit.core.clock import SystemClock
from toolkit.core.errors import ModelError
from toolkit.core.events import silent
from toolkit.core.store import Store
from toolkit.core.tools import Tools
from toolkit.demos import faces
from toolkit.demos._prepared import prepared
from toolkit.demos._project import DemoModel


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    store = Store(tmp_path_factory.mktemp("faces"))
    return Tools(run=process.run, emit=silent, clock=SystemClock(), store=store)


@pytest.fixture(scope="module")
def models(shared: Tools) -> dict[str, DemoModel]:
    return {model.name: model for model in prepared("faces", shared).models}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side", "outputs"), [("rnet", 24, 2), ("onet", 48, 3)])
def test_the_networks_tell_faces_from_background(
    models: dict[str, DemoModel], shared: Tools, tmp_path: Path, name: str, side: int, outputs: int
) -> None:
    model = models[name]
    with np.load(model.labelled.path) as held_out:
        images, labels = held_out["image"], held_out["labels"]
    assert images.shape == (160, side, side, 3)
    assert images.dtype == np.uint8
    assert np.bincount(labels).tolist() == [80, 80]
    ready = (images.astype(np.float32) - model.preprocess.mean[0]) / model.preprocess.std[0]
    np.savez(tmp_path / "in.npz", image=ready.astype(np.float32))
    signature = pipeline.predict(model.model.path, tmp_path / "in.npz", tmp_path / "out.npz", shared)
    assert model.output in {spec.name for spec in signature.outputs}
    with np.load(tmp_path / "out.npz") as answers:
        assert len(answers.files) == outputs
        chosen = answers[str(model.output)].reshape(160, 2).argmax(axis=-1)
    assert (chosen == labels).mean() == 1.0


@pytest.mark.slow
def test_calibration_and_held_out_share_no_image(models: dict[str, DemoModel]) -> None:
    for model in models.values():
        with np.load(model.calibration.path) as one, np.load(model.labelled.path) as other:
            assert len(one["image"]) == 40
            assert not {x.tobytes() for x in one["image"]} & {x.tobytes() for x in other["image"]}


def test_the_weights_are_those_of_the_published_networks() -> None:
    for network, parameters in ((faces.RNET, 100_178), (faces.ONET, 389_040)):
        assert sum(array.size for array in faces._read_weights(network)) == parameters


def test_images_are_gray_in_three_channels() -> None:
    images, labels = faces._read_faces()
    made = faces._resized(images[:3], 48)
    assert made.shape == (3, 48, 48, 3)
    assert made.dtype == np.uint8
    np.testing.assert_array_equal(made[..., 0], made[..., 2])
    assert labels.tolist() == [1] * 100 + [0] * 100
    # a face's mean changes little by resizing
    np.testing.assert_allclose(made[..., 0].mean(axis=(1, 2)) / 255, images[:3].mean(axis=(1, 2)), atol=0.01)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    odd = faces._Network(
        name="odd",
        side=24,
        weights=("mtcnn", "assets/weights/pnet.lz4", faces.RNET.weights[2]),
        poolings=faces.RNET.poolings,
        heads=faces.RNET.heads,
    )
    with pytest.raises(ModelError, match=r"pnet\.lz4 is not the file"):
        faces._read_weights(odd)
