"""Small transformers, and every recipe tried on one model in one child process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from seen_ranges import MinMax

from toolkit.core import discovery, signature
from toolkit.core.artifacts import Census, KeptFloat, LayerFact, Requirements, Signature
from toolkit.core.errors import PalmtopError
from toolkit.core.recipe import Recipe

WIDTH, HEADS, TOKENS, VOCABULARY = 32, 2, 8, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One recipe: the build's facts and its distance from the source, or what was said instead."""

    error: str = ""
    sqnr_db: float = 0.0
    size_bytes: int = 0
    signature: Signature | None = None
    kept_float: tuple[KeptFloat, ...] = ()
    layers: tuple[LayerFact, ...] = ()
    census: Census | None = None
    requirements: Requirements | None = None


def try_recipes(target: str, model: Path, recipes: tuple[Recipe, ...], folder: Path) -> dict[str, Trial]:
    """Convert an ONNX model, calibrate it on seeded noise and build every recipe."""
    source, module = discovery.load("toolkit.sources", "onnx"), discovery.load("toolkit.targets", target)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = source.read(model, {})
    source.export(model, "onnx", {}, folder / "form.onnx")
    converted = folder / f"float{module.SUFFIX}"
    bound = module.convert("onnx", folder / "form.onnx", wanted, converted)
    feeds = [_feeds(wanted, seed) for seed in range(12)]
    seen = MinMax()
    module.calibrate(converted, (signature.bind(one, bound) for one in feeds), seen.see)
    session = source.open_session(model, {})
    expected = [session.run(one) for one in feeds]
    return {recipe.name: _trial(module, converted, bound, recipe, (seen, feeds, expected)) for recipe in recipes}


def _trial(module: Any, converted: Path, bound: Signature, recipe: Recipe, known: Any) -> Trial:
    seen, feeds, expected = known
    out = converted.with_name(f"{recipe.name}{module.SUFFIX}")
    try:
        made = module.quantize(converted, recipe, seen.ranges() if recipe.needs_data else {}, out)
    except PalmtopError as error:
        return Trial(error=f"{error} {error.hint}")
    carried = Signature(
        inputs=tuple(_carried(spec, bound.inputs) for spec in made.signature.inputs),
        outputs=tuple(_carried(spec, bound.outputs) for spec in made.signature.outputs),
    )
    session = module.open_session(out, 1)
    found = [signature.unbind(session.run(signature.bind(one, carried)), carried) for one in feeds]
    facts = module.inspect(out)
    return Trial(
        sqnr_db=_sqnr_db(expected, found),
        size_bytes=facts.size_bytes,
        signature=made.signature,
        kept_float=made.kept_float,
        layers=facts.layers,
        census=made.census,
        requirements=facts.requirements,
    )


def _carried(spec: Any, known: tuple[Any, ...]) -> Any:
    from dataclasses import replace

    origin = next(one for one in known if one.name == spec.name)
    return replace(spec, source_name=origin.source_name, perm=origin.perm)


