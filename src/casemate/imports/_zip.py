"""Single members of a zip file, within limits. Nothing is ever unpacked to disk."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

from casemate.attacks.supply._archive import check_name
from casemate.attacks.supply._finding import Data, Notebook
from casemate.imports._reading import Reading, listed, refuse

MOST_DIRECTORY = 16 << 20  # bytes of the central directory: some 200,000 members
_END = b"PK\x05\x06"
_END64 = b"PK\x06\x07"


def check_directory(data: Data, file: str) -> None:
    """Refuse a zip whose directory is too large to go through.

    Raises:
        UsageError: It is, or its end is missing, as in a file that was cut short.
    """
    at = data.rfind(_END, max(0, len(data) - 65_557))
    if at < 0 or at + 22 > len(data):
        raise refuse(file, "a zip file without its directory: it was cut short; copy or download it again")
    (size,) = struct.unpack_from("<I", data, at + 12)
    if data[at - 20 : at - 16] == _END64:
        (end64,) = struct.unpack_from("<Q", data, at - 12)
        if end64 + 56 <= len(data):
            (size,) = struct.unpack_from("<Q", data, end64 + 40)
    if size > min(MOST_DIRECTORY, len(data)):
        why = f"a zip file with a directory of {size:,} bytes; at most {MOST_DIRECTORY:,} are read, and no model has more"
        raise refuse(file, why)


class _Window(io.RawIOBase):
    """Bytes or a memory map as a file that zipfile can seek in; nothing is copied but what is read."""

    def __init__(self, data: Data) -> None:
        self._data, self._at = data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._data)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._data[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


class Members:
    """The members of one zip file."""

    def __init__(self, data: Data, r: Reading) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BufferedReader(_Window(data)))
        except Exception as error:  # a crafted directory raises many types
            why = f"a zip file whose directory cannot be read ({type(error).__name__}): damaged or crafted"
            raise refuse(r.file, why) from error
        self._infos = self._zip.infolist()
        self._r = r
        book = Notebook(r.file, "zip")
        seen: set[str] = set()
        for info in self._infos:
            check_name(info.filename, info.header_offset, book)
            if info.filename in seen:
                r.note(f"two members are named {listed([info.filename])}: readers pick different ones")
            seen.add(info.filename)
        r.objections(book.found)

    @property
    def names(self) -> list[str]:
        """As they stand in the directory."""
        return [info.filename for info in self._infos]

    def read(self, tail: str, most: int) -> Iterator[tuple[str, bytes]]:
        """Every member called `tail`, or so below one folder, with its content.

        Raises:
            UsageError: It is larger than `most` bytes, encrypted, or damaged.
        """
        for info in self._infos:
            if info.filename != tail and info.filename.split("/", 1)[-1] != tail:
                continue
            try:
                with self._zip.open(info) as stream:
                    content = stream.read(most + 1)
            except Exception as error:  # damaged members raise many types
                why = f"cannot be unpacked ({type(error).__name__}): damaged, encrypted or crafted"
                raise refuse(self._r.file, f"its member {listed([info.filename])} {why}") from error
            if len(content) > most:
                why = f"its member {listed([info.filename])} unpacks to more than {most:,} bytes: a zip bomb, or no model"
                raise refuse(self._r.file, why)
            yield info.filename, content
