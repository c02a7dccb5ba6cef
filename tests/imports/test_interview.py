"""The interview: whatever a rule asks can be answered, the answer is written where it belongs, and nothing else moves."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from casemate.app.init import init, skeleton
from casemate.core.errors import UsageError
from casemate.imports.interview import Ask, answered, asks
from casemate.threats.load import loads

SERVER = skeleton({"name": "s", "task": "binary", "modality": "image", "caller": "customer", "on_device": "no"})
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
            if ask.path.endswith(".zone") and answer in ("partner", "user_device", "corp", "research"):
                with pytest.raises(UsageError, match="no zone of trust"):
                    answered(text, system, ask, answer)
                continue
            new = answered(text, system, ask, answer)
            loads(new)
            rest = iter(new)
            if not ask.path.startswith("access"):  # those move a word from one list to another
                assert all(char in rest for char in text), (ask.path, answer)  # a subsequence: nothing is lost


def test_what_was_answered_with_unknown_comes_last_and_is_known_to_the_file() -> None:
    system = loads(SERVER)
    first = next(a for a in asks(system) if a.path == "model.endpoint.auth")
    text = answered(SERVER, system, first, "unknown")
    after = asks(loads(text))
    assert first.path in [a.path for a in after if a.asked]
    assert [a.asked for a in after] == sorted(a.asked for a in after)


@pytest.mark.parametrize(("path", "answer", "told"), [
    ("model.endpoint.rate_limit", "many", "is no limit"),
    ("model.provenance.parent.public", "maybe", "allowed: yes, no, none, unknown"),
    ("access(caller, model): see_label", "perhaps", "allowed: yes, no, unknown"),
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
    ask = next(a for a in asks(system) if a.path == "model.endpoint.rate_limit")
    found = loads(answered(SERVER, system, ask, answer)).component("model").endpoint.rate_limit
    assert (found.per, found.n, found.key) == limit


def run(path: Path, *args: str, input: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(init, [str(path), *args], input=input, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, result.output


def test_the_interview_stops_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "system.yaml"
    code, out = run(path, "--ask", input="shop\nimage\nbinary\ncustomer\nno\nyes\n?\nbogus\nq\n")
    assert code == 0 and "decides " in out and "'bogus' is no" in out
    assert loads(path.read_text()).access[0].can == ("query", "see_label")
    open_ = len(asks(loads(path.read_text())))
    _, out = run(path, "--ask", input="300 an hour\nq\n")  # goes on with the question it stopped at
    assert loads(path.read_text()).component("model").endpoint.rate_limit.n == 300
    assert len(asks(loads(path.read_text()))) < open_


def test_unknown_is_not_asked_again_unless_wished(tmp_path: Path) -> None:
    path = tmp_path / "system.yaml"
    run(path, "--defaults")
    run(path, "--ask", input="\n" * 60)
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
