"""Programs of coremltools' own, made, executed and handled in child processes."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from coreml_source_jobs import sqnr_db

from toolkit.core.errors import DataError
from toolkit.core.recipe import load_recipe
from toolkit.targets import coreml
from toolkit.targets.coreml.foreign import coremltools, own_temporary_folder


def small_program(
    ct: Any, precision: Any, target: Any, halves: bool = False, **more: Any
) -> tuple[Any, np.ndarray, np.ndarray]:
    """A conv net with weights worth compressing: coremltools model, one input, and its output in float64."""
    import coreml_references as ref
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    rng = np.random.default_rng(4)
    word = np.float16 if halves else np.float32
    weight, dense = rng.normal(0, 0.3, (16, 3, 3, 3)).astype(word), rng.normal(0, 0.2, (6, 16)).astype(word)
    spec = mb.TensorSpec(shape=(1, 3, 12, 12), dtype=types.fp16 if halves else types.fp32)

    @mb.program(input_specs=[spec], opset_version=target)
    def program(x: Any) -> Any:
        y = mb.relu(x=mb.conv(x=x, weight=weight, pad_type="same", strides=[2, 2]))
        y = mb.reduce_mean(x=y, axes=[2, 3], keep_dims=False)
        return mb.linear(x=y, weight=dense, name="y")

    made = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=target,
        compute_precision=precision,
        skip_model_load=True,
        **more,
    )
    x = rng.normal(size=(1, 3, 12, 12)).astype(np.float32)
    features = np.maximum(ref.conv(x, weight, pad_type="same", strides=[2, 2]), 0).mean((2, 3))
    return made, x, features @ dense.T.astype(np.float64)


def save_program(ct: Any, program: Any, path: Path, **more: Any) -> None:
    ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
        **more,
    ).save(str(path))


def small_package(out: Path) -> None:
    """A sound package for the tests that damage it."""
    ct = coremltools(tensorflow=False)
    with own_temporary_folder() as scratch:
        small_program(ct, ct.precision.FLOAT32, ct.target.iOS16)[0].save(str(scratch / "m.mlpackage"))
        shutil.copytree(scratch / "m.mlpackage", out)


def float16_program(folder: Path) -> dict[str, float]:
    """Float16 inside, and once at its interface too."""
    ct = coremltools(tensorflow=False)
    outputs = {kind: [ct.TensorType(name="y", dtype=np.dtype(kind).type)] for kind in ("float32", "float16")}
    found = {}
    for kind in ("float32", "float16"):
        made, x, wanted = small_program(
            ct, ct.precision.FLOAT16, ct.target.iOS16, kind == "float16", outputs=outputs[kind]
        )
        made.save(str(folder / f"{kind}.mlpackage"))
        session = coreml.open_session(folder / f"{kind}.mlpackage", 1)
        assert [spec.dtype for spec in (*session.signature.inputs, *session.signature.outputs)] == [kind, kind]
        out = session.run({"x": x.astype(kind)})["y"]
        assert str(out.dtype) == kind
        found[kind] = sqnr_db(wanted, out)
    return found


def compressed_programs(folder: Path, *names: str) -> dict[str, float]:
    """Hold each of coremltools' weight compressions against what coremltools itself expands it to."""
    ct = coremltools(tensorflow=False)
    import coremltools.optimize.coreml as cto

    def affine(joint: bool = False, **more: Any) -> Any:
        config = cto.OptimizationConfig(global_config=cto.OpLinearQuantizerConfig(weight_threshold=10, **more))
        return lambda model: cto.linear_quantize_weights(model, config, joint_compression=joint)

    def table(joint: bool = False, mode: str = "uniform", **more: Any) -> Any:
        config = cto.OptimizationConfig(global_config=cto.OpPalettizerConfig(mode=mode, weight_threshold=10, **more))
        return lambda model: cto.palettize_weights(model, config, joint_compression=joint)

    def sparse(model: Any) -> Any:
        kind = cto.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=10)
        return cto.prune_weights(model, cto.OptimizationConfig(global_config=kind))

    forms = {
        "int8 symmetric": affine(mode="linear_symmetric"),
        "int8 asymmetric": affine(mode="linear"),
        "uint8 per tensor": affine(mode="linear", dtype="uint8", granularity="per_tensor"),
        "lut 4": table(nbits=4),
        "lut 6": table(nbits=6),
        "lut 8": table(nbits=8),
        "sparse": sparse,
    }
    newer = {
        "int8 iOS 18": affine(mode="linear_symmetric"),
        "int4": affine(mode="linear_symmetric", dtype="int4"),
        "int4 blocks": affine(mode="linear", dtype="int4", granularity="per_block", block_size=8),
        "lut 4 grouped": table(nbits=4, granularity="per_grouped_channel", group_size=8),
        "lut 3": table(nbits=3),
        "lut of pairs": table(mode="kmeans", nbits=2, cluster_dim=2),
        "lut 4 scaled by channel": table(nbits=4, enable_per_channel_scale=True),
        "lut 4 of int8": lambda model: affine(joint=True, granularity="per_tensor")(table(nbits=4)(model)),
        "sparse int8": lambda model: affine(joint=True)(sparse(model)),
        "sparse lut 4": lambda model: table(joint=True, nbits=4)(sparse(model)),
    }
    found = {}
    for target, group in ((ct.target.iOS16, forms), (ct.target.iOS18, newer)):
        for name in [name for name in group if not names or name in names]:
            made, x, _ = small_program(ct, ct.precision.FLOAT32, target)
            small = group[name](made)
            large = cto.decompress_weights(small)
            arrays = []
            for kind, model in (("small", small), ("large", large)):
                path = folder / f"{name} {kind}.mlpackage"
                model.save(str(path))
                arrays.append(coreml.open_session(path, 1).run({"x": x})["y"])
            layers = coreml.inspect(folder / f"{name} small.mlpackage").layers
            assert name == "sparse" or not {layer.weight_dtype for layer in layers} <= {"", "float32"}, name
            found[name] = sqnr_db(arrays[1], arrays[0])
    return found


