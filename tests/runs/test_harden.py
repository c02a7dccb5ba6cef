"""Hardening: facts change, threats are derived again, and `mitigated` needs an attack that knows the control."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from casemate.core.control import controls
from casemate.core.errors import UnknownName, UsageError
from casemate.core.evidence import Status
from casemate.runs.applied import apply, changed, make
from casemate.runs.assess import assess, prepare
from casemate.runs.comparison import _status
from casemate.runs.harden import SYBILS, _knowing, harden


def finding(status, *attacks):
    return SimpleNamespace(status=status, evidence=[SimpleNamespace(attack=a) for a in attacks])


@pytest.mark.parametrize(("was", "now", "ran", "want"), [
    (Status.BROKEN, Status.RESISTED, "evasion.hopskipjump", "mitigated"), (Status.BROKEN, Status.RESISTED, "evasion.noise", "claimed"),
    (Status.BROKEN, Status.BROKEN, "evasion.noise", "broken"), (Status.RESISTED, Status.RESISTED, "evasion.noise", "resisted"),
    (Status.BROKEN, Status.INCONCLUSIVE, "evasion.noise", "inconclusive"),
])  # fmt: skip
def test_mitigated_needs_an_attack_that_knows_and_was_run_regression(was, now, ran, want):
    assert _status(finding(was), finding(now, ran), [make("service.labels_only")]) == want
    assert _status(finding(was), None, [make("service.labels_only")]) == "removed by the facts"


def test_labels_only_does_not_end_what_needs_labels_only_regression():
    """PR-02 derives from scores, and attribute inference needs none: that the threat is gone was a rule's word, not a result."""
    def was(attack, broken=True):
        return SimpleNamespace(status=Status.BROKEN, evidence=[SimpleNamespace(attack=attack, broken=broken)])

    hidden, plain = make("service.labels_only"), "removed by the facts"
    assert _status(was("privacy.attribute"), None, [hidden]) == f"{plain}, but privacy.attribute needs labels only: attack again"
    assert _status(was("privacy.inversion"), None, [hidden]) == _status(was("privacy.attribute", False), None, [hidden]) == plain
    assert _status(was("privacy.attribute"), None, [make("service.query_budget")]) == plain


def test_labels_only_changes_the_facts_and_with_them_the_threats(toy):
    path = toy()
    ready = prepare(path, budget="quick")
    before = {t.id: t.adversary.may.names for t in ready.derivation.threats}
    from casemate.threats.derive import derive

    after = {t.id: t.adversary.may.names for t in derive(changed(ready.system, "reader", make("service.labels_only"))).threats}
    assert before != after and any("score" in may for may in before.values()) and not any("score" in may for may in after.values())


def test_a_limit_by_account_is_attacked_with_several_accounts(toy):
    path = toy()
    ready = prepare(path, budget="quick")
    limit = controls.get("service.query_budget")(rows=5)
    known = _knowing(ready.derivation, "reader", [limit])
    assert {t.adversary.budget.accounts for t in known.threats if t.rule.startswith("EV")} == {SYBILS}
    tested = [t for t in known.threats if t.rule.startswith("EV") and t.tests]
    assert tested and all(set(t.tests) >= {"evasion.hopskipjump"} for t in tested)


def test_a_hardened_bench_is_another_bench(toy):
    bench = prepare(toy(), budget="quick").benches["reader"]
    seen = {bench.identity()}
    for id in ("service.labels_only", "service.query_budget", "service.round_scores", "inference.transport_quantise"):
        hard = apply(bench, make(id))
        assert hard.identity() not in seen and hard.applied
        seen.add(hard.identity())


def test_harden_shows_before_and_after_and_leaves_the_first_evidence_alone(toy):
    path = toy()
    tried = ("service.labels_only", controls.get("service.query_budget")(rows=20), "inference.transport_quantise", "training.adversarial")
    result = harden(path, only=tried, budget="quick")
    assert result.digest() == assess(path, budget="quick").digest()
    rows = {row["control"]: row for row in result.hardening}
    assert len(rows) == 5 and "no recipe" in rows["training.adversarial"]["note"]
    assert rows["service.labels_only"]["changes"] and rows["service.labels_only"]["accuracy_after"] == rows["service.labels_only"]["accuracy_before"]
    assert {c["after"] for c in rows["service.query_budget"]["changes"]} <= {str(s) for s in Status} | {"removed by the facts"}


@pytest.mark.parametrize(("control", "error"), [("service.nothing", UnknownName)])
def test_a_slip_is_told_before_the_first_attack_regression(toy, control, error):
    seen = []
    with pytest.raises(error):
        harden(toy(), only=(control,), budget="quick", show=seen.append)
    assert not seen


def test_a_parameter_that_is_none_is_named():
    with pytest.raises(UsageError, match="rowz"):
        make("service.query_budget", {"rowz": 1})


def test_training_that_fails_is_a_note_and_no_end_regression(toy):
    class Fails:
        info = replace(make("inference.transport_quantise").info, id="inference.fails")

        def harden_target(self, target):
            raise ZeroDivisionError("boom")

    row = harden(toy(), only=(Fails(),), budget="quick").hardening[0]
    assert "boom" in row["note"]