def _feeds(wanted: Signature, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    if wanted.inputs[0].name == "sound":  # loud tones and quiet ones, 60 dB apart
        time, tone = np.arange(512), rng.integers(1, 17, 2) / 64
        wave = np.sin(2 * np.pi * tone[0] * time) + 0.001 * np.sin(2 * np.pi * tone[1] * time)
        return {"sound": wave.astype(np.float32).reshape(wanted.inputs[0].shape)}
    return {
        spec.name: rng.normal(0, 1, spec.shape).astype(np.float32)
        if spec.dtype == "float32"
        else rng.integers(0, VOCABULARY, spec.shape).astype(spec.dtype)
        for spec in wanted.inputs
    }


def _sqnr_db(expected: list[dict[str, np.ndarray]], found: list[dict[str, np.ndarray]]) -> float:
    pairs = [
        (one[name].astype(np.float64), other[name]) for one, other in zip(expected, found, strict=True) for name in one
    ]
    noise = sum(float(np.square(one - other).sum()) for one, other in pairs)
    return float(10 * np.log10(sum(float(np.square(one).sum()) for one, _ in pairs) / max(noise, 1e-30)))


def make_text_encoder(out: Path) -> None:
    """Write an encoder as BERT's: embeddings, two blocks of attention and GELU, a tanh pooler, logits."""
    net = _Net(seed=7)
    tokens = net.node("Gather", [net.weight("words", VOCABULARY, WIDTH), "ids"], name="embed")
    hidden = net.norm(net.node("Add", [tokens, net.weight("positions", TOKENS, WIDTH)], name="place"), "embed_norm")
    for block in range(2):
        hidden = net.block(hidden, f"block_{block}", norm_first=False)
    first = net.node("Gather", [hidden, net.constant("zero", np.array(0))], name="first", axis=1)
    pooled = net.node("Tanh", [net.linear(first, "pool", WIDTH, WIDTH)], name="pool_tanh")
    net.write(out, net.linear(pooled, "classify", WIDTH, 4), ("ids", np.dtype(np.int64), [1, TOKENS]), [1, 4])


def make_spectrum_net(out: Path) -> None:
    """Write a net that hears: power by two convolutions, decibels from 0 down to -100, two layers behind."""
    net = _Net(seed=9)
    bands, taps = 16, 64
    time = np.arange(taps) / taps
    parts = []
    for name, wave in (("real", np.cos), ("imaginary", np.sin)):
        window = np.stack([wave(2 * np.pi * (1 + band) * time) * np.hanning(taps) for band in range(bands)])
        kernel = net.constant(f"{name}_w", (window / taps).astype(np.float32).reshape(bands, 1, 1, taps))
        made = net.node("Conv", ["sound", kernel], name=name, strides=[1, 32])
        parts.append(net.node("Mul", [made, made], name=f"{name}_square"))
    tiny = net.constant("tiny", np.array(1e-10, np.float32))
    power = net.node("Add", [net.node("Add", parts, name="power"), tiny], name="safe")
    part = net.constant("part", np.array(0.1, np.float32))
    bels = net.node("Mul", [net.node("Log", [power], name="log"), part], name="bels")
    maps = net.node("Conv", [bels, net.weight("hear_w", 8, bands, 1, 3)], name="hear", pads=[0, 1, 0, 1])
    pooled = net.node("GlobalAveragePool", [net.node("Relu", [maps], name="relu")], name="pool")
    flat = net.node("Flatten", [pooled], name="flat")
    net.write(out, net.linear(flat, "classify", 8, 4), ("sound", np.dtype(np.float32), [1, 1, 1, 512]), [1, 4])


def make_vision_encoder(out: Path) -> None:
    """Write a ViT: patches by a convolution, two pre-norm blocks, mean over the tokens, logits."""
    net = _Net(seed=8)
    patches = net.node(
        "Conv",
        ["image", net.weight("patch_w", WIDTH, 3, 4, 4), net.weight("patch_b", WIDTH)],
        name="patches",
        strides=[4, 4],
    )
    flat = net.node("Reshape", [patches, net.constant("flat", np.array([1, WIDTH, 16]))], name="flatten")
    hidden = net.node("Transpose", [flat], name="tokens", perm=[0, 2, 1])
    hidden = net.node("Add", [hidden, net.weight("positions", 16, WIDTH)], name="place")
    for block in range(2):
        hidden = net.block(hidden, f"block_{block}", norm_first=True)
    pooled = net.node("ReduceMean", [net.norm(hidden, "last_norm")], name="pool", axes=[1], keepdims=0)
    net.write(out, net.linear(pooled, "classify", WIDTH, 4), ("image", np.dtype(np.float32), [1, 3, 16, 16]), [1, 4])


class _Net:
    """An ONNX graph in the making: every method adds nodes and returns the name of what they make."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[Any] = []
        self._constants: dict[str, np.ndarray] = {}

    def constant(self, name: str, values: np.ndarray) -> str:
        self._constants[name] = values
        return name

    def weight(self, name: str, *shape: int) -> str:
        spread = 0.5 if len(shape) == 1 or name in ("words", "positions") else 1.5 / np.sqrt(np.prod(shape[1:]))
        return self.constant(name, self._rng.normal(0, spread, shape).astype(np.float32))

    def node(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(operator, inputs, [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def linear(self, x: str, name: str, inputs: int, outputs: int) -> str:
        product = self.node("MatMul", [x, self.weight(f"{name}_w", inputs, outputs)], name=name)
        return self.node("Add", [product, self.weight(f"{name}_b", outputs)], name=f"{name}_bias")

    def norm(self, x: str, name: str) -> str:
        scale = self.constant(f"{name}_scale", np.ones(WIDTH, np.float32) * 1.1)
        return self.node("LayerNormalization", [x, scale, self.weight(f"{name}_b", WIDTH)], name=name, axis=-1)

    def block(self, x: str, name: str, *, norm_first: bool) -> str:
        inner = self.norm(x, f"{name}/norm_a") if norm_first else x
        x = self.node("Add", [x, self._attention(inner, name)], name=f"{name}/add_a")
        x = x if norm_first else self.norm(x, f"{name}/norm_a")
        inner = self.norm(x, f"{name}/norm_b") if norm_first else x
        wide = self._gelu(self.linear(inner, f"{name}/up", WIDTH, 2 * WIDTH), name)
        x = self.node("Add", [x, self.linear(wide, f"{name}/down", 2 * WIDTH, WIDTH)], name=f"{name}/add_b")
        return x if norm_first else self.norm(x, f"{name}/norm_b")

    def _attention(self, x: str, name: str) -> str:
        split = self.constant("heads", np.array([1, -1, HEADS, WIDTH // HEADS]))
        parts = []
        for part, perm in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
            made = self.node(
                "Reshape", [self.linear(x, f"{name}/{part}", WIDTH, WIDTH), split], name=f"{name}/{part}_h"
            )
            parts.append(self.node("Transpose", [made], name=f"{name}/{part}_t", perm=perm))
        scores = self.node("MatMul", parts[:2], name=f"{name}/scores")
        root = self.constant("root", np.array(np.sqrt(WIDTH // HEADS), np.float32))
        weights = self.node(
            "Softmax", [self.node("Div", [scores, root], name=f"{name}/scale")], f"{name}/softmax", axis=-1
        )
        mixed = self.node("MatMul", [weights, parts[2]], name=f"{name}/mix")
        turned = self.node("Transpose", [mixed], name=f"{name}/mix_t", perm=[0, 2, 1, 3])
        joined = self.node("Reshape", [turned, self.constant("joined", np.array([1, -1, WIDTH]))], name=f"{name}/join")
        return self.linear(joined, f"{name}/out", WIDTH, WIDTH)

    def _gelu(self, x: str, name: str) -> str:
        two, one, half = (self.constant(key, np.array(value, np.float32)) for key, value in _GELU)
        curved = self.node("Erf", [self.node("Div", [x, two], name=f"{name}/gelu_div")], name=f"{name}/gelu_erf")
        raised = self.node("Mul", [x, self.node("Add", [curved, one], f"{name}/gelu_one")], name=f"{name}/gelu_mul")
        return self.node("Mul", [raised, half], name=f"{name}/gelu")

    def write(self, out: Path, result: str, entry: tuple[str, np.dtype[Any], list[int]], shape: list[int]) -> None:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        self._nodes.append(helper.make_node("Identity", [result], ["logits"], "logits_of"))
        name, dtype, size = entry
        graph = helper.make_graph(
            self._nodes,
            "transformer",
            [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), size)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(values, key) for key, values in self._constants.items()],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), out)


_GELU = (("root_two", 2.0**0.5), ("one", 1.0), ("half", 0.5))
