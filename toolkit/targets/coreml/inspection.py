"""What is in a Core ML program: layers, their precision and size, and the system a phone must have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from toolkit.core.artifacts import Inspection, LayerFact, Requirements
from toolkit.core.errors import ModelError
from toolkit.core.store import size_of
from toolkit.targets.coreml.interface import interface_of
from toolkit.targets.coreml.interpreter.program import Operation, Program, Value, read_package
from toolkit.targets.coreml.interpreter.weights import PLAIN, bytes_of
from toolkit.targets.coreml.partners import eight_bit_values
from toolkit.targets.coreml.session import with_program_shapes

RUNTIME = "Core ML program"
IOS_BY_SPECIFICATION = {6: "15", 7: "16", 8: "17", 9: "18", 10: "26"}
"""Apple's specification versions of ML Programs and the first iOS that loads each."""

_WORDS = {"fp16": "float16", "fp32": "float32", "fp64": "float64"}
_DATA = {
    "constexpr_affine_dequantize": "quantized_data",
    "constexpr_blockwise_shift_scale": "data",
    "constexpr_cast": "source_val",
    "constexpr_lut_to_dense": "indices",
    "constexpr_lut_to_sparse": "indices_nonzero_data",
    "constexpr_sparse_blockwise_shift_scale": "nonzero_data",
    "constexpr_sparse_to_dense": "nonzero_data",
}


def inspect(model: Path) -> Inspection:
    """Read operators, precision, size and requirements from an ``.mlpackage``.

    Raises:
        ModelError: it is not an ML Program, or is damaged.
    """
    message, program = read_package(model)
    interface = interface_of(message, model)
    fixed = not interface.is_flexible
    return Inspection(
        format="coreml",
        signature=with_program_shapes(interface.signature, program, interface.pictures)
        if fixed
        else interface.signature,
        layers=layers_of(program),
        size_bytes=size_of(model),
        requirements=_requirements(program, model),
    )


def requirements(model: Path) -> Requirements:
    """Say what a phone must offer to run an ``.mlpackage``.

    Raises:
        ModelError: it is not an ML Program, or is damaged.
    """
    return _requirements(read_package(model)[1], model)


def layers_of(program: Program) -> tuple[LayerFact, ...]:
    """Return one fact per executed operation; compressed weights belong to the operations that use them."""
    operations = list(_flat(program.operations))
    compressed = {
        output.name: operation
        for operation in operations
        if operation.operator.startswith("constexpr_")
        for output in operation.outputs
    }
    rounded, counted = eight_bit_values(program), set[int]()
    return tuple(
        _fact(operation, compressed, rounded, counted)
        for operation in operations
        if not operation.operator.startswith("constexpr_")
    )


def _flat(operations: Iterable[Operation]) -> Iterator[Operation]:
    """Yield operations, those in the blocks of control flow after it."""
    for operation in operations:
        yield operation
        yield from _flat(operation.inner)


def _requirements(program: Program, model: Path) -> Requirements:
    version = program.specification_version
    if version not in IOS_BY_SPECIFICATION:
        known = f"{min(IOS_BY_SPECIFICATION)} to {max(IOS_BY_SPECIFICATION)}"
        raise ModelError(f"{model} is of specification version {version}; {known} are known.", hint="Update palmtop.")
    return Requirements(
        runtime=RUNTIME,
        runtime_min=f"specification {version}",
        ios_min=IOS_BY_SPECIFICATION[version],
        operators=tuple(sorted({operation.operator for operation in _flat(program.operations)})),
    )


def _fact(
    operation: Operation, compressed: dict[str, Operation], rounded: dict[str, str], counted: set[int]
) -> LayerFact:
    weights = list(_weights(operation, compressed))
    main = max(weights, key=lambda item: item[1].type.count, default=None)
    return LayerFact(
        name=operation.name,
        operator=operation.operator,
        weight_dtype="" if main is None else main[0],
        activation_dtype=_activation(operation, rounded),
        weight_bytes=sum(_stored(value, compressed, counted) for _, value in weights),
        outputs=tuple(output.name for output in operation.outputs),
    )


def _activation(operation: Operation, rounded: dict[str, str]) -> str:
    """Return the precision of what an operation computes on: that of its 8-bit inputs, where all that vary are."""
    own = _word(operation.outputs[0].type.dtype) if operation.outputs else ""
    varying = [
        value.name
        for key in ("x", "y", "values")
        for value in operation.inputs.get(key, ())
        if value.constant is None and value.type.dtype in _WORDS
    ]
    return rounded[varying[0]] if varying and all(name in rounded for name in varying) else own


def _weights(operation: Operation, compressed: dict[str, Operation]) -> Iterator[tuple[str, Value]]:
    """Yield the learned tensors of an operation with the words for how they are stored."""
    for arguments in operation.inputs.values():
        for value in arguments:
            if value.name in compressed and value.constant is None:
                yield _stored_dtype(compressed[value.name], compressed), value
            elif value.constant is not None and value.type.dtype in _WORDS and value.type.shape:
                yield _word(value.type.dtype), value


def _stored_dtype(operation: Operation, compressed: dict[str, Operation]) -> str:
    key = _DATA.get(operation.operator)
    if key is None or key not in operation.inputs:
        return operation.operator
    data = operation.inputs[key][0]
    if data.constant is None and data.name in compressed:
        return _stored_dtype(compressed[data.name], compressed)
    if operation.operator == "constexpr_lut_to_dense":
        entries = operation.inputs["lut"][0].type
        count = entries.shape[-2] if len(entries.shape) > 1 else entries.count
        return f"lut{max(count - 1, 1).bit_length()}"
    return _word(data.type.dtype)


def _stored(value: Value, compressed: dict[str, Operation], counted: set[int]) -> int:
    """Return the bytes that a weight takes in the file; one that several layers share counts at the first of them."""
    if value.constant is None:
        parts = compressed[value.name].inputs.values() if value.name in compressed else ()
        return sum(_stored(part, compressed, counted) for arguments in parts for part in arguments)
    place = value.constant.__array_interface__["data"][0]
    if place in counted:
        return 0
    counted.add(place)
    if value.type.dtype == "string" or not value.type.shape:
        return value.type.count * (PLAIN[value.type.dtype].itemsize if value.type.dtype in PLAIN else 0)
    return bytes_of(value.type.dtype, value.type.count)


def _word(dtype: str) -> str:
    return _WORDS.get(dtype, dtype)
