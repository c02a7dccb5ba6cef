"""Remote endpoints, against a real server on this machine: both protocols, the cap, the pace, refusals, secrets."""

from __future__ import annotations

import email.utils
import importlib.util
import logging
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from casemate.core.adversary import Need
from casemate.core.errors import BadInput, BudgetSpent, NotGranted, Refused, TargetFailed, UsageError
from casemate.targets.http import HttpTarget
from casemate.targets.wrap import wrap

_spec = importlib.util.spec_from_file_location("casemate_test_server", Path(__file__).with_name("server.py"))
assert _spec and _spec.loader
local = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(local)

SECRET = "s3cr3t-Ab12/9="


@pytest.fixture
def server() -> Iterator[Any]:
    with local.running() as found:
        yield found


class Clock:
    """A clock that only sleep moves."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def x(n: int = 10) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 2))


def json_target(server: Any, **options: Any) -> Any:
    settings = {
        "query_cap": 1000, "pace_per_s": 1e6, "classes": local.CLASSES, "label_path": "predictions.*.label",
        "scores_path": "predictions.*.scores", "timeout_s": 5.0,
    }  # fmt: skip
    return wrap(server.url + "/predict", **{**settings, **options})


# -- protocols -------------------------------------------------------------------------------------------------------
def test_json(server: Any) -> None:
    target = json_target(server, max_batch=4)
    assert target.offers == Need.LABEL | Need.SCORE and target.classes == 3
    response = target.respond(torch.as_tensor(x()))
    np.testing.assert_array_equal(response.label, local.logits(x()).argmax(1))
    np.testing.assert_allclose(response.scores, local.scores(x()))
    assert [request["rows"] for request in server.requests] == [4, 4, 2]
    assert target.model.decided(response.label).tolist() == [local.CLASSES[i] for i in response.label]
    assert target.model.sent == 10
    with pytest.raises(NotGranted, match="has no gradient"):
        target.gradient(x(), np.zeros(10, int), lambda logits, y: logits)


def test_json_labels_only(server: Any) -> None:
    target = json_target(server, scores_path=None)
    assert target.offers == Need.LABEL and target.respond(x()).scores is None


def test_json_one_row_at_a_time_and_scores_by_class(server: Any) -> None:
    target = wrap(
        server.url + "/one", query_cap=10, pace_per_s=1e6, classes=local.CLASSES, batched=False, input_key="row",
        scores_path="result.all", label_path="result.label", body={"version": 3},
    )  # fmt: skip
    np.testing.assert_allclose(target.respond(x(3)).scores, local.scores(x(3)))
    assert len(server.requests) == 3 and server.requests[0]["body"]["version"] == 3
    strange = target.replace(model=HttpTarget(**_again(target.model, classes=("cat", "dog"))))
    with pytest.raises(TargetFailed, match="a score for 'eel', which is none of its classes"):
        strange.respond(x(1))


def _again(model: HttpTarget, **changes: Any) -> dict[str, Any]:
    names = ("url", "query_cap", "pace_per_s", "batched", "input_key", "scores_path", "label_path", "classes")
    return {**{name: getattr(model, name) for name in names}, **changes}


def test_json_frames_go_as_records(server: Any) -> None:
    target = wrap(
        server.url + "/records", query_cap=10, pace_per_s=1e6, classes=local.CLASSES, input_key="data.rows", label_path="labels.*"
    )
    table = pd.DataFrame(x(3), columns=["a", "b"])
    assert target.respond(table).label.tolist() == local.logits(x(3)).argmax(1).tolist()


def test_v2(server: Any) -> None:
    target = wrap(
        server.url, protocol="v2", model="m", model_version="2", query_cap=100, pace_per_s=1e6, output="logits", input_key="in"
    )
    response = target.respond(x().astype(np.float32))
    np.testing.assert_allclose(response.logits, local.logits(x().astype(np.float32)))
    np.testing.assert_array_equal(response.label, response.logits.argmax(1))
    sent = server.requests[0]
    assert sent["path"] == "/v2/models/m/versions/2/infer"
    assert sent["body"]["inputs"][0]["datatype"] == "FP32" and sent["body"]["inputs"][0]["shape"] == [10, 2]
    assert sent["body"]["inputs"][0]["name"] == "in"
    words = wrap(
        server.url + "/v2/models/m/infer", protocol="v2", query_cap=9, pace_per_s=1e6, label_path="word", classes=local.CLASSES,
        datatype="FP64",
    )  # fmt: skip
    assert words.offers == Need.LABEL
    np.testing.assert_array_equal(words.respond(x(4)).label, local.logits(x(4)).argmax(1))
    assert server.requests[-1]["body"]["inputs"][0]["datatype"] == "FP64"
    missing = wrap(server.url, protocol="v2", model="m", query_cap=9, pace_per_s=1e6, label_path="nowhere")
    with pytest.raises(TargetFailed, match="no output 'nowhere'"):
        missing.respond(x(1))


def test_a_row_gets_the_same_answer_in_any_batch(server: Any) -> None:
    answers = [json_target(server, max_batch=size).respond(x()).scores for size in (1, 3, 32)]
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])


# -- the cap and the pace --------------------------------------------------------------------------------------------
def test_the_cap_is_never_exceeded(server: Any) -> None:
    target = json_target(server, query_cap=25, max_batch=4)
    target.respond(x(20))
    with pytest.raises(BudgetSpent, match="6 more rows would exceed the query cap of 25; 20 were sent"):
        target.respond(x(6))
    assert server.rows == 20
    target.respond(x(5))
    with pytest.raises(BudgetSpent):
        target.respond(x(1))
    assert server.rows == 25


def test_retries_count(server: Any) -> None:
    server.misbehave = lambda handler, place: local.reply(handler, 429, b"", Retry_After="0")
    clock = Clock()
    target = json_target(server, query_cap=5, retries=10, clock=clock, sleep=clock.sleep)
    with pytest.raises(BudgetSpent):
        target.respond(x(2))
    assert server.rows == 4 and target.model.sent == 4


def test_many_threads_never_exceed_the_cap(server: Any) -> None:
    target = json_target(server, query_cap=40, max_batch=3)
    refused = []

    def ask() -> None:
        for _ in range(5):
            try:
                target.respond(x(4))
            except BudgetSpent:
                refused.append(1)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert server.rows <= 40 and refused and target.model.sent == server.rows


CHILD = """
import sys
from casemate.core.errors import BudgetSpent
from casemate.targets.wrap import wrap
target, sent = wrap(sys.argv[1], query_cap=30, pace_per_s=1e6, label_path="predictions.*.scores.0", count_file=sys.argv[2]), 0
try:
    while True:
        target.respond([[0.0, 1.0]])
        sent += 1
