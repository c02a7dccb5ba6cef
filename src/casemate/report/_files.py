"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path


def replace_file(path: Path, content: str | bytes) -> None:
    """Write through a file beside it, so that a reader sees the old content or the new. Makes the folder.

    A link stays one: what it leads to is replaced. A file that is there keeps its mode. A pipe or a device is written to.

    Raises:
        OSError: It cannot be written, or is read-only: its owner did not want it to be replaced.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = _mode(path)
    if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        path.write_bytes(data)
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask if mode is None else stat.S_IMODE(mode))  # mkstemp allows only the owner
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _mode(path: Path) -> int | None:
    """The mode of what is there; None of nothing. What may not be written is refused: replacing it would not ask."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if not os.access(path, os.W_OK) or not mode & 0o222:  # the second, because everything is writable to root
        raise PermissionError(errno.EACCES, "is read-only and was not replaced", str(path))
    return mode
