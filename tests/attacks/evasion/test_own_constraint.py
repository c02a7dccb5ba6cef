"""Constraints of one's own that are no ball: projected gradient descent moves in anything that can project."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.attacks import PGD
from casemate.core.errors import BadInput
from casemate.testing.toys import linear

torch.set_num_threads(1)


@dataclass(frozen=True)
class Weighted:
    """Each value may move by its own share of `radius`."""

    radius: float
    share: tuple[float, ...]
    along: str = "signs"

    def measure(self, claim, origin):
        change = np.abs(np.float64(claim) - np.float64(origin))
        return np.where(change > 0, change / np.maximum(self.share, 1e-300), 0).max(1)

    def check(self, claim, origin):
        return (self.measure(claim, origin) <= self.radius * (1 + 1e-6)) & ((claim >= 0) & (claim <= 1)).all(1)

    def project(self, x, origin):
        room = self.radius * torch.tensor(self.share, dtype=x.dtype)
        return x.clamp(origin - room, origin + room).clamp(0, 1)


@dataclass(frozen=True)
class Balanced:
    """A few values may change, and what one gains the others lose."""

    radius: float
    free: tuple[int, ...]

    def measure(self, claim, origin):
        return np.linalg.norm(np.float64(claim) - np.float64(origin), axis=1)

    def check(self, claim, origin):
        change = np.float64(claim) - np.float64(origin)
        fixed = np.delete(change, self.free, 1)
        kept = (fixed == 0).all(1) & (np.abs(change.sum(1)) <= 1e-6)
        return kept & (self.measure(claim, origin) <= self.radius * (1 + 1e-6))

    def project(self, x, origin):
        change = torch.zeros_like(x)
        free = list(self.free)
        some = (x - origin)[:, free]
        some = some - some.mean(1, keepdim=True)
        change[:, free] = some * (self.radius / some.norm(dim=1, keepdim=True).clamp_min(1e-30)).clamp(max=1)
        return origin + change


def rows(n=10):
    toy = linear(2, (8,), seed=3)
    x, y = toy.inputs(n, dtype="float64")
    pull = (toy.weight[1] - toy.weight[0]) * np.where(y == 0, 1, -1)[:, None]
    # Brought near the boundary, each to another distance, so that no value meets an end of the box on its way.
    wanted = np.linspace(0.1, 0.4, n)
    x = x + ((np.abs(toy(x) @ [-1, 1]) - wanted) / (pull * pull).sum(1))[:, None] * pull
    lead = np.abs(toy(x) @ [-1, 1])
    np.testing.assert_allclose(lead, wanted, rtol=1e-9)
    assert (toy(x).argmax(1) == y).all() and x.min() > 0.05 and x.max() < 0.95
    return toy, x, y, pull, lead


def run(toy, x, y, within, attack=None):
    return cm.run(attack or PGD(steps=40), toy.module("float64"), cm.Evade(x, y, within), seed=0)


def test_in_a_weighted_box_it_breaks_at_the_exact_distance_and_not_before():
    toy, x, y, pull, lead = rows()
    share = (0.0, 0.0, 0.25, 0.5, 1.0, 1.0, 0.1, 0.1)
    exact = lead / (np.abs(pull) @ share)
    step = exact[:, None] * np.sign(pull) * share
    clear = ((x + step > 0) & (x + step < 1)).all(1)  # none of whose values meets an end of the box
    assert clear.sum() >= 3
    for i in np.flatnonzero(clear)[:3]:
        for factor, expected in ((1.02, True), (0.99, False)):
            found = run(toy, x[i : i + 1], y[i : i + 1], Weighted(factor * exact[i], share))
            assert bool(found.rows["broken"][0]) is expected, (i, factor)
            assert found.rows["inside"].all()


@pytest.mark.parametrize("attack", [PGD(steps=60), PGD(steps=60, restarts=3, random_start=True)])
def test_where_a_sum_must_stay_it_breaks_at_the_exact_distance_and_not_before(attack):
    toy, x, y, pull, lead = rows()
    free = (0, 1, 4, 5)
    some = pull[:, free]
    exact = lead / np.linalg.norm(some - some.mean(1, keepdims=True), axis=1)
    for i in (0, 5):
        for factor, expected in ((1.02, True), (0.99, False)):
            found = run(toy, x[i : i + 1], y[i : i + 1], Balanced(factor * exact[i], free), attack)
            assert bool(found.rows["broken"][0]) is expected, (i, factor)
    many = run(toy, x, y, Balanced(1.02 * float(np.median(exact)), free), attack)
    assert (many.rows["broken"] == (exact <= np.median(exact))).all()
    claims = np.asarray(many.claims.x)
    np.testing.assert_allclose(claims.sum(1), x.sum(1), atol=1e-6)
    assert (np.delete(claims, free, 1) == np.delete(x, free, 1)).all() and (claims != x).any()


class Wide(Weighted):
    """A projection that lands outside."""

    def project(self, x, origin):
        return origin + 2 * self.radius


class Flat(Weighted):
    def project(self, x, origin):
        return x[:, 0]


@pytest.mark.parametrize(
    ("within", "words"),
    [
        (Wide(0.1, (1.0,) * 8), "led row 0 to where its own check says no"),
        (Flat(0.1, (1.0,) * 8), r"gave shape \(\d+,\) for \(\d+, 8\)"),
        (Weighted(0.0, (1.0,) * 8), "got radius=0.0"),
        (Weighted(np.inf, (1.0,) * 8), "got radius=inf"),
        (Weighted(0.1, (1.0,) * 8, "l1"), "along='l1'"),
    ],
)
def test_a_constraint_that_does_not_keep_its_word_is_refused(within, words):
    toy, x, y, _, _ = rows()
    with pytest.raises(BadInput, match=words):
        run(toy, x, y, within)


def test_a_constraint_that_cannot_project_is_refused_by_name():
    class Still:
        def measure(self, claim, origin):
            return np.zeros(len(claim))

        def check(self, claim, origin):
            return np.ones(len(claim), bool)

    toy, x, y, _, _ = rows()
    with pytest.raises(BadInput, match="project"):
        run(toy, x, y, Still())


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"restarts": 0}, {"draws": -1}, {"steps": float("nan")}])
def test_a_count_below_one_is_refused_when_the_attack_is_made(wrong):
    with pytest.raises(BadInput, match=f"evasion.pgd: {next(iter(wrong))}=.* is not allowed; give 1 or more"):
        PGD(**wrong)


def test_every_registered_attack_can_be_made_and_refuses_counts_below_one():
    refused = 0
    for kind in (cm.core.attack.attacks.get(id) for id in cm.core.attack.attacks):
        kind()
        for name in {"restarts", "draws", "samples"} & set(kind.__dataclass_fields__):
            if isinstance(kind.__dataclass_fields__[name].default, int):
                with pytest.raises(BadInput, match=f"{kind.info.id}: {name}=0"):
                    kind(**{name: 0})
                refused += 1
    assert refused > 10


@dataclass(frozen=True)
class Known(Weighted):
    """The same with a domain and a way to draw from it, for who sees labels alone and for the baseline of chance."""

    low: float = 0.0
    high: float = 1.0

    def sample(self, origin, rng, rows, key):
        return origin + self.radius * (2 * rng.uniform(rows, (*key, 9), origin.shape[1:]) - 1)


@pytest.mark.parametrize("may", [None, cm.Need.LABEL], ids=["everything", "labels"])
def test_the_suite_works_in_an_own_constraint(may):
    """It used to say that it knew no attack for one, though a dozen move in it."""
    toy, x, y, pull, lead = rows(12)
    share = (0.0, 0.0, 0.25, 0.5, 1.0, 1.0, 0.1, 0.1)
    within = Known(1.5 * float(np.median(lead / (np.abs(pull) @ share))), share)
    held = {} if may is None else {"adversary": cm.Adversary(name="caller", may=may, budget=cm.Budget(queries_per_row=800))}
    evidence = cm.run("suite.standard", toy.module("float64"), cm.Evade(x, y, within), seed=0, **held)
    assert evidence.rate > 0.3 and evidence.rows["inside"][evidence.rows["broken"]].all()
    assert evidence.baseline is not None and evidence.baseline.rate <= evidence.rate


class Scribbles(Known):
    """A projection, and a draw, that work in the very values they were given to come back to."""

    def project(self, x, origin):
        moved = super().project(x, origin.clone())
        origin += 0.5
        return moved

    def sample(self, origin, rng, rows, key):
        found = super().sample(origin.copy(), rng, rows, key)
        origin += 0.5
        return found


@pytest.mark.parametrize("attack", ["evasion.pgd", "evasion.apgd_ce", "evasion.fgsm", "evasion.nes"])
def test_a_projection_that_writes_to_the_origin_breaks_nothing_regression(attack):
    toy, x, y, pull, lead = rows()
    share = (1.0,) * 8
    radius = 0.5 * float((lead / np.abs(pull).sum(1)).min())  # no row can fall
    before = x.copy()
    found = run(toy, x, y, Scribbles(radius, share), attack)
    assert not found.rows["broken"].any() and found.rows["inside"].all() and (x == before).all()


class Stuck(Known):
    def project(self, x, origin):
        return origin


@pytest.mark.parametrize("attack", ["evasion.pgd", "evasion.apgd_ce", "suite.standard"])
def test_41_a_projection_that_always_gives_the_origin_shows_nothing_regression(attack):
    """Every row resisted, though no point was ever tried but the inputs themselves."""
    toy, x, y, _, _ = rows(20)
    share = (1.0,) * 8
    stuck = run(toy, x, y, Stuck(0.3, share), attack)
    check = next(one for one in stuck.health if one.number == 41)
    assert stuck.verdict == "inconclusive" and check.ok is False and check.fatal
    moving = run(toy, x, y, Known(0.001, share), attack)
    assert moving.rate == 0 and next(one for one in moving.health if one.number == 41).ok is True


class Odd(Known):
    """Each answer as the test wants it."""

    def __init__(self, **wrong):
        super().__init__(0.1, (1.0,) * 8)
        for name, value in wrong.items():
            object.__setattr__(self, name, value)

    def check(self, claim, origin):
        return np.abs(np.float64(claim) - np.float64(origin)).max(1) <= self.radius * (1 + 1e-6)


def _raises(claim, origin):
    raise RuntimeError("my own fault")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"project": lambda x, origin: None}, "project gave a NoneType; give a tensor"),
        ({"project": _raises}, r"project failed on \d rows: RuntimeError: my own fault"),
        ({"project": lambda x, origin: x * float("nan")}, "led row 0 to where its own check says no"),
        ({"check": lambda claim, origin: np.ones(len(claim) + 1, bool)}, r"check gave shape \(\d,\) for \d rows"),
        ({"check": lambda claim, origin: True}, r"check gave shape \(\) for \d rows"),
        ({"check": _raises}, r"check failed on \d rows"),
        ({"measure": lambda claim, origin: None}, r"measure gave None for \d rows"),
        ({"measure": lambda claim, origin: np.full(len(claim), np.nan)}, "measure gave NaN"),
        ({"measure": lambda claim, origin: ["far"] * len(claim)}, "measure gave a list; give one value"),
        ({"measure": _raises}, r"measure failed on \d rows"),
        ({"sample": lambda origin, rng, rows, key: None}, r"sample gave object of shape \(\) for \(10, 8\)"),
        ({"low": "a"}, "low='a' of within=.* is not a number"),
    ],
)
@pytest.mark.parametrize("attack", ["evasion.pgd", "evasion.hopskipjump"])
def test_what_an_own_constraint_gives_wrongly_is_one_clear_message_regression(attack, wrong, words):
    toy, x, y, _, _ = rows()
    with pytest.raises(BadInput, match=words):
        run(toy, x, y, Odd(**wrong), attack)
