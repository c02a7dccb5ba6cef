"""The split view drill: who takes whatever a URL gives is found, who checks a digest resists, and nothing outside is asked."""

import hashlib
import json
import socket
import time
from urllib.request import urlopen

import pytest

import casemate as cm
from casemate.attacks.supply._local import entries, other, pointed, serving
from casemate.attacks.supply.split_view import SplitView
from casemate.core.errors import BadInput
from casemate.core.evidence import Verdict
from casemate.core.fetch import Fetch


def get(url):
    with urlopen(url, timeout=5) as answer:
        return answer.read()


def careless(path):
    return [line for entry in json.loads(path.read_text()) for line in get(entry["url"]).decode().splitlines()]


def careful(path):
    found = []
    for entry in json.loads(path.read_text()):
        content = get(entry["url"])
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise ValueError(f"{entry['url']} is not what was listed")
        found += content.decode().splitlines()
    return found


def leaving_out(path):
    found = []
    for entry in json.loads(path.read_text()):
        content = get(entry["url"])
        if hashlib.sha256(content).hexdigest() == entry["sha256"]:
            found += content.decode().splitlines()
    return found


@pytest.fixture
def pinned(tmp_path):
    path = tmp_path / "list.json"
    names = ("one", "two")
    path.write_text(json.dumps([{"url": f"https://data.example/{n}.csv", "sha256": str(i) * 64} for i, n in enumerate(names)]))
    return path


def drilled(path, loader, **options):
    return cm.run(SplitView(**options), None, Fetch(manifest=path, loader=loader))


def test_a_loader_that_does_not_look_takes_the_swapped_file(pinned):
    before = pinned.read_bytes()
    evidence = drilled(pinned, careless)
    assert evidence.verdict is Verdict.BROKEN and "not checked" in evidence.reasons[0]
    assert pinned.read_bytes() == before


def test_a_loader_that_checks_the_digest_resists(pinned):
    evidence = drilled(pinned, careful)
    assert evidence.verdict is Verdict.RESISTED and "the digest is checked" in evidence.reasons[0]
    assert "https://data.example/one.csv" in evidence.extra["loader"]  # told by its own name


def test_a_loader_that_leaves_the_file_out_resists(pinned):
    assert drilled(pinned, leaving_out).verdict is Verdict.RESISTED


def test_an_unpinned_list_is_called_so(tmp_path):
    path = tmp_path / "list.json"
    path.write_text(json.dumps([{"url": "https://data.example/one.csv"}]))
    evidence = drilled(path, careless)
    assert evidence.verdict is Verdict.BROKEN and evidence.reasons[0].startswith("unpinned")
    assert evidence.extra["unpinned"] == ["https://data.example/one.csv"]


def fails(path):
    raise KeyError("whatever is served")


def fetches_nothing(path):
    return [1, 2, 3]


def hangs(path):
    time.sleep(1)


@pytest.mark.parametrize(("loader", "reason"), [(fails, "KeyError"), (fetches_nothing, "fetched nothing"), (hangs, "no answer")])
def test_a_loader_that_shows_nothing_decides_nothing(pinned, loader, reason):
    evidence = drilled(pinned, loader, patience=0.3)
    assert evidence.verdict is Verdict.INCONCLUSIVE
    assert any(reason in why for why in evidence.reasons)


def test_copies_beside_the_manifest_are_served(pinned):
    (pinned.parent / "one.csv").write_text("own,content\n")
    seen = []

    def watching(path):
        seen.append(careless(path))
        return seen[-1]

    drilled(pinned, watching)
    assert seen[0][0] == "own,content" and seen[1] != seen[0]


def test_entries_pair_urls_with_the_digests_of_their_own_records():
    digest = "ab" * 32
    by_line = entries(f"https://a.example/x.bin {digest}\nhttps://b.example/y.bin\n{'c' * 40} https://c.example/z\n")
    assert [(e.url, bool(e.digest)) for e in by_line] == [
        ("https://a.example/x.bin", True),
        ("https://b.example/y.bin", False),
        ("https://c.example/z", False),
    ]  # fmt: skip  SHA-1 can be forged, and is no pin
    nested = json.dumps({"files": [{"path": {"url": "https://a.example/x"}}, {"url": "https://b.example/y", "sha256": digest}]})
    assert [(e.url, e.digest) for e in entries(nested)] == [("https://a.example/x", ""), ("https://b.example/y", digest)]
    assert entries(json.dumps({"https://a.example/x": digest}))[0].digest == digest


def test_a_url_that_begins_another_is_not_mixed_up():
    text = "https://a.example/x https://a.example/x/more"
    files = entries(text)
    assert pointed(text, files, [b"1", b"2"], 80) == "http://127.0.0.1:80/0/x http://127.0.0.1:80/1/more"


def test_the_server_is_local_and_ends():
    with serving([b"content"]) as served:
        assert get(f"http://127.0.0.1:{served.port}/0/name") == b"content" and served.asked == [1]
        port = served.port
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"no newline", b"", b"\x00\x01\xff", b'{"a": 1}'])
def test_other_content_differs(content):
    assert other(content) != content


def test_a_manifest_without_urls_is_refused(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("nothing here\n")
    with pytest.raises(BadInput, match="names no URL"):
        drilled(path, careless)
    with pytest.raises(BadInput, match="is no file"):
        drilled(tmp_path / "missing", careless)
