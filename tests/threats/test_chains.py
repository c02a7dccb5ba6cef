"""Chains: known answers on small systems with a handful of rules, then what must hold of every search."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.core.entities import Access, Asset, Component, Flow, Model, Principal, Worth, Zone
from casemate.core.system import System
from casemate.threats.as_if import places, with_outsiders
from casemate.threats.chains import chains, search
from casemate.threats.derive import derive
from casemate.threats.rules import Gives, Rule, catalogue, read_rules

HARM = "harm: {text: t, asset: model, property: I, floor: %d}"


def rule(tmp_path, id, each, condition, gives="", prior="[1, 100]", adversary="principal", floor=1, goal="integrity", more=""):
    lines = [
        f"id: {id}", f"title: Title of {id}", f"each: {each}", f"adversary: {adversary}", f"cell: {{phase: inference, surface: digital, goal: {goal}, capability: any}}",
        f"applies_when: {condition}", 'explain: "{c}"', HARM % floor, f"prior: {prior}", *([f"gives: {gives}"] if gives else []), more,
    ]  # fmt: skip
    path = tmp_path / f"{id}.yaml"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def rules(tmp_path):
    """Rules from tuples of `rule`'s arguments."""

    def made(*rows: dict[str, object]) -> tuple[Rule, ...]:
        return read_rules([rule(tmp_path, **row) for row in rows])

    return made


def system(*access: Access, **more: object) -> System:
    parts = {"deps": "dependency_set", "book": "notebook", "store": "registry", "far": "registry"}
    return System(
        zones=(Zone(id="lab"), Zone(id="prod")), principals=(Principal(id="eve"),),
        components=tuple(Component(id=id, kind=kind, zone="prod" if id == "far" else "lab") for id, kind in parts.items()),
        access=access, **more,
    )  # fmt: skip


SUPPLY = (
    {"id": "SY-03", "each": "dependency_set", "condition": "{path: $c.kind, is: dependency_set}", "gives": "[{can: [write_code], on: zone}]",
     "adversary": "supplier", "prior": "[100, 10000]"},
    {"id": "SY-04", "each": "notebook", "condition": "{can: [write_code], who: $p, on: $c}", "gives": "[{can: [read_data], on: zone}]", "prior": "[0, 100]"},
    {"id": "SY-06", "each": "registry", "condition": "{can: [read_data], who: $p, on: $c}", "gives": "[{can: [write_weights]}]", "prior": "[10, 1000]"},
    {"id": "PO-07", "each": "registry", "condition": "{can: [write_weights], who: $p, on: $c}", "prior": "[1, 10]", "floor": 4},
)  # fmt: skip


def test_a_dependency_opens_the_notebook_which_opens_the_store_which_opens_the_weights(rules) -> None:
    found = {chain.steps[-1]: chain for chain in chains(derive(system(), rules(*SUPPLY)))}
    assert set(found) == {"SY-04@book#supplier", "SY-06@store#supplier", "PO-07@store#supplier"}  # the far store is elsewhere
    last = found["PO-07@store#supplier"]
    assert last.steps == ("SY-03@deps", "SY-04@book#supplier", "SY-06@store#supplier", "PO-07@store#supplier")
    assert last.gains == ("write_code on book", "read_data on store", "write_weights on store", "")
    assert (last.attacker, last.impact, last.low, last.high, last.basis) == ("supplier", 4, 111, 11_110, "prior")
    assert last.title == "Title of SY-03 at deps, then Title of PO-07 at store"


def test_what_is_worse_than_where_it_began_comes_first(rules) -> None:
    found = chains(derive(system(), rules(*SUPPLY)))
    assert [chain.steps[-1] for chain in found] == ["PO-07@store#supplier", "SY-04@book#supplier", "SY-06@store#supplier"]
    sideways = [dict(row, goal="privacy") if row["id"] == "SY-06" else row for row in SUPPLY]
    assert [c.steps[-1][:5] for c in chains(derive(system(), rules(*sideways)))] == ["PO-07", "SY-06", "SY-04"]


