"""Ways round the guard that were found once, each shut."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from casemate.controls.service.query_budget import QueryBudget
from casemate.core.errors import UsageError
from casemate.guard import Accounts, Guard, Policy, Schema, to_stream
from casemate.guard.events import line
from casemate.guard.schema import Malformed
from casemate.guard.serve import listening

from .asgi import App, acall, call, request

CHEQUES = Path(__file__).parents[2] / "examples" / "cheques"
INFER = "/v2/models/cheques/infer"
KEY = [(b"x-api-key", b"cheques-demo-key-1")]


def tensor(shape, data, **more):
    return {"inputs": [{"name": "x", "shape": list(shape), "datatype": "FP32", "data": data, **more}]}


def images(rows, shape=None, value=0.5):
    return tensor(shape or (rows, 1, 32, 32), [value] * (rows * 1024))


@pytest.fixture(scope="module")
def server():
    """The example server with an untrained model: what it refuses does not depend on weights."""
    pytest.importorskip("torch")
    pytest.importorskip("starlette")
    sys.path.insert(0, str(CHEQUES))
    try:
        spec = importlib.util.spec_from_file_location("cheques_server", CHEQUES / "server.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(CHEQUES))
    model = module.cheques.Reader().eval()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.cheques, "deployed", lambda: model)
        yield module.app


@pytest.fixture
def guarded(server):
    events = []
    return Policy.read(CHEQUES / "guard.yaml").wrap(server, sink=events.append), events


# -- rows
@pytest.mark.parametrize("shape", [(1, 4096), (4096,), (1, 4, 32, 32), (4, 32, 32), (4, 1024), (1, 1, 128, 32)])
def test_a_batch_hidden_behind_the_first_dimension_is_not_one_row(guarded, server, shape):
    host, events = guarded
    assert call(server, images(4, shape), path=INFER).status == 400, "the server holds to the shape by itself"
    got = call(host, images(4, shape), path=INFER, headers=KEY)
    assert got.status == 400
    assert b"must end in [1, 32, 32]" in got.body
    assert events[-1]["action"] == "malformed"


def test_four_hundred_images_as_one_row_of_409600_are_refused(guarded, server):
    body = json.dumps(images(400, (1, 409_600), value=0), separators=(",", ":")).encode()
    assert len(body) < 1 << 20, "the limit on bytes is not what refuses it"
    assert call(guarded[0], body, path=INFER, headers=KEY).status == 400
    assert call(server, body, path=INFER).status == 400


def test_a_batch_of_batches_counts_in_full(guarded):
    host, events = guarded
    got = call(host, images(4, (2, 2, 1, 32, 32)), path=INFER, headers=KEY)
    assert (got.status, events[-1]["rows"]) == (400, 4), "counted by the guard, refused by the server"


def test_the_guard_counts_what_the_example_server_decides(guarded):
    host, events = guarded
    for rows in (1, 3, 20):
        got = call(host, images(rows), path=INFER, headers=KEY)
        assert got.status == 200
        (label,) = got.json["outputs"]
        assert len(label["data"]) == events[-1]["rows"] == rows


ROW = Schema(row_shape=(1, 2, 2))


@pytest.mark.parametrize(("shape", "rows"), [((1, 2, 2), 1), ((3, 1, 2, 2), 3), ((2, 3, 1, 2, 2), 6), ((1, 6, 1, 2, 2), 6)])
def test_all_leading_dimensions_are_rows(shape, rows):
    assert ROW.count(json.dumps(tensor(shape, [0] * int(np.prod(shape)))).encode()) == rows
    assert ROW.count(json.dumps(tensor(shape, np.zeros(shape, int).tolist())).encode()) == rows


@pytest.mark.parametrize("shape", [(1, 4), (4,), (2, 2), (1, 1, 4), (1, 2, 2, 1), (1, 1, 2, 4), ()])
def test_a_shape_that_does_not_end_in_a_row_is_refused(shape):
    with pytest.raises(Malformed, match=r"must end in \[1, 2, 2\]"):
        ROW.count(json.dumps(tensor(shape, [0] * int(np.prod(shape)))).encode())


def test_a_row_of_one_value_counts_every_value():
    assert Schema(row_shape=()).count(json.dumps(tensor((1, 400), [0] * 400)).encode()) == 400


def test_inputs_with_different_numbers_of_rows_are_refused():
    inputs = [tensor((rows, 2), [0] * (2 * rows))["inputs"][0] for rows in (1, 3)]
    assert Schema().count(json.dumps({"inputs": inputs}).encode()) == 3
    with pytest.raises(Malformed, match="different numbers"):
        Schema(row_shape=(2,)).count(json.dumps({"inputs": inputs}).encode())


@pytest.mark.parametrize("data", [[[0] * 2] * 4, [[[0] * 4] * 2], [[0] * 8, []], [[0] * 3, [0] * 5], [[0] * 100] * 4])
def test_data_nested_unlike_its_shape_is_refused(data):
    size = sum(map(len, data)) if data[0] and isinstance(data[0][0], int) else 8
    with pytest.raises(Malformed, match="fit its shape"):
        Schema().count(json.dumps(tensor((1, size), data)).encode())


@pytest.mark.parametrize("shape", [[10**9, 0], [None, 0], [0, 2], [99] * 100_000, [1] * 33])
def test_a_shape_cannot_name_rows_that_are_not_there(shape):
    app, events = App(), []
    host = Guard(app, controls=[QueryBudget()], on_fault="open", sink=events.append)
    begun = time.process_time()
    sizes = ",".join("1" + "0" * 4000 if size is None else str(size) for size in shape)
    body = f'{{"inputs":[{{"name":"x","shape":[{sizes}],"datatype":"FP32","data":[]}}]}}'.encode()
    assert call(host, body).status == 400
    assert time.process_time() - begun < 1
    assert not app.got


@pytest.mark.parametrize(
    ("row", "instances", "rows"),
    [
        ((3,), [[1, 2, 3]] * 4, 4), ((3,), [[[1, 2, 3]] * 4], None), ((3,), [1, 2, 3], None), ((3,), [[1, 2, 3] * 2], None),
        ((100,), [[1] * 100] * 2, 2), ((100,), [1] * 200, None), ((2, 2), [[[1, 2], [3, 4]]], 1), ((2, 2), [[1, 2, 3, 4]], None),
        ((), [1, 2, 3], 3), ((), [1] * 400, 400), ((), [[1, 2]], None), ((3,), [{"a": [1, 2, 3]}], None), ((), [], 1),
    ],
)  # fmt: skip
def test_a_json_row_of_another_shape_is_refused(row, instances, rows):
    schema, body = Schema(kind="json", row_shape=row), json.dumps({"instances": instances}).encode()
    if rows is None:
        with pytest.raises(Malformed, match="a row must have the shape"):
            schema.count(body)
    else:
        assert schema.count(body) == rows


@pytest.mark.parametrize("wrong", [(0,), (-1, 3), (True,), ("3",), 3, (1,) * 40])
def test_a_row_shape_that_means_nothing_is_named(wrong):
    with pytest.raises(UsageError, match="row_shape"):
        Schema(row_shape=wrong)
    with pytest.raises(UsageError, match="row_shape"):
        Schema(kind="raw", row_shape=(3,))


# -- accounts
def test_the_shipped_policy_opens_no_account_for_a_header_nobody_knows(guarded):
    host, events = guarded
    assert call(host, images(1), path=INFER).status == 401
    for name in (b"a", b"b", b"cheques-demo-key-3"):
        assert call(host, images(1), path=INFER, headers=[(b"x-api-key", name)]).status == 401
    assert {e["action"] for e in events} == {"unauthenticated"}, "and no caution: the policy has none"
    readme = (CHEQUES / "README.md").read_text()
    for name in ("cheques-demo-key-1", "cheques-demo-key-2"):
        assert name in readme
        assert call(host, images(1), path=INFER, headers=[(b"x-api-key", name.encode())]).status == 200


def test_a_policy_that_trusts_or_counts_by_the_first_dimension_says_so_at_start():
    controls = [{"use": "service.query_budget"}]
    for data, words in (
        ({"account": {"trust": True}, "schema": {"row_shape": [2]}}, ["account.trust"]),
        ({}, ["schema.row_shape"]),
        ({"schema": {"kind": "raw"}}, []),
    ):
        stream = io.StringIO()
        Policy.of({"guard": 1, "controls": controls, **data}).wrap(App(), sink=to_stream(stream))
        told = [json.loads(text) for text in stream.getvalue().splitlines()]
        assert [e["action"] for e in told] == ["caution"] * len(words)
        assert all(word in e["reason"] for word, e in zip(words, told, strict=True))


# -- numbers
FAR = ["1e999", "-1e999", "1E+400", "1e0400", "NaN", "Infinity", "-Infinity", "1" + "0" * 310, "1" + "0" * 310 + ".5",
       "1" * 250 + "e99", "9" * 5000]  # fmt: skip


@pytest.mark.parametrize("number", FAR, ids=range(len(FAR)))
@pytest.mark.parametrize("others", [0, 2, 200, 2000])
@pytest.mark.parametrize("at", [0, 1])
def test_a_number_that_is_not_finite_reaches_nothing(number, others, at):
    data = ",".join([*["0.5"] * (others // (1 + at)), number, *["0.5"] * (others - others // (1 + at))])
    body = f'{{"inputs":[{{"name":"x","shape":[1,{others + 1}],"datatype":"FP32","data":[{data}]}}]}}'.encode()
    app = App()
    assert call(Guard(app, controls=[QueryBudget()]), body).status == 400
    assert not app.got


@pytest.mark.parametrize("number", ["1e308", "1e-999", "0.0000001e99", "1" + "0" * 300, "-1.7976931348623157e308"])
@pytest.mark.parametrize("others", [0, 200])
def test_a_number_that_is_merely_large_passes(number, others):
    data = ",".join([*["0.5"] * others, number])
    body = f'{{"inputs":[{{"name":"x","shape":[1,{others + 1}],"datatype":"FP32","data":[{data}]}}]}}'.encode()
    assert Schema().count(body) == 1


def test_an_answer_that_is_not_finite_is_not_shown_even_with_faults_open():
    from casemate.controls.service.round_scores import RoundScores

    app = App(body=b'{"outputs":[{"name":"scores","shape":[1,2],"data":[1e999,0.123456]}]}')
    got = call(Guard(app, controls=[RoundScores(digits=1)], on_fault="open"))
    assert got.status == 502
    assert b"0.123456" not in got.body


PIXELS = [b"1e999", b"-1e999", b"NaN", b"Infinity", b"3e38", b"1.01", b"-0.01", b"1" + b"0" * 400, b'"x"', b"null", b"[1]"]


@pytest.mark.parametrize("pixel", PIXELS, ids=range(len(PIXELS)))
def test_the_example_server_answers_400_to_what_is_no_pixel(server, pixel):
    body = json.dumps(images(1)).encode().replace(b"[0.5,", b"[" + pixel + b",", 1)
    assert pixel in body
    assert call(server, body, path=INFER).status == 400


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"3", b"\xff", b'{"inputs":[]}', b'{"inputs":3}', b'{"inputs":[{"shape":[1,1,32,32]}]}',
     b'{"inputs":[{"shape":[],"data":[]}]}', b'{"inputs":[{"shape":{},"data":[]}]}', b"[" * 100_000,
     b'{"inputs":[{"shape":[0,1,32,32],"data":[]}]}', b'{"inputs":[{"shape":[1' + b"0" * 99 + b',1,32,32],"data":[]}]}',
     b'{"inputs":[{"shape":[true,1,32,32],"data":[' + b",".join([b"0"] * 1024) + b"]}]}"],
    ids=range(14),
)  # fmt: skip
def test_the_example_server_answers_400_to_what_is_no_request(server, body):
    assert call(server, body, path=INFER).status == 400


# -- quota
def test_rows_that_were_let_in_count_whatever_the_server_answers():
    host = Guard(App(status=500), controls=[QueryBudget(rows=2)])
    assert [call(host, request(1)).status for _ in range(3)] == [500, 500, 429]


def test_a_model_that_the_policy_does_not_name_costs_nothing(guarded):
    host, events = guarded
    assert call(host, images(40), path="/v2/models/other/infer", headers=KEY).status == 404
    assert events[0]["action"] == "not_found"
    assert host._states[0] == host.controls[0].control.start


# -- the port
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_in_use_is_a_usage_error_that_names_it(host):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} on {host} cannot be used: "):
            listening(host, port)
    with listening(host, port) as free:
        assert free.getsockname()[1] == port


@pytest.mark.parametrize("host", ["203.0.113.7", "a" * 70 + ".invalid", "::zz"])
def test_a_host_that_is_not_here_is_a_usage_error(host):
    with pytest.raises(UsageError, match="cannot be used"):
        listening(host, 8080)


def test_the_command_exits_with_2_if_the_port_is_in_use(tmp_path):
    pytest.importorskip("uvicorn")
    (tmp_path / "empty_server.py").write_text("async def app(scope, receive, send): ...\n")
    (tmp_path / "guard.yaml").write_text("guard: 1\napp: empty_server:app\ncontrols: [{use: service.query_budget}]\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = "import sys; from casemate.app.main import main; sys.exit(main())"
        words = [sys.executable, "-c", command, "guard", "serve", str(tmp_path / "guard.yaml"), "--port", str(port)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr


# -- events
def test_an_event_cannot_steer_a_terminal():
    text = line({"action": "admit", "reason": "\x1b[2J\x9b31m\x7f\u202e\r\n\u2028\ud800"})
    assert text.isascii()
    assert text.isprintable()


def test_nothing_a_caller_wrote_is_in_an_event_or_a_refusal():
    events, evil = [], "\x1b[2J"
    host = Guard(App(), controls=[QueryBudget(rows=1)], account=Accounts(trust=True), sink=events.append)
    replies = [
        call(host, path=f"/{evil}"),
        call(host, method=evil),
        call(host, body={evil: 1}),
        call(host, body=b"\x1b[2J"),
        call(host, headers=[(b"x-api-key", evil.encode())]),
        call(host, headers=[(b"x-api-key", evil.encode())]),
    ]
    told = "".join(map(line, events)) + "".join(map(repr, (got.messages for got in replies)))
    assert "\\u001b" not in told
    assert "\\x1b" not in told
    assert "[2J" not in "".join(map(line, events))


def test_many_at_once_through_the_example_never_overspend(server):
    policy = Policy.read(CHEQUES / "guard.yaml")
    host = Guard(server, controls=[QueryBudget(rows=5)], account=policy.account, schema=policy.schema, paths=policy.paths)

    async def rush():
        return await asyncio.gather(*(acall(host, images(2), path=INFER, headers=KEY) for _ in range(10)))

    assert [got.status for got in asyncio.run(rush())].count(200) == 2
