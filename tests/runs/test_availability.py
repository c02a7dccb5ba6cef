"""What a description binds of availability: a fallback, a count of work, a price. And what is said where it binds nothing."""

import textwrap

import pytest

from casemate.core.errors import UsageError
from casemate.runs.assess import assess

EXTRA = """
    def closed(model):
        def decide(x):
            try:
                label = np.asarray(model.respond(x).label)
            except Exception:
                return np.full(len(x), -1)
            return label if label.shape == (len(x),) and np.isfinite(label).all() else np.full(len(x), -1)
        return decide

    def opened(model):
        def decide(x):
            try:
                return model.respond(x).label
            except Exception:
                return np.full(len(x), 2)
        return decide

    def work(x):
        return (np.asarray(x) > 0.95).sum(1) + 1.0
"""


def described(toy, *, bind="", facts="", endpoint="rate_limit: none", component=""):
    path = toy(limit=endpoint)
    bound = path.parent / "bind.py"
    bound.write_text(bound.read_text() + textwrap.dedent(EXTRA))
    text = path.read_text().replace("      data: bind:holdout\n", f"      data: bind:holdout\n{bind}")
    text = text.replace("output: score}", f"output: score{facts}}}").replace("    endpoint:", f"{component}    endpoint:")
    path.write_text(text)
    return path


def evidence(path, id):
    """The evidence of an attack; where there is none, what the findings it belongs to say."""
    findings = [f for f in assess(path, budget="quick").findings if id in f.tests]
    found = [e for f in findings for e in f.evidence if e.attack == id]
    return found[0] if found else "; ".join(f.reason for f in findings)


OPEN = "    decision: {on_error: allow}\n"


def test_a_fallback_that_queues_holds_and_one_that_answers_is_open(toy):
    held = evidence(described(toy, bind="      fallback: bind:closed\n", component=OPEN), "availability.fail_open")
    assert str(held.verdict) == "resisted" and all(word.startswith("queued") for word in held.extra["faults"].values())
    found = evidence(described(toy, bind="      fallback: bind:opened\n", component=OPEN), "availability.fail_open")
    assert str(found.verdict) == "broken" and "raises" in found.extra["open"]
    assert found.spent["queries"] == 0


def test_without_a_fallback_it_is_said_what_to_bind(toy):
    assert (
        evidence(described(toy, component=OPEN), "availability.fail_open")
        == "availability.fail_open: no fallback is bound (target.fallback)"
    )


def test_a_fallback_that_does_not_exist_is_named(toy):
    found = evidence(described(toy, bind="      fallback: bind:nowhere\n", component=OPEN), "availability.fail_open")
    assert str(found.verdict) == "error" and any("target.fallback='bind:nowhere'" in reason for reason in found.reasons)


VARIES = ", compute_data_dependent: yes"


def test_bound_work_is_counted_and_the_form_of_the_claim_is_the_domain(toy):
    path = described(toy, bind="      work: bind:work\n", facts=VARIES)
    few = evidence(path, "availability.sponge")
    assert str(few.verdict) in ("broken", "inconclusive")  # of 40 queries nothing is concluded
    path.write_text(path.read_text().replace("asks: {quick: 40}", "asks: {quick: 300}"))
    found = evidence(path, "availability.sponge")
    assert str(found.verdict) == "broken" and found.extra["work"] == "work (work)"
    assert found.extra["honest_most"] < found.extra["found"] <= 9.0


def test_without_a_count_it_is_said_what_to_bind(toy):
    said = evidence(described(toy, facts=VARIES), "availability.sponge")
    assert "availability.sponge: no work is bound (target.work), and nothing of this target can be counted" in said


PAID = "cost_per_call: 0.5, quota_per_account: no, {}"


@pytest.mark.parametrize(("limit", "verdict"), [
    ("rate_limit: none", "broken"), ("rate_limit: {per: day, n: 1000, key: account}", "broken"),
    ("rate_limit: {per: day, n: 100, key: account}", "resisted"),
])  # fmt: skip
def test_the_bill_of_a_day_is_that_of_the_stated_limit(toy, limit, verdict):
    found = evidence(described(toy, endpoint=PAID.format(limit)), "availability.harvest")
    assert str(found.verdict) == verdict
    if "100," in limit:
        assert found.extra["cost_a_day"] == 50.0 and found.extra["accounts_for_the_line"] == 2


def test_the_options_of_the_description_reach_the_attack(toy):
    path = described(toy, endpoint=PAID.format("rate_limit: {per: day, n: 100, key: account}"))
    path.write_text(path.read_text().replace("members: {quick: 10}", "availability.harvest: {line: 40.0}"))
    assert str(evidence(path, "availability.harvest").verdict) == "broken"
    path.write_text(path.read_text().replace("line: 40.0", "lime: 40.0"))
    with pytest.raises(UsageError, match="lime"):
        assess(path, budget="quick")
