"""Matrix products."""

from __future__ import annotations

import string

import numpy as np

from toolkit.targets.coreml.lowering.node import Lowering, Node, Tensor, kind, scalar, shape_of

MAX_DETERMINANT = 4
"""Rows of a matrix whose determinant is written out: it has as many terms as there are orders of them."""


def _matmul(node: Node) -> Tensor:
    mil, x, y = node.mil, node.tensor(0), node.tensor(1)
    if isinstance(y, np.ndarray) and y.ndim == 2 and x.rank >= 2 and kind(x) == "f":
        return mil.linear(x=x, weight=np.ascontiguousarray(y.T))
    columns, rows = len(x.shape) == 1, len(y.shape) == 1
    if not columns and not rows:
        return mil.matmul(x=x, y=y)
    left = mil.expand_dims(x=x, axes=[0]) if columns else x
    right = mil.expand_dims(x=y, axes=[1]) if rows else y
    product = mil.matmul(x=left, y=right)
    return mil.squeeze(x=product, axes=[-2] * columns + [-1] * rows)


def _gemm(node: Node) -> Tensor:
    mil, alpha, beta = node.mil, np.float32(node.number("alpha", 1.0)), np.float32(node.number("beta", 1.0))
    x, y, bias = node.tensor(0), node.tensor(1), node.tensor(2) if node.has(2) else None
    if isinstance(y, np.ndarray) and not isinstance(x, np.ndarray) and (bias is None or isinstance(bias, np.ndarray)):
        weight = np.ascontiguousarray((y if node.integer("transB", 0) else y.T) * alpha)
        x = mil.transpose(x=x, perm=[1, 0]) if node.integer("transA", 0) else x
        if bias is None:
            return mil.linear(x=x, weight=weight)
        if bias.size in (1, len(weight)) and (bias.ndim < 2 or bias.shape[0] == 1):
            vector = np.broadcast_to(bias.reshape(-1) * beta, (len(weight),)).copy()
            return mil.linear(x=x, weight=weight, bias=vector)
    product = mil.matmul(
        x=node.tensor(0),
        y=y,
        transpose_x=bool(node.integer("transA", 0)),
        transpose_y=bool(node.integer("transB", 0)),
    )
    if alpha != 1:
        product = mil.mul(x=product, y=alpha)
    if bias is None:
        return product
    return mil.add(x=product, y=bias if beta == 1 else mil.mul(x=bias, y=beta))


def _einsum(node: Node) -> Tensor:
    """Lower any equation, two operands at a time."""
    terms, wanted = _spelled_out(node)
    operands = [_diagonal(node, term, x) for term, x in zip(terms, node.tensors(), strict=True)]
    operands = _unbroadcast(node, operands)
    while len(operands) > 1:
        (first, x), (second, y), *rest = operands
        later = wanted + "".join(term for term, _ in rest)
        operands = [_contract(node, (first, x), (second, y), later), *rest]
    return _arranged(node, *operands[0], wanted)


def _spelled_out(node: Node) -> tuple[list[str], str]:
    """Return the letters of every operand and of the result, letters of their own for the axes of an ellipsis."""
    equation = node.word("equation", "").replace(" ", "")
    left, arrow, wanted = equation.partition("->")
    terms = left.split(",")
    spare = [letter for letter in string.ascii_letters if letter not in equation]
    extra = [len(shape_of(x)) - len(term) + 3 for term, x in zip(terms, node.tensors(), strict=True) if "." in term]
    most = max(extra, default=0)
    rest = iter(extra)
    terms = [term.replace("...", "".join(spare[most - next(rest) : most])) if "." in term else term for term in terms]
    every = "".join(terms)
    if not arrow:
        once = sorted(letter for letter in set(every) - set(spare) if every.count(letter) == 1)
        wanted = "..." * bool(most) + "".join(once)
    return terms, wanted.replace("...", "".join(spare[:most]))


def _diagonal(node: Node, letters: str, x: Tensor) -> tuple[str, Tensor]:
    """Leave one axis of those that share a letter, holding the elements at which all of them agree."""
    for letter in sorted(set(letters)):
        while letters.count(letter) > 1:
            first, second = letters.index(letter), letters.rindex(letter)
            shape = [size if at in (first, second) else 1 for at, size in enumerate(shape_of(x))]
            only = np.eye(shape[first], dtype=type(scalar(0, x))).reshape(shape)
            x = node.mil.reduce_sum(x=node.mil.mul(x=x, y=only), axes=[second], keep_dims=False)
            letters = letters[:second] + letters[second + 1 :]
    return letters, x


