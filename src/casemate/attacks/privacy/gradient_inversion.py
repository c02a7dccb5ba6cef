"""Gradient inversion: the inputs behind the gradients that a client of a federated training sends."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.func import functional_call, grad, vmap

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Leak, Recovered
from ...core.errors import BadInput
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ._shared_gradients import Floats, Sent, assigned, exact, labels

EXPLAINED = 1e-6  # one less the cosine: below it a guess explains an update
DECAY = (3 / 8, 5 / 8, 7 / 8)  # of the steps: there the step becomes a tenth
PART = 50  # steps between claims


@attack(
    "privacy.gradient_inversion",
    needs=Need.NONE,
    scope="set",
    case="leak",
    papers=("arXiv:1906.08935", "arXiv:2001.02610", "arXiv:2003.14053"),
    aka=("DLG", "iDLG", "inverting gradients", "deep leakage"),
    spends="no query; `restarts * steps` double backward passes of the attacker's own for each update",
)
class GradientInversion:
    """Read the inputs off a first dense layer, exactly; where there is none, find inputs with the same gradients.

    The search climbs the cosine between gradients by Adam on signs (the third paper), with a penalty on total variation where
    an input has rows and columns, inside the domain. All updates and restarts are searched at once. Differs from the paper:
    labels are found, not given, unless the case gives them; steps are shares of the domain.

    Args:
        steps: Of the search; 0 leaves it out. The paper takes 24,000.
        restarts: Searches from other beginnings, of which the one that explains an update best stands.
        rate: First step as a share of the domain.
        variation: Weight of the total variation.
    """

    steps: int = 300
    restarts: int = 2
    rate: float = 0.1
    variation: float = 1e-4

    def __post_init__(self) -> None:
        if self.steps < 0 or not self.rate > 0 or not self.variation >= 0:
            raise BadInput(
                f"privacy.gradient_inversion: steps={self.steps}, rate={self.rate}, variation={self.variation}; give 0 steps or "
                "more, a rate above 0, a weight from 0 up"
            )

    def __call__(self, oracle: Oracle, case: Leak, *, rng: RowRandom) -> Generator[Recovered, None, Recovered]:
        sent = Sent.of(case)
        best = _Best(sent, labels(sent, rng), rng)
        yield best.claim()
        if self.steps and not best.done.all():
            for x in self._search(sent, best.label, np.flatnonzero(~best.done), best.x, rng):
                best.offer(x)
                yield best.claim()
                if best.done.all():
                    break
        return best.claim()

    def _search(
        self, sent: Sent, label: NDArray[np.int64], open_: NDArray[np.int64], known: Floats, rng: RowRandom
    ) -> Generator[list[tuple[int, Floats]], None, None]:
        """Guesses ``(update, (rows, *shape))``, every `PART` steps. Restart 0 begins with the rows that are known by now."""
        case, span = sent.case, sent.case.high - sent.case.low
        which = np.repeat(open_, self.restarts)
        start = rng.fork(0x6AD).uniform(np.arange(len(which)), 0, (case.rows, *case.shape)) * span + case.low
        start[:: self.restarts] = known[open_]
        x = sent.tensor(start).requires_grad_(True)
        optimiser = torch.optim.Adam([x], lr=self.rate * span)
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [int(self.steps * at) for at in DECAY], 0.1)
        y, due = torch.as_tensor(label[which]), [g[torch.as_tensor(which)] for g in sent.gradients]
        for step in range(self.steps):
            optimiser.zero_grad()
            far = _apart(sent, x, y, due) + self.variation * _variation(x, case.shape) / span
            (slope,) = torch.autograd.grad(far.sum(), x)
            x.grad = torch.nan_to_num(slope).sign()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                x.clamp_(case.low, case.high)
            if (step + 1) % PART == 0 or step + 1 == self.steps:
                yield list(zip(which.tolist(), x.detach().double().numpy().copy(), strict=True))


def _apart(sent: Sent, x: torch.Tensor, y: torch.Tensor, due: list[torch.Tensor]) -> torch.Tensor:
    """One less the cosine between the gradients of guesses and those sent ``(guesses,)``, with its graph."""
    weights = {name: p.detach() for name, p in sent.model.named_parameters()}
    kept = {name: b.detach().clone() for name, b in sent.model.named_buffers()}

    def loss(weights: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(sent.model, (weights, kept), (x,)), y)

    found = vmap(grad(loss), in_dims=(None, 0, 0))(weights, x, y)
    dot, own, theirs = (torch.zeros(len(x), dtype=x.dtype) for _ in range(3))
    for name, wanted in zip(sent.names, due, strict=True):
        a, b = found[name].reshape(len(x), -1), wanted.reshape(len(x), -1)
        dot, own, theirs = dot + (a * b).sum(1), own + (a * a).sum(1), theirs + (b * b).sum(1)
    return 1 - dot / (own.clamp_min(1e-30).sqrt() * theirs.clamp_min(1e-30).sqrt())


def _variation(x: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Mean difference between neighbours in rows and columns ``(guesses,)``; nothing for inputs that have none."""
    if len(shape) < 2:
        return torch.zeros(len(x), dtype=x.dtype)
    down, across = (x[..., 1:, :] - x[..., :-1, :]).abs(), (x[..., :, 1:] - x[..., :, :-1]).abs()
    return down.reshape(len(x), -1).mean(1) + across.reshape(len(x), -1).mean(1)


class _Best:
    """Of each update what explains it best by now."""

    def __init__(self, sent: Sent, label: NDArray[np.int64], rng: RowRandom) -> None:
        self.sent, self.label, case = sent, label, sent.case
        middle = (case.low + case.high) / 2
        self.x = np.full((len(case.gradients), case.rows, *case.shape), middle)
        self.known: list[Floats] = []  # rows that are exact: no search takes them away
        for u in range(len(case.gradients)):
            rows = np.clip(exact(sent, u), case.low, case.high).reshape(-1, *case.shape)
            self.known.append(rows)
            self.x[u, : len(rows)] = rows
            if len(rows) == case.rows > 1:
                found = assigned(sent, self.x[u], u) if case.labels is None else None
                self.label[u] = self.label[u] if found is None else found
        self.apart = np.array([sent.explained(self.x[u], self.label[u], u) for u in range(len(self.x))])

    @property
    def done(self) -> NDArray[np.bool_]:
        """Updates that are explained, or whose every row was read off ``(updates,)``."""
        whole = np.array([len(rows) == self.sent.case.rows for rows in self.known])
        return np.asarray((self.apart < EXPLAINED) | whole)

    def offer(self, guesses: list[tuple[int, Floats]]) -> None:
        for u, x in guesses:
            x[: len(self.known[u])] = self.known[u]
            apart = self.sent.explained(x, self.label[u], u)
            if apart < self.apart[u]:
                self.x[u], self.apart[u] = x, apart

    def claim(self) -> Recovered:
        case, why = self.sent.case, self.sent.first()
        detail: dict[str, Any] = {
            "read_off_the_first_layer": sum(map(len, self.known)), "batch_norm": self.sent.batch_norm,
            "labels": "found" if case.labels is None else "given", "gradients_apart": float(np.median(self.apart)),
        }  # fmt: skip
        if isinstance(why, str):
            detail["not_exact_because"] = why
        return Recovered(x=self.x.reshape(-1, *case.shape).copy(), y=self.label.reshape(-1).copy(), detail=detail)
