"""Rewrite a float32 ML Program in float16, every tensor under the name it had.

coremltools' pass casts each operation's tensors and renames them (``conv_1`` becomes ``conv_1_cast_fp16``). The names
are put back, so that ranges, per-layer errors and layer patterns mean the same tensor in every build of a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolkit.targets.coreml.interpreter.program import Program

HALF_MAX = 65504.0
"""The largest finite float16 (IEEE 754 binary16)."""

_CASTING = "common::add_fp16_cast"
_SUFFIX = "_cast_fp16"


def to_float16(ct: Any, model: Any, program: Program, specification_version: int) -> Any:
    """Return the coremltools model with float16 inside and its interface unchanged.

    Operations with a constant that float16 cannot hold stay float32, as coremltools decides.

    Args:
        ct: the imported coremltools.
        model: a float32 ``MLModel``, not loaded for execution.
        program: what :func:`.interpreter.program.read_package` reads from the same model.
        specification_version: the least that the result may have.
    """
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY
    from coremltools.models import utils

    made = utils._apply_graph_pass(  # noqa: SLF001 - the only way to apply a pass to a saved model; pinned
        model, PASS_REGISTRY[_CASTING], spec_version=specification_version
    )
    spec = made.get_spec()
    for function in spec.mlProgram.functions.values():
        _rename(function, program)
    return ct.models.MLModel(spec, weights_dir=made.weights_dir, skip_model_load=True)


def raised(model: Any, specification_version: int) -> Any:
    """Return the coremltools model in at least this specification version, else unchanged."""
    if model.get_spec().specificationVersion >= specification_version:
        return model
    from coremltools.models import utils

    return utils._apply_graph_pass(model, [], spec_version=specification_version)  # noqa: SLF001 - as above


def _rename(function: Any, program: Program) -> None:
    block = function.block_specializations[function.opset]
    taken = {item.name for item in function.inputs}
    taken |= {output.name for operation in block.operations for output in operation.outputs}
    mapping = {half: name for half, name in _pairs(program) if half in taken and name not in taken}
    layers = {f"{operation.name}{_SUFFIX}": operation.name for operation in program.operations}
    for operation in block.operations:
        _rename_layer(operation, layers)
        for argument in operation.inputs.values():
            for item in argument.arguments:
                if item.WhichOneof("binding") == "name":
                    item.name = mapping.get(item.name, item.name)
        for output in operation.outputs:
            output.name = mapping.get(output.name, output.name)
    block.outputs[:] = [mapping.get(name, name) for name in block.outputs]


def _rename_layer(operation: Any, names: dict[str, str]) -> None:
    if "name" in operation.attributes:
        words = operation.attributes["name"].immediateValue.tensor.strings.values
        words[:] = [names.get(word, word) for word in words]


def _pairs(program: Program) -> Iterator[tuple[str, str]]:
    """Yield the name that coremltools' pass gives to each tensor, and the tensor's own."""
    for operation in program.operations:
        single = len(operation.outputs) == 1
        for index, output in enumerate(operation.outputs):
            yield f"{operation.name}{_SUFFIX}{'' if single else f'_{index}'}", output.name
