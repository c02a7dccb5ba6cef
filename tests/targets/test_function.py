"""Any callable: of batches and of single rows; raising, hanging, answering nonsense."""

from __future__ import annotations

import threading
import time

import numpy as np
import pandas as pd
import pytest
import torch

from casemate.core.adversary import Need
from casemate.core.errors import BadInput, NotGranted, Refused, TargetFailed, UnknownName
from casemate.core.target import REJECT
from casemate.targets.function import Function
from casemate.targets.wrap import wrap

ROUTES = ("deliver", "hold", "sandbox")


def route(data: bytes) -> str | None:
    """A rule on one file."""
    if not data:
        return None
    return "sandbox" if data.startswith(b"#!") else "hold" if b"\0" in data else "deliver"


def test_one_file_at_a_time() -> None:
    target = wrap(route, classes=ROUTES, batched=False)
    response = target.respond([b"#!/bin/sh", b"hello", b"a\0b", b""])
    assert response.label.tolist() == [2, 0, 1, REJECT] and response.label.dtype == np.int64
    assert target.name == "route" and target.classes == 3 and target.offers == Need.LABEL | Need.ARTIFACT
    assert target.model.decided(response.label).tolist() == ["sandbox", "deliver", "hold", None]
    assert target.model.label(["hold", "deliver"]).tolist() == [1, 0]
    assert wrap(lambda x: [2, -1], classes=ROUTES).respond([b"", b""]).label.tolist() == [2, REJECT]


def test_labels_scores_logits_and_both() -> None:
    scores = np.array([[0.2, 0.8], [0.9, 0.1]])
    x = np.zeros((2, 3))
    assert wrap(lambda x: [1, 0]).respond(x).label.tolist() == [1, 0]
    assert wrap(lambda x: scores, output="scores").respond(x).label.tolist() == [1, 0]
    logits = wrap(lambda x: scores.tolist(), output="logits").respond(x)
    np.testing.assert_allclose(logits.scores.sum(1), 1)
    both = wrap(lambda x: (["b", "b"], scores), output="both", classes="ab").respond(x)
    assert both.label.tolist() == [1, 1] and both.scores is scores
    single = wrap(lambda row: ("a", [0.5, 0.5]), output="both", classes="ab", batched=False).respond(x)
    assert single.label.tolist() == [0, 0] and single.scores.shape == (2, 2)
    one_column = wrap(lambda x: torch.tensor([0.9, 0.2]), output="scores", classes=2).respond(x)
    assert one_column.label.tolist() == [1, 0] and one_column.scores.shape == (2, 2)


def test_numbers_are_a_regression() -> None:
    response = wrap(lambda x: x.sum(1)).respond(np.full((2, 3), 0.5))
    assert response.label.tolist() == [1.5, 1.5] and response.logits.shape == (2, 1)


def test_frames_and_tensors() -> None:
    table = pd.DataFrame({"a": [1, -1], "b": ["x", "y"]})
    assert wrap(lambda f: f["a"] > 0).respond(table).label.tolist() == [1, 0]
    assert wrap(lambda row: int(row["b"] == "y"), batched=False).respond(table).label.tolist() == [0, 1]
    tensor = torch.ones(2, 3, dtype=torch.float64)
    seen = []
    wrap(lambda x: seen.append(x) or [0, 0]).respond(tensor)
    assert isinstance(seen[0], np.ndarray) and np.shares_memory(seen[0], tensor.numpy())


def test_no_gradient_and_says_so() -> None:
    with pytest.raises(NotGranted, match="adapter of route has no gradient"):
        wrap(route, classes=ROUTES, batched=False).gradient([b""], np.zeros(1, int), lambda logits, y: logits)


def broken_on_three(x: float) -> int:
    if x == 3:
        raise KeyError("three")
    return 0


@pytest.mark.parametrize("timeout_s", [None, 5.0])
def test_a_raising_function_names_the_row(timeout_s: float | None) -> None:
    target = wrap(broken_on_three, batched=False, timeout_s=timeout_s)
    with pytest.raises(TargetFailed, match="broken_on_three raised on row 3 of 5: KeyError: 'three'") as caught:
        target.respond(np.arange(5.0))
    assert isinstance(caught.value.__cause__, KeyError)
    batch = wrap(lambda x: 1 / 0, timeout_s=timeout_s)
    with pytest.raises(TargetFailed, match="raised in a batch of 5 rows: ZeroDivisionError"):
        batch.respond(np.arange(5.0))
    with pytest.raises(TargetFailed, match="SystemExit: 3"):
        wrap(lambda x: exit(3), timeout_s=timeout_s).respond(np.arange(5.0))


def test_a_refusal_stays_a_refusal() -> None:
    def limited(x):
        raise Refused("too fast")

    with pytest.raises(Refused, match="too fast"):
        wrap(limited, timeout_s=5).respond(np.zeros(3))


