"""The attachments example: real files, honest validators, edits that keep every file working, a search that works."""

from __future__ import annotations

import gzip
import importlib
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "attachments"))
attachments = importlib.import_module("attachments")
formats = importlib.import_module("formats")

FILES = attachments.collect(39, seed=0)


def _image(kind: str, colour: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (8, 8), colour).save(out, kind)
    return out.getvalue()


def _archive(text: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.txt", text)
    return out.getvalue()


# Per format: a file, then files that work but mean something else.
MEANINGS: dict[str, list[bytes]] = {
    "python": [b'"""Doc."""\nx = 1\n', b'"""Doc."""\nx = 2\n', b'"""Other."""\nx = 1\n', b"x = 1\n"],
    "json": [b'{"a": 1, "b": 2}', b'{"a": 1.0, "b": 2}', b'{"a": true, "b": 2}', b'{"a": 1, "b": 2, "b": 2}'],
    "html": [b"<p class=a>x</p>", b"<p class=b>x</p>", b"<p class=a>x y</p>", b"<p class=a>x</p><script></script>"],
    "xml": [b"<a><b>x</b></a>", b"<a><b>x </b></a>", b"<a><b>y</b></a>", b"<!DOCTYPE a><a><b>x</b></a>"],
    "svg": [b"<svg><g/></svg>", b"<svg><g/><g/></svg>", b"<svg a='1'><g/></svg>"],
    "css": [b"a b { color: red }", b"ab { color: red }", b"a b { color: blue }", b"a b { color: red; top: 0 }"],
    "markdown": [b"# A\n\ntext\n", b"## A\n\ntext\n", b"# A\n\n    text\n", b"# A\n\ntext <!-- x -->\n"],
    "csv": [b"a,b\n1,2\n", b"a,b\n1,2,\n", b"a,b\n1, 2\n", b"a,b\n\n1,2\n"],
    "png": [_image("PNG", 10), _image("PNG", 200)],
    "gif": [_image("GIF", 10), _image("GIF", 200)],
    "zip": [_archive("x"), _archive("y")],
    "gzip": [gzip.compress(b"x"), gzip.compress(b"y"), gzip.compress(b"x") * 2],
}
BROKEN: dict[str, list[bytes]] = {
    "python": [b"x = (1\n", b"x = 1\x00\n", b"  x = 1\n y = 2\n", b"# coding: no-such-codec\nx = 1\n"],
    "json": [b'{"a": 1,}', b"{'a': 1}", b'{"a": NaN}', b'// x\n{"a": 1}', b'{"a": 1} x'],
    "html": [b"<p>x\x00</p>", b"text", b"<!-- <p>x</p>"],
    "xml": [b"<a><b></a>", b" <?xml version='1.0'?><a/>", b"<a/><!-- a -- b -->", b"<a/>text"],
    "svg": [b"<svg>", b"#include <stdio.h>\n<svg/>"],
    "css": [b"a { color: red", b"a } b {", b"a { b: 'c }", b"a { } /* c"],
    "markdown": [b"\xff\xfe"],
    "csv": [b'a,b\n"1,2\n', b"no table\n", b"a,b\x00\n"],
    "zip": [b"PK\x03\x04", b""],
}


def test_there_are_real_files_of_at_least_six_formats() -> None:
    assert len(FILES) == 39
    assert len({file.format for file in FILES}) >= 6
    assert all(256 <= len(file.data) <= 64 * 1024 for file in FILES)
    assert [file.name for file in attachments.collect(39, seed=0)] == [file.name for file in FILES]
    assert [file.name for file in attachments.collect(39, seed=1)] != [file.name for file in FILES]


def test_nearly_all_files_take_the_right_route() -> None:
    right = [attachments.route(file.data) == file.route for file in FILES]
    assert sum(right) / len(right) >= 0.85


@pytest.mark.parametrize("name", sorted(formats.FORMATS))
def test_every_edit_keeps_every_file_working(name: str) -> None:
    files = [file for file in FILES if file.format == name]
    for number, file in enumerate(files):
        data = file.data
        for edit in formats.FORMATS[name].edits.values():
            rng = np.random.default_rng(number)
            changed = edit(file.data, rng, formats.payload(rng))
            assert formats.same(name, file.data, changed), (file.name, edit.__name__)
        for _ in range(12):  # and one edit upon another
            edit_name, data = formats.change(name, data, rng)
            assert formats.same(name, file.data, data), (file.name, edit_name)


@pytest.mark.parametrize("name", sorted(formats.FORMATS))
def test_every_edit_changes_something_somewhere(name: str) -> None:
    files = [file for file in attachments.collect(90, seed=0) if file.format == name]
    rng = np.random.default_rng(0)
    for edit_name, edit in formats.FORMATS[name].edits.items():
        assert not files or any(edit(f.data, rng, formats.payload(rng)) != f.data for f in files), edit_name


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_a_validator_rejects_a_working_file_that_means_something_else(name: str) -> None:
    original, *others = MEANINGS[name]
    assert formats.same(name, original, original)
    for other in others:
        assert formats.works(name, other), other
        assert not formats.same(name, original, other), other


@pytest.mark.parametrize(("name", "data"), [(name, data) for name in BROKEN for data in BROKEN[name]])
def test_a_validator_rejects_a_broken_file(name: str, data: bytes) -> None:
    assert not formats.works(name, data)


@pytest.mark.parametrize("file", [f for f in FILES if f.format != "markdown"], ids=lambda file: file.name)
def test_a_validator_rejects_a_real_file_cut_short(file: Any) -> None:
    assert not formats.same(file.format, file.data, file.data[: len(file.data) // 2])
    assert not formats.same(file.format, file.data, b"")


@pytest.mark.parametrize("name", ["png", "gif", "zip", "gzip", "pdf"])
def test_a_validator_notices_a_flipped_byte_in_the_content(name: str) -> None:
    file = next(file for file in FILES if file.format == name)
    middle = len(file.data) // 2
    flipped = file.data[:middle] + bytes([file.data[middle] ^ 0x55]) + file.data[middle + 1 :]
    assert not formats.same(name, file.data, flipped)


def test_inserting_into_a_pdf_without_moving_its_table_breaks_it() -> None:
    file = next((file for file in FILES if file.format == "pdf"), None)
    if file is None:
        pytest.skip("no PDF file in the installed packages")
    assert not formats.same("pdf", file.data, file.data.replace(b"\n", b"\n% x\n", 1))


def test_a_greedy_random_search_changes_routes() -> None:
    flipped = 0
    for number, file in enumerate(FILES[:13]):
        rng, best, least = np.random.default_rng(number), file.data, attachments.screen(file.data).score
        for _ in range(30):
            _, changed = formats.change(file.format, best, rng)
            seen = attachments.screen(changed)
            if seen.route != file.route:
                flipped += 1
                break
            if seen.score <= least:
                best, least = changed, seen.score
    assert flipped >= 4
