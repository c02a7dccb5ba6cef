"""Membership by loss: what a model gets right, or right by a wide margin, it has probably seen."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Guesses, Infer
from ...core.errors import BadInput, NotGranted
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import Response, count, take, to_numpy
from .._questions import replies


@attack(
    "privacy.loss_threshold",
    needs=Need.LABEL,
    scope="set",
    papers=("arXiv:1709.01604",),
    aka=("Yeom", "gap attack", "loss attack"),
    spends="1 query per candidate, and `reference` more where the threshold is learned from known members",
    modality=("array", "table", "bytes", "text"),
)
class LossThreshold:
    """Say "member" where the loss of the true label is small.

    With scores the loss is ``-log score[y]`` (nats); with a numeric answer the squared error (units of y squared); with
    labels only it is 0 or 1, which is the gap attack: member if and only if the answer is right. Questions go out in random
    order, so that a budget that ends early leaves members and others alike; who was not asked about is called no member.

    Args:
        threshold: The loss up to which a candidate is called a member; the mean training loss, where the attacker knows
            it. None: the mean loss of `reference` known members where the adversary reads training data, else the median
            of the losses seen, which calls half of the candidates members. The gap attack needs none.
        reference: Most known members asked about to learn the threshold.
    """

    threshold: float | None = None
    reference: int = 200

    def __call__(self, oracle: Oracle, case: Infer, *, rng: RowRandom) -> Generator[Guesses, None, Guesses]:
        n, y = count(case.x), to_numpy(case.y)
        order = np.argsort(rng.uniform(np.arange(n), 0), kind="stable")
        loss, asked = np.full(n, np.nan), np.zeros(n, bool)
        threshold, claim = self.threshold, _guess(loss, asked, "gap", None)
        for reply in replies(oracle, take(case.x, order), order):
            places = order[reply.places]
            how = kind_of_loss(reply.response, y)
            _comparable(reply.response, y)
            loss[places], asked[places] = losses(reply.response, take(y, places), how), True
            if threshold is None and how != "gap":
                threshold = self._learn(oracle, n, how)
            claim = _guess(loss, asked, how, threshold)
            yield claim
        return claim

    def _learn(self, oracle: Oracle, first_id: int, how: str) -> float | None:
        """The mean loss of known members, Yeom's threshold; None where none are known."""
        if not oracle.granted(Need.DATA):
            return None
        try:
            x, y = oracle.data
        except NotGranted:  # granted by the description, but nothing is bound: the median serves
            return None
        few = np.arange(min(self.reference, count(x)))
        found = [
            losses(reply.response, take(to_numpy(y), reply.places), how)
            for reply in replies(oracle, take(x, few), first_id + few)
        ]
        return float(np.concatenate(found).mean()) if found else None


def kind_of_loss(response: Response, y: Any) -> str:
    """Which loss the answers allow: ``log``, ``squared`` or ``gap``."""
    truth = np.asarray(y)
    # Where scores are shown, 1.0 is the name of a class as 1 is.
    classes = truth.dtype.kind in "iub" or (truth.dtype.kind == "f" and bool((truth == np.floor(truth)).all()))
    if response.scores is not None and classes and truth.min() >= 0 and truth.max() < response.scores.shape[1]:
        return "log"
    if response.scores is None and np.asarray(response.label).dtype.kind == "f" and truth.dtype.kind == "f":
        return "squared"
    return "gap"


def _comparable(response: Response, y: Any) -> None:
    """Refuse labels that no answer can equal: of nobody could it then be said that the answer is right.

    Raises:
        BadInput: Names beside numbers, or numbers with fractions beside classes.
    """
    truth, answer = np.asarray(y), np.asarray(to_numpy(response.label))
    words = truth.dtype.kind not in "iubf", answer.dtype.kind not in "iubf"
    parts = truth.dtype.kind == "f" and answer.dtype.kind in "iub" and bool((truth != np.floor(truth)).all())
    if words[0] != words[1] or parts:
        raise BadInput(
            f"privacy.loss_threshold: the target answers {answer.dtype} (first: {answer.flat[0]}) and the labels are "
            f"{truth.dtype} (first: {truth.flat[0]}); give labels as the target names its decisions, "
            "for classes indices from 0 up"
        )


def losses(response: Response, y: Any, how: str) -> NDArray[np.float64]:
    """The loss of each answer ``(n,)``, as `how` says."""
    truth = np.asarray(y)
    if how == "squared":
        return np.asarray((np.asarray(response.label, float) - truth.astype(float)) ** 2)
    if how == "log" and response.scores is not None:
        # A rounded score may be 0; the smallest normal number keeps its loss finite and last.
        seen = response.scores[np.arange(len(truth)), truth.astype(int)].astype(float)
        return np.asarray(-np.log(np.maximum(seen, 1e-300)))
    return np.asarray(np.asarray(response.label) != truth, float)


def _guess(loss: NDArray[np.float64], asked: NDArray[np.bool_], how: str, threshold: float | None) -> Guesses:
    """Commit: small losses are members. Candidates not asked about get the median score and a no."""
    seen = loss[asked]
    middle = float(np.median(seen)) if len(seen) else 0.0
    cut = 0.5 if how == "gap" else middle if threshold is None else threshold
    filled = np.where(asked, loss, middle)
    detail: dict[str, Any] = {"loss": how, "threshold": cut, "asked": int(asked.sum())}
    member = filled <= cut
    if threshold is None and how != "gap" and len(seen) and abs((seen < cut).mean() - 0.5) < abs((seen <= cut).mean() - 0.5):
        member = filled < cut  # many losses equal the median: half of the candidates are nearer without them
    return Guesses(score=-filled, member=asked & member, detail=detail)
