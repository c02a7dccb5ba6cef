"""Raw ASGI calls: what a server would send, with nothing in between."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

INFER = "/v2/models/m/infer"


def key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def request(rows: int = 1, width: int = 2) -> dict[str, Any]:
    data = [i % 7 for i in range(rows * width)]
    return {"inputs": [{"name": "x", "shape": [rows, width], "datatype": "FP32", "data": data}]}


def reply(rows: int = 1) -> dict[str, Any]:
    scores = [0.123456, 0.2, 0.676544] * rows
    return {
        "model_name": "m",
        "parameters": {"secret": scores},
        "outputs": [
            {
                "name": "label",
                "shape": [rows],
                "datatype": "INT64",
                "data": [2] * rows,
                "parameters": {"secret": scores},
            },
            {"name": "scores", "shape": [rows, 3], "datatype": "FP64", "data": scores},
            {"name": "embedding", "shape": [rows, 3], "datatype": "FP64", "data": scores},
        ],
    }


@dataclass
class App:
    """A model server that answers a fixed body and remembers what it got."""

    body: Any = field(default_factory=reply)
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"), (b"etag", b"x"))
    chunks: int = 1
    got: list[bytes] = field(default_factory=list)
    scopes: list[Any] = field(default_factory=list)

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.got.append(body)
        data = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = [*self.headers, (b"content-length", b"%d" % len(data))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        size = -(-len(data) // self.chunks) or 1
        parts = [data[i : i + size] for i in range(0, len(data), size)] or [b""]
        for i, part in enumerate(parts):
            await send({"type": "http.response.body", "body": part, "more_body": i + 1 < len(parts)})


@dataclass
class Got:
    status: int
    headers: dict[bytes, bytes]
    body: bytes
    messages: list[Any]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(app, body=None, *, method="POST", path=INFER, headers=(), chunks=None, clean=True) -> Got:
    """One request, in its own event loop."""
    return asyncio.run(acall(app, body, method=method, path=path, headers=headers, chunks=chunks, clean=clean))


async def acall(app, body=None, *, method="POST", path=INFER, headers=(), chunks=None, clean=True) -> Got:
    data = body if isinstance(body, bytes) else json.dumps(request() if body is None else body).encode()
    parts = list(chunks) if chunks is not None else [data]
    queue = [{"type": "http.request", "body": p, "more_body": i + 1 < len(parts)} for i, p in enumerate(parts)]
    sent = []

    async def receive():
        await asyncio.sleep(0)
        return queue.pop(0) if queue else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "headers": list(headers), "query_string": b"",
        "extensions": {"http.response.pathsend": {}},
    }  # fmt: skip
    await app(scope, receive, send)
    if not sent:
        return Got(0, {}, b"", sent)
    found = Got(sent[0]["status"], dict(sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent[1:]), sent)
    if clean:
        assert int(found.headers[b"content-length"]) == len(found.body)
        assert sum(name == b"content-length" for name, _ in sent[0]["headers"]) == 1
    return found