TWO = (
    {"id": "A-01", "each": "notebook", "condition": "{can: [write_code], who: $p, on: $c}", "gives": "[{can: [read_data], on: zone}]", "prior": "[100, 10000]"},
    {"id": "A-02", "each": "dependency_set", "condition": "{can: [write_code], who: $p, on: $c}", "gives": "[{can: [read_data], on: zone}]", "prior": "[1, 100]"},
    {"id": "B-01", "each": "registry", "condition": "{can: [read_data], who: $p, on: $c}"},
)  # fmt: skip
BOTH = (Access(principal="eve", on="book", can=("write_code",)), Access(principal="eve", on="deps", can=("write_code",)))


def test_of_two_ways_the_cheaper_is_told(rules) -> None:
    found = chains(derive(system(*BOTH), rules(*TWO)))
    assert [c.steps for c in found] == [("A-02@deps#eve", "B-01@store#eve")]
    cheap = {"A-01@book#eve": (5.0, 5.0), "B-01@store#eve": (2.0, 2.0)}
    measured = chains(derive(system(*BOTH), rules(*TWO)), cheap)
    assert [c.steps for c in measured] == [("A-01@book#eve", "B-01@store#eve")]
    assert (measured[0].low, measured[0].high, measured[0].basis) == (7.0, 7.0, "measured")
    half = chains(derive(system(*BOTH), rules(*TWO)), {"A-01@book#eve": (5.0, 5.0)})
    assert half[0].steps[0] == "A-01@book#eve" and half[0].basis == "prior"


def test_a_longer_way_that_costs_less_wins(rules) -> None:
    rows = (
        {"id": "A-01", "each": "notebook", "condition": "{can: [write_code], who: $p, on: $c}",
         "gives": "[{can: [write_weights], on: zone}, {can: [see_label]}]", "prior": "[1000000, 1000000]"},
        {"id": "A-02", "each": "dependency_set", "condition": "{can: [write_code], who: $p, on: $c}", "gives": "[{can: [read_data], on: zone}]", "prior": "[1, 4]"},
        {"id": "A-03", "each": "registry", "condition": "{can: [read_data], who: $p, on: $c}", "gives": "[{can: [write_weights]}]", "prior": "[1, 4]"},
        {"id": "B-01", "each": "registry", "condition": "{can: [write_weights], who: $p, on: $c}", "prior": "[1, 4]"},
    )  # fmt: skip
    found = {c.steps[-1]: c for c in chains(derive(system(*BOTH), rules(*rows)))}
    assert found["B-01@store#eve"].steps == ("A-02@deps#eve", "A-03@store#eve", "B-01@store#eve")


def test_a_cycle_of_gains_ends(rules) -> None:
    rows = (
        {"id": "A-01", "each": "[notebook, registry]", "condition": "{can: [write_code], who: $p, on: $c}", "gives": "[{can: [read_data], on: zone}]"},
        {"id": "A-02", "each": "[notebook, registry]", "condition": "{can: [read_data], who: $p, on: $c}", "gives": "[{can: [write_code], on: zone}]"},
    )  # fmt: skip
    found = search(derive(system(BOTH[0]), rules(*rows)))
    assert {c.steps[-1] for c in found.chains} == {"A-02@book#eve", "A-02@store#eve", "A-01@store#eve"}
    assert not found.left_out and all(len(set(c.steps)) == len(c.steps) for c in found.chains)


def test_what_is_held_already_opens_nothing(rules) -> None:
    held = Access(principal="eve", on="store", can=("read_data",))
    derivation = derive(system(*BOTH, held), rules(*TWO))
    assert "B-01@store#eve" in [t.id for t in derivation.threats]
    assert chains(derivation) == ()


def test_rules_that_give_nothing_make_no_chain(rules) -> None:
    assert chains(derive(system(*BOTH), rules(*(dict(row, gives="") for row in TWO)))) == ()


