"""A pickle machine that builds nothing.

It keeps the stack, the marks and the memo exactly as the unpickler would, because most published bypasses live in the
difference between the two, and it judges every operation when it happens: a call whose result is popped again has
still been made.
"""

from __future__ import annotations

import _compat_pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from casemate.attacks.supply import _rules
from casemate.attacks.supply._finding import Data, Limits, Notebook, Severity
from casemate.attacks.supply._values import Allowed, Kind, Name, Sym, Use, literal, no_module


class Broken(Exception):
    """The stream cannot be followed from here; an unpickler has executed everything before."""


class Invalid(Broken):
    """The stream cannot be followed by any unpickler: all of them stop here too."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A tensor storage that a torch stream names by persistent id."""

    key: str
    dtype: str
    elements: int


@dataclass(slots=True)
class Machine:
    """The state of one stream."""

    data: Data
    book: Notebook
    allowed: Allowed
    limits: Limits
    persistent: bool = False
    proto: int = 0
    frame_end: int = 0
    stack: list[Sym] = field(default_factory=list)
    marks: list[list[Sym]] = field(default_factory=list)
    memo: dict[int, Sym] = field(default_factory=dict)
    globals: set[Name] = field(default_factory=set)
    storages: list[Storage] = field(default_factory=list)

    def push(self, sym: Sym) -> None:
        """Push, and refuse what a naive traversal could never finish."""
        if sym.weight > self.limits.weight:
            self.book.add(Severity.HIGH, None, "expansion bomb", "shared containers unfold to an enormous structure")
            raise Broken("expansion bomb")
        self.stack.append(sym)

    def pop(self) -> Sym:
        """Pop; below the last mark there is nothing, as in the unpickler."""
        if not self.stack:
            raise Invalid("the stack is empty")
        return self.stack.pop()

    def top(self) -> Sym:
        """The top of the stack."""
        if not self.stack:
            raise Invalid("the stack is empty")
        return self.stack[-1]

    def above_mark(self) -> list[Sym]:
        """Everything since the last mark, and back to the stack before it."""
        if not self.marks:
            raise Invalid("there is no mark")
        items, self.stack = self.stack, self.marks.pop()
        return items

    def remember(self, key: int) -> None:
        """Put the top of the stack into the memo."""
        if key < 0:
            raise Invalid("the memo key is negative")
        if len(self.memo) >= self.limits.memo:
            raise Broken("the memo exceeds its limit")
        self.memo[key] = self.top()

    def reach(self, module: str, name: str, offset: int) -> Sym:
        """The stream names a global: look it up as the unpickler would, and judge it."""
        found = canonical(module, name) if self.proto < 3 else (module, name)
        self.globals.add(found)
        if found not in self.allowed:
            label = f"{found[0]}.{found[1]}"
            self.book.add(Severity.CRITICAL, offset, label, "loading imports it, and it is not on the allow list")
        if no_module(found[0]):
            raise Invalid("no module has such a name")
        return Sym(Kind.GLOBAL, found)

    def call(self, func: Sym, args: Sym, offset: int) -> None:
        """Judge a call and push its result."""
        _rules.check_call(self.book, self.limits, self.allowed, func, args, offset)
        made = func.value if func.kind is Kind.GLOBAL else None
        if made == _rules.RECONSTRUCTOR and args.items and args.items[0].kind is Kind.GLOBAL:
            made = args.items[0].value
        self.push(Sym(Kind.MADE, made, items=args.items))


def canonical(module: str, name: str) -> Name:
    """The Python 3 name of a Python 2 global, as unpicklers map it below protocol 3."""
    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[module, name]
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


def tuple_of(items: list[Sym]) -> Sym:
    """A tuple value."""
    return Sym(Kind.TUPLE, items=tuple(items), weight=1 + sum(item.weight for item in items))


Handler = Callable[[Machine, Any, int], None]


def _two_lines(m: Machine, offset: int) -> tuple[str, str]:
    """The raw operand of GLOBAL and INST.

    Read from the bytes: ``pickletools`` joins the two lines with a space and undoes escapes, the unpickler does neither.
    """
    first = m.data.find(b"\n", offset + 1)
    second = m.data.find(b"\n", first + 1)
    try:
        return m.data[offset + 1 : first].decode("utf-8"), m.data[first + 1 : second].decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("the name of a global is not UTF-8") from error


def _global(m: Machine, arg: Any, offset: int) -> None:
    m.push(m.reach(*_two_lines(m, offset), offset))


