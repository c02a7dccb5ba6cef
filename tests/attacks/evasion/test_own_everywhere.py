"""A constraint, a loss and a goal of one's own: every attack takes them for what they are, or says why it cannot."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

import casemate as cm
from casemate.attacks import (
    APGD,
    APGDDLR,
    APGDT,
    FGSM,
    NES,
    PGD,
    SPSA,
    HopSkipJump,
    Noise,
    SimBA,
    Square,
    Transfer,
    TransferSimilar,
    TransferSurrogate,
)
from casemate.core.adversary import Need, researcher
from casemate.core.attack import attacks
from casemate.core.errors import BadInput
from casemate.runs.evade import Setting, run_evade
from casemate.testing import check_attack
from casemate.testing.rig import Rig
from casemate.testing.rigs import rigs_for
from casemate.testing.toys import linear

torch.set_num_threads(1)
D = 8
AXES = np.array([1.0, 0.4, 0.7, 0.3, 1.0, 0.5, 0.25, 0.8])
EVASION = [attacks.get(id).info for id in attacks if id.startswith("evasion.")]
ABLE = {info.id for info in EVASION if "Region" in info.within}


@dataclass(frozen=True)
class Ellipsoid:
    """Changes whose length is at most `radius`, each value counted in its own unit: a weighted l2 ball, with no box."""

    radius: float
    low: float = -1.0
    high: float = 2.0

    def axes(self, x):
        return np.resize(AXES, math.prod(x.shape[1:]))

    def measure(self, claim, origin):
        change = (np.float64(claim) - np.float64(origin)).reshape(len(claim), -1)
        return np.linalg.norm(change / self.axes(change), axis=1)

    def check(self, claim, origin):
        return self.measure(claim, origin) <= self.radius

    def project(self, x, origin):
        """The nearest point: each value of the change over 1 + level / axis^2, at the level that gives the length."""
        change = (x - origin).double().flatten(1)
        axes = torch.as_tensor(self.axes(change), dtype=torch.float64)
        room = self.radius * (1 - 1e-5)
        far = (change / axes).norm(dim=1, keepdim=True)
        low, high = torch.zeros_like(far), far / room * axes.max() ** 2
        for _ in range(30):
            level = (low + high) / 2
            over = (change * axes / (axes**2 + level)).norm(dim=1, keepdim=True) > room
            low, high = torch.where(over, level, low), torch.where(over, high, level)
        near = torch.where(far > room, change * axes**2 / (axes**2 + high), change)
        return (origin + near.reshape(x.shape)).to(x.dtype)


@dataclass(frozen=True)
class Shares:
    """Each value may move by its own share of `radius`: a box of unequal sides."""

    radius: float
    low: float = -1.0
    high: float = 2.0
    along = "signs"

    def axes(self, x):
        return np.resize(AXES, math.prod(x.shape[1:]))

    def measure(self, claim, origin):
        change = (np.float64(claim) - np.float64(origin)).reshape(len(claim), -1)
        return (np.abs(change) / self.axes(change)).max(1)

    def check(self, claim, origin):
        return self.measure(claim, origin) <= self.radius

    def project(self, x, origin):
        room = self.radius * (1 - 1e-5) * torch.as_tensor(self.axes(x)).reshape(x.shape[1:]).to(x)
        return x.clamp(origin - room, origin + room)


REGIONS = (Ellipsoid, Shares)


def rows(classes, n=9):
    """A linear model, rows each at another distance, and how far each is from another decision in either region."""
    toy = linear(classes, (D,), seed=3)
    x, y = toy.inputs(n, seed=1, dtype="float64")
    pull = toy.weight[None] - toy.weight[y][:, None]
    lead = toy(x)[np.arange(n), y][:, None] - toy(x)
    lead[np.arange(n), y] = np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = {Ellipsoid: lead / np.linalg.norm(pull * AXES, axis=2), Shares: lead / np.abs(pull * AXES).sum(2)}
    return toy, x, y, {kind: np.where(np.isfinite(lead), far, np.inf).min(1) for kind, far in exact.items()}


def attacked(attack, module, case, known=None):
    """The attack and the judge, without the health checks: those ask the model too."""
    known = known or cm.Known(parent=cm.wrap(module))
    return run_evade(attack, case, Setting(target=cm.wrap(module), adversary=researcher(), known=known, check_health=False))


CLIMBS = [FGSM(), PGD(), APGD(steps=40), APGDDLR(steps=40), APGDT(steps=40), Transfer(steps=40)]
SEARCHES = [
    (NES(steps=40), 1.1), (SPSA(steps=40), 1.1), (SimBA(steps=150, basis="pixel"), 1.15), (Square(steps=150), 1.1),
    (HopSkipJump(steps=10), 1.05), (Noise(trials=20), np.inf),
]  # fmt: skip
names = pytest.mark.parametrize
kinds = names("kind", REGIONS)


def between(attack, kind, classes, room, factors=(1.021,)):
    """At radii near the exact distance of one row: what is nearer than `room` allows breaks, what is further does not."""
    toy, x, y, exact = rows(classes)
    module, broke = toy.module("float64"), 0
    for factor in factors:
        within = kind(float(factor * exact[kind][5]))
        found = attacked(attack, module, cm.Evade(x, y, within))
        share, broken = within.radius / exact[kind], found.rows["broken"]
        assert (share <= 0.99).sum() > 2 and (share >= 1.02).sum() > 2
        assert broken[share >= room].all(), share[~broken & (share >= room)]
        assert not broken[share <= 0.99].any(), share[broken & (share <= 0.99)]
        assert within.check(np.asarray(found.claims), x).all() and found.rows["inside"].all()
        broke += int(broken.sum())
    return broke


@kinds
@names("attack", CLIMBS, ids=lambda a: a.info.id)
def test_a_climb_breaks_at_the_exact_distance_of_a_region_and_not_before(attack, kind):
    assert between(attack, kind, 2, 1.02, factors=(1.021, 0.989))


@kinds
def test_of_several_boundaries_the_one_that_goes_to_each_finds_the_nearest(kind):
    assert between(APGDT(steps=40), kind, 4, 1.02)


@kinds
@names(("attack", "room"), SEARCHES, ids=lambda a: a.info.id if hasattr(a, "info") else str(a))
def test_a_search_breaks_near_the_exact_distance_of_a_region_and_not_before(attack, room, kind):
    if isinstance(attack, Square) and kind is Ellipsoid:
        with pytest.raises(BadInput, match="only one that limits each value alone has such ends"):
            between(attack, kind, 2, room)
        return
    assert between(attack, kind, 2, room) or room == np.inf


SMALL = {
    made.info.id: made
    for made in (
        FGSM(), PGD(steps=4), APGD(steps=5, restarts=2), APGDDLR(steps=5), APGDT(steps=4, targets=2), NES(steps=3, pairs=4),
        SPSA(steps=3, pairs=4), SimBA(steps=12), Square(steps=12), HopSkipJump(steps=2, evals=20), Noise(trials=4),
        Transfer(steps=4, check_every=2, neighbours=1, nesterov=True),
    )
}  # fmt: skip


class Scaled(Ellipsoid):
    """The same, brought back along a straight line: not the nearest point, and cheap."""

    def project(self, x, origin):
        change = (x - origin).flatten(1)
        length = (change / torch.as_tensor(self.axes(x)).to(x)).norm(dim=1, keepdim=True).clamp_min(1e-30)
        return origin + (change * (self.radius * (1 - 1e-5) / length).clamp(max=1)).reshape(x.shape)


def rig(kind):
    """The contract's own linear model, under a region in place of its ball."""
    plain = next(rig for rig in rigs_for(PGD.info) if rig.name == "linear linf")

    def make(variant):
        setup = plain.make(variant)
        ball = setup.case.within
        span = ball.high - ball.low  # all around the domain, for regions that have no box of their own
        within = kind(2 * ball.radius, ball.low - span, ball.high + span)
        return replace(setup, case=replace(setup.case, within=within))

    return Rig(name=f"linear {kind.__name__}", make=make, variants=frozenset({"shift", "scale", "single"}))


