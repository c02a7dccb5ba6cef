"""The dispositions file: what is read, what is refused and where, and which entry is for which threat."""

from __future__ import annotations

import datetime
import re

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.core.errors import BadSystem
from casemate.threats import dispositions as d
from casemate.threats.nodes import compose

TODAY = datetime.date(2026, 6, 1)
ENTRY = """casemate: 1
dispositions:
  - threat: EV-02@api#customer
    decision: accept
    reason: losses are insured
    owner: risk@example.org
    approved_by: board
    made: 2026-05-01
    expires: 2026-09-01
    conditions: {cost_floor: 1000, queries_floor: 500, rate_ceiling: 0.2}
    ticket: SEC-7
"""
SHORT = "  - {{threat: {threat}, decision: fix, reason: r, owner: o, expires: {expires}}}\n"


def read(text: str, today: datetime.date = TODAY) -> tuple[d.Disposition, ...]:
    return d.dispositions_of(text, today, name="dispositions.yaml")


def entries(*threats: str, expires: str = "2026-07-01") -> str:
    return "casemate: 1\ndispositions:\n" + "".join(SHORT.format(threat=t, expires=expires) for t in threats)


def problems(text: str) -> list[str]:
    with pytest.raises(BadSystem) as error:
        read(text)
    return [str(p) for p in error.value.problems]


def test_every_field_is_read() -> None:
    (one,) = read(ENTRY)
    assert one == d.Disposition(
        threat="EV-02@api#customer", decision="accept", reason="losses are insured", owner="risk@example.org", approved_by="board",
        made=datetime.date(2026, 5, 1), expires=datetime.date(2026, 9, 1), cost_floor=1000.0, queries_floor=500.0, rate_ceiling=0.2,
        ticket="SEC-7", place=("dispositions.yaml", 3),
    )  # fmt: skip


@pytest.mark.parametrize("text", ["casemate: 1\ndispositions:\n", "casemate: 1\ndispositions: []\n"])
def test_an_empty_file_decides_nothing(text: str) -> None:
    assert read(text) == ()


@pytest.mark.parametrize("key", ["threat", "decision", "reason", "owner", "expires"])
def test_what_must_be_there(key: str) -> None:
    text = re.sub(rf"    {key}: .*\n", "", ENTRY) if key != "threat" else ENTRY.replace("- threat: EV-02@api#customer\n    ", "- ")
    (told,) = problems(text)
    assert f"{key}: is missing" in told and told.startswith("dispositions.yaml:3: ")


@pytest.mark.parametrize("key", ["reason", "owner"])
@pytest.mark.parametrize("value", ["", "~", '""', '"  "'])
def test_what_must_be_filled_in(key: str, value: str) -> None:
    (told,) = problems(re.sub(rf"    {key}: .*\n", f"    {key}: {value}\n", ENTRY))
    assert f"{key}: must be filled in" in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("expires: 2026-09-01", "expires: 2026-02-30"), "there is no day 2026-02-30"),
        (("expires: 2026-09-01", "expires: 20260901"), "expected a day as YYYY-MM-DD; got '20260901'"),
        (("expires: 2026-09-01", "expires: soon"), "expected a day as YYYY-MM-DD; got 'soon'"),
        (("expires: 2026-09-01", "expires: 2026-10-29"), "more than 180 days after made (2026-05-01) (at the latest 2026-10-28"),
        (("expires: 2026-09-01", "expires: 9999-12-31"), "more than 180 days after made"),
        (("expires: 2026-09-01", "expires: 2026-04-30"), "is before it was made"),
        (("made: 2026-05-01", "made: 2026-06-02"), "2026-06-02 has not come yet (today is 2026-06-01)"),
        (("decision: accept", "decision: acept"), "got 'acept' (did you mean 'accept'?)"),
        (("ticket:", "tiket:"), "tiket: unknown key (did you mean 'ticket'?)"),
        (("cost_floor", "cost_flor"), "cost_flor: unknown key (did you mean 'cost_floor'?)"),
        (("cost_floor: 1000", "cost_floor: -1"), "expected a number, at least 0; got -1"),
        (("cost_floor: 1000", "cost_floor: 1e999"), "'1e999' is larger than any number"),
        (("queries_floor: 500", "queries_floor: yes"), "expected a number, at least 0; got True"),
        (("rate_ceiling: 0.2", "rate_ceiling: 20"), "expected a number, 0 to 1; got 20"),
        (("EV-02@api#customer", "EV-02 at api"), "a threat id has no spaces"),
        (("casemate: 1", "casemate: 2"), "expected 1, the version of this language; got 2"),
        (("casemate: 1", "casemate: 1\nmax_days: 0"), "expected a number, 1 to 3650; got 0"),
        (("reason: losses are insured", "reason: [a]"), "expected a text"),
        (("reason: losses are insured", f"reason: {'x' * 2001}"), "is longer than 2,000 characters"),
    ],
)
def test_what_is_refused(change: tuple[str, str], told: str) -> None:
    found = problems(ENTRY.replace(*change))
    assert len(found) == 1 and told in found[0], found


def test_all_problems_come_at_once_with_their_lines() -> None:
    text = "casemate: 1\ndispositions:\n  - threat: A-01@x\n    decison: fix\n  - 7\n  - threat: B-01@x\n    expires: 2026-13-01\n"
    lines = [int(p.split(":")[1]) for p in problems(text)]
    assert lines == sorted(lines) and {3, 4, 5, 6, 7} == set(lines)


