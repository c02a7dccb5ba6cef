"""Zip and tar, read so that no two readers can disagree unnoticed.

Loaders differ in which of a zip's two descriptions of a member they believe, and whether they check flags and
checksums. So both descriptions are read, every disagreement is a finding, and the bytes are read in spite of it.
"""

from __future__ import annotations

import bz2
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

from casemate.attacks.supply._finding import Data, Limits, Notebook, Severity, opened

SCANNER = "archive reader"
_LOCAL = b"PK\x03\x04"
_CENTRAL = b"PK\x01\x02"
_DESCRIPTOR = b"PK\x07\x08"


@dataclass(slots=True)
class Allowance:
    """What is left of the byte and member limits, shared by all containers of one scan."""

    bytes: int
    members: int


@dataclass(frozen=True, slots=True)
class Member:
    """One member; ``content`` is None when it could not be read, which is then already a finding."""

    name: str
    offset: int
    content: bytes | None


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    header: int
    method: int
    flags: int
    crc: int | None
    packed: int
    size: int | None


def has_zip_tail(data: Data) -> bool:
    """Whether a zip reader, which starts at the end of a file, would find an archive here."""
    at = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    return at >= 0 and data.find(_CENTRAL, 0) >= 0  # without a start, a memory map searches from where it stands


def zip_members(data: Data, book: Notebook, limits: Limits, left: Allowance) -> Iterator[Member]:
    """Every member that either the central directory or a local header describes."""
    entries = _central(data, book)
    covered: list[tuple[int, int]] = []
    names: set[str] = set()
    for entry in entries:
        if entry.name in names:
            book.add(Severity.HIGH, entry.header, f"two members named {entry.name}", "readers pick different ones")
        names.add(entry.name)
        check_name(entry.name, entry.header, book)
        member, span = _read(data, entry, book, limits, left)
        covered.append(span)
        yield member
    yield from _unlisted(data, covered, book, limits, left)


def check_name(name: str, offset: int | None, book: Notebook) -> None:
    """A member name that unpacks outside its directory."""
    windows = PureWindowsPath(name)
    if PurePosixPath(name).is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\x00" in name:
        book.add(Severity.HIGH, offset, f"member name {name!r}", "unpacking it writes outside the directory")


def _central(data: Data, book: Notebook) -> list[_Entry]:
    try:
        infos = zipfile.ZipFile(opened(data)).infolist()
    except Exception as error:  # noqa: BLE001  a crafted directory raises many types
        reason = "other readers may still open it; its local headers are read instead"
        book.add(Severity.HIGH, None, f"zip directory cannot be read: {error}", reason)
        return []
    entries = []
    for info in infos:
        if info.orig_filename != info.filename and "\x00" in info.orig_filename:
            book.add(Severity.HIGH, info.header_offset, f"member name {info.orig_filename!r}", "a name with a NUL byte")
        entries.append(
            _Entry(
                info.filename,
                info.header_offset,
                info.compress_type,
                info.flag_bits,
                info.CRC,
                info.compress_size,
                info.file_size,
            )
        )
    return entries


def _read(data: Data, entry: _Entry, book: Notebook, limits: Limits, left: Allowance) -> tuple[Member, tuple[int, int]]:
    at = entry.header
    if data[at : at + 4] != _LOCAL or at + 30 > len(data):
        book.add(Severity.HIGH, at, f"{entry.name}: no local header", "the directory points at something else")
        return Member(entry.name, at, None), (at, at)
    flags, method, _, _, crc, packed, size, name_length, extra = struct.unpack_from("<HHHHIIIHH", data, at + 6)
    start = at + 30 + name_length + extra
    end = start + entry.packed
    local_name = data[at + 30 : at + 30 + name_length]
    _compare(entry, local_name, flags, method, (crc, packed, size), at, book)
    if end > len(data):
        book.add(Severity.HIGH, at, f"{entry.name}: reaches past the end", "readers stop at different bytes")
        end = len(data)
    content = _unpack(data, entry, start, end, book, limits, left)
    if data[end : end + 4] == _DESCRIPTOR:
        end += 24 if packed == 0xFFFFFFFF or data[end + 24 : end + 26] == b"PK" else 16
    return Member(entry.name, at, content), (at, end)


def _compare(
    entry: _Entry, name: bytes, flags: int, method: int, sizes: tuple[int, int, int], at: int, book: Notebook
) -> None:
    listed = {entry.name.encode("utf-8", "replace"), entry.name.encode("cp437", "replace")}
    if name not in listed:
        shown = name.decode("utf-8", "replace")
        book.add(Severity.HIGH, at, f"{entry.name}: its local header says {shown}", "readers see different names")
    if (flags ^ entry.flags) & ~0x808 or method != entry.method:
        book.add(Severity.HIGH, at, f"{entry.name}: flags or method differ", "readers see different contents")
    if (flags | entry.flags) & 0x2041:
        reason = "a scanner cannot decrypt it, and a loader that ignores the flag reads it"
        book.add(Severity.HIGH, at, f"{entry.name}: marked as encrypted", reason)
    streamed = (flags | entry.flags) & 8
    for local, central in zip(sizes, (entry.crc, entry.packed, entry.size), strict=True):
        if not streamed and local not in (central, 0xFFFFFFFF):
            book.add(Severity.HIGH, at, f"{entry.name}: sizes or checksum differ", "readers see different contents")


