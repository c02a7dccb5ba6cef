"""Fast derivation says what asking every instance on its own says; and absurd systems stay cheap."""

from __future__ import annotations

import dataclasses
import gc
import random
import time
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from casemate.core import entities as e
from casemate.core.errors import BadSystem
from casemate.core.fact import NO, Truth
from casemate.core.reach import Places, bits, parts, spread
from casemate.core.surface import reach
from casemate.core.system import Access, Asset, Component, Flow, Model, Principal, System, Training, Worth
from casemate.threats import derive as deriving
from casemate.threats.derive import Derivation, derive, threat_id
from casemate.threats.expressions import MOST_ASKED, Path
from casemate.threats.load import loads
from casemate.threats.nodes import compose
from casemate.threats.reader import Reader
from casemate.threats.rules import Rule, catalogue, instances
from casemate.threats.scene import Scene, Verdict, assets_of

# What the catalogue does not say, but a rule of one's own may: everything about principals below any operator.
ODD = (
    "{not: {submits: $c}}",
    "{any: [{contributes: $c}, {path: $c.model.mutators, is: yes}]}",
    "{all: [{reaches: $c}, {not: {sees: score}}]}",
    "{all: [{any: [{path: $p.kind, in: [customer, insider]}, {trust: $p, in: [public]}]}, {trust: $c, in: [prod]}]}",
    "{exists: t, among: components, of: $c, where: {all: [{can: [read_data, query], on: $t}, {path: $t.kind, is: server}]}}",
    "{not: {exists: t, among: upstream, of: $c, where: {submits: $t}}}",
    "{in_order: [{path: $c.model.mutators, is: yes}, {submits: $c}, {sees: label}, {affords: 1000}]}",
    "{exists: w, among: principals, of: $c, where: {all: [{submits: $c, who: $w}, {sees: logits, who: $p}]}}",
    "{can: [read_data, modify_data], on: $c, where: training}",
    "{any: [{can: [write_weights], where: artifact}, {exists: f, among: flows_in, of: $c, where: {crosses: $f}}]}",
    "{exists: f, among: way_in, of: $c, where: {all: [{path: $f.transforms, in: [resize]}, {reaches: $c}]}}",
    "{exists: a, among: downstream, of: $c, where: {exists: b, among: upstream, of: $a, where: {contributes: $b}}}",
)


def odd_rules() -> tuple[Rule, ...]:
    found = []
    for number, text in enumerate(ODD):
        reader = Reader()
        condition = reader.expression(compose(text.encode(), "odd"), {"c": Component, "p": Principal})
        assert not reader.problems, reader.problems
        model = next(rule for rule in catalogue() if rule.id == "EV-02")
        found.append(dataclasses.replace(model, id=f"ODD-{number:02}", applies_when=condition, each=("model", "trainer")))
    return tuple(found)


RULES = (*catalogue(), *odd_rules())


# The straightforward way ---------------------------------------------------------------------------------------------


def one_by_one(system: System, rules: Iterable[Rule]) -> Iterator[tuple[Rule, Scene, Verdict]]:
    """Every instance on its own, and nothing remembered from one to the next."""
    for rule in rules:
        for element, principal in instances(rule, system):
            scene = Scene(system, {"c": element, "p": principal} if principal else {"c": element}, {})
            verdict = rule.applies_when.judge(scene)
            if verdict.truth is not NO:
                yield rule, scene, verdict


def walked(system: System, start: Iterable[str], *, back: bool = False, past_trainers: bool = True) -> Places:
    """`System.around` by a search from the start."""
    return system.group(id for id in system.closure(start, back=back, past_trainers=past_trainers))


def slowly(system: System, rules: tuple[Rule, ...] = RULES) -> Derivation:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deriving, "_open_instances", one_by_one)
        patch.setattr(System, "around", walked)
        return derive(dataclasses.replace(system), rules)  # without what the other way looked up


# Random small systems ------------------------------------------------------------------------------------------------


def some(draw: random.Random, hint: Any) -> Any:
    """A value of an annotated type, or nothing."""
    options = [part for part in typing.get_args(hint) or (hint,) if part is not type(None)]
    part = draw.choice(options)
    if dataclasses.is_dataclass(part) and isinstance(part, type):
        return record(draw, part)
    if typing.get_origin(part) is typing.Literal:
        return draw.choice(typing.get_args(part))
    if part is Truth:
        return draw.choice(tuple(Truth))
    return {int: draw.randrange(5), float: float(draw.randrange(5)), str: "word"}.get(
        part, part if isinstance(part, str) else None
    )


