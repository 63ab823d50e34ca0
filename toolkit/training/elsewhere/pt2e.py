"""Exported PyTorch programs that quantize and dequantize: float weights again, and a range for each rounded tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import pins
from toolkit.core.errors import ModelError
from toolkit.core.ports import Array
from toolkit.core.probe import probe_feeds
from toolkit.stages.order import source_of
from toolkit.training.elsewhere import SHORT, Converted, falling_short

_AGAIN = "Convert it with `convert_pt2e(model)` on its own, export that with torch.export, and try again."


def convert(path: Path, shapes: dict[str, tuple[int, ...]], out: Path) -> Converted:
    """See :func:`toolkit.training.elsewhere.convert`."""
    import torch

    source = source_of("pytorch")
    program = source.load_rounded(path)
    module = program.module(check_guards=False)
    ranges, short = _stripped(path, module)
    values = _marks(module, program)
    examples = _examples(program)
    made = source.exported(path, module, examples[0], examples[1])
    torch.export.save(made, str(out))
    source.read(out, shapes)
    found = [pins.Pin(site=name, low=low, high=high, fingerprint=values[name]) for name, (low, high) in ranges.items()]
    pins.write(pins.beside(out), found)
    return Converted(ranges=len(found), notes=(SHORT.format(short),) if short else ())


def _word(node: Any) -> str:
    packet = getattr(node.target, "overloadpacket", None)
    return str(packet.__name__) if node.op == "call_function" and packet is not None else ""


def _stripped(path: Path, module: Any) -> tuple[dict[str, tuple[float, float]], int]:
    """Take the rounding out of a graph module, in place; return ranges by node, and channels that fall short."""
    import torch

    ranges: dict[str, tuple[float, float]] = {}
    short = 0
    for node in list(module.graph.nodes):
        if not _word(node).startswith("dequantize_per_"):
            continue
        source = node.args[0]
        if source.op == "get_attr":
            integers = _tensor(module, source)
            scale, zero, axis = _grid(module, node)
            values = _floats(integers, scale, zero, axis)
            short += falling_short(integers.numpy(), zero, axis)
        elif _word(source).startswith("quantize_per_") and source.args[0].op == "get_attr":
            values = torch.from_numpy(_rounded(module, source))
        elif _word(source).startswith("quantize_per_tensor"):
            scale, zero, _ = _grid(module, source)
            low, high = source.args[3:5]
            ranges.setdefault(source.args[0].name, (float((low - zero) * scale), float((high - zero) * scale)))
            node.replace_all_uses_with(source.args[0])
            continue
        else:
            raise ModelError(
                f"{path}: {node.name!r} dequantizes what {source.name!r} computes in integers.", hint=_AGAIN
            )
        name = f"weight_{node.name}"
        module.register_parameter(name, torch.nn.Parameter(values))
        with module.graph.inserting_before(node):
            node.replace_all_uses_with(module.graph.get_attr(name))
    module.graph.eliminate_dead_code()
    left = [node.name for node in module.graph.nodes if "quantize_per_" in _word(node)]
    if left:
        raise ModelError(f"{path}: what {left[0]!r} quantizes is read as integers.", hint=_AGAIN)
    module.recompile()
    return ranges, short


def _tensor(module: Any, node: Any) -> Any:
    value = module
    for word in str(node.target).split("."):
        value = getattr(value, word)
    return value.detach()


def _number(module: Any, value: Any) -> Array:
    return _tensor(module, value).numpy() if hasattr(value, "op") else np.asarray(value)


def _grid(module: Any, node: Any) -> tuple[Array, Array, int | None]:
    """Return scale and zero point of a node, float64, and the axis that they run along."""
    scale = _number(module, node.args[1]).astype(np.float64)
    zero = np.zeros_like(scale) if node.args[2] is None else _number(module, node.args[2]).astype(np.float64)
    return scale, zero, int(node.args[3]) if _word(node).endswith("channel") else None


def _spread(values: Array, rank: int, axis: int | None) -> Array:
    if axis is None:
        return values.reshape(())
    return values.reshape([-1 if index == axis % rank else 1 for index in range(rank)])


def _floats(integers: Any, scale: Array, zero: Array, axis: int | None) -> Any:
    import torch

    wide = integers.numpy().astype(np.float64)
    made = (wide - _spread(zero, wide.ndim, axis)) * _spread(scale, wide.ndim, axis)
    return torch.from_numpy(made.astype(np.float32))


def _rounded(module: Any, node: Any) -> Array:
    """Return a float weight as a quantize and a dequantize make it."""
    weight = _tensor(module, node.args[0]).numpy().astype(np.float64)
    scale, zero, axis = _grid(module, node)
    scale, zero = _spread(scale, weight.ndim, axis), _spread(zero, weight.ndim, axis)
    low, high = node.args[4:6] if axis is not None else node.args[3:5]
    return np.asarray((np.clip(np.rint(weight / scale) + zero, low, high) - zero) * scale, np.float32)


def _examples(program: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    import torch
    from torch.utils import _pytree

    placeholders = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    leaves = [
        torch.zeros([int(size) if isinstance(size, int) else 1 for size in placeholders[name].shape],
                    dtype=placeholders[name].dtype)
        for name in program.graph_signature.user_inputs
    ]  # fmt: skip
    made: tuple[tuple[Any, ...], dict[str, Any]] = _pytree.tree_unflatten(leaves, program.call_spec.in_spec)
    return made


def _marks(module: Any, program: Any) -> dict[str, pins.Fingerprint]:
    """Run the float graph on made-up inputs and take the fingerprint of everything it makes."""
    import torch

    from toolkit.core.artifacts import Signature, TensorSpec

    leaves = [value for part in _examples(program) for value in (part.values() if isinstance(part, dict) else part)]
    specs = tuple(
        TensorSpec(name=f"{index}", dtype=str(value.dtype).removeprefix("torch."), shape=tuple(value.shape))
        for index, value in enumerate(leaves)
    )
    feeds = probe_feeds(Signature(inputs=specs, outputs=()))
    found: dict[str, pins.Fingerprint] = {}

    class Seeing(torch.fx.Interpreter):  # type: ignore[misc]
        def run_node(self, n: Any) -> Any:
            value = super().run_node(n)
            if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel():
                found[n.name] = pins.fingerprint(value.detach().numpy())
            return value

    with torch.no_grad():
        Seeing(module).run(*(torch.from_numpy(values) for values in feeds.values()), enable_io_processing=False)
    return found
