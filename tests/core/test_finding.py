"""Severity from impact and measured cost; errors and hashes that travel."""

import pickle
from dataclasses import replace

import numpy as np
import pandas
import pytest

from casemate.core.errors import BadSystem, CasemateError, MissingExtra, NotGranted, Problem, TargetFailed, UnknownName
from casemate.core.evidence import Cost, Status
from casemate.core.finding import Assessment, Finding, band, severity
from casemate.core.identity import hash_artifact, hash_code, hash_data


@pytest.mark.parametrize(("queries", "found"), [(0, "trivial"), (10, "trivial"), (11, "cheap"), (1000, "cheap"), (1001, "costly"), (None, "not shown")])
def test_bands(queries, found):
    assert band(Cost(queries)) == found
    assert band(None) == "not shown"


@pytest.mark.parametrize(("impact", "status", "cost", "found"), [
    (4, Status.BROKEN, Cost(5), "critical"), (4, Status.BROKEN, Cost(5000), "high"), (4, Status.BROKEN, None, "critical"),
    (3, Status.BROKEN, Cost(None, 500), "medium"), (1, Status.BROKEN, Cost(5000), "low"), (0, Status.BROKEN, Cost(1), "low"),
    (4, Status.RESISTED, Cost(None, 9), "none"), (4, Status.INCONCLUSIVE, None, "none"),
])  # fmt: skip
def test_severity(impact, status, cost, found):
    assert severity(impact, status, cost) == found


def test_a_run_of_another_system_is_another_run_regression():
    finding = Finding(threat="X@a", rule="X", title="t", element="a", principal="p", explanation="", impact=1, status=Status.UNTESTED)
    one = Assessment(name="one", path="", system=None, findings=(finding,))
    assert one.digest() == replace(one, seconds=9.0, clean={"a": 1.0}).digest()
    assert one.digest() != replace(one, name="two").digest()


ERRORS = [
    UnknownName("attack", "pdg", ["pgd"]), BadSystem([Problem("f", 1, "k", "m"), Problem("f", 2, "k", "n")]), NotGranted("no"),
    MissingExtra("torch", "torch", "this"), TargetFailed("x"),
]  # fmt: skip


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_an_error_comes_back_from_a_worker_as_it_was_regression(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error) and isinstance(again, CasemateError)
    assert again.__dict__ == error.__dict__


def test_data_is_hashed_by_content():
    x = np.arange(6.0).reshape(3, 2)
    frame = pandas.DataFrame(x, columns=["a", "b"])
    different = [x, x.astype(np.float32), x.reshape(2, 3), x + 1, frame, frame.rename(columns={"a": "c"}), frame["a"], ["1"], [b"1"], [1], ["1", ""]]
    assert len({hash_data(value) for value in different}) == len(different)
    assert hash_data(x) == hash_data(np.asfortranarray(x)) and hash_data(frame) == hash_data(frame.copy())


def test_code_below_the_folder_counts_and_what_is_hidden_does_not_regression(tmp_path):
    (tmp_path / "bind.py").write_text("a = 1")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "inner.py").write_text("b = 1")
    before = hash_code(tmp_path)
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.py").write_text("c = 1")
    (tmp_path / "notes.md").write_text("d")
    assert hash_code(tmp_path) == before
    (tmp_path / "pack" / "inner.py").write_text("b = 2")
    assert hash_code(tmp_path) != before


def test_a_model_folder_is_hashed_whole_regression(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"1")
    before = hash_artifact(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"2")
    assert hash_artifact(tmp_path) != before
