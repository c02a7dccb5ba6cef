"""From a description with a federated client to a round that is attacked, hardened, and attacked again."""

import pytest

from casemate.core.evidence import Status
from casemate.core.oracle import Known
from casemate.runs.applied import apply, make
from casemate.runs.assess import assess
from casemate.runs.bench import open_bench
from casemate.runs.harden import harden
from casemate.threats.load import load

CODE = """
import numpy as np
from casemate.core.federated import Federated

RNG = np.random.default_rng(0)
W = np.array([1.0, -2.0, 0.5, 0.0, 1.5])
X = RNG.normal(size=(600, 5))
Y = X @ W > 0


def updates(params, round):
    parts = [(X[i : i + 20], Y[i : i + 20]) for i in range(0, 200, 20)]
    return np.stack([x.T @ (y - 1 / (1 + np.exp(-x @ params))) / len(x) for x, y in parts])


def wrong(params):
    return (X[200:] @ params > 0) != Y[200:]


def rounds():
    return Federated(start=0.3 * W, updates=updates, attackers=2, evaluate=wrong, wanted=-0.3 * W, rounds=3)


def nonsense():
    return 3
"""
DESCRIBED = """
casemate: 1
system:
  name: keyboards
  target: [{component: phone%s}]
zones: [{id: inside, trust: prod}, {id: outside, trust: user_device}]
components:
  - {id: phone, kind: federated_client, zone: outside}
  - {id: joint, kind: trainer, zone: inside, training: {robust_aggregation: no}}
  - {id: api, kind: server, zone: inside}
flows: [{from: phone, to: joint}, {from: joint, to: api}]
"""


@pytest.fixture
def described(tmp_path):
    def make(bound=", federated: bind:rounds"):
        (tmp_path / "bind.py").write_text(CODE)
        path = tmp_path / "system.yaml"
        path.write_text(DESCRIBED % bound)
        return path

    return make


def finding(found):
    (one,) = [f for f in found.findings if f.threat == "PO-09@phone"]
    return one


def test_one_scaled_update_breaks_it_and_the_median_stops_it(described):
    done = harden(described(), budget="quick", only=("training.robust_aggregation",))
    one = finding(done)
    assert one.status is Status.BROKEN
    (evidence,) = one.evidence
    assert evidence.rate > 0.8 and evidence.extra["needed"] == 1 and evidence.extra["clients"] == 10
    (row,) = done.hardening
    (change,) = row["changes"]
    assert change["before"] == "broken" and change["after"] != "broken"
    assert change["rate_after"] < 0.1


def test_without_rounds_the_threat_is_untested_and_says_what_to_bind(described):
    done = assess(described(""), budget="quick")
    assert finding(done).status is Status.UNTESTED
    assert "target.federated" in str(finding(done))


def test_what_gives_no_rounds_is_named(described):
    one = finding(assess(described(", federated: bind:nonsense"), budget="quick"))
    assert one.status is Status.ERROR
    assert any("gave a int" in reason for evidence in one.evidence for reason in evidence.reasons)


def test_a_bench_with_another_rule_is_another_bench(described):
    bench = open_bench(load(described()), "phone")
    marks = {apply(bench, make("training.robust_aggregation", {"rule": rule})).identity() for rule in ("median", "krum")}
    assert len(marks | {bench.identity()}) == 3
    assert bench.known == Known()