def test_two_threats_that_only_together_open_a_third(rules) -> None:
    rows = (
        {"id": "A-01", "each": "notebook", "condition": "{can: [write_code], who: $p, on: $c}", "gives": "[{can: [read_data], on: zone}]"},
        {"id": "A-02", "each": "dependency_set", "condition": "{can: [write_code], who: $p, on: $c}", "gives": "[{can: [write_weights], on: zone}]"},
        {"id": "A-03", "each": "dependency_set", "condition": "{can: [write_code], who: $p, on: $c}", "gives": "[{can: [see_label], on: zone}]"},
        {"id": "B-01", "each": "registry", "condition": "{all: [{can: [read_data], who: $p, on: $c}, {can: [write_weights], who: $p, on: $c}]}",
         "gives": "[{can: [query]}]"},
        {"id": "B-02", "each": "registry", "condition": "{can: [query], who: $p, on: $c}", "floor": 3},
    )  # fmt: skip
    found = {c.steps[-1]: c for c in chains(derive(system(*BOTH), rules(*rows)))}
    assert set(found["B-01@store#eve"].steps) == {"A-01@book#eve", "A-02@deps#eve", "B-01@store#eve"}
    assert set(found["B-01@store#eve"].gains) == {"read_data on store", "write_weights on store", ""}
    assert found["B-02@store#eve"].steps[-2:] == ("B-01@store#eve", "B-02@store#eve") and len(found["B-02@store#eve"].steps) == 4


def test_what_anyone_can_do_helps_a_principal_but_is_told_once(rules) -> None:
    rows = (
        {"id": "A-01", "each": "registry", "condition": "{path: $c.zone, is: lab}", "adversary": "anyone", "gives": "[{can: [read_data]}]"},
        {"id": "B-01", "each": "registry", "condition": "{can: [read_data], who: $p, on: $c}"},
        {"id": "B-02", "each": "registry", "condition": "{all: [{can: [read_data], who: $p, on: $c}, {can: [write_weights], who: $p, on: $c}]}"},
    )  # fmt: skip
    access = Access(principal="eve", on="store", can=("write_weights",))
    zoneless = [dict(row, condition="{path: $c.kind, is: registry}") if row["id"] == "A-01" else row for row in rows]
    found = {c.steps for c in chains(derive(system(access), rules(*zoneless))) if "far" not in c.steps[-1]}
    assert found == {("A-01@store", "B-01@store#anyone"), ("A-01@store", "B-02@store#eve")}


def test_an_outsider_is_named_past_what_has_its_name_and_may_be_described() -> None:
    plain = System(components=(Component(id="anyone"),), principals=(Principal(id="supplier", kind="partner"),))
    made, named = with_outsiders(plain)
    assert named == {"anyone": "anyone_outside", "supplier": "supplier"}
    assert [p.id for p in made.principals] == ["supplier", "anyone_outside"]


def test_what_another_threat_makes_pointless_ends_no_chain(rules) -> None:
    pointless = dict(TWO[2], id="B-02", more="dominated_by: {B-01: it is simpler}")
    found = chains(derive(system(*BOTH), rules(*TWO, pointless)))
    assert [c.steps[-1] for c in found] == ["B-01@store#eve"]


@pytest.mark.parametrize(("on", "found"), [
    ("here", ("api",)), ("artifact", ("api", "file")), ("upstream", ("file", "trainer", "source")), ("training", ("trainer", "source")),
    ("zone", ("api", "source")),
])  # fmt: skip
def test_where_a_gain_lies(on: str, found: tuple[str, ...]) -> None:
    kinds = {"api": "server", "file": "model_artifact", "trainer": "trainer", "source": "data_source"}
    made = System(
        zones=(Zone(id="z"),), components=tuple(Component(id=id, kind=k, zone="z" if id in ("api", "source") else "") for id, k in kinds.items()),
        flows=(Flow(from_="source", to="trainer"), Flow(from_="trainer", to="file"), Flow(from_="file", to="api")),
    )  # fmt: skip
    assert sorted(places(made, Gives(can=("query",), on=on), "api")) == sorted(found)


def test_where_no_zone_is_stated_a_zone_is_the_component_alone() -> None:
    made = System(components=(Component(id="a"), Component(id="b")))
    assert places(made, Gives(can=("query",), on="zone"), "a") == ("a",)


