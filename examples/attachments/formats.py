"""File formats: does a changed file still work and mean the same, and which bytes may change without that.

Every check parses both files for real, with the format's own parser. Every edit keeps the file working by
construction; the check is the proof. An edit that does not apply to a file returns it unchanged.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import re
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any, Literal
from xml.parsers import expat

import numpy as np
from markdown_it import MarkdownIt
from PIL import Image, ImageSequence

Random = np.random.Generator
Edit = Callable[[bytes, Random, bytes], bytes]
Meaning = Callable[[bytes], Any]

GROWTH = 128 * 1024  # an edit stops here: mail servers refuse attachments that grow without end
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Format:
    """How to read a file's meaning (raises on a broken file), and the edits that keep it."""

    name: str
    meaning: Meaning
    edits: dict[str, Edit]


def same(name: str, original: bytes, changed: bytes) -> bool:
    """Whether `changed` is a working file of this format that means what `original` means."""
    if changed == original:
        return works(name, original)
    try:
        return bool(FORMATS[name].meaning(original) == FORMATS[name].meaning(changed))
    except Exception:  # noqa: BLE001 - parsers fail in their own ways; whatever the way, the file is broken
        return False


def works(name: str, data: bytes) -> bool:
    """Whether the format's parser reads the whole file."""
    try:
        FORMATS[name].meaning(data)
    except Exception:  # noqa: BLE001 - as in same()
        return False
    return True


def change(name: str, data: bytes, rng: Random) -> tuple[str, bytes]:
    """One random edit with one random payload: the edit's name and the changed file."""
    edits = FORMATS[name].edits
    chosen = sorted(edits)[int(rng.integers(len(edits)))]
    changed = edits[chosen](data, rng, payload(rng))
    return chosen, changed if len(changed) <= GROWTH else data


