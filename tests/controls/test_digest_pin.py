"""An artifact that was swapped is refused, and its bytes are read once."""

from __future__ import annotations

import hashlib
import os

import pytest

from casemate.controls import facts_of
from casemate.controls.pipeline import digest_pin
from casemate.controls.pipeline.digest_pin import DigestMismatch, DigestPin, load_checked
from casemate.core.errors import UsageError

GOOD = b"weights" * 100


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(GOOD)
    return path


def test_the_pinned_bytes_are_handed_out(artifact):
    digest = hashlib.sha256(GOOD).hexdigest()
    assert load_checked(artifact, digest) == GOOD
    assert load_checked(artifact, f"SHA256:{digest.upper()}") == GOOD
    assert DigestPin().pinned(artifact).load(artifact) == GOOD


def test_a_swap_is_refused_and_both_digests_are_named(artifact):
    pin = DigestPin().pinned(artifact)
    artifact.write_bytes(GOOD[:-1] + b"t")
    with pytest.raises(DigestMismatch) as caught:
        pin.load(artifact)
    assert pin.sha256 in str(caught.value)
    assert hashlib.sha256(GOOD[:-1] + b"t").hexdigest() in str(caught.value)


def test_a_swap_between_check_and_use_changes_nothing(artifact, monkeypatch):
    """The bytes that are hashed are the bytes that come back, whatever happens to the file meanwhile."""
    pin = DigestPin().pinned(artifact)
    compare = digest_pin.hmac.compare_digest

    def swap(a, b):
        artifact.write_bytes(b"evil")
        return compare(a, b)

    monkeypatch.setattr(digest_pin.hmac, "compare_digest", swap)
    assert pin.load(artifact) == GOOD


def test_what_is_no_file_is_refused_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing"):
        with pytest.raises(UsageError, match=r"not a regular file|cannot be read"):
            load_checked(path, "0" * 64)


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64, "md5:" + "0" * 64, "0" * 63])
def test_what_is_no_digest_is_refused(artifact, digest):
    with pytest.raises(UsageError, match="not a SHA-256"):
        load_checked(artifact, digest)


def test_nothing_pinned_changes_no_fact_and_loads_nothing(artifact):
    assert facts_of(DigestPin()) == ()
    with pytest.raises(UsageError, match="nothing is pinned"):
        DigestPin().load(artifact)
    assert dict(facts_of(DigestPin().pinned(artifact)))["artifact.digest"].startswith("sha256:")
