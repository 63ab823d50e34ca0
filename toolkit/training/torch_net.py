"""PyTorch: an exported program as a trainee. Runs in a child process only.

The program is of batch 1 as a rule; ``torch.vmap`` runs it over a batch, so that no operator with a size written into
it has to be changed. What is saved is the program it came as, with other numbers: a folded batch normalisation keeps
its place and becomes the identity, so a state dictionary fits the module it was exported from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.artifacts import Signature
from toolkit.core.errors import ModelError
from toolkit.core.layers import Layer
from toolkit.core.ports import Array, Feeds
from toolkit.training import _torch_graph
from toolkit.training._torch_rounding import adam, loss_of, round_activation, round_weight
from toolkit.training.trainee import Floats, Goal, Rounding, State, Weight

_SITE_SCALES = "sites/scale"


class TorchNet:
    """An ``ExportedProgram``; see :class:`toolkit.training.trainee.Trainee`."""

    def __init__(self, program: Any, signature: Signature, seed: int) -> None:
        import torch

        torch.set_num_threads(min(4, os.cpu_count() or 1))
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(seed)
        self._program = program
        self._signature = signature
        module = program.module(check_guards=False)
        self._graph = module.graph
        known = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        self._constants = {node.target: _attribute(module, node.target).detach() for node in self._nodes("get_attr")}
        self._surgery = _torch_graph.plan(self._graph, {**self._constants, **known})
        self._trained: dict[str, Any] = {}
        trainable = {name for name, _ in module.named_parameters()}
        norms = {name for fold in self._surgery.folds.values() for name in (fold.scale, fold.shift) if name}
        for name in sorted(trainable & self._constants.keys() - norms - self._norm_parameters()):
            self._trained[name] = self._constants[name].clone()
        self._fold()
        size = signature.inputs[0].shape[0] if signature.inputs[0].shape else 1
        self.batch: int | None = None if size == 1 else size
        self.layers: tuple[Layer, ...] = tuple(self._surgery.layers)
        self.sites: tuple[str, ...] = tuple(self._surgery.sites)
        self._masks: dict[str, Any] = {}
        self._tables: dict[str, Any] = {}
        self._rounding, self._learned = Rounding(), False
        self._goals: tuple[Goal, ...] = ()
        self._low = self._high = torch.zeros(len(self.sites))
        self._moments: dict[str, tuple[Any, Any]] = {}
        self._steps = 0
        self._prepare()

    def _nodes(self, op: str) -> list[Any]:
        return [node for node in self._graph.nodes if node.op == op]

    def _norm_parameters(self) -> set[str]:
        """Scale and shift of normalisations that could not be folded: they stay as their statistics do."""
        return {
            str(argument.target)
            for node in self._graph.nodes
            if _torch_graph.word(node) in ("batch_norm", "_native_batch_norm_legit_no_training")
            for argument in node.args[1:3]
            if argument is not None
        }

    def _fold(self) -> None:
        import torch

        for node, fold in self._surgery.folds.items():
            used = self._surgery.used[node]
            weight = self._trained.get(used.parameter, self._constants[used.parameter])
            factor = 1 / torch.sqrt(self._constants[fold.variance] + fold.epsilon)
            if fold.scale:
                factor = factor * self._constants[fold.scale]
            shape = [-1 if axis in used.kept else 1 for axis in range(weight.dim())]
            bias = self._constants[used.bias] if used.bias else 0
            shift = self._constants[fold.shift] if fold.shift else 0
            self._trained[used.parameter] = weight * factor.reshape(shape)
            self._trained.pop(used.bias or "", None)
            self._trained[_bias_of(node)] = (bias - self._constants[fold.mean]) * factor + shift

    def _prepare(self) -> None:
        import torch

        self._trained[_SITE_SCALES] = torch.zeros(2, len(self.sites))
        for value in self._trained.values():
            value.requires_grad_(True)

    def arrange(self, rounding: Rounding, goals: tuple[Goal, ...], *, learned: bool) -> None:
        self._rounding, self._goals, self._learned = rounding, goals, learned

    def is_rounded(self, site: str) -> bool:
        return site not in {layer.aliases[0] for layer in self.layers if layer.name in self._rounding.floats}

    def run(self, feeds: Feeds, symmetric: bool | None) -> dict[str, Array]:
        import torch

        with torch.no_grad():
            outputs, _ = self._pass(self._leaves(feeds), symmetric, rounded=symmetric is not None)
        return {
            spec.name: value.contiguous().numpy() for spec, value in zip(self._signature.outputs, outputs, strict=True)
        }

    def survey(self, feeds: Feeds, *, rounded: bool) -> tuple[Floats, Floats]:
        import torch

        with torch.no_grad():
            _, seen = self._pass(
                self._leaves(feeds), None, rounded=rounded, look=lambda x: torch.stack([x.min(), x.max()])
            )
        ends = np.stack([value.reshape(-1, 2).numpy() for value in seen])
        return ends[..., 0].min(axis=1), ends[..., 1].max(axis=1)

    def trace(self, feeds: Feeds) -> dict[str, Array]:
        import torch

        with torch.no_grad():
            _, seen = self._pass(self._leaves(feeds), None, rounded=False, look=lambda x: x.clone())
        return {name: value.numpy() for name, value in zip(self.sites, seen, strict=True)}

    def set_ranges(self, low: Floats, high: Floats) -> None:
        import torch

        self._low, self._high = (torch.from_numpy(np.asarray(end, np.float32).copy()) for end in (low, high))
        with torch.no_grad():
            self._trained[_SITE_SCALES].zero_()

    def ranges(self) -> tuple[Floats, Floats]:
        scales = self._trained[_SITE_SCALES].detach().exp()
        return (self._low * scales[0]).numpy(), (self._high * scales[1]).numpy()

    def step(self, feeds: Feeds, targets: Feeds, rate: float, *, symmetric: bool) -> float:
        import torch

        outputs, _ = self._pass(self._leaves(feeds), symmetric, rounded=True)
        by_name = {spec.name: value for spec, value in zip(self._signature.outputs, outputs, strict=True)}
        losses = [loss_of(goal, by_name[goal.output], torch.from_numpy(targets[goal.output])) for goal in self._goals]
        loss = torch.stack(losses).mean()
        moved = {name: value for name, value in self._trained.items() if self._moves(name)}
        gradients = torch.autograd.grad(loss, list(moved.values()), allow_unused=True)
        self._steps += 1
        with torch.no_grad():
            for (name, value), gradient in zip(moved.items(), gradients, strict=True):
                if gradient is not None:
                    zeros = (torch.zeros_like(value), torch.zeros_like(value))
                    moments = self._moments.get(name, zeros)
                    self._moments[name] = adam(value, gradient, moments, self._steps, rate)
        return float(loss.detach())

    def weights(self) -> dict[str, Weight]:
        found = {}
        for layer, (node, used) in self._weighted().items():
            values = self._effective(used.parameter).detach().numpy().copy()
            found[used.parameter] = Weight(
                layer=layer, values=values, kept=used.kept, prunable=self._surgery.used[node].prunable
            )
        return found

    def _weighted(self) -> dict[str, tuple[str, _torch_graph.Used]]:
        nodes = [layer.aliases[0] for layer in self.layers if layer.weighted]
        names = {layer.aliases[0]: layer.name for layer in self.layers}
        return {names[node]: (node, self._surgery.used[node]) for node in nodes}

    def prune(self, masks: Mapping[str, NDArray[np.bool_]]) -> None:
        import torch

        self._masks = {name: torch.from_numpy(mask.astype(np.float32)) for name, mask in masks.items()}

    def cluster(self, tables: Mapping[str, tuple[Floats, NDArray[np.int32]]]) -> None:
        import torch

        for name, (table, index) in tables.items():
            self._tables[name] = torch.from_numpy(index.astype(np.int64))
            self._trained[_table_of(name)] = torch.from_numpy(table.copy()).requires_grad_(True)
            if not table.all():
                self._masks[name] = torch.from_numpy((table[index] != 0).astype(np.float32))

    def state(self) -> State:
        plain: State = {f"value/{name}": value.detach().numpy().copy() for name, value in self._trained.items()}
        for name, moments in self._moments.items():
            plain |= {f"moment{number}/{name}": value.numpy().copy() for number, value in enumerate(moments)}
        plain |= {f"mask/{name}": mask.numpy().astype(np.uint8) for name, mask in self._masks.items()}
        plain |= {f"index/{name}": index.numpy().astype(np.int32) for name, index in self._tables.items()}
        return plain | {
            "ranges": np.stack([self._low.numpy(), self._high.numpy()]),
            "steps": np.array(self._steps, np.int64),
        }

    def restore(self, state: Mapping[str, Array]) -> None:
        import torch

        for name, values in state.items():
            kind, _, own = name.partition("/")
            if kind == "mask":
                self._masks[own] = torch.from_numpy(values.astype(np.float32))
            elif kind == "index":
                self._tables[own] = torch.from_numpy(values.astype(np.int64))
                self._trained.setdefault(_table_of(own), torch.from_numpy(state[f"value/{_table_of(own)}"].copy()))
        for name, value in self._trained.items():
            saved = state.get(f"value/{name}")
            if saved is None or saved.shape != tuple(value.shape):
                raise ModelError(f"The checkpoint holds no {name!r} of shape {tuple(value.shape)}.")
            self._trained[name] = torch.from_numpy(saved.copy()).requires_grad_(True)
            if f"moment0/{name}" in state:
                self._moments[name] = tuple(torch.from_numpy(state[f"moment{n}/{name}"].copy()) for n in (0, 1))
        self._low, self._high = (torch.from_numpy(end.copy()) for end in state["ranges"])
        self._steps = int(state["steps"])

    def save(self, model: Path) -> tuple[Path, ...]:
        import torch

        made = self._unfolded()
        with torch.no_grad():
            for name, values in made.items():
                self._program.state_dict[name].copy_(values)
        torch.export.save(self._program, str(model))
        state = model.with_suffix(".state.npz")
        with state.open("wb") as file:
            np.savez(file, **{name: value.detach().numpy() for name, value in self._program.state_dict.items()})
        return (state,)

    def _unfolded(self) -> dict[str, Any]:
        """Return the tensors of the state dictionary that differ from what came in."""
        import torch

        names = set(self._program.state_dict)
        weights = {used.parameter for used in self._surgery.used.values()}
        made = {
            name: self._effective(name) if name in weights else value
            for name, value in self._trained.items()
            if name in names
        }
        for node, fold in self._surgery.folds.items():
            used = self._surgery.used[node]
            variance = self._constants[fold.variance]
            bias = self._trained[_bias_of(node)]
            if used.bias:
                made[used.bias] = torch.zeros_like(bias)
            if fold.scale and fold.shift:
                made[fold.scale] = torch.sqrt(variance + fold.epsilon)
                made[fold.shift], made[fold.mean] = bias, torch.zeros_like(bias)
            else:
                made[fold.variance], made[fold.mean] = torch.full_like(bias, 1 - fold.epsilon), -bias
        return made

    def _moves(self, name: str) -> bool:
        if name == _SITE_SCALES:
            return self._learned and self._rounding.activation_bits < 32
        return name not in self._tables

    def _leaves(self, feeds: Feeds) -> list[Any]:
        import torch

        return [torch.from_numpy(np.array(feeds[spec.name])) for spec in self._signature.inputs]

    def _effective(self, name: str) -> Any:
        """Return a weight as it is before rounding."""
        if name in self._tables:
            value = self._trained[_table_of(name)][self._tables[name]]
        else:
            value = self._trained.get(name, self._constants.get(name))
        return value * self._masks[name] if name in self._masks else value

    def _pass(
        self, leaves: list[Any], symmetric: bool | None, *, rounded: bool, look: Callable[[Any], Any] | None = None
    ) -> tuple[list[Any], list[Any]]:
        import torch

        rounds = symmetric is not None and self._rounding.activation_bits < 32
        walk = _Walk(self._weights_now(rounded), self._site_rounding(bool(symmetric)) if rounds else None, look)
        if self.batch is not None:
            return self._walk(walk, *leaves)

        def alone(*inputs: Any) -> tuple[list[Any], list[Any]]:
            return self._walk(walk, *(value.unsqueeze(0) for value in inputs))

        outputs, seen = torch.vmap(alone)(*leaves)
        return [value.flatten(0, 1) if value.dim() > 1 else value for value in outputs], seen

    def _weights_now(self, rounded: bool) -> dict[str, Any]:
        found = {}
        bits = {self._surgery.used[node].parameter: layer for layer, (node, _) in self._weighted().items()}
        for used in self._surgery.used.values():
            if used.parameter in found:
                continue
            value = self._effective(used.parameter)
            width = self._rounding.bits_of(bits[used.parameter]) if rounded else 32
            kept = used.kept if self._rounding.per_channel else ()
            found[used.parameter] = round_weight(value, width, kept)
        return found

    def _site_rounding(self, symmetric: bool) -> dict[str, Callable[[Any], Any]]:
        scales = self._trained[_SITE_SCALES].exp() if self._learned else self._trained[_SITE_SCALES].detach().exp()
        lows, highs = self._low * scales[0], self._high * scales[1]
        bits = self._rounding.activation_bits

        def rounding(place: int) -> Callable[[Any], Any]:
            return lambda x: round_activation(x, (lows[place], highs[place]), bits, symmetric=symmetric)

        return {name: rounding(place) for place, name in enumerate(self.sites) if self.is_rounded(name)}

    def _walk(self, walk: _Walk, *inputs: Any) -> tuple[list[Any], list[Any]]:
        from torch.utils import _pytree

        values: dict[Any, Any] = {}
        given = iter(inputs)
        for node in self._graph.nodes:
            if node.op == "output":
                made = _pytree.tree_leaves(_pytree.tree_map(lambda item: values.get(item, item), node.args[0]))
                return list(made), walk.seen_in(self.sites)
            if node.op == "placeholder":
                value = next(given)
            elif node.op == "get_attr":
                name = str(node.target)
                value = walk.weights[name] if name in walk.weights else self._trained.get(name, self._constants[name])
            else:
                value = self._call(node, values)
            values[node] = walk.at(node.name, value)
        raise AssertionError("a graph without an output")

    def _call(self, node: Any, values: dict[Any, Any]) -> Any:
        import torch.fx

        args = torch.fx.node.map_arg(node.args, lambda item: values[item])
        kwargs = torch.fx.node.map_arg(node.kwargs, lambda item: values[item])
        if node.name in self._surgery.norms:
            return (args[0],) if _torch_graph.word(node).startswith("_native") else args[0]
        if node.name in self._surgery.folds:
            args = (*args[:2], self._trained[_bias_of(node.name)], *args[3:])
        return node.target(*args, **kwargs)


class _Walk:
    """One pass: the weights it uses, what it does to activations, and what it looks at."""

    def __init__(
        self,
        weights: dict[str, Any],
        rounding: dict[str, Callable[[Any], Any]] | None,
        look: Callable[[Any], Any] | None,
    ) -> None:
        self.weights = weights
        self._rounding = rounding or {}
        self._look = look
        self._seen: dict[str, Any] = {}

    def at(self, name: str, value: Any) -> Any:
        if self._look is not None and hasattr(value, "dtype") and value.dtype.is_floating_point:
            self._seen[name] = self._look(value)
        return self._rounding[name](value) if name in self._rounding else value

    def seen_in(self, sites: tuple[str, ...]) -> list[Any]:
        return [self._seen[name] for name in sites] if self._look is not None else []


def _attribute(module: Any, path: str) -> Any:
    for word in path.split("."):
        module = getattr(module, word)
    return module


def _bias_of(node: str) -> str:
    return f"folded/{node}"


def _table_of(name: str) -> str:
    return f"table/{name}"
