"""PE and ELF files: what a loader maps stays byte for byte; gaps, slack and what lies behind the end are free.

Files are parsed and rewritten, never run. `write_pe` and `write_elf` make small ones out of any bytes, so that a classifier
of programs can be tested without a single real program.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ._container import Container, Random, append, filled, overwrite

# ---- PE ----------------------------------------------------------------------------------------------------------

_EXECUTE, _DISCARDABLE = 0x20000000, 0x02000000
_NOTE = 0x42000040  # initialised data, readable, to be discarded
_PAGE, _SECTOR = 0x1000, 0x200  # alignment in memory and in the file, of what is written here


@dataclass(frozen=True, slots=True)
class _Section:
    name: bytes
    size: int  # in memory
    address: int
    raw: int  # bytes in the file
    place: int
    flags: int


@dataclass(frozen=True, slots=True)
class _Pe:
    """Where the parts of a PE file lie."""

    head: int  # of the signature
    optional: int  # of the optional header
    table: int  # of the section table
    headers: int  # bytes of all headers together
    alignment: int
    entry: int
    directories: tuple[tuple[int, int], ...]
    sections: tuple[_Section, ...]

    @property
    def signed(self) -> bool:
        """Whether a signature covers the whole file: then no byte of it is free."""
        return len(self.directories) > 4 and self.directories[4][1] > 0


def _pe_read(data: bytes) -> _Pe:
    """Parse the headers; raises where a loader would refuse the file."""
    if data[:2] != b"MZ":
        raise ValueError("no MZ")
    (head,) = struct.unpack_from("<I", data, 0x3C)
    if data[head : head + 4] != b"PE\x00\x00":
        raise ValueError("no PE signature where the header says")
    count, size = struct.unpack_from("<H", data, head + 6)[0], struct.unpack_from("<H", data, head + 20)[0]
    optional = head + 24
    wide = {0x10B: 0, 0x20B: 16}[struct.unpack_from("<H", data, optional)[0]]
    (entry,) = struct.unpack_from("<I", data, optional + 16)
    memory, alignment = struct.unpack_from("<II", data, optional + 32)
    image, headers = struct.unpack_from("<II", data, optional + 56)
    (places,) = struct.unpack_from("<I", data, optional + 92 + wide)
    directories = tuple(struct.unpack_from("<II", data, optional + 96 + wide + 8 * i) for i in range(min(places, 16)))
    table = optional + size
    if not 0 < count <= 96 or alignment & (alignment - 1) or not alignment or table + 40 * count > headers or headers > len(data):
        raise ValueError("the headers contradict each other")
    sections, free = [], headers
    for i in range(count):
        one = _Section(*struct.unpack_from("<8sIIII12xI", data, table + 40 * i))
        if one.address % memory or one.address < free or one.place % alignment or one.place + one.raw > len(data):
            raise ValueError(f"section {one.name!r} does not lie where it may")
        free = one.address + max(one.size, 1)
        sections.append(one)
    if free > image or (entry and not any(s.address <= entry < s.address + max(s.size, s.raw) for s in sections)):
        raise ValueError("the image is too small, or starts outside of its sections")
    return _Pe(head, optional, table, headers, alignment, entry, directories, tuple(sections))


def _pe_meaning(data: bytes) -> Any:
    """All that the loader uses. A data section that may be discarded and that nothing points to is no part of it."""
    pe = _pe_read(data)

    def used(s: _Section) -> bool:
        points = [pe.entry, *(address for address, size in pe.directories if size)]
        inside = any(s.address <= point < s.address + max(s.size, s.raw) for point in points)
        return inside or not s.flags & _DISCARDABLE or bool(s.flags & _EXECUTE)

    # Number of sections, size of the image and checksum follow from the rest, and differ where a section was added.
    head = data[pe.head : pe.head + 6] + data[pe.head + 8 : pe.optional + 56] + data[pe.optional + 60 : pe.optional + 64]
    sections = [(s, data[s.place : s.place + min(s.size, s.raw)]) for s in pe.sections if used(s)]
    return head, data[pe.optional + 68 : pe.table], sections, data if pe.signed else b""


def _pe_stub(data: bytes, rng: Random, payload: bytes) -> bytes:
    """The program that tells a DOS user to go away: between the first header and the second."""
    pe = _pe_read(data)
    return data if pe.signed else overwrite(data, 0x40, filled(payload, max(0, pe.head - 0x40)))


def _pe_headers(data: bytes, rng: Random, payload: bytes) -> bytes:
    """What is left of the room for headers behind the section table."""
    pe = _pe_read(data)
    start = pe.table + 40 * len(pe.sections)
    first = min([pe.headers, *(s.place for s in pe.sections if s.raw)])
    return data if pe.signed else overwrite(data, start, filled(payload, max(0, first - start)))


def _pe_slack(data: bytes, rng: Random, payload: bytes) -> bytes:
    """The end of each section in the file that is not mapped, because the section is smaller in memory."""
    pe = _pe_read(data)
    for s in pe.sections if not pe.signed else ():
        data = overwrite(data, s.place + s.size, filled(payload, max(0, s.raw - s.size)))
    return data


def _pe_section(data: bytes, rng: Random, payload: bytes) -> bytes:
    """One more data section that nothing points to, where the headers have room for it."""
    pe = _pe_read(data)
    row = pe.table + 40 * len(pe.sections)
    first = min([pe.headers, *(s.place for s in pe.sections if s.raw)])
    end = max(s.place + s.raw for s in pe.sections)
    if pe.signed or row + 40 > first or len(pe.sections) >= 96 or len(data) > _up(end, pe.alignment):
        return data  # no room, or bytes behind the last section, which a program may want to find there
    (memory,) = struct.unpack_from("<I", data, pe.optional + 32)
    address, place = max(_up(s.address + max(s.size, s.raw), memory) for s in pe.sections), _up(end, pe.alignment)
    raw = _up(len(payload), pe.alignment)
    name = bytes(rng.choice([b".note", b".rdat2", b".pad"]))
    data = overwrite(data, row, struct.pack("<8sIIII12xI", name, len(payload), address, raw, place, _NOTE))
    data = overwrite(data, pe.head + 6, struct.pack("<H", len(pe.sections) + 1))
    data = overwrite(data, pe.optional + 56, struct.pack("<I", _up(address + len(payload), memory)))
    return data.ljust(place, b"\x00") + payload.ljust(raw, b"\x00")


def _pe_append(data: bytes, rng: Random, payload: bytes) -> bytes:
    """Bytes behind the last section, which are not mapped."""
    return data if _pe_read(data).signed else data + payload


def _up(size: int, to: int) -> int:
    return -(-size // to) * to


def write_pe(sections: Sequence[tuple[str, bytes]], *, room: int = 3) -> bytes:
    """A PE32+ file with these sections, the first of them executable and the entry point at its start. It does nothing.

    Args:
        sections: Names of up to 8 bytes, and contents of at least one byte each.
        room: Section headers there is room for beyond those.
    """
    headers = _up(0x80 + 24 + 240 + 40 * (len(sections) + room), _SECTOR)
    rows, bodies, address, place = b"", b"", _PAGE, headers
    for i, (name, body) in enumerate(sections):
        raw, flags = _up(len(body), _SECTOR), 0x40000040 if i else 0x60000020
        rows += struct.pack("<8sIIII12xI", name.encode(), len(body), address, raw, place, flags)
        bodies += body.ljust(raw, b"\x00")
        address, place = _up(address + len(body), _PAGE), place + raw
    dos = b"MZ" + bytes(0x3A) + struct.pack("<I", 0x80) + b"This program cannot be run in DOS mode.\r\r\n$".ljust(0x40, b"\x00")
    coff = struct.pack("<4sHHIIIHH", b"PE\x00\x00", 0x8664, len(sections), 0, 0, 0, 240, 0x22)
    code, rest = _up(len(sections[0][1]), _SECTOR), sum(_up(len(body), _SECTOR) for _, body in sections[1:])
    optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, code, rest, 0, _PAGE, _PAGE)
    optional += struct.pack("<QIIHHHHHHIIIIHH", 0x140000000, _PAGE, _SECTOR, 6, 0, 0, 0, 6, 0, 0, address, headers, 0, 3, 0x160)
    optional += struct.pack("<QQQQII", 0x100000, _PAGE, 0x100000, _PAGE, 0, 16) + bytes(128)
    return (dos + coff + optional + rows).ljust(headers, b"\x00") + bodies


# ---- ELF ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Elf:
    """Where the parts of an ELF file lie: tables as (place, size of an entry, entries), parts as (place, size)."""

    wide: bool
    order: str
    segments: tuple[int, int, int]
    sections: tuple[int, int, int]
    parts: tuple[tuple[int, int], ...]

    @property
    def field(self) -> tuple[int, int]:
        """Where the header says where the section table is, and how long that is."""
        return (40, 8) if self.wide else (32, 4)


def _elf_read(data: bytes) -> _Elf:
    """Parse the headers; raises where something lies outside of the file."""
    if data[:4] != b"\x7fELF" or data[4] not in (1, 2) or data[5] not in (1, 2) or data[6] != 1:
        raise ValueError("no ELF header")
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    numbers = struct.unpack_from(order + ("QQQ" if wide else "III"), data, 24)
    size, *rest = struct.unpack_from(order + "HHHHHH", data, 52 if wide else 40)
    segments, sections = (numbers[1], rest[0], rest[1]), (numbers[2], rest[2], rest[3])
    parts = [(0, size), (segments[0], segments[1] * segments[2]), (sections[0], sections[1] * sections[2])]
    at, form = (8, "QQQQ") if wide else (4, "IIII")
    for i in range(segments[2]):
        place, _, _, length = struct.unpack_from(order + form, data, segments[0] + i * segments[1] + at)
        parts.append((place, length))
    for i in range(sections[2]):
        start = sections[0] + i * sections[1]
        (kind,) = struct.unpack_from(order + "I", data, start + 4)
        place, length = struct.unpack_from(order + ("QQ" if wide else "II"), data, start + (24 if wide else 16))
        if kind not in (0, 8):  # an empty entry, and one that has no bytes in the file
            parts.append((place, length))
    if any(place + length > len(data) for place, length in parts) or not segments[2] + sections[2]:
        raise ValueError("a part lies outside of the file, or there is none")
    return _Elf(wide, order, segments, sections, tuple(parts))


def _elf_meaning(data: bytes) -> Any:
    """Header, tables and every part, in order; where the section table lies is no part of it."""
    elf = _elf_read(data)
    at, size = elf.field
    blind = overwrite(data, at, bytes(size))
    table = elf.parts[2]
    return [blind[a : a + n] for a, n in elf.parts], [part for part in elf.parts if part != table]


def _elf_gaps(data: bytes, rng: Random, payload: bytes) -> bytes:
    """Bytes between the parts that belong to none of them."""
    end = 0
    for place, size in sorted(_elf_read(data).parts):
        data = overwrite(data, end, filled(payload, max(0, place - end))) if size else data
        end = max(end, place + size) if size else end
    return data


def _elf_table(data: bytes, rng: Random, payload: bytes) -> bytes:
    """The section table moved behind the payload; where it was, its old bytes stay."""
    elf = _elf_read(data)
    place, size, count = elf.sections
    if not count:
        return data
    at = _up(len(data) + len(payload), 8)
    moved = (data + payload).ljust(at, b"\x00") + data[place : place + size * count]
    return overwrite(moved, elf.field[0], struct.pack(elf.order + ("Q" if elf.wide else "I"), at))


def write_elf(content: bytes, *, gap: int = 512) -> bytes:
    """A 64-bit ELF file that maps `content` as data, with `gap` free bytes before it. It has no entry point: nothing runs."""
    names = b"\x00.data\x00.shstrtab\x00"
    start = _up(64 + 56 + gap, 16)
    table = _up(start + len(content) + len(names), 8)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\x00")
    head += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, table, 0, 64, 56, 1, 64, 3, 2)
    segment = struct.pack("<IIQQQQQQ", 1, 4, start, start, start, len(content), len(content), 16)
    rows = bytes(64) + struct.pack("<IIQQQQIIQQ", 1, 1, 2, start, start, len(content), 0, 0, 16, 0)
    rows += struct.pack("<IIQQQQIIQQ", 7, 3, 0, 0, start + len(content), len(names), 0, 0, 1, 0)
    return ((head + segment).ljust(start, b"\x00") + content + names).ljust(table, b"\x00") + rows


_PROGRAMS = (
    Container(
        "pe", _pe_meaning,
        {"dos_stub": _pe_stub, "header_room": _pe_headers, "slack": _pe_slack, "section": _pe_section, "append": _pe_append},
    ),
    Container("elf", _elf_meaning, {"gaps": _elf_gaps, "section_table": _elf_table, "append": append}),
)  # fmt: skip
PROGRAMS = {each.name: each for each in _PROGRAMS}
