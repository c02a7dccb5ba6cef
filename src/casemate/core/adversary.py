"""Who attacks: what they may do, what they know, what they can afford."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, fields


class Need(enum.Flag):
    """A capability: an attack needs it, an adversary may hold it, a target can offer it."""

    NONE = 0
    LABEL = enum.auto()  # see the decision
    SCORE = enum.auto()  # see scores as deployed (rounded, top-k)
    LOGIT = enum.auto()  # see raw scores before any squashing
    GRADIENT = enum.auto()  # differentiate the loss, on a copy of the model
    ARTIFACT = enum.auto()  # hold the model file: calls go to the attacker's own copy
    PARENT = enum.auto()  # hold the public model this one was fine-tuned from
    DATA = enum.auto()  # read (part of) the training data
    RECIPE = enum.auto()  # know how the model is trained
    CONTRIBUTE = enum.auto()  # write training records or labels
    SUBMIT = enum.auto()  # send inputs at all (flooding, final claims)
    SENSOR = enum.auto()  # act before the sensor stage
    STRUCTURE = enum.auto()  # read how a copy of the model decides: the splits and leaves of its trees

    @property
    def names(self) -> tuple[str, ...]:
        """Lower-case names of the capabilities in this set, in declaration order."""
        return tuple(member.name.lower() for member in Need if member in self and member.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the adversary can afford. ``None`` means unlimited, and is printed as such.

    A hard cap: the call that would overrun it is never made. The rate limit of the endpoint is not a
    budget; it is a control of the target, and refuses.

    Args:
        queries: Rows sent to the deployed endpoint, over the whole campaign.
        queries_per_row: Rows sent to the deployed endpoint for each attacked row.
        gradients_per_row: Rows differentiated on an own copy, for each attacked row.
        records: Training records the attacker can write.
        accounts: Accounts the attacker can open.
        days: Length of the campaign on the endpoint's (virtual) clock: how long the attacker waits for a limit to open
            again. None: it does not wait, a refusal is final.
        seconds: Wall-clock limit on the attacker's compute. Breaks exactness, and is said.
    """

    queries: int | None = None
    queries_per_row: int | None = None
    gradients_per_row: int | None = None
    records: int | None = None
    accounts: int = 1
    days: float | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        stated = [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) not in (None, f.default)]
        parts = [f"{name}={value}" for name, value in stated]
        return ", ".join(parts) or "unlimited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversary:
    """A principal with a goal, what it `may` do, and a budget.

    Derived from the access rows of a System; `researcher` is for direct use of the library.
    """

    name: str
    principal: str = ""
    may: Need = Need.NONE
    budget: Budget = field(default_factory=Budget)
    goal: str = "integrity"
    knowledge: tuple[str, ...] = ()
    derived_from: tuple[str, ...] = ()  # the access rows or facts that grant it, for the report


def researcher(budget: Budget | None = None) -> Adversary:
    """The unlimited adversary of a notebook: sees labels, scores, logits, gradients and structure of the endpoint."""
    may = Need.LABEL | Need.SCORE | Need.LOGIT | Need.GRADIENT | Need.SUBMIT
    may |= Need.DATA | Need.RECIPE | Need.CONTRIBUTE | Need.PARENT | Need.STRUCTURE
    return Adversary(name="researcher", principal="researcher", may=may, budget=budget or Budget())
