"""An answer held back until the controls have edited it."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from .schema import Malformed

Message = MutableMapping[str, Any]
# Headers that describe the bytes, and would be wrong (or tell of what was hidden) once they are edited.
_OF_BYTES = (b"content-length", b"etag", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"trailer")


class Answer:
    """Collects what an application sends. `complete` once the last byte is there."""

    def __init__(self, most: int) -> None:
        self.start: Message = {}
        self.complete = self.too_large = self.odd = False
        self._chunks: list[bytes] = []
        self._room = most

    async def take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        elif message["type"] == "http.response.body":
            chunk = bytes(message.get("body", b""))
            self._room -= len(chunk)
            if self._room < 0:  # memory must not be the server's to fill: what is too large is not kept
                self.too_large = True
                self._chunks.clear()
            else:
                self._chunks.append(chunk)
            self.complete = not message.get("more_body", False)
        else:
            self.odd = True

    @property
    def body(self) -> bytes:
        return b"".join(self._chunks)

    def edited(self, edit: Callable[[bytes], bytes], *, lenient: bool) -> tuple[Message, bytes]:
        """The start message and the body that may be sent.

        Only a success is a decision. What a failing server says could hold anything, so only its status is passed on.

        Args:
            edit: From the body to the body.
            lenient: Pass on what is not JSON as it is.
        """
        if not self.complete or self.too_large or self.odd:
            raise Malformed("the answer is incomplete, too large, or not a plain HTTP answer")
        status, headers = self.start["status"], list(self.start.get("headers", ()))
        kept = [(name, value) for name, value in headers if name.lower() not in _OF_BYTES]
        if not 200 <= status < 300:
            body = b'{"error":"the model server answered %d"}' % status
            kept = [(b"content-type", b"application/json")]
        elif any(name.lower() == b"content-encoding" and value.lower() != b"identity" for name, value in headers):
            raise Malformed("the answer is compressed")
        else:
            kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
            if lenient and b"json" not in kind.lower():
                return self.start, self.body
            body = edit(self.body)
        return {**self.start, "headers": [*kept, (b"content-length", b"%d" % len(body))], "trailers": False}, body
