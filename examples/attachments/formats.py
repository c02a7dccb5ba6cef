"""File formats: does a changed file still work and mean the same, and which bytes may change without that.

Every check parses both files for real, with the format's own parser. Every edit keeps the file working by construction; the
check is the proof. An edit that does not apply to a file returns it unchanged. ZIP, gzip, PDF, JSON and Python are casemate's
own; here are the formats of the web, and pictures read pixel by pixel.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, Literal
from xml.parsers import expat

import numpy as np
from markdown_it import MarkdownIt
from PIL import Image, ImageSequence

from casemate.core import containers
from casemate.core.containers import Container, blank, blank_end, blank_top, ended, insert, line_starts, pick, plain

Random = np.random.Generator
Edit = Any
payload = containers.payload

GROWTH = 128 * 1024  # an edit stops here: mail servers refuse attachments that grow without end


def same(name: str, original: bytes, changed: bytes) -> bool:
    """Whether `changed` is a working file of this format that means what `original` means."""
    return FORMATS[name].valid(changed, original)


def works(name: str, data: bytes) -> bool:
    """Whether the format's parser reads the whole file."""
    return FORMATS[name].works(data)


def change(name: str, data: bytes, rng: Random) -> tuple[str, bytes]:
    """One random edit with one random payload: the edit's name and the changed file."""
    chosen, changed = FORMATS[name].change(data, rng)
    return chosen, changed if len(changed) <= GROWTH else data


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
    return f"<!-- {re.sub(r'-(?=[->])', '~', plain(text).replace('--', '~~'))} -->".encode()


def _html_places(data: bytes) -> list[int]:
    starts = line_starts(data)
    return [starts[line - 1] + column for line, column in _html_read(data).tags]


def _html_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    places = _html_places(data)
    return insert(data, places[0], _markup_comment(payload)) if places else data


def _html_before(data: bytes, rng: Random, payload: bytes) -> bytes:
    places = _html_places(data)
    return insert(data, pick(rng, places), _markup_comment(payload)) if places else data


def _markup_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data + b"\n" + _markup_comment(payload)


def _html_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    closed = re.search(rb"</html\s*>\s*\Z", data, re.IGNORECASE)
    return _markup_end(data, rng, payload) if closed else data


def _html_blank_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    return blank_top(data, rng, payload) if data.lstrip()[:1] == b"<" else data


def _html_blank_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return blank_end(data, rng, payload) if re.search(rb"</html\s*>\s*\Z", data, re.IGNORECASE) else data


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
    return insert(data, head.end(), _markup_comment(payload)) if head and _xml_places(data) else data


def _xml_before(data: bytes, rng: Random, payload: bytes) -> bytes:
    places = _xml_places(data)
    return insert(data, pick(rng, places), _markup_comment(payload)) if places else data


def _xml_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return _markup_end(data, rng, payload) if _xml_places(data) else data


def _xml_space(data: bytes, rng: Random, payload: bytes) -> bytes:
    """White space after the name of a tag."""
    places = _xml_places(data)
    at = (pick(rng, places) if rng.random() < 0.5 else places[0]) if places else 0
    name = re.match(rb"<[^\s/>]+", data[at:])
    return insert(data, at + name.end(), b"\n" + blank(rng)) if places and name else data


def _xml_blank_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return blank_end(data, rng, payload) if _xml_places(data) else data


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
    return f"\n/* {plain(text).replace('*/', '*~').replace('/*', '~*')} */\n".encode()


def _css_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data if data.startswith((b"@charset", b"\xef\xbb\xbf")) else _css_comment(payload) + data


def _css_before(data: bytes, rng: Random, payload: bytes) -> bytes:
    places = _css_places(data)
    return insert(data, pick(rng, places), _css_comment(payload)) if places else data


def _css_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data + _css_comment(payload)


def _css_blank_top(data: bytes, rng: Random, payload: bytes) -> bytes:
    return data if data.startswith(b"@charset") else blank_top(data, rng, payload)


# ---- Markdown ----------------------------------------------------------------------------------------------------

_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def _markdown_meaning(data: bytes) -> str:
    return str(_MARKDOWN.render(data.decode("utf-8")))


def _references(text: bytes) -> bytes:
    """Link definitions that nothing refers to: the usual way to hide text in Markdown."""
    lines = [re.sub(r"[()\\]", "~", line) for line in plain(text).splitlines()]
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
    at = pick(rng, places)
    return (text[:at] + "\n" + _references(payload).decode() + "\n" + text[at:]).encode()


def _markdown_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    changed = data + b"\n\n" + _references(payload)
    # Inside a code block that never closes, or a list, the text would show.
    return changed if _markdown_meaning(changed) == _markdown_meaning(data) else data


def _markdown_blank_end(data: bytes, rng: Random, payload: bytes) -> bytes:
    changed = ended(data) + b"\n" * int(rng.integers(1, 2048))
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
    return ended(data) + b"\n" * int(rng.integers(1, 2048))


# ---- pictures ---------------------------------------------------------------------------------------------------


def _frames(data: bytes) -> list[Any]:
    with Image.open(io.BytesIO(data)) as image:
        found = [(frame.size, frame.convert("RGBA").tobytes(), frame.info.get("duration"))
                 for frame in ImageSequence.Iterator(image)]  # fmt: skip
        return [image.format, image.info.get("loop"), found]


_XML_EDITS: dict[str, Edit] = {
    "comment_top": _xml_top,
    "comment_before_element": _xml_before,
    "comment_end": _xml_end,
    "space_in_tag": _xml_space,
    "blank_end": _xml_blank_end,
}

_PNG, _GIF = containers.of("png"), containers.of("gif")
_ALL = (
    *(containers.of(name) for name in ("python", "json", "zip", "gzip", "pdf")),
    Container(
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
    Container("xml", lambda data: _Xml(data).events, _XML_EDITS),
    Container("svg", lambda data: _Xml(data).events, _XML_EDITS),
    Container(
        "css",
        _css_meaning,
        {
            "comment_top": _css_top,
            "comment_between": _css_before,
            "comment_end": _css_end,
            "blank_top": _css_blank_top,
            "blank_end": blank_end,
        },
    ),
    Container(
        "markdown",
        _markdown_meaning,
        {
            "reference_top": _markdown_top,
            "reference_before_heading": _markdown_before,
            "reference_end": _markdown_end,
            "blank_end": _markdown_blank_end,
        },
    ),
    Container(
        "csv",
        _csv_meaning,
        {"quote_fields": _csv_quote, "line_endings": _csv_endings, "blank_end": _csv_blank_end},
    ),
    replace(_PNG, meaning=lambda data: (_PNG.meaning(data), _frames(data))),
    replace(_GIF, meaning=lambda data: (_GIF.meaning(data), _frames(data))),
)
FORMATS: dict[str, Container] = {each.name: each for each in _ALL}
