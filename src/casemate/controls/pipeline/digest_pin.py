"""Run only the artifact that was reviewed."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.control import control
from ...core.errors import UsageError

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


class DigestMismatch(UsageError):
    """The artifact is not the one that was pinned. Nothing of it was handed out."""


@control(
    "pipeline.digest_pin",
    changes=(("artifact.digest", "sha256:<digest>"), ("artifact.digest_verified_at_load", "yes")),
    knows=("supply.swap",),
    threats=("SY-02", "PO-07"),
    side_effects="every new release of the model needs a new pin",
)
class DigestPin:
    """Refuse an artifact whose SHA-256 is not the pinned one.

    A pin shows that the bytes are the ones reviewed, not who made them: it is no signature, and says nothing of a file
    that was bad when it was pinned.

    Args:
        sha256: The digest, 64 hexadecimal digits with or without ``sha256:``. Empty: nothing is pinned
            yet, see `pinned`.
    """

    sha256: str = ""

    def __post_init__(self) -> None:
        if self.sha256:
            object.__setattr__(self, "sha256", _digest(self.sha256))

    def facts(self) -> tuple[tuple[str, Any], ...]:
        """None, while nothing is pinned."""
        if not self.sha256:
            return ()
        return (("artifact.digest", f"sha256:{self.sha256}"), ("artifact.digest_verified_at_load", True))

    def pinned(self, path: str | Path) -> DigestPin:
        """This control, pinned to what lies at `path` now."""
        return replace(self, sha256=hashlib.sha256(_read(path)).hexdigest())

    def load(self, path: str | Path) -> bytes:
        """The artifact's bytes, if they are the pinned ones."""
        if not self.sha256:
            raise UsageError("nothing is pinned: give sha256=, or take pinned(path) of a reviewed artifact")
        return load_checked(path, self.sha256)


def load_checked(path: str | Path, sha256: str) -> bytes:
    """Read an artifact once and hand out its bytes only if they have this digest.

    Load the model from the bytes that come back (``io.BytesIO``), never again from the path: a file that is hashed
    and then opened a second time can be swapped in between.

    Raises:
        DigestMismatch: The bytes have another digest.
        UsageError: The file cannot be read, or `sha256` is no digest.
    """
    wanted, data = _digest(sha256), _read(path)
    found = hashlib.sha256(data).hexdigest()
    if not hmac.compare_digest(found, wanted):
        raise DigestMismatch(
            f"{path}: refused, sha256 is {found} and {wanted} is pinned; "
            "restore the reviewed artifact, or review this one and pin its digest"
        )
    return data


def _digest(text: str) -> str:
    match = _DIGEST.fullmatch(text.strip().lower())
    if match is None:
        raise UsageError(f"sha256={text!r} is not a SHA-256 digest; give 64 hexadecimal digits")
    return match[1]


def _read(path: str | Path) -> bytes:
    try:
        # Without O_NONBLOCK a named pipe put in the artifact's place would hang the loader for ever.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(f"{path}: not a regular file; an artifact of many files needs one pin each")
            return file.read()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); nothing was loaded") from error
