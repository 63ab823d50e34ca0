"""The layers of a prepared graph as a recipe's patterns see them, and what the recipe says of each."""

from __future__ import annotations

from toolkit.core.layers import Choice, Layer, choose
from toolkit.core.recipe import Recipe
from toolkit.targets.onnx import graph
from toolkit.targets.onnx.graph import Model, Node


def choice_of(recipe: Recipe, prepared: Model) -> Choice:
    """Resolve a recipe's patterns on a graph that :func:`.graph.prepare` went over.

    Raises:
        SettingsError: a pattern matches no layer.
    """
    return choose(recipe, layers_of(prepared), "onnx")


def layers_of(prepared: Model) -> tuple[Layer, ...]:
    """Return the nodes of the main graph; outputs count as aliases, since exporters often leave nodes unnamed."""
    constants = graph.initializers(prepared)
    return tuple(
        Layer(
            name=node.name,
            operator=node.op_type,
            weighted=bool(graph.weight_inputs(node, constants)),
            words=("depthwise",) if is_depthwise(node) else (),
            aliases=tuple(name for name in node.output if name),
        )
        for node in prepared.graph.node
    )


def is_depthwise(node: Node) -> bool:
    """Whether a node convolves groups of channels each on its own; what exporters call depthwise has groups of one."""
    return bool(node.op_type == "Conv" and graph.attribute(node, "group", 1) > 1)