def _unpack(
    data: Data, entry: _Entry, start: int, end: int, book: Notebook, limits: Limits, left: Allowance
) -> bytes | None:
    most = min(limits.member_bytes, left.bytes)
    left.members -= 1
    if left.members < 0 or end - start > most:
        book.add(Severity.MEDIUM, start, f"{entry.name}: over the size or member limit", "it was not looked at")
        return None
    try:
        content, whole = _inflate(data[start:end], entry.method, most)
    except (ValueError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        book.add(Severity.HIGH, start, f"{entry.name}: cannot be unpacked: {error}", "another reader may be laxer")
        return None
    left.bytes -= len(content)
    if not whole:
        book.add(Severity.HIGH, start, f"{entry.name}: unpacks to more than {most} bytes", "a decompression bomb")
        return None
    if entry.crc is not None and zlib.crc32(content) != entry.crc:
        reason = "a scanner gives up on it, and a loader that does not check reads it"
        book.add(Severity.HIGH, start, f"{entry.name}: wrong checksum", reason)
    if entry.size is not None and len(content) != entry.size:
        book.add(Severity.HIGH, start, f"{entry.name}: wrong size", "readers see different contents")
    return content


def _inflate(body: bytes, method: int, most: int) -> tuple[bytes, bool]:
    if method == zipfile.ZIP_STORED:
        return body, True
    if method == zipfile.ZIP_DEFLATED:
        inflate = zlib.decompressobj(-15)
        out = inflate.decompress(body, most)
        return out, inflate.eof or not inflate.unconsumed_tail
    if method == zipfile.ZIP_BZIP2:
        unzip = bz2.BZ2Decompressor()
        return unzip.decompress(body, most), unzip.eof
    raise ValueError(f"no reader for compression method {method}")


def _unlisted(
    data: Data, covered: list[tuple[int, int]], book: Notebook, limits: Limits, left: Allowance
) -> Iterator[Member]:
    """Members that only a local header describes, and bytes between the members that nothing describes."""
    at = 0
    directory = data.find(_CENTRAL, max((end for _, end in covered), default=0))
    stop = directory if directory >= 0 else len(data)
    for start, end in [*sorted(covered), (stop, stop)]:
        if start < at:
            book.add(Severity.HIGH, start, "overlapping members", "one run of bytes is read as two members")
        yield from _gap(data, at, start, book, limits, left)
        at = max(at, end)


def _gap(data: Data, at: int, stop: int, book: Notebook, limits: Limits, left: Allowance) -> Iterator[Member]:
    while at < stop:
        found = data.find(_LOCAL, at, stop)
        if data[at : found if found >= 0 else stop].strip(b"\x00"):
            book.add(Severity.MEDIUM, at, "bytes that no member accounts for", "another reader may start here")
        if found < 0 or found + 30 > stop or left.members <= 0:
            return
        flags, method, _, _, crc, packed, _, name_length, extra = struct.unpack_from("<HHHHIIIHH", data, found + 6)
        name = data[found + 30 : found + 30 + name_length].decode("utf-8", "replace")
        reason = "readers that follow local headers load it, readers of the directory never see it"
        book.add(Severity.HIGH, found, f"{name}: not in the directory", reason)
        start = found + 30 + name_length + extra
        known = packed if packed and not flags & 8 else stop - start
        end = max(start, min(start + known, stop))
        entry = _Entry(name, found, method, flags, None if flags & 8 else crc, end - start, None)
        yield Member(name, found, _unpack(data, entry, start, end, book, limits, left))
        at = max(end, found + 4)


def tar_members(data: Data, book: Notebook, limits: Limits, left: Allowance) -> Iterator[Member]:
    """Regular members; a link or a device is a finding, because unpacking it reaches outside."""
    try:
        with tarfile.open(fileobj=io.BytesIO(bytes(data)), mode="r:") as archive:
            for info in archive:
                left.members -= 1
                check_name(info.name, info.offset, book)
                if info.isdir():
                    continue
                if not info.isreg():
                    book.add(Severity.HIGH, info.offset, f"{info.name}: link or device", "unpacking reaches outside")
                elif left.members < 0 or info.size > min(limits.member_bytes, left.bytes):
                    book.add(Severity.MEDIUM, info.offset, f"{info.name}: over the limits", "it was not looked at")
                else:
                    left.bytes -= info.size
                    file = archive.extractfile(info)
                    yield Member(info.name, info.offset, file.read() if file else None)
    except Exception as error:  # noqa: BLE001  a crafted tar raises many types
        book.add(Severity.MEDIUM, None, f"tar cannot be read to its end: {error}", "the rest was not judged")
