"""From evidence to findings: what ranks first, what each status means, and checks that need two attacks."""

from dataclasses import replace

import numpy as np
import pytest

from casemate.core.evidence import Cost, Evidence, Status, Verdict
from casemate.core.finding import Finding
from casemate.core.system import System
from casemate.runs.assess import assess
from casemate.runs.findings import _across, _rank, _status, cheapest, collect


def evidence(verdict=Verdict.BROKEN, queries=5.0, attack="evasion.square", broken=(), rate=0.5):
    return Evidence(
        attack=attack, params={}, adversary="a", may=(), budget="", target="t", fingerprint=None, case="evade", seed=0,
        measure="rows broken", rate=rate, interval=None, n=4, verdict=verdict, cost=Cost(queries, 50.0), reasons=("why",),
        rows={"row": np.arange(4), "broken": np.isin(np.arange(4), broken)},
    )  # fmt: skip


class Threat:
    target = "a"
    id, tests, checks = "EV-1@a", ("evasion.square",), ()


@pytest.mark.parametrize(("own", "untested", "status"), [
    ([evidence()], [], Status.BROKEN), ([evidence(Verdict.RESISTED), evidence()], [], Status.BROKEN),
    ([evidence(Verdict.RESISTED), evidence(Verdict.ERROR)], [], Status.ERROR),
    ([evidence(Verdict.RESISTED), evidence(Verdict.INCONCLUSIVE)], [], Status.INCONCLUSIVE),
    ([evidence(Verdict.RESISTED)], [], Status.RESISTED), ([], [], Status.UNTESTED), ([], ["x: no recipe"], Status.UNTESTED),
])  # fmt: skip
def test_status(own, untested, status):
    found, reason = _status(Threat, own, untested)
    assert found == status and (reason or status in (Status.BROKEN, Status.RESISTED))


def test_the_worst_comes_first():
    def finding(id, status, severity="none", cost=None, impact=1):
        return Finding(threat=id, rule="", title="", element="", principal="", explanation="", impact=impact, status=status, severity=severity, cost=cost)

    ranked = [
        finding("a", Status.BROKEN, "critical"), finding("b", Status.BROKEN, "high", Cost(5), 4), finding("c", Status.BROKEN, "high", Cost(9), 4),
        finding("d", Status.BROKEN, "high", Cost(1), 3), finding("e", Status.ERROR), finding("f", Status.INCONCLUSIVE),
        finding("g", Status.UNTESTED), finding("h", Status.QUESTION), finding("i", Status.RESISTED), finding("j", Status.NOT_APPLICABLE),
    ]  # fmt: skip
    assert sorted(ranked, key=_rank) == ranked


def test_the_cheapest_break_is_the_price():
    assert cheapest([evidence(queries=9.0), evidence(queries=3.0), evidence(Verdict.RESISTED, None)]).queries == 3
    assert cheapest([evidence(Verdict.RESISTED, None)]).censored_at == 50 and cheapest([]) is None


def test_a_weaker_attack_that_breaks_more_makes_the_stronger_one_suspect():
    white = evidence(Verdict.RESISTED, None, "evasion.pgd", (), 0.0)
    found = _across({"w": white, "b": evidence(broken=(2, 3))}, None)
    assert found["w"].verdict == Verdict.INCONCLUSIVE and {c.number for c in found["w"].health if c.ok is False} == {16, 17}
    assert found["b"].verdict == Verdict.BROKEN and not found["b"].health
    fine = _across({"w": replace(white, verdict=Verdict.BROKEN, rate=1.0, rows=evidence(broken=(0, 1, 2, 3)).rows), "b": evidence(broken=(2,))},
                   {"row": np.arange(4), "broken": np.array([True, False, False, False])})  # fmt: skip
    assert all(c.ok for c in fine["w"].health)


def test_the_security_curve_rises_with_the_radius_and_holds_the_rate(toy):
    result = assess(toy(can="query, see_label, see_score, read_binary", radius=0.1), budget="quick")
    pgd = next(e for f in result.findings for e in f.evidence if e.attack == "evasion.pgd")
    curve = pgd.curves["radius"]
    assert [round(p[0] / 0.1, 3) for p in curve] == [k / 8 for k in range(1, 17)]
    assert all(low <= share <= high for _, share, low, high in curve) and curve[7][1] >= pgd.rate - 0.1
    shares = [share for _, share, _, _ in curve]
    assert shares == sorted(shares) and shares[0] < shares[-1]
    told = pgd.extra["distances"]
    assert told["attack"] == "evasion.fmn" and 0 < told["0.1"] <= told["0.5"] <= told["0.9"] <= 0.2


def test_a_target_that_fails_is_a_finding_of_status_error(toy):
    path = toy()
    bind = path.parent / "bind.py"
    bind.write_text(bind.read_text() + "\nclass Fails(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.net = _net()\n    def forward(self, x):\n        if len(x) == 12: raise ValueError('boom')\n"
                    "        return self.net(x)\ndef target():\n    return cm.wrap(Fails().eval(), name='toy', classes=3)\n")  # fmt: skip
    result = assess(path, budget="quick")
    tested = [f for f in result.findings if f.evidence and f.evidence[0].case == "evade"]
    assert tested and all(f.status == Status.ERROR and "boom" in f.reason for f in tested)


def test_samples_belong_to_their_threat(toy):
    result = assess(toy(), budget="quick")
    assert set(result.samples) <= {f.threat for f in result.findings} and result.samples


def test_an_empty_system_has_no_findings():
    assert System().name == "" or System().name is not None


def test_many_that_wait_for_the_same_facts_share_their_words():
    """They are made in one pass: a map of all questions for each of them took minutes for a large system."""
    from types import SimpleNamespace

    class Counted(list):
        times = 0

        def __iter__(self):
            Counted.times += 1
            return super().__iter__()

    def waits(n, impact, *paths):
        return SimpleNamespace(id=f"X-{n}", rule="X", title="t", element="e", principal="p", impact=impact, questions=paths)

    asked = Counted([SimpleNamespace(path="a", text="What of a?")])
    undecided = [waits(1, 1, "a"), waits(3, 4, "a", "b"), waits(2, 4, "a", "b")]
    derivation = SimpleNamespace(threats=(), undecided=undecided, questions=asked)
    found = collect(derivation, System(), {}, Counted())
    assert [f.threat for f in found] == ["X-2", "X-3", "X-1"] and Counted.times <= 2
    assert [f.reason for f in found] == ["What of a?; b"] * 2 + ["What of a?"] and found[0].risk is found[1].risk
    assert list(found) == sorted(found, key=_rank)
