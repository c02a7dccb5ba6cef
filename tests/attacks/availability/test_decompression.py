"""Files that unpack to much: every size counted against the library that unpacks it, and never past the cap."""

import bz2
import gzip
import io
import lzma
import time
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

import casemate as cm
from casemate.attacks.availability._bombs import bombs
from casemate.attacks.availability.decompression import Decompression
from casemate.core.adversary import Adversary, Need
from casemate.core.availability import Sponge, Work
from casemate.core.errors import BadInput
from casemate.core.evidence import Verdict
from casemate.core.inflate import unpacked
from casemate.testing import check_attack

TEXT = b"the same words again and again, " * 300
PRESS = {"gzip": gzip.compress, "zlib": zlib.compress, "bzip2": bz2.compress, "xz": lzma.compress}
OPEN = {"gzip": gzip.decompress, "zlib": zlib.decompress, "bzip2": bz2.decompress, "xz": lzma.decompress}
SENDER = Adversary(name="sender", may=Need.SUBMIT)
TARGET = cm.wrap(lambda x: np.array([len(one) % 2 for one in x]), output="labels", classes=2, name="unpacker")


def archive(*members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as made:
        for i, body in enumerate(members):
            made.writestr(str(i), body)
    return out.getvalue()


def test_it_keeps_the_contract():
    check_attack("availability.decompression")


@pytest.mark.parametrize("kind", PRESS)
@pytest.mark.parametrize("size", [0, 1, 5000, 300_000])
def test_a_stream_is_counted_to_the_byte(kind, size):
    body = (TEXT * 40)[:size]
    assert unpacked(PRESS[kind](body), 1 << 24) == size
    assert unpacked(PRESS[kind](body) + PRESS[kind](body), 1 << 24) == 2 * size


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_archives_are_counted_layer_by_layer(method):
    one = archive(TEXT, TEXT, method=method)
    assert unpacked(one, 1 << 24) == 2 * len(TEXT)
    assert unpacked(archive(one), 1 << 24) == len(one) + 2 * len(TEXT)
    assert unpacked(gzip.compress(one), 1 << 24) == len(one) + 2 * len(TEXT)


@pytest.mark.parametrize(
    "data", [b"", b"plain", b"PK\x03\x04", b"\x1f\x8b", b"x\x9c", b"BZh9", b"PK\x05\x06" + bytes(18), bytes(5000)]
)
def test_what_is_no_container_makes_no_work(data):
    assert unpacked(data, 1000) == 0


def test_what_is_broken_counts_as_far_as_it_goes():
    body = np.random.default_rng(0).bytes(200_000)
    whole = gzip.compress(body)
    assert 50_000 < unpacked(whole[: len(whole) // 2], 1 << 24) < 200_000
    rng = np.random.default_rng(1)
    for data in (gzip.compress(TEXT), archive(TEXT, TEXT), lzma.compress(TEXT), bz2.compress(TEXT)):
        for _ in range(60):  # whatever is damaged, it ends and says a number
            bad = bytearray(data)
            for place in rng.integers(len(bad), size=3):
                bad[place] = rng.integers(256)
            assert 0 <= unpacked(bytes(bad), 1 << 20) <= 1 << 20


def test_nothing_is_unpacked_past_the_cap():
    bomb = gzip.compress(bytes(64 << 20))
    tracemalloc.start()
    began = time.perf_counter()
    assert unpacked(bomb, 1 << 20) == 1 << 20
    assert time.perf_counter() - began < 1 and tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("room", [100, 600, 4096])
def test_every_bomb_fits_and_opens_and_is_what_it_claims(room):
    made = dict(bombs(room, 1 << 20))
    assert made and all(len(data) <= room for data in made.values())
    for name, data in made.items():
        assert unpacked(data, 1 << 28) >= 3 * len(data)
        if name in OPEN:
            assert len(OPEN[name](data)) == unpacked(data, 1 << 24)
        if name in ("zip", "zip, one body under many names"):
            with zipfile.ZipFile(io.BytesIO(data)) as opened:
                infos = opened.infolist()
                assert sum(info.file_size for info in infos) == unpacked(data, 1 << 28)
                assert not opened.read(infos[0]).strip(b"\x00")  # its checksum is right


def test_names_that_share_a_body_multiply_it():
    made = dict(bombs(4096, 1 << 20))
    shared, plain = made["zip, one body under many names"], made["zip"]
    assert unpacked(shared, 1 << 28) > 10 * unpacked(plain, 1 << 28)
    assert len(zipfile.ZipFile(io.BytesIO(shared)).infolist()) > 10


HONEST = [gzip.compress(np.random.default_rng(i).bytes(300), mtime=0) for i in range(30)]


def case(reader, **more):
    return Sponge(**{"x": HONEST, "work": Work(count=lambda x: [reader(one) for one in x], name="bytes unpacked")} | more)


def test_a_reader_without_a_limit_is_broken_and_one_with_a_limit_holds():
    found = cm.run("availability.decompression", TARGET, case(lambda one: unpacked(one, 1 << 24)), adversary=SENDER)
    assert found.verdict is Verdict.BROKEN and found.extra["found"] >= 1 << 20
    assert found.spent["queries"] == found.extra["asked"] <= 12

    def limited(one):
        size = unpacked(one, 4096)
        return 0 if size >= 4096 else size  # refused before more is done

    held = cm.run("availability.decompression", TARGET, case(limited), adversary=SENDER)
    assert held.verdict is not Verdict.BROKEN and held.extra["found"] <= 4096


def test_only_files_are_sent_and_a_cap_is_needed():
    with pytest.raises(BadInput, match="sends files"):
        next(Decompression()(None, case(len, x=["text"] * 30), rng=None))
    with pytest.raises(BadInput, match="cap=0"):
        Decompression(cap=0)


def test_a_constraint_that_no_bomb_meets_leaves_nothing_to_send():
    strict = cm.Bytes(valid=lambda changed, original: changed == original, edit=lambda row, origin, rng: row)
    found = cm.run("availability.decompression", TARGET, case(len, within=strict), adversary=SENDER)
    assert found.verdict is Verdict.INCONCLUSIVE and found.spent["queries"] == 0
