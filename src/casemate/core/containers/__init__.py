"""File formats as constraints: edits that keep a file working, and the parsers that prove it.

    from casemate.core import containers
    within = cm.Bytes(**containers.zip_())      # every input is a ZIP archive
    within = cm.Bytes(**containers.any_of())    # each is what its first bytes say

A change is valid where the format's own parser reads the whole file, and reads the same out of it. Only the standard library
is used; nothing is ever executed. `of` gives a `Container`, with its edits by name; `Container(name, meaning, edits)` is how a
format of one's own is added, for which the small functions here (`insert`, `pick`, `blank`, ...) are of use.
"""

from __future__ import annotations

from typing import Any

from ..errors import UnknownName
from ._archives import ARCHIVES
from ._container import PAYLOADS, Container, blank, blank_end, blank_top, ended, insert, line_starts, payload, pick, plain
from ._documents import DOCUMENTS
from ._images import IMAGES
from ._programs import PROGRAMS, write_elf, write_pe

CONTAINERS: dict[str, Container] = {**ARCHIVES, **IMAGES, **DOCUMENTS, **PROGRAMS}
_BEGIN = {
    b"PK\x03\x04": "zip", b"\x1f\x8b": "gzip", b"\x89PNG": "png", b"GIF8": "gif", b"\xff\xd8\xff": "jpeg", b"%PDF-": "pdf",
    b"MZ": "pe", b"\x7fELF": "elf",
}  # fmt: skip
_LAST = ("tar", "json", "python", "text")  # what has no sign of its own: the first whose parser takes it


def of(name: str) -> Container:
    """A container by name. Raises `UnknownName`."""
    if name not in CONTAINERS:
        raise UnknownName("container", name, CONTAINERS)
    return CONTAINERS[name]


def guess(data: bytes) -> str:
    """The name of the container a file is: by its first bytes, or by the parser that takes it. Empty where nothing fits."""
    for begin, name in _BEGIN.items():
        if data.startswith(begin):
            return name if CONTAINERS[name].works(data) else ""
    return next((name for name in _LAST if CONTAINERS[name].works(data)), "")


def within(name: str) -> dict[str, Any]:
    """``valid`` and ``edit`` of one container, for `Bytes`."""
    return {"valid": of(name).valid, "edit": of(name).edit}


def any_of() -> dict[str, Any]:
    """``valid`` and ``edit`` for files of all these formats together; a file of none of them cannot be changed."""
    known: dict[bytes, str] = {}

    def name_of(original: bytes) -> str:
        if original not in known:
            known[original] = guess(original)
        return known[original]

    def valid(changed: bytes, original: bytes) -> bool:
        name = name_of(original)
        return CONTAINERS[name].valid(changed, original) if name else changed == original

    def edit(current: bytes, original: bytes, rng: Any) -> bytes:
        name = name_of(original)
        return CONTAINERS[name].edit(current, original, rng) if name else current

    return {"valid": valid, "edit": edit}


def zip_() -> dict[str, Any]:
    """ZIP archives: comment, prefix, extra field, method; members and their checksums stay."""
    return within("zip")


def gzip_() -> dict[str, Any]:
    """gzip files: extra field, comment, an empty member in front, padding; what unpacks stays."""
    return within("gzip")


def tar() -> dict[str, Any]:
    """tar archives: slack, unused header bytes, a global comment, what follows the end."""
    return within("tar")


def png() -> dict[str, Any]:
    """PNG pictures: text and private chunks, what follows the end; every other chunk stays."""
    return within("png")


def gif() -> dict[str, Any]:
    """GIF pictures: comment blocks, what follows the end."""
    return within("gif")


def jpeg() -> dict[str, Any]:
    """JPEG pictures: comment segments, fill bytes, what follows the end. Parsed by segments; pixels are not decoded."""
    return within("jpeg")


def pdf() -> dict[str, Any]:
    """PDF documents with one classic cross-reference table: comments, every object where the table says."""
    return within("pdf")


def json_() -> dict[str, Any]:
    """JSON: white space and escapes; values, text of numbers and repeated keys stay."""
    return within("json")


def text() -> dict[str, Any]:
    """Plain UTF-8 text: line endings, blanks at the ends, byte order mark."""
    return within("text")


def script() -> dict[str, Any]:
    """Python source: comments, blank lines, strings that nothing uses; the syntax tree stays."""
    return within("python")


def pe() -> dict[str, Any]:
    """PE programs that are not signed: DOS stub, room in the headers, slack, a section nothing uses, what follows the end."""
    return within("pe")


def elf() -> dict[str, Any]:
    """ELF programs: gaps between the parts, a moved section table, what follows the end."""
    return within("elf")


__all__ = ["CONTAINERS", "PAYLOADS", "Container", "any_of", "blank", "blank_end", "blank_top", "elf", "ended", "gif", "guess"]
__all__ += ["gzip_", "insert", "jpeg", "json_", "line_starts", "of", "payload", "pdf", "pe", "pick", "plain", "png", "script"]
__all__ += ["tar", "text", "within", "write_elf", "write_pe", "zip_"]
