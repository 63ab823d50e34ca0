"""Programs that are refused, and sound packages edited until they are, in child processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from coreml_program_jobs import save_program, small_package, small_program

from toolkit.core.recipe import load_recipe
from toolkit.targets import coreml
from toolkit.targets.coreml.foreign import coremltools


def contradiction(folder: Path) -> None:
    """A sound program whose convolution is then told of an axis too many."""
    package = folder / "contradiction.mlpackage"
    small_package(package)
    _change(package, "strides", lambda value: value.immediateValue.tensor.ints.values.append(2))


def absurd_shape(folder: Path) -> None:
    """A sound program whose convolution then claims to yield a terabyte."""
    package = folder / "absurd.mlpackage"
    small_package(package)

    def grow(model: Any) -> None:
        for function in model.mlProgram.functions.values():
            for operation in function.block_specializations[function.opset].operations:
                if operation.type == "conv":
                    operation.outputs[0].type.tensorType.dimensions[1].constant.size = 1 << 24

    _rewritten(package, grow)
    coreml.open_session(package, 1)


def _change(package: Path, key: str, change: Any) -> None:
    def through(model: Any) -> None:
        for function in model.mlProgram.functions.values():
            operations = function.block_specializations[function.opset].operations
            wanted = {item.inputs[key].arguments[0].name for item in operations if key in item.inputs}
            for operation in operations:
                if operation.type == "const" and operation.outputs[0].name in wanted:
                    change(operation.attributes["val"])
                    operation.attributes["val"].type.tensorType.dimensions[0].constant.size += 1

    _rewritten(package, through)
    coreml.open_session(package, 1)


def _rewritten(package: Path, change: Any) -> None:
    from toolkit.targets.coreml.messages import read_specification
    from toolkit.targets.coreml.package import open_package

    opened = open_package(package)
    model = read_specification(opened)
    change(model)
    opened.specification.write_bytes(model.SerializeToString())


def rewrite_weight_path(package: Path, name: str) -> None:
    """Point the weights of a package at another file."""

    def change(model: Any) -> None:
        for function in model.mlProgram.functions.values():
            for block in function.block_specializations.values():
                for operation in block.operations:
                    value = operation.attributes.get("val")
                    if value is not None and value.WhichOneof("value") == "blobFileValue":
                        value.blobFileValue.fileName = name

    _rewritten(package, change)
    coreml.open_session(package, 1)


def unsupported_program(folder: Path) -> None:
    """A program with an operator that is not lowered."""
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        return mb.random_normal(shape=[1, 4], mean=0.0, stddev=1.0, name="dice")

    save_program(ct, program, folder / "u.mlpackage")
    coreml.open_session(folder / "u.mlpackage", 1)


def stateful_program(folder: Path) -> None:
    """A program that keeps state between calls."""
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb
    from coremltools.converters.mil.mil import types

    specs = [mb.TensorSpec(shape=(1, 8), dtype=types.fp16), mb.StateTensorSpec(shape=(1, 8), dtype=types.fp16)]

    @mb.program(input_specs=specs, opset_version=ct.target.iOS18)
    def program(x: Any, memory: Any) -> Any:
        return mb.add(x=x, y=mb.read_state(input=memory), name="y")

    made = ct.convert(program, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS18, skip_model_load=True)
    made.save(str(folder / "s.mlpackage"))
    coreml.open_session(folder / "s.mlpackage", 1)


def neural_network(folder: Path) -> None:
    """An old-format model in a package."""
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 3, 8, 8))])
    def program(x: Any) -> Any:
        return mb.relu(x=x, name="y")

    made = ct.convert(program, convert_to="neuralnetwork", skip_model_load=True)
    package = folder / "nn.mlpackage"
    small = small_program(ct, ct.precision.FLOAT32, ct.target.iOS16)[0]
    small.save(str(package))
    inner = next(package.glob("Data/*/model.mlmodel"))
    inner.write_bytes(made.get_spec().SerializeToString())
    coreml.open_session(package, 1)


def tiny_weights(folder: Path) -> None:
    """A model with nothing worth quantizing."""
    ct = coremltools(tensorflow=False)
    from coremltools.converters.mil import Builder as mb

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4))], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        return mb.linear(x=x, weight=np.ones((3, 4), np.float32), name="y")

    save_program(ct, program, folder / "t.mlpackage")
    coreml.quantize(folder / "t.mlpackage", load_recipe("weight-int8"), {}, folder / "q.mlpackage")
