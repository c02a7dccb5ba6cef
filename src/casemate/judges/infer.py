"""Judging membership guesses: how much better than a prior guess, and what the sample cannot say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.case import Guesses, Infer
from ..core.errors import BadInput
from ..core.evidence import Baseline, Check, Interval
from ..core.target import count, to_numpy
from .blind import ADVICE, MARGIN, Blind, blind, unseen
from .gaps import largest
from .opinion import Opinion, column, failed
from .roc import advantage, area, most_exposed, roc, slices, summary, tpr_at

MEASURE = "membership advantage"
LINE = 0.1  # an advantage that matters: one guess in ten better than chance
UNLIKE = 0.15  # difference of class shares from which a guess by class alone would pass for a leak
OVERLAP = 0.05  # share of others that may be members after all before nothing can be concluded

__all__ = ["LINE", "MEASURE", "advantage", "area", "judge", "roc", "tpr_at"]


def judge(case: Infer, claim: Guesses | None, queries: int) -> Opinion:
    """Compare guesses with the truth.

    The measure is ``TPR - FPR`` of the attacker's commitment; a record seen several times on its side counts once. Its interval
    takes the Clopper-Pearson bounds of both rates at a level of 97.5 % each, so that it holds at 95 % whatever the two have in
    common (Bonferroni). `broken` when it lies above 0; where the shares of classes on both sides differ (check 33), above what
    the classes alone give away; where members are told from others without the model (check 50), only if the attack gains
    `MARGIN` more on the same records; where that could not be looked at, nothing is. A commitment that names so few, or leaves
    out so few, that it could not reach the line even if it were right, shows nothing of how well the model resists. A
    true-positive rate at a false-positive rate that the non-members cannot vouch for is refused, with the number it takes.
    """
    truth = np.asarray(to_numpy(case.truth), bool) if case.truth is not None else np.zeros(0, bool)
    if len(truth) != count(case.x) or truth.all() or not truth.any():
        raise BadInput("membership is judged on members and others; give truth= with at least one of each, one per row of x")
    n = len(truth)
    if claim is None:
        return Opinion(measure=MEASURE, rate=0.0, n=0, broken=False, why=("the attack claimed nothing",))
    score, member = np.asarray(to_numpy(claim.score), float), np.asarray(to_numpy(claim.member))
    if score.shape != (n,) or member.shape != (n,) or member.dtype.kind != "b" or not np.isfinite(score).all():
        return failed(MEASURE, n, f"guesses must be {n} finite scores and {n} booleans")
    keys = _keys(case.x, case.y)
    once = _first(keys, truth)
    alike, apart = _alike(case, truth)
    rate, interval = advantage(member[once], truth[once])
    shares = 0.0 if alike.ok is not False else apart
    seen = blind(case.x, case.y, truth, once)
    told = {} if seen is None else seen.facts() | seen.against(member)
    broken = interval.low > shares and seen is not None and (not seen.clear or told["beyond_interval"].low > MARGIN)
    extra = summary(score[once], truth[once], member[once]) | {"most_exposed": most_exposed(score, truth)}
    extra |= _by_group(case, score, truth, member, once) | ({"blind": told} if told else {}) | claim.detail
    return Opinion(
        measure=MEASURE, rate=rate, interval=interval, n=len(once), broken=broken, line=LINE,
        why=_why(interval, shares, seen, told),
        undecided=_undecided(member[once], truth[once], shares) if shares or interval.high < LINE else "",
        baseline=_baseline(shares, seen, told),
        checks=(alike, *_apart(keys, truth), unseen(truth[once]) if seen is None else seen.check()),
        queries=float(queries) if broken else None,
        curves={"roc": roc(score[once], truth[once])}, extra=extra,
        rows={"row": np.arange(n), "member": truth, "guess": member.astype(bool), "score": score, "label": column(case.y)},
    )  # fmt: skip


def _why(interval: Interval, shares: float, seen: Blind | None, told: dict[str, Any]) -> tuple[str, ...]:
    """The measure against its bars, each in a sentence."""
    said = "0" if not shares else f"{shares:.3f}, which the classes alone give away"
    found = [f"the interval {interval} of the advantage lies {'above' if interval.low > shares else 'not above'} {said}"]
    if seen is not None and seen.clear:
        more, span = told["beyond"], told["beyond_interval"]
        found.append(
            f"a guess that never asks the model gains {told['advantage']:.3f} by naming as many: the attack gains {more:+.3f} "
            f"{span} beyond it, {'which is' if span.low > MARGIN else 'which is not'} clearly more than {MARGIN:g}"
        )
    return tuple(found)


def _baseline(shares: float, seen: Blind | None, told: dict[str, Any]) -> Baseline:
    """What is gained without the model: by the shares of classes, by the records where they tell more, or by nothing at all."""
    if seen is not None and seen.clear and told["interval"].low > shares:
        return Baseline("blind guess", told["advantage"], told["interval"])
    return Baseline("guess by class" if shares else "prior guess", shares)


def _by_group(
    case: Infer, score: Any, truth: NDArray[np.bool_], member: NDArray[np.bool_], once: NDArray[np.int64]
) -> dict[str, Any]:
    """The leak in each class, where labels are classes, and in each group the case names; and whether two of them differ."""
    sides: dict[str, NDArray[Any]] = {}
    label = column(case.y)
    if label.dtype.kind != "f" and len(label) == len(truth):
        sides["by_class"] = label[once]
    if case.group is not None:
        names = column(case.group)
        if names.shape != truth.shape:
            raise BadInput(f"group has shape {names.shape} for {len(truth)} candidates; give one name for each")
        sides["by_group"] = names[once]
    found: dict[str, Any] = {}
    for key, names in sides.items():
        found[key] = slices(score[once], truth[once], member[once], names)
        found[f"{key}_gap"] = largest(member[once], truth[once], names)
    return found


def _first(keys: list[bytes], truth: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The places of the records that no earlier one on their side equals."""
    seen: dict[tuple[bytes, bool], int] = {}
    for place, pair in enumerate(zip(keys, truth.tolist(), strict=True)):
        seen.setdefault(pair, place)
    return np.fromiter(seen.values(), np.int64)


