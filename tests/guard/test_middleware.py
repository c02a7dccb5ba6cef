"""The guard, called as a server would call it."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from casemate.controls.service.labels_only import LabelsOnly
from casemate.controls.service.query_budget import QueryBudget
from casemate.controls.service.round_scores import RoundScores
from casemate.core.control import ControlInfo
from casemate.core.errors import UsageError
from casemate.guard import Accounts, Guard, Hosted, Limits, Schema

from .asgi import INFER, App, acall, call, key, reply, request


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def events():
    return []


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def guard(events, clock):
    def make(app=None, *controls, **options):
        options = {"sink": events.append, "clock": clock, "wall": clock, **options}
        return Guard(app or App(), controls=controls, **options)

    return make


def budget(rows=10, mode="enforce", **options):
    return Hosted(control=QueryBudget(rows=rows, per="minute", parts=6), mode=mode, **options)


# -- admission
def test_a_request_goes_through_untouched(guard, events):
    app = App()
    sent = json.dumps(request(3)).encode()
    got = call(guard(app, budget()), sent)
    assert (got.status, got.json) == (200, reply())
    assert app.got == [sent]
    (event,) = events
    assert event["action"] == "admit"
    assert event["rows"] == 3
    assert event["account"] == "anonymous"


def test_rows_are_counted_and_a_refusal_consumes_nothing(guard, events, clock):
    app = App()
    host = guard(app, budget(10))
    assert call(host, request(7)).status == 200
    refused = call(host, request(4))
    assert refused.status == 429
    assert refused.headers[b"retry-after"] == b"70", "the seven rows of part 0 count until part 7 begins"
    assert call(host, request(3)).status == 200, "the refused four were not counted"
    assert len(app.got) == 2
    assert events[1]["action"] == "refuse"
    assert events[1]["control"] == "service.query_budget"
    assert events[1]["threats"] == ["EV-02", "EV-03", "EX-01", "AV-01"]
    clock.now = 70.0
    assert call(host, request(4)).status == 200


@pytest.mark.parametrize("first", [1, 4, 9])
@pytest.mark.parametrize("second", [2, 6, 10])
def test_whoever_waits_as_told_gets_in(guard, clock, first, second):
    host = guard(None, budget(10))
    for _ in range(2):
        call(host, request(first))
        clock.now += 13.7
    got = call(host, request(second))
    if got.status == 429:
        clock.now += int(got.headers[b"retry-after"])
        assert call(host, request(second)).status == 200


def test_more_rows_than_ever_fit_are_told_so(guard):
    got = call(guard(None, budget(10)), request(11))
    assert got.status == 413
    assert b"retry-after" not in got.headers


def test_a_refusal_by_one_control_costs_nothing_at_the_others(guard):
    host = guard(None, budget(10), Hosted(control=QueryBudget(rows=2, per="second")))
    assert call(host, request(3)).status == 413
    assert host._states[0] == host.controls[0].control.start


def test_accounts_are_separate_and_keys_are_checked(guard, events):
    accounts = Accounts(keys=(key("alice"), key("bob")), anonymous="refuse")
    host = guard(None, budget(2), account=accounts)
    for name in (b"alice", b"bob"):
        assert call(host, request(2), headers=[(b"x-api-key", name)]).status == 200
        assert call(host, request(2), headers=[(b"x-api-key", name)]).status == 429
    assert call(host, headers=[(b"x-api-key", b"mallory")]).status == 401
    assert call(host).status == 401
    assert call(host, headers=[(b"x-api-key", b"alice"), (b"X-Api-Key", b"bob")]).status == 401
    assert len({e["account"] for e in events}) == 3


def test_without_known_keys_a_header_opens_no_fresh_budget(guard):
    host = guard(None, budget(2))
    codes = [call(host, request(2), headers=[(b"x-api-key", b"k%d" % i)]).status for i in range(3)]
    assert codes == [200, 429, 429]


def test_trusted_headers_and_bearer_tokens(guard):
    host = guard(None, budget(2), account=Accounts(header="Authorization", trust=True))
    codes = [call(host, request(2), headers=[(b"authorization", t)]).status for t in (b"Bearer a", b"bearer a ", b"b")]
    assert codes == [200, 429, 200]


@pytest.mark.parametrize("name", [b"a\r\nx-evil: 1", b"\xff\xfe", b"A" * 100_000, b'","action":"admit', b"\x00"])
def test_hostile_keys_go_nowhere(guard, events, name):
    host = guard(None, budget(2), account=Accounts(trust=True))
    assert call(host, request(2), headers=[(b"x-api-key", name)]).status == 200
    got = call(host, request(2), headers=[(b"x-api-key", name)])
    assert got.status == 429
    told = json.dumps(events) + repr(got.messages)
    assert "evil" not in told
    assert name.decode("latin-1") not in told or len(name) < 2
    assert all(len(e["account"]) == 24 for e in events)


def test_events_hold_no_secret(guard, events):
    secret = "s3cr3t-key"
    host = guard(App(status=500), budget(1), LabelsOnly(), account=Accounts(keys=(key(secret),)))
    headers = [(b"x-api-key", secret.encode())]
    for body in (request(), b"{" + secret.encode(), {"inputs": secret}, request()):
        call(host, body, headers=headers)
    call(host, path=f"/{secret}", headers=headers)
    call(host, headers=[(b"x-api-key", secret.encode() + b"x")])
    told = json.dumps(events)
    assert len(events) >= 6
    assert secret not in told
    assert key(secret) not in told, "an unsalted hash would let anybody confirm a guess"


def test_shadow_reports_and_refuses_nobody(guard, events):
    host = guard(None, budget(2, mode="shadow", threats=("EV-03@api#customer",)))
    assert [call(host, request(2)).status for _ in range(3)] == [200, 200, 200]
    shadow = [{"control": "service.query_budget", "threats": ["EV-03@api#customer"]}]
    assert [e.get("would_refuse") for e in events] == [None, shadow, shadow]


def test_off_is_off(guard):
    host = guard(None, budget(1, mode="off"), Hosted(control=LabelsOnly(), mode="off"))
    assert [call(host).json for _ in range(2)] == [reply(), reply()]


def test_concurrent_requests_never_overspend(guard):
    app = App()
    host = guard(app, budget(10))

    async def rush():
        return await asyncio.gather(*(acall(host, request(3)) for _ in range(40)))

    codes = [got.status for got in asyncio.run(rush())]
    assert codes.count(200) == 3
    assert len(app.got) == 3


# -- what is refused before anybody is asked
BAD_BODIES = [
    b"", b"null", b"[]", b"{}", b"{", b"\xff\xfe{", '{"inputs":[]}'.encode("utf-16"), b'{"inputs":[1]}',
    b"[" * 100_000,
    b'{"inputs":[{"shape":[1,2],"data":[1,2]}],"inputs":[{"shape":[9,2],"data":[1,2]}]}',
    b'{"inputs":[{"shape":[1,2],"shape":[2,1],"data":[1,2]}]}',
    b'{"inputs":[{"shape":[1,2],"data":[1,2,3,4]}]}',
    b'{"inputs":[{"shape":[-1,-2],"data":[1,2]}]}',
    b'{"inputs":[{"shape":[1.0,2],"data":[1,2]}]}',
    b'{"inputs":[{"shape":[true,2],"data":[1,2]}]}',
    b'{"inputs":[{"shape":[1,2],"data":[1,[2]]}]}',
    b'{"inputs":[{"shape":[1,1],"data":[{"a":[1,2,3]}]}]}',
    b'{"inputs":[{"shape":[1,2],"data":[1,NaN]}]}',
    b'{"inputs":[{"shape":[1,784],"datatype":"FP32","parameters":{"binary_data_size":3136}}]}',
    b'{"inputs":[{"shape":[1,1],"data":[1]}],"instances":[1,2,3]}',
    b'{"inputs":[{"shape":[1,40],"data":[' + b",".join([b"1"] * 41) + b"]}]}",
    b'{"inputs":[{"shape":[' + b"9" * 5000 + b'],"data":[1]}]}',
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_malformed_bodies_reach_nothing(guard, events, body):
    app = App()
    got = call(guard(app, budget()), body)
    assert got.status == 400
    assert not app.got
    assert events[0]["action"] == "malformed"


def test_huge_bodies_are_cut_off(guard, events):
    app = App()
    host = guard(app, budget(), limits=Limits(body=1000))
    assert call(host, headers=[(b"content-length", b"1001")]).status == 413
    assert call(host, headers=[(b"content-length", b"-1")]).status == 413
    assert call(host, headers=[(b"content-length", b"9" * 9000)]).status == 413
    assert call(host, chunks=[b"x" * 600] * 3).status == 413
    assert not app.got
    assert {e["action"] for e in events} == {"too_large"}


def test_a_body_in_pieces_arrives_whole(guard):
    app = App()
    data = json.dumps(request(2)).encode()
    assert call(guard(app, budget()), chunks=[data[:5], b"", data[5:]]).status == 200
    assert app.got == [data]


def test_a_caller_that_dawdles_or_leaves(guard, events):
    host = guard(None, budget(), limits=Limits(seconds=0.02))

    async def dawdle():
        sent = []

        async def receive():
            await asyncio.sleep(5)

        async def send(message):
            sent.append(message)

        await host({"type": "http", "method": "POST", "path": INFER, "headers": []}, receive, send)
        return sent

    assert asyncio.run(dawdle())[0]["status"] == 408
    assert call(host, chunks=[]).status == 0
    assert [e["action"] for e in events] == ["too_slow"]


def test_compressed_requests_are_refused(guard):
    assert call(guard(None, budget()), headers=[(b"content-encoding", b"gzip")]).status == 415


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/health/live", 200), ("GET", "/v2/models/m", 200), ("POST", "/v2/models/m", 405),
        ("GET", INFER, 405),
        ("POST", "/v2/models/m/infer/", 404), ("POST", "/admin", 404), ("POST", "/v2/models/a/b/infer", 404),
        ("POST", "/V2/models/m/infer", 404), ("PUT", INFER, 405), ("POST", "//v2/models/m/infer", 404),
    ],
)  # fmt: skip
def test_what_is_not_named_reaches_nothing(guard, method, path, status):
    app = App()
    assert call(guard(app, budget()), method=method, path=path).status == status
    assert bool(app.got) == (status == 200)


def test_web_sockets_are_closed_and_lifespan_passes(guard):
    app = App()
    host, sent = guard(app, budget()), []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    asyncio.run(host({"type": "websocket", "path": INFER, "headers": []}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert not app.scopes
    asyncio.run(host({"type": "lifespan"}, receive, send))
    assert app.scopes == [{"type": "lifespan"}]


# -- answers
def test_labels_only_shows_the_label_and_the_model_and_nothing_else(guard):
    got = call(guard(App(chunks=5), LabelsOnly()))
    label = {"name": "label", "shape": [1], "datatype": "INT64", "data": [2]}
    assert got.json == {"model_name": "m", "outputs": [label]}
    assert b"etag" not in got.headers


def test_scores_are_rounded_by_the_very_control_that_was_assessed(guard):
    control = RoundScores(digits=2)
    got = call(guard(App(body=reply(2)), control))
    scores = got.json["outputs"][1]
    assert scores["data"] == [0.12, 0.2, 0.68] * 2
    assert scores["shape"] == [2, 3]
    assert [o["name"] for o in got.json["outputs"]] == ["label", "scores"]


def test_json_columns(guard):
    schema = Schema(kind="json", label="prediction", scores="probabilities")
    app = App(body={"prediction": [1, 0], "probabilities": [[0.123, 0.877], [0.9, 0.1]], "debug": 1})
    host = guard(app, budget(3), RoundScores(digits=1), schema=schema)
    assert call(host, {"instances": [[1], [2]]}).json == {
        "prediction": [1, 0],
        "probabilities": [[0.1, 0.9], [0.9, 0.1]],
    }
    assert call(host, {"instances": [[1], [2]]}).status == 429
    assert call(host, {"instances": [[1]], "inputs": [[1], [2]]}).status == 400
    assert call(host, {"instances": {"a": 1}}).status == 400


def test_a_raw_request_is_one_row_and_is_not_read(guard):
    host = guard(App(body={"label": "pdf", "scores": [0.5]}), budget(1), LabelsOnly(), schema=Schema(kind="raw"))
    assert call(host, b"%PDF-1.7\xff").json == {"label": "pdf"}
    assert call(host, b"%PDF-1.7\xff").status == 429


BAD_ANSWERS = [
    b"not json", b"[]", b"{}", b'{"outputs":[]}', b'{"outputs":[{"name":"scores","shape":[1,3],"data":[1,2]}]}',
    b'{"outputs":[{"name":"scores","shape":[1],"data":[NaN]}]}',
    b'{"outputs":[{"name":"other","shape":[1],"data":[1]}]}',
    b'{"outputs":[{"name":"label","shape":[1],"data":[{"scores":[0.1]}]}]}',
    b'{"outputs":[{"name":"label","shape":[1,3],"data":[0.1,0.2,0.7]}]}',
    b'{"outputs":[{"name":"label","shape":[1],"data":[1]},{"name":"label","shape":[1],"data":[0.1]}]}',
]  # fmt: skip


@pytest.mark.parametrize("body", BAD_ANSWERS, ids=range(len(BAD_ANSWERS)))
def test_an_answer_that_cannot_be_edited_is_not_shown(guard, events, body):
    got = call(guard(App(body=body), LabelsOnly()))
    assert got.status == 502
    assert b"0.1" not in got.body
    assert [e["action"] for e in events] == ["admit", "edit_failed"]
    assert events[1]["control"] == "service.labels_only"


def test_what_is_not_json_passes_only_if_the_policy_says_so(guard):
    plain = App(body=b"<html>", headers=((b"content-type", b"text/html"),))
    assert call(guard(plain, LabelsOnly())).status == 502
    assert call(guard(plain, LabelsOnly(), unreadable="pass")).body == b"<html>"
    zipped = App(headers=((b"content-type", b"application/json"), (b"content-encoding", b"gzip")))
    assert call(guard(zipped, LabelsOnly(), unreadable="pass")).status == 502
    assert call(guard(App(), LabelsOnly(), limits=Limits(answer=50))).status == 502


def test_what_a_failing_server_says_stays_inside(guard):
    app = App(body=b'{"trace":"scores=[0.12345]"}', status=500)
    got = call(guard(app, LabelsOnly()))
    assert (got.status, got.json) == (500, {"error": "the model server answered 500"})
    assert call(guard(app, budget())).json == {"trace": "scores=[0.12345]"}, "without an edit there is nothing to keep in"


def test_no_side_door_for_the_application(guard):
    app = App()
    call(guard(app, LabelsOnly()))
    assert app.scopes[0]["extensions"] == {}


def test_an_application_that_raises_or_sends_nothing(guard):
    async def raises(scope, receive, send):
        raise RuntimeError("model")

    async def silent(scope, receive, send):
        pass

    async def odd(scope, receive, send):
        await send({"type": "http.response.pathsend", "path": "/etc/passwd"})

    with pytest.raises(RuntimeError, match="model"):
        call(guard(raises, LabelsOnly()))
    assert call(guard(silent, LabelsOnly())).status == 502
    assert call(guard(odd, LabelsOnly())).status == 502


# -- faults
class Broken:
    """A control that breaks where it is told to."""

    info = ControlInfo(id="service.broken", kind="service", summary="", changes=(), knows=(), threats=("AV-04",))
    start = None

    def __init__(self, where):
        self.where = where

    def admit(self, state, account, rows, now):
        if self.where == "admit":
            raise ZeroDivisionError("secret")
        return state, np.ones(len(rows) + (self.where == "mask"), bool)

    def answer(self, state, response):
        if self.where == "answer":
            raise ZeroDivisionError("secret")
        return response

    def wait(self, state, account, now):
        return 0.0


@pytest.mark.parametrize("where", ["admit", "mask", "answer"])
def test_a_fault_is_closed_unless_told_otherwise(guard, events, where):
    closed = call(guard(None, Broken(where)))
    assert closed.status == 503
    assert b"0.12" not in closed.body
    assert "fault" in [e["action"] for e in events]
    opened = call(guard(None, Broken(where), on_fault="open"))
    assert opened.status == 200
    assert [e["action"] for e in events].count("fault") == 2
    assert "secret" not in json.dumps(events)


def test_open_forgives_faults_of_the_guard_not_of_the_caller(guard):
    assert call(guard(None, budget(), on_fault="open"), b"{").status == 400


def test_a_request_whose_event_cannot_be_written(guard):
    def full(event):
        raise OSError("disk full")

    app = App()
    host = guard(app, budget(1), sink=full)
    assert call(host).status == 503
    assert not app.got
    assert call(guard(app, budget(1), sink=full, on_fault="open")).status == 200


@pytest.mark.parametrize("options", [{"on_fault": "no"}, {"unreadable": "no"}])
def test_wrong_options_are_named(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        Guard(App(), controls=[QueryBudget()], **options)


def test_only_service_controls_are_hosted():
    from casemate.controls.pipeline.digest_pin import DigestPin

    with pytest.raises(UsageError, match="not a service control"):
        Guard(App(), controls=[DigestPin()])


def test_a_chatty_string_full_of_numbers_is_read_in_full(guard, events):
    """The quick way of counting must not trip over a list inside a string, nor be fooled by one."""
    text = "[" + "1, " * 50 + "1]"
    body = {"inputs": [{"name": text, "shape": [2], "datatype": "BYTES", "data": [text, f'"{text}"']}]}
    assert call(guard(None, budget()), body).status == 200
    assert events[0]["rows"] == 2
    long = {"inputs": [{"name": "x", "shape": [5, 40], "datatype": "FP32", "data": [[i * 1e-3] * 40 for i in range(5)]}]}
    assert call(guard(None, budget()), long).status == 200
    assert events[1]["rows"] == 5