def _unbroadcast(node: Node, operands: list[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    """Drop axes of one element that others have more of."""
    sizes: dict[str, int] = {}
    for letters, x in operands:
        for letter, size in zip(letters, shape_of(x), strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    made = []
    for letters, x in operands:
        pairs = list(zip(letters, shape_of(x), strict=True))
        axes = [at for at, (letter, size) in enumerate(pairs) if size == 1 and sizes[letter] > 1]
        kept = "".join(letter for at, letter in enumerate(letters) if at not in axes)
        made.append((kept, node.mil.squeeze(x=x, axes=axes) if axes else x))
    return made


def _contract(node: Node, left: tuple[str, Tensor], right: tuple[str, Tensor], later: str) -> tuple[str, Tensor]:
    """Multiply two operands as batches of matrices, summing over the letters nobody needs later."""
    mil = node.mil
    left, right = _summed(node, *left, right[0] + later), _summed(node, *right, left[0] + later)
    batch = [letter for letter in left[0] if letter in right[0] and letter in later]
    inner = [letter for letter in left[0] if letter in right[0] and letter not in later]
    rows = [letter for letter in left[0] if letter not in right[0]]
    columns = [letter for letter in right[0] if letter not in left[0]]
    sizes = dict(zip(left[0] + right[0], (*left[1].shape, *right[1].shape), strict=True))

    def size(group: list[str]) -> int:
        return int(np.prod([sizes[letter] for letter in group], dtype=np.int64))

    x = _arranged(node, *left, "".join(batch + rows + inner))
    y = _arranged(node, *right, "".join(batch + inner + columns))
    product = mil.matmul(
        x=mil.reshape(x=x, shape=[size(batch), size(rows), size(inner)]),
        y=mil.reshape(x=y, shape=[size(batch), size(inner), size(columns)]),
    )
    made = batch + rows + columns
    return "".join(made), mil.reshape(x=product, shape=[sizes[letter] for letter in made] or [1])


def _summed(node: Node, letters: str, x: Tensor, needed: str) -> tuple[str, Tensor]:
    axes = [at for at, letter in enumerate(letters) if letter not in needed]
    if not axes:
        return letters, x
    return "".join(letter for letter in letters if letter in needed), node.mil.reduce_sum(
        x=x, axes=axes, keep_dims=False
    )


def _arranged(node: Node, letters: str, x: Tensor, wanted: str) -> Tensor:
    letters, x = _summed(node, letters, x, wanted)
    if not wanted:
        return node.mil.reshape(x=x, shape=np.zeros(0, np.int32)) if len(x.shape) else x
    perm = [letters.index(letter) for letter in wanted]
    return x if perm == sorted(perm) else node.mil.transpose(x=x, perm=perm)


def _det(node: Node) -> Tensor:
    """Compute determinants of small matrices by their minors."""
    x = node.tensor()
    size = shape_of(x)[-1]
    if size > MAX_DETERMINANT:
        raise node.unlowered(f"is of {size} rows; at most {MAX_DETERMINANT} are written out")
    mil, last = node.mil, len(shape_of(x)) - 1
    rows = [mil.gather(x=x, indices=np.int32(at), axis=last - 1) for at in range(size)]
    grid = [[mil.gather(x=row, indices=np.int32(at), axis=last - 1) for at in range(size)] for row in rows]
    return _minor(node, grid)


def _minor(node: Node, grid: list[list[Tensor]]) -> Tensor:
    mil = node.mil
    if len(grid) == 1:
        return mil.identity(x=grid[0][0])
    total: Tensor = None
    for at, head in enumerate(grid[0]):
        rest = [row[:at] + row[at + 1 :] for row in grid[1:]]
        term = mil.mul(x=head, y=_minor(node, rest))
        total = term if total is None else (mil.sub if at % 2 else mil.add)(x=total, y=term)
    return total


LOWERINGS: dict[str, Lowering] = {"Det": _det, "Einsum": _einsum, "Gemm": _gemm, "MatMul": _matmul}
