"""Attacks that each break one rule of the contract, and nothing else. They are small because the rule is the point."""

from __future__ import annotations

import numpy as np
import torch

from casemate.attacks._rows import Rows
from casemate.core.adversary import Need
from casemate.core.attack import Ask, attack

NEEDS = Need.GRADIENT | Need.LABEL
STEPS = 6


def margin(logits, y):
    """The honest loss."""
    own = logits.gather(1, y[:, None])[:, 0]
    return logits.scatter(1, y[:, None], -torch.inf).max(1).values - own


def climb(oracle, case, *, loss=margin, size=None, each=None):
    """Sign steps inside the ball; `each(at, slope) -> slope` is where a broken attack does what it should not."""
    ball, at = case.within, Rows.begin(case)
    size = 0.3 * min(ball.radius, ball.high - ball.low) if size is None else size
    for _ in range(STEPS):
        here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=loss)
        at = at.see(case, here.response, margin(here.response.logits, at.y) if here.response.logits is not None else None)
        slope = here.slope if each is None else each(at, here.slope)
        at = yield at.at(ball.project(at.x + size * slope.sign(), at.origin))
    return at


@attack("evasion.honest", needs=NEEDS, spends="6 gradients per row")
class Honest:
    """The same attack with nothing wrong."""

    def __call__(self, oracle, case, *, rng):
        return (yield from climb(oracle, case))


@attack("evasion.leaver", needs=NEEDS, spends="6 gradients per row")
class Leaver:
    """Forgets to project, and leaves the ball."""

    def __call__(self, oracle, case, *, rng):
        ball, at = case.within, Rows.begin(case)
        for _ in range(STEPS):
            here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=margin)
            at = at.see(case, here.response, here.loss)
            # Rows it calls broken are honest ones; the others wander off.
            out = at.x + 0.3 * ball.radius * here.slope.sign()
            inside = ball.project(out, at.origin)
            at = at.at(inside)
            far = torch.where(at.broken.reshape(-1, *([1] * (at.x.ndim - 1))), at.best, at.origin + 5 * (inside - at.origin))
            at = yield Rows(
                row=at.row, x=at.x, origin=at.origin, y=at.y, best=far, loss=at.loss, broken=at.broken, state=at.state
            )
        return at


@attack("evasion.spender", needs=NEEDS, spends="6 gradients per row, and more")
class Spender:
    """Asks the model behind the oracle's back."""

    def __call__(self, oracle, case, *, rng):
        def peek(at, slope):
            oracle._endpoint.target.respond(at.x)
            return slope

        return (yield from climb(oracle, case, each=peek))


@attack("evasion.glutton", needs=Need.LABEL, scope="dialogue", spends="all there is")
class Glutton:
    """Raises its own cap, and so exceeds the budget."""

    def __call__(self, oracle, case, *, rng):
        object.__setattr__(oracle.adversary.budget, "queries_per_row", 1000)
        for _ in range(30):
            yield Ask(np.asarray(case.x))


@attack("evasion.crowd", needs=NEEDS, spends="6 gradients per row")
class Crowd:
    """Takes the mean over the batch off the slope, and so depends on its batch."""

    def __call__(self, oracle, case, *, rng):
        return (yield from climb(oracle, case, each=lambda at, slope: slope - 0.5 * slope.mean(0, keepdim=True)))


@attack("evasion.seats", needs=NEEDS, spends="6 gradients per row")
class Seats:
    """Draws noise by position instead of by row id, and so depends on the order."""

    def __call__(self, oracle, case, *, rng):
        ball, at = case.within, Rows.begin(case)
        noise = torch.as_tensor(rng.normal(np.arange(len(at)), 0, tuple(at.x.shape[1:])))
        at = at.keep(noise=noise)
        for _ in range(STEPS):
            here = oracle.gradient(at.x, y=at.y, rows=at.row, loss=margin)
            at = at.see(case, here.response, here.loss)
            step = (here.slope / here.slope.abs().amax() * 0 + here.slope.sign() + 0.5 * at.state["noise"]) * 0.3 * ball.radius
            at = yield at.at(ball.project(at.x + step, at.origin))
        return at


