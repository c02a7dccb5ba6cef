"""Members that are told from others without the model: whatever an attack finds then is no leak until it finds more."""

from __future__ import annotations

import time

import numpy as np
import pytest

import casemate as cm
from casemate.attacks.privacy.loss_threshold import LossThreshold
from casemate.core.case import Audit, Guesses, Infer
from casemate.judges import audit, infer
from casemate.judges.blind import blind
from casemate.judges.records import numbers

N = 1200


def split(n=N, shift=0.0, seed=0):
    """Records of five columns; those of members lie `shift` higher in the first."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(n) < n // 2
    x = rng.normal(size=(n, 5))
    x[truth, 0] += shift
    return x, rng.integers(0, 2, n), truth


def seen(x, y, truth):
    return blind(x, y, truth, np.arange(len(truth)))


def judged(x, y, truth, member):
    return infer.judge(Infer(x=x, y=y, truth=truth), Guesses(score=member.astype(float), member=member), len(x))


def line(opinion, number=50):
    return next(check for check in opinion.checks if check.number == number)


def model(leak=None):
    """Sure of class 1 where the first column is large, which it never learned from these records; or of who is in `leak`."""

    def answer(x):
        z = np.asarray(x)[:, :1] if leak is None else np.isin(np.asarray(x)[:, 4], leak)[:, None] * 6.0
        return np.concatenate([np.zeros_like(z), 2 * z], 1)

    return cm.wrap(answer, output="logits", classes=2, version="1")


# -- known answers --------------------------------------------------------------------------------------------------------
def test_a_model_that_only_looks_at_a_shifted_column_is_not_broken():
    x, _, truth = split(shift=1.5)
    y = np.ones(N, int)
    found = cm.run(LossThreshold(), model(), Infer(x=x, y=y, truth=truth))
    assert found.interval.low > 0.3, "the attack tells them apart"
    assert found.verdict == "inconclusive"
    assert found.extra["blind"]["auc"] > 0.8 and found.baseline.name == "blind guess"
    assert abs(found.rate - found.baseline.rate) < 0.1
    assert found.extra["blind"]["beyond_interval"]["low"] <= 0
    assert "take both at random from the same pool" in str(found)


def test_a_constant_model_on_a_shifted_split_is_inconclusive():
    x, y, truth = split(shift=1.5)
    constant = cm.wrap(lambda x: np.tile([0.6, 0.4], (len(x), 1)), output="scores")
    assert cm.run(LossThreshold(), constant, Infer(x=x, y=y, truth=truth)).verdict == "inconclusive"


def test_the_same_model_on_a_fair_split_resists_and_a_leaking_one_is_broken():
    x, _, truth = split(4000)
    case = Infer(x=x, y=np.ones(4000, int), truth=truth)
    fair = cm.run(LossThreshold(), model(), case)
    assert fair.verdict == "resisted" and fair.baseline.name == "prior guess"
    assert abs(fair.extra["blind"]["auc"] - 0.5) < 0.03 and not fair.extra["blind"]["clear"]
    leaking = cm.run(LossThreshold(), model(leak=x[truth, 4]), case)
    assert leaking.verdict == "broken" and leaking.rate > 0.9


def test_a_leak_far_beyond_a_shift_is_broken_and_the_shift_is_said():
    x, y, truth = split(shift=0.5)
    found = judged(x, y, truth, truth)
    assert found.broken and line(found).ok is False
    assert found.extra["blind"]["beyond"] == pytest.approx(1 - found.baseline.rate)
    assert "which is clearly more than" in found.why[1]


def test_no_guess_is_beyond_itself():
    x, y, truth = split(shift=1.0)
    own = seen(x, y, truth)
    member = np.zeros(N, bool)
    member[own.rows[own.score > 0]] = True
    rate, interval = own.beyond(member)
    assert rate == 0 and interval.low == interval.high == 0


def test_fair_splits_are_seldom_taken_for_shifted():
    assert sum(seen(*split(200, seed=seed)).clear for seed in range(60)) <= 2


# -- what the two guesses see ---------------------------------------------------------------------------------------------
def spread(x, truth, rng):
    x[truth, 0] *= 2


def joint(x, truth, rng):
    x[:, 1] = np.abs(x[:, 1]) * np.sign(x[:, 0]) * np.where(truth, 1, -1)


def everywhere(x, truth, rng):
    x[truth] += 0.25


def rare(x, truth, rng):
    x[truth & (rng.random(len(x)) < 0.3), 2] = 0.123


@pytest.mark.parametrize("change", [spread, joint, everywhere, rare])
def test_other_ways_to_differ_are_seen_too(change):
    x, y, truth = split(seed=3)
    change(x, truth, np.random.default_rng(0))
    assert seen(x, y, truth).clear


def test_neither_unit_nor_outlier_matters():
    x, y, truth = split(shift=0.7)
    one = seen(x, y, truth)
    far = x * [1e6, 1, 1e-6, 1, 1]
    far[:9, 0] = 1e200 * np.sign(x[:9, 0])
    assert abs(seen(far, y, truth).auc - one.auc) < 0.01


def frame(x, truth):
    pandas = pytest.importorskip("pandas")
    days = pandas.Timestamp("2026-01-01") + pandas.to_timedelta(np.where(truth, 0, 200) + 300 * np.abs(x[:, 0]), unit="D")
    return pandas.DataFrame({"a": x[:, 1], "town": np.where(x[:, 2] > 0, "Bern", "Aarau"), "when": days})


def gaps(x, truth):
    found = x.copy()
    found[truth & (x[:, 1] > 0), 0] = np.nan
    return found


WAYS = {
    "frame": frame,
    "zoned": lambda x, truth: frame(x, truth).assign(when=lambda f: f["when"].dt.tz_localize("UTC")),
    "missing": gaps,
    "texts": lambda x, truth: ["so" * (1 + int(abs(v) * 3)) + ("!" if t and v > 0 else ".") for v, t in zip(x[:, 0], truth, strict=True)],
    "bytes": lambda x, truth: [bytes([int(abs(v) * 20) % 64 + 40 * bool(t)]) * 3 for v, t in zip(x[:, 0], truth, strict=True)],
    "images": lambda x, truth: np.random.default_rng(1).random((len(x), 40, 40)) + 0.02 * truth[:, None, None],
}


@pytest.mark.parametrize("way", WAYS)
def test_records_of_every_kind_are_read(way):
    x, y, truth = split(400, seed=5)
    made = WAYS[way](x, truth)
    assert seen(made, y, truth).clear
    mixed = np.random.default_rng(6).permutation(truth)
    assert not seen(made, y, mixed).clear
    assert np.isfinite(numbers(made, y)).all()


def days(truth, rng):
    year = np.where(truth, 2024, 2025)
    return [f"{a}-{b:02d}-{c:02d}" for a, b, c in zip(year, rng.integers(1, 13, N), rng.integers(1, 29, N), strict=True)]


NAMES = {
    "iso dates": days,
    "days first": lambda truth, rng: ["{2}.{1}.{0}".format(*day.split("-")) for day in days(truth, rng)],
    "postal codes": lambda truth, rng: [str(code) for code in np.where(truth, 3000, 8000) + rng.integers(0, 300, N)],
    "prefixes": lambda truth, rng: [f"{'AB'[int(t)]}{i:06d}" for t, i in zip(truth, rng.integers(0, 10**6, N), strict=True)],
    "lengths": lambda truth, rng: [str(i) for i in np.where(truth, 0, 10_000) + rng.permutation(N) + 8_000],
    "periods": lambda truth, rng: list(pytest.importorskip("pandas").PeriodIndex(days(truth, rng), freq="D")),
}


@pytest.mark.parametrize("way", NAMES)
@pytest.mark.parametrize("kind", ["frame", "array"])
def test_names_of_many_kinds_are_told_by_their_order(way, kind):
    pandas = pytest.importorskip("pandas")
    x, y, truth = split(seed=9)
    made = NAMES[way](truth, np.random.default_rng(10))
    table = pandas.DataFrame({"name": made, "a": x[:, 0]})
    table = table if kind == "frame" else table.to_numpy()
    found = judged(table, y, truth, truth)
    assert not found.broken and found.extra["blind"]["auc"] > 0.95
    assert not seen(table, y, np.random.default_rng(11).permutation(truth)).clear


def test_ids_by_chance_raise_no_alarm():
    pandas = pytest.importorskip("pandas")
    alarms = 0
    for seed in range(40):
        x, y, truth = split(200, seed=seed)
        ids = [f"{i:08x}" for i in np.random.default_rng(seed + 100).integers(0, 2**32, 200)]
        alarms += seen(pandas.DataFrame({"id": ids, "a": x[:, 0]}), y, truth).clear
    assert alarms <= 2


def test_lists_in_the_cells_of_a_frame_are_read():
    pandas = pytest.importorskip("pandas")
    x, y, truth = split(400, seed=12)
    cells = [[int(t), list(range(int(abs(v) * 3)))] for t, v in zip(truth, x[:, 0], strict=True)]
    table = pandas.DataFrame({"a": x[:, 1], "list": cells, "array": list(x[:, :3]), "whole": [10**400] * 400})
    assert seen(table, y, truth).auc > 0.9
    assert not judged(table, y, truth, truth).broken
    assert not seen(table.drop(columns="list"), y, truth).clear


def test_labels_that_are_numbers_count_too():
    x, _, truth = split(seed=7)
    y = np.random.default_rng(8).normal(size=N) * np.where(truth, 2.0, 1.0)
    assert seen(x, y, truth).clear


# -- edges ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("n", "ok"), [(32, None), (34, False)])
def test_sixteen_of_each_wholly_apart_are_no_leak_as_nobody_could_look(n, ok):
    x, y, truth = split(n, shift=9)
    found = judged(x, y, truth, truth)
    assert found.interval.low > 0 and not found.broken
    assert line(found).ok is ok and line(found).fatal
    assert ("16 members and 16 others cannot exclude" in line(found).detail) is (n == 32)


def test_a_small_audit_that_nobody_could_look_at_breaks_nothing():
    x, y, truth = split(32)
    found = audit.judge(Audit(x=x, y=y, truth=truth, epsilon=0.1), Guesses(score=truth.astype(float), member=truth), 32)
    assert found.rate > 0.1 and not found.broken and line(found).ok is None


@pytest.mark.parametrize("huge", [np.finfo(float).max, -1e308])
def test_a_sentinel_of_huge_values_does_not_blind_the_guess(huge):
    x, y, truth = split(shift=1.5)
    x[np.random.default_rng(1).random(N) < 0.2, 3] = huge
    found = judged(x, y, truth, x[:, 0] > 0.75)
    assert found.interval.low > 0.3 and not found.broken and line(found).ok is False
    assert found.extra["blind"]["auc"] > 0.8 and np.isfinite(found.extra["blind"]["auc"])
    assert not seen(x, y, np.random.default_rng(2).permutation(truth)).clear


def test_an_area_that_is_no_number_is_not_fair(monkeypatch):
    from casemate.judges import blind as room

    x, y, truth = split(shift=1.5)
    nothing = np.full(N, np.nan)
    monkeypatch.setattr(room, "linear", lambda *_: nothing)
    one = judged(x, y, truth, truth)
    assert one.extra["blind"]["by"] == "ferns" and line(one).ok is False
    monkeypatch.setattr(room, "ferns", lambda *_: nothing)
    none = judged(x, y, truth, truth)
    assert not none.broken and line(none).ok is None and line(none).fatal
    assert "came to an area that is a number" in line(none).detail


def test_constant_records_tell_nothing():
    _, _, truth = split()
    found = seen(np.zeros((N, 3)), np.zeros(N, int), truth)
    assert found.auc == 0.5 and not found.clear


def test_records_wholly_apart_are_told_and_leave_no_room():
    x, y, truth = split(shift=100)
    found = judged(x, y, truth, truth)
    assert not found.broken and found.extra["blind"]["auc"] == 1.0
    assert found.extra["blind"]["beyond"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_flawless_attack_on_a_strong_shift_is_not_broken_because_the_guess_is_not_flawless(seed):
    x, y, truth = split(600, shift=5, seed=seed)  # a network trained on much more could tell every one
    assert not judged(x, y, truth, truth).broken


def test_of_many_records_some_are_looked_at_and_it_stays_cheap():
    rng = np.random.default_rng(0)
    x, truth = rng.normal(size=(2000, 100)), np.arange(2000) % 2 == 0
    began = time.process_time()
    seen(x, np.zeros(2000, int), truth)
    assert time.process_time() - began < 1.5  # 0.15 s on an idle core
    x, y, truth = split(9000, shift=1.0)
    found = seen(x, y, truth)
    assert len(found.rows) == 4000 and found.truth.sum() == 2000 and found.clear
    again = seen(x, y, truth)
    assert (again.score == found.score).all()


def test_repeated_records_cannot_give_themselves_away():
    x, y, truth = split(100)
    x, y, truth = np.concatenate([x, *[x[truth]] * 9]), np.r_[y, np.tile(y[truth], 9)], np.r_[truth, np.ones(450, bool)]
    found = judged(x, y, truth, truth)
    assert found.n == 100 and found.extra["members"] == 50 and line(found).ok


# -- audits ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("shift", "broken"), [(0.0, True), (2.0, False)])
def test_canaries_that_no_coin_chose_carry_no_bound(shift, broken):
    x, y, truth = split(600, shift)
    claim = Guesses(score=truth.astype(float), member=truth)
    found = audit.judge(Audit(x=x, y=y, truth=truth, epsilon=1.0), claim, 600)
    assert found.broken is broken and line(found).ok is broken
    assert ("no bound holds" in line(found).detail) is not broken
