"""Relations between the columns of a table, in a small language: ``open_accounts <= total_accounts``.

    a <= b, a < b, a >= b, a > b, a == b, a != b, a <= b <= c     numbers (equal within a millionth), texts for == and !=
    and, or, not, implies(p, q)                                   of relations
    + - * / and abs, min, max, log, exp, sqrt, round, floor        of numbers
    a in ('x', 'y')                                                texts or numbers
    col('name with spaces')                                        a column whose name is no word

Text is parsed by Python's own grammar and then read node by node; nothing is ever evaluated as code. A relation says for
each row whether it holds, by how much it is violated (for attacks that climb back), and how to repair a column of it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadInput

Columns = Mapping[str, NDArray[Any]]
CLOSE = 1e-6  # relative: how near two numbers are that count as equal
MOST = 2000  # characters of a relation
_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide,
}  # fmt: skip
_CALLS: dict[str, tuple[Callable[..., Any], int]] = {
    "abs": (np.abs, 1), "log": (np.log, 1), "exp": (np.exp, 1), "sqrt": (np.sqrt, 1), "round": (np.round, 1),
    "floor": (np.floor, 1), "min": (np.minimum, 2), "max": (np.maximum, 2),
}  # fmt: skip
_OPPOSITE: dict[type, type] = {
    ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation over the columns of a table.

    Args:
        text: In the language above.

    Raises:
        BadInput: It cannot be read; the message says where.
    """

    text: str
    columns: tuple[str, ...] = field(init=False, default=(), compare=False)
    _tree: ast.expr = field(init=False, repr=False, compare=False, default=ast.Constant(True))

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip() or len(self.text) > MOST:
            raise BadInput(f"relation {str(self.text)[:60]!r}: give a text of 1 to {MOST} characters")
        try:
            tree = ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
            raise BadInput(f"relation {self.text!r} cannot be read: {error}") from None
        names: list[str] = []
        _check(tree, self.text, names, truth=True)
        object.__setattr__(self, "columns", tuple(dict.fromkeys(names)))
        object.__setattr__(self, "_tree", tree)

    def __call__(self, table: Any) -> NDArray[np.bool_]:
        """Which rows it holds for, ``(n,)``; a row with a missing number is one it does not hold for."""
        with np.errstate(all="ignore"):
            return np.asarray(_violation(self._tree, self._read(table), False) <= 0)

    def violation(self, table: Any) -> NDArray[np.float64]:
        """By how much each row violates it, ``(n,)``, in the units of its sides; 0 where it holds, inf where nobody can tell."""
        with np.errstate(all="ignore"):
            return np.asarray(_violation(self._tree, self._read(table), False), np.float64)

    def repair(self, table: dict[str, NDArray[Any]], free: frozenset[str]) -> None:
        """Set, in rows that violate it, a free column that stands alone on one side to what the other side asks for."""
        for part in _parts(self._tree):
            with np.errstate(all="ignore"):
                _mend(part, table, free)

    def _read(self, table: Any) -> Columns:
        return {name: np.asarray(table[name]) for name in self.columns}


def _check(node: ast.expr, text: str, names: list[str], *, truth: bool) -> None:
    """Refuse what the language does not have, by name; collect the columns."""
    if truth:
        inner, truths = _truth_parts(node, text)
        for part in inner:
            _check(part, text, names, truth=truths)
        return
    if isinstance(node, ast.Name):
        names.append(node.id)
    elif isinstance(node, ast.Call) and _called(node) == "col":
        names.append(_text_of(node, text))
    elif isinstance(node, ast.Call) and _called(node) in _CALLS:
        wanted = _CALLS[str(_called(node))][1]
        if len(node.args) != wanted or node.keywords:
            raise BadInput(f"relation {text!r}: {_called(node)} takes {wanted}")
        for part in node.args:
            _check(part, text, names, truth=False)
    elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        for part in (node.left, node.right):
            _check(part, text, names, truth=False)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        _check(node.operand, text, names, truth=False)
    elif not (isinstance(node, ast.Constant) and isinstance(node.value, int | float | str)):
        raise BadInput(f"relation {text!r}: {ast.unparse(node)!r} is not part of the language; see casemate.core.relation")


def _truth_parts(node: ast.expr, text: str) -> tuple[list[ast.expr], bool]:
    """What a relation is made of, and whether these are relations themselves."""
    if isinstance(node, ast.BoolOp):
        return node.values, True
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return [node.operand], True
    if isinstance(node, ast.Call) and _called(node) == "implies" and len(node.args) == 2 and not node.keywords:
        return node.args, True
    if isinstance(node, ast.Compare) and all(type(op) in _OPPOSITE for op in node.ops):
        sides = [node.left, *node.comparators]
        for op, side in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                if not isinstance(side, ast.Tuple | ast.List) or not all(isinstance(e, ast.Constant) for e in side.elts):
                    raise BadInput(f"relation {text!r}: after `in` comes a list of values in brackets")
                sides.remove(side)
        return sides, False
    raise BadInput(f"relation {text!r}: {ast.unparse(node)!r} compares nothing; write for instance `a <= b`")


def _called(node: ast.Call) -> str | None:
    return node.func.id if isinstance(node.func, ast.Name) else None