def _undecided(member: NDArray[np.bool_], truth: NDArray[np.bool_], shares: float) -> str:
    """Why guesses that broke nothing show nothing either; empty where they do."""
    if shares:
        return f"members and others differ in their classes: what the model gives away cannot be told from that; {ADVICE}"
    yes, no, inside = int(member.sum()), int((~member).sum()), int(truth.sum())
    most = min(1.0, yes / inside, no / (len(truth) - inside))
    if most >= LINE:
        return ""
    return f"{yes} of {len(truth)} are called members: were that all right, the advantage would be {most:.3f}, below {LINE:g}"


def _apart(keys: list[bytes], truth: NDArray[np.bool_]) -> tuple[Check, Check]:
    """No record may be on both sides, and none should be counted twice.

    A share f of others that are members after all hides the same share of the advantage: up to one in twenty this moves no
    verdict, above it the measurement is not worth its name. Records seen twice would make every interval too narrow, and
    count once.
    """
    inside = {key for key, member in zip(keys, truth, strict=True) if member}
    both = sum(key in inside for key, member in zip(keys, truth, strict=True) if not member)
    others = int((~truth).sum())
    detail = f"{both} of {others} others are members too" + ("; leave them out of the candidates" if both else "")
    sides = set(zip(keys, truth.tolist(), strict=True))
    twice = len(keys) - len(sides)
    said = f"{twice} of {len(keys)} candidates repeat another of their side" + ("; each counts once" if twice else "")
    return (
        Check(45, "members and others apart", both == 0, detail, fatal=both > OVERLAP * others),
        Check(46, "no candidate twice", twice == 0, said, fatal=False),
    )


def _keys(x: Any, y: Any) -> list[bytes]:
    """One key per record, the same for equal inputs with equal labels, of whatever kind they are."""
    if hasattr(x, "itertuples"):
        rows = [repr(row).encode() for row in x.itertuples(index=False, name=None)]
    else:
        array = np.asarray(to_numpy(x)) if hasattr(x, "shape") else None
        if array is None or array.dtype.kind not in "biuf":
            rows = [repr(row).encode() for row in (x if array is None else array.tolist())]
        else:
            # Adding zero makes one of the two zeros; each row is then its bytes.
            flat = np.ascontiguousarray(array.reshape(len(array), -1) + array.dtype.type(0))
            rows = [row.tobytes() for row in flat]
    return [row + b"|" + str(label).encode() for row, label in zip(rows, column(y).tolist(), strict=True)]


def _alike(case: Infer, truth: NDArray[np.bool_]) -> tuple[Check, float]:
    """Members and others must come from one source, or their classes alone tell them apart; and by how much they do."""
    label = column(case.y)
    if label.dtype.kind == "f":
        why = "does not apply: labels are numbers, and their shares cannot be compared"
        return Check(33, "members and others alike", None, why, fatal=False, applies=False), 0.0
    shares = [np.array([(label[side] == name).mean() for name in np.unique(label)]) for side in (truth, ~truth)]
    apart = float(np.abs(shares[0] - shares[1]).sum() / 2)
    detail = f"class shares differ by {100 * apart:.0f} points"
    return Check(33, "members and others alike", apart <= UNLIKE, detail, fatal=False), apart
