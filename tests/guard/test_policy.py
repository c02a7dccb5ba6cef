"""The policy file, the server around it, and the replay of its log."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from casemate.controls.service.query_budget import QueryBudget
from casemate.core.errors import BadSystem, UnknownName, UsageError
from casemate.guard import Hosted, Policy, replay, to_logger, to_stream
from casemate.guard.events import read
from casemate.guard.serve import guarded, load_app

from .asgi import INFER, App, call, key, reply, request

GOOD = f"""
guard: 1
app: server:app
account: {{header: X-Key, keys: ["{key("alice")}"], unknown: refuse, salt_env: GUARD_SALT}}
schema: {{kind: v2, row_shape: [2], keep: [id]}}
paths: {{model: ["/v2/models/*/infer"], open: [/v2/health/live]}}
limits: {{body: 4096, seconds: 2}}
on_fault: closed
controls:
  - use: service.query_budget
    params: {{rows: 3, per: day}}
    threats: [EV-03@api#customer]
  - {{use: service.round_scores, mode: shadow, params: {{digits: 1}}}}
  - {{use: service.labels_only, mode: off}}
"""


@pytest.fixture(autouse=True)
def salt(monkeypatch):
    monkeypatch.setenv("GUARD_SALT", "0123456789abcdef")


@pytest.fixture
def write(tmp_path):
    def put(text):
        path = tmp_path / "guard.yaml"
        path.write_text(text)
        return path

    return put


def test_a_policy_becomes_the_same_control_objects(write):
    policy = Policy.read(write(GOOD))
    assert policy.controls[0] == Hosted(control=QueryBudget(rows=3), threats=("EV-03@api#customer",))
    assert [h.mode for h in policy.controls] == ["enforce", "shadow", "off"]
    assert policy.limits.body == 4096
    host = policy.wrap(App(), sink=lambda event: None)
    headers = [(b"x-key", b"alice")]
    assert [call(host, request(3), headers=headers).status for _ in range(2)] == [200, 429]
    assert call(host, headers=[(b"x-key", b"bob")]).status == 401


def test_every_problem_at_once_with_its_line(write):
    text = """guard: 2
on_fault: maybe
acount: {}
account: {keys: [alice]}
limits: {body: -1}
schema: {knd: v2}
controls:
  - use: service.query_bugdet
  - use: service.query_budget
    params: {rows: 0}
  - use: service.round_scores
    params: {digit: 2}
  - use: pipeline.digest_pin
  - {use: service.labels_only, mode: sometimes}
"""
    with pytest.raises(BadSystem) as caught:
        Policy.read(write(text))
    found = {(p.line, p.key) for p in caught.value.problems}
    assert found == {
        (1, "guard"), (2, "on_fault"), (3, "acount"), (4, "account"), (5, "limits"), (6, "schema.knd"),
        (8, "controls[0].use"), (9, "controls[1]"), (12, "controls[2].params.digit"), (13, "controls[3]"),
        (14, "controls[4]"),
    }  # fmt: skip
    told = str(caught.value)
    assert "did you mean account?" in told
    assert "'service.query_budget'" in told
    assert "did you mean digits?" in told
    assert "alice" not in told, "a key pasted in the wrong place is not printed"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "must be a mapping"), ("guard: 1", "at least one control"),
        ("guard: 1\nguard: 1\ncontrols: []", "there twice"), ("a: &a [x]\nb: *a", "aliases are not allowed"),
        ("a: [", "guard.yaml:1"), ("!!python/object:os.system x", "tag"),
        ("guard: 1\ncontrols: [{use: service.labels_only}]\naccount: {salt_env: NOT_SET_HERE}", "not set"),
    ],
)  # fmt: skip
def test_bad_files_say_so(write, text, match):
    with pytest.raises(UsageError, match=match):
        Policy.read(write(text))


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        Policy.read(tmp_path / "none.yaml")


def test_applications_are_found_beside_the_policy(write, tmp_path):
    (tmp_path / "guard_test_app.py").write_text("async def app(scope, receive, send): ...\nvalue = 3\n")
    path = write(GOOD)
    assert guarded(path, "guard_test_app:app", sink=lambda event: None).controls
    with pytest.raises(UnknownName, match="did you mean 'app'"):
        guarded(path, "guard_test_app:ap")
    with pytest.raises(UsageError, match="not callable"):
        guarded(path, "guard_test_app:value")
    with pytest.raises(UsageError, match="cannot be imported"):
        load_app("no_such_module_here:app")
    with pytest.raises(UsageError, match="module:name"):
        load_app("just_a_name")


def test_events_go_to_a_stream_and_to_a_logger(caplog):
    stream = io.StringIO()
    host = Policy.of(
        {"guard": 1, "schema": {"row_shape": [2]}, "controls": [{"use": "service.query_budget", "params": {"rows": 1}}]}
    )
    call(host.wrap(App(), sink=to_stream(stream)))
    assert json.loads(stream.getvalue())["action"] == "admit"
    with caplog.at_level(logging.INFO, logger="casemate.guard"):
        guard = host.wrap(App(), sink=to_logger())
        call(guard)
        call(guard)
    assert [r.levelname for r in caplog.records] == ["INFO", "WARNING"]


def test_a_replay_of_a_log_agrees_with_the_guard_that_wrote_it():
    lines: list[str] = []
    now = [0.0]
    control = QueryBudget(rows=5, per="minute")
    from casemate.guard import Guard

    host = Guard(App(), controls=[control], sink=lambda e: lines.append(json.dumps(e)), clock=lambda: now[0], wall=lambda: now[0])
    codes = []
    for i in range(40):
        codes.append(call(host, request(1 + i % 3)).status)
        now[0] += 7.0
    call(host, b"{")
    found = replay([control], read(iter(lines)))
    assert found.requests == 40
    assert found.refused == {"service.query_budget": codes.count(429)}
    assert 0 < codes.count(429) < 40
    assert found.skipped == 1
    assert found.hit == {"anonymous": codes.count(429)}
    looser = replay([Hosted(control=QueryBudget(rows=50, per="minute"), mode="shadow")], read(iter(lines)))
    assert looser.refused == {"service.query_budget": 0}


def test_a_log_that_cannot_be_trusted_says_so():
    with pytest.raises(UsageError, match="events:2: not a JSON"):
        list(read(iter(['{"action":"admit"}', "{"])))
    backwards = [{"action": "admit", "account": "a", "rows": 1, "ts": ts} for ts in (5.0, 1.0)]
    with pytest.raises(UsageError, match="steps back"):
        replay([QueryBudget()], backwards)


SERVER = f"""
import json
REPLY = json.dumps({reply()!r}).encode()
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(REPLY))]
    await send({{"type": "http.response.start", "status": 200, "headers": headers}})
    await send({{"type": "http.response.body", "body": REPLY}})
"""


def test_a_real_server_end_to_end(write, tmp_path):
    pytest.importorskip("uvicorn")
    (tmp_path / "server.py").write_text(SERVER)
    text = GOOD.replace("mode: shadow", "mode: enforce")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = str(write(text))
    code = f"import sys; from casemate.guard import *; serve({path!r}, port={port}, sink=to_stream(sys.stdout))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ, text=True)
    try:
        codes = [_post(port) for _ in range(5)]
        assert [code for code, _ in codes] == [200, 200, 200, 429, 429]
        assert json.loads(codes[0][1])["outputs"][1]["data"] == [0.1, 0.2, 0.7]
    finally:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    events = [json.loads(line) for line in out.splitlines()]
    assert [e["action"] for e in events] == ["admit"] * 3 + ["refuse"] * 2
    assert events[-1]["threats"] == ["EV-03@api#customer"]


def _post(port):
    url = f"http://127.0.0.1:{port}{INFER}"
    for _ in range(200):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, json.dumps(request()).encode(), {"X-Key": "alice"})) as got:
                return got.status, got.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError("the server did not start")
