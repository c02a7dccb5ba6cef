"""Several models behind one decision: ensembles, cascades, and a model behind a detector. Each is a model for `Pipeline`.

An attack that holds a copy differentiates the whole, as an adversary who knows it would: the mean of an ensemble, the route
an input takes through a cascade, and the detector's alarm as a penalty on whatever loss the attack climbs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..core.adversary import Need
from ..core.errors import BadInput, NotGranted
from ..core.target import REJECT, Jacobian, Response, Slope, Target, take, to_numpy

Array = Any
_SHOWN = Need.LABEL | Need.SCORE | Need.LOGIT | Need.ARTIFACT


def _wrapped(member: Any) -> Target:
    """A member as a target: bare modules and estimators are wrapped."""
    from .wrap import wrap

    return wrap(member)


def _shared(members: Sequence[Target], what: str) -> None:
    """Refuse members that cannot decide together."""
    sizes = {member.classes for member in members if member.classes is not None}
    if len(sizes) > 1:
        raise BadInput(f"{what}: its members know {sorted(sizes)} classes; give members that decide among the same ones")
    for member in members:
        if member.random:
            raise BadInput(f"{what}: {member.name} is random; draw randomness in a stage before the whole instead")


def _offers(members: Sequence[Target]) -> Need:
    """Labels and scores, and gradients where every member can pass one on and decides by nothing but its logits."""
    smooth = all(Need.GRADIENT in member.offers and getattr(member, "plain", False) for member in members)
    return _SHOWN | Need.GRADIENT if smooth else _SHOWN


def _identity(members: Sequence[Target], *how: Any) -> str | None:
    marks = [member.fingerprint() for member in members]
    if None in marks:
        return None
    return hashlib.sha256(repr((marks, how)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Raw:
    """One differentiable pass: logits ``(n, k)``, the decision made of the same numbers, and a penalty ``(n,)`` or None."""

    logits: Array
    response: Response
    alarm: Array | None = None


def _of_many(shares: Array) -> Response:
    return Response(shares.argmax(1), shares, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Several models that decide together.

    Args:
        members: Targets, or what `wrap` takes, over the same classes (or, all of them, regressions); none of them random.
        rule: ``mean`` of the logits (scores where a member shows no logits), or ``vote``: the class most members decide
            for, ties to the first; the scores are then shares of votes.
    """

    members: tuple[Target, ...]
    rule: Literal["mean", "vote"] = "mean"
    name: str = "ensemble"
    offers: Need = field(init=False, default=_SHOWN)
    classes: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise BadInput(f"an ensemble of {len(self.members)} is none; give at least two members")
        if self.rule not in ("mean", "vote"):
            raise BadInput(f"rule={self.rule!r} is not known; allowed: 'mean', 'vote'")
        object.__setattr__(self, "members", tuple(_wrapped(member) for member in self.members))
        _shared(self.members, self.name)
        object.__setattr__(self, "offers", _offers(self.members))
        object.__setattr__(self, "classes", next((m.classes for m in self.members if m.classes is not None), None))

    def forward(self, x: Any) -> Response:
        answers = [member.respond(x) for member in self.members]
        if self.rule == "vote":
            return self._voted(answers)
        finest = all(answer.logits is not None for answer in answers)
        shown = [answer.logits if finest else answer.scores for answer in answers]
        if any(values is None for values in shown):
            raise BadInput(f"{self.name}: a mean needs scores, and a member shows labels only; use rule='vote'")
        total: Array = shown[0]
        for values in shown[1:]:
            total = total + values
        return _response(total / len(shown), finest)

    def _voted(self, answers: list[Response]) -> Response:
        labels = np.stack([to_numpy(a.label) for a in answers])
        size = self.classes or int(labels.max(initial=0)) + 1
        return _of_many((labels[:, :, None] == np.arange(size)).mean(0))

    def raw(self, x: Array) -> Raw:
        """The mean of the members' logits, differentiable. Of a vote it is the stand-in: what moves the mean moves votes."""
        outs = [member.raw(x) for member in self.members]  # type: ignore[attr-defined]
        mean: Array = sum(outs[1:], outs[0]) / len(outs)
        if self.rule == "mean":
            return Raw(mean, _response(mean.detach(), True))
        return Raw(mean, self._voted([Response(out.detach().argmax(1)) for out in outs]))

    def differentiate(self, before: Callable[[Array], Array], x: Array, y: Any, loss: Any) -> Slope:
        return _differentiate(self, before, x, y, loss)

    def jacobian(self, before: Callable[[Array], Array], x: Array, classes: Any) -> Jacobian:
        return _jacobian(self, before, x, classes)

    def fingerprint(self) -> str | None:
        return _identity(self.members, "ensemble", self.rule)

    def state(self) -> str:
        return "|".join(member.state() for member in self.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """A cheap model decides what it is sure of; the rest goes on to the next.

    Args:
        first, then: Targets, or what `wrap` takes, over the same classes; neither random.
        sure: The best score of `first` from which on its decision stands.
    """

    first: Target
    then: Target
    sure: float = 0.9
    name: str = "cascade"
    offers: Need = field(init=False, default=_SHOWN)
    classes: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", _wrapped(self.first))
        object.__setattr__(self, "then", _wrapped(self.then))
        _shared((self.first, self.then), self.name)
        object.__setattr__(self, "offers", _offers((self.first, self.then)))
        object.__setattr__(self, "classes", self.first.classes or self.then.classes)

    def forward(self, x: Any) -> Response:
        quick = self.first.respond(x)
        if quick.scores is None:
            raise BadInput(f"{self.name}: {self.first.name} shows labels only; how sure it is takes scores")
        scores, label = np.array(to_numpy(quick.scores)), np.array(to_numpy(quick.label))
        unsure = np.flatnonzero(scores.max(1) < self.sure)
        if len(unsure):
            slow = self.then.respond(take(x, unsure))
            label[unsure] = to_numpy(slow.label)
            if slow.scores is not None:
                scores[unsure] = to_numpy(slow.scores)
        return Response(label, scores, None)

    def raw(self, x: Array) -> Raw:
        """The logits of the model that decides, differentiable along the route the input takes."""
        quick, slow = self.first.raw(x), self.then.raw(x)  # type: ignore[attr-defined]
        taken = quick.where((quick.softmax(1).max(1).values >= self.sure)[:, None], slow)
        return Raw(taken, replace(_response(taken.detach(), True), logits=None))

    def differentiate(self, before: Callable[[Array], Array], x: Array, y: Any, loss: Any) -> Slope:
        return _differentiate(self, before, x, y, loss)

    def jacobian(self, before: Callable[[Array], Array], x: Array, classes: Any) -> Jacobian:
        return _jacobian(self, before, x, classes)

    def fingerprint(self) -> str | None:
        return _identity((self.first, self.then), "cascade", self.sure)

    def state(self) -> str:
        return f"{self.first.state()}|{self.then.state()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """A model behind a detector: what the detector flags is rejected.

    Args:
        model: What decides: a target, or what `wrap` takes.
        detector: Decides between harmless (0) and flagged (1).
        at: The detector's score of class 1 from which on an input is rejected.
        weight: How much of the alarm is taken off the loss that a gradient attack climbs, in units of that loss.
    """

    model: Target
    detector: Target
    at: float = 0.5
    weight: float = 10.0
    name: str = "screened model"
    offers: Need = field(init=False, default=_SHOWN)
    classes: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", _wrapped(self.model))
        object.__setattr__(self, "detector", _wrapped(self.detector))
        if self.model.random or self.detector.random:
            raise BadInput(f"{self.name}: a part of it is random; draw randomness in a stage before the whole instead")
        object.__setattr__(self, "offers", _offers((self.model, self.detector)))
        object.__setattr__(self, "classes", self.model.classes)

    def forward(self, x: Any) -> Response:
        answer, alarm = self.model.respond(x), self.detector.respond(x)
        if alarm.scores is None:
            flagged = to_numpy(alarm.label) == 1
        else:
            flagged = to_numpy(alarm.scores)[:, 1] >= self.at
        label = answer.label * 1
        label[_like(flagged, label)] = REJECT
        return Response(label, answer.scores, answer.logits)

    def raw(self, x: Array) -> Raw:
        """The model's logits, and the alarm: what every gradient attack pays for being noticed, so that it is adaptive."""
        logits = self.model.raw(x)  # type: ignore[attr-defined]
        score = self.detector.raw(x).softmax(1)[:, 1]  # type: ignore[attr-defined]
        found = _response(logits.detach(), True)
        label = found.label.clone()
        label[score.detach() >= self.at] = REJECT
        return Raw(logits, replace(found, label=label), self.weight * (score - 0.999 * self.at).clip(0))

    def differentiate(self, before: Callable[[Array], Array], x: Array, y: Any, loss: Any) -> Slope:
        return _differentiate(self, before, x, y, loss)

    def jacobian(self, before: Callable[[Array], Array], x: Array, classes: Any) -> Jacobian:
        return _jacobian(self, before, x, classes)

    def fingerprint(self) -> str | None:
        return _identity((self.model, self.detector), "screened", self.at)

    def state(self) -> str:
        return f"{self.model.state()}|{self.detector.state()}"


def _like(mask: Any, like: Any) -> Any:
    if not hasattr(like, "new_tensor"):
        return mask
    return like.new_tensor(mask, dtype=None).bool()


def _response(total: Array, logits: bool) -> Response:
    if total.shape[1] == 1:  # a regression
        return Response(total.reshape(-1), None, total)
    if not logits:
        return _of_many(total)
    if hasattr(total, "softmax"):
        return Response(total.argmax(1), total.softmax(1), total)
    from .answers import softmax

    return Response(total.argmax(1), softmax(total), total)


def _differentiate(whole: Any, before: Callable[[Array], Array], x: Array, y: Any, loss: Any) -> Slope:
    """One pass through the whole and back."""
    torch = _torch(whole)
    x = torch.as_tensor(x).detach().requires_grad_(True)
    raw = whole.raw(before(x))
    value = loss(raw.logits, torch.as_tensor(y, device=raw.logits.device))
    if raw.alarm is not None:
        value = value - raw.alarm
    (slope,) = torch.autograd.grad(value.sum(), x)
    return Slope(value.detach(), slope, raw.response)


def _jacobian(whole: Any, before: Callable[[Array], Array], x: Array, classes: Any) -> Jacobian:
    torch = _torch(whole)
    x = torch.as_tensor(x).detach().requires_grad_(True)
    raw = whole.raw(before(x))
    chosen = raw.logits.gather(1, torch.as_tensor(classes, device=raw.logits.device).long())
    last = chosen.shape[1] - 1
    slopes = [torch.autograd.grad(chosen[:, k].sum(), x, retain_graph=k < last)[0] for k in range(last + 1)]
    return Jacobian(torch.stack(slopes, 1), raw.response)


def _torch(whole: Any) -> Any:
    if Need.GRADIENT not in whole.offers:
        raise NotGranted(f"white box granted, but a member of {whole.name} has no gradient")
    import torch

    return torch
