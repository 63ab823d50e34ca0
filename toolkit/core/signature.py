"""Between the source model's tensors and an artefact's: other names, another axis order, another integer width."""

from __future__ import annotations

import numpy as np

from toolkit.core.artifacts import Signature, TensorSpec
from toolkit.core.errors import DataError
from toolkit.core.ports import Array, Feeds


def source_name(spec: TensorSpec) -> str:
    """Return the name of the source model's tensor that a tensor stands for."""
    return spec.source_name or spec.name


def bind(feeds: Feeds, signature: Signature) -> dict[str, Array]:
    """Turn arrays by the source's input names into arrays by the artefact's, axes and dtype as it wants them.

    A scalar becomes a single element where the artefact wants one.

    Raises:
        DataError: an input is missing, or its values do not fit the artefact's dtype or shape.
    """
    bound = {}
    for spec in signature.inputs:
        name = source_name(spec)
        if name not in feeds:
            raise DataError(f"The input {name!r} has no array.", hint=f"Arrays given: {', '.join(feeds) or 'none'}.")
        array = feeds[name]
        if spec.perm:
            array = np.transpose(array, spec.perm)
        if array.shape == () and spec.shape == (1,):  # Core ML takes no scalars
            array = np.reshape(array, (1,))
        bound[spec.name] = np.asarray(_cast(array, spec), order="C")  # keeps arrays without axes as they are
    return bound


def unbind(outputs: Feeds, signature: Signature) -> dict[str, Array]:
    """Turn an artefact's outputs into arrays by the source's output names, in the source's axis order.

    Integers that stand for floats become float32.
    """
    return {source_name(spec): _floats(_turned_back(outputs[spec.name], spec), spec) for spec in signature.outputs}


def check_feeds(feeds: Feeds, signature: Signature) -> None:
    """Hold arrays against the artefact's own inputs.

    Raises:
        DataError: one is missing, unknown, or of another shape or dtype; both are named.
    """
    wanted = {spec.name: spec for spec in signature.inputs}
    unknown = sorted(set(feeds) - set(wanted))
    if unknown:
        raise DataError(f"The model has no input {unknown[0]!r}.", hint=f"Its inputs: {', '.join(wanted)}.")
    for name, spec in wanted.items():
        if name not in feeds:
            raise DataError(f"The input {name!r} has no array.", hint=f"Arrays given: {', '.join(feeds) or 'none'}.")
        array = feeds[name]
        fits = len(array.shape) == len(spec.shape) and all(
            want in (-1, have) for want, have in zip(spec.shape, array.shape, strict=True)
        )
        if not fits or str(array.dtype) != spec.dtype:
            raise DataError(
                f"The input {name!r} wants {spec.dtype} {list(spec.shape)}, not {array.dtype} {list(array.shape)}."
            )


def _turned_back(array: Array, spec: TensorSpec) -> Array:
    return np.transpose(array, np.argsort(spec.perm)) if spec.perm else array


def _floats(array: Array, spec: TensorSpec) -> Array:
    if not spec.scale or array.dtype.kind == "f":
        return array
    return (array.astype(np.float32) - np.float32(spec.zero_point)) * np.float32(spec.scale)


def _cast(array: Array, spec: TensorSpec) -> Array:
    wanted = np.dtype(spec.dtype)
    if array.dtype == wanted:
        return array
    if spec.scale and array.dtype.kind == "f" and wanted.kind in "iu":
        limits = np.iinfo(wanted)
        steps = np.rint(array.astype(np.float64) / spec.scale) + spec.zero_point
        return np.clip(steps, limits.min, limits.max).astype(wanted)
    if array.dtype.kind in "iub" and wanted.kind in "iu":
        limits = np.iinfo(wanted)
        if array.size and (int(array.min()) < limits.min or int(array.max()) > limits.max):
            raise DataError(f"The input {spec.name!r} has values beyond {spec.dtype}.")
        return array.astype(wanted)
    if wanted.kind == "f" and array.dtype.kind in "fiub":
        return array.astype(wanted)
    raise DataError(f"The input {spec.name!r} wants {spec.dtype}, not {array.dtype}.")
