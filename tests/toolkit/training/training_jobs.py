"""What the training tests do in child processes: small networks of both frameworks through every verb of a trainee."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core import discovery, pins
from toolkit.core.artifacts import Range, Signature
from toolkit.core.probe import probe_feeds, relative_error
from toolkit.training import elsewhere, shrinking
from toolkit.training.trainee import Goal, Rounding, Trainee

SIDE, CLASSES = 8, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Exercise:
    """What a trainee did; errors are relative."""

    float_error: float
    weights_off_grid: float
    activations_off_grid: float
    sites: tuple[str, ...]
    folded: int
    losses: tuple[float, ...]
    same_after_restore: bool
    learned_moved: bool
    masked: bool
    clustered: int
    stayed_zero: bool
    saved_error: float
    kept_names: bool


def make_keras(path: Path) -> None:
    """A network with what folding meets: a normalisation with a scale, one after a bias, one that nothing precedes."""
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    image = keras.Input((SIDE, SIDE, 1), name="image")
    x = layers.BatchNormalization(name="first")(image)
    x = layers.Conv2D(6, 3, use_bias=False, name="stem")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="norm")(x))
    deep = layers.DepthwiseConv2D(3, padding="same", name="deep")
    plain = layers.BatchNormalization(scale=False, center=False, name="plain")
    inner = keras.Sequential([keras.Input((6, 6, 6)), deep, plain], name="block")
    y = layers.Conv2D(6, 1, activation="relu", name="point")(inner(x))
    x = layers.Flatten()(layers.MaxPooling2D()(layers.Add()([x, y])))
    model = keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="kind")(x))
    rng = np.random.default_rng(2)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.3, 2, weight.shape) for weight in layer.get_weights()])
    model.save(path)


def make_torch(path: Path) -> None:
    """The same for PyTorch, with a layer written as a product and an input of fixed batch."""
    import torch
    from torch import nn

    torch.manual_seed(1)

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.norm = nn.Conv2d(1, 6, 3, bias=False), nn.BatchNorm2d(6)
            self.deep, self.plain = nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.BatchNorm2d(6, affine=False)
            self.act = nn.ReLU6(inplace=True)
            self.line, self.product = nn.Linear(54, 8), nn.Parameter(torch.randn(8, CLASSES))

        def forward(self, x: Any) -> Any:
            x = self.act(self.norm(self.stem(x)))
            x = x + torch.relu(self.plain(self.deep(x)))
            x = nn.functional.max_pool2d(x, 2).view(1, -1)
            return self.line(x) @ self.product

    model = Net().eval()
    for norm in (model.norm, model.plain):
        for name, values in norm.named_buffers():
            if name != "num_batches_tracked":
                values.uniform_(0.3, 2)
    nn.init.uniform_(model.norm.weight, 0.3, 2)
    program = torch.export.export(model, (torch.rand(1, 1, SIDE, SIDE),), strict=False)
    torch.export.save(program, str(path))


def exercise(source: str, folder: Path) -> Exercise:
    """Make a network and take it through every verb."""
    module: Any = discovery.load("toolkit.sources", source)
    path = folder / ("net.keras" if source == "keras" else "net.pt2")
    (make_keras if source == "keras" else make_torch)(path)
    session = module.open_session(path, {})
    signature = session.signature
    probe = probe_feeds(signature)
    net = _trainee(source, module.load(path, {}), signature)
    float_error = relative_error(session.run(probe), net.run(probe, None))[1]
    session.close()
    rng = np.random.default_rng(4)
    (name,) = (spec.name for spec in signature.inputs)
    feeds = {name: rng.random((16, *signature.inputs[0].shape[1:]), np.float32)}
    output = signature.outputs[0].name
    teacher = {output: np.eye(CLASSES, dtype=np.float32)[np.arange(16) % CLASSES]}
    kind = "shares" if source == "keras" else "values"
    net.arrange(Rounding(weight_bits=4, activation_bits=8), (Goal(output=output, kind=kind),), learned=True)
    net.set_ranges(*net.survey(feeds, rounded=True))
    off = _grids(source)
    before = net.ranges()[1].copy()
    losses = tuple(net.step(feeds, teacher, 0.01, symmetric=bool(turn % 2)) for turn in range(12))
    learned = bool(np.abs(net.ranges()[1] - before).max() > 1e-4)
    middle = net.state()
    one = net.step(feeds, teacher, 0.01, symmetric=False)
    after = net.state()
    twin = _trainee(source, module.load(path, {}), signature)
    twin.arrange(Rounding(weight_bits=4, activation_bits=8), (Goal(output=output, kind=kind),), learned=True)
    twin.restore(middle)
    two = twin.step(feeds, teacher, 0.01, symmetric=False)
    again = twin.state()
    same = one == two and all(np.array_equal(after[key], again[key]) for key in after)
    weights = twin.weights()
    chosen = max(weights, key=lambda key: weights[key].values.size)
    mask = np.arange(weights[chosen].values.size).reshape(weights[chosen].values.shape) % 2 == 0
    twin.prune({chosen: mask})
    twin.step(feeds, teacher, 0.01, symmetric=True)
    masked = bool((twin.weights()[chosen].values[~mask] == 0).all())
    twin.cluster({chosen: shrinking.table_of(twin.weights()[chosen].values, 4)})
    twin.step(feeds, teacher, 0.01, symmetric=True)
    third = _trainee(source, module.load(path, {}), signature)
    third.restore(twin.state())
    shared = third.weights()[chosen].values
    expected = third.run(probe, None)
    saved = folder / f"saved{path.suffix}"
    third.save(saved)
    reopened = module.open_session(saved, {})
    return Exercise(
        float_error=float_error,
        weights_off_grid=off[0],
        activations_off_grid=off[1],
        sites=net.sites,
        folded=sum(key.startswith("value/folded/") for key in middle),
        losses=losses,
        same_after_restore=same,
        learned_moved=learned,
        masked=masked,
        clustered=len(np.unique(shared)),
        stayed_zero=bool((shared[~mask] == 0).all()),
        saved_error=relative_error(expected, reopened.run(probe))[1],
        kept_names=_names(source, module, path) == _names(source, module, saved),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What one step and a save did to a Keras model."""

    float_error: float
    sites: tuple[str, ...]
    losses: tuple[float, float]
    saved_error: float