@attack("evasion.hoarder", needs=NEEDS, spends="6 gradients per row")
class Hoarder:
    """Keeps its momentum in a variable instead of in the record."""

    def __call__(self, oracle, case, *, rng):
        memory = torch.zeros_like(Rows.begin(case).x)

        def push(at, slope):
            memory[: len(at)] = 0.9 * memory[: len(at)] + slope
            return memory[: len(at)]

        return (yield from climb(oracle, case, each=push))


@attack("evasion.vandal", needs=NEEDS, spends="6 gradients per row")
class Vandal:
    """Puts the model into training mode and leaves it there."""

    def __call__(self, oracle, case, *, rng):
        oracle._endpoint.target.model.module.train()
        return (yield from climb(oracle, case))


@attack("evasion.scribbler", needs=NEEDS, spends="6 gradients per row")
class Scribbler:
    """Writes into the caller's inputs."""

    def __call__(self, oracle, case, *, rng):
        at = yield from climb(oracle, case)
        np.asarray(case.x).reshape(len(case.x), -1)[:, 2] *= 1 - 1e-9
        return at


@attack("evasion.gambler", needs=NEEDS, spends="6 gradients per row")
class Gambler:
    """Takes its luck from the global generator."""

    def __call__(self, oracle, case, *, rng):
        return (yield from climb(oracle, case, size=case.within.radius * np.random.uniform(0.05, 0.3)))


@attack("evasion.masker", needs=NEEDS, spends="6 gradients per row")
class Masker:
    """Masks logits by multiplying with zero, so that a shift of all logits changes the loss."""

    def __call__(self, oracle, case, *, rng):
        def masked(logits, y):
            hot = torch.nn.functional.one_hot(y, logits.shape[1])
            return ((1 - hot) * logits).max(1).values - (hot * logits).max(1).values

        return (yield from climb(oracle, case, loss=masked))


@attack("evasion.metric", needs=NEEDS, spends="6 gradients per row")
class Metric:
    """Steps by a number of its own, whatever the units of the input are."""

    def __call__(self, oracle, case, *, rng):
        return (yield from climb(oracle, case, size=0.01))


@attack("evasion.boaster", needs=NEEDS, spends="6 gradients per row")
class Boaster:
    """Says that it broke every row."""

    def __call__(self, oracle, case, *, rng):
        at = yield from climb(oracle, case)
        return Rows(
            row=at.row, x=at.x, origin=at.origin, y=at.y, best=at.best, loss=at.loss,
            broken=torch.ones_like(at.broken), state=at.state,
        )  # fmt: skip


@attack("evasion.quitter", needs=NEEDS, spends="6 gradients per row")
class Quitter:
    """Takes its claims back in the end."""

    def __call__(self, oracle, case, *, rng):
        at = yield from climb(oracle, case)
        return Rows(
            row=at.row, x=at.x, origin=at.origin, y=at.y, best=at.origin, loss=at.loss,
            broken=torch.zeros_like(at.broken), state=at.state,
        )  # fmt: skip


@attack("evasion.burglar", needs=Need.LABEL, spends="6 gradients per row")
class Burglar:
    """Uses a gradient that it did not declare."""

    def __call__(self, oracle, case, *, rng):
        return (yield from climb(oracle, case))


@attack("Evasion.Sloppy", needs=NEEDS, case="evade", spends="6 gradients per row")
class Sloppy:
    """Has an id that breaks the pattern."""

    def __call__(self, oracle, case, *, rng):
        return (yield from climb(oracle, case))


# What is keyed by position depends on the order and on the batch alike; everything else is one rule.
EXPECTED = {
    Leaver: {"constraint"}, Spender: {"ledger"}, Glutton: {"budget"}, Crowd: {"batch"}, Seats: {"batch", "order"},
    Hoarder: {"record"}, Vandal: {"target"}, Scribbler: {"arrays"}, Gambler: {"seed"}, Masker: {"shift"},
    Metric: {"rescale"}, Boaster: {"stands"}, Quitter: {"stands"}, Burglar: {"runs"}, Sloppy: {"definition"},
}  # fmt: skip
