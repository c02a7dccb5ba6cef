"""Plain text, Python source, JSON and PDF: what a reader, the compiler or the parser gets stays the same."""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
import warnings
import zlib
from typing import Any

from ._container import Container, Random, blank, blank_end, blank_top, ended, insert, line_starts, pick, plain

# ---- plain text --------------------------------------------------------------------------------------------------


def _text_meaning(data: bytes) -> list[str]:
    """The lines as a person reads them: without byte order mark, kind of line ending, and blanks at the ends."""
    text = data.decode("utf-8-sig")
    if any(ord(c) < 32 and c not in "\t\n\r\f" for c in text):
        raise ValueError("a control character is not text")
    lines = [line.rstrip() for line in re.split("\r\n|\r|\n", text)]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    if not lines:
        raise ValueError("nothing to read")
    return lines


def _text_endings(data: bytes, rng: Random, payload: bytes) -> bytes:
    lines = re.split(b"\r\n|\r|\n", data)
    return (b"\n" if b"\r\n" in data else b"\r\n").join(lines)


def _text_trailing(data: bytes, rng: Random, payload: bytes) -> bytes:
    """Blanks at the end of some lines."""
    lines = data.split(b"\n")
    for i in range(len(lines)):
        if rng.random() < 0.3 and not lines[i].endswith(b"\r"):
            lines[i] += b" " * int(rng.integers(1, 9)) if rng.random() < 0.5 else b"\t"
    return b"\n".join(lines)


def _text_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    """Empty lines before the first."""
    return data if data.startswith(b"\xef\xbb\xbf") else b"\n" * int(rng.integers(1, 2048)) + data


def _text_mark(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data[3:] if data.startswith(b"\xef\xbb\xbf") else b"\xef\xbb\xbf" + data


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


def _tree(data: bytes) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes in string literals warn, and are none of our business
        compile(data, "attachment", "exec", dont_inherit=True)
        return ast.parse(data)


def _python_meaning(data: bytes) -> str:
    return ast.dump(_Unused().visit(_tree(data))) + repr(data.startswith(b"#!") and data.splitlines()[0])


def _comments(text: bytes) -> bytes:
    # A comment that says "coding" in the first two lines would change how the file is decoded.
    lines = plain(text).replace("coding", "c0ding").splitlines()
    return "".join(f"# {line}\n" for line in lines).encode()


def _python_top(data: bytes) -> int:
    """Where the first free comment may stand: after a byte order mark, a shebang and an encoding line."""
    lines = data.split(b"\n", 2)[:2]
    head = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*[-\w.]+")
    keep = max((i + 1 for i, line in enumerate(lines) if line.startswith(b"#!") or head.match(line)), default=0)
    return sum(len(line) + 1 for line in lines[:keep]) or (3 if data.startswith(b"\xef\xbb\xbf") else 0)


def _python_odd(data: bytes) -> bool:
    # A lone carriage return ends a line for the compiler but not for tokenize; form feeds are harmless.
    return b"\r" in data.replace(b"\r\n", b"\n")


def _python_comment_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    return insert(ended(data), _python_top(data), _comments(payload))


def _python_comment_line(data: bytes, rng: Random, payload: bytes) -> bytes:
    if _python_odd(data):
        return data
    data, starts = ended(data), line_starts(ended(data))
    rows = [t.end[0] for t in tokenize.tokenize(io.BytesIO(data).readline) if t.type == tokenize.NEWLINE]
    places = [starts[row] for row in rows if row < len(starts) and starts[row] >= _python_top(data)]
    return insert(data, pick(rng, places), _comments(payload)) if places else data


def _python_comment_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return ended(data) + _comments(payload)


def _python_string(data: bytes, rng: Random, payload: bytes) -> bytes:
    """A string that stands alone between two statements: no code comes of it."""
    if _python_odd(data):
        return data
    data, starts = ended(data), line_starts(ended(data))
    body = _tree(data).body
    future = [i for i, s in enumerate(body) if isinstance(s, ast.ImportFrom) and s.module == "__future__"]
    ends = [(s.end_lineno or 0, body[i + 1].lineno if i + 1 < len(body) else 1 << 60) for i, s in enumerate(body)]
    places = [starts[end] for end, then in ends[max(future, default=0) :] if end < then and end < len(starts)]
    text = plain(payload).replace("\\", "/").replace('"', "'")
    return insert(data, pick(rng, places), f'"""\n{text}"""\n'.encode()) if places else data


def _python_encoding(data: bytes, rng: Random, payload: bytes) -> bytes:
    names = ["utf-8", "utf8", "UTF-8"]
    line = f"# -*- coding: {names[int(rng.integers(3))]} -*-\n".encode()
    return data if _python_top(data) or data.startswith(b"\xef\xbb\xbf") else line + data


def _python_blank_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    return insert(ended(data), _python_top(data), b"\n" * int(rng.integers(1, 2048)))


def _python_blank_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return ended(data) + b"\n" * int(rng.integers(1, 2048))


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
    tokens.insert(pick(rng, places) + 1, blank(rng))
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
    return ended(data) + text if after + len(text) < 1000 else data


_DOCUMENTS = (
    Container(
        "text", _text_meaning,
        {"line_endings": _text_endings, "trailing_blanks": _text_trailing, "byte_order_mark": _text_mark,
         "blank_top": _text_top, "blank_end": blank_end},
    ),
    Container(
        "python", _python_meaning,
        {"comment_top": _python_comment_top, "comment_line": _python_comment_line, "comment_end": _python_comment_end,
         "string_statement": _python_string, "encoding_header": _python_encoding, "blank_top": _python_blank_top,
         "blank_end": _python_blank_end},
    ),
    Container(
        "json", _json_meaning,
        {"blank_top": blank_top, "blank_between": _json_between, "blank_end": blank_end, "compact": _json_compact,
         "escape_letters": _json_escape},
    ),
    Container("pdf", _pdf_meaning, {"comment_after_header": _pdf_after_header, "comment_end": _pdf_end}),
)  # fmt: skip
DOCUMENTS = {each.name: each for each in _DOCUMENTS}