@pytest.mark.parametrize("condition", [
    "{submits: $c, who: $p}", "{sees: score, who: $p, on: $c}", "{contributes: $c, who: $p}", "{reaches: $c, who: $p}",
    "{can: [read_weights], who: $p, on: $c, where: artifact}", "{exists: u, among: upstream, of: $c, where: {can: [query], who: $p, on: $u}}",
    "{exists: u, among: downstream, of: $c, where: {can: [see_score], who: $p, on: $u}}", "{not: {not: {submits: $c, who: $p}}}",
    "{any: [{path: $c.endpoint.auth, is: none}, {submits: $c, who: $p}]}", "{all: [{path: $c.kind, is: server}, {submits: $c, who: $p}]}",
    "{exists: u, among: components, of: $c, where: {can: [query], who: $p, on: $u}}",
])  # fmt: skip
def test_every_way_to_ask_for_access_reacts(condition: str, rules) -> None:
    kinds = {"front": "preprocess", "data": "data_source", "train": "trainer", "file": "model_artifact", "api": "server", "act": "decision", "book": "notebook"}
    flows = ("front api", "data train", "train file", "file api", "api act")
    made = System(
        principals=(Principal(id="eve"),), flows=tuple(Flow(from_=f.split()[0], to=f.split()[1]) for f in flows),
        components=tuple(Component(id=id, kind=k, zone="z", model=Model(output="score") if id == "api" else None) for id, k in kinds.items()),
        zones=(Zone(id="z"),), access=(Access(principal="eve", on="book", can=("write_code",)),),
    )  # fmt: skip
    first = {"id": "A-01", "each": "notebook", "condition": "{can: [write_code], who: $p, on: $c}",
             "gives": "[{can: [query, see_score, inject_data, read_weights], on: zone}]"}  # fmt: skip
    found = chains(derive(made, rules(first, {"id": "B-01", "each": "server", "condition": condition})))
    assert [c.steps for c in found] == [("A-01@book#eve", "B-01@api#eve")]


def test_it_is_deterministic_and_leaves_the_derivation_alone(rules) -> None:
    derivation = derive(system(*BOTH), rules(*SUPPLY, *TWO))
    before = [t.id for t in derivation.threats], derivation.system
    assert chains(derivation) == chains(derivation) == chains(derive(system(*reversed(BOTH)), tuple(reversed(derivation.rules))))
    assert ([t.id for t in derivation.threats], derivation.system) == before


def ladder(length: int) -> tuple[dict[str, object], ...]:
    cans = ("write_code", "read_data", "write_weights", "query", "see_label", "see_score", "read_weights", "read_binary", "replay", "write_feedback", "see_logits")
    return tuple(
        {"id": f"L-{i:02}", "each": "notebook", "condition": f"{{can: [{cans[i]}], who: $p, on: $c}}", "gives": f"[{{can: [{cans[i + 1]}]}}]"} for i in range(length)
    )  # fmt: skip


def test_what_is_cut_short_is_said(rules, monkeypatch) -> None:
    derivation = derive(system(BOTH[0]), rules(*ladder(8)))
    whole = search(derivation)
    assert max(len(c.steps) for c in whole.chains) == 8 and not whole.left_out
    monkeypatch.setattr("casemate.threats.chains.MOST", 2)
    few = search(derivation)
    assert few.chains == whole.chains[:2] and "5 of 7 chains" in few.left_out


def test_a_search_stops_when_its_work_is_done_and_says_so(rules) -> None:
    from casemate.threats.chains import _Search

    search_ = _Search(derive(system(BOTH[0]), rules(*ladder(8))), {})
    search_.work = 4
    found = search_.run()
    assert "too large" in found.left_out and len(found.chains) < 7


KINDS = ("notebook", "registry", "server", "trainer")
CANS = ("write_code", "read_data", "write_weights", "query")