def _text_of(node: ast.Call, text: str) -> str:
    if len(node.args) != 1 or not isinstance(node.args[0], ast.Constant) or not isinstance(node.args[0].value, str):
        raise BadInput(f"relation {text!r}: col takes the name of a column in quotes")
    return node.args[0].value


def _value(node: ast.expr, table: Columns) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return _number(table[node.id])
    if isinstance(node, ast.BinOp):
        return _BINARY[type(node.op)](_value(node.left, table), _value(node.right, table))
    if isinstance(node, ast.UnaryOp):
        return -_value(node.operand, table)
    assert isinstance(node, ast.Call)
    if _called(node) == "col":
        return _number(table[_text_of(node, "")])
    return _CALLS[str(_called(node))][0](*(_value(part, table) for part in node.args))


def _number(column: NDArray[Any]) -> NDArray[Any]:
    return column.astype(np.float64) if column.dtype.kind in "biuf" else column


def _violation(node: ast.expr, table: Columns, negated: bool) -> Any:
    """How far from true, per row. `and` adds up (all have to be mended), `or` takes the nearest (one has to)."""
    if isinstance(node, ast.BoolOp):
        parts = [_violation(part, table, negated) for part in node.values]
        return _all(parts) if isinstance(node.op, ast.And) != negated else _any(parts)
    if isinstance(node, ast.UnaryOp):
        return _violation(node.operand, table, not negated)
    if isinstance(node, ast.Call):
        given, then = (_violation(part, table, flip != negated) for part, flip in zip(node.args, (True, False), strict=True))
        return given + then if negated else np.minimum(given, then)
    assert isinstance(node, ast.Compare)
    sides = [node.left, *node.comparators]
    steps = [_compared(a, op, b, table, negated) for a, op, b in zip(sides, node.ops, sides[1:], strict=False)]
    return _any(steps) if negated else _all(steps)


def _all(parts: list[Any]) -> Any:
    return sum(parts[1:], parts[0])


def _any(parts: list[Any]) -> Any:
    return np.minimum.reduce(np.broadcast_arrays(*parts))


def _compared(a: ast.expr, op: ast.cmpop, b: ast.expr, table: Columns, negated: bool) -> Any:
    kind = _OPPOSITE[type(op)] if negated else type(op)
    left = np.asarray(_value(a, table))
    if issubclass(kind, ast.In | ast.NotIn):
        assert isinstance(b, ast.Tuple | ast.List)
        inside = np.isin(left, np.array([e.value for e in b.elts], dtype=object if left.dtype.kind == "O" else None))  # type: ignore[attr-defined]
        return np.where(inside == issubclass(kind, ast.In), 0.0, 1.0)
    right = np.asarray(_value(b, table))
    if left.dtype.kind not in "biuf" or right.dtype.kind not in "biuf":
        if kind not in (ast.Eq, ast.NotEq):
            raise BadInput(f"{ast.unparse(a)} and {ast.unparse(b)} are texts; compare them with == or !=")
        return np.where((left == right) == (kind is ast.Eq), 0.0, 1.0)
    return _gap(kind, left, right)


def _gap(kind: type, left: Any, right: Any) -> Any:
    size = np.maximum(1.0, np.maximum(np.abs(left), np.abs(right)))
    over, apart = left - right, np.abs(left - right)
    near = apart <= CLOSE * size
    gaps: dict[type, Any] = {
        ast.LtE: np.where(near, 0.0, np.maximum(over, 0.0)), ast.GtE: np.where(near, 0.0, np.maximum(-over, 0.0)),
        ast.Lt: np.where(over < 0, 0.0, np.maximum(over, CLOSE * size)),
        ast.Gt: np.where(over > 0, 0.0, np.maximum(-over, CLOSE * size)),
        ast.Eq: np.where(near, 0.0, apart), ast.NotEq: np.where(near, CLOSE * size, 0.0),
    }  # fmt: skip
    return np.where(np.isfinite(over), gaps[kind], np.inf)


def _parts(node: ast.expr) -> list[ast.Compare]:
    """Comparisons that have to hold whatever else does."""
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        return [part for value in node.values for part in _parts(value)]
    return [node] if isinstance(node, ast.Compare) and len(node.ops) == 1 else []


def _mend(part: ast.Compare, table: dict[str, NDArray[Any]], free: frozenset[str]) -> None:
    op, sides = type(part.ops[0]), (part.left, part.comparators[0])
    if op not in (ast.Eq, ast.LtE, ast.GtE):
        return
    for column, other in (sides, sides[::-1]):
        name = _lone(column)
        if name is None or name not in free or table[name].dtype.kind not in "biuf":
            continue
        if any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(other)):
            continue  # the other side would move with it
        wrong = _violation(part, table, False) > 0
        value = np.broadcast_to(np.asarray(_value(other, table), np.float64), wrong.shape)
        table[name] = np.where(wrong & np.isfinite(value), value, table[name])
        return


def _lone(node: ast.expr) -> str | None:
    """The name of a side that is one column and nothing else."""
    if isinstance(node, ast.Name):
        return node.id
    return _text_of(node, "") if isinstance(node, ast.Call) and _called(node) == "col" else None
