"""Class labels."""

from __future__ import annotations

from toolkit.targets.coreml.interpreter.graph import Layer, Lowering


def classify(layer: Layer) -> None:
    """``classify``: the place of the largest value among the labels, and all values in the labels' order."""
    place, values = layer.operation.outputs
    flat = layer.step("Reshape", layer.tensor("probabilities"), layer.ints(values.type.shape))
    layer.graph.add("Identity", [flat], [layer.graph.name_of(values)])
    layer.graph.add("ArgMax", [flat], [layer.graph.name_of(place)], axis=0, keepdims=1)


LOWERINGS: dict[str, Lowering] = {"classify": classify}