OFTEN = ("int8 asymmetric", "lut 4", "sparse", "int4 blocks", "lut of pairs", "sparse int8")
"""Compressions that the default run looks at, of the 17."""


def several_functions(folder: Path) -> dict[str, float]:
    """Two functions in one package: the default one is executed, whatever its name."""
    ct = coremltools(tensorflow=False)
    from coremltools.models.utils import MultiFunctionDescriptor, save_multifunction

    found = {}
    for name, factor in (("small", 2.0), ("large", 5.0)):
        program = _scaling(ct, factor)
        save_program(ct, program, folder / f"{name}.mlpackage", inputs=[ct.TensorType(name="x", shape=(1, 4))])
    for default, factor in (("small", 2.0), ("large", 5.0)):
        both = MultiFunctionDescriptor()
        for name in ("small", "large"):
            both.add_function(str(folder / f"{name}.mlpackage"), "main", name)
        both.default_function_name = default
        path = folder / f"both {default}.mlpackage"
        save_multifunction(both, str(path))
        made = coreml.open_session(path, 1).run({"x": np.ones((1, 4), np.float32)})["y"]
        assert coreml.inspect(path).signature.inputs[0].shape == (1, 4)
        found[default] = float(np.abs(made - factor).max())
    return found


def _scaling(ct: Any, factor: float) -> Any:
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        return mb.mul(x=x, y=np.float32(factor), name="y")

    return program


def shared_weights(folder: Path) -> tuple[int, int]:
    """Two layers with one weight: bytes by layers, and of the weight."""
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb

    weight = np.random.default_rng(3).normal(size=(32, 32)).astype(np.float32)

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 32))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        both = mb.const(val=weight, name="both")
        return mb.linear(x=mb.tanh(x=mb.linear(x=x, weight=both)), weight=both, name="y")

    save_program(ct, program, folder / "shared.mlpackage", pass_pipeline=ct.PassPipeline.EMPTY)
    linear = [layer for layer in coreml.inspect(folder / "shared.mlpackage").layers if layer.operator == "linear"]
    assert {layer.weight_dtype for layer in linear} == {"float32"}
    biases = 2 * 32 * weight.itemsize
    return sum(layer.weight_bytes for layer in linear), weight.nbytes + biases


@dataclass(frozen=True, slots=True, kw_only=True)
class Cold:
    """What opening a package in a fresh process brought in."""

    seconds: float
    imported: tuple[str, ...]


def open_cold(package: Path) -> Cold:
    """Open, run and close, and look at what was imported."""
    import sys
    import time

    start = time.perf_counter()
    session = coreml.open_session(package, 1)
    seconds = time.perf_counter() - start
    feeds = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in session.signature.inputs}
    session.run(feeds)
    session.close()
    session.close()
    heavy = ("tensorflow", "coremltools", "torch", "sklearn")
    return Cold(seconds=seconds, imported=tuple(name for name in heavy if name in sys.modules))


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """What came of the things that are done with one package."""

    wrong_feed: str
    left: list[str]


def handle(package: Path) -> Handled:
    try:
        wrong_feed(package)
    except DataError as error:
        return Handled(wrong_feed=error.message, left=leftovers(package))
    return Handled(wrong_feed="taken", left=leftovers(package))


def wrong_feed(package: Path) -> None:
    """Run with an array of another shape."""
    session = coreml.open_session(package, 1)
    session.run({"x": np.zeros((1, 3, 12, 13), np.float32)})


def leftovers(package: Path) -> list[str]:
    """Quantize and list what stays in the temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        coreml.quantize(package, load_recipe("weight-int8"), {}, package.parent / "left.mlpackage")
        tempfile.tempdir = None
        return sorted(item.name for item in Path(folder).iterdir())
