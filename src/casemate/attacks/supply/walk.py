"""The pickle walker: everything a stream would import, call and set, without importing, calling or setting anything.

An allow list decides (``allowed_globals.txt``). A deny list has to know every dangerous function of every installed
package; the bypass history of such scanners is a list of the ones they did not know.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO

from casemate.attacks.supply._finding import (
    Data,
    Finding,
    Limits,
    Notebook,
    Severity,
    opened,
)
from casemate.attacks.supply._joblib import Unclear, payload
from casemate.attacks.supply._machine import HANDLERS, Broken, Invalid, Machine, Storage
from casemate.attacks.supply._values import (
    WRAPPER,
    Allowed,
    Kind,
    Name,
    Sym,
    default_allowed,
    stops_everyone,
)

SCANNER = "walker"
Span = tuple[int, int]


class Loader(StrEnum):
    """Who will read the stream: they differ in what lies between and behind the opcodes."""

    PICKLE = "pickle"
    JOBLIB = "joblib"
    TORCH = "torch"


@dataclass(frozen=True, slots=True)
class Walk:
    """What was seen. ``broken`` is where and why the stream could not be followed to its end.

    ``certain`` means that no unpickler gets further either. ``spans`` are the opcode bytes without array payloads; ``end``
    the first byte that belongs to no complete stream.
    """

    findings: tuple[Finding, ...]
    globals: frozenset[Name]
    storages: tuple[Storage, ...]
    spans: tuple[Span, ...]
    payloads: tuple[Span, ...]
    streams: int
    opcodes: int
    end: int
    broken: tuple[int, str] | None
    certain: bool
    roots: tuple[Sym, ...] = ()  # what each complete stream would give back, in order

    @property
    def uses_joblib(self) -> bool:
        """Whether joblib would find array bytes inside this stream."""
        return WRAPPER in self.globals


@dataclass(slots=True)
class _Progress:
    """What accumulates over the streams of one file."""

    data: Data
    source: IO[bytes]
    book: Notebook
    allowed: Allowed
    limits: Limits
    loader: Loader
    opcodes: int = 0
    certain: bool = False
    globals: set[Name] = field(default_factory=set)
    storages: list[Storage] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    payloads: list[Span] = field(default_factory=list)
    roots: list[Sym] = field(default_factory=list)


def walk(
    data: Data,
    *,
    start: int = 0,
    where: str = "",
    loader: Loader = Loader.PICKLE,
    allowed: Allowed | None = None,
    limits: Limits | None = None,
    most: int | None = None,
) -> Walk:
    """Follow every pickle stream in ``data`` from ``start`` on, at most ``most`` of them. Never raises, never loads.

    A stream that breaks off is reported in ``broken`` only if it is the first; what follows a complete stream and is
    no pickle is left to the caller, who knows the format, as the bytes from ``end`` on.
    """
    book = Notebook(where, SCANNER)
    p = _Progress(data, opened(data), book, allowed or default_allowed(), limits or Limits(), loader)
    end, streams, broken = start, 0, None
    while end < len(data) and (most is None or streams < most):
        p.source.seek(end)
        broken = _stream(p, loader, 0)
        if broken is not None:
            break
        end, streams = p.source.tell(), streams + 1
    if streams and broken is not None and p.opcodes <= p.limits.opcodes:
        broken = None
    elif not streams and broken is None:
        broken = (start, "there is no pickle here")
    return Walk(
        tuple(book.found),
        frozenset(p.globals),
        tuple(p.storages),
        tuple(p.spans),
        tuple(p.payloads),
        streams,
        p.opcodes,
        end,
        broken,
        p.certain,
        tuple(p.roots),
    )


def _stream(p: _Progress, loader: Loader, deep: int) -> tuple[int, str] | None:
    """Follow one stream from where the source stands; None when it ended with STOP."""
    machine = Machine(p.data, p.book, p.allowed, p.limits, persistent=loader is Loader.TORCH)
    start = at = ahead = p.source.tell()
    try:
        for op, arg, offset in pickletools.genops(p.source):
            at = offset if offset is not None else at
            p.opcodes += 1
            if p.opcodes > p.limits.opcodes:
                raise Broken(f"more than {p.limits.opcodes} opcodes")
            HANDLERS[op.name](machine, arg, at)
            ahead = p.source.tell()
            if op.name == "BUILD" and loader is Loader.JOBLIB and _is_wrapper(machine.stack[-1]):
                p.spans.append((start, p.source.tell()))
                _skip_array(p, machine, deep)
                start = ahead = p.source.tell()
    except (Broken, Unclear) as stopped:
        p.certain = isinstance(stopped, Invalid)
        return _stopped(p, machine, start, at, str(stopped))
    except Exception as error:  # noqa: BLE001  genops raises many types; any of them means "cannot be followed"
        p.certain = stops_everyone(p.data, ahead)
        return _stopped(p, machine, start, ahead, f"{type(error).__name__}: {error}")
    p.spans.append((start, p.source.tell()))
    _keep(p, machine)
    if deep == 0:
        p.roots.append(machine.stack[-1])
    return None


def _stopped(p: _Progress, machine: Machine, start: int, at: int, why: str) -> tuple[int, str]:
    p.spans.append((start, len(p.data)))
    _keep(p, machine)
    return at, why


def _is_wrapper(sym: Sym) -> bool:
    return sym.kind is Kind.MADE and sym.value == WRAPPER


def _keep(p: _Progress, machine: Machine) -> None:
    p.globals |= machine.globals
    p.storages += machine.storages


def _skip_array(p: _Progress, machine: Machine, deep: int) -> None:
    """Move the source past the array that joblib reads here, walking it if it is a nested pickle."""
    start = p.source.tell()
    extent = payload(machine.stack[-1], p.data, start, machine.frame_end)
    if extent.end is not None:
        p.source.seek(extent.end)
        p.payloads.append((extent.start, extent.end))
    elif deep >= p.limits.depth:
        raise Broken("pickles nested too deep")
    else:
        broken = _stream(p, Loader.PICKLE, deep + 1)
        if broken is not None:
            raise Broken(f"nested pickle: {broken[1]}")
        p.payloads.append((start, p.source.tell()))
    machine.stack[-1] = Sym(Kind.MADE, ("numpy", "ndarray"))


def broken_finding(result: Walk, where: str) -> Finding | None:
    """What a stream that cannot be followed means: everything before the break has run, the rest is unseen."""
    if result.broken is None:
        return None
    offset, why = result.broken
    reason = "the stream executes up to here, and what follows was not judged"
    return Finding(Severity.MEDIUM, where, offset, f"broken pickle stream: {why}", reason, SCANNER)
