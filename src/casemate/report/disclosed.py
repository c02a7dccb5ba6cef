"""What else a model gives away: hidden columns of people, shares of a group, and inputs made again from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..core.evidence import Evidence
from ._aside import ROOM, Aside, Grid, rows_of
from ._held import entries, listed, number, points, rated, record, room, share, span
from .words import clean, count_of, short

_MOST = 24  # lines of a table
_LIKE = ("Nearest member, PSNR in dB", "Nearest non-member", "Mean of the class")
_AS_NEAR = "An input near a member says nothing where a non-member is as near: then it shows the class, not a person."
_GUESSED = "Guesses are made from what is known of people, without asking the model; the best of them counts."


def aside(evidence: Evidence, id: str) -> Aside | None:
    """The block of the kind of case; None where there is none, or nothing to say."""
    told = _KINDS.get(evidence.case)
    return told(evidence, id) if told is not None and evidence.n else None


def _attribute(evidence: Evidence, id: str) -> Aside | None:
    """What the attack tells of people, beside what anybody guesses who never saw the model."""
    extra = evidence.extra
    own, interval = listed(extra.get("accuracy"))
    if own is None:
        return None
    guessed = {clean(name): listed(held) for name, held in record(extra.get("imputation_accuracy")).items()}
    best = max((rate for rate, _ in guessed.values() if rate is not None), default=None)
    brief = f"the hidden value is right for {rated(own, interval)}"
    if best is not None:
        brief += f", and for {share(best)} without the model"
    others = record(extra.get("others"))
    gained, spread = listed(others.get("gain"))
    rows = rows_of(
        ("By the attack", share(own), room(interval)),
        *((f"Guessed by {name}", "" if rate is None else share(rate), room(near)) for name, (rate, near) in guessed.items()),
        ("Gain on members", points(evidence.rate), room(evidence.interval)),
        ("Gain on others", "" if gained is None else points(gained), room(spread)),
        _surest(record(extra.get("surest_tenth"))),
    )  # fmt: skip
    table = Grid(head=("Hidden value is right", "Share", ROOM), rows=rows, short=True, caption=_GUESSED)
    grids = tuple(grid for grid in (table, _recall(record(extra.get("recall")))) if grid.rows)
    return Aside(title="What it tells of people", brief=f"{brief} [{id}].", grids=grids, notes=_less(extra))


def _surest(held: Mapping[str, Any]) -> tuple[str, str, str]:
    rate, interval = listed(held)
    guess = number(held.get("imputation"))
    said = "" if rate is None else share(rate) + (f", guessed {share(guess)}" if guess is not None else "")
    return "The tenth it is surest of", said, room(interval)


def _recall(held: Mapping[str, Any]) -> Grid:
    """Of those who have a value, how many are told: a rare one can be lost in a good average."""
    rows = []
    for value, one in list(held.items())[:_MOST]:
        rate, interval = listed(one)
        guess, n = number(record(one).get("imputation")), number(record(one).get("n"))
        if rate is not None:
            told = (share(rate), room(interval), "" if guess is None else share(guess), "" if n is None else f"{n:,.0f}")
            rows.append((short(value, 40), *told))
    return Grid(head=("Of those with the value", "Told", ROOM, "Guessed", "n"), rows=tuple(rows))


def _less(extra: Mapping[str, Any]) -> tuple[str, ...]:
    apart = span(extra.get("members_less_others"))
    if apart is None:
        return ()
    if apart.low > 0:
        return ("Members lose more than others do: the model keeps what it was told of them.",)
    return ("That members lose more than others was not shown: the model may tell what it learned of everybody.",)


def _property(evidence: Evidence, id: str) -> Aside:
    """How often the two worlds are told apart, each for itself."""
    rows = [("Both", rated(evidence.rate, evidence.interval), f"{evidence.n:,}")]
    for name, held in record(evidence.extra.get("right_by_share")).items():
        rate, interval = listed(held)
        said = rated(rate, interval) if rate is not None else room(span(held))
        rows.append((f"Models of a share of {clean(name)}", said, ""))
    size = number(evidence.extra.get("rows_of_a_victim"))
    notes = () if size is None else (f"Each model was trained on {count_of(size, 'row')}; a coin is right for half of them.",)
    brief = f"the share in the training data is told right for {rated(evidence.rate, evidence.interval)} of {evidence.n:,} models"
    grid = Grid(head=("Trained models", "Told right", "n"), rows=rows_of(*rows), short=True)
    return Aside(title="What it says about its training data as a whole", brief=f"{brief} [{id}].", grids=(grid,), notes=notes)


def _inverted(evidence: Evidence, id: str) -> Aside | None:
    """Of each class, how near what was made again comes to a member, to a stranger, and to the mean of the class."""
    extra = evidence.extra
    near, far, mean = (entries(extra.get(name)) for name in ("psnr_member", "psnr_other", "psnr_class_mean"))
    label = np.asarray(evidence.rows.get("label", ())).ravel().tolist()
    rows = []
    for i, pair in enumerate(zip(near, far, strict=False)):
        member, other = (number(value) for value in pair)
        if member is not None and other is not None:
            whole = number(mean[i]) if i < len(mean) else None
            name = clean(label[i]) if len(label) == len(near) else f"{i + 1}"
            rows.append((short(name, 40), f"{member:.1f}", f"{other:.1f}", "" if whole is None else f"{whole:.1f}"))
    if not rows:
        return None
    near_members = rated(evidence.rate, evidence.interval)
    brief = f"what was made again is nearer to a member than to a stranger for {near_members} of classes"
    grid = Grid(head=("Class", *_LIKE), rows=tuple(rows[:_MOST]), short=True, caption=_AS_NEAR)
    left = count_of(len(rows) - _MOST, "more class", "more classes") + " left out here; the JSON report has all of them."
    return Aside(title="What was made again", brief=f"{brief} [{id}].", grids=(grid,), notes=(left,) if len(rows) > _MOST else ())


def _leaked(evidence: Evidence, id: str) -> Aside | None:
    """Of the inputs behind gradients, how many were recovered, how well, and what looks alike anyway."""
    extra = evidence.extra
    exact, labels = listed(extra.get("exact")), number(extra.get("labels_right"))
    own, median = listed(extra.get("nearer_to_it_than_to_any_other_record")), number(extra.get("psnr_median"))
    if exact[0] is None and median is None:
        return None
    base = evidence.baseline
    rows = rows_of(
        ("Recognised", share(evidence.rate), room(evidence.interval)),
        (f"Baseline: {clean(base.name)}" if base else "", share(base.rate) if base else "", ""),
        ("Recovered exactly", "" if exact[0] is None else share(exact[0]), room(exact[1])),
        ("Nearer to its own record than to any other", "" if own[0] is None else share(own[0]), room(own[1])),
        ("Labels found", "" if labels is None else share(labels), ""),
        ("Likeness, median PSNR in dB", "" if median is None else f"{median:.1f}", ""),
    )  # fmt: skip
    brief = f"{rated(evidence.rate, evidence.interval)} of the inputs behind the gradients are recognised"
    brief += f", {share(exact[0])} recovered exactly" if exact[0] is not None else ""
    brief += f"; {clean(base.name)} in their place: {share(base.rate)}" if base else ""
    grid = Grid(head=("Inputs", "Value", ROOM), rows=rows, short=True)
    return Aside(title="What the gradients give away", brief=f"{brief} [{id}].", grids=(grid,))


_KINDS: dict[str, Callable[[Evidence, str], Aside | None]] = {
    "attribute": _attribute, "property": _property, "invert": _inverted, "leak": _leaked,
}  # fmt: skip
