"""Evidence as data: strict JSON, digests that repeat, and nothing in them that varies."""

import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from casemate.core.adversary import Budget, Need
from casemate.core.evidence import Cost, Evidence, Interval, Verdict, plain

ONE = Evidence(
    attack="evasion.pgd", params={"steps": 3}, adversary="eve", may=("label",), budget=str(Budget()), target="t", fingerprint="f",
    case="evade", seed=0, measure="rows broken", rate=0.5, interval=Interval(0.1, 0.9), n=2, verdict=Verdict.BROKEN,
    rows={"row": np.arange(2), "distance": np.array([0.1, np.inf])}, extra={"step_seconds": 1.0}, seconds=1.0,
)  # fmt: skip


def test_the_json_is_strict_and_the_frame_has_the_rows():
    text = json.dumps(ONE.to_dict(), allow_nan=False)
    assert json.loads(text)["rows"]["distance"] == [0.1, "inf"]
    assert list(ONE.to_frame()["row"]) == [0, 1]


def test_a_digest_ignores_measured_time_and_nothing_else():
    assert replace(ONE, seconds=9.0, extra={"step_seconds": 2.0}).digest() == ONE.digest()
    for other in (replace(ONE, rate=0.6), replace(ONE, params={"steps": 4}), replace(ONE, extra={"steps": 2}),
                  replace(ONE, rows={"row": np.arange(2), "distance": np.array([0.2, np.inf])})):  # fmt: skip
        assert other.digest() != ONE.digest()
    assert replace(ONE, claims=object()).digest() == ONE.digest()


@pytest.mark.parametrize(("value", "want"), [
    (np.float32(0.5), 0.5), (np.int64(3), 3), (np.bool_(True), True), (math.nan, "nan"), (-math.inf, "-inf"),
    (torch.tensor([1, 2]), [1, 2]), ({1: (2,)}, {"1": [2]}), (Verdict.ERROR, "error"), (None, None), ({"b", "a"}, ["a", "b"]), (Need.LABEL | Need.SCORE, ["label", "score"]), (Need.NONE, []),
    (Budget(queries=1), {"queries": 1, "queries_per_row": None, "gradients_per_row": None, "records": None, "accounts": 1,
                         "days": None, "seconds": None}),
])  # fmt: skip
def test_plain(value, want):
    assert plain(value) == want


def test_no_address_and_no_order_of_a_process_enters_a_hash_regression():
    code = (
        "from casemate.core.evidence import plain\n"
        "class Thing: pass\n"
        "print(plain([plain, Thing(), {'x', 'y', 'z', 'w'}, lambda: 1]))"
    )
    found = {
        subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": str(seed)}, capture_output=True, text=True, check=True).stdout
        for seed in (1, 2)
    }
    assert len(found) == 1 and "0x" not in found.pop()


@pytest.mark.parametrize(("cost", "text"), [
    (Cost(None), "not shown"), (Cost(None, 1500), "> 1,500 queries"), (Cost(1), "1 query"), (Cost(0), "0 queries"), (Cost(2500.0), "2,500 queries"),
], ids=str)  # fmt: skip
def test_a_cost_in_words(cost, text):
    assert str(cost) == text
