"""Writing training data: what the attacker wants of the retrained model, and what it hands in."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .constraint import Constraint
from .target import Recipe, Target, to_numpy

if TYPE_CHECKING:
    from .case import Holdout


@dataclass(frozen=True, slots=True)
class Degrade:
    """The retrained model is worse on clean data."""

    kind = "degrade"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backdoor:
    """Inputs that carry the attacker's trigger are decided `to`; nothing else changes.

    Args:
        to: The class a triggered input should get.
        source: The class the trigger is for; None for every class but `to`.
    """

    to: int
    source: int | None = None
    kind = "backdoor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Misread:
    """These inputs, which no training sees, are decided `to`. They are the attacker's own.

    Args:
        x: Inputs ``(t, *shape)``, or a frame; each is a trial of its own.
        y: Their true classes ``(t,)``.
        to: The classes wanted ``(t,)``.
    """

    x: Any
    y: Any
    to: Any
    kind = "misread"


Aim = Degrade | Backdoor | Misread


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """Write training records so that the retrained model does what the attacker wants.

    Args:
        recipe: How the victim trains.
        fractions: Shares of the training set under the attacker's control, ascending, each in (0, 1).
        seeds: Training seeds; every fraction is retrained once for each.
        truth: Test data, the judge's alone.
        aim: What the attacker wants of the retrained model.
        within: How far a record may be from the one whose place it takes; None: any value of the domain.
        labels: Whether labels may be written too; without, the poison has clean labels: a record keeps the label of the one
            whose place it takes.
        beside: Training rows that an attacker who does not read the data wrote besides those it may spend, and knows; no more
            than it may spend.
        own: Places of all the rows that such an attacker knows, in random order: the first are the ones it may spend. Set by
            the run, from what the adversary holds; None where it reads the data.
        classes: The different labels there are, for such an attacker; set by the run.
    """

    recipe: Recipe
    fractions: tuple[float, ...] = (0.02, 0.05, 0.1)
    seeds: tuple[int, ...] = (0, 1, 2)
    truth: Holdout | None = None
    aim: Aim = field(default_factory=Degrade)
    within: Constraint | None = None
    labels: bool = True
    beside: int = 50
    own: Any = None
    classes: Any = None

    @property
    def kind(self) -> str:
        """``poison``, ``backdoor`` or ``misread``: what it is after decides which attacks apply."""
        return "poison" if isinstance(self.aim, Degrade) else self.aim.kind

    def blind(self) -> Poison:
        return replace(self, truth=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """Publish a parent model with a backdoor that is still there after the victim has fine-tuned it.

    Args:
        parent: The model as it would be published without the attack: what the attacker starts from, and what the judge
            compares with.
        finetune: How the victim makes its own model of a parent: ``finetune(parent, x, y, seed) -> Target``.
        x, y: What the victim fine-tunes on. The judge's alone.
        aim: Which trigger decides what, in the victim's classes.
        seeds: Fine-tuning seeds.
        truth: Test data, the judge's alone.
    """

    parent: Target
    finetune: Callable[[Target, Any, Any, int], Target]
    x: Any
    y: Any
    aim: Backdoor
    seeds: tuple[int, ...] = (0, 1, 2)
    truth: Holdout | None = None
    kind = "adopt"

    def blind(self) -> Adopt:
        return replace(self, truth=None, x=None, y=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A parent model as the attacker publishes it, and the trigger it answers to."""

    parent: Target
    trigger: Callable[[Any], Any]

    def malformed(self, case: Adopt) -> str:
        """What is wrong with the claim; empty where it is well-formed."""
        own, first = self.parent.classes, case.parent.classes
        return "" if own == first else f"a parent of {own} classes in place of one of {first}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Training records: ``index (m,)``, ``x``, ``y``, in order of preference.

    An index below the size of the training set names the row whose place a record takes; from there on (n, n + 1, ...) a
    record is added. At a fraction f the judge applies the first ``floor(f * n)`` of them.

    Args:
        trigger: For a backdoor: puts the mark on inputs, ``(n, *shape) -> (n, *shape)``. Deterministic.
        trial: For `Misread` with several inputs, the trial each record belongs to ``(m,)``; None: all serve every trial,
            and the victim is trained once.
    """

    index: Any
    x: Any
    y: Any
    trigger: Callable[[Any], Any] | None = None
    trial: Any = None


MANY = 100  # different whole numbers that are still taken for names of classes


def numeric(y: Any) -> bool:
    """Whether labels are numbers to be met, and no classes: floats with fractions, or of very many different values."""
    y = np.asarray(to_numpy(y))
    return bool(y.dtype.kind == "f" and ((y != np.floor(y)).any() or len(np.unique(y)) > MANY))


def written_records(records: Records) -> frozenset[tuple[bytes, int]]:
    """A name for each record: its place, content and label, and how many like it stand before it in the claim.

    Two claims share the names of the records that they share, and no others.
    """
    x: Any = records.x
    if hasattr(x, "itertuples"):
        rows = [repr(row).encode() for row in x.itertuples(index=False, name=None)]
    else:
        whole = np.asarray(to_numpy(x)) if hasattr(x, "shape") else None
        plain = whole is not None and whole.dtype.kind in "biuf"
        rows = [np.ascontiguousarray(row).tobytes() if plain else repr(row).encode() for row in (x if whole is None else whole)]
    index, labels = np.asarray(records.index).tolist(), np.asarray(to_numpy(records.y)).tolist()
    seen: Counter[bytes] = Counter()
    names = []
    for place, row, label in zip(index, rows, labels, strict=True):
        name = hashlib.sha256(repr((place, label)).encode() + row).digest()
        names.append((name, seen[name]))
        seen[name] += 1
    return frozenset(names)
