"""The drills on artifacts: a swap is refused where a digest is pinned, doors are as the facts say, nothing is loaded."""

import hashlib
import pickle

import numpy as np
import pytest

import casemate as cm
from casemate.attacks.supply.artifact import ArtifactScan
from casemate.attacks.supply.probe import Probe
from casemate.attacks.supply.swap import Swap, digest_of
from casemate.core.adversary import Adversary
from casemate.core.case import Artifact, Smuggle
from casemate.core.errors import BadInput
from casemate.core.evidence import Verdict
from casemate.judges import smuggle

ANYONE = Adversary(name="anyone")


class Canary:
    """Would write a file if it were ever unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.npy"
    np.save(path, np.arange(100.0))
    return path


def run(attack, case):
    return cm.run(attack, None, case, adversary=ANYONE)


def test_a_swap_is_refused_when_the_digest_is_pinned(weights):
    pinned = hashlib.sha256(weights.read_bytes()).hexdigest()
    before = weights.read_bytes()
    evidence = run(Swap(), Smuggle(artifact=weights, pinned=pinned))
    assert evidence.verdict is Verdict.RESISTED
    assert all(evidence.claims.checks.values())
    assert len(evidence.claims.checks) == 4
    assert weights.read_bytes() == before


def test_a_swap_goes_through_when_nothing_is_pinned(weights):
    evidence = run(Swap(), Smuggle(artifact=weights))
    assert evidence.verdict is Verdict.BROKEN
    assert evidence.cost.queries == 0


def test_a_pin_nobody_looks_at_is_no_pin(weights):
    pinned = digest_of(weights)
    case = Smuggle(artifact=weights, pinned=pinned, facts={"model.artifact.digest_verified_at_load": "no"})
    assert run(Swap(), case).verdict is Verdict.BROKEN


def test_a_pin_of_another_artifact_is_a_finding(weights):
    evidence = run(Swap(), Smuggle(artifact=weights, pinned="0" * 64))
    assert evidence.verdict is Verdict.BROKEN
    assert evidence.claims.checks["pin is of the deployed artifact"] is False


@pytest.mark.parametrize("content", [b"", b"x", b"\x00" * 5000])
def test_every_change_changes_the_digest(tmp_path, content):
    path = tmp_path / "artifact.bin"
    path.write_bytes(content)
    claim = run(Swap(), Smuggle(artifact=path, pinned=digest_of(path))).claims
    assert digest_of(path) not in claim.detail["changed_sha256"].values()


def test_a_folder_is_swapped_too(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.bin").write_bytes(b"a" * 10)
    (tmp_path / "model" / "b.bin").write_bytes(b"b" * 20)
    pinned = digest_of(tmp_path / "model")
    assert run(Swap(), Smuggle(artifact=tmp_path / "model", pinned=pinned)).verdict is Verdict.RESISTED


def test_a_harmless_artifact_scans_clean_and_a_pickle_that_calls_does_not(weights, tmp_path):
    assert run(ArtifactScan(), Smuggle(artifact=weights)).verdict is Verdict.RESISTED
    evil, proof = tmp_path / "model.pkl", tmp_path / "proof"
    evil.write_bytes(pickle.dumps(Canary(str(proof))))
    evidence = run(ArtifactScan(), Smuggle(artifact=evil))
    assert evidence.verdict is Verdict.BROKEN
    assert not proof.exists()
    assert str(tmp_path) not in evidence.claims.detail["scan"]["path"]


def test_a_judge_does_not_believe_a_clean_scan(weights):
    claim = Artifact(checks={"artifact scans clean": True}, detail={"sha256": digest_of(weights)})

    def fails(path):
        raise RuntimeError("out of luck")

    for scan in (fails, lambda path: "unknown", lambda path: "unsafe"):
        opinion = smuggle.judge(Smuggle(artifact=weights), claim, digest=digest_of, scan=scan)
        assert opinion.broken
    assert not smuggle.judge(Smuggle(artifact=weights), claim, digest=digest_of, scan=lambda path: "safe").broken


def test_a_judge_does_not_believe_a_swap_that_changed_nothing(weights):
    same = digest_of(weights)
    claim = Artifact(
        checks={"appended byte refused": True},
        detail={"sha256": same, "pinned": same, "changed_sha256": {"appended byte refused": same}},
    )
    assert smuggle.judge(Smuggle(artifact=weights), claim, digest=digest_of, scan=lambda path: "safe").broken


def test_open_doors_are_found(weights):
    facts = {"api.endpoint.auth": "none", "api.endpoint.admin_exposed": "yes", "read_binary": "yes"}
    evidence = run(Probe(), Smuggle(artifact=weights, facts=facts))
    assert evidence.verdict is Verdict.BROKEN
    assert (evidence.rate, evidence.n) == (1.0, 3)
    assert evidence.extra["sha256"] == digest_of(weights)
    assert evidence.extra["format"] == "npy"


def test_an_artifact_that_may_be_read_is_in_reach_whether_or_not_a_file_is_bound(tmp_path):
    facts = {"endpoint.auth": "key", "access.read_binary": "yes"}
    for artifact in (None, tmp_path / "gone"):
        evidence = run(Probe(), Smuggle(artifact=artifact, facts=facts))
        assert evidence.verdict is Verdict.BROKEN
        assert evidence.extra["checks"] == {"callers authenticate": True, "artifact out of reach": False}
        assert "sha256" not in evidence.extra
    assert run(Probe(), Smuggle(facts={"read_binary": "no"})).verdict is Verdict.RESISTED


def test_closed_doors_resist_and_unknown_ones_are_questions():
    closed = {"endpoint.auth": "key", "endpoint.admin_exposed": "no"}
    assert run(Probe(), Smuggle(facts=closed)).verdict is Verdict.RESISTED
    asked = run(Probe(), Smuggle(facts={"endpoint.auth": "unknown"}))
    assert asked.verdict is Verdict.INCONCLUSIVE
    assert asked.extra["questions"] == ["auth", "admin_exposed"]


def test_a_missing_artifact_is_one_clear_message(tmp_path):
    with pytest.raises(BadInput, match=r"target\.artifact"):
        run(Swap(), Smuggle())
    with pytest.raises(BadInput, match="no artifact at"):
        run(ArtifactScan(), Smuggle(artifact=tmp_path / "gone"))