def test_without_made_the_time_runs_from_today() -> None:
    last = TODAY + datetime.timedelta(180)
    assert read(entries("A-01@x", expires=str(last)))
    (told,) = problems(entries("A-01@x", expires=str(last + datetime.timedelta(1))))
    assert "more than 180 days after today (2026-06-01)" in told


def test_the_file_may_state_another_longest_time() -> None:
    text = entries("A-01@x", expires="2027-05-01")
    assert problems(text)
    assert read(text.replace("casemate: 1", "casemate: 1\nmax_days: 365"))
    assert problems(ENTRY.replace("casemate: 1", "casemate: 1\nmax_days: 30"))


def test_one_that_has_ended_is_still_read() -> None:
    assert read(ENTRY, datetime.date(2030, 1, 1))[0].expires == datetime.date(2026, 9, 1)


def test_the_same_threat_twice() -> None:
    (told,) = problems(entries("A-01@x", "B-01@x", "A-01@x"))
    assert told == "dispositions.yaml:5: A-01@x: is decided twice; first on line 3 (keep one entry)"


def test_a_file_beside_a_description(tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert d.beside(tmp_path / "system.yaml") is None
    (tmp_path / d.NAME).write_text(ENTRY)
    assert d.beside(tmp_path / "system.yaml") == d.beside(tmp_path) == tmp_path / d.NAME
    (one,) = d.read_dispositions(tmp_path / d.NAME, TODAY)
    assert one.place == (str(tmp_path / d.NAME), 3)
    with pytest.raises(BadSystem, match="cannot be read"):
        d.read_dispositions(tmp_path / "none.yaml", TODAY)


def test_the_shipped_schema_is_current_and_agrees_with_the_reader() -> None:
    assert d.SHIPPED.read_text() == d.schema_text(), "run: python -m casemate.threats.dispositions"
    checker = jsonschema.Draft202012Validator(d.schema())
    checker.check_schema(d.schema())
    checker.validate(compose(ENTRY.encode(), "x").plain())
    for change in (("decision: accept", "decision: acept"), ("ticket:", "tiket:"), ("rate_ceiling: 0.2", "rate_ceiling: 20")):
        with pytest.raises(jsonschema.ValidationError):
            checker.validate(compose(ENTRY.replace(*change).encode(), "x").plain())


# Patterns -----------------------------------------------------------------------------------------------------------------

WORDS = st.text(alphabet="ab@", max_size=8)
PATTERNS = st.text(alphabet="ab@*?", max_size=8)


@pytest.mark.parametrize(
    ("pattern", "id", "is_one"),
    [
        ("EV-02@api#customer", "EV-02@api#customer", True),
        ("EV-0?@api#*", "EV-02@api#customer", True),
        ("EV-0?@api#*", "EV-12@api#customer", False),
        ("*#customer", "EV-02@api#customer", True),
        ("*#customer", "EV-02@api#customer2", False),
        ("EV-02", "EV-02@api", False),
        ("EV-[01]2@api", "EV-02@api", False),
        ("*", "", True),
        ("?", "", False),
    ],
)
def test_known_matches(pattern: str, id: str, is_one: bool) -> None:
    assert d.fits(pattern, id) is is_one


@given(PATTERNS, WORDS)
def test_a_pattern_is_its_regular_expression(pattern: str, id: str) -> None:
    expression = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    assert d.fits(pattern, id) is bool(re.fullmatch(expression, id))


@given(PATTERNS, PATTERNS, WORDS)
def test_inside_means_that_everything_is_matched(outer: str, inner: str, id: str) -> None:
    if d.fits(outer, inner, inside=True) and d.fits(inner, id):
        assert d.fits(outer, id)


def test_a_pattern_of_stars_ends() -> None:
    assert not d.fits("*a" * 60 + "b", "a" * 400)


def test_its_own_entry_then_the_innermost_pattern() -> None:
    decided = read(entries("'*'", "'EV-*'", "'EV-0?@api#*'", "EV-02@api#customer"))
    found = d.chosen(decided, ["EV-02@api#customer", "EV-03@api#customer", "EV-12@api#x", "SY-01@api"])
    assert [one.threat for one in found.values()] == ["EV-02@api#customer", "EV-0?@api#*", "EV-*", "*"]


def test_two_patterns_of_which_neither_is_inside_the_other() -> None:
    decided = read(entries("'EV-*'", "'*#customer'"))
    with pytest.raises(BadSystem) as error:
        d.chosen(decided, ["EV-02@api#customer", "EV-03@api#customer"])
    (told,) = error.value.problems
    assert told.line == 3 and told.key == "EV-*" and "*#customer (dispositions.yaml:4)" in told.message
    assert "EV-02@api#customer" in told.suggestion
    own = read(entries("'EV-*'", "'*#customer'", "EV-02@api#customer"))
    assert d.chosen(own, ["EV-02@api#customer"])["EV-02@api#customer"].threat == "EV-02@api#customer"


def test_orphans_and_what_they_may_have_meant() -> None:
    decided = read(entries("EV-02@api#custumer", "'EV-9*'", "SY-01@api", "'SY-*'"))
    lost = d.orphans(decided, ["EV-02@api#customer", "SY-01@api"])
    assert {one.threat: near for one, near in lost.items()} == {"EV-02@api#custumer": ("EV-02@api#customer",), "EV-9*": ()}
