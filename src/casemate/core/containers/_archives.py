"""ZIP, gzip and tar: what is inside stays, member by member."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from typing import Any

from ._container import Container, Random, append, filled, insert, overwrite, pick

# ---- ZIP ---------------------------------------------------------------------------------------------------------


def _zip_meaning(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if archive.testzip() is not None:
            raise ValueError("bad checksum in a member")
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def _unsigned(text: bytes) -> bytes:
    return text.replace(b"PK", b"pk")  # a second signature would make the archive ambiguous


def _zip_write(data: bytes, prefix: bytes = b"", extra: bytes = b"", method: int | None = None) -> bytes:
    out = io.BytesIO(prefix)
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "a") as new:
        for i, info in enumerate(old.infolist()):
            body = old.read(info)
            info.extra = extra if i == 0 and extra else info.extra
            new.writestr(info, body, compress_type=info.compress_type if method is None else method)
        new.comment = old.comment
    return out.getvalue()


def _zip_comment(data: bytes, rng: Random, payload: bytes) -> bytes:
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = _unsigned(payload)
    return out.getvalue()


def _zip_prefix(data: bytes, rng: Random, payload: bytes) -> bytes:
    """Bytes before the first member, as in a self-extracting archive; all offsets are written anew."""
    return _zip_write(data, prefix=_unsigned(payload))


def _zip_extra(data: bytes, rng: Random, payload: bytes) -> bytes:
    """An extra field of unknown type on the first member."""
    return _zip_write(data, extra=struct.pack("<HH", 0x6361, len(payload)) + _unsigned(payload))


def _zip_method(data: bytes, rng: Random, payload: bytes) -> bytes:
    return _zip_write(data, method=pick(rng, [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))


# ---- gzip --------------------------------------------------------------------------------------------------------


def _gzip_header(data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Fixed part, extra field, name with comment, and the rest."""
    flags, at, extra = data[3], 10, b""
    if flags & 4:
        size = struct.unpack("<H", data[10:12])[0]
        extra, at = data[12 : 12 + size], 12 + size
    end = at
    for _ in range(bool(flags & 8) + bool(flags & 16)):
        end = data.index(b"\x00", end) + 1
    return data[:10], extra, data[at:end], data[end:]


def _gzip_extra(data: bytes, rng: Random, payload: bytes) -> bytes:
    fixed, _, text, rest = _gzip_header(data)
    if fixed[3] & 2:  # a header checksum would have to follow
        return data
    field = b"cm" + struct.pack("<H", len(payload)) + payload
    return fixed[:3] + bytes([fixed[3] | 4]) + fixed[4:] + struct.pack("<H", len(field)) + field + text + rest


def _gzip_comment(data: bytes, rng: Random, payload: bytes) -> bytes:
    fixed, extra, text, rest = _gzip_header(data)
    if fixed[3] & 2:
        return data
    name = text[: text.index(b"\x00") + 1] if fixed[3] & 8 else b""
    field = struct.pack("<H", len(extra)) + extra if fixed[3] & 4 else b""
    note = payload.replace(b"\x00", b" ") + b"\x00"
    return fixed[:3] + bytes([fixed[3] | 16]) + fixed[4:] + field + name + note + rest


def _gzip_first(data: bytes, rng: Random, payload: bytes) -> bytes:
    """An empty member in front whose comment is the payload."""
    return _gzip_comment(gzip.compress(b"", mtime=0), rng, payload) + data


def _gzip_pad(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data + b"\x00" * int(rng.integers(1, 2048))


# ---- tar ---------------------------------------------------------------------------------------------------------

_BLOCK = 512


def _tar_members(data: bytes) -> tuple[list[tuple[tarfile.TarInfo, bytes]], int]:
    """Every member with its content, and where the two empty blocks at the end begin."""
    found, end = [], 0
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for info in archive:
            file = archive.extractfile(info) if info.isreg() else None
            found.append((info, b"" if file is None else file.read()))
            end = info.offset_data + -(-(info.size if info.isreg() else 0) // _BLOCK) * _BLOCK
    if not found or data[end : end + 2 * _BLOCK] != bytes(2 * _BLOCK):
        raise ValueError("no member, or no end of archive after the last")
    return found, end


def _tar_meaning(data: bytes) -> Any:
    members, _ = _tar_members(data)
    return [
        (i.name, i.type, i.mode, i.linkname, i.uid, i.gid, i.uname, i.gname, i.mtime, i.devmajor, i.devminor, body)
        for i, body in members
    ]


def _tar_slack(data: bytes, rng: Random, payload: bytes) -> bytes:
    """The rest of the last block of each member, which no reader looks at."""
    for info, body in _tar_members(data)[0]:
        data = overwrite(data, info.offset_data + len(body), filled(payload, -len(body) % _BLOCK))
    return data


def _tar_header(data: bytes, rng: Random, payload: bytes) -> bytes:
    """The twelve unused bytes of each plain header, with the checksum that goes with them."""
    for info, _ in _tar_members(data)[0]:
        at = info.offset_data - _BLOCK
        head = data[at : at + _BLOCK]
        if info.isreg() and head[257:265] == b"ustar\x0000":
            head = head[:148] + b" " * 8 + head[156:500] + filled(payload, 12)
            head = head[:148] + b"%06o\x00 " % sum(head) + head[156:]
            data = overwrite(data, at, head)
    return data


def _tar_global(data: bytes, rng: Random, payload: bytes) -> bytes:
    """A global header in front that holds nothing but a comment."""
    text = payload.decode("latin-1").replace("\x00", " ")
    return insert(data, 0, tarfile.TarInfo.create_pax_global_header({"comment": text}))


_ARCHIVES = (
    Container(
        "zip", _zip_meaning,
        {"archive_comment": _zip_comment, "prefix": _zip_prefix, "extra_field": _zip_extra, "method": _zip_method},
    ),
    Container(
        "gzip", gzip.decompress,
        {"extra_field": _gzip_extra, "comment": _gzip_comment, "empty_member_first": _gzip_first, "zero_padding": _gzip_pad},
    ),
    Container(
        "tar", _tar_meaning,
        {"slack": _tar_slack, "header_padding": _tar_header, "global_comment": _tar_global, "append": append},
    ),
)  # fmt: skip
ARCHIVES = {each.name: each for each in _ARCHIVES}
