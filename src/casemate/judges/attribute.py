"""Judging inferred attributes: what the model gave away beyond what anybody could have guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Attribute, Values
from ..core.errors import BadInput
from ..core.evidence import Baseline, Check, Interval
from ..core.target import count, to_numpy
from .opinion import Opinion, column, failed
from .statistics import clopper_pearson

MEASURE = "gain over imputation"
LINE = 0.05  # a gain that matters: one person in twenty
FEWEST = 20  # people: with fewer even a perfect attack shows next to nothing
TAUGHT = 50  # people whose value is known: a label right nine times in ten passes for a leak in 39 runs of 100 with 20, 6 with 50
Flags = NDArray[np.bool_]


def judge(
    case: Attribute, claim: Values | None, queries: int, impute: Callable[[Attribute], dict[str, NDArray[np.int64]]]
) -> Opinion:
    """Compare with the truth, and with what a model of the population says that never saw the target.

    The measure is the accuracy on members (on all, where the case does not tell members) less that of the best imputation,
    which is chosen by hindsight, so that a correlation is never called a leak. Both are counted on the same people: the
    interval takes the Clopper-Pearson bounds, at 97.5 % each, of the shares whom only one of the two gets right. `broken`
    when it lies above 0, and the population is large enough for imputation to learn from (check 51).

    Args:
        impute: ``case -> {method: (n,) index into case.values}``, from the population alone.
    """
    truth, member = _truth(case), _members(case)
    if claim is None:
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=("the attack claimed nothing",))
    value = places(claim.value, case.values)
    if value.shape != truth.shape or (value < 0).any():
        return failed(MEASURE, int(member.sum()), f"a claim names one of {list(case.values)} for each of {len(truth)} records")
    right = value == truth
    guesses = {name: np.asarray(found) == truth for name, found in impute(case).items()}
    best = max(guesses, key=lambda name: int((guesses[name] & member).sum()))
    rate, interval = gain(right[member], guesses[best][member])
    accuracy = clopper_pearson(int((guesses[best] & member).sum()), int(member.sum()))
    taught = _taught(case)
    broken = interval.low > 0 and taught.ok is True
    return Opinion(
        measure=MEASURE, rate=rate, interval=interval, n=int(member.sum()), broken=broken, line=LINE,
        why=_why(right, guesses[best], member, best, interval, broken),
        baseline=Baseline(f"imputation by {best}, gain over itself", 0.0),
        checks=(_apart(case, truth), _enough(member), taught), queries=float(queries) if broken else None,
        extra=_extra(case, claim, truth, right, guesses, best, member) | {"imputation": [accuracy.low, accuracy.high]},
        rows={
            "row": np.arange(len(truth)), "member": member, "truth": column(case.values)[truth],
            "guess": column(case.values)[value], "right": right, "imputed_right": guesses[best],
        },
    )  # fmt: skip


def gain(right: Flags, other: Flags) -> tuple[float, Interval]:
    """By how much a share of right answers exceeds another on the same people, and its interval."""
    n = len(right)
    won, lost = int((right & ~other).sum()), int((other & ~right).sum())
    a, b = clopper_pearson(won, n, 0.975), clopper_pearson(lost, n, 0.975)
    rate = (won - lost) / n if n else 0.0
    return rate, Interval(a.low - b.high, a.high - b.low, "Clopper-Pearson, Bonferroni", 0.95)


def places(found: Any, values: tuple[Any, ...]) -> NDArray[np.int64]:
    """Which of `values` each entry is ``(n,)``; -1 where it is none of them."""
    a, b = column(found), column(values)
    if "U" in (a.dtype.kind, b.dtype.kind):
        a, b = a.astype(str), b.astype(str)
    same = np.equal.outer(a.ravel(), b)
    return np.where(same.any(1), same.argmax(1), -1)


def _truth(case: Attribute) -> NDArray[np.int64]:
    """The true values, as places in ``case.values`` ``(n,)``."""
    truth = places([] if case.truth is None else case.truth, case.values)
    if len(truth) != count(case.x) or not len(truth) or (truth < 0).any():
        raise BadInput(f"inferred values are judged by the truth; give truth= with one of {list(case.values)} per row of x")
    return truth


def _members(case: Attribute) -> Flags:
    """On whom is judged ``(n,)``: members, or everybody where nobody is said to be one."""
    if case.member is None:
        return np.ones(count(case.x), bool)
    member = np.asarray(to_numpy(case.member), bool)
    if len(member) != count(case.x) or not member.any():
        raise BadInput(f"member= has {len(member)} entries, {int(member.sum())} of them true; one per row of x, at least one")
    return member


def _why(right: Flags, imputed: Flags, member: Flags, best: str, interval: Interval, broken: bool) -> tuple[str, ...]:
    side = "above" if interval.low > 0 else "not above"
    said = [f"the interval {interval} of the gain over imputation ({best}) lies {side} 0"]
    if broken and (~member).any():
        apart = _difference(right, imputed, member)
        if apart.low > 0:
            said.append("members lose more than others do: the model keeps what it was told of them")
        else:
            said.append("others may lose as much: the model tells what it learned of everybody, not only of its members")
    return tuple(said)


def _difference(right: Flags, imputed: Flags, member: Flags) -> Interval:
    """The gain on members less that on others."""
    (_, a), (_, b) = gain(right[member], imputed[member]), gain(right[~member], imputed[~member])
    return Interval(a.low - b.high, a.high - b.low, "Clopper-Pearson, Bonferroni", 0.90)


def _extra(
    case: Attribute, claim: Values, truth: NDArray[np.int64], right: Flags, guesses: dict[str, Flags], best: str, member: Flags
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "accuracy": _share(right[member]), "imputation_accuracy": {name: _share(own[member]) for name, own in guesses.items()},
        "recall": {str(v): _recall(truth == i, right, guesses[best], member) for i, v in enumerate(case.values)},
    }  # fmt: skip
    if (~member).any():
        rate, interval = gain(right[~member], guesses[best][~member])
        apart = _difference(right, guesses[best], member)
        found["others"] = {"accuracy": _share(right[~member]), "gain": [rate, interval.low, interval.high]}
        found["members_less_others"] = [apart.low, apart.high]
    if claim.sure is not None and np.asarray(claim.sure).shape == right.shape:
        few = np.argsort(-np.asarray(claim.sure, float), kind="stable")
        few = few[member[few]][: max(1, int(member.sum()) // 10)]
        found["surest_tenth"] = _share(right[few]) | {"imputation": float(guesses[best][few].mean())}
    return found | claim.detail


def _recall(own: Flags, right: Flags, imputed: Flags, member: Flags) -> dict[str, Any]:
    """Of the members who have a value, how many are told, and how many imputation tells."""
    who = own & member
    return _share(right[who]) | {"imputation": float(imputed[who].mean()) if who.any() else None}


def _share(flags: Flags) -> dict[str, Any]:
    interval = clopper_pearson(int(flags.sum()), len(flags))
    return {"rate": float(flags.mean()) if len(flags) else None, "low": interval.low, "high": interval.high, "n": len(flags)}


def _apart(case: Attribute, truth: NDArray[np.int64]) -> Check:
    """Whoever is in the population with the column filled in need not be asked about."""
    number, name = 48, "population apart from candidates"
    if case.population is None:
        return Check(number, name, None, "does not apply: there is no population", fatal=False, applies=False)
    rows = [_keys(x, case.column) for x in (case.population.x, case.x)]
    held = set(rows[0])
    both = sum(key in held for key in rows[1])
    detail = f"{both} of {len(truth)} candidates are like somebody in the population in every other column"
    return Check(number, name, both <= 0.05 * len(truth), detail, fatal=True)


def _keys(x: Any, hidden: Any) -> list[str]:
    if hasattr(x, "itertuples"):
        return [repr(row) for row in x.drop(columns=[hidden]).itertuples(index=False, name=None)]
    return [row.tobytes().hex() for row in np.ascontiguousarray(np.delete(np.asarray(to_numpy(x), float), hidden, 1))]


def _enough(member: Flags) -> Check:
    n = int(member.sum())
    return Check(49, "enough people", n >= FEWEST, f"{n} people are judged; {FEWEST} are the fewest", fatal=True)


def _taught(case: Attribute) -> Check:
    """A correlation that the model saw, and that the population is too small to show, would pass for a leak."""
    n = 0 if case.population is None else _known(case.population.x, case)
    detail = f"{n} people with the column filled in; {TAUGHT} are the fewest"
    detail += "" if n >= TAUGHT else ", as fewer cannot exclude that the other columns give it away anyhow"
    return Check(51, "population large enough for the baseline", n >= TAUGHT, detail)


def _known(x: Any, case: Attribute) -> int:
    """How many of the population have a value that counts; numbers count as the nearest."""
    held = column(x[case.column] if hasattr(x, "iloc") else np.asarray(to_numpy(x))[:, case.column])
    if held.dtype.kind != "U" and column(case.values).dtype.kind != "U":
        return len(held)
    return int((places(held, case.values) >= 0).sum())