@st.composite
def worlds(draw):
    count = draw(st.integers(2, 5))
    parts = tuple(Component(id=f"c{i}", kind=draw(st.sampled_from(KINDS)), zone=draw(st.sampled_from(("y", "z", "")))) for i in range(count))
    held = draw(st.lists(st.tuples(st.sampled_from(("eve", "bob")), st.integers(0, count - 1), st.sampled_from(CANS)), max_size=3, unique_by=lambda r: r[:2]))
    flows = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=5, unique=True))
    steps = draw(st.lists(st.tuples(st.sampled_from(KINDS), st.lists(st.sampled_from(CANS), min_size=1, max_size=2, unique=True), st.sampled_from(CANS),
                                    st.sampled_from(("here", "zone", "upstream")), st.sampled_from(("[1, 4]", "[10, 1000]"))), min_size=1, max_size=6))  # fmt: skip
    made = System(
        zones=(Zone(id="y"), Zone(id="z")), principals=(Principal(id="eve"), Principal(id="bob")), components=parts,
        flows=tuple(Flow(from_=f"c{a}", to=f"c{b}") for a, b in flows),
        access=tuple(Access(principal=who, on=f"c{at}", can=(can,)) for who, at, can in held),
    )  # fmt: skip
    rows = [
        {"id": f"R-{i:02}", "each": each, "gives": f"[{{can: [{gain}], on: {on}}}]", "prior": prior,
         "condition": f"{{all: [{', '.join(f'{{can: [{c}], who: $p, on: $c}}' for c in needs)}]}}"}
        for i, (each, needs, gain, on, prior) in enumerate(steps)
    ]  # fmt: skip
    return made, rows


def opened(made: System, rows: tuple[Rule, ...]) -> set[str]:
    """The slow way: give everybody everything that succeeds gives, one principal at a time, until nothing changes."""
    found: set[str] = set()
    for who in ("eve", "bob"):
        now = made
        while True:
            own = [t for t in derive(now, rows).threats if t.principal == who]
            held = {row.on: set(row.can) for row in now.access if row.principal == who}
            more = {place: set(cans) for place, cans in held.items()}
            for threat in own:
                for give in next(r for r in rows if r.id == threat.rule).gives:
                    for place in places(now, give, threat.element):
                        more.setdefault(place, set()).update(give.can)
            if more == held:
                break
            others = tuple(row for row in now.access if row.principal != who)
            now = replace(now, access=(*others, *(Access(principal=who, on=on, can=tuple(sorted(can))) for on, can in more.items())))
        found |= {t.id for t in own}
    return found


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_everything_that_opens_has_a_chain_and_without_its_first_step_it_has_not(tmp_path_factory, world) -> None:
    made, rows = world
    folder = tmp_path_factory.mktemp("rules")
    catalogue_ = read_rules([rule(folder, **row) for row in rows])
    derivation = derive(made, catalogue_)
    already = {t.id for t in derivation.threats}
    found = chains(derivation)
    assert {c.steps[-1] for c in found} == opened(made, catalogue_) - already
    for chain in found:
        assert chain.steps[0] in already and not set(chain.steps[1:]) & already - _opening(chain, already)
        assert len(chain.steps) == len(set(chain.steps)) == len(chain.gains)
    if found:
        gone = found[0].steps[0].partition("@")[0]
        left = tuple(r for r in catalogue_ if r.id != gone)
        assert not [c for c in chains(derive(made, left)) if any(s.startswith(gone) for s in c.steps)]


def _opening(chain, already: set[str]) -> set[str]:
    """Steps that are open already may stand in a chain only where their gain is used."""
    return {step for step, gain in zip(chain.steps, chain.gains, strict=True) if step in already and gain}


def test_the_catalogue_makes_chains_in_time_and_says_nothing_was_left_out() -> None:
    import time

    parts = []
    for i in range(10):
        parts += [
            Component(id=f"api{i}", kind="server", zone="z", model=Model(output="score"), holds=("m",)), Component(id=f"file{i}", kind="model_artifact", zone="z"),
            Component(id=f"train{i}", kind="trainer", zone="z"), Component(id=f"book{i}", kind="notebook", zone="z"),
        ]  # fmt: skip
    flows = [Flow(from_=f"train{i}", to=f"file{i}") for i in range(10)] + [Flow(from_=f"file{i}", to=f"api{i}") for i in range(10)]
    made = System(
        zones=(Zone(id="z"),), components=tuple(parts), flows=tuple(flows), principals=(Principal(id="eve"), Principal(id="bob")),
        assets=(Asset(id="m", kind="model", value=Worth(confidentiality=3, integrity=3)),),
        access=tuple(Access(principal="eve", on=f"api{i}", can=("query", "see_score")) for i in range(10)),
    )  # fmt: skip
    derivation = derive(made, catalogue())
    began = time.process_time()
    assert not search(derivation).left_out
    assert time.process_time() - began < 2  # 0.3 s where nothing else runs