def record(draw: random.Random, kind: type, **given: Any) -> Any:
    """A record of which some fields are stated; those that name other elements are given."""
    hints = typing.get_type_hints(kind)
    for f in dataclasses.fields(kind):
        if f.name in given or "refs" in f.metadata or f.name == "id" or draw.random() < 0.4:
            continue
        value = some(draw, hints[f.name]) if typing.get_origin(hints[f.name]) is not tuple else None
        given |= {} if value is None else {f.name: value}
    return kind(**given)


def subset(draw: random.Random, of: Iterable[str], most: int = 3) -> tuple[Any, ...]:
    listed = list(of)
    return tuple(draw.sample(listed, draw.randint(0, min(most, len(listed)))))


def small(draw: random.Random) -> System:
    """Any system of a few elements: cycles, trainers that feed themselves, rows on flows, principals without rows."""
    cs, ps, ts = ([f"{letter}{i}" for i in range(draw.randint(1, most))] for letter, most in (("c", 6), ("p", 4), ("a", 4)))
    zones = tuple(record(draw, e.Zone, id=f"z{i}") for i in range(2))
    at = ("", "z0", "z1")
    ends = dict.fromkeys((draw.choice(cs + ps), draw.choice(cs)) for _ in range(draw.randint(0, 10)))
    flows = tuple(
        record(draw, Flow, id=f"f{i}", from_=a, to=b, data=subset(draw, ts), transforms=subset(draw, ("resize", "log")))
        for i, (a, b) in enumerate(ends)
    )
    cans = typing.get_args(e.Can)
    held = dict.fromkeys((draw.choice(ps), draw.choice([*cs, *(f.id for f in flows)])) for _ in range(draw.randint(0, 7)))
    components = []
    for id in cs:
        training = record(draw, Training, sources=subset(draw, (*cs, *ps, *ts))) if draw.random() < 0.3 else None
        made = record(draw, Component, id=id, zone=draw.choice(at), holds=subset(draw, ts), training=training)
        components.append(made)
    return System(
        decision=record(draw, e.Decision),
        zones=zones,
        principals=tuple(record(draw, Principal, id=id, zone=draw.choice(at)) for id in ps),
        assets=tuple(record(draw, Asset, id=id, value=record(draw, Worth)) for id in ts),
        components=tuple(components),
        flows=flows,
        access=tuple(
            Access(principal=p, on=on, can=subset(draw, cans, 5), unsure=subset(draw, cans, 2), budget=record(draw, e.AccessBudget))
            for p, on in held
        ),
        controls=tuple(
            e.DeclaredControl(id=f"k{i}", type="service.query_budget", on=draw.choice(cs), state=draw.choice(("active", "planned")))
            for i in range(draw.randint(0, 2))
        ),
    )  # fmt: skip


SLOW = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
systems = st.integers(0, 2**32).map(lambda seed: small(random.Random(seed)))


@SLOW
@given(systems)
def test_fast_is_the_same_as_one_by_one(system: System) -> None:
    fast, slow = derive(system, RULES), slowly(system)
    assert fast.threats == slow.threats
    assert fast.undecided == slow.undecided
    assert fast.questions == slow.questions
    assert (fast.hidden, fast.dropped) == (slow.hidden, slow.dropped)


def test_the_random_systems_fire_ask_and_hide() -> None:
    """The comparison above is worth something: nearly every rule fires and asks somewhere."""
    fired, asked, hidden = set(), set(), 0
    for seed in range(150):
        found = derive(small(random.Random(seed)), RULES)
        fired |= {t.rule for t in (*found.threats, *found.dropped)}
        asked |= {u.rule for u in found.undecided}
        hidden += len(found.hidden)
    assert len(fired) > 0.8 * len(RULES)
    assert len(asked) > 0.8 * len(RULES)
    assert hidden


@settings(SLOW, max_examples=15)
@given(systems)
def test_every_silence_gives_its_reason_and_nothing_is_lost(system: System) -> None:
    found = derive(system, RULES)
    silent = {s.id: s.reason for s in found.silent}
    everything = {threat_id(rule.id, *at) for rule in RULES for at in instances(rule, system)}
    loud = {t.id for t in (*found.threats, *found.dropped)} | {u.id for u in found.undecided}
    assert silent.keys() | loud == everything
    assert not silent.keys() & loud
    for id in sorted(everything)[::7]:
        hidden = any(h.threat == id for h in found.hidden)
        assert found.why_not(id).startswith("hidden by") if hidden else found.why_not(id) == silent.get(id, "")


@pytest.mark.parametrize(
    "id", ["", "EV-02", "EV-02@", "EV-02@c0", "EV-02@nowhere#p0", "XX-99@c0#p0", "EV-02@c0#p0#p0", "SY-01@c0#p0"]
)
def test_why_not_of_what_is_no_instance_is_nothing(id: str) -> None:
    assert derive(small(random.Random(1)), RULES).why_not(id) == ""


