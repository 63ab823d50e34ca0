"""A labelled sample file for the suite's ONNX net and a PyTorch net that stands for it, in a child process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

COUNT = 64


def label_by_onnx(model: Path, out: Path) -> None:
    """Write noise for the net, each sample with the class that the float net itself gives it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    samples = np.random.default_rng(5).normal(size=(COUNT, 3, 16, 16)).astype(np.float32)
    answers = np.concatenate([session.run(["y"], {"x": sample[None]})[0] for sample in samples])
    np.savez(out, x=samples, labels=answers.argmax(1))


def label_by_torch(out: Path) -> None:
    """The same for the net of `classifier`."""
    import torch

    torch.manual_seed(0)
    net, (example,) = classifier()
    samples = np.random.default_rng(5).normal(size=(COUNT, *example.shape[1:])).astype(np.float32)
    with torch.no_grad():
        np.savez(out, picture=samples, labels=net.eval()(torch.from_numpy(samples)).argmax(1).numpy())


def classifier():  # type: ignore[no-untyped-def]  # palmtop runs it by name, and types would import PyTorch
    """A small convolutional classifier with a residual."""
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 16, 3, 1, 1)
            self.head = nn.Linear(16, 6)

        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.first(picture))
            return self.head(torch.relu(x + self.second(x)).mean((2, 3)))

    return Net(), (torch.rand(1, 3, 16, 16),)
