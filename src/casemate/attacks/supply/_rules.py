"""What a stream may do with the values it builds: calls, state, mutation.

Each rule is phrased as what is allowed. Everything else is a finding of severity high, even where no exploit is known.
"""

from __future__ import annotations

from casemate.attacks.supply._finding import Limits, Notebook, Severity
from casemate.attacks.supply._values import WRAPPER, Allowed, Kind, Name, Sym, Use

RECONSTRUCTOR: Name = ("copyreg", "_reconstructor")

_CONTAINERS: frozenset[Name] = frozenset(
    [
        ("collections", "OrderedDict"),
        ("collections", "defaultdict"),
        ("collections", "Counter"),
        ("collections", "deque"),
        ("builtins", "set"),
        ("sklearn.utils._bunch", "Bunch"),
        ("sklearn.utils", "Bunch"),
    ]
)

_ALLOCATORS: frozenset[Name] = frozenset(
    [
        ("numpy", "ndarray"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("builtins", "bytes"),
        ("builtins", "bytearray"),
        ("builtins", "range"),
    ]
)

_ENCODINGS = {"latin1", "latin-1", "ascii", "utf-8", "utf8"}


def check_call(book: Notebook, limits: Limits, allowed: Allowed, func: Sym, args: Sym, offset: int) -> None:
    """Judge ``func(*args)`` as REDUCE, INST, OBJ and NEWOBJ would perform it."""
    if func.kind is not Kind.GLOBAL:
        reason = "only a global that the stream names may be called, so that the allow list sees it"
        book.add(Severity.HIGH, offset, "call of a computed value", reason)
        return
    use = allowed.get(func.value)
    if use is None:
        return  # naming it was already critical
    name = ".".join(func.value)
    if args.kind is not Kind.TUPLE:
        book.add(Severity.HIGH, offset, f"{name} called with computed arguments", "the arguments cannot be judged")
    elif func.value == RECONSTRUCTOR:
        _check_reconstructor(book, allowed, args, offset)
    elif any(item.kind is Kind.GLOBAL and item.value == WRAPPER for item in args.items):
        reason = "a joblib array wrapper made indirectly hides where its raw bytes lie"
        book.add(Severity.HIGH, offset, f"{name}({'.'.join(WRAPPER)})", reason)
    elif use is Use.NAME:
        book.add(Severity.HIGH, offset, f"call of {name}", "the allow list lets it be named, never called")
    elif use is Use.NEW and args.items:
        book.add(Severity.HIGH, offset, f"{name} called with arguments", "the allow list lets it be created empty only")
    else:
        _check_arguments(book, limits, func.value, args, offset)


def _check_reconstructor(book: Notebook, allowed: Allowed, args: Sym, offset: int) -> None:
    fine = len(args.items) == 3 and all(item.kind is Kind.GLOBAL for item in args.items[:2])
    if fine:
        created, base, _ = args.items
        fine = allowed.get(created.value, Use.NAME) is not Use.NAME and allowed.get(base.value) is not None
    if not fine:
        reason = "it may only create an instance of a class that the allow list lets be created"
        book.add(Severity.HIGH, offset, "copyreg._reconstructor with unusual arguments", reason)


def _check_arguments(book: Notebook, limits: Limits, name: Name, args: Sym, offset: int) -> None:
    if name == ("_codecs", "encode"):
        encoding = args.items[1].text() if len(args.items) == 2 else None
        if encoding not in _ENCODINGS:
            reason = "looking an encoding up by name imports a module of that name"
            book.add(Severity.HIGH, offset, "_codecs.encode with an unusual encoding", reason)
    if name in _ALLOCATORS and _elements(args) > limits.elements:
        reason = "an allocation that large exhausts the memory of whoever loads the file"
        book.add(Severity.HIGH, offset, f"{'.'.join(name)} of more than {limits.elements} elements", reason)


def _elements(args: Sym) -> int:
    largest = 0
    for item in args.items:
        size = abs(item.whole() or 0)
        if item.kind is Kind.TUPLE:
            size = 1
            for part in item.items:
                size *= abs(part.whole() or 0)
        largest = max(largest, size)
    return largest


def check_build(book: Notebook, target: Sym, state: Sym, offset: int) -> None:
    """Judge BUILD: only a fresh instance may get state, and only under plain names."""
    if target.kind is not Kind.MADE:
        reason = "setting state on a class, a function or a computed value changes it for the whole process"
        book.add(Severity.HIGH, offset, f"BUILD on a {target.kind} ({_label(target)})", reason)
    if state.kind in (Kind.MADE, Kind.OPAQUE, Kind.GLOBAL):
        book.add(Severity.HIGH, offset, "BUILD with a computed state", "which attributes it sets cannot be judged")
    for part in (state, *state.items):
        if part.kind is not Kind.DICT:
            continue
        if part.odd_keys:
            book.add(Severity.HIGH, offset, "BUILD with a computed attribute name", "the name cannot be judged")
        for key in part.fields or {}:
            if key.startswith("__") and key.endswith("__"):
                reason = "a dunder attribute changes what the object is or how it is loaded further on"
                book.add(Severity.HIGH, offset, f"BUILD sets {key}", reason)


def check_mutation(book: Notebook, target: Sym, offset: int) -> None:
    """Judge APPEND(S), SETITEM(S) and ADDITEMS, which call methods that an instance may have had replaced."""
    plain = target.kind in (Kind.LIST, Kind.DICT, Kind.SET)
    if not plain and not (target.kind is Kind.MADE and target.value in _CONTAINERS):
        reason = "adding items to anything but a plain container calls a method of its choosing"
        book.add(Severity.HIGH, offset, f"items added to a {target.kind} ({_label(target)})", reason)


def _label(sym: Sym) -> str:
    if sym.kind in (Kind.GLOBAL, Kind.MADE) and isinstance(sym.value, tuple):
        return ".".join(sym.value)
    return "unnamed"
