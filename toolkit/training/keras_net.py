"""Keras 3 on TensorFlow: a functional model as a trainee. Runs in a child process only.

The model's graph is walked operation by operation with other values in the place of its variables, so that every
built-in layer takes part without being written anew. What is saved is the model that came, with other numbers: a folded
batch normalisation keeps its place and becomes the identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.artifacts import Signature
from toolkit.core.errors import ModelError
from toolkit.core.layers import Layer
from toolkit.core.ports import Array, Feeds
from toolkit.core.probe import probe_feeds
from toolkit.training import _keras_graph
from toolkit.training._keras_rounding import adam, loss_of, round_activation, round_weight
from toolkit.training.trainee import Floats, Goal, Rounding, State, Weight

_SITE_SCALES = "sites/scale"
Visit = Callable[[str, Any], Any]


class KerasNet:
    """A loaded model; see :class:`toolkit.training.trainee.Trainee`."""

    def __init__(self, model: Any, signature: Signature, seed: int) -> None:
        import keras
        import tensorflow as tf

        keras.utils.set_random_seed(seed)
        tf.config.experimental.enable_op_determinism()
        self._model = model
        self._signature = signature
        self._surgery = _keras_graph.plan(model)
        self.layers: tuple[Layer, ...] = tuple(self._surgery.layers)
        self._names = _names_of(model.variables)
        self._trained: dict[str, Any] = {}
        self._own: dict[str, Any] = {}
        self._zeros: list[Any] = []
        self._take_variables()
        for operation in self._surgery.operations:
            if id(operation) in self._surgery.activations:
                operation.activation = keras.activations.linear
        self._rounding, self._learned = Rounding(), False
        self._goals: tuple[Goal, ...] = ()
        self._masks: dict[str, Any] = {}
        self._tables: dict[str, Any] = {}
        self._moments: dict[str, tuple[Any, Any]] = {}
        self._steps = tf.Variable(0.0)
        self._compiled: dict[tuple[object, ...], Any] = {}
        axes = {None if tensor.shape[0] is None else int(tensor.shape[0]) for tensor in model.inputs}
        fixed = axes.pop() if len(axes) == 1 else None
        self.batch: int | None = fixed
        self.sites: tuple[str, ...] = tuple(self._find_sites())
        self._ranges = tf.Variable(np.zeros((2, len(self.sites)), np.float32))
        self._trained[_SITE_SCALES] = tf.Variable(np.zeros((2, len(self.sites)), np.float32))

    def _take_variables(self) -> None:
        """Make a variable of our own for each that is trained, batch normalisation folded."""
        import tensorflow as tf

        held = {id(variable) for norm in self._norms() for variable in norm.variables}
        for variable in self._model.trainable_variables:
            if id(variable) not in held:
                name = self._names[id(variable)]
                self._own[name] = variable
                self._trained[name] = tf.Variable(variable.numpy())
        for fold in self._surgery.folds.values():
            factor, shift = _keras_graph.factor_of(fold.norm)
            bias = getattr(fold.layer, "bias", None)
            if bias is not None:
                shift = shift + factor * bias.numpy()
                self._zeros.append(bias)
                name = self._names[id(bias)]
                self._trained.pop(name, None)
                self._own.pop(name, None)
            for kernel in self._surgery.kernels:
                if kernel.variable is _kernel_of(fold.layer):
                    name = self._names[id(kernel.variable)]
                    folded = kernel.variable.numpy() * _keras_graph.spread(factor, kernel)
                    self._own[name] = kernel.variable
                    self._trained[name] = tf.Variable(folded.astype(np.float32))
            self._trained[_bias_of(fold.name)] = tf.Variable(shift.astype(np.float32))

    def _norms(self) -> list[Any]:
        inner = self._model._flatten_layers()  # noqa: SLF001  (the public `layers` stops at nested models)
        return [layer for layer in inner if type(layer).__name__ == "BatchNormalization"]

    def _find_sites(self) -> list[str]:
        import tensorflow as tf

        found: list[str] = []

        def visit(site: str, value: Any) -> Any:
            if site not in found and getattr(value, "dtype", None) == tf.float32:
                found.append(site)
            return value

        self._walk(self._tensors(probe_feeds(self._signature)), visit, rounded=False)
        return found

    def arrange(self, rounding: Rounding, goals: tuple[Goal, ...], *, learned: bool) -> None:
        self._rounding, self._goals, self._learned = rounding, goals, learned
        self._compiled.clear()

    def is_rounded(self, site: str) -> bool:
        return site.removesuffix(_LINEAR) not in self._rounding.floats

    def run(self, feeds: Feeds, symmetric: bool | None) -> dict[str, Array]:
        def forward(*inputs: Any) -> list[Any]:
            visit = self._rounding_visit(bool(symmetric)) if symmetric is not None else _pass_on
            return self._walk(inputs, visit, rounded=symmetric is not None)

        outputs = self._compile(("run", symmetric), forward)(*self._tensors(feeds))
        return {spec.name: value.numpy() for spec, value in zip(self._signature.outputs, outputs, strict=True)}

    def survey(self, feeds: Feeds, *, rounded: bool) -> tuple[Floats, Floats]:
        import tensorflow as tf

        def ends(*inputs: Any) -> list[Any]:
            seen: dict[str, Any] = {}

            def visit(site: str, value: Any) -> Any:
                if site in self.sites:
                    now = tf.stack([tf.reduce_min(value), tf.reduce_max(value)])
                    seen[site] = _wider(seen[site], now) if site in seen else now
                return value

            self._walk(inputs, visit, rounded=rounded)
            return [seen[site] for site in self.sites]

        made = self._compile(("survey", rounded), ends)(*self._tensors(feeds))
        both = np.stack([value.numpy() for value in made])
        return both[:, 0], both[:, 1]

    def trace(self, feeds: Feeds) -> dict[str, Array]:
        seen: dict[str, Array] = {}

        def visit(site: str, value: Any) -> Any:
            if site in self.sites:
                seen.setdefault(site, value.numpy())
            return value

        self._walk(self._tensors(feeds), visit, rounded=False)
        return seen

    def set_ranges(self, low: Floats, high: Floats) -> None:
        self._ranges.assign(np.stack([low, high]))
        self._trained[_SITE_SCALES].assign(np.zeros((2, len(self.sites)), np.float32))

    def ranges(self) -> tuple[Floats, Floats]:
        low, high = self._ranges.numpy() * np.exp(self._trained[_SITE_SCALES].numpy())
        return low, high

    def step(self, feeds: Feeds, targets: Feeds, rate: float, *, symmetric: bool) -> float:
        import tensorflow as tf

        count = len(self._signature.inputs)

        def one(pace: Any, *tensors: Any) -> Any:
            inputs, wanted = tensors[:count], tensors[count:]
            moved = {name: value for name, value in self._trained.items() if self._moves(name)}
            with tf.GradientTape() as tape:
                outputs = self._walk(inputs, self._rounding_visit(symmetric), rounded=True)
                by_name = {spec.name: value for spec, value in zip(self._signature.outputs, outputs, strict=True)}
                losses = [
                    loss_of(goal, by_name[goal.output], want) for goal, want in zip(self._goals, wanted, strict=True)
                ]
                loss = tf.reduce_mean(tf.stack(losses))
            gradients = tape.gradient(loss, list(moved.values()))
            number = self._steps.assign_add(1.0)
            for name, gradient in zip(moved, gradients, strict=True):
                if gradient is not None:
                    adam(moved[name], gradient, self._moments[name], number, pace)
            return loss

        for name in self._trained:
            if self._moves(name) and name not in self._moments:
                zeros = np.zeros(self._trained[name].shape, np.float32)
                self._moments[name] = (tf.Variable(zeros), tf.Variable(zeros))
        arrays = [*self._tensors(feeds), *(tf.constant(targets[goal.output]) for goal in self._goals)]
        return float(self._compile(("step", symmetric), one)(tf.constant(rate, tf.float32), *arrays))

    def weights(self) -> dict[str, Weight]:
        return {
            self._names[id(kernel.variable)]: Weight(
                layer=kernel.layer,
                values=self._effective(self._names[id(kernel.variable)]).numpy(),
                kept=kernel.kept,
                prunable=kernel.prunable,
            )
            for kernel in self._surgery.kernels
            if self._names[id(kernel.variable)] in self._trained
        }

    def prune(self, masks: Mapping[str, NDArray[np.bool_]]) -> None:
        import tensorflow as tf

        for name, mask in masks.items():
            if name not in self._masks:
                self._masks[name] = tf.Variable(mask.astype(np.float32))
                self._compiled.clear()
            self._masks[name].assign(mask.astype(np.float32))

    def cluster(self, tables: Mapping[str, tuple[Floats, NDArray[np.int32]]]) -> None:
        import tensorflow as tf

        for name, (table, index) in tables.items():
            self._tables[name] = tf.constant(index)
            self._trained[_table_of(name)] = tf.Variable(table)
            if not table.all():
                self._masks[name] = tf.Variable((table[index] != 0).astype(np.float32))
        self._compiled.clear()

    def state(self) -> State:
        plain: State = {f"value/{name}": value.numpy() for name, value in self._trained.items()}
        for name, moments in self._moments.items():
            plain |= {f"moment{number}/{name}": value.numpy() for number, value in enumerate(moments)}
        plain |= {f"mask/{name}": mask.numpy().astype(np.uint8) for name, mask in self._masks.items()}
        plain |= {f"index/{name}": index.numpy() for name, index in self._tables.items()}
        return plain | {"ranges": self._ranges.numpy(), "steps": np.array(self._steps.numpy(), np.int64)}

    def restore(self, state: Mapping[str, Array]) -> None:
        import tensorflow as tf

        self.prune({name[5:]: values.astype(np.bool_) for name, values in state.items() if name.startswith("mask/")})
        tables = {name[6:]: values for name, values in state.items() if name.startswith("index/")}
        self.cluster({name: (state[f"value/{_table_of(name)}"], index) for name, index in tables.items()})
        for name, value in self._trained.items():
            saved = state.get(f"value/{name}")
            if saved is None or saved.shape != tuple(value.shape):
                raise ModelError(f"The checkpoint holds no {name!r} of shape {tuple(value.shape)}.")
            value.assign(saved)
            if f"moment0/{name}" in state:
                self._moments[name] = tuple(tf.Variable(state[f"moment{n}/{name}"]) for n in (0, 1))
        self._ranges.assign(state["ranges"])
        self._steps.assign(float(state["steps"]))
        self._compiled.clear()

    def save(self, model: Path) -> tuple[Path, ...]:
        for name, variable in self._own.items():
            variable.assign(self._effective(name).numpy())
        for variable in self._zeros:
            variable.assign(np.zeros(variable.shape, np.float32))
        for fold in self._surgery.folds.values():
            _keras_graph.make_identity(fold.norm, self._trained[_bias_of(fold.name)].numpy())
        for operation in self._surgery.operations:
            if id(operation) in self._surgery.activations:
                operation.activation = self._surgery.activations[id(operation)]
        self._model.save(model)
        return ()

    def _compile(self, key: tuple[object, ...], function: Callable[..., Any]) -> Any:
        import tensorflow as tf

        if key not in self._compiled:
            self._compiled[key] = tf.function(function, autograph=False, reduce_retracing=True)
        return self._compiled[key]

    def _tensors(self, feeds: Feeds) -> list[Any]:
        import tensorflow as tf

        return [tf.constant(feeds[spec.name]) for spec in self._signature.inputs]

    def _moves(self, name: str) -> bool:
        if name == _SITE_SCALES:
            return self._learned and self._rounding.activation_bits < 32
        return name not in self._tables

    def _effective(self, name: str) -> Any:
        """Return a weight as it is before rounding."""
        import tensorflow as tf

        if name in self._tables:
            value = tf.gather(self._trained[_table_of(name)], self._tables[name])
        else:
            value = tf.convert_to_tensor(self._trained[name])
        return value * self._masks[name] if name in self._masks else value

    def _values_now(self, *, rounded: bool) -> list[tuple[Any, Any]]:
        """Return what stands in the place of each variable of the model."""
        import tensorflow as tf

        kernels = {self._names[id(kernel.variable)]: kernel for kernel in self._surgery.kernels}
        values = []
        for name, variable in self._own.items():
            value = self._effective(name)
            if name in kernels and rounded:
                kept = kernels[name].kept if self._rounding.per_channel else ()
                value = round_weight(value, self._rounding.bits_of(kernels[name].layer), kept)
            values.append((variable, value))
        return values + [(variable, tf.zeros(variable.shape)) for variable in self._zeros]

    def _rounding_visit(self, symmetric: bool) -> Visit:
        import tensorflow as tf

        if self._rounding.activation_bits == 32:
            return _pass_on
        places = {site: place for place, site in enumerate(self.sites)}
        scales = self._trained[_SITE_SCALES] if self._learned else tf.stop_gradient(self._trained[_SITE_SCALES])
        ends = self._ranges * tf.exp(scales)

        def visit(site: str, value: Any) -> Any:
            if site not in places or not self.is_rounded(site):
                return value
            low, high = ends[0, places[site]], ends[1, places[site]]
            return round_activation(value, (low, high), self._rounding.activation_bits, symmetric=symmetric)

        return visit

    def _walk(self, inputs: Any, visit: Visit, *, rounded: bool) -> list[Any]:
        """Run the model's graph with our values; ``visit`` sees each activation by name and may return another."""
        import keras

        norms = self._surgery.norms

        def call_of(operation: Any) -> Callable[..., Any]:
            inner = _keras_graph.functional_of(operation)
            if inner is not None:
                return lambda *args, **_: inner._run_through_graph(args[0], call_of)  # noqa: SLF001
            if id(operation) in norms:
                name = norms[id(operation)].name
                return lambda x, **_: self._seen(operation, x + self._trained[_bias_of(name)], visit)
            return lambda *args, **kwargs: self._seen(operation, operation(*args, **kwargs), visit)

        given = [visit(spec.name, value) for spec, value in zip(self._signature.inputs, inputs, strict=True)]
        graph = _keras_graph.functional_of(self._model)
        assert graph is not None, "the model was looked over before"
        with keras.StatelessScope(state_mapping=self._values_now(rounded=rounded)):
            return list(keras.tree.flatten(graph._run_through_graph(given, call_of)))  # noqa: SLF001

    def _seen(self, operation: Any, value: Any, visit: Visit) -> Any:
        name = self._surgery.names[id(operation)]
        activation = self._surgery.activations.get(id(operation))
        if activation is not None:
            if activation.__name__ not in ("relu", "relu6"):
                value = visit(name + _LINEAR, value)
            value = activation(value)
            return value if activation.__name__ in ("softmax", "log_softmax") else visit(name, value)
        return value if id(operation) in self._surgery.silent or not hasattr(value, "dtype") else visit(name, value)


_LINEAR = ":linear"


def _pass_on(site: str, value: Any) -> Any:
    return value


def _wider(one: Any, other: Any) -> Any:
    import tensorflow as tf

    return tf.stack([tf.minimum(one[0], other[0]), tf.maximum(one[1], other[1])])


def _names_of(variables: list[Any]) -> dict[int, str]:
    """Return a name for each variable: its path, numbered where two have the same."""
    names: dict[int, str] = {}
    for variable in variables:
        path = str(variable.path)
        count = sum(known.partition("#")[0] == path for known in names.values())
        names[id(variable)] = f"{path}#{count}" if count else path
    return names


def _kernel_of(layer: Any) -> Any:
    return layer._kernel if hasattr(layer, "_kernel") else layer.kernel  # noqa: SLF001  (Dense and Conv hide it)


def _bias_of(name: str) -> str:
    return f"folded/{name}"


def _table_of(name: str) -> str:
    return f"table/{name}"