# Reach ---------------------------------------------------------------------------------------------------------------


@SLOW
@given(systems)
def test_around_is_the_closure_without_its_order(system: System) -> None:
    ids = [x.id for kind in (system.components, system.principals, system.assets) for x in kind]
    for back in (True, False):
        for past in (True, False):
            for start in ((id,) for id in ids):
                expected = set(system.closure(start, back=back, past_trainers=past))
                got = system.around(start, back=back, past_trainers=past)
                assert set(got) == expected
                assert len(got) == len(expected)
                assert [id for id in ids if id in got] == [id for id in ids if id in expected]
            two = system.around(ids[:2], back=back, past_trainers=past)
            assert set(two) == set(system.around(ids[:1], back=back, past_trainers=past)) | set(
                system.around(ids[1:2], back=back, past_trainers=past)
            )


@SLOW
@given(systems)
def test_assets_of_a_component_are_those_held_on_a_flow_through_it(system: System) -> None:
    for component in system.components:
        near = {*system.closure((component.id,)), *system.closure((component.id,), back=True)}
        held = {id for c in system.components if c.id in near for id in c.holds}
        attached = {id for c in system.components for id in c.holds}
        for kind in typing.get_args(e.AssetKind):
            wanted = [a for a in system.assets if a.kind == kind]
            none = not any(a.id in attached for a in wanted)
            assert list(assets_of(system, component.id, kind)) == [a for a in wanted if none or a.id in held]


@SLOW
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=25))
def test_parts_are_strongly_connected_and_come_after_what_they_lead_to(edges: list[tuple[int, int]]) -> None:
    after = [sorted({b for a, b in edges if a == node}) for node in range(9)]
    reached = spread(after, [1 << node for node in range(9)])
    met: set[int] = set()
    for part in parts(after):
        assert {node for node in range(9) if reached[part[0]] >> node & 1 and reached[node] >> part[0] & 1} == set(part)
        met |= set(part)
        assert all(set(after[node]) <= met for node in part)
    assert met == set(range(9))


def test_bits_are_in_order() -> None:
    assert list(bits(0)) == []
    assert list(bits(0b1000101)) == [0, 2, 6]


# Absurd sizes --------------------------------------------------------------------------------------------------------


def chain(n: int, *, cycle: bool = False) -> tuple[Flow, ...]:
    ends = [(f"c{i}", f"c{i + 1}") for i in range(n - 1)] + ([(f"c{n - 1}", "c0")] if cycle else [])
    return tuple(Flow(from_=a, to=b) for a, b in ends)


def servers(n: int, every: int = 1) -> tuple[Component, ...]:
    return tuple(
        Component(id=f"c{i}", kind="preprocess" if i % every else "server", model=None if i % every else Model(output="score"))
        for i in range(n)
    )


HANGS = 60.0  # seconds; how fast it is stands in the benchmarks, here a busy machine must not matter


def in_time(system: System) -> Derivation:
    """Derive, and fail where it would not have ended."""
    began = time.perf_counter()
    found = derive(system)
    assert time.perf_counter() - began < HANGS
    return found


EVE = (Principal(id="eve", kind="customer"),)


def test_a_cycle_of_a_thousand() -> None:
    row = (Access(principal="eve", on="c0", can=("query", "see_score")),)
    found = in_time(System(principals=EVE, components=servers(1000, 50), flows=chain(1000, cycle=True), access=row))
    assert {t.id for t in found.threats if t.rule == "EV-02"} == {f"EV-02@c{i}#eve" for i in range(0, 1000, 50)}


def test_a_long_chain_needs_no_deep_stack() -> None:
    row = (Access(principal="eve", on="c0", can=("query",)),)
    system = System(principals=EVE, components=servers(5000, 1000), flows=chain(5000), access=row)
    assert len(reach(system, "eve", "c4999")) == 5001
    in_time(system)


def test_a_star_of_five_thousand_flows() -> None:
    flows = tuple(Flow(from_=f"c{i}", to="c0") for i in range(1, 2501)) + tuple(
        Flow(from_="c0", to=f"c{i}") for i in range(1, 2501)
    )
    row = (Access(principal="eve", on="c1", can=("query", "see_label")),)
    found = in_time(System(principals=EVE, components=servers(2501, 500), flows=flows, access=row))
    assert {t.id for t in found.threats if t.rule == "EV-03"} == {f"EV-03@c{i}#eve" for i in range(0, 2501, 500)}


