"""Judging poison that is after something other than the error: a backdoor, or inputs to be misread.

Both are judged the same way: models are trained with the poison and without, on the same seeds, and success is counted on
inputs that no training saw. What a clean model does by itself is taken off, and what the poison costs in clean accuracy
stands beside it: a backdoor that spoils the model is found by anybody who looks. Where the clean model already decides so for
most of the trials, a trigger that always works could not gain enough to count, and nothing is decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Backdoor, Misread, Poison, Records
from ..core.errors import BadInput
from ..core.evidence import Baseline, Check, Interval
from ..core.target import Target, count, take
from .opinion import Opinion, failed
from .poison import decided, paired, places, truth_of
from .poisoned import Data, campaigns, changed, invalid, with_records

BACKDOOR = "backdoor success above the clean model's"
MISREAD = "inputs misread as wanted above the clean model's"
ENOUGH = 0.5  # a trigger that works every other time serves
ALREADY = "already decides so"  # begins the reason where no trigger could reach the line
QUIET = 0.01  # clean accuracy that may be lost before a backdoor is noticed
Hits = NDArray[np.bool_]  # (seeds, trials)


@dataclass(frozen=True, slots=True)
class _Trained:
    """What the victims of one number of records do: hits of the aim ``(seeds, trials)`` and clean errors ``(seeds, rows)``."""

    hits: Hits
    wrong: NDArray[np.bool_]


def judge(case: Poison, claim: Records | None, paid: int, *, seed: int = 0, enough: float = ENOUGH) -> Opinion:
    """Success of a `Backdoor` or of `Misread` at the declared fractions that were paid for.

    Args:
        paid: Records the ledger has for the attack; a claim of more is void.
        enough: The rate that would matter. `broken` when the rate above the clean model's is at least this, and its
            interval (paired bootstrap over seeds and trials) lies above 0.

    Raises:
        BadInput: No held-out data, or for a backdoor none of a class the trigger is for.
    """
    truth, aim = case.truth, case.aim
    if truth is None or not count(truth.x):
        raise BadInput("poisoning is judged on data held out; give truth= with at least one row")
    measure = BACKDOOR if isinstance(aim, Backdoor) else MISREAD
    if claim is None:
        return Opinion(measure=measure, rate=0.0, n=0, broken=False, why=("no record was written",))
    if reason := invalid(claim, case, paid) or _untriggered(aim, claim):
        return failed(measure, count(truth.x), reason)
    size, most = count(case.recipe.x), max(len(own) for own in campaigns(claim))
    marks = sorted({int(f * size) for f in case.fractions if 0 < int(f * size) <= most} | {most})
    clean = _victims(case, claim, 0)
    found = {m: _victims(case, claim, m) for m in marks}
    gain = {m: f.hits.astype(float) - clean.hits for m, f in found.items()}
    rates = {m: float(g.mean()) for m, g in gain.items()}
    rate, interval = rates[most], paired(gain[most], seed)
    broken = interval.low > 0 and rate >= enough
    first = next((m for m in marks if rates[m] >= enough), None)
    return Opinion(
        measure=measure, rate=rate, interval=interval, n=clean.hits.shape[1], broken=broken, line=enough,
        why=_why(found[most], clean, rate, interval, most, size),
        undecided=no_room(float(clean.hits.mean()), enough, "model"),
        baseline=Baseline("clean model by itself", float(clean.hits.mean())),
        checks=(changed(case, claim), _still(found[most], clean)),
        queries=0.0 if broken else None, records=first if broken else None,
        curves={"success": [(m / size, rates[m], *_bounds(paired(gain[m], seed))) for m in marks]},
        extra=_extra(case, found[most], clean, most, size),
        rows={"row": np.arange(clean.hits.shape[1]), "clean_hit": clean.hits.mean(0), "poisoned_hit": found[most].hits.mean(0)},
    )  # fmt: skip


def no_room(by_itself: float, enough: float, what: str) -> str:
    """Why success above a clean model's (or parent's) cannot reach the line, however well a trigger works; empty where it can.

    Args:
        by_itself: The share of the trials that come out as wanted without poison.
        what: The clean one: ``model`` or ``parent``.
    """
    if 1 - by_itself >= enough:
        return ""
    most = f"poison that always works gains {100 * (1 - by_itself):.1f} points at most, and {100 * enough:g} would count"
    return f"the clean {what} {ALREADY} for {100 * by_itself:.1f} %: {most}"


def _untriggered(aim: Any, claim: Records) -> str:
    if isinstance(aim, Backdoor) and claim.trigger is None:
        return "the aim is a backdoor and the claim names no trigger"
    return ""


def _victims(case: Poison, claim: Records, records: int) -> _Trained:
    """Train with the first `records` of the claim, once for each seed (and, where records belong to trials, for each trial)."""
    assert case.truth is not None
    truth = truth_of(case)
    hits, wrong = [], []
    for seed in case.seeds:
        models = _models(case, claim, records, seed)
        hits.append(_hits(case, claim, models))
        wrong.append(decided(case, models[0], case.truth.x) != truth)
    return _Trained(np.stack(hits), np.stack(wrong))


def _models(case: Poison, claim: Records, records: int, seed: int) -> list[Target]:
    """The victim of each trial; one victim for all where the records serve every trial."""
    x, y, chosen = case.recipe.x, case.recipe.y, np.arange(records)
    if claim.trial is None or not isinstance(case.aim, Misread) or not records:
        data = with_records(x, y, claim, chosen) if records else Data(x, y)
        return [case.recipe.fit(data.x, data.y, seed)]
    trial, found = np.asarray(claim.trial), []
    for which in range(count(case.aim.x)):
        # Each trial is a campaign of its own: the first `records` of those made for it.
        own = np.flatnonzero(trial == which)[:records]
        data = with_records(x, y, claim, own) if len(own) else Data(x, y)
        found.append(case.recipe.fit(data.x, data.y, seed))
    return found


def _hits(case: Poison, claim: Records, models: list[Target]) -> NDArray[np.bool_]:
    """Which trials come out as the attacker wants."""
    assert case.truth is not None
    aim = case.aim
    if isinstance(aim, Misread):
        wanted = places(case, aim.to)
        if len(models) == 1:
            return np.asarray(decided(case, models[0], aim.x) == wanted)
        each = [decided(case, model, take(aim.x, np.array([i])))[0] for i, model in enumerate(models)]
        return np.asarray(np.array(each) == wanted)
    assert isinstance(aim, Backdoor) and claim.trigger is not None
    truth, to = truth_of(case), int(places(case, [aim.to])[0])
    source = None if aim.source is None else int(places(case, [aim.source])[0])
    chosen = np.flatnonzero(truth != to if source is None else truth == source)
    if not len(chosen):
        raise BadInput(f"no held-out row is of a class the trigger is for (source={aim.source}, to={aim.to}); give some")
    marked = claim.trigger(take(case.truth.x, chosen))
    if count(marked) != len(chosen):
        raise BadInput(f"the trigger made {count(marked)} inputs of {len(chosen)}; it gives one for each")
    return np.asarray(decided(case, models[0], marked) == to)


def _still(found: _Trained, clean: _Trained) -> Check:
    lost = float(found.wrong.mean() - clean.wrong.mean())
    detail = f"clean accuracy falls by {100 * lost:.1f} points"
    return Check(44, "poison goes unnoticed", lost <= QUIET, detail, fatal=False)


def _bounds(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def _why(found: _Trained, clean: _Trained, rate: float, interval: Interval, most: int, size: int) -> tuple[str, ...]:
    return (
        f"{100 * found.hits.mean():.1f} % succeed with {most} of {size} records, {100 * clean.hits.mean():.1f} % without: "
        f"{rate:.3f} {interval} above the clean model",
    )


def _extra(case: Poison, found: _Trained, clean: _Trained, most: int, size: int) -> dict[str, Any]:
    return {
        "aim": case.aim.kind, "fraction": most / size, "records": most, "seeds": list(case.seeds),
        "success": float(found.hits.mean()), "clean_success": float(clean.hits.mean()),
        "clean_error": float(clean.wrong.mean()), "poisoned_error": float(found.wrong.mean()),
        "clean_labels": not case.labels,
    }  # fmt: skip
