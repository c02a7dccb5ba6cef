"""The rules of attacks on inputs: what they claim, and that nothing but the row decides it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.case import Evade
from ..core.endpoint import Endpoint
from ..core.oracle import Meter
from ..core.target import take, to_numpy
from ..judges.evade import judge
from ..runs.evade import Setting, run_evade
from ._trial import Trial, adversary_of, joined, shards, shuffled, trial
from .contract import demand, distance
from .rig import Rig, Setup, Variant

NEAR = 1e-6  # of the domain: what float64 arithmetic in another order may cost over a whole attack


def setting_of(attack: Any, rig: Rig, setup: Setup, health: bool) -> Setting:
    """What a whole cell of evasion runs under."""
    target: Any = setup.target
    return Setting(target=target, adversary=adversary_of(attack, rig.budget), known=setup.known, check_health=health)


def constraint(attack: Any, rig: Rig) -> None:
    """Every claim, at every moment, lies inside the constraint in float64; of inputs in float32 too."""
    for single in (False, True) if "single" in rig.variants else (False,):
        done = trial(attack, rig, variant=Variant(single=single))
        case = done.case
        place = {row: i for i, row in enumerate(case.row.tolist())}
        moments = [(said.row, said.best) for said in done.said] + [(case.row, done.claim)]
        for row, best in moments:
            origin = take(case.x, np.array([place[r] for r in row.tolist()]))
            ok = np.asarray(case.within.check(best, to_numpy(origin)), bool)
            sizes = np.asarray(case.within.measure(best, to_numpy(origin)))[~ok]
            found = f"rows {np.asarray(row)[~ok][:5].tolist()} are outside, at sizes {sizes[:5].tolist()} of {case.within!r}"
            demand(ok.all(), "constraint", attack.info.id, found, "project, in the precision of the input, before claiming")


def stands(attack: Any, rig: Rig) -> None:
    """What an attack says is broken stays broken, and the judge sees it so."""
    for seek in ("any", "nearest"):
        done = trial(attack, rig, seek=seek)
        before: set[int] = set()
        for said in done.said:
            lost = before & set(said.row[~said.broken].tolist())
            lost = set() if attack.info.scope == "set" else lost  # a change for all may win some and lose others
            demand(not lost, "stands", attack.info.id, f"rows {sorted(lost)} were broken and are not any more", _BEST)
            before |= set(said.row[said.broken].tolist())
        seen = judge(done.case, done.claim, Endpoint(done.setup.target), Meter(done.case.row)).met  # type: ignore[arg-type]
        wrong = done.case.row[done.believed & ~seen]
        demand(not len(wrong), "stands", attack.info.id, f"rows {wrong.tolist()} are believed broken and are not", _BEST)


_BEST = "keep the best claim so far and what was seen there together"


def failure(attack: Any, rig: Rig) -> None:
    """A row that fails gives its input back, at infinite distance; with no room to move every row fails."""
    for radius in (0.0, 1.0) if "radius" in rig.variants else (1.0,):
        setup = rig.make(Variant(radius=radius))
        assert isinstance(setup.case, Evade)
        part = run_evade(attack, setup.case, setting_of(attack, rig, setup, False))
        failed = np.flatnonzero(~part.rows["broken"])
        found = f"{int(part.rows['broken'].sum())} rows broke with no room to move"
        demand(radius or len(failed) == len(setup.case), "failure", attack.info.id, found, "claim only what was moved")
        gap = distance(take(part.claims, failed), take(setup.case.x, failed))
        demand(gap == 0, "failure", attack.info.id, f"a failed row came back changed by {gap:g}", "claim nothing for it")
        far = np.isinf(part.rows["distance"][failed]).all()
        demand(far, "failure", attack.info.id, "a failed row has a distance", "none is due")


def batch(attack: Any, rig: Rig) -> None:
    """A row's outcome does not depend on the rows that travel with it."""
    whole = trial(attack, rig)
    for size in (1, 3):
        part = shards(attack, rig, size)
        _alike(attack, rig, "batch", whole, part.claim, part.believed, f"in shards of {size}", _OWN)


_OWN = "let every number belong to one row: no mean over the batch, no randomness but by row id"


def order(attack: Any, rig: Rig) -> None:
    """Nor on their order: what a row is, its id says."""
    whole = trial(attack, rig)
    order = np.random.default_rng(1).permutation(len(whole.case))
    turned = trial(attack, rig, index=order)
    back = np.argsort(order)
    _alike(attack, rig, "order", whole, take(turned.claim, back), turned.believed[back], "in another order", _OWN)


def _alike(attack: Any, rig: Rig, rule: str, whole: Trial, claim: Any, believed: Any, how: str, advice: str) -> None:
    within = whole.case.within
    gap = distance(joined([whole.claim]), claim)
    ok = gap <= NEAR * (getattr(within, "high", 1.0) - getattr(within, "low", 0.0))
    demand(ok, rule, attack.info.id, f"{how} on {rig.name} the claims differ by {gap:g}", advice)
    same = bool((whole.believed == believed).all())
    demand(same, rule, attack.info.id, f"{how} on {rig.name} other rows break", advice)


def shift(attack: Any, rig: Rig) -> None:
    """A number added to all logits of a row changes no decision, and so no attack."""
    if "shift" not in rig.variants:
        return
    whole = trial(attack, rig)
    for shift in (-50.0, 50.0):
        other = trial(attack, rig, variant=Variant(shift=shift))
        advice = "mask logits with minus infinity, never by multiplying"
        _alike(attack, rig, "shift", whole, other.claim, other.believed, f"with {shift:+g} on every logit", advice)


def rescale(attack: Any, rig: Rig) -> None:
    """In other units (inputs, radius and domain together) the same attack takes place."""
    if "scale" not in rig.variants:
        return
    whole = trial(attack, rig)
    for low, scale in ((-1.0, 2.0), (0.0, 256.0)):
        other = trial(attack, rig, variant=Variant(low=low, scale=scale))
        back = (np.asarray(other.claim) - low) / scale
        advice = "take every length from the constraint: radius, low and high"
        _alike(attack, rig, "rescale", whole, back, other.believed, f"on [{low:g}, {low + scale:g}]", advice)


def record(attack: Any, rig: Rig) -> None:
    """All state of a row lives in the record: rows that are shuffled and taken out on the way end up the same."""
    plain, turned = (trial(attack, rig, drive=shuffled(shuffle)) for shuffle in (False, True))
    first, second = plain.last(), turned.last()
    span = getattr(plain.case.within, "high", 1.0) - getattr(plain.case.within, "low", 0.0)
    worst = max((distance(first[row], second.get(row)), row) for row in first)
    found = f"row {worst[1]} differs by {worst[0]:g} once rows are shuffled between yields"
    demand(worst[0] <= NEAR * span, "record", attack.info.id, found, "keep row tensors in the record (Rows.keep), nowhere else")


