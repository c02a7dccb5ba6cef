"""The interview: whatever a rule asks can be answered, the answer is written where it belongs, and nothing else moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from casemate.app.init import init
from casemate.core.errors import UsageError
from casemate.imports.interview import Ask, answered, asks
from casemate.imports.opening import begun, missing, opened, openings, sketched, untaught
from casemate.runs.derived import derived
from casemate.threats.derive import derive
from casemate.threats.load import loads
from casemate.threats.nodes import Node, compose
from casemate.threats.schema import schema


def shaped(**answers: str) -> str:
    """A description begun with these answers to the opening questions; the others are left open."""
    text = begun("s")
    for what, answer in answers.items():
        system = loads(text)
        ask = next(a for a in openings(system) if what in a.path)
        text = opened(text, system, ask, answer)
    return text


SERVER = shaped(modality="image", task="binary", caller="customer", device="no")
# One of each kind of place, with nothing said of any: everything that the catalogue can ask.
WIDE = """\
casemate: 1
system: {name: wide, decision: {automated: yes}}
# a comment that stays
zones: [{id: out, trust: public}, {id: in, trust: prod}]
principals:
  - {id: eve, kind: customer}   # at the end of a line
  - {id: lab, kind: labeller, zone: out}
components:
  - {id: cam, kind: sensor}
  - {id: api, kind: server, zone: in, training: {}}
  - {id: tr, kind: trainer}
  - {id: src, kind: data_source}
  - {id: reg, kind: registry}
  - {id: log, kind: log_store}
  - {id: nb, kind: notebook}
  - {id: deps, kind: dependency_set}
  - {id: act, kind: decision}
  - {id: fb, kind: feedback}
  - {id: fed, kind: federated_client}
flows:
  - {from: eve, to: cam}
  - {from: cam, to: api}
  - {from: src, to: tr}
  - {from: fb, to: tr}
  - {from: fed, to: tr}
  - {from: tr, to: reg}
  - {from: reg, to: api}
  - {from: api, to: act}
  - {from: api, to: log}
access:
  - {principal: eve, on: api, can: [query], unsure: [see_label, see_score, read_weights]}
controls:
  - {id: filter, type: detector, on: api}
