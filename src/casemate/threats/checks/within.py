"""Files inside the folder of a description, and nothing outside it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

MAX_TEXT = 20_000_000
MAX_HASHED = 64 * 2**30
MAX_FILES = 2_000
MAX_SEEN = 50_000  # entries of folders that are looked at before giving up
_SKIPPED = frozenset({".git", ".hg", "__pycache__", "node_modules", ".venv", "venv", ".tox", ".ipynb_checkpoints"})


class CannotRead(Exception):
    """Why a file is not read, in words for the user."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder in which a description lies; "" for a system that was built in code."""

    path: str

    def find(self, name: str) -> Path:
        """The file or folder of this name. Raises `CannotRead` where it is outside, a link, or not there."""
        if not self.path:
            raise CannotRead("the description lies in no folder, so no file can be looked up")
        root = os.path.realpath(self.path)
        full = os.path.normpath(os.path.join(root, name))
        if "\0" in name or (full != root and not full.startswith(root.rstrip(os.sep) + os.sep)):
            raise CannotRead(f"{printable(name)!r} lies outside the folder of the description; only what is inside is read")
        at = root
        for part in Path(full).relative_to(root).parts:
            at = os.path.join(at, part)
            if os.path.islink(at):
                raise CannotRead(f"{self.shown(Path(at))!r} is a symbolic link; name the file itself")
        if not os.path.exists(full):
            raise CannotRead(f"there is no file or folder {printable(name)!r} beside the description")
        return Path(full)

    def beside(self, path: Path, name: str) -> Path:
        """The file of this name, seen from a file that was found. Raises `CannotRead` like `find`."""
        return self.find(os.path.relpath(path.parent / name, os.path.realpath(self.path)))

    def shown(self, path: Path) -> str:
        """The path from the folder, fit to print."""
        return printable(os.path.relpath(path, os.path.realpath(self.path)))

    def text(self, path: Path) -> str:
        """A small text file. Raises `CannotRead`."""
        with self._opened(path) as file:
            data = file.read(MAX_TEXT + 1)
        if len(data) > MAX_TEXT:
            raise CannotRead(f"{self.shown(path)} is larger than {MAX_TEXT:,} bytes")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CannotRead(f"{self.shown(path)} is not UTF-8 text (byte {error.start})") from None

    def sha256(self, path: Path) -> str:
        """The digest of a file, read in pieces. Raises `CannotRead`."""
        if path.is_dir():
            raise CannotRead(f"{self.shown(path)} is a folder; a digest is of one file")
        with self._opened(path) as file:
            if os.fstat(file.fileno()).st_size > MAX_HASHED:
                raise CannotRead(f"{self.shown(path)} is larger than {MAX_HASHED:,} bytes")
            return hashlib.file_digest(file, "sha256").hexdigest()

    def files(self, path: Path) -> Iterator[Path]:
        """The file itself, or every regular file below a folder, in order. Links are not followed. Raises `CannotRead`."""
        if not path.is_dir():
            yield path
            return
        seen = 0
        for at, folders, names in os.walk(path, onerror=_refuse):
            folders[:] = sorted(name for name in folders if name not in _SKIPPED)
            seen += len(folders) + len(names)
            if seen > MAX_SEEN:
                raise CannotRead(f"{self.shown(path)} holds more than {MAX_SEEN:,} files; name a folder with less in it")
            yield from (full for name in sorted(names) if not (full := Path(at, name)).is_symlink())

    def _opened(self, path: Path) -> BufferedReader:
        """Open without following a link, and without waiting for a pipe."""
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            handle = os.open(path, flags)
        except OSError as error:
            raise CannotRead(f"{self.shown(path)} cannot be read: {error.strerror}") from None
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise CannotRead(f"{self.shown(path)} is not a regular file")
        return os.fdopen(handle, "rb")


def _refuse(error: OSError) -> None:
    raise CannotRead(f"a folder cannot be read: {error.strerror}")


def printable(text: str) -> str:
    """A name without what could steer a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