def payload(rng: Random) -> bytes:
    """A beginning that is typical of some other format, once or repeated up to about 1 KB."""
    text = PAYLOADS[int(rng.integers(len(PAYLOADS)))]
    most = max(1, 1024 // len(text))
    return text * int(rng.choice([1, most, max(1, most // 3)]))


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


# ---- shared by the text formats ----------------------------------------------------------------------------------


def _plain(text: bytes) -> str:
    """A payload as printable ASCII lines, so that it fits into a comment in any ASCII-compatible encoding."""
    return re.sub(r"[^\t\n -~]", "~", text.decode("latin-1"))


def _blank(rng: Random) -> bytes:
    return rng.choice(np.frombuffer(b"\n\n ", np.uint8), int(rng.integers(1, 2048))).tobytes()


def _insert(data: bytes, at: int, text: bytes) -> bytes:
    return data[:at] + text + data[at:]


def _pick(rng: Random, places: list[int]) -> int:
    return places[int(rng.integers(len(places)))]


def _blank_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data + b"\n" + _blank(rng)


def _blank_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data if data.startswith(b"\xef\xbb\xbf") else _blank(rng) + data


def _ended(data: bytes) -> bytes:
    return data if not data or data.endswith(b"\n") else data + b"\n"


# ---- Python ------------------------------------------------------------------------------------------------------


class _Unused(ast.NodeTransformer):
    """Drop constants that stand as statements: the compiler drops them too. Docstrings stay."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            keep = 1 if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) else 0
            node.body = [s for i, s in enumerate(body) if i < keep or not _constant(s)]  # type: ignore[attr-defined]
        return node


def _constant(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _python_tree(data: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes in string literals warn, and are none of our business
        compile(data, "attachment", "exec", dont_inherit=True)
        return ast.parse(data)


def _python_meaning(data: bytes) -> str:
    return ast.dump(_Unused().visit(_python_tree(data))) + repr(data.startswith(b"#!") and data.splitlines()[0])


def _comments(text: bytes) -> bytes:
    # A comment that says "coding" in the first two lines would change how the file is decoded.
    lines = _plain(text).replace("coding", "c0ding").splitlines()
    return "".join(f"# {line}\n" for line in lines).encode()


def _python_top(data: bytes) -> int:
    """Where the first free comment may stand: after a byte order mark, a shebang and an encoding line."""
    lines = data.split(b"\n", 2)[:2]
    head = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*[-\w.]+")
    keep = max((i + 1 for i, line in enumerate(lines) if line.startswith(b"#!") or head.match(line)), default=0)
    return sum(len(line) + 1 for line in lines[:keep]) or (3 if data.startswith(b"\xef\xbb\xbf") else 0)


def _line_starts(data: bytes) -> list[int]:
    return [0] + [match.end() for match in re.finditer(rb"\n", data)]


def _python_odd(data: bytes) -> bool:
    # A lone carriage return ends a line for the compiler but not for tokenize; form feeds are harmless.
    return b"\r" in data.replace(b"\r\n", b"\n")


def _python_comment_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    return _insert(_ended(data), _python_top(data), _comments(payload))


def _python_comment_line(data: bytes, rng: Random, payload: bytes) -> bytes:
    if _python_odd(data):
        return data
    data, starts = _ended(data), _line_starts(_ended(data))
    rows = [t.end[0] for t in tokenize.tokenize(io.BytesIO(data).readline) if t.type == tokenize.NEWLINE]
    places = [starts[row] for row in rows if row < len(starts) and starts[row] >= _python_top(data)]
    return _insert(data, _pick(rng, places), _comments(payload)) if places else data


def _python_comment_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return _ended(data) + _comments(payload)


def _python_string(data: bytes, rng: Random, payload: bytes) -> bytes:
    """A string that stands alone between two statements: no code comes of it."""
    if _python_odd(data):
        return data
    data, starts = _ended(data), _line_starts(_ended(data))
    body = _python_tree(data).body
    future = [i for i, s in enumerate(body) if isinstance(s, ast.ImportFrom) and s.module == "__future__"]
    ends = [(s.end_lineno or 0, body[i + 1].lineno if i + 1 < len(body) else 1 << 60) for i, s in enumerate(body)]
    places = [starts[end] for end, then in ends[max(future, default=0) :] if end < then and end < len(starts)]
    text = _plain(payload).replace("\\", "/").replace('"', "'")
    return _insert(data, _pick(rng, places), f'"""\n{text}"""\n'.encode()) if places else data


def _python_encoding(data: bytes, rng: Random, payload: bytes) -> bytes:
    names = ["utf-8", "utf8", "UTF-8"]
    line = f"# -*- coding: {names[int(rng.integers(3))]} -*-\n".encode()
    return data if _python_top(data) or data.startswith(b"\xef\xbb\xbf") else line + data


def _python_blank_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    return _insert(_ended(data), _python_top(data), b"\n" * int(rng.integers(1, 2048)))


def _python_blank_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return _ended(data) + b"\n" * int(rng.integers(1, 2048))


# ---- JSON --------------------------------------------------------------------------------------------------------


def _no_constant(text: str) -> Any:
    raise ValueError(f"not JSON: {text}")


def _json_meaning(data: bytes) -> Any:
    # Numbers stay text and objects stay lists of pairs: 1 is not 1.0, and a repeated key is not lost.
    return json.loads(
        data.decode("utf-8"),
        object_pairs_hook=lambda pairs: ("object", pairs),
        parse_int=lambda text: ("number", text),
        parse_float=lambda text: ("number", text),
        parse_constant=_no_constant,
    )


_JSON_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+|\s+')


def _json_between(data: bytes, rng: Random, payload: bytes) -> bytes:
    tokens = _JSON_TOKEN.findall(data)
    places = [i for i, token in enumerate(tokens) if token in (b",", b":", b"[", b"{")]
    if not places:
        return data
    tokens.insert(_pick(rng, places) + 1, _blank(rng))
    return b"".join(tokens)


def _json_compact(data: bytes, rng: Random, payload: bytes) -> bytes:
    return b"".join(token for token in _JSON_TOKEN.findall(data) if not token.isspace())


def _json_escape(data: bytes, rng: Random, payload: bytes) -> bytes:
    share = float(rng.choice([0.1, 0.5, 1.0]))

    def escape(token: bytes) -> bytes:
        if token[:1] != b'"' or b"\\" in token or rng.random() > share:
            return token
        return b'"' + re.sub(rb"[ -~]", lambda m: b"\\u%04x" % m.group()[0], token[1:-1]) + b'"'

    return b"".join(escape(token) for token in _JSON_TOKEN.findall(data))


# ---- HTML --------------------------------------------------------------------------------------------------------

_RAW = {"script", "style", "textarea", "title", "noscript", "iframe", "xmp", "plaintext", "template", "svg", "math"}


class _Html(HTMLParser):
    """Everything but comments, and where tags begin outside of elements whose content is not markup."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.events: list[tuple[Any, ...]] = []
        self.tags: list[tuple[int, int]] = []
        self.raw: list[str] = []

    def handle_decl(self, decl: str) -> None:
        self.events.append(("declaration", decl))

    def unknown_decl(self, data: str) -> None:
        self.events.append(("unknown", data))

    def handle_pi(self, data: str) -> None:
        self.events.append(("instruction", data))

    def handle_data(self, data: str) -> None:
        if self.events and self.events[-1][0] == "text":
            data = self.events.pop()[1] + data
        self.events.append(("text", data))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.events.append(("start", tag, tuple(attrs)))
        if not self.raw:
            self.tags.append(self.getpos())
        if tag in _RAW:
            self.raw.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.events.append(("startend", tag, tuple(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.events.append(("end", tag))
        if self.raw and self.raw[-1] == tag:
            self.raw.pop()


def _html_read(data: bytes) -> _Html:
    if b"\x00" in data:
        raise ValueError("a null byte is not text")
    reader = _Html()
    reader.feed(data.decode("latin-1"))  # one character a byte: positions are byte positions
    reader.close()
    if not any(event[0] == "start" for event in reader.events):
        raise ValueError("no element")
    return reader


def _html_meaning(data: bytes) -> list[tuple[Any, ...]]:
    events = _html_read(data).events
    first = next(i for i, event in enumerate(events) if event[0] == "start")
    # White space before the first element and after the last one is no content in any browser.
    loose = [i for i in (*range(first), len(events) - 1) if events[i][0] == "text" and not events[i][1].strip()]
    return [event for i, event in enumerate(events) if i not in loose]


def _markup_comment(text: bytes) -> bytes:
    return f"<!-- {re.sub(r'-(?=[->])', '~', _plain(text).replace('--', '~~'))} -->".encode()


def _html_places(data: bytes) -> list[int]:
    starts = _line_starts(data)
    return [starts[line - 1] + column for line, column in _html_read(data).tags]


def _html_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    places = _html_places(data)
    return _insert(data, places[0], _markup_comment(payload)) if places else data


def _html_before(data: bytes, rng: Random, payload: bytes) -> bytes:
    places = _html_places(data)
    return _insert(data, _pick(rng, places), _markup_comment(payload)) if places else data


def _markup_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data + b"\n" + _markup_comment(payload)


def _html_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    closed = re.search(rb"</html\s*>\s*\Z", data, re.IGNORECASE)
    return _markup_end(data, rng, payload) if closed else data


def _html_blank_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    return _blank_top(data, rng, payload) if data.lstrip()[:1] == b"<" else data


def _html_blank_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return _blank_end(data, rng, payload) if re.search(rb"</html\s*>\s*\Z", data, re.IGNORECASE) else data


def _html_case(data: bytes, rng: Random, payload: bytes) -> bytes:
    """Names of tags in the other case, as HTML allows."""
    changed, share = bytearray(data), float(rng.choice([0.2, 1.0]))
    for at in _html_places(data):
        name = re.match(rb"<[A-Za-z0-9]+", data[at : at + 32])
        if name and rng.random() < share:
            changed[at : at + name.end()] = name.group().swapcase()
    return bytes(changed)


# ---- XML and SVG -------------------------------------------------------------------------------------------------


class _Xml:
    """Everything the parser reports but comments, and where elements begin."""

    def __init__(self, data: bytes) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.places: list[int] = []
        self.parser = parser = expat.ParserCreate()
        parser.ordered_attributes = True
        parser.buffer_text = False
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda name: self.events.append(("end", name))
        parser.CharacterDataHandler = self._text
        parser.ProcessingInstructionHandler = lambda *event: self.events.append(("instruction", *event))
        parser.StartDoctypeDeclHandler = lambda *event: self.events.append(("doctype", *event))
        parser.EntityDeclHandler = lambda *event: self.events.append(("entity", *event))
        parser.XmlDeclHandler = lambda *event: self.events.append(("declaration", *event))
        parser.Parse(data, True)

    def _start(self, name: str, attributes: list[str]) -> None:
        self.events.append(("start", name, tuple(attributes)))
        self.places.append(self.parser.CurrentByteIndex)

    def _text(self, text: str) -> None:
        if self.events[-1][0] == "text":
            text = self.events.pop()[1] + text
        self.events.append(("text", text))


def _xml_places(data: bytes) -> list[int]:
    # In UTF-16 an ASCII comment would not be a comment; an entity's elements have no place of their own.
    places = [] if b"\x00" in data else _Xml(data).places
    return [at for at in places if re.match(rb"<[A-Za-z_]", data[at : at + 2])]


def _xml_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    head = re.match(rb"(\xef\xbb\xbf)?(<\?xml[^>]*\?>)?", data)
    return _insert(data, head.end(), _markup_comment(payload)) if head and _xml_places(data) else data


def _xml_before(data: bytes, rng: Random, payload: bytes) -> bytes:
    places = _xml_places(data)
    return _insert(data, _pick(rng, places), _markup_comment(payload)) if places else data


def _xml_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return _markup_end(data, rng, payload) if _xml_places(data) else data


def _xml_space(data: bytes, rng: Random, payload: bytes) -> bytes:
    """White space after the name of a tag."""
    places = _xml_places(data)
    at = (_pick(rng, places) if rng.random() < 0.5 else places[0]) if places else 0
    name = re.match(rb"<[^\s/>]+", data[at:])
    return _insert(data, at + name.end(), b"\n" + _blank(rng)) if places and name else data


def _xml_blank_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return _blank_end(data, rng, payload) if _xml_places(data) else data


# ---- CSS ---------------------------------------------------------------------------------------------------------

_CSS_TOKEN = re.compile(
    r"""(?P<comment>/\*.*?\*/)|(?P<space>\s+)|(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<url>url\(\s*[^"'\s)][^)]*\))|(?P<word>(?:[-\w#@.%]|[^\x00-\x7f]|\\.)+)|(?P<mark>[^"'])""",
    re.DOTALL | re.IGNORECASE,
)


def _css_tokens(data: bytes) -> list[tuple[str, str, int]]:
    """Kind, text and position of every token. Raises where a string, a comment or a block does not end."""
    text, at, found = data.decode("latin-1"), 0, []
    while at < len(text):
        token = _CSS_TOKEN.match(text, at)
        if token is None or (token.group() == "/" and text[at : at + 2] == "/*"):
            raise ValueError(f"unfinished token at {at}")
        found.append((str(token.lastgroup), token.group(), at))
        at = token.end()
    depth = 0
    for kind, mark, _ in found:
        depth += (mark in "({[") - (mark in ")}]") if kind == "mark" else 0
        if depth < 0:
            raise ValueError("a block closes that never opened")
    if depth:
        raise ValueError("a block does not close")
    return found


def _css_meaning(data: bytes) -> list[str]:
    # A comment separates tokens but is no white space; runs of white space count as one.
    kept: list[str] = []
    for kind, text, _ in _css_tokens(data):
        mark = "" if kind == "comment" else " " if kind == "space" else text
        if mark and not (mark == " " and kept[-1:] in ([], [" "], ["}"], ["{"], [";"])):
            if mark in ("}", "{", ";") and kept[-1:] == [" "]:
                kept.pop()
            kept.append(mark)
    if data.lstrip().startswith(b"@charset"):
        kept.insert(0, f"charset at {data.index(b'@')}")  # it only counts as the very first bytes
    return kept[:-1] if kept[-1:] == [" "] else kept


def _css_places(data: bytes) -> list[int]:
    """After a block or a declaration, where white space and comments mean nothing."""
    return [at + 1 for kind, text, at in _css_tokens(data) if kind == "mark" and text in ("}", "{", ";")]


def _css_comment(text: bytes) -> bytes:
    return f"\n/* {_plain(text).replace('*/', '*~').replace('/*', '~*')} */\n".encode()


def _css_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data if data.startswith((b"@charset", b"\xef\xbb\xbf")) else _css_comment(payload) + data


def _css_before(data: bytes, rng: Random, payload: bytes) -> bytes:
    places = _css_places(data)
    return _insert(data, _pick(rng, places), _css_comment(payload)) if places else data


def _css_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data + _css_comment(payload)


def _css_blank_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data if data.startswith(b"@charset") else _blank_top(data, rng, payload)


# ---- Markdown ----------------------------------------------------------------------------------------------------

_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def _markdown_meaning(data: bytes) -> str:
    return str(_MARKDOWN.render(data.decode("utf-8")))


def _references(text: bytes) -> bytes:
    """Link definitions that nothing refers to: the usual way to hide text in Markdown."""
    lines = [re.sub(r"[()\\]", "~", line) for line in _plain(text).splitlines()]
    return "".join(f"[//]: # ({line})\n" for line in lines if line.strip()).encode()


def _markdown_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data if data.startswith((b"---", b"\xef\xbb\xbf")) else _references(payload) + b"\n" + data


def _markdown_before(data: bytes, rng: Random, payload: bytes) -> bytes:
    text = data.decode("utf-8")
    tokens = [t for t in _MARKDOWN.parse(text) if t.type == "heading_open" and t.level == 0 and t.map]
    starts = [0] + [match.end() for match in re.finditer(r"\r\n|\r|\n", text)]
    places = [starts[t.map[0]] for t in tokens if t.map and t.map[0] < len(starts)]
    if not places:
        return data
    at = _pick(rng, places)
    return (text[:at] + "\n" + _references(payload).decode() + "\n" + text[at:]).encode()


def _markdown_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    changed = data + b"\n\n" + _references(payload)
    # Inside a code block that never closes, or a list, the text would show.
    return changed if _markdown_meaning(changed) == _markdown_meaning(data) else data


def _markdown_blank_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    changed = _ended(data) + b"\n" * int(rng.integers(1, 2048))
    return changed if _markdown_meaning(changed) == _markdown_meaning(data) else data


# ---- CSV ---------------------------------------------------------------------------------------------------------


def _csv_meaning(data: bytes) -> list[list[str]]:
    if b"\x00" in data:
        raise ValueError("a null byte is not text")
    rows = list(csv.reader(io.StringIO(data.decode("latin-1"), newline=""), strict=True))
    while rows and not rows[-1]:
        rows.pop()
    if not rows or max(map(len, rows)) < 2:
        raise ValueError("no table")
    return rows


def _csv_quote(data: bytes, rng: Random, payload: bytes) -> bytes:
    """Quote the fields of some rows or of all."""
    share, ending = float(rng.choice([0.1, 0.5, 1.0])), "\r\n" if b"\r\n" in data else "\n"
    out = io.StringIO(newline="")
    for row in _csv_meaning(data):
        quoting: Literal[0, 1] = csv.QUOTE_ALL if rng.random() < share else csv.QUOTE_MINIMAL
        csv.writer(out, quoting=quoting, lineterminator=ending).writerow(row)
    return out.getvalue().encode("latin-1")


def _csv_endings(data: bytes, rng: Random, payload: bytes) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n" if b"\r\n" in data else "\r\n").writerows(_csv_meaning(data))
    return out.getvalue().encode("latin-1")


def _csv_blank_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return _ended(data) + b"\n" * int(rng.integers(1, 2048))


# ---- PNG ---------------------------------------------------------------------------------------------------------


def _png_chunks(data: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """All chunks up to IEND, each with its checksum verified, and what follows."""
    if not data.startswith(_PNG):
        raise ValueError("no PNG signature")
    chunks: list[tuple[bytes, bytes]] = []
    at = len(_PNG)
    while not chunks or chunks[-1][0] != b"IEND":
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body, check = data[at + 8 : at + 8 + size], data[at + 8 + size : at + 12 + size]
        if struct.pack(">I", zlib.crc32(kind + body)) != check:
            raise ValueError(f"bad checksum in {kind!r}")
        chunks.append((kind, body))
        at += 12 + size
    return chunks, data[at:]


def _png_join(chunks: list[tuple[bytes, bytes]], rest: bytes) -> bytes:
    parts = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    return _PNG + b"".join(parts) + rest


def _frames(data: bytes) -> list[Any]:
    with Image.open(io.BytesIO(data)) as image:
        found = [(frame.size, frame.convert("RGBA").tobytes(), frame.info.get("duration"))
                 for frame in ImageSequence.Iterator(image)]  # fmt: skip
        return [image.format, image.info.get("loop"), found]


def _png_meaning(data: bytes) -> Any:
    chunks, _ = _png_chunks(data)
    if chunks[0][0] != b"IHDR":
        raise ValueError("IHDR is not first")
    zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    return [chunk for chunk in chunks if chunk[0][:1].isupper()], _frames(data)


def _png_text(data: bytes, rng: Random, payload: bytes) -> bytes:
    """A text chunk right after the header, or at the end."""
    chunks, rest = _png_chunks(data)
    text = payload.replace(b"\x00", b" ")
    chunks.insert(_pick(rng, [1, 1, len(chunks) - 1]), (b"tEXt", b"Comment\x00" + text))
    return _png_join(chunks, rest)


def _png_private(data: bytes, rng: Random, payload: bytes) -> bytes:
    """A private chunk, which every reader must skip."""
    chunks, rest = _png_chunks(data)
    chunks.insert(_pick(rng, [1, 1, len(chunks) - 1]), (b"prTx", payload))
    return _png_join(chunks, rest)


def _append(data: bytes, rng: Random, payload: bytes) -> bytes:
    """Bytes after the end-of-file marker."""
    return data + payload


# ---- GIF ---------------------------------------------------------------------------------------------------------


def _gif_walk(data: bytes) -> tuple[int, int]:
    """Where the first block starts and where the trailer stands."""
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        raise ValueError("no GIF signature")
    at = first = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 128 else 0)
    while data[at] != 0x3B:
        if data[at] == 0x2C:
            packed = data[at + 9]
            at += 11 + (3 * 2 ** ((packed & 7) + 1) if packed & 128 else 0)
        elif data[at] == 0x21:
            at += 2
        else:
            raise ValueError(f"no block at {at}")
        while data[at]:
            at += data[at] + 1
        at += 1
    return first, at


def _gif_meaning(data: bytes) -> Any:
    _gif_walk(data)
    return data[:13], _frames(data)


def _gif_comment(data: bytes, rng: Random, payload: bytes) -> bytes:
    """A comment block after the colour table or before the trailer; version 87a has none."""
    if not data.startswith(b"GIF89a"):
        return data
    text = payload or b" "
    blocks = b"".join(bytes([len(text[i : i + 255])]) + text[i : i + 255] for i in range(0, len(text), 255))
    return _insert(data, _pick(rng, list(_gif_walk(data))), b"\x21\xfe" + blocks + b"\x00")


# ---- ZIP ---------------------------------------------------------------------------------------------------------


def _zip_meaning(data: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if archive.testzip() is not None:
            raise ValueError("bad checksum in a member")
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def _unsigned(text: bytes) -> bytes:
    return text.replace(b"PK", b"pk")  # a second signature would make the archive ambiguous


def _zip_write(data: bytes, prefix: bytes = b"", extra: bytes = b"", method: int | None = None) -> bytes:
    out = io.BytesIO(prefix)
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "a") as new:
        for i, info in enumerate(old.infolist()):
            body = old.read(info)
            info.extra = extra if i == 0 and extra else info.extra
            new.writestr(info, body, compress_type=info.compress_type if method is None else method)
        new.comment = old.comment
    return out.getvalue()


def _zip_comment(data: bytes, rng: Random, payload: bytes) -> bytes:
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as archive:
        archive.comment = _unsigned(payload)
    return out.getvalue()


def _zip_prefix(data: bytes, rng: Random, payload: bytes) -> bytes:
    """Bytes before the first member, as in a self-extracting archive; all offsets are written anew."""
    return _zip_write(data, prefix=_unsigned(payload))


def _zip_extra(data: bytes, rng: Random, payload: bytes) -> bytes:
    """An extra field of unknown type on the first member."""
    return _zip_write(data, extra=struct.pack("<HH", 0x6361, len(payload)) + _unsigned(payload))


def _zip_method(data: bytes, rng: Random, payload: bytes) -> bytes:
    return _zip_write(data, method=_pick(rng, [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))


# ---- gzip --------------------------------------------------------------------------------------------------------


def _gzip_header(data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Fixed part, extra field, name with comment, and the rest."""
    flags, at, extra = data[3], 10, b""
    if flags & 4:
        size = struct.unpack("<H", data[10:12])[0]
        extra, at = data[12 : 12 + size], 12 + size
    end = at
    for _ in range(bool(flags & 8) + bool(flags & 16)):
        end = data.index(b"\x00", end) + 1
    return data[:10], extra, data[at:end], data[end:]


def _gzip_extra(data: bytes, rng: Random, payload: bytes) -> bytes:
    fixed, _, text, rest = _gzip_header(data)
    if fixed[3] & 2:  # a header checksum would have to follow
        return data
    field = b"cm" + struct.pack("<H", len(payload)) + payload
    return fixed[:3] + bytes([fixed[3] | 4]) + fixed[4:] + struct.pack("<H", len(field)) + field + text + rest


def _gzip_comment(data: bytes, rng: Random, payload: bytes) -> bytes:
    fixed, extra, text, rest = _gzip_header(data)
    if fixed[3] & 2:
        return data
    name = text[: text.index(b"\x00") + 1] if fixed[3] & 8 else b""
    field = struct.pack("<H", len(extra)) + extra if fixed[3] & 4 else b""
    note = payload.replace(b"\x00", b" ") + b"\x00"
    return fixed[:3] + bytes([fixed[3] | 16]) + fixed[4:] + field + name + note + rest


def _gzip_first(data: bytes, rng: Random, payload: bytes) -> bytes:
    """An empty member in front whose comment is the payload."""
    return _gzip_comment(gzip.compress(b"", mtime=0), rng, payload) + data


def _gzip_pad(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data + b"\x00" * int(rng.integers(1, 2048))


# ---- PDF ---------------------------------------------------------------------------------------------------------


def _pdf_read(data: bytes) -> tuple[int, dict[int, int], int]:
    """Position of the cross-reference table, of every object, and of the trailer. One classic table only."""
    if not data.startswith(b"%PDF-"):
        raise ValueError("no PDF header")
    end = re.search(rb"startxref\s+(\d+)\s+%%EOF", data[-2048:])
    if end is None or data.count(b"startxref") != 1:
        raise ValueError("not exactly one cross-reference table")
    table = int(end.group(1))
    head = re.compile(rb"xref\s+0 (\d+)\s*\n").match(data, table)
    if head is None:
        raise ValueError("no cross-reference table where it should be")
    count, objects = int(head.group(1)), {}
    for number in range(count):
        row = data[head.end() + 20 * number : head.end() + 20 * number + 20]
        place, generation, kind = int(row[:10]), int(row[11:16]), row[17:18]
        if kind == b"n":
            if not re.compile(rb"%d %d obj\b" % (number, generation)).match(data, place):
                raise ValueError(f"object {number} is not where the table says")
            objects[number] = place
    return table, objects, head.end() + 20 * count


def _pdf_meaning(data: bytes) -> Any:
    table, objects, trailer = _pdf_read(data)
    ends = sorted([*objects.values(), table])
    bodies = {number: data[at : ends[ends.index(at) + 1]] for number, at in objects.items()}
    for body in bodies.values():
        stream = re.search(rb"stream\r?\n(.*?)\r?\nendstream", body, re.DOTALL)
        if stream and b"/FlateDecode" in body:
            zlib.decompress(stream.group(1))
    return bodies, data[trailer : data.rindex(b"startxref")]


def _pdf_comments(text: bytes) -> bytes:
    lines = re.sub(rb"startxref|%%EOF|%PDF", b"~", text.replace(b"\r", b"\n")).split(b"\n")
    return b"".join(b"% " + line + b"\n" for line in lines)


def _pdf_after_header(data: bytes, rng: Random, payload: bytes) -> bytes:
    """Comment lines after the header, with every offset of the table moved."""
    table, objects, _ = _pdf_read(data)
    if not objects:
        return data
    first, text = min(objects.values()), _pdf_comments(payload)

    def moved(row: re.Match[bytes]) -> bytes:
        return b"%010d" % (int(row.group(1)) + len(text)) + row.group(2)

    tail = re.sub(rb"(\d{10})( \d{5} n)", moved, data[table:])
    tail = re.sub(rb"startxref(\s+)\d+", rb"startxref\g<1>%d" % (table + len(text)), tail)
    return data[:first] + text + data[first:table] + tail


def _pdf_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    # Readers look for the end-of-file marker in the last 1,024 bytes only.
    after = len(data) - data.rindex(b"%%EOF")
    text = _pdf_comments(payload)
    return _ended(data) + text if after + len(text) < 1000 else data


_XML_EDITS: dict[str, Edit] = {
    "comment_top": _xml_top,
    "comment_before_element": _xml_before,
    "comment_end": _xml_end,
    "space_in_tag": _xml_space,
    "blank_end": _xml_blank_end,
}

_ALL = (
    Format(
        "python",
        _python_meaning,
        {
            "comment_top": _python_comment_top,
            "comment_line": _python_comment_line,
            "comment_end": _python_comment_end,
            "string_statement": _python_string,
            "encoding_header": _python_encoding,
            "blank_top": _python_blank_top,
            "blank_end": _python_blank_end,
        },
    ),
    Format(
        "json",
        _json_meaning,
        {
            "blank_top": _blank_top,
            "blank_between": _json_between,
            "blank_end": _blank_end,
            "compact": _json_compact,
            "escape_letters": _json_escape,
        },
    ),
    Format(
        "html",
        _html_meaning,
        {
            "comment_top": _html_top,
            "comment_before_tag": _html_before,
            "comment_end": _html_end,
            "blank_top": _html_blank_top,
            "blank_end": _html_blank_end,
            "tag_case": _html_case,
        },
    ),
    Format("xml", lambda data: _Xml(data).events, _XML_EDITS),
    Format("svg", lambda data: _Xml(data).events, _XML_EDITS),
    Format(
        "css",
        _css_meaning,
        {
            "comment_top": _css_top,
            "comment_between": _css_before,
            "comment_end": _css_end,
            "blank_top": _css_blank_top,
            "blank_end": _blank_end,
        },
    ),
    Format(
        "markdown",
        _markdown_meaning,
        {
            "reference_top": _markdown_top,
            "reference_before_heading": _markdown_before,
            "reference_end": _markdown_end,
            "blank_end": _markdown_blank_end,
        },
    ),
    Format(
        "csv",
        _csv_meaning,
        {"quote_fields": _csv_quote, "line_endings": _csv_endings, "blank_end": _csv_blank_end},
    ),
    Format("png", _png_meaning, {"text_chunk": _png_text, "private_chunk": _png_private, "append": _append}),
    Format("gif", _gif_meaning, {"comment_block": _gif_comment, "append": _append}),
    Format(
        "zip",
        _zip_meaning,
        {
            "archive_comment": _zip_comment,
            "prefix": _zip_prefix,
            "extra_field": _zip_extra,
            "method": _zip_method,
        },
    ),
    Format(
        "gzip",
        gzip.decompress,
        {
            "extra_field": _gzip_extra,
            "comment": _gzip_comment,
            "empty_member_first": _gzip_first,
            "zero_padding": _gzip_pad,
        },
    ),
    Format("pdf", _pdf_meaning, {"comment_after_header": _pdf_after_header, "comment_end": _pdf_end}),
)
FORMATS: dict[str, Format] = {each.name: each for each in _ALL}
