"""What a judge of a whole set concludes: one measure with its interval, and what stands beside it, ready to be stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.evidence import Baseline, Check, Interval, plain
from ..core.target import to_numpy

Points = list[tuple[float, float, float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """A judge's conclusion.

    Args:
        measure, rate, interval, n: What was measured, its value, its interval, over how many.
        broken: Whether that counts as a break, by the rule in `why`.
        line: The value that would matter. What is not broken, but whose interval reaches the line, is not decided.
        undecided: Why what is not broken did not resist either, whatever the interval; empty where nothing speaks against it.
        why: Sentences for the report.
        checks: Health checks of the family's own.
        queries: What the break cost in deployed queries; None where it was not shown.
        records: Training records it took.
        curves: Points ``(x, y, low, high)`` by name.
        rows: Columns ``(n,)`` by name, storable (see `column`).
    """

    measure: str
    rate: float
    n: int
    broken: bool
    interval: Interval | None = None
    line: float | None = None
    undecided: str = ""
    why: tuple[str, ...] = ()
    baseline: Baseline | None = None
    checks: tuple[Check, ...] = ()
    queries: float | None = None
    records: int | None = None
    curves: dict[str, Points] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, Any] = field(default_factory=dict)

    def to_facts(self) -> dict[str, Any]:
        """All but the rows, as JSON holds it."""
        return {name: plain(getattr(self, name)) for name in self.__slots__ if name != "rows"}

    @staticmethod
    def from_facts(facts: dict[str, Any], rows: dict[str, Any]) -> Opinion:
        """The inverse of `to_facts`."""
        known = dict(facts)
        interval, baseline = known.pop("interval"), known.pop("baseline")
        if baseline is not None:
            inner = baseline["interval"]
            baseline = Baseline(baseline["name"], baseline["rate"], None if inner is None else Interval(**inner))
        checks = tuple(Check(**check) for check in known.pop("checks"))
        curves = {name: [tuple(point) for point in points] for name, points in known.pop("curves").items()}
        return Opinion(
            interval=None if interval is None else Interval(**interval), baseline=baseline, checks=checks,
            curves=curves, why=tuple(known.pop("why")), rows=rows, **known,
        )  # fmt: skip


def column(values: Any) -> NDArray[Any]:
    """A column the store can keep without pickling: numbers and booleans as they are, anything else as text."""
    array = np.asarray(to_numpy(values))
    return array.astype(str) if array.dtype.kind not in "biuf" else array


def failed(measure: str, n: int, reason: str) -> Opinion:
    """What a claim is worth that breaks its own rules: nothing, and said so."""
    check = Check(4, "claim is valid", False, reason)
    return Opinion(measure=measure, rate=0.0, n=n, broken=False, why=(reason,), checks=(check,))
