"""The arrays in a file that ``joblib.dump`` wrote, read as data.

Such a file is a pickle with the bytes of each array between its instructions. Unpickling can run any code; here the
instructions move inert values on a stack: a name stays a name, a call stays a note of what would be called, and an
instruction or name that a list of plain float32 arrays does not need ends the reading. Nothing is imported or called.
"""

from __future__ import annotations

import io
import math
import pickletools
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.core.errors import ModelError

_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
_NAMES = frozenset({_WRAPPER, "numpy.ndarray", "numpy.dtype"})
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset({"SHORT_BINUNICODE", "BININT", "BININT1", "BININT2"})
_SHORT_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(slots=True)
class _Noted:
    """What unpickling would have made by a call: whose, on which arguments, with which state."""

    name: str
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(slots=True)
class _Machine:
    file: io.BytesIO
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: list[Any] = field(default_factory=list)

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _LITERALS:
            self.stack.append(argument)
        elif opcode in _CONSTANTS:
            self.stack.append(_CONSTANTS[opcode])
        elif opcode in _SHORT_TUPLES:
            self.stack.append(tuple(self._take(_SHORT_TUPLES[opcode])))
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        else:
            raise ValueError(f"it has the instruction {opcode}")

    def _take(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def _since_mark(self) -> list[Any]:
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def ignore(self, _: Any) -> None:
        """Protocol and frame headers carry no value."""

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def memoize(self, _: Any) -> None:
        self.memo.append(self.stack[-1])

    def recall(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def empty_list(self, _: Any) -> None:
        self.stack.append([])

    def empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def tuple_since_mark(self, _: Any) -> None:
        self.stack.append(tuple(self._since_mark()))

    def name(self, _: Any) -> None:
        name = ".".join(self._take(2))
        if name not in _NAMES:
            raise ValueError(f"it names {name}")
        self.stack.append(name)

    def call(self, _: Any) -> None:
        name, arguments = self._take(2)
        self.stack.append(_Noted(name, arguments))

    def set_items(self, _: Any) -> None:
        items = self._since_mark()
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def append(self, _: Any) -> None:
        item = self.stack.pop()
        self.stack[-1].append(item)

    def append_all(self, _: Any) -> None:
        items = self._since_mark()
        self.stack[-1].extend(items)

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        noted = self.stack[-1]
        noted.state = state
        if noted.name == _WRAPPER:
            self.stack[-1] = _array(self.file, state)


_STEPS = {
    "PROTO": _Machine.ignore,
    "FRAME": _Machine.ignore,
    "STOP": _Machine.ignore,
    "MARK": _Machine.mark,
    "MEMOIZE": _Machine.memoize,
    "BINGET": _Machine.recall,
    "EMPTY_LIST": _Machine.empty_list,
    "EMPTY_DICT": _Machine.empty_dict,
    "TUPLE": _Machine.tuple_since_mark,
    "STACK_GLOBAL": _Machine.name,
    "NEWOBJ": _Machine.call,
    "REDUCE": _Machine.call,
    "SETITEMS": _Machine.set_items,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.append_all,
    "BUILD": _Machine.build,
}


def read_arrays(raw: bytes, what: str) -> list[NDArray[np.float32]]:
    """Return the float32 arrays of an uncompressed joblib file that holds a list of them.

    Args:
        raw: the file's bytes.
        what: the words for the file in the error message.

    Raises:
        ModelError: it holds anything else, or is damaged.
    """
    machine = _Machine(io.BytesIO(raw))
    try:
        # genops reads one instruction at a time, so between two of them the file stands at an array's bytes.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in damaged text, which no instruction of ours takes
            for opcode, argument, _ in pickletools.genops(machine.file):
                machine.step(opcode.name, argument)
        (arrays,) = machine.stack
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{what} is not a joblib file of plain float32 arrays: {error}.") from error
    if not isinstance(arrays, list) or not all(isinstance(array, np.ndarray) for array in arrays):
        raise ModelError(f"{what} does not hold a list of arrays.")
    return arrays


def _array(file: io.BytesIO, state: dict[str, Any]) -> NDArray[np.float32]:
    """Read the bytes that follow a wrapper: the length of a padding, the padding, then the values."""
    dtype = state["dtype"]
    if dtype.arguments[:1] != ("f4",) or dtype.state[1] != "<":
        raise ValueError("one of its arrays is not little-endian float32")
    shape, order = state["shape"], state["order"]
    if not all(type(size) is int and size >= 0 for size in shape) or order not in ("C", "F"):
        raise ValueError(f"one of its arrays has the shape {shape} in order {order}")
    if state.get("numpy_array_alignment_bytes") is not None:
        file.read(file.read(1)[0])
    size = 4 * math.prod(shape)
    if size > len(file.getbuffer()) - file.tell():
        raise ValueError(f"it ends within an array of shape {shape}")
    return np.frombuffer(file.read(size), "<f4").reshape(shape, order=order).astype(np.float32)