def glance(folder: Path) -> Glance:
    """Take a Keras network through one step of training and save it."""
    module: Any = discovery.load("toolkit.sources", "keras")
    make_keras(folder / "net.keras")
    session = module.open_session(folder / "net.keras", {})
    probe, output = probe_feeds(session.signature), session.signature.outputs[0].name
    net = _trainee("keras", module.load(folder / "net.keras", {}), session.signature)
    float_error = relative_error(session.run(probe), net.run(probe, None))[1]
    net.arrange(Rounding(weight_bits=8, activation_bits=8), (Goal(output=output, kind="shares"),), learned=False)
    net.set_ranges(*net.survey(probe, rounded=True))
    wanted = {output: np.eye(CLASSES, dtype=np.float32)[:1]}
    losses = (net.step(probe, wanted, 0.01, symmetric=False), net.step(probe, wanted, 0.01, symmetric=False))
    expected = net.run(probe, None)
    net.save(folder / "saved.keras")
    saved = module.open_session(folder / "saved.keras", {}).run(probe)
    return Glance(float_error=float_error, sites=net.sites, losses=losses,
                  saved_error=relative_error(expected, saved)[1])  # fmt: skip


def _trainee(source: str, loaded: Any, signature: Signature) -> Trainee:
    if source == "keras":
        from toolkit.training.keras_net import KerasNet

        return KerasNet(loaded, signature, 0)
    from toolkit.training.torch_net import TorchNet

    return TorchNet(loaded, signature, 0)


def _names(source: str, module: Any, path: Path) -> list[str]:
    loaded = module.load(path, {})
    return sorted(loaded.state_dict) if source == "pytorch" else sorted(weight.path for weight in loaded.weights)


