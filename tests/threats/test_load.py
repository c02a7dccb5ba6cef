"""A description is read whole or refused whole, with every problem, its file and its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.core.errors import BadSystem
from casemate.core.system import NO, UNKNOWN, YES, RateLimit
from casemate.threats.load import load, loads
from casemate.threats.nodes import MAX_BYTES

HEAD = "casemate: 1\nsystem: {name: x}\n"
FULL = """\
casemate: 1
system:
  name: cheques
  task: multiclass
  modality: image
  decision: {automated: yes, reversible: no, human_review: none}
  target:
    component: api
    factory: "cheques:target"
    data: "cheques:holdout"
    goal: {kind: becomes, label: 9}
    within: {kind: ball, norm: linf, radius: 0.15}
    attacks: {evasion.pgd: {steps: 40}}
  prices: {currency: EUR, per_1000_queries: 1.5}
zones: [{id: web, trust: public}]
principals: [{id: customer, kind: customer, zone: web, count: 1e3}]
assets: [{id: verdict, kind: decision, value: {I: 3}, personal: no}]
components:
  - id: api
    kind: server
    holds: [verdict]
    model: {output: {value: score, source: measured}, differentiable: unknown}
    provenance: {parent: no}
    endpoint: {auth: key, rate_limit: {per: day, n: 100, key: account}, verbose_errors: false}
flows: [{from: customer, to: api, transforms: [resize]}]
access:
  - {principal: customer, on: api, can: [query, see_score], budget: {queries_per_day: 50, days: 7}}
"""


def problems(text: str | bytes, **more: str) -> list[str]:
    with pytest.raises(BadSystem) as caught:
        loads(text, **more)
    return [str(problem) for problem in caught.value.problems]


def one(text: str | bytes) -> str:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


def test_reads_everything() -> None:
    system = loads(FULL)
    api = system.component("api")
    assert system.fact("system.decision.reversible").value is NO
    assert system.principals[0].count == 1000
    assert api.provenance is not None
    assert api.provenance.parent == "none"
    assert api.endpoint is not None
    assert api.endpoint.rate_limit == RateLimit(per="day", n=100, key="account")
    assert api.endpoint.verbose_errors is NO
    assert api.model is not None
    assert api.model.differentiable is UNKNOWN
    assert str(system.fact("api.model.output")) == "api.model.output = score (measured)"
    binding = system.binding("api")
    assert binding is not None
    assert binding.within == {"kind": "ball", "norm": "linf", "radius": 0.15}
    assert binding.attacks == {"evasion.pgd": {"steps": 40}}
    assert system.place("api.endpoint.rate_limit.n") == ("<text>", 24)
    assert system.place("access(customer, api)") == ("<text>", 27)


def test_reads_json_too() -> None:
    assert loads('{"casemate": 1, "system": {"name": "x"}, "zones": [{"id": "a"}]}').zones[0].id == "a"


@pytest.mark.parametrize(
    ("word", "value"), [("yes", YES), ("True", YES), ("no", NO), ("false", NO), ("unknown", UNKNOWN)]
)
def test_words_for_facts(word: str, value: object) -> None:
    assert loads(HEAD + f"assets: [{{id: a, personal: {word}}}]").assets[0].personal is value


def test_unknown_is_the_same_as_left_out() -> None:
    text = (
        HEAD + "components: [{id: c, kind: server, decision: {on_error: unknown}, endpoint: {cost_per_call: unknown}}]"
    )
    component = loads(text).component("c")
    assert component.decision is not None
    assert component.decision.on_error is None
    assert component.endpoint is not None
    assert component.endpoint.cost_per_call is None


def test_on_is_a_word_and_not_a_bool() -> None:
    text = HEAD + "principals: [{id: p}]\ncomponents: [{id: c}]\naccess:\n- principal: p\n  on: c\n  can: [query]\n"
    assert loads(text).access[0].on == "c"


def test_all_problems_at_once_each_with_its_line() -> None:
    text = (
        FULL.replace("kind: server", "kind: servre")
        .replace("auth: key", "auht: key")
        .replace("holds: [verdict]", "holds: [verdicts]")
        .replace("on: api", "on: apj")
    )
    found = problems(text)
    assert [p.split(": ")[0] for p in found] == ["<text>:20", "<text>:21", "<text>:24", "<text>:27"]
    assert "did you mean server?" in found[0]
    assert "did you mean 'verdict'?" in found[1]
    assert "unknown key (did you mean 'auth'?)" in found[2]
    assert "did you mean 'api'?" in found[3]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("- 1", "expected a mapping"),
        ("[", "yaml"),
        (b"a: 1\nb: \xff", ":2: file: is not UTF-8"),
        (b"x" * (MAX_BYTES + 1), "is larger than"),
        ("a: &a [*a]", "refers to itself"),
        ("a: *b", "undefined alias|comes later"),
        ("[" * 100 + "]" * 100, "nested deeper"),
        (HEAD + "---\n" + HEAD, "more than one document"),
        (HEAD + "zones: []\nzones: []", "stated twice; first on line 3"),
        (HEAD + "? [a]\n: 1", "a key must be a word"),
        (HEAD + "zones: !!python/object/apply:os.system [x]", "tags are not read"),
        (HEAD + "zones: 3", "expected a list"),
        (HEAD + "zones: [3]", "expected a mapping"),
        (HEAD + "zones: {id: a}", "expected a list"),
        ("casemate: 2\nsystem: {name: x}", "casemate: 1"),
        ("casemate: 1", "expected a mapping with at least a name"),
        (HEAD + "assets: [{id: a, personal: maybe}]", "expected yes, no, unknown"),
        (HEAD + "assets: [{id: a, value: {I: 5}}]", "expected 0, 1, 2, 3, 4"),
        (HEAD + "assets: [{id: a, kind: {value: model, source: guessed}}]", "expected asserted, imported, measured"),
    ],
)
def test_refuses(text: str | bytes, told: str) -> None:
    assert re.search(told, one(text))


def test_an_alias_bomb_costs_nothing() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "expands to more than" in one("\n".join(lines))


def test_harmless_aliases_are_read() -> None:
    text = HEAD + "zones: [&z {id: a, trust: public}]\nassets: [{id: b, value: &v {I: 1}}, {id: c, value: *v}]"
    assert loads(text).assets[1].value == loads(text).assets[0].value


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text(alphabet="abc:-[]{}&*!?#|>'\"\n ,", max_size=60).map(str.encode)))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(BadSystem):
        loads(data)


class TestOverlays:
    BASE = FULL

    def write(self, tmp_path: Path, **files: str) -> Path:
        for name, text in {"base": self.BASE, **files}.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return tmp_path

    def test_merges_by_identity(self, tmp_path: Path) -> None:
        over = """\