@names("id", sorted(ABLE))
def test_the_whole_contract_holds_in_a_region(id):
    kind = Shares if id in ("evasion.square", "evasion.hopskipjump") else Scaled
    check_attack(SMALL[id], rigs=[rig(kind)])


class Sphere(Ellipsoid):
    def axes(self, x):
        return np.ones(math.prod(x.shape[1:]))


@names("attack", [PGD(steps=10), APGD(steps=10), FGSM(), Transfer(steps=10)], ids=lambda a: a.info.id)
def test_a_region_that_is_a_ball_breaks_the_rows_the_ball_breaks(attack):
    toy, x, y, _ = rows(2)
    radius = float(np.median(toy.distance(x, y, "l2")))
    both = [
        attacked(attack, toy.module("float64"), cm.Evade(x, y, within)).rows["broken"]
        for within in (Sphere(radius), cm.Ball("l2", radius, -1.0, 2.0))
    ]
    assert (both[0] == both[1]).all() and 0 < both[0].sum() < len(x)


# -- refusals ----------------------------------------------------------------------------------------------------------

ARRAYS = [info for info in EVASION if "array" in info.modality and "Ball" in info.within]


def holding(toy, x, y):
    return cm.Known(parent=cm.wrap(toy.module("float64")), data=(x.copy(), y.copy()))