def test_twenty_thousand_access_rows() -> None:
    principals = tuple(Principal(id=f"p{i}", kind="customer") for i in range(20))
    rows = tuple(Access(principal=p.id, on=f"c{i}", can=("see_decision",)) for p in principals for i in range(1000))
    began = time.perf_counter()
    system = System(principals=principals, components=servers(1000, 100), flows=chain(1000), access=rows)
    assert time.perf_counter() - began < HANGS
    found = in_time(system)
    assert not [t for t in found.threats if t.principal]  # to see is not to send


def test_a_principal_without_rows_costs_and_finds_nothing() -> None:
    alone = tuple(Principal(id=f"p{i}", kind="customer") for i in range(500))
    system = System(
        principals=(*EVE, *alone), components=servers(100), access=(Access(principal="eve", on="c0", can=("query",)),)
    )
    found = in_time(system)
    assert {t.principal for t in found.threats} | {u.principal for u in found.undecided} <= {"", "eve"}


def tangled(n: int, people: int) -> System:
    """Everybody reaches everything: a cycle of servers in which each is also fed by two others."""
    ends = dict.fromkeys((f"c{i}", f"c{j % n}") for i in range(n) for j in (i + 1, i * 7 + 3, i * 3 + 5) if i != j % n)
    who = tuple(Principal(id=f"p{i}", kind="customer") for i in range(people))
    rows = tuple(Access(principal=p.id, on=f"c{i}", can=("query", "see_score")) for i, p in enumerate(who))
    return System(principals=who, components=servers(n), flows=tuple(Flow(from_=a, to=b) for a, b in ends), access=rows)


def test_in_a_tangle_nothing_is_asked_a_thousand_times() -> None:
    """Of a way in of hundreds of flows a dozen are asked about, the nearest; whoever waits for the same shares the list."""
    system = tangled(120, 10)
    found = in_time(system)
    waiting = [u for u in found.undecided if u.rule == "EV-09"]
    assert len(waiting) == 120 * 10
    assert {len(u.questions) for u in waiting} == {MOST_ASKED}
    assert len({id(u.questions) for u in waiting}) <= 120
    into = {flow.id for flow in system.flows if flow.to == "c0"}
    first = next(u for u in waiting if u.element == "c0")
    assert {path.removesuffix(".transforms") for path in first.questions[: len(into)]} == into


def test_what_is_asked_about_goes_on_where_the_answers_stopped() -> None:
    """Every question of a long way in comes up: the next ones once the first are answered, and one yes settles it."""
    system, asked = tangled(30, 1), []
    while True:
        found = derive(system)
        waiting = next((u for u in found.undecided if u.id == "EV-09@c0#p0"), None)
        if waiting is None:
            break
        asked += waiting.questions
        for path in waiting.questions:
            system = system.replace_fact(path, ("log",))
    assert sorted(asked) == sorted(f"{flow.id}.transforms" for flow in system.flows)
    assert "EV-09@c0#p0" not in {t.id for t in found.threats}
    last = system.replace_fact(asked[-1], ("resize",))
    assert "EV-09@c0#p0" in {t.id for t in derive(last).threats}


def test_the_work_does_not_grow_with_the_product_of_people_and_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: facts of flows are compared once for all components and principals."""
    counts = []
    for people in (2, 20):
        judged = 0
        before = Path.judge

        def counted(self: Path, scene: Scene, before: Any = before) -> Verdict:
            nonlocal judged
            judged += self.path == "transforms"
            found: Verdict = before(self, scene)
            return found

        system = tangled(60, people)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "judge", counted)
            derive(system)
        counts.append((judged, len(system.flows)))
    assert all(judged <= flows for judged, flows in counts)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_search_for_cycles_of_garbage_is_left_as_it_was(enabled: bool) -> None:
    broken = dataclasses.replace(catalogue()[0], applies_when=None)  # type: ignore[arg-type]
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        derive(tangled(3, 1))
        assert gc.isenabled() is enabled
        with pytest.raises(AttributeError):
            derive(tangled(3, 1), [broken])
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()


def test_a_description_of_that_size_loads_and_a_bomb_does_not() -> None:
    lines = ["casemate: 1", "system: {name: large}", "components:"]
    lines += [
        f"  - {{id: c{i}, kind: server, owner: team, model: {{output: score}}, artifact: {{signed: no}}}}" for i in range(1000)
    ]
    lines += [
        "flows:",
        *(f"  - {{from: c{i % 1000}, to: c{(i * 7 + i // 1000 + 1) % 1000}, channel: https, id: f{i}}}" for i in range(5000)),
    ]
    assert len(loads("\n".join(lines)).flows) == 5000
    bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    bomb += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    began = time.perf_counter()
    with pytest.raises(BadSystem, match="expands to more than"):
        loads("\n".join(bomb))
    with pytest.raises(BadSystem, match="is larger than"):
        loads(b"#" * 50_000_000)
    assert time.perf_counter() - began < HANGS