"""


def example(ask: Ask) -> str:
    if ask.allowed:
        return ask.allowed[0]
    if "a day" in ask.form:
        return "500 a day"
    return "none" if "none" in ask.form else "3"


@pytest.mark.parametrize("text", [SERVER, WIDE], ids=["skeleton", "wide"])
@pytest.mark.parametrize("pick", ["first", "last"])
def test_every_question_can_be_answered_and_is_then_closed(text: str, pick: str) -> None:
    asked = []
    for _ in range(400):
        open_ = asks(loads(text))
        if not open_:
            break
        ask = open_[0]
        last = pick == "last" and ask.allowed and not ask.path.endswith(".zone")
        answer = ask.allowed[-1] if last else example(ask)
        text = answered(text, loads(text), ask, answer)
        assert ask.path not in [a.path for a in asks(loads(text))], (ask, answer)
        asked.append(ask.path)
    assert not asks(loads(text))
    assert len(asked) == len(set(asked)) and len(asked) > 20


@pytest.mark.parametrize("text", [SERVER, WIDE], ids=["skeleton", "wide"])
def test_every_allowed_answer_is_accepted_and_leaves_the_rest_byte_for_byte(text: str) -> None:
    system = loads(text)
    for ask in asks(system):
        for answer in (*ask.allowed, "unknown") if ask.allowed else (example(ask), "unknown"):
            new = answered(text, system, ask, answer)
            loads(new)
            rest = iter(new)
            if not ask.path.startswith("access"):  # those move a word from one list to another
                assert all(char in rest for char in text), (ask.path, answer)  # a subsequence: nothing is lost


def test_what_was_answered_with_unknown_comes_last_and_is_known_to_the_file() -> None:
    system = loads(SERVER)
    first = next(a for a in asks(system) if a.path == "api.endpoint.auth")
    text = answered(SERVER, system, first, "unknown")
    after = asks(loads(text))
    assert first.path in [a.path for a in after if a.asked]
    assert [a.asked for a in after] == sorted(a.asked for a in after)


@pytest.mark.parametrize(("path", "answer", "told"), [
    ("api.endpoint.rate_limit", "many", "is no limit"),
    ("api.provenance.parent.public", "maybe", "allowed: yes, no, none, unknown"),
    ("access(caller, api): see_label", "perhaps", "allowed: yes, no, unknown"),
    ("assets(decision): I", "9", "allowed: 0, 1, 2, 3, 4, unknown"),
])  # fmt: skip
def test_an_answer_that_fits_nothing_is_refused_with_those_that_do(path: str, answer: str, told: str) -> None:
    system = loads(SERVER)
    ask = next(a for a in asks(system) if a.path == path)
    with pytest.raises(UsageError, match=told):
        answered(SERVER, system, ask, answer)


@pytest.mark.parametrize(("answer", "limit"), [
    ("500 a day", ("day", 500, "account")), ("10 per second per ip", ("second", 10, "ip")), ("7/hour", ("hour", 7, "account")),
])  # fmt: skip
def test_a_rate_limit_in_words(answer: str, limit: tuple[str, int, str]) -> None:
    system = loads(SERVER)
    ask = next(a for a in asks(system) if a.path == "api.endpoint.rate_limit")
    found = loads(answered(SERVER, system, ask, answer)).component("api").endpoint.rate_limit
    assert (found.per, found.n, found.key) == limit


def run(path: Path, *args: str, input: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(init, [str(path), *args], input=input, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, result.output


def test_the_interview_stops_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "system.yaml"
    code, out = run(path, "--ask", input="shop\nimage\nbinary\ncustomer\nno\n\n\n\n\n\n?\nbogus\nq\n")
    assert code == 0 and "decides " in out and "'bogus' is no" in out
    system = loads(path.read_text())
    assert (system.name, system.modality, system.principals[0].kind) == ("shop", "image", "customer")
    first, before = asks(system)[0], path.read_text()  # which one that is, the rules decide
    _, out = run(path, "--ask", input=f"{example(first)}\nq\n")  # goes on with the question it stopped at
    assert first.text in out
    assert path.read_text() == answered(before, system, first, example(first)) != before
    assert first.path not in [a.path for a in asks(loads(path.read_text()))]


def test_unknown_is_not_asked_again_unless_wished(tmp_path: Path) -> None:
    path = tmp_path / "system.yaml"
    run(path, "--defaults")
    run(path, "--ask", input="\n" * 90)
    _, out = run(path, "--ask", input="q\n")
    assert "rate_limit" not in out and "in what period" not in out
    _, out = run(path, "--ask", "--again", input="q\n")
    assert "> " in out


def test_imports_show_what_differs_and_leave_it(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("---\nbase_model: google/mobilenet_v2\npipeline_tag: image-classification\n---\n# A model\n")
    path = tmp_path / "system.yaml"
    code, out = run(path, "--from", str(card), "--no-ask")
    assert code == 0 and "mobilenet_v2" in out
    system = loads(path.read_text())
    served = next(c for c in system.components if c.provenance)
    assert system.sources[f"{served.id}.provenance.parent.ref"] == "imported"
    stated = path.read_text().replace('{value: "google/mobilenet_v2", source: imported}', "our-own").replace(
        "{value: google/mobilenet_v2, source: imported}", "our-own")  # fmt: skip
    assert "our-own" in stated
    path.write_text(stated)
    code, out = run(path, "--from", str(card), "--no-ask")
    assert code == 1 and "DIFFERS" in out and path.read_text() == stated
    code, out = run(path, "--from", str(card), "--no-ask", "--accept", f"{served.id}.provenance.parent.ref")
    assert code == 0 and "replaced, as accepted" in out and "our-own" not in path.read_text()


def test_an_existing_file_is_never_begun_anew_by_accident(tmp_path: Path) -> None:
    path = tmp_path / "system.yaml"
    run(path, "--defaults")
    before = path.read_text()
    with pytest.raises(UsageError, match="--ask goes on with it"):
        run(path, "--no-ask")
    assert path.read_text() == before


# The opening questions -----------------------------------------------------------------------------------------------


def put(text: str, **answers: str) -> str:
    for what, answer in answers.items():
        system = loads(text)
        text = opened(text, system, next(a for a in openings(system) if what in a.path), answer)
    return text


def test_unknown_asserts_nothing() -> None:
    text = shaped(modality="unknown", task="unknown", caller="unknown", device="unknown")
    system = loads(text)
    [who] = system.principals
    assert (system.modality, system.task, who.kind, who.zone) == (None, None, None, "")
    [row] = system.access
    assert row.can == ("query",) and "read_binary" in row.unsure
    assert derive(system).questions
    assert not [a for a in openings(system) if not a.asked and "opening" not in a.path]


@pytest.mark.parametrize(("device", "id", "kind"), [("no", "api", "server"), ("yes", "app", "edge_runtime")])
def test_the_shape_is_what_was_said(device: str, id: str, kind: str) -> None:
    system = loads(shaped(caller="customer", device=device))
    assert system.component(id).kind == kind
    assert ("read_binary" in system.access[0].can) == (device == "yes")
    assert "read_binary" not in system.access[0].unsure
    assert system.fact("caller.zone").value == "outside"
    other = loads(shaped(device=device, caller="customer"))  # in the other order; a server may yet be shipped to somebody
    assert other.access[0].can == system.access[0].can and other.flows == system.flows


def test_feedback_opens_poisoning() -> None:
    before = {t.rule for t in derive(loads(SERVER)).threats} | {q for a in asks(loads(SERVER)) for q in a.threats}
    system = loads(put(SERVER, feedback="yes"))
    assert {(f.from_, f.to) for f in system.flows} >= {("caller", "feedback"), ("feedback", "training"), ("training", "api")}
    assert any(row.on == "feedback" and row.can == ("write_feedback",) for row in system.access)
    after = {t.id for t in derive(system).threats} | {q for a in asks(system) for q in a.threats}
    assert any(id.startswith("PO-") for id in after - before), sorted(after)
    assert "opening(feedback)" not in [a.path for a in openings(system)]


def test_the_other_parts() -> None:
    system = loads(put(SERVER, labels="yes", registry="yes", review="yes"))
    kinds = {c.id: c.kind for c in system.components}
    assert kinds == {"api": "server", "labels": "label_source", "training": "trainer", "registry": "registry", "review": "human_review"}
    assert {(f.from_, f.to) for f in system.flows} >= {
        ("labeller", "labels"), ("labels", "training"), ("training", "api"), ("registry", "api"), ("api", "review"),
    }  # fmt: skip
    assert [a.path for a in openings(system)] == ["opening(feedback)", "opening(data)"]


def test_one_trainer_learns_from_both() -> None:
    system = loads(put(SERVER, feedback="yes", labels="yes"))
    assert [c.id for c in system.components if c.kind == "trainer"] == ["training"]


@pytest.mark.parametrize("caller", ["customer", "data_provider"])  # a provider may send inputs and deliver no record
def test_who_supplies_training_data_is_asked(caller: str) -> None:
    text = shaped(modality="tabular", task="binary", caller=caller, device="no", feedback="no")
    asked = next(a for a in openings(loads(text)) if a.path == "opening(data)")
    assert "deliver training records" in asked.text and not asked.asked
    system = loads(opened(text, loads(text), asked, "yes"))
    assert {(f.from_, f.to) for f in system.flows} >= {("supplier", "records"), ("records", "training"), ("training", "api")}
    assert any(row.on == "records" and row.can == ("inject_data",) for row in system.access)
    found = derive(system)
    waiting = {t.rule for t in found.threats} | {u.rule for u in found.undecided}
    assert "PO-01" in waiting and not untaught(system)
    left = [a.path for a in openings(system)]
    assert "opening(data)" not in left and "opening(labels)" in left  # who labels them is a question of its own


@pytest.mark.parametrize(("answer", "silent"), [("no", True), ("unknown", False)])
def test_no_trainer_and_no_source_is_never_a_silent_pass(tmp_path: Path, answer: str, silent: bool) -> None:
    """Answering no to feedback and labelling left poisoning out, and said nothing."""
    path = tmp_path / "system.yaml"
    _, out = run(path, "--ask", input=f"shop\nimage\nbinary\ncustomer\nno\nno\n{answer}\nno\nno\nno\nq\n")
    said = "no trainer or data source is described for api: whether its training data can be poisoned is not judged"
    assert (f"Note: {said}." in out) != silent
    found = derived(path)[1]
    assert any(said in warning for warning in found.warnings) != silent
    assert any("deliver" in a.text for a in found.system.assumptions)


def test_a_trainer_or_a_record_of_training_speaks_of_the_training_data() -> None:
    bare = "casemate: 1\nsystem: {name: x}\nprincipals: [{id: eve}]\ncomponents: [%s]\nflows: [{from: eve, to: a}%s]\n"
    many = ", ".join(f"{{id: {id}, kind: server}}" for id in "abcdefg")
    assert untaught(loads(bare % (many, ""))).endswith("a, b, c, d, e and 2 more: whether their training data can be poisoned is "
                                                       "not judged")  # fmt: skip
    assert not untaught(loads(bare % ("{id: a, kind: server, training: {sources: []}}", "")))
    taught = bare % ("{id: a, kind: server}, {id: t, kind: trainer, training: {sources: []}}", ", {from: t, to: a}")
    assert not untaught(loads(taught)) and "opening(data)" not in [a.path for a in openings(loads(taught))]


def test_no_and_unknown_are_visible_and_not_asked_again() -> None:
    text = put(SERVER, feedback="no", labels="unknown")
    assert [(a.validity, "feedback" in a.text or "report" in a.text) for a in loads(text).assumptions] == [
        ("confirmed", True), ("unconfirmed", False),
    ]  # fmt: skip
    open_ = {a.path: a.asked for a in openings(loads(text))}
    assert "opening(feedback)" not in open_ and open_["opening(labels)"]
    later = loads(put(text, labels="yes"))
    assert later.assumptions[1].validity == "rejected" and later.component("labels")
    assert "opening(labels)" not in [a.path for a in openings(later)]


def test_a_description_that_has_a_shape_is_not_asked_for_it() -> None:
    assert [a.path for a in openings(loads(WIDE)) if a.path in ("opening(caller)", "opening(device)", "opening(feedback)")] == []
    assert missing(loads(begun("x"))) and not missing(loads(sketched("x")))


def test_ids_that_are_taken_are_left_alone() -> None:
    text = "casemate: 1\nsystem: {name: x}\nzones: [{id: caller}, {id: outside}, {id: api}]\n"
    system = loads(put(text, caller="customer", device="no", feedback="yes"))
    assert system.principals[0].id == "caller-2" and system.component("api-2")


def test_it_ends_anywhere_and_keeps_what_was_said(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    code, out = run(path, "--ask", input="")
    assert code == 0 and not path.exists() and "not written" in out
    code, out = run(path, "--ask", input="\nimage\n")  # the input ends in the middle
    assert code == 0
    system = loads(path.read_text())
    assert (system.name, system.modality, system.task) == ("shop", "image", None)
    assert "no principal is described yet" in out
    _, out = run(path, "--ask", input="?\nq\n")  # goes on with the question it stopped at, and says why
    assert "What does it decide" in out and "chosen by it" in out and "called" not in out


def test_importing_then_asks_for_the_shape(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("---\nbase_model: google/mobilenet_v2\npipeline_tag: image-classification\n---\n# A model\n")
    path = tmp_path / "system.yaml"
    _, out = run(path, "--from", str(card), "--no-ask")
    assert "no principal is described yet: " in out and "can be derived; casemate init" in out and "--ask" in out
    _, out = run(path, "--ask", input="\ncustomer\nq\n")
    assert "Who sends inputs?" in out and "the user's own device" not in out
    [row] = loads(path.read_text()).access
    assert (row.principal, row.on) == ("caller", "api")


def test_the_end_counts_in_words(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    _, out = run(path, "--defaults")
    assert "1 open questions" not in out and "open questions" in out
    assert f" questions left that nobody was asked: casemate init {path} --ask goes on with them." in out


def test_an_unknown_asset_is_not_asked_twice(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SERVER)
    run(path, "--ask", input="\n" * 90)
    text = path.read_text()
    assert "{id: decision, kind: decision, value: {I: unknown}}" in text or "I: unknown" in text
    for flags in ([], ["--again"]):
        _, out = run(path, "--ask", *flags, input="\n" * 120)
        said = [line.split("  (")[0] for line in out.splitlines() if line.endswith("open)")]
        assert len(said) == len(set(said)), sorted(s for s in said if said.count(s) > 1)
    assert not [a.id for a in loads(text).assets if "_" in a.id]


# What is written is what editors accept -----------------------------------------------------------------------------


def as_an_editor_reads(node: Node) -> Any:
    """Plain data by YAML 1.2, where yes and no are words."""
    if node.entries is not None:
        return {key: as_an_editor_reads(value) for key, value in node.entries.items()}
    if node.items is not None:
        return [as_an_editor_reads(item) for item in node.items]
    return node.text if node.text in ("yes", "no") else node.word


@pytest.mark.parametrize("text", [SERVER, WIDE, begun("x")], ids=["server", "wide", "begun"])
@pytest.mark.parametrize("pick", ["first", "last", "unknown"])
def test_the_schema_accepts_every_answer(text: str, pick: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    checker = jsonschema.Draft202012Validator(schema())
    passed: set[str] = set()
    for _ in range(400):
        system = loads(text)
        open_ = [a for a in (*openings(system), *asks(system)) if a.path not in passed and not a.asked]
        if not open_:
            break
        ask = open_[0]
        passed.add(ask.path)
        answer = "unknown" if pick == "unknown" else ask.allowed[-1] if pick == "last" and ask.allowed else example(ask)
        text = opened(text, system, ask, answer)
        assert not list(checker.iter_errors(as_an_editor_reads(compose(text.encode(), "t")))), (ask, answer)
        assert not list(checker.iter_errors(compose(text.encode(), "t").plain())), (ask, answer)
    assert len(passed) > 20
