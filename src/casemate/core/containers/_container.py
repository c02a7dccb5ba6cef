"""A file format as an attacker and a judge see it: what a file means, and which bytes may change without that."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Random = np.random.Generator
Edit = Callable[[bytes, Random, bytes], bytes]
Meaning = Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Container:
    """One format.

    Args:
        meaning: What a file holds, as a value to compare. Parses all of it, and raises on a broken file.
        edits: By name, ``edit(data, rng, payload) -> data``: ways to put bytes in that keep the file working. One that does
            not apply to a file returns it unchanged.
    """

    name: str
    meaning: Meaning
    edits: Mapping[str, Edit]

    def __repr__(self) -> str:
        return f"Container({self.name!r})"

    def works(self, data: bytes) -> bool:
        """Whether the whole file can be read."""
        try:
            self.meaning(data)
        except Exception:  # noqa: BLE001 - parsers fail in their own ways; whatever the way, the file is broken
            return False
        return True

    def valid(self, changed: bytes, original: bytes) -> bool:
        """Whether `changed` is a working file that means what `original` means."""
        if changed == original:
            return self.works(original)
        try:
            return bool(self.meaning(original) == self.meaning(changed))
        except Exception:  # noqa: BLE001 - as in works
            return False

    def change(self, data: bytes, rng: Random) -> tuple[str, bytes]:
        """One random edit with one random payload: the name of the edit and the changed file."""
        chosen = sorted(self.edits)[int(rng.integers(len(self.edits)))]
        return chosen, self.edits[chosen](data, rng, payload(rng))

    def edit(self, current: bytes, original: bytes, rng: Random) -> bytes:
        """One random edit of `current`: what `Bytes` asks for. A file that cannot be read comes back as it is."""
        try:
            return self.change(current, rng)[1]
        except Exception:  # noqa: BLE001 - as in works
            return current


def payload(rng: Random) -> bytes:
    """A beginning that is typical of some other format, once or repeated up to about 1 KB."""
    text = PAYLOADS[int(rng.integers(len(PAYLOADS)))]
    most = max(1, 1024 // len(text))
    return text * int(rng.choice([1, most, max(1, most // 3)]))


def plain(text: bytes) -> str:
    """A payload as printable ASCII lines, so that it fits into a comment in any ASCII-compatible encoding."""
    return re.sub(r"[^\t\n -~]", "~", text.decode("latin-1"))


def blank(rng: Random) -> bytes:
    """White space: line feeds and spaces, up to 2 KB."""
    return rng.choice(np.frombuffer(b"\n\n ", np.uint8), int(rng.integers(1, 2048))).tobytes()


def ended(data: bytes) -> bytes:
    """The text with a line feed at its end."""
    return data if not data or data.endswith(b"\n") else data + b"\n"


def line_starts(data: bytes) -> list[int]:
    """Where each line begins."""
    return [0] + [match.end() for match in re.finditer(rb"\n", data)]


def blank_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    """White space after the end."""
    return data + b"\n" + blank(rng)


def blank_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    """White space before the beginning, where no byte order mark stands there."""
    return data if data.startswith(b"\xef\xbb\xbf") else blank(rng) + data


def insert(data: bytes, at: int, text: bytes) -> bytes:
    """`data` with `text` put in at a position."""
    return data[:at] + text + data[at:]


def overwrite(data: bytes, at: int, text: bytes) -> bytes:
    """`data` with the bytes from a position on replaced by `text`."""
    return data[:at] + text + data[at + len(text) :]


def pick(rng: Random, places: list[int]) -> int:
    """One of some positions."""
    return places[int(rng.integers(len(places)))]


def filled(text: bytes, size: int) -> bytes:
    """A payload repeated to exactly `size` bytes."""
    return (text * (size // max(1, len(text)) + 1))[:size]


def append(data: bytes, rng: Random, payload: bytes) -> bytes:
    """Bytes after the end of the file proper."""
    return data + payload


PAYLOADS: tuple[bytes, ...] = (
    b"<?php\necho htmlspecialchars($_GET['name']);\nfunction total($a, $b) { return $a + $b; }\n?>\n",
    b"<!DOCTYPE html>\n<html><head><title>Invoice</title></head><body><p>Dear customer,</p></body></html>\n",
    b'#include <stdio.h>\nint main(int argc, char **argv) {\n    return printf("%d\\n", argc);\n}\n',
    b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n",
    b"%!PS-Adobe-3.0\n%%BoundingBox: 0 0 612 792\n/Times-Roman findfont 12 scalefont setfont\n",
    b"{\\rtf1\\ansi\\deff0 {\\fonttbl {\\f0 Times New Roman;}}\\f0\\fs24 Dear customer\\par}\n",
    b"\\documentclass{article}\n\\usepackage{amsmath}\n\\begin{document}\n\\section{Introduction}\n",
    b"# Quarterly report\n\nThe [results](https://example.org) are *better* than expected:\n\n- sales\n- costs\n\n",
    b"From: Alice <alice@example.org>\nTo: Bob <bob@example.org>\nSubject: Minutes\nMIME-Version: 1.0\n\n",
    b"name,street,city,amount\nAlice,Main Street 1,Springfield,12.50\nBob,Second Street 2,Shelbyville,7.25\n",
    b'{"name": "invoice", "version": "1.0.0", "items": [{"id": 1, "price": 9.5}, {"id": 2, "price": 3.0}]}\n',
    b'<?xml version="1.0" encoding="UTF-8"?>\n<note><to>Bob</to><from>Alice</from></note>\n',
    b"Dear Bob,\n\nthank you for your letter of last week. We have looked into the matter and will call you.\n\n",
    b"import os\nimport sys\n\ndef main():\n    for name in os.listdir('.'):\n        print(name, file=sys.stderr)\n",
    b'#!/bin/sh\nset -e\nfor f in *.txt; do\n  grep -q total "$f" && echo "$f"\ndone\n',
    b"SELECT customer.id, SUM(amount) FROM orders JOIN customer USING (id) GROUP BY customer.id ORDER BY 2;\n",
    b"[section]\nkey = value\npath = /var/lib/service\n\n[logging]\nlevel = info\n",
    b"diff --git a/file.txt b/file.txt\n--- a/file.txt\n+++ b/file.txt\n@@ -1,2 +1,2 @@\n-old line\n+new line\n",
    b"function total(items) {\n  const sum = items.reduce((a, b) => a + b, 0);\n  return sum;\n}\n",
    b"body { margin: 0; font-family: sans-serif; }\n.header > a:hover { color: #336699; }\n",
    b"PK\x03\x04\x14\x00\x00\x00\x08\x00word/document.xml",
    b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00This program cannot be run in DOS mode.\r\r\n$",
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00",
    b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00>\x00",
)
