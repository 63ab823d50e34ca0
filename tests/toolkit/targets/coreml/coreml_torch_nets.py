"""Small PyTorch nets of the kinds that audio, text and vision models are made of, as ``FILE.py:FUNCTION``."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

Made = tuple[nn.Module, tuple[torch.Tensor, ...]]


class Reader(nn.Module):
    """A recurrent net over frames, and a head on its last state."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 5)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states, _ = self.layer(frames)
        return states, self.head(states[:, -1])


class Attentive(nn.Module):
    """Self-attention by ``scaled_dot_product_attention``, causal and with a mask that is added."""

    def __init__(self, width: int = 24, heads: int = 3) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("bias", torch.randn(heads, 7, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, steps, width = x.shape
        parts = self.qkv(x).reshape(batch, steps, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        causal = nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
        biased = nn.functional.scaled_dot_product_attention(*parts, attn_mask=self.bias)
        return self.out((causal + biased).transpose(1, 2).reshape(batch, steps, width))


class Pyramid(nn.Module):
    """Two scales of a picture, joined by upsampling, with group normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.GroupNorm(4, 16), nn.SiLU())
        self.second = nn.Sequential(nn.Conv2d(16, 24, 3, 2, 1, groups=8), nn.BatchNorm2d(24), nn.Hardswish())
        self.side, self.last = nn.Conv2d(24, 16, 1), nn.ConvTranspose2d(16, 4, 4, 2, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        one = self.first(x)
        two = self.second(one)
        up = nn.functional.interpolate(self.side(two), scale_factor=2, mode="bilinear", align_corners=False)
        return self.last(one + up), two.mean((2, 3))


class Text(nn.Module):
    """An embedding, a transformer encoder and a pooled head."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(24, 4, 48, activation="gelu", batch_first=True, norm_first=True)
        self.words, self.encoder = nn.Embedding(50, 24), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(24, 6)

    def forward(self, identifiers: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.words(identifiers)).mean(1))


class Audio(nn.Module):
    """One-dimensional convolutions with dilation, and a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleList(nn.Conv1d(8, 16, 3, dilation=2**step, padding=2**step) for step in range(3))
        self.first, self.last = nn.Conv1d(1, 8, 16, 8), nn.Conv1d(8, 4, 1)

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        x = self.first(sound)
        for layer in self.inner:
            x = x + nn.functional.glu(layer(x), 1)
        return self.last(nn.functional.leaky_relu(x)).log_softmax(1)


def lstm() -> Made:
    return Reader(nn.LSTM(12, 16, 2, batch_first=True, bidirectional=True), 32), (torch.randn(1, 9, 12),)


def gru() -> Made:
    return Reader(nn.GRU(12, 16, batch_first=True), 16), (torch.randn(1, 9, 12),)


def attentive() -> Made:
    return Attentive(), (torch.randn(1, 7, 24),)


def pyramid() -> Made:
    return Pyramid(), (torch.randn(1, 3, 32, 32),)


def text() -> tuple[nn.Module, Any]:
    return Text(), (torch.randint(0, 50, (1, 11)),)


def audio() -> Made:
    return Audio(), (torch.randn(1, 1, 800),)