def test_a_hanging_function_says_so_and_is_not_asked_again() -> None:
    wake, asked = threading.Event(), []

    def slow(x: float) -> int:
        asked.append(x)
        if x == 1:
            wake.wait(30)
        return 0

    began = time.perf_counter()
    with pytest.raises(TargetFailed, match=r"slow hung on row 1 of 4: no answer in 0\.2 s"):
        wrap(slow, batched=False, timeout_s=0.2).respond(np.arange(4.0))
    assert time.perf_counter() - began < 5
    left = [thread for thread in threading.enumerate() if thread.name == "casemate slow"]
    assert left and all(thread.daemon for thread in left)
    wake.set()
    left[0].join(5)
    assert asked == [0, 1]
    with pytest.raises(TargetFailed, match="hung on a batch of 4 rows"):
        wrap(lambda x: time.sleep(1), timeout_s=0.05).respond(np.arange(4.0))


def test_a_timeout_changes_no_answer() -> None:
    files = [bytes([i, 0]) if i % 2 else b"#!" for i in range(50)]
    plain, timed = (wrap(route, classes=ROUTES, batched=False, timeout_s=t) for t in (None, 5))
    np.testing.assert_array_equal(plain.respond(files).label, timed.respond(files).label)


@pytest.mark.parametrize(
    ("answer", "options", "message"),
    [
        ([0, 1], {}, "3 rows went in and 2 answers came out"),
        ("yes", {"classes": ["yes", "no"]}, "labels of shape"),
        (["yes", "maybe", "no"], {"classes": ["yes", "no"]}, "answered 'maybe', which is none of its classes"),
        ([0, 1, 5], {"classes": 3}, "answered labels 0..5; allowed are 0..2 and -1"),
        ([0, -2, 1], {}, "answered labels -2..1"),
        ([0.1, np.nan, 0.2], {}, "not finite in 1 of 3 rows .first: row 1."),
        ([[0.5, 0.5]] * 2, {"output": "scores"}, "3 rows went in and 2 answers"),
        ([[0.5, 0.5]] * 3, {"output": "scores", "classes": 4}, "answered 2 numbers a row; it has 4 classes"),
        ([[0.5, np.inf]] * 3, {"output": "logits"}, "not finite in 3 of 3"),
        ([[1, 2], [3], [4]], {"output": "scores"}, "one row of numbers for each input row"),
        (None, {"output": "scores"}, "one row of numbers|expected"),
        ([1, 2, 3], {"output": "both"}, "needs a pair"),
    ],
)
def test_nonsense_has_one_clear_message(answer, options, message) -> None:
    with pytest.raises(TargetFailed, match=message):
        wrap(lambda x: answer, **options).respond(np.zeros((3, 2)))


def test_settings_that_are_not_allowed() -> None:
    with pytest.raises(BadInput, match="name them: classes="):
        wrap(lambda x: ["a"] * len(x)).respond(np.zeros(2))
    with pytest.raises(BadInput, match="output='probabilities' is not allowed"):
        wrap(route, output="probabilities")
    with pytest.raises(BadInput, match="timeout_s=0"):
        wrap(route, timeout_s=0)
    with pytest.raises(BadInput, match="65 probes are too many"):
        wrap(route, probes=[b""] * 65, batched=False, classes=ROUTES)
    with pytest.raises(BadInput, match="at least two different"):
        wrap(route, classes=["a", "a"])
    with pytest.raises(UnknownName, match="did you mean 'batched'"):
        wrap(route, batch=True)


def test_identity() -> None:
    options = {"classes": ROUTES, "batched": False}
    assert wrap(route, **options).fingerprint() is None
    probes = [b"#!", b"hi", b"\0"]
    known = wrap(route, probes=probes, **options)
    assert known.fingerprint() == wrap(route, probes=probes, **options).fingerprint()
    assert known.fingerprint() != wrap(route, probes=probes[::-1], **options).fingerprint()
    assert wrap(route, version="1", **options).fingerprint() != wrap(route, version="2", **options).fingerprint()
    one, two = (Function(function=lambda x, k=k: [k] * len(x), probes=np.zeros(4)) for k in (0, 1))
    assert one.fingerprint() != two.fingerprint()


def test_probes_are_asked_once_when_it_is_made() -> None:
    calls = []
    target = wrap(lambda x: calls.append(len(x)) or [0] * len(x), probes=np.zeros(4))
    target.fingerprint(), target.state(), target.fingerprint()
    assert calls == [4]


class Memory:
    """A callable that keeps what it saw."""

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, x):
        self.seen += len(x)
        return [0] * len(x)


def test_state_shows_what_a_call_changes() -> None:
    target = wrap(Memory())
    before = target.state()
    assert target.state() == before
    target.respond(np.zeros(3))
    assert target.state() != before
