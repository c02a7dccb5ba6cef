"""Who is calling: from a header to an account that can be logged.

The key itself is hashed at once and kept nowhere. What an event shows is a keyed hash, so a log does not let anybody
confirm a guess of a key.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from ..core.errors import CasemateError, UsageError

ANONYMOUS = "anonymous"
_HEX = re.compile(r"[0-9a-f]{64}")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Unauthenticated(CasemateError):
    """The request names no account that may call. The message never holds the key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """How a request names its account.

    Without `keys` and without `trust`, everybody is one anonymous account: a header that nobody checks would let a
    caller open a fresh budget with every request.

    Args:
        header: Header that carries the key; of ``authorization``, a leading ``Bearer`` is cut off.
        keys: SHA-256 of every key that exists, as hexadecimal digits.
        trust: Something in front has checked the key, so any value is an account. Without such a thing every caller
            opens as many budgets as it likes; a policy that says so is told at every start.
        unknown: What to do with a key that does not exist: ``refuse``, or treat it as ``anonymous``.
        anonymous: Whether a request without a key is ``shared`` (all of them are one account) or ``refuse``d.
        salt: Key of the hashes in events; left out, fresh in every process, and events of two runs cannot be joined.
    """

    header: str = "x-api-key"
    keys: tuple[str, ...] = ()
    trust: bool = False
    unknown: Literal["refuse", "anonymous"] = "refuse"
    anonymous: Literal["shared", "refuse"] = "shared"
    salt: bytes = field(default_factory=lambda: secrets.token_bytes(16), repr=False)
    _names: dict[bytes, str] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.header, str) or not _HEADER.fullmatch(self.header):
            raise UsageError(f"header={self.header!r} is not a header name")
        if not isinstance(self.trust, bool):
            raise UsageError(f"trust={self.trust!r} is not allowed; give true or false")
        if self.trust and self.keys:
            raise UsageError("keys= and trust= exclude each other: either the guard checks keys, or something in front")
        for name, allowed in (("unknown", ("refuse", "anonymous")), ("anonymous", ("shared", "refuse"))):
            if getattr(self, name) not in allowed:
                raise UsageError(f"{name}={getattr(self, name)!r} is not allowed; give {' or '.join(allowed)}")
        if not 8 <= len(self.salt) <= 64:
            raise UsageError(f"the salt has {len(self.salt)} bytes; give 8 to 64")
        for index, key in enumerate(self.keys):
            if not isinstance(key, str) or not _HEX.fullmatch(key):
                # Not echoed: whoever pastes the key itself here must not find it in a log.
                raise UsageError(f"keys[{index}] is not the SHA-256 of a key: 64 lower-case hexadecimal digits")
            self._names[bytes.fromhex(key)] = self._name(bytes.fromhex(key))

    def of(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The account of a request.

        Raises:
            Unauthenticated: No key, an unknown one, or two at once.
        """
        wanted = self.header.lower().encode()
        found = [value for name, value in headers if name.lower() == wanted]
        if len(found) > 1:  # two readers of the request could pick different ones
            raise Unauthenticated("the account header is there twice")
        key = found[0].strip() if found else b""
        if wanted == b"authorization" and key[:7].lower() == b"bearer ":
            key = key[7:].strip()
        if not key:
            if self.anonymous == "refuse":
                raise Unauthenticated("an account key is needed")
            return ANONYMOUS
        if not self.trust and not self._names:
            return ANONYMOUS
        # A hash of the secret is looked up, so the time it takes says nothing of the secret.
        digest = hashlib.sha256(key).digest()
        name = self._name(digest) if self.trust else self._names.get(digest)
        if name is None and self.unknown == "refuse":
            raise Unauthenticated("the account key is not known")
        return name or ANONYMOUS

    def _name(self, digest: bytes) -> str:
        return hashlib.blake2b(digest, key=self.salt, digest_size=12).hexdigest()
