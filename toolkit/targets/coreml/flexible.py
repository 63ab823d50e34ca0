"""Programs of flexible shape: made fixed, for each shape that is asked for, by coremltools' own type inference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.core.errors import ModelError
from toolkit.targets.coreml.foreign import coremltools, own_temporary_folder
from toolkit.targets.coreml.interface import described
from toolkit.targets.coreml.interpreter.program import Program, read_package


def fixed(model: Path, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Any, Program]:
    """Return the model message and the program for one shape of every input.

    Raises:
        ModelError: the program does not allow these shapes, or coremltools cannot work them out.
    """
    ct = coremltools(tensorflow=False)
    with own_temporary_folder() as scratch:
        out = scratch / "fixed.mlpackage"
        loaded = ct.models.MLModel(str(model), skip_model_load=True)
        try:
            _materialized(ct, loaded, shapes).save(str(out))
        except (ValueError, NotImplementedError, RuntimeError, KeyError, AssertionError, IndexError) as error:
            words = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            raise ModelError(
                f"{model} cannot be executed with {words}: {' '.join(str(error).split())[:300]}",
                hint="Give arrays of another shape, or convert the model with fixed shapes.",
            ) from error
        return read_package(out)


def _materialized(ct: Any, model: Any, shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """Do as ``ct.utils.materialize_dynamic_shape_mlmodel``, without its other passes: they would turn it float16."""
    from coremltools.converters.mil.converter import mil_convert
    from coremltools.converters.mil.frontend.milproto.load import load
    from coremltools.converters.mil.mil.passes.graph_pass import PassOption
    from coremltools.converters.mil.mil.passes.pass_registry import PASS_REGISTRY

    spec = model.get_spec()
    program = load(spec, spec.specificationVersion, model.weights_dir)
    action = PASS_REGISTRY["common::materialize_symbolic_shape_program"]
    settings = {"function_name_to_materialization_map": {"main": dict(shapes)}, "source_function_name": "main"}
    action.set_options([PassOption(name, value) for name, value in settings.items()])
    action.apply(program)
    for name in ("common::const_elimination", "common::dead_code_elimination"):
        PASS_REGISTRY[name].apply(program)
    program.export_as_multifunction = False
    program.skip_all_passes = True
    return mil_convert(
        program,
        convert_from="milinternal",
        convert_to="mlprogram",
        specification_version=spec.specificationVersion,
        compute_units=ct.ComputeUnit.CPU_ONLY,
        skip_model_load=True,
    )


def default_shapes(message: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape that the description gives each input, which every flexible model allows."""
    return {
        feature.name: tuple(int(size) for size in feature.type.multiArrayType.shape)
        for feature in described(message).input
    }