except BudgetSpent:
    print(sent)
"""


def test_processes_share_a_count_file(server: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, server.url + "/predict", str(tmp_path / "count")]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    sent = [int(child.communicate(timeout=60)[0]) for child in children]
    assert sum(sent) == server.rows == 30
    with pytest.raises(BudgetSpent):  # and a run that is resumed finds it spent
        json_target(server, query_cap=30, count_file=tmp_path / "count").respond(x(1))
    (tmp_path / "count").write_text("my diary")
    with pytest.raises(UsageError, match="holds no count of rows"):
        json_target(server, count_file=tmp_path / "count").respond(x(1))
    assert (tmp_path / "count").read_text() == "my diary"


def test_without_a_file_a_forked_process_is_refused(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target = json_target(server)
    monkeypatch.setattr("os.getpid", lambda: -1)
    with pytest.raises(UsageError, match="give count_file="):
        target.respond(x(1))


def test_the_pace_is_kept(server: Any) -> None:
    clock = Clock()
    target = json_target(server, pace_per_s=2.0, max_batch=5, clock=clock, sleep=clock.sleep)
    target.respond(x(20))
    assert clock.slept == [2.5, 2.5, 2.5]
    clock.now += 100
    target.respond(x(5))
    assert len(clock.slept) == 3
    clock.now -= 90  # a clock set back must not stop the run for good
    target.respond(x(5))
    assert clock.slept[-1] <= 1000 / 2.0


def test_the_pace_on_a_real_clock(server: Any) -> None:
    began = time.perf_counter()
    json_target(server, pace_per_s=100.0, max_batch=10).respond(x(40))
    assert time.perf_counter() - began >= 0.29


# -- refusals, faults ------------------------------------------------------------------------------------------------
def test_429_is_waited_out(server: Any) -> None:
    server.misbehave = lambda handler, place: place < 3 and local.reply(handler, 429, b"slow down", Retry_After="7")
    clock = Clock()
    response = json_target(server, clock=clock, sleep=clock.sleep).respond(x(2))
    assert len(response.label) == 2 and clock.slept == [7, 7] and len(server.requests) == 3


def test_429_for_ever_is_a_refusal(server: Any) -> None:
    server.misbehave = lambda handler, place: local.reply(handler, 429, b"")
    clock = Clock()
    target = json_target(server, clock=clock, sleep=clock.sleep, retries=2)
    with pytest.raises(Refused, match=r"refused \(429\)"):
        target.respond(x(2))
    assert clock.slept == [1, 2] and len(server.requests) == 3


@pytest.mark.parametrize("when", ["3600", email.utils.formatdate(time.time() + 7200, usegmt=True)], ids=["seconds", "date"])
def test_a_long_wait_is_a_refusal_at_once(server: Any, when: str) -> None:
    server.misbehave = lambda handler, place: local.reply(handler, 429, b"", Retry_After=when)
    clock = Clock()
    with pytest.raises(Refused):
        json_target(server, clock=clock, sleep=clock.sleep).respond(x(2))
    assert clock.slept == [] and len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 502])
def test_errors_are_not_repeated(server: Any, status: int) -> None:
    server.misbehave = lambda handler, place: local.reply(handler, status, b"what\nis  this")
    with pytest.raises(TargetFailed, match=f"127.0.0.1:{server.port} answered {status}: what is this"):
        json_target(server).respond(x(2))
    assert len(server.requests) == 1


def test_no_answer_in_time(server: Any) -> None:
    server.misbehave = lambda handler, place: time.sleep(1.5) or False
    began = time.perf_counter()
    with pytest.raises(TargetFailed, match=r"hung: no answer in 0\.3 s"):
        json_target(server, timeout_s=0.3).respond(x(2))
    assert time.perf_counter() - began < 1.4 and len(server.requests) == 1


def test_a_dripping_answer_is_cut_off(server: Any) -> None:
    def drip(handler: Any, place: int) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(40):
            try:
                handler.wfile.write(b" ")
                handler.wfile.flush()
            except OSError:
                break
            time.sleep(0.1)
        return True

    server.misbehave = drip
    began = time.perf_counter()
    with pytest.raises(TargetFailed, match="hung: no answer"):
        json_target(server, timeout_s=0.5).respond(x(2))
    assert time.perf_counter() - began < 3


def test_no_connection_is_tried_again_and_then_said() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    clock = Clock()
    target = wrap(
        f"http://127.0.0.1:{port}/p", query_cap=10, pace_per_s=1e6, label_path="x", clock=clock, sleep=clock.sleep, classes=2
    )
    with pytest.raises(TargetFailed, match=f"127.0.0.1:{port}: no connection"):
        target.respond(x(2))
    assert clock.slept == [1, 2] and target.model.sent == 6


def test_a_dropped_connection(server: Any) -> None:
    def drop(handler: Any, place: int) -> bool:
        handler.connection.shutdown(socket.SHUT_RDWR)
        handler.close_connection = True
        return True

    server.misbehave = drop
    with pytest.raises(TargetFailed, match="the connection failed"):
        json_target(server).respond(x(2))
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_refused(server: Any, status: int) -> None:
    with local.running() as other:
        for user, shown in (("", f"to localhost:{other.port}"), (f"user:{SECRET}@", "elsewhere")):
            place = f"http://{user}localhost:{other.port}/predict"
            server.misbehave = lambda handler, _, place=place: local.reply(handler, status, b"", Location=place)
            with pytest.raises(TargetFailed, match=f"redirects {shown}, which is refused") as caught:
                json_target(server).respond(x(2))
            assert SECRET not in str(caught.value) and not other.requests


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "6 bytes that are not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"{}", "has no 'predictions.*.label'; at 'predictions' it has keys"),
        (b'{"predictions": 3}', "has no"),
        (b'{"predictions": []}', "answered"),
        (b'{"predictions": [{"label": "cat", "scores": [1, 0, 0]}]}', "2 rows went in and 1 answers came out"),
        (b'{"predictions": [{"label": "cat", "scores": [NaN, 0, 0]}, {"label": "cat", "scores": [1, 0, 0]}]}', "not finite"),
        (b'{"predictions": [{"label": "cow", "scores": [1, 0, 0]}, {"label": "cat", "scores": [1, 0, 0]}]}', "answered 'cow'"),
        (b'{"predictions": [{"label": "cat", "scores": [1, 0]}, {"label": "cat", "scores": [1, 0]}]}', "has 3 classes"),
    ],
)
def test_nonsense_has_one_clear_message(server: Any, content: bytes, message: str) -> None:
    import re

    server.misbehave = lambda handler, place: local.reply(handler, 200, content)
    with pytest.raises(TargetFailed, match=message if "*" not in message else re.escape(message)):
        json_target(server).respond(x(2))


def test_an_endless_answer_is_cut_off(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("casemate.targets._wire.LARGEST", 1000)
    server.misbehave = lambda handler, place: local.reply(handler, 200, b" " * 5000)
    with pytest.raises(TargetFailed, match="that is refused"):
        json_target(server).respond(x(2))


# -- settings and secrets --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("http://h/p", {"query_cap": 0}, "query_cap=0: give a whole number of rows"),
        ("http://h/p", {"query_cap": 1e9}, "query_cap=1000000000.0"),
        ("http://h/p", {"pace_per_s": 0}, "pace_per_s=0: give a number above 0"),
        ("http://h/p", {"pace_per_s": float("inf")}, "pace_per_s=inf"),
        ("http://h/p", {"timeout_s": -1}, "timeout_s=-1"),
        ("http://h/p", {"label_path": None}, "say where the answer holds its decision"),
        ("http://h/p", {"protocol": "v3"}, "give 'v2' or 'json'"),
        ("http://h", {"protocol": "v2"}, "say which model"),
        (f"http://me:{SECRET}@h/p", {}, "holds a user or password"),
        (f"http://h/p?api_key={SECRET}", {}, "'api_key' looks like a secret"),
        ("http://h/p", {"headers_from_env": {"Authorization": "PATH"}}, "use https"),
        ("https://h/p", {"headers_from_env": {"Authorization": "PATH"}, "verify": False}, "use https and verify"),
        ("http:///p", {}, "name a host"),
    ],
)
def test_settings_that_are_not_allowed(url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        wrap(url, **{"query_cap": 10, "pace_per_s": 1.0, "label_path": "x", **options})
    assert SECRET not in str(caught.value)


def test_a_url_needs_a_cap_and_a_pace() -> None:
    with pytest.raises(BadInput, match=r"give query_cap= \(rows\) and pace_per_s="):
        wrap("https://example.org/predict", label_path="x")


def test_a_secret_that_is_not_set_is_said_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CASEMATE_TEST_TOKEN", raising=False)
    with pytest.raises(UsageError, match="variable CASEMATE_TEST_TOKEN is not set"):
        HttpTarget(
            url="https://h/p", query_cap=1, pace_per_s=1, label_path="x", headers_from_env={"A": "Bearer $CASEMATE_TEST_TOKEN"}
        )


@pytest.mark.parametrize("fault", ["none", "echo", "redirect", "drop", "hang", "429", "garbage"])
def test_a_secret_is_sent_and_never_shown(
    server: Any, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CASEMATE_TEST_TOKEN", SECRET)
    caplog.set_level(logging.DEBUG)
    behaviours = {
        "none": lambda handler, place: False,
        "echo": lambda handler, place: local.reply(handler, 403, f"bad token {SECRET}".encode()),
        "redirect": lambda handler, place: local.reply(handler, 302, b"", Location=f"http://h/{SECRET}"),
        "drop": lambda handler, place: handler.connection.shutdown(socket.SHUT_RDWR) or True,
        "hang": lambda handler, place: time.sleep(0.6) or False,
        "429": lambda handler, place: local.reply(handler, 429, SECRET.encode()),
        "garbage": lambda handler, place: local.reply(handler, 200, SECRET.encode()),
    }
    server.misbehave = behaviours[fault]
    clock = Clock()
    headers = {"Authorization": "Bearer $CASEMATE_TEST_TOKEN", "X-Key": "CASEMATE_TEST_TOKEN"}
    target = json_target(server, headers_from_env=headers, timeout_s=0.3, clock=clock, sleep=clock.sleep)
    shown = [repr(target), repr(target.model), str(vars_of(target.model)), target.state(), str(target.fingerprint())]
    try:
        target.respond(x(2))
    except Exception as error:
        assert fault != "none"
        shown += ["".join(traceback.format_exception(error)), repr(error), str(error.__context__), str(error.__cause__)]
    assert server.requests[0]["headers"]["Authorization"] == f"Bearer {SECRET}"
    assert server.requests[0]["headers"]["X-Key"] == SECRET
    assert SECRET not in "\n".join(shown) + caplog.text


def vars_of(model: Any) -> list[str]:
    """Everything the adapter and its parts hold, as text."""
    parts = [repr(getattr(model, name)) for name in type(model).__slots__]
    wire = model._wire
    return [*parts, *map(repr, vars(wire).values()), *map(repr, vars(wire.allowance).values())]


def test_identity_needs_a_version(server: Any) -> None:
    assert json_target(server).fingerprint() is None
    one = json_target(server, version="2026-01")
    assert one.fingerprint() == json_target(server, version="2026-01").fingerprint()
    assert one.fingerprint() != json_target(server, version="2026-02").fingerprint()
    assert server.requests == []


def test_a_cap_that_ends_the_judge_is_told_with_what_it_needs_regression(server: Any) -> None:
    import casemate as cm

    case = cm.Evade(x(12), np.zeros(12, int), within=cm.Ball("linf", 0.1, low=-9.0, high=9.0))
    with pytest.raises(cm.RunError, match=r"the judge could not finish: \d+ more rows would exceed the query cap of 20.*raise query_cap"):
        cm.run("evasion.noise", json_target(server, query_cap=20), case, seed=0)
