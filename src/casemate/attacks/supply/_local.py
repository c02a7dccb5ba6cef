"""A small HTTP server on 127.0.0.1 in a thread of its own, and manifests rewritten so that they point to it."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_URL = re.compile(r"(?:https?|ftp)://[^\s\"'<>,;|]+")
_HEX = re.compile(r"(?<![0-9a-fA-F])(?:[0-9a-fA-F]{128}|[0-9a-fA-F]{96}|[0-9a-fA-F]{64})(?![0-9a-fA-F])")
_HASHES = {64: "sha256", 96: "sha384", 128: "sha512"}  # shorter ones can be forged: to pin with them is no pin


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a manifest: its URL, and the digest written with it, if any."""

    url: str
    digest: str = ""

    @property
    def name(self) -> str:
        """The last part of the URL's path."""
        return self.url.split("?")[0].split("#")[0].rstrip("/").rsplit("/", 1)[-1] or "file"


def entries(text: str) -> list[Entry]:
    """The files a manifest names, each with the digest of its own record: the innermost object of JSON, else the line."""
    found: list[Entry] = []
    for record in _records(text):
        urls, digests = _URL.findall(record), _HEX.findall(_URL.sub(" ", record))
        found += [Entry(url, digests[i] if i < len(digests) else "") for i, url in enumerate(urls)]
    return list({entry.url: entry for entry in found}.values())


def _records(text: str) -> Iterator[str]:
    try:
        yield from _objects(json.loads(text))
    except ValueError:
        yield from text.splitlines()


def _objects(value: Any) -> Iterator[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    if isinstance(value, dict):
        # A mapping from URL to digest is a record of each pair; so is an object with both among its values.
        yield from (f"{key} {item}" for key, item in value.items() if isinstance(item, str) and _URL.match(key))
        yield " ".join(item for item in value.values() if isinstance(item, str))
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, str))
    for item in inner:
        if isinstance(item, dict | list):
            yield from _objects(item)


def pointed(text: str, files: list[Entry], contents: list[bytes], port: int) -> str:
    """The manifest with every URL at the local server, and every digest that of what is served there."""
    for i, (entry, content) in enumerate(zip(files, contents, strict=True)):
        if entry.digest:
            own = hashlib.new(_HASHES[len(entry.digest)], content).hexdigest()
            text = text.replace(entry.digest, own.upper() if entry.digest.isupper() else own)
        text = re.sub(re.escape(entry.url) + r"(?![^\s\"'<>,;|])", f"http://127.0.0.1:{port}/{i}/{entry.name}", text)
    return text


@dataclass(slots=True)
class Served:
    """What the server gives for each file, and how often each was asked for."""

    contents: list[bytes]
    port: int = 0
    asked: list[int] = field(default_factory=list)


@contextmanager
def serving(contents: list[bytes]) -> Iterator[Served]:
    """Serve files under ``/<number>/<name>`` on 127.0.0.1 for as long as the block lasts. Contents may be changed meanwhile."""
    served = Served(contents=list(contents), asked=[0] * len(contents))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(True)

        def do_HEAD(self) -> None:
            self._reply(False)

        def _reply(self, body: bool) -> None:
            number = self.path.split("/")[1] if self.path.count("/") > 1 else ""
            if not number.isdigit() or int(number) >= len(served.contents):
                self.send_error(404)
                return
            content = served.contents[int(number)]
            served.asked[int(number)] += body
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: what was asked is counted."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def content_for(entry: Entry, beside: Path) -> bytes:
    """What to serve for a file: a copy of it beside the manifest where there is one, else two short lines of numbers."""
    own = beside / entry.name
    return own.read_bytes() if own.is_file() else b"0,0\n1,1\n"


def other(content: bytes) -> bytes:
    """Content of the same kind that is not the same: text with its last line once more, anything else with one bit turned."""
    try:
        lines = content.decode("utf-8").splitlines(keepends=True)
    except UnicodeDecodeError:
        lines = []
    if lines and "\0" not in lines[0] and content.lstrip()[:1] not in (b"{", b"["):
        last = lines[-1] if lines[-1].endswith("\n") else lines[-1] + "\n"
        return content + (b"" if content.endswith(b"\n") else b"\n") + last.encode()
    return (content[:-1] + bytes([content[-1] ^ 1])) if content else b"0"