@names("id", sorted({info.id for info in ARRAYS if Need.STRUCTURE not in info.needs} - ABLE))
def test_an_attack_that_cannot_says_why_and_which_can(id):
    toy, x, y, _ = rows(4)
    with pytest.raises(BadInput) as found:
        cm.run(id, toy.module("float64"), cm.Evade(x, y, Ellipsoid(0.1)), seed=0, known=holding(toy, x, y))
    words = str(found.value)
    assert words.startswith(f"{id} ") and "got Ellipsoid(radius=0.1" in words and "\n" not in words
    able = words.split(" work with ")[1].split(", ")
    assert set(able) == ABLE and id not in able
    assert len(words.split("): ")[1].split(";")[0]) > 20  # the reason


def test_what_accepts_a_region_is_what_the_registry_says():
    assert set(SMALL) == ABLE and len(ABLE) >= 12
    for attack in (TransferSurrogate, TransferSimilar):
        assert attack.info.id not in ABLE


@dataclass(frozen=True)
class Nowhere(Shares):
    low: float = -np.inf
    high: float = np.inf


@names(
    ("attack", "words"),
    [
        (HopSkipJump(), "give it low and high"), (Transfer(scales=2), "give Nowhere.* a low"),
    ],
    ids=lambda a: a.info.id if hasattr(a, "info") else "",
)  # fmt: skip
def test_what_needs_the_domain_asks_for_it(attack, words):
    toy, x, y, _ = rows(2)
    with pytest.raises(BadInput, match=words):
        cm.run(attack, toy.module("float64"), cm.Evade(x, y, Nowhere(0.1)), seed=0, known=holding(toy, x, y))


def test_of_a_known_constraint_the_attacks_that_know_it_are_named():
    toy, x, y, _ = rows(2)
    table = cm.Table({"a": cm.Column(kind="real", low=0, high=1)}, names=tuple("abcdefgh"))
    with pytest.raises(BadInput, match=r"a Table works with evasion\.constrained_pgd"):
        cm.run("evasion.fmn", toy.module("float64"), cm.Evade(x, y, table), seed=0)


class Same(Shares):
    """A projection that hands back the very origin: nothing may write to it."""

    def project(self, x, origin):
        return origin


