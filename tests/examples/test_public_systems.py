"""Two public systems, described from what is published about them: exactly what fires, what must not, what is asked.

The golden lists are what a security engineer who has read the same sources would sign. A change of a rule that
changes them has to be argued for here.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from casemate.core.fact import UNKNOWN
from casemate.runs.derived import derived
from casemate.threats.chains import search
from casemate.threats.derive import Derivation, derive
from casemate.threats.load import load
from casemate.threats.rules import catalogue, instances

EXAMPLES = Path(__file__).parents[2] / "examples"

FIRES = {
    "nuru": {
        "EV-01@detector#user": "the model lies on every phone that has the app",
        "EV-04@detector#user": "its parent can be downloaded by anybody",
        "EV-08@detector#user": "whoever holds the phone chooses what stands before the lens",
    },
    "radar": {
        "EV-02@scoring#merchant": "an account sees the score of its own payments",
        "EV-05@scoring#merchant": "a hundred answers a second are enough to train a stand-in",
        "EV-07@scoring#merchant": "amount, address and connection can be chosen, and the payment still works",
        "EV-07@scoring#payer": "the same, from any checkout: what fraudsters do",
        "EV-12@scoring#payer": "card testers fill the review queue of a shop",
        "EV-13@scoring#merchant": "a block refuses a person, and payments can be made to look like somebody's",
        "EV-13@scoring#payer": "the same, from any checkout",
        "EX-01@scoring#merchant": "the same answers rebuild a model that is worth having",
        "PO-02@scoring#merchant": "a merchant's payments are trained on, and more are sent later",
        "PO-02@scoring#payer": "so are a payer's",
        "PO-03@scoring#merchant": "a pattern that was always honest becomes a key",
        "PO-03@scoring#payer": "the same, by paying honestly for a while",
        "PO-05@scoring#merchant": "marks by merchants come back as labels",
        "PO-06@scoring#cardholder": "a dispute is a label, and honest payments are disputed too",
        "PR-01@scoring#merchant": "trained on people's payments, and whoever has an account sees how one is treated",
        "PR-02@scoring#merchant": "the score says more than the decision about a card or an address",
    },
}

# What a checklist would list and an expert would strike out: the reason, and words of the facts that keep it away.
SILENT = {
    "nuru": {
        "EX-02@detector#user": ("a public good is there to be copied", "model.value.C = 0"),
        "EX-01@detector#user": ("and nobody need rebuild it from answers", "model.value.C = 0"),
        "PR-01@detector#user": ("leaves are not people", "leaves.personal = no"),
        "PR-02@detector#user": ("leaves are not people", "leaves.personal = no"),
        "PR-04@detector#user": ("a network keeps no photos", "stores_training_examples = no"),
        "PR-05@reports": ("reports stay with whom they were sent to", "platform.trust = prod"),
        "SY-01@detector": ("a TensorFlow Lite file carries no code", "format = tflite"),
        "PO-04@pictures": ("the team took the photos itself", "external = no"),
        "PO-06@detector#user": ("users label nothing", "write_labels = no"),
        "PO-07@detector#user": ("a user changes nobody's copy but his own", "write_weights = no"),
        "SY-07@advice": ("the finding does not leave the phone", "phone to phone"),
        "SY-08@detector": ("a farmer takes every decision", "automated = no"),
        "EV-13@detector#user": ("advice locks nobody out", "blocks_people = no"),
        "EV-10@detector#user": ("no guard is claimed, so none can be bypassed", "guards of detector = none"),
        "EV-02@detector#user": ("who holds the file needs no scores", "hidden by EV-01@detector#user"),
        "EV-05@detector#user": ("nor a stand-in", "hidden by EV-01@detector#user"),
    },
    "radar": {
        "EV-01@scoring#merchant": ("the file stays with its owner", "read_weights or read_binary = no"),
        "EX-02@scoring#merchant": ("the file stays with its owner", "read_weights or read_binary = no"),
        "PR-04@scoring#merchant": ("the file stays with its owner", "read_weights or read_binary = no"),
        "PO-07@scoring#merchant": ("and nobody outside writes it", "write_weights = no"),
        "AV-01@scoring#payer": ("callers are known and counted", "rate_limit = per second, n 100"),
        "AV-01@scoring#merchant": ("callers are known and counted", "endpoint.auth = key"),
        "EV-02@scoring#payer": ("a payer sees no score", "see_score = no"),
        "EV-03@scoring#merchant": ("who sees scores does not search by labels", "see_score = yes"),
        "EV-06@scoring#merchant": ("payment records are not public", "payments.public = no"),
        "EV-08@scoring#payer": ("nothing is sensed in the world", "control_sensor = no"),
        "EV-10@scoring#merchant": ("no guard is claimed, so none can be bypassed", "guards of scoring = none"),
        "EV-12@scoring#merchant": ("he would flood his own queue", "access(merchant, reviews): write_labels = yes"),
        "PO-02@scoring#cardholder": ("a dispute changes labels, not payments", "inject_data or modify_data"),
        "PO-06@scoring#merchant": ("labels come with the marks", "hidden by PO-05@scoring#merchant"),
        "PO-04@scoring": ("its data are described as places of their own", "provenance.datasets = none"),
        "PO-04@training": ("and its trainer names no others", "provenance.datasets = none"),
        "PR-02@scoring#payer": ("a payer sees no score", "see_score = no"),
        "PR-05@reviews": ("the shop gets back what its customers gave it", "shops.trust = corp"),
        "PR-05@scoring": ("and the service is asked by those whose it is", "stripe.trust = prod"),
        "SY-07@rules": ("score and rules stand in one zone", "stripe to stripe"),
    },
}

ASKED = {
    "nuru": {
        "access(user, training): inject_data": {"PO-01@detector#user", "PO-02@detector#user", "PO-03@detector#user"},
        "detector.artifact.digest_verified_at_load": {"SY-02@detector"},
        "detector.provenance.parent.digest_verified": {"PO-08@detector"},
        "detector.model.online_learning": {"PO-05@detector#user"},
        "camera->detector.transforms": {"EV-09@detector#user"},
        "libraries.dependencies.pinned": {"SY-03@libraries"},
        "pictures.storage.outsiders_write": {"SY-06@pictures"},
    },
    "radar": {
        "rules.decision.on_error": {"AV-04@rules"},
        "training.training.review": {"PO-01@scoring#cardholder", "PO-01@scoring#merchant", "PO-01@scoring#payer"},
        "access(payer, rules): see_label": {
            "EV-03@scoring#payer", "EV-05@scoring#payer", "EX-01@scoring#payer", "PR-01@scoring#payer",
        },
        "payer.successes_wanted": {"EV-11@scoring#payer"},
        "scoring.provenance.parent": {"PO-08@scoring"},
        "scoring.artifact.format": {"SY-01@scoring"},
        "scoring.endpoint.verbose_errors": {"EX-03@scoring"},
        "scoring.operations.rollback": {"SY-08@scoring"},
        "payments.aggregates_secret": {"PR-03@scoring#merchant"},
        "training.storage.outsiders_read": {"SY-06@training"},
    },
}  # fmt: skip
SYSTEMS = sorted(FIRES)


@cache
def derivation(name: str) -> Derivation:
    system = load(EXAMPLES / name / "system.yaml")
    return derive(system, catalogue())


@pytest.mark.parametrize("name", SYSTEMS)
def test_exactly_these_threats_fire(name: str) -> None:
    assert sorted(t.id for t in derivation(name).threats) == sorted(FIRES[name])


@pytest.mark.parametrize(("name", "id"), [(name, id) for name in SYSTEMS for id in SILENT[name]])
def test_what_must_not_fire_does_not_and_says_why(name: str, id: str) -> None:
    result = derivation(name)
    _, fact = SILENT[name][id]
    assert id not in {t.id for t in result.threats} | {u.id for u in result.undecided}
    assert fact in result.why_not(id)


@pytest.mark.parametrize(("name", "path"), [(name, path) for name in SYSTEMS for path in ASKED[name]])
def test_what_nobody_published_is_asked(name: str, path: str) -> None:
    questions = {q.path: q for q in derivation(name).questions}
    assert set(questions[path].threats) == ASKED[name][path]
    assert "?" in questions[path].text


@pytest.mark.parametrize("name", SYSTEMS)
def test_rules_about_what_is_not_there_are_not_even_asked(name: str) -> None:
    """A phone has no endpoint to flood, and nothing here is federated."""
    system = derivation(name).system
    asked_of = {rule.id: [element for element, _ in instances(rule, system)] for rule in catalogue()}
    absent = {"nuru": ("AV-01", "AV-02", "AV-03", "EX-03", "SY-05"), "radar": ("SY-03",)}[name]
    assert [id for id in (*absent, "PO-09", "SY-04") if asked_of[id]] == []


@pytest.mark.parametrize("name", SYSTEMS)
def test_no_threat_opens_the_way_to_another(name: str) -> None:
    """Nobody starts from nothing here: what a chain would have to give, the principals are stated to have, or not."""
    assert search(derivation(name)).chains == ()


@pytest.mark.parametrize("name", SYSTEMS)
def test_nothing_can_be_attacked(name: str) -> None:
    """There is no target, so every finding is untested or a question, and no cost is said to be measured."""
    _, assessment = derived(EXAMPLES / name / "system.yaml")
    assert assessment.system is not None and assessment.system.target == ()
    assert {str(f.status) for f in assessment.findings} == {"untested", "question"}
    assert all(not f.evidence for f in assessment.findings)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_source_that_is_cited_is_listed_with_its_link(name: str) -> None:
    text = (EXAMPLES / name / "system.yaml").read_text(encoding="utf-8")
    page = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^(\d)\. ((?:.+\n)(?:   .+\n)*)", page, flags=re.MULTILINE))
    cited = set(re.findall(r"\[(\d)\]", text))
    assert cited == set(listed)
    assert all("https://" in entry for entry in listed.values())
    assert "2026-11-21" in page and "endorsed" in page and "no claim that any attack works" in page


def test_what_is_not_published_is_not_stated() -> None:
    """Among others the words that would make a threat fire by themselves."""
    nuru, radar = derivation("nuru").system, derivation("radar").system
    unknown = [
        nuru.fact("detector.artifact.signed"), nuru.fact("detector.provenance.parent.digest_verified"),
        nuru.fact("libraries.dependencies.known_vulnerable"), nuru.fact("leaves.public"),
        radar.fact("scoring.endpoint.verbose_errors"), radar.fact("scoring.endpoint.admin_exposed"),
        radar.fact("scoring.operations.telemetry"), radar.fact("training.storage.outsiders_read"),
    ]  # fmt: skip
    assert [fact.path for fact in unknown if fact.value not in (UNKNOWN, None)] == []