def _stack_global(m: Machine, arg: Any, offset: int) -> None:
    name, module = m.pop(), m.pop()
    first, second = module.text(), name.text()
    if any(_surely_no_string(sym, m.allowed) for sym in (module, name)):
        raise Invalid("the name of a global is no string")
    if first is None or second is None or not (first + second).isascii():
        reason = "its name is computed, so that a scanner cannot see it"
        m.book.add(Severity.CRITICAL, offset, "a global that cannot be resolved", reason)
        m.push(Sym(Kind.OPAQUE))
    else:
        m.push(m.reach(first, second, offset))


def _surely_no_string(sym: Sym, allowed: Allowed) -> bool:
    if sym.kind is Kind.LITERAL:
        return sym.value is not Ellipsis and not isinstance(sym.value, str)
    if sym.kind is Kind.MADE and sym.value is not None:
        return allowed.get(sym.value) is Use.NEW  # an instance of a class that is none of the string types
    return sym.kind in (Kind.TUPLE, Kind.LIST, Kind.DICT, Kind.SET)


def _inst(m: Machine, arg: Any, offset: int) -> None:
    args = tuple_of(m.above_mark())
    m.call(m.reach(*_two_lines(m, offset), offset), args, offset)


def _obj(m: Machine, arg: Any, offset: int) -> None:
    items = m.above_mark()
    if not items:
        raise Invalid("OBJ without a class")
    m.call(items[0], tuple_of(items[1:]), offset)


def _reduce(m: Machine, arg: Any, offset: int) -> None:
    args, func = m.pop(), m.pop()
    m.call(func, args, offset)


def _newobj_ex(m: Machine, arg: Any, offset: int) -> None:
    kwargs, args, func = m.pop(), m.pop(), m.pop()
    if kwargs.kind is not Kind.DICT or kwargs.fields or kwargs.odd_keys:
        m.book.add(Severity.HIGH, offset, "NEWOBJ_EX with keyword arguments", "the arguments are not judged by name")
    m.call(func, args, offset)


def _build(m: Machine, arg: Any, offset: int) -> None:
    state = m.pop()
    target = m.top()
    _rules.check_build(m.book, target, state, offset)
    target.states = (*target.states[:1], state)  # a second state is only ever counted, never read


def _persistent(m: Machine, arg: Any, offset: int) -> None:
    pid = m.pop()
    storage = _storage(pid) if m.persistent else None
    if storage is None:
        reason = "the loader resolves it to an object that the stream does not show"
        m.book.add(Severity.HIGH, offset, "persistent id", reason)
    elif storage not in m.storages[-1:]:
        m.storages.append(storage)
    m.push(Sym(Kind.OPAQUE))


def _storage(pid: Sym) -> Storage | None:
    if pid.kind is not Kind.TUPLE or len(pid.items) < 5 or pid.items[0].text() != "storage":
        return None
    dtype, key, count = pid.items[1], pid.items[2].text(), pid.items[4].whole()
    if dtype.kind is not Kind.GLOBAL or key is None or count is None or count < 0:
        return None
    return Storage(key, dtype.value[1], count)


def _persid_text(m: Machine, arg: Any, offset: int) -> None:
    m.push(Sym(Kind.OPAQUE))
    _persistent(m, arg, offset)


def _extension(m: Machine, arg: Any, offset: int) -> None:
    reason = "the extension registry of the loading process decides what it is"
    m.book.add(Severity.CRITICAL, offset, f"extension code {arg}", reason)
    m.push(Sym(Kind.OPAQUE))


def _buffer(m: Machine, arg: Any, offset: int) -> None:
    m.book.add(Severity.MEDIUM, offset, "out-of-band buffer", "its bytes are not in this file")
    m.push(Sym(Kind.OPAQUE))


def _get(m: Machine, arg: Any, offset: int) -> None:
    key = int(arg)
    if key not in m.memo:
        raise Invalid(f"memo entry {key} was never stored")
    m.push(m.memo[key])


def _extend(m: Machine, items: list[Sym], offset: int) -> None:
    target = m.top()
    _rules.check_mutation(m.book, target, offset)
    target.weight += sum(item.weight for item in items)


def _set_items(m: Machine, items: list[Sym], offset: int) -> None:
    if len(items) % 2:
        raise Invalid("an odd number of keys and values")
    target = m.top()
    _rules.check_mutation(m.book, target, offset)
    _store(target, items)


def _store(target: Sym, items: list[Sym]) -> None:
    fields = target.fields if target.fields is not None else {}
    for key, value in zip(items[::2], items[1::2], strict=True):
        name = key.text()
        if name is None:
            target.odd_keys = True
        else:
            fields[name] = value
        target.weight += value.weight + key.weight - 1
    target.fields = fields


