"""Bring big libraries in, in a child process, without those that they import only because they happen to be there."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_KERAS_OPTIONAL = ("matplotlib", "pandas", "sklearn")
"""Keras 3 tries each for plots, data frames and wrappers, none of which palmtop uses, and does without."""


@contextmanager
def absent(names: Iterable[str]) -> Iterator[None]:
    """Make libraries look as if they were not installed while others are imported; those loaded already stay.

    None in ``sys.modules`` makes their import fail, as Python documents. Afterwards they can be imported again.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)


def import_tensorflow(*, keras: bool = True) -> None:
    """Import TensorFlow, and Keras with it unless told otherwise; it can be imported afterwards all the same.

    That takes half the time where scikit-learn, pandas and Matplotlib, and another fifth less where Keras, stay away.
    """
    with absent(_KERAS_OPTIONAL if keras else (*_KERAS_OPTIONAL, "keras", "tf_keras")):
        importlib.import_module("tensorflow")
