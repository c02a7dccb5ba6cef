"""A real model server in a thread, that can also misbehave."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

WEIGHTS = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])
CLASSES = ("cat", "dog", "eel")


def logits(rows: Any) -> np.ndarray:
    return np.asarray(rows, float).reshape(-1, 2) @ WEIGHTS


def scores(rows: Any) -> np.ndarray:
    raised = np.exp(logits(rows))
    return raised / raised.sum(1, keepdims=True)


class Server:
    """What arrived, and what to answer with: `misbehave` gets the handler and may answer itself by returning True."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.misbehave: Callable[[BaseHTTPRequestHandler, int], bool] = lambda handler, place: False
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def rows(self) -> int:
        return sum(request["rows"] for request in self.requests)


def answer(path: str, body: Any) -> tuple[Any, int]:
    """The model server proper: V2, and JSON in a few shapes."""
    if path.startswith("/v2/models/"):
        tensor = body["inputs"][0]
        rows = np.asarray(tensor["data"]).reshape(tensor["shape"])
        found = logits(rows)
        outputs = [
            {"name": "label", "datatype": "INT64", "shape": [len(rows)], "data": found.argmax(1).tolist()},
            {"name": "logits", "datatype": "FP64", "shape": list(found.shape), "data": found.ravel().tolist()},
            {"name": "word", "datatype": "BYTES", "shape": [len(rows)], "data": [CLASSES[i] for i in found.argmax(1)]},
        ]
        wanted = {output["name"] for output in body.get("outputs", [{"name": "label"}, {"name": "logits"}])}
        return {"model_name": "m", "outputs": [output for output in outputs if output["name"] in wanted]}, len(rows)
    if path == "/one":
        found = scores([body["row"]])[0]
        return {"result": {"label": CLASSES[found.argmax()], "all": dict(zip(CLASSES, found.tolist(), strict=True))}}, 1
    if path == "/records":
        rows = [[record["a"], record["b"]] for record in body["data"]["rows"]]
        return {"labels": [CLASSES[i] for i in scores(rows).argmax(1)]}, len(rows)
    found = scores(body["inputs"])
    each = [{"label": CLASSES[row.argmax()], "scores": row.tolist()} for row in found]
    return {"predictions": each}, len(found)


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found, rows = answer(self.path, body)
            server.requests.append(
                {"path": self.path, "body": body, "rows": rows, "headers": dict(self.headers), "at": time.monotonic()}
            )
            if not server.misbehave(self, len(server.requests)):
                reply(self, 200, json.dumps(found).encode())

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


def reply(handler: BaseHTTPRequestHandler, status: int, content: bytes, **headers: str) -> bool:
    """Send one answer."""
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)
    return True


@contextmanager
def running() -> Iterator[Server]:
    """A server on a free port of this machine."""
    server = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.daemon_threads = True
    http.handle_error = lambda *_: None  # type: ignore[method-assign]  # callers hang up on purpose
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