def _dict(m: Machine, arg: Any, offset: int) -> None:
    items = m.above_mark()
    if len(items) % 2:
        raise Invalid("an odd number of keys and values")
    made = Sym(Kind.DICT)
    _store(made, items)
    m.push(made)


def _pop(m: Machine, arg: Any, offset: int) -> None:
    if m.stack:
        m.stack.pop()
    else:
        m.above_mark()


def _mark(m: Machine, arg: Any, offset: int) -> None:
    m.marks.append(m.stack)
    m.stack = []


def _several(m: Machine, kind: Kind) -> None:
    items = m.above_mark()
    m.push(Sym(kind, weight=1 + sum(item.weight for item in items)))


def _last(m: Machine, count: int) -> None:
    items = [m.pop() for _ in range(count)][::-1]
    m.push(tuple_of(items))


def _proto(m: Machine, arg: Any, offset: int) -> None:
    if arg > 5:
        raise Invalid(f"protocol {arg} does not exist")
    m.proto = arg


def _frame(m: Machine, arg: Any, offset: int) -> None:
    m.frame_end = offset + 9 + arg
    if m.frame_end > len(m.data):
        raise Broken("a frame reaches past the end of the file")


def _stop(m: Machine, arg: Any, offset: int) -> None:
    m.top()


def _nothing(m: Machine, arg: Any, offset: int) -> None:
    return None


def _pair_pop(m: Machine) -> list[Sym]:
    value = m.pop()
    return [m.pop(), value]


def _push_literal(m: Machine, arg: Any, offset: int) -> None:
    m.stack.append(literal(arg))


def _ascii_literal(m: Machine, arg: Any, offset: int) -> None:
    # The encoding of these is the loader's choice, so anything beyond ASCII has no certain value
    m.stack.append(literal(arg if isinstance(arg, str) and arg.isascii() else Ellipsis))


_LITERALS = (
    "INT",
    "BININT",
    "BININT1",
    "BININT2",
    "LONG",
    "LONG1",
    "LONG4",
    "FLOAT",
    "BINFLOAT",
    "NONE",
    "UNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE",
    "BINUNICODE8",
    "BINBYTES",
    "SHORT_BINBYTES",
    "BINBYTES8",
    "BYTEARRAY8",
)

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_LITERALS, _push_literal),
    **dict.fromkeys(("STRING", "BINSTRING", "SHORT_BINSTRING"), _ascii_literal),
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _extension),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, arg, offset: m.remember(int(arg))),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _get),
    "MEMOIZE": lambda m, arg, offset: m.remember(len(m.memo)),
    "NEWTRUE": lambda m, arg, offset: m.push(literal(True)),
    "NEWFALSE": lambda m, arg, offset: m.push(literal(False)),
    "MARK": _mark,
    "POP": _pop,
    "POP_MARK": lambda m, arg, offset: m.above_mark().clear(),
    "DUP": lambda m, arg, offset: m.push(m.top()),
    "EMPTY_TUPLE": lambda m, arg, offset: m.push(tuple_of([])),
    "TUPLE1": lambda m, arg, offset: _last(m, 1),
    "TUPLE2": lambda m, arg, offset: _last(m, 2),
    "TUPLE3": lambda m, arg, offset: _last(m, 3),
    "TUPLE": lambda m, arg, offset: m.push(tuple_of(m.above_mark())),
    "EMPTY_LIST": lambda m, arg, offset: m.push(Sym(Kind.LIST)),
    "LIST": lambda m, arg, offset: _several(m, Kind.LIST),
    "EMPTY_SET": lambda m, arg, offset: m.push(Sym(Kind.SET)),
    "FROZENSET": lambda m, arg, offset: _several(m, Kind.SET),
    "EMPTY_DICT": lambda m, arg, offset: m.push(Sym(Kind.DICT)),
    "DICT": _dict,
    "APPEND": lambda m, arg, offset: _extend(m, [m.pop()], offset),
    "APPENDS": lambda m, arg, offset: _extend(m, m.above_mark(), offset),
    "ADDITEMS": lambda m, arg, offset: _extend(m, m.above_mark(), offset),
    "SETITEM": lambda m, arg, offset: _set_items(m, _pair_pop(m), offset),
    "SETITEMS": lambda m, arg, offset: _set_items(m, m.above_mark(), offset),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "INST": _inst,
    "OBJ": _obj,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _newobj_ex,
    "BUILD": _build,
    "PERSID": _persid_text,
    "BINPERSID": _persistent,
    "NEXT_BUFFER": _buffer,
    "READONLY_BUFFER": _nothing,
    "PROTO": _proto,
    "FRAME": _frame,
    "STOP": _stop,
}
