"""What every source format shares: a first look at a file, and sizes for unknown axes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from toolkit.core.errors import ModelError

TOO_BIG = "than 2 GB"
"""In what a source says at first sight of a model that is whole, but larger than mobile formats hold."""

_FOREIGN = (
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras 2)"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself (`git lfs pull` fetches it)"),
    (0, b"<", "a web page or XML, perhaps a failed download"),
    (0, b"{", "JSON text"),
    (4, b"TFL3", "a TFLite model"),
    (0, b"\x1f\x8b", "a gzip archive (unpack it first)"),
)


def first_look(path: Path) -> str | None:
    """Say what is wrong with a path before its content matters: None, or a few words."""
    try:
        if path.is_dir():
            return "it is a folder"
        if not path.is_file():
            return "there is no such file"
        with path.open("rb") as file:
            return None if file.read(1) else "it is empty"
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"


def foreign_format(head: bytes) -> str | None:
    """Name the other format that a file's first bytes give away, if any."""
    for start, magic, name in _FOREIGN:
        if head[start : start + len(magic)] == magic:
            return name
    return None


def cannot_read(path: Path, why: str, hint: str = "") -> ModelError:
    """Make the error for a model file that cannot be used; ``why`` is a clause without its full stop."""
    return ModelError(f"Cannot read the model {path}: {why}.", hint=hint)


def one_line(error: BaseException, limit: int = 300) -> str:
    """Return a foreign error's text as one line without its full stop."""
    return " ".join(str(error).split())[:limit].rstrip(".")


def static_shape(name: str, axes: Sequence[int | None] | None, given: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape of an input with every axis known.

    Args:
        name: the input.
        axes: the model's own sizes, None for an unknown one; None altogether where even the rank is unknown.
        given: the user's sizes for all axes, if any.

    Raises:
        ModelError: an axis other than the first is unknown and not given, or what is given contradicts the model.
    """
    if given is not None:
        return _given_shape(name, axes, given)
    if axes is None:
        raise ModelError(
            f"The input {name!r} has no declared shape.", hint=f"Give all its sizes: --shape {name}=1,224,224,3"
        )
    sizes = [1 if index == 0 and size is None else size for index, size in enumerate(axes)]
    unknown = [index for index, size in enumerate(sizes) if size is None]
    if unknown:
        example = ",".join("224" if size is None else str(size) for size in sizes)
        where = f"axis {unknown[0]}" if len(unknown) == 1 else f"axes {', '.join(map(str, unknown))}"
        raise ModelError(
            f"The input {name!r} has no fixed size at {where} (shape {_words(axes)}), and mobile builds need one.",
            hint=f"Give all its sizes, for example: --shape {name}={example}",
        )
    return tuple(size for size in sizes if size is not None)


def check_shape_names(shapes: Iterable[str], inputs: Sequence[str]) -> None:
    """Refuse sizes for an input that the model does not have.

    Raises:
        ModelError: a name is not an input's.
    """
    for name in shapes:
        if name not in inputs:
            raise ModelError(
                f"--shape names the input {name!r}, which the model does not have.",
                hint=f"Its inputs: {', '.join(inputs)}.",
            )


def identifiers(names: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Return names that are identifiers in every format, unique among themselves and ``taken``.

    >>> identifiers(["out", "out", "conv/1"])
    ['out', 'out_1', 'conv_1']
    """
    seen = set(taken)
    result = []
    for name in names:
        stem = re.sub(r"[^0-9A-Za-z_]", "_", name)
        stem = stem if stem[:1].isalpha() else f"t_{stem}"
        unique, count = stem, 0
        while unique in seen:
            count += 1
            unique = f"{stem}_{count}"
        seen.add(unique)
        result.append(unique)
    return result


def _given_shape(name: str, axes: Sequence[int | None] | None, given: tuple[int, ...]) -> tuple[int, ...]:
    fits = axes is None or (
        len(axes) == len(given) and all(own in (None, size) for own, size in zip(axes, given, strict=True))
    )
    if not fits or any(size < 1 for size in given):
        own = "unknown" if axes is None else _words(axes)
        raise ModelError(
            f"--shape {name}={','.join(map(str, given))} does not fit the input {name!r}, whose shape is {own}.",
            hint="Give a positive size for every axis; the known ones must stay as they are.",
        )
    return given


def _words(axes: Sequence[int | None]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in axes) + "]"
