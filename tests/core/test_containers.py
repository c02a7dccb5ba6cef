"""Containers: whatever is edited still works and holds the same; what is broken is refused."""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

import casemate as cm
from casemate.core import containers
from casemate.core.errors import UnknownName

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, 700, dtype=np.uint8).tobytes()
EDITS = 200


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.txt", "hello " * 50)
        file.writestr("b.bin", NOISE)
    return out.getvalue()


def tape() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name, body in (("a.txt", b"hello " * 50), ("b.bin", NOISE)):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            file.addfile(info, io.BytesIO(body))
    return out.getvalue()


def picture(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (24, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def document() -> bytes:
    """A PDF of three objects, its table where it says."""
    bodies = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>", b"<< /Type /Page /Parent 2 0 R >>"]
    out, places = b"%PDF-1.4\n", []
    for i, body in enumerate(bodies, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (i, body)
    table = b"xref\n0 4\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + table + b"trailer\n<< /Size 4 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(out)


CODE = b'"""A module."""\nimport sys\n\n\ndef main(x):\n    y = x + 1  # one more\n    return [y, "text"]\n\n\nprint(main(2))\n'
FILES = {
    "zip": archive(), "gzip": gzip.compress(NOISE), "tar": tape(), "png": picture("PNG"), "gif": picture("GIF", comment=b"a picture"),
    "jpeg": picture("JPEG"), "pdf": document(), "json": json.dumps({"a": [1, 2.50, "x y"], "b": None}).encode(),
    "text": b"Dear Bob,\n\n  thank you.\r\nYours\n", "python": CODE,
    "pe": containers.write_pe([(".text", NOISE), (".data", NOISE[:100])]), "elf": containers.write_elf(NOISE),
}  # fmt: skip


def members(data: bytes) -> object:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def taped(data: bytes) -> object:
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        return {info.name: file.extractfile(info).read() for info in file.getmembers()}  # type: ignore[union-attr]


def pixels(data: bytes) -> object:
    with Image.open(io.BytesIO(data)) as image:
        return image.size, image.convert("RGB").tobytes()


# What each file is for, read by somebody else's parser where there is one.
READ = {
    "zip": members, "gzip": gzip.decompress, "tar": taped, "png": pixels, "gif": pixels, "jpeg": pixels,
    "json": json.loads, "text": lambda data: data.decode("utf-8-sig").split(), "pdf": lambda data: re.findall(rb"^\d+ 0 obj\n.*$", data, re.M),
    "python": lambda data: compile(data, "x", "exec", dont_inherit=True).co_names,
    "pe": lambda data: NOISE in data and data[:2], "elf": lambda data: NOISE in data and data[:4],
}  # fmt: skip


def test_every_container_is_tried_here() -> None:
    assert set(FILES) == set(READ) == set(containers.CONTAINERS)


@pytest.mark.parametrize("name", FILES)
def test_every_random_edit_keeps_the_file_working_and_what_it_holds(name: str) -> None:
    container, original = containers.of(name), FILES[name]
    within = cm.Bytes(**containers.within(name), grow=1 << 20)
    rng = np.random.default_rng(7)
    changed, used, moved = original, set(), 0
    for i in range(EDITS):
        changed = original if i % 10 == 0 else changed  # one edit upon another, ten deep
        edit, new = container.change(changed, rng)
        assert within.check([new], [original])[0], edit
        assert READ[name](new) == READ[name](original), edit
        used.add(edit)
        moved += new != changed
        changed = new
    assert used == set(container.edits)
    assert moved > EDITS // 3  # and it does change something


@pytest.mark.parametrize("name", FILES)
def test_each_edit_changes_the_plain_file(name: str) -> None:
    rng = np.random.default_rng(0)
    source = {"json": b'{"a" : 1, "b": "words"}'}.get(name, FILES[name])
    for edit, change in containers.of(name).edits.items():
        found = [change(source, rng, containers.payload(rng)) for _ in range(8)]
        assert any(new != source for new in found), edit


@pytest.mark.parametrize("name", FILES)
def test_what_is_cut_short_or_of_another_kind_is_refused(name: str) -> None:
    original, valid = FILES[name], containers.of(name).valid
    assert valid(original, original)
    for broken in (b"", original[: len(original.rstrip(b"\x00")) // 2], b"\x00\x01\x02" + NOISE):
        assert not valid(broken, original)
    for other, data in FILES.items():
        assert other == name or (name == "text" and containers.of("text").works(data)) or not valid(data, original)


# Where the content is; of the others, anything in the middle is.
INSIDE = {"pe": NOISE, "elf": NOISE, "tar": NOISE, "python": b"+ 1", "json": b"2.5", "pdf": b"Count 1", "text": b"thank"}


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_of_the_content_is_noticed(name: str) -> None:
    original = FILES[name]
    place = original.index(INSIDE[name]) if name in INSIDE else len(original) // 2
    flipped = original[:place] + bytes([original[place] ^ 0x15]) + original[place + 1 :]
    assert not containers.of(name).valid(flipped, original)


def test_a_signed_program_is_left_alone() -> None:
    data = bytearray(FILES["pe"])
    place = data.index(b"PE\x00\x00") + 24 + 112 + 8 * 4
    data[place : place + 8] = struct.pack("<II", len(data) - 8, 8)
    signed, rng = bytes(data), np.random.default_rng(0)
    assert containers.of("pe").works(signed)
    for _ in range(20):
        assert containers.of("pe").change(signed, rng)[1] == signed
    assert not containers.of("pe").valid(signed + b"x", signed)


def test_a_section_that_something_points_to_is_part_of_the_program() -> None:
    pe, original = containers.of("pe"), FILES["pe"]
    rng = np.random.default_rng(0)
    more = pe.edits["section"](original, rng, b"padding")
    assert more != original and pe.valid(more, original)
    used = bytearray(more)
    place = more.index(b"PE\x00\x00") + 24 + 112 + 8 * 6  # the debug directory now points into it
    used[place : place + 8] = struct.pack("<II", 0x3000, 4)
    assert pe.works(bytes(used)) and not pe.valid(bytes(used), original)


@pytest.mark.parametrize("name", [name for name in FILES if name != "text"])
def test_a_file_is_told_by_what_it_is(name: str) -> None:
    assert containers.guess(FILES[name]) == name


def test_files_of_many_kinds_share_one_constraint() -> None:
    within = cm.Bytes(**containers.any_of())
    rng = np.random.default_rng(3)
    for data in FILES.values():
        assert within.check([within.propose(data, data, rng)], [data])[0]
    nothing = b"\x00\x01\x02\xff"
    assert containers.guess(nothing) == "" and within.propose(nothing, nothing, rng) == nothing
    assert list(within.check([nothing, nothing + b"x"], [nothing, nothing])) == [True, False]


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    with pytest.raises(UnknownName, match="zip"):
        containers.of("zipp")


def test_a_users_own_callable_is_attacked_inside_a_container() -> None:
    """A filter that looks for a word in the raw bytes: any edit that keeps it out of sight of nobody else will not do."""
    def looks(files: list[bytes]) -> list[int]:
        return [int(b"html" in data.lower()) for data in files]

    target = cm.wrap(looks, classes=2, version="1")
    case = cm.Evade([FILES["zip"], FILES["png"]], [0, 0], within=cm.Bytes(**containers.any_of(), grow=1 << 16))
    evidence = cm.run(cm.attacks.Edits(queries=60), target, case)
    assert evidence.rate == 1.0
    for changed, original in zip(evidence.claims.x, case.x, strict=True):
        assert containers.of(containers.guess(original)).valid(changed, original)