@names("id", sorted(ABLE))
def test_a_projection_that_hands_back_the_origin_leaves_the_inputs_alone(id):
    toy, x, y, _ = rows(4)
    before = x.copy()
    found = attacked(SMALL[id], toy.module("float64"), cm.Evade(x, y, Same(0.1)))
    assert not found.rows["broken"].any() and (x == before).all() and (np.asarray(found.claims) == before).all()


# -- a loss and a goal of one's own ------------------------------------------------------------------------------------

SLOPES = [
    info.id for info in EVASION
    if info.scope == "rows" and "array" in info.modality and info.needs & (Need.GRADIENT | Need.PARENT)
]  # fmt: skip
REFUSED = {"evasion.deepfool"}  # goes from class to class by their own slopes
SHAPES = {"evasion.patch": (1, 4, 4)}


def within_for(id):
    info = attacks.get(id).info
    if "Ball" in info.within:
        return cm.Ball(info.norms[0], {"linf": 0.15, "l2": 0.4, "l1": 1.0, "l0": 3}[info.norms[0]], 0.0, 1.0)
    if "Patch" in info.within:
        return cm.Patch(0.6, 0.0, 1.0)
    return cm.Table({name: cm.Column(kind="real", low=0, high=1) for name in "abcdefgh"}, names=tuple("abcdefgh"))


def climbed(id, loss=None, goal=None):
    """An attack of a few steps: the model, the truth, what came of it, and every point it asked about, in order."""
    toy = linear(4, SHAPES.get(id, (D,)), seed=3)
    x, y = toy.inputs(9, seed=1, dtype="float64")
    asked = []

    class Watched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = toy.module("float64")
            self.eval()

        def forward(self, x):
            asked.append(x.detach().numpy().copy())
            return self.inner(x)

    case = cm.Evade(x, y, within_for(id), goal=goal or cm.Wrong(), loss=loss, seek="nearest")
    kind, remote = attacks.get(id), Need.PARENT in attacks.get(id).info.needs
    few = kind(**({"steps": 12} if "steps" in kind.__dataclass_fields__ else {}))
    known = cm.Known(parent=cm.wrap(Watched())) if remote else cm.Known()
    return toy, y, attacked(few, toy.module("float64") if remote else Watched(), case, known), asked


def same(one, other):
    return len(one) == len(other) and all(a.shape == b.shape and (a == b).all() for a, b in zip(one, other, strict=True))


def third(logits, y):
    """Towards class 2, whatever is true."""
    return logits[:, 2] - logits[:, [0, 1, 3]].amax(1)


@names("id", SLOPES)
def test_an_own_loss_is_climbed_or_refused_with_the_reason(id):
    if id in REFUSED:
        with pytest.raises(BadInput, match=rf"^{id} .*climbs no loss; leave loss= out$"):
            climbed(id, loss=third)
        return
    plain = climbed(id)[3]
    assert same(plain, climbed(id)[3])  # nothing else makes a difference
    assert not same(plain, climbed(id, loss=third)[3]), f"{id} asked the very same with another loss"


@dataclass(frozen=True)
class Third:
    """Success is class 2, whatever is true."""

    def met(self, decision, y):
        return decision == 2

    def loss(self, logits, y):
        return third(logits, y)


@names("id", SLOPES)
def test_an_own_goal_decides_and_is_climbed_or_is_refused_with_the_reason(id):
    if id in REFUSED:
        with pytest.raises(BadInput, match=rf"^{id} goes from class to class.*Third"):
            climbed(id, goal=Third())
        return
    toy, y, found, _ = climbed(id, goal=Third())
    broken = found.rows["broken"]
    assert (found.rows["right"] == (y != 2)).all() and broken.any()
    assert (toy(np.asarray(found.claims)[broken]).argmax(1) == 2).all()
    wished = climbed(id, goal=cm.Becomes(2))[2].rows["broken"]  # the same wish, in words that every attack knows
    assert abs(int(broken.sum()) - int(wished.sum())) <= 2
