"""Which tensor of a float program each tensor of a build stands for.

Rewriting a program in float16 adds casts at its borders, and 8-bit activations add pairs of ``quantize`` and
``dequantize``. What leaves a pair or a cast stands for what went in.
"""

from __future__ import annotations

from toolkit.targets.coreml.interpreter.program import Operation, Program

FLOATS = ("fp16", "fp32", "fp64")
"""MIL's words for the element types of floats."""


def partners(program: Program) -> dict[str, str]:
    """Map the names that float tensors have in the float program to the tensors of this one that hold their values.

    Where a tensor is quantized, the value that leaves the pair is taken: what the next layer computes on.
    """
    origins, rescaled = _origins(program), _rescaled(program)
    borders = {value.name for value in program.outputs}
    inputs = {value.name for value in program.inputs}
    chosen: dict[str, str] = {}
    named: dict[str, str] = {}  # a cast that makes an output of the program gives its value the output's name
    for operation in program.operations:
        for value in operation.outputs:
            if value.name in borders and value.name in origins and operation.operator == "cast":
                named[_origin(value.name, origins)] = value.name
    for operation in program.operations:
        if operation.operator.startswith("constexpr_"):
            continue
        for value in operation.outputs:
            origin = _origin(value.name, origins)
            if value.type.dtype not in FLOATS or origin in inputs or value.name in rescaled:
                continue
            name = named.get(origin, origin)
            if name not in chosen or (operation.operator == "dequantize" and chosen[name] in (name, origin)):
                chosen[name] = value.name
    return chosen


def eight_bit_values(program: Program) -> dict[str, str]:
    """Return the dtype behind each tensor that a ``dequantize`` makes."""
    return {
        operation.outputs[0].name: operation.inputs["input"][0].type.dtype
        for operation in program.operations
        if operation.operator == "dequantize"
    }


def _origins(program: Program) -> dict[str, str]:
    """Map each tensor that leaves a cast between floats, or a pair, to what went in."""
    makers = {value.name: operation for operation in program.operations for value in operation.outputs}
    found = {}
    for operation in program.operations:
        if operation.operator == "cast" and _is_float(operation):
            found[operation.outputs[0].name] = operation.inputs["x"][0].name
        elif operation.operator == "dequantize":
            maker = makers.get(operation.inputs["input"][0].name)
            if maker is not None and maker.operator == "quantize":
                found[operation.outputs[0].name] = maker.inputs["input"][0].name
    return found


def _rescaled(program: Program) -> set[str]:
    """Return the tensors whose values coremltools has divided by a scale.

    It does so around an ``add``, to spare a multiplication: a ``dequantize`` before it has another scale than the
    ``quantize`` of its pair, and the one after it makes up for that.
    """
    scales: dict[str, float] = {}
    found: set[str] = set()
    for operation in program.operations:
        names = {value.name for arguments in operation.inputs.values() for value in arguments}
        outputs = {value.name for value in operation.outputs}
        scale = operation.inputs["scale"][0].constant if operation.inputs.get("scale") else None
        if operation.operator == "quantize":
            if scale is not None and scale.size == 1 and not names & found:
                scales[operation.outputs[0].name] = float(scale.reshape(-1)[0])
        elif operation.operator == "dequantize":
            source = operation.inputs["input"][0].name
            if scale is not None and scales.get(source, float(scale.reshape(-1)[0])) != float(scale.reshape(-1)[0]):
                found |= outputs
        elif names & found:
            found |= outputs
    return found


def _origin(name: str, origins: dict[str, str]) -> str:
    while name in origins:
        name = origins[name]
    return name


def _is_float(operation: Operation) -> bool:
    return operation.inputs["x"][0].type.dtype in FLOATS and operation.outputs[0].type.dtype in FLOATS
