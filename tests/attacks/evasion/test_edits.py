"""The search over edits: bytes and tables, with scores and without."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

import casemate as cm
from casemate.attacks import Edits, HopSkipJump
from casemate.core.endpoint import Endpoint
from casemate.core.oracle import Meter, Oracle
from casemate.runs.driver import drive_dialogue

FILES = [b"HEAD" + bytes([i]) * 40 for i in range(6)]
CHECKED, ASKED = [], []


def valid(changed, original):
    CHECKED.append(changed)
    return changed.startswith(b"HEAD")


def edit(row, origin, rng):
    if rng.random() < 0.5:
        return spoil(row, origin, rng)
    return row + bytes(rng.integers(0, 256, 4, dtype=np.uint8))


def spoil(row, origin, rng):
    return b"X" + row


def files(output="scores"):
    """Decided by how many of the bytes are large: appended bytes move it, and the head must stay."""

    def decide(rows):
        ASKED.extend(rows)
        share = np.array([np.mean(np.frombuffer(r, np.uint8) > 127) for r in rows])
        p = 1 / (1 + np.exp(-40 * (share - 0.25)))
        return np.stack([1 - p, p], 1) if output == "scores" else (p > 0.5).astype(int)

    within = cm.Bytes(valid, edit, grow=200)
    return cm.wrap(decide, output=output, classes=2), cm.Evade(FILES, np.zeros(6, int), within)


def test_finds_valid_edits_with_scores():
    target, case = files()
    evidence = cm.run(Edits(queries=200), target, case)
    assert evidence.rate == 1
    assert all(c.startswith(b"HEAD") for c in evidence.claims.x)
    assert case.within.check(evidence.claims.x, FILES).all()
    assert evidence.rows["queries"].max() <= 200


def test_labels_alone_cost_more():
    by_score = cm.run(Edits(queries=400, pile=40), *files())
    by_label = cm.run(Edits(queries=400, pile=40), *files("labels"))
    assert by_label.rate > 0.5
    assert by_label.rows["queries"].mean() > by_score.rows["queries"].mean()


def test_every_candidate_is_checked_before_it_is_asked():
    target, case = files()
    CHECKED.clear()
    ASKED.clear()
    oracle = Oracle(Endpoint(target), cm.researcher(), Meter(case.row))
    drive_dialogue(Edits(queries=20), oracle, case, cm.RowRandom(0))
    assert any(c.startswith(b"X") for c in CHECKED)
    assert ASKED
    assert not any(c.startswith(b"X") for c in ASKED)


@pytest.mark.parametrize("cap", [1, 6, 50])
def test_keeps_its_own_cap_and_the_budget(cap):
    target, case = files()
    assert cm.run(Edits(queries=cap), target, case).rows["queries"].max() <= cap
    assert cm.run(Edits(), target, case, budget=cm.Budget(queries_per_row=cap)).rows["queries"].max() <= cap


def test_a_row_does_not_depend_on_its_batch():
    target, case = files()
    whole = cm.run(Edits(queries=60), target, case).claims.x
    alone = cm.run(Edits(queries=60), target, case.only(np.array([3]))).claims.x
    assert alone[0] == whole[3]


def test_a_row_that_cannot_change_ends():
    within = cm.Bytes(valid, spoil, grow=200)
    target, case = files()
    evidence = cm.run(Edits(), target, cm.Evade(FILES, case.y, within))
    assert evidence.rate == 0
    assert evidence.rows["queries"].sum() == 0
    assert evidence.claims.x == FILES


def test_nearest_goes_on_for_smaller_changes():
    target, case = files()
    first = cm.run(Edits(queries=300), target, case)
    nearest = cm.run(Edits(queries=300), target, cm.Evade(FILES, case.y, case.within, seek="nearest"))
    assert (nearest.rows["distance"] <= first.rows["distance"]).all()


def table():
    frame = pandas.DataFrame({"age": [30, 50, 41], "income": [20.0, 25.0, 22.0], "home": ["rent", "rent", "own"]})
    columns = {
        "age": cm.Column(kind="int", low=18, high=90, immutable=True),
        "income": cm.Column(kind="real", low=0.0, high=60.0, direction=1),
        "home": cm.Column(kind="category", values=("rent", "own", "free")),
    }

    def decide(rows):
        p = 1 / (1 + np.exp(-(rows["income"].to_numpy() / 10 + (rows["home"] == "free").to_numpy() - 4)))
        return np.stack([1 - p, p], 1)

    return cm.wrap(decide, output="scores", classes=2), cm.Evade(frame, np.zeros(3, int), cm.Table(columns))


def test_changes_rows_of_a_table_as_the_world_allows():
    target, case = table()
    evidence = cm.run(Edits(queries=80), target, case)
    assert evidence.rate == 1
    claims = evidence.claims.x
    assert (claims["age"].to_numpy() == case.x["age"].to_numpy()).all()
    assert (claims["income"].to_numpy() >= case.x["income"].to_numpy()).all()


def test_says_which_constraint_it_needs():
    with pytest.raises(cm.BadInput, match="proposes edits"):
        cm.run(
            Edits(),
            cm.wrap(lambda x: np.zeros((len(x), 2)), output="scores", classes=2),
            cm.Evade(np.zeros((1, 3)), np.zeros(1, int), cm.Ball("l2", 1.0)),
        )
    target, case = files()
    with pytest.raises(cm.BadInput):
        cm.run(HopSkipJump(), target, case)
