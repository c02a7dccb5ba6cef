"""What the table says to do next: controls that are not there yet, and what would settle an unclear result."""

from dataclasses import replace

import pytest

from casemate.core.entities import DeclaredControl, Model, RateLimit
from casemate.core.evidence import Check, Status
from casemate.report.decisions import in_place
from casemate.report.view import view
from casemate.report.words import sentence

from . import cases

BUDGET, ROUND, LABELS = "service.query_budget", "service.round_scores", "service.labels_only"


def system(limit="none", **model):
    """The cheque reader, whose component `reader` has an endpoint with this limit."""
    made = cases.system()
    reader = made.element("reader")
    endpoint = replace(made.element("api").endpoint, rate_limit=limit)
    changed = replace(reader, endpoint=endpoint, model=replace(reader.model or Model(), **model))
    return replace(made, components=tuple(changed if c.id == "reader" else c for c in made.components))


def advice(of, *mitigations, evidence=None, **changes):
    made = evidence or cases.made()
    found = cases.finding("EV-02@reader#customer", "T", made, mitigations=mitigations, **changes)
    shown = cases.assessment("cheques", findings=(found,), questions=(), untested=(), system=of)
    return view(shown, "s").decisions[0].next


def test_a_control_that_is_in_place_is_not_what_to_harden_with():
    limited = system(RateLimit(per="day", n=5000, key="account"))
    said = advice(limited, ROUND, BUDGET)
    assert said.startswith("harden with service.round_scores, then attack again (service.query_budget is in place already)")
    assert "harden with service.round_scores, service.query_budget" in advice(system(), ROUND, BUDGET)


def test_where_all_that_is_known_is_in_place_the_table_says_so():
    said = advice(system(RateLimit(per="day", n=5000, key="account")), BUDGET)
    assert said.startswith("no further control in the catalogue: change the facts (service.query_budget is in place already)")


@pytest.mark.parametrize(
    ("id", "of", "there"),
    [
        (BUDGET, system(RateLimit(per="hour", n=7, key="account")), True),
        (BUDGET, system(RateLimit(per="hour", n=7, key="global")), False),  # counts nobody apart
        (BUDGET, system(), False),
        (BUDGET, system(None), False),
        (LABELS, system(output="label"), True),
        (LABELS, system(output="score"), False),
        (ROUND, system(precision_digits=4), True),
        (ROUND, system(), False),
        ("training.adversarial", system(), False),  # changes no fact: only a list can say that it is there
        ("nobody.knows", system(), False),
    ],
)
def test_in_place_is_what_the_description_states(id, of, there):
    assert in_place(id, "reader", of) is there


def test_an_active_control_of_the_list_is_in_place_and_a_planned_one_is_not():
    for state, there in (("active", True), ("planned", False), ("retired", False)):
        listed = replace(system(), controls=(DeclaredControl(id="c", type=ROUND, on="reader", state=state),))
        assert in_place(ROUND, "reader", listed) is there
        assert not in_place(ROUND, "api", listed)


def unclear(check=None, reasons=()):
    made = cases.made(share=0)
    made = replace(made, reasons=reasons, health=(*made.health, *((check,) if check else ())))
    return advice(cases.system(), evidence=made, status=Status.INCONCLUSIVE)


def test_what_would_settle_it_is_named():
    cut = Check(40, "ran to its end", False, "the budget ended it after 60 queries")
    assert unclear(cut).startswith("give the attack a larger budget and run again")
    assert unclear(replace(cut, fatal=False)).startswith("mend the attack or the target")
    assert unclear(reasons=("60 samples cannot exclude 0.1: the interval is [0, 0.2]",)).startswith("give it more data")
    assert unclear().startswith("mend the attack or the target and run again; this is no evidence of resistance")


@pytest.mark.parametrize(
    ("budget", "said"),
    [("queries_per_row=150, days=7.0", "150 queries per row, 7 days"), ("unlimited", "unlimited"),
     ("queries=20000", "20,000 queries"), ("as much as it likes", "as much as it likes")],
)  # fmt: skip
def test_a_budget_is_told_in_words(budget, said):
    held = replace(cases.made(share=0), budget=budget)
    found = cases.finding("EV-02@reader#customer", "T", held, status=Status.RESISTED)
    assert f", budget {said} " in sentence(found, cases.system(), "E1") + " "