extends: base.yaml
system: {name: shown, target: {within: {radius: 0.3}}}
components: [{id: api, model: {output: label}}, {id: log, kind: log_store}]
access: [{principal: customer, on: api, can: [query, see_label]}]
"""
        system = load(self.write(tmp_path, over=over) / "over.yaml")
        assert (system.name, system.task) == ("shown", "multiclass")
        assert [c.id for c in system.components] == ["api", "log"]
        assert str(system.fact("api.model.output")) == "api.model.output = label (asserted)"
        assert system.access[0].can == ("query", "see_label")
        assert system.access[0].budget is not None
        assert system.target[0].within == {"kind": "ball", "norm": "linf", "radius": 0.3}
        assert system.place("api.model.output")[0].endswith("over.yaml")
        assert system.place("api.endpoint.auth")[0].endswith("base.yaml")
        assert system.folder == str(tmp_path)

    def test_removes(self, tmp_path: Path) -> None:
        over = "extends: base.yaml\naccess: [{principal: customer, on: api, remove: yes}]\n"
        over += "flows: [{id: customer->api, remove: yes}]\n"
        system = load(self.write(tmp_path, over=over) / "over.yaml")
        assert (system.access, system.flows) == ((), ())

    def test_removing_what_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        over = "extends: base.yaml\nzones: [{id: wbe, remove: yes}]\n"
        with pytest.raises(BadSystem, match=r"over\.yaml:2: zones\.remove: there is no wbe"):
            load(self.write(tmp_path, over=over) / "over.yaml")

    def test_a_cycle_is_found(self, tmp_path: Path) -> None:
        self.write(tmp_path, a="extends: b.yaml", b="extends: a.yaml")
        with pytest.raises(BadSystem, match="leads back to itself"):
            load(tmp_path / "a.yaml")

    def test_a_missing_base_is_located(self, tmp_path: Path) -> None:
        self.write(tmp_path, a="system: {}\nextends: nowhere.yaml")
        with pytest.raises(BadSystem, match=r"a\.yaml:2: extends: there is no file"):
            load(tmp_path / "a.yaml")

    def test_shared_parts_are_included_and_the_file_itself_has_the_last_word(self, tmp_path: Path) -> None:
        self.write(
            tmp_path,
            zones="zones: [{id: a, trust: public}, {id: b, trust: corp}]",
            people="principals: [{id: eve, kind: customer, zone: a}]",
            own="casemate: 1\nincludes: [zones.yaml, people.yaml]\nsystem: {name: x}\nzones: [{id: b, trust: prod}]",
        )
        system = load(tmp_path / "own.yaml")
        assert [(z.id, z.trust) for z in system.zones] == [("a", "public"), ("b", "prod")]
        assert system.place("eve") == (str(tmp_path / "people.yaml"), 1)

    def test_two_included_files_that_disagree_are_both_named(self, tmp_path: Path) -> None:
        own = "casemate: 1\nincludes: [one.yaml, two.yaml]\nsystem: {name: x}"
        self.write(tmp_path, one="zones: [{id: a, trust: public}]", two="\nzones: [{id: a, trust: corp}]", own=own)
        with pytest.raises(BadSystem, match=r"two\.yaml:2: trust: two included files disagree: 'public' in .*one\.yaml:1, 'corp'"):
            load(tmp_path / "own.yaml")

    def test_every_include_that_cannot_be_read_is_told(self, tmp_path: Path) -> None:
        own = "casemate: 1\nincludes: [gone.yaml, own.yaml, [x], lost.yaml]\nsystem: {name: x}"
        self.write(tmp_path, own=own)
        with pytest.raises(BadSystem) as caught:
            load(tmp_path / "own.yaml")
        told = str(caught.value)
        assert "'gone.yaml'" in told and "'lost.yaml'" in told and "leads back to itself" in told and "['x']" in told

    def test_a_folder_means_its_system_file(self, tmp_path: Path) -> None:
        (tmp_path / "system.yaml").write_text(FULL)
        assert load(tmp_path) == loads(FULL)

    def test_a_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(BadSystem, match="cannot be read"):
            load(tmp_path / "none.yaml")
