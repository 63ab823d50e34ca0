"""PyTorch modules with fake quantization in them, of torch.ao or coremltools.optimize.torch, from a function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolkit.core import pins
from toolkit.core.errors import ModelError
from toolkit.core.ports import Feeds
from toolkit.core.probe import probe_feeds
from toolkit.stages.order import source_of
from toolkit.training.elsewhere import Converted, dropped

_WEIGHT = "weight_fake_quant"
_PREPARED = "Return the module as it was trained, before `finalize`, `convert` or `convert_fx`, and try again."


def is_prepared(path: Path) -> bool:
    """Run the function that a path names and look into its module.

    Raises:
        ModelError: it fails, or its module was converted to integers already.
    """
    from torch.ao.quantization import FakeQuantizeBase

    model, _, _ = source_of("pytorch").call(path)
    for name, module in model.named_modules():
        if ".ao.nn.quantized" in type(module).__module__:
            raise ModelError(f"{path} gives a module that was converted to integers: {name!r}.", hint=_PREPARED)
    return any(isinstance(module, FakeQuantizeBase) for module in model.modules())


def convert(path: Path, shapes: dict[str, tuple[int, ...]], out: Path) -> Converted:
    """See :func:`toolkit.training.elsewhere.convert`."""
    import torch

    source = source_of("pytorch")
    model, args, kwargs = source.call(path)
    seen, unset = _replaced(model)
    made = source.exported(path, model.eval(), args, kwargs)
    torch.export.save(made, str(out))
    signature = source.read(out, shapes)
    _run(model, args, kwargs, probe_feeds(signature))
    found = [
        pins.Pin(site=name, low=one.low, high=one.high, fingerprint=pins.fingerprint(one.value.numpy()))
        for name, one in seen.items()
        if one.value is not None
    ]
    pins.write(pins.beside(out), found)
    unseen = [name for name, one in seen.items() if one.value is None]
    return Converted(ranges=len(found), notes=dropped([*unseen, *unset]))


def _replaced(model: Any) -> tuple[dict[str, Any], list[str]]:
    """Put what does not round in the place of each fake quantization; return those of activations by name.

    The second part names those whose range was never measured.

    Weights stay as they are, unrounded: a build rounds them to the same grid.
    """
    import torch
    from torch.ao.quantization import FakeQuantizeBase

    class Seen(torch.nn.Module):  # type: ignore[misc]
        """Passes a tensor on and remembers it, once it is told to."""

        def __init__(self, low: float, high: float) -> None:
            super().__init__()
            self.low, self.high = low, high
            self.value: Any = None
            self.looks = False

        def forward(self, x: Any) -> Any:
            if self.looks:
                self.value = x.detach().clone()
            return x

    made: dict[int, Any] = {}
    found: dict[str, Any] = {}
    unset: list[str] = []
    for name, module in list(model.named_modules()):
        for own, inner in list(module._modules.items()):  # noqa: SLF001  (`named_children` hides shared ones)
            if not isinstance(inner, FakeQuantizeBase):
                continue
            low, high = _ends(inner)
            setattr(module, own, made.setdefault(id(inner), Seen(low, high)))
            if own == _WEIGHT:
                continue
            site = f"{name}.{own}".strip(".")
            if low < high:
                found.setdefault(site, made[id(inner)])
            else:
                unset.append(site)
    return found, unset


def _ends(fake: Any) -> tuple[float, float]:
    """Return the least and the largest value that a fake quantization lets through, of all channels."""
    scale, zero = fake.scale.detach().double(), fake.zero_point.detach().double()
    lowest, highest = getattr(fake, "quant_min", -128), getattr(fake, "quant_max", 127)
    return float(((lowest - zero) * scale).min()), float(((highest - zero) * scale).max())


def _run(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], feeds: Feeds) -> None:
    import torch

    tensors = iter([torch.from_numpy(values) for values in feeds.values()])
    for module in model.modules():
        if hasattr(module, "looks"):
            module.looks = True
    with torch.no_grad():
        model(*(next(tensors) for _ in args), **{name: next(tensors) for name in kwargs})
