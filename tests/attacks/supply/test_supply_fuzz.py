"""Random and mutated bytes: scanning never raises, and never calls safe what an unpickler would import."""

from __future__ import annotations

import contextlib
import pickle
import struct
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casemate.attacks.supply._archive import Allowance
from casemate.attacks.supply._finding import Limits, verdict_of
from casemate.attacks.supply._inspect import Inspection, inspect
from casemate.attacks.supply._values import default_allowed
from casemate.attacks.supply.walk import walk

LIMITS = Limits(opcodes=20_000, member_bytes=1 << 20, total_bytes=1 << 22)
QUICK = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def verdict(data: bytes) -> str:
    i = Inspection(default_allowed(), LIMITS, Allowance(LIMITS.total_bytes, LIMITS.members))
    inspect(i, data, "fuzz")
    return verdict_of(i.findings)


class Watcher(pickle.Unpickler):
    """An unpickler that imports nothing: it stops at the first global that is not on the allow list.

    Of a dotted name Python imports the first part first; where that can be no file's name, nothing is imported.
    """

    reached: tuple[str, str] | None = None

    def find_class(self, module: str, name: str) -> object:
        first = module.split(".")[0].strip()
        if not module or not all(char.isalnum() or char in "_-" for char in first):
            raise ModuleNotFoundError(module)
        if (module, name) not in default_allowed():
            self.reached = (module, name)
            raise pickle.UnpicklingError("reached")
        return Harmless

    def persistent_load(self, pid: object) -> object:
        return None


class Harmless:
    """Stands in for every allowed global: creating, calling and filling it does nothing."""

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        return object.__new__(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        return None

    def __setstate__(self, state: object) -> None:
        return None

    def append(self, item: object) -> None:
        return None

    def __setitem__(self, key: object, value: object) -> None:
        return None

    def __hash__(self) -> int:
        return 1


def reached(data: bytes) -> tuple[str, str] | None:
    watcher = Watcher(BytesIO(data))
    with contextlib.suppress(Exception):
        watcher.load()
    return watcher.reached


SEEDS = [pickle.dumps(OrderedDict(a=[1, 2.5, None], b={"x": (1, 2)}), proto) for proto in range(6)] + [
    pickle.dumps(np.arange(4.0), 2),
    b"\x80\x04\x8c\x0bcollections\x94\x8c\x02os\x94\x8c\x06system\x94h\x01h\x02\x930N.",
    b"(cos\nsystem\nX\x04\x00\x00\x00trueo.",
    b"cos\nsystem\n(S'true'\ntR.",
    b"\x80\x02ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00aK\x01sb.",
]
PIECES = [
    b"cos\nsystem\n", b"ccollections\nOrderedDict\n", b"(", b")", b"R", b"t", b"0", b"1", b"2", b"\x81", b"\x93",
    b"\x94", b"h\x00", b"h\x01", b"q\x00", b"q\x01", b"b", b"}", b"]", b"s", b"u", b"e", b"a", b"o", b"N", b".",
    b"\x8c\x02os", b"\x8c\x06system", b"\x8c\x0bcollections", b"\x8c\x0bOrderedDict", b"\x85", b"\x86", b"\x87",
    b"\x80\x04", b"\x80\x02", b"ios\nsystem\n", b"Q", b"\x82\x01", b"\x8f", b"\x90", b"\x91", b"\x92", b"d", b"l",
]  # fmt: skip


@QUICK
@given(st.binary(max_size=400))
def test_random_bytes_never_raise(data: bytes) -> None:
    if reached(data):
        assert verdict(data) != "safe"
    else:
        verdict(data)


@QUICK
@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6))
def test_mutated_pickles(seed: bytes, edits: list[tuple[int, int]]) -> None:
    data = bytearray(seed)
    for at, value in edits:
        data[at % len(data)] = value
    if reached(bytes(data)):
        assert verdict(bytes(data)) != "safe"
    else:
        verdict(bytes(data))


@settings(QUICK, max_examples=600)
@given(st.lists(st.sampled_from(PIECES), max_size=24), st.sampled_from([b"", b"\x80\x02", b"\x80\x04"]))
def test_assembled_pickles_show_every_global(pieces: list[bytes], head: bytes) -> None:
    data = head + b"".join(pieces) + b"."
    found = reached(data)
    if found:
        result = walk(data)
        assert verdict_of(result.findings) == "unsafe" or result.broken is not None
        assert verdict(data) != "safe"


@QUICK
@given(
    st.sampled_from([b"\x93NUMPY", b"GGUF\x03\x00\x00\x00", b"PK\x03\x04", b"\x08\x07\x3a", b"\x1f\x8b", b"x\x9c"]),
    st.binary(max_size=200),
)
def test_broken_containers_never_raise(magic: bytes, rest: bytes) -> None:
    for data in (magic + rest, struct.pack("<Q", len(rest)) + b"{" + rest):
        assert verdict(data) in ("safe", "unsafe", "unknown")


WORDS = [
    "casemate: 1", "cos", "system", "c", "os", "c: x", "i", "ios", "(", ")", ".", "t", "R", "S'true'", "Please", "hello", "I1", "V", "Vx",
    "p0", "g0", "0", "2", "l", "d", "a", "s", "o", "e", "}", "]", "#", "\n", " ", "N", "F1.5", "L1L", "P", "Q", "u", "b", "café", "c.os", "\r",
]  # fmt: skip


@settings(QUICK, max_examples=1500)
@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(["\n", "", " ", "\r\n"])), max_size=14))
def test_text_is_safe_only_where_no_unpickler_imports_anything_regression(parts: list[tuple[str, str]]) -> None:
    data = "".join(word + end for word, end in parts).encode()
    if reached(data):
        assert verdict(data) != "safe"


@QUICK
@given(st.text(max_size=80))
def test_any_text_is_safe_only_where_no_unpickler_imports_anything_regression(text: str) -> None:
    if reached(text.encode("utf-8", "replace")):
        assert verdict(text.encode("utf-8", "replace")) != "safe"


def test_files_of_every_kind_are_scanned(tmp_path: Path) -> None:
    """A directory with a hostile file in it is reported whole, and the other files keep their own findings."""
    from casemate.attacks.supply.scan import scan

    (tmp_path / "good.pkl").write_bytes(pickle.dumps([1]))
    (tmp_path / "bad").write_bytes(SEEDS[-2])
    report = scan(tmp_path)
    assert report.verdict == "unsafe"
    assert {finding.where for finding in report.findings if finding.severity == "critical"} == {"bad"}