def _grids(source: str) -> tuple[float, float]:
    """Hold the formulas against the integers that ONNX's operators define."""
    from toolkit.targets.onnx.weights import to_integers

    rng = np.random.default_rng(8)
    weights = rng.normal(0, 1, (5, 7, 4)).astype(np.float32)
    values = rng.normal(0, 2, 500).astype(np.float32)
    low, high = np.float32(-1.3), np.float32(3.7)
    if source == "keras":
        import tensorflow as tf

        from toolkit.training import _keras_rounding as formulas

        turn: Any = tf.constant
    else:
        import torch

        from toolkit.training import _torch_rounding as formulas  # type: ignore[no-redef]

        turn = torch.tensor
    gaps = []
    for bits in (4, 8):
        ours = np.asarray(formulas.round_weight(turn(weights), bits, (2,)))
        theirs = to_integers(weights, 2, symmetric=True, bits=bits)
        gaps.append(np.abs(ours - theirs.values * theirs.scale).max())
    ours = np.asarray(formulas.round_activation(turn(values), (turn(low), turn(high)), 8, symmetric=False))
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    wanted = (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
    even = np.asarray(formulas.round_activation(turn(values), (turn(low), turn(high)), 8, symmetric=True))
    level = np.clip(np.rint(values / (high / 127)), -127, 127) * (high / 127)
    return float(max(gaps)), float(max(np.abs(ours - wanted).max(), np.abs(even - level).max()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What undoing a QDQ graph gave: the ranges by tensor, how far the weights are from those rounded, the words."""

    ranges: dict[str, Range]
    error: float
    notes: tuple[str, ...]
    refused: dict[str, str]


def undo_qdq(folder: Path) -> Undone:
    """Quantize a layer by hand in ONNX's operators, convert it, and try some graphs that cannot be."""
    import onnx

    from toolkit.core.errors import PalmtopError

    rng = np.random.default_rng(6)
    weight = rng.integers(-127, 128, (4, 3)).astype(np.int8)
    weight[0] = 127
    scale = np.array([0.01, 0.02, 0.03], np.float32)
    path, out = folder / "qdq.onnx", folder / "float.onnx"
    onnx.save(_qdq(weight, scale), path)
    made = elsewhere.convert(elsewhere.recognise(path) or "", path, {}, out)
    session: Any = discovery.load("toolkit.sources", "onnx").open_session(out, {})
    x = rng.random((1, 4), np.float32)
    error = float(np.abs(session.run({"x": x})["y"] - np.maximum(x @ (weight * scale), 0)).max())
    refused = {}
    for name, change in {"integers": {"read": "xq"}, "operator": {"operator": "QLinearMatMul"}}.items():
        odd = folder / f"{name}.onnx"
        onnx.save(_qdq(weight, scale, **change), odd)
        try:
            elsewhere.convert(elsewhere.QDQ, odd, {}, folder / f"{name}-out.onnx")
        except PalmtopError as fault:
            refused[name] = str(fault)
    found = {pin.site: Range(low=pin.low, high=pin.high) for pin in pins.read(pins.beside(out))}
    return Undone(ranges=found, error=error, notes=made.notes, refused=refused)


def _qdq(weight: np.ndarray, scale: np.ndarray, read: str = "xd", operator: str = "MatMul") -> Any:
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "w": weight, "ws": scale, "wz": np.zeros(3, np.int8), "s": np.float32(1 / 255), "z": np.uint8(0),
        "t": np.float32(0.05), "u": np.uint8(100),
    }  # fmt: skip
    make = helper.make_node
    nodes = [
        make("QuantizeLinear", ["x", "s", "z"], ["xq"]), make("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        make("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=1),
        make(operator, [read, "wd"], ["m"], name="product"),
        make("QuantizeLinear", ["m", "t", "u"], ["mq"]), make("DequantizeLinear", ["mq", "t", "u"], ["md"]),
        make("Relu", ["md"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "qdq",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def undo_pt2e(folder: Path) -> Undone:
    """Write a program in the form that PT2E quantization leaves, and convert it."""
    import torch
    from torch import nn
    from torch.ao.quantization.fx import _decomposed  # noqa: F401  (registers the operators)

    rounding = torch.ops.quantized_decomposed

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("w", torch.arange(-7, 5).reshape(3, 4).mul(18).to(torch.int8))
            self.register_buffer("s", torch.tensor([0.01, 0.02, 0.03]))
            self.register_buffer("z", torch.zeros(3, dtype=torch.int64))

        def forward(self, x: Any) -> Any:
            grid = (0.01, 128, 0, 255, torch.uint8)
            x = rounding.dequantize_per_tensor(rounding.quantize_per_tensor(x, *grid), *grid)
            w = rounding.dequantize_per_channel(self.w, self.s, self.z, 0, -128, 127, torch.int8)
            return torch.relu(nn.functional.linear(x, w))

    model = Net().eval()
    path, out = folder / "pt2e.pt2", folder / "float.pt2"
    torch.export.save(torch.export.export(model, (torch.rand(1, 4),)), str(path))
    made = elsewhere.convert(elsewhere.recognise(path) or "", path, {}, out)
    session: Any = discovery.load("toolkit.sources", "pytorch").open_session(out, {})
    x = np.random.default_rng(2).random((1, 4), np.float32)
    weight = model.w.numpy() * model.s.numpy()[:, None]
    (answer,) = session.run({session.signature.inputs[0].name: x}).values()
    found = {pin.site: Range(low=pin.low, high=pin.high) for pin in pins.read(pins.beside(out))}
    return Undone(ranges=found, error=float(np.abs(answer - np.maximum(x @ weight.T, 0)).max()), notes=made.notes,
                  refused={})  # fmt: skip


def undo_prepared(folder: Path) -> Undone:
    """Put fake quantization into a module as training does, and convert it."""
    out = folder / "float.pt2"
    made = elsewhere.convert(elsewhere.PREPARED, folder / "maker.py:make", {}, out)
    source: Any = discovery.load("toolkit.sources", "pytorch")
    model, _, _ = source.call(folder / "maker.py:make")
    x = np.random.default_rng(2).normal(0, 1, (1, 4)).astype(np.float32)
    session = source.open_session(out, {})
    (answer,) = session.run({session.signature.inputs[0].name: x}).values()
    line = model[1]
    wanted = x @ line.weight.detach().numpy().T + line.bias.detach().numpy()
    found = {pin.site: Range(low=pin.low, high=pin.high) for pin in pins.read(pins.beside(out))}
    return Undone(ranges=found, error=float(np.abs(answer - wanted).max()), notes=made.notes, refused={})


def write_tfmot(path: Path) -> None:
    """Write an HDF5 file as tf_keras does for a model under tfmot's wrappers: what of it a reader looks at."""
    import json

    import h5py

    rng = np.random.default_rng(9)
    quantizer = {"class_name": "Default8BitQuantizeConfig", "config": {"weight_attrs": ["kernel"]}}
    no_op = {"class_name": "QuantizeAwareActivation", "config": {"activation": {"class_name": "NoOpActivation",
                                                                                "config": {}}}}  # fmt: skip

    def wrapper(inner: str, config: dict[str, Any], name: str, source: str) -> dict[str, Any]:
        layer = {"class_name": inner, "config": {"name": name.removeprefix("quant_"), **config}}
        return {"class_name": "QuantizeWrapperV2", "name": name, "inbound_nodes": [[[source, 0, 0, {}]]],
                "config": {"name": name, "layer": layer, "quantize_config": quantizer}}  # fmt: skip

    layers = [
        {"class_name": "InputLayer", "name": "x", "inbound_nodes": [],
         "config": {"name": "x", "batch_input_shape": [None, 6, 6, 1], "dtype": "float32"}},
        {"class_name": "QuantizeLayer", "name": "quantize_layer", "inbound_nodes": [[["x", 0, 0, {}]]],
         "config": {"name": "quantize_layer", "quantizer": quantizer}},
        wrapper("DepthwiseConv2D", {"kernel_size": [3, 3], "groups": 1, "activation": no_op}, "quant_d",
                "quantize_layer"),
        wrapper("Flatten", {}, "quant_f", "quant_d"),
        wrapper("Dense", {"units": 2, "activation": "relu"}, "quant_k", "quant_f"),
    ]  # fmt: skip
    config = {"name": "net", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["quant_k", 0, 0]]}
    weights = {
        "x": {},
        "quantize_layer": {"quantize_layer/quantize_layer_min:0": -1.5, "quantize_layer/quantize_layer_max:0": 2},
        "quant_d": {"quant_d/post_activation_min:0": -3, "quant_d/post_activation_max:0": 3.5, "d/bias:0": np.zeros(1),
                    "d/depthwise_kernel:0": rng.normal(0, 1, (3, 3, 1, 1))},
        "quant_f": {},
        "quant_k": {"quant_k/pre_activation_min:0": -6, "quant_k/pre_activation_max:0": 6,
                    "k/kernel:0": rng.normal(0, 1, (16, 2)), "k/bias:0": np.ones(2)},
    }  # fmt: skip
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = b"2.21.0", b"tensorflow"
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": config}).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            inner = group.create_group(name)
            inner.attrs["weight_names"] = [full.encode() for full in arrays]
            for full, values in arrays.items():
                inner.create_dataset(full, data=np.asarray(values, np.float32))


def undo_tfmot(path: Path, out: Path) -> Undone:
    """Convert a wrapped file and compare with what its weights compute."""
    import h5py

    made = elsewhere.convert(elsewhere.TFMOT, path, {}, out)
    session: Any = discovery.load("toolkit.sources", "keras").open_session(out, {})
    x = np.random.default_rng(2).random((1, 6, 6, 1), np.float32)
    with h5py.File(path) as file:
        deep = file["model_weights/quant_d/d/depthwise_kernel:0"][()][:, :, 0, 0]
        dense = file["model_weights/quant_k/k/kernel:0"][()]
    flat = np.array([(x[0, i : i + 3, j : j + 3, 0] * deep).sum() for i in range(4) for j in range(4)])
    (answer,) = session.run({session.signature.inputs[0].name: x}).values()
    found = {pin.site: Range(low=pin.low, high=pin.high) for pin in pins.read(pins.beside(out))}
    error = float(np.abs(answer[0] - np.maximum(flat @ dense + 1, 0)).max())
    return Undone(ranges=found, error=error, notes=made.notes, refused={})
