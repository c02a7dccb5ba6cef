"""Sum up the updates of clients so that a few of them cannot move the joint model far."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from ...core.control import control
from ...core.errors import BadInput, UsageError
from ...core.federated import Federated
from ...judges.exact.training import trimmed_mean

NAME = "training.robust_aggregation"
Floats = NDArray[np.float64]
Rule = Literal["median", "trimmed_mean", "krum", "clip"]
RULES = ("median", "trimmed_mean", "krum", "clip")


@control(
    "training.robust_aggregation",
    knows=("poisoning.model_replacement",),
    threats=("PO-09",),
    side_effects="honest clients unlike the others count less, and with `krum` one client's update stands for all",
)
class RobustAggregation:
    """Bound what one client's update does to the joint model: median, trimmed mean, Krum, or clipping to a length.

    Median and trimmed mean work on each parameter by itself (arXiv:1803.01498). Krum takes the update whose nearest others
    lie nearest (Blanchard et al. 2017). Clipping shortens what is longer than `norm`, then takes the mean: one client then
    moves the model by no more than ``rate * norm / n``, and many still add up. None of them sees an update that stays where
    honest ones may lie; ``poisoning.model_replacement`` with ``inside`` sends such.

    Args:
        rule: ``median``, ``trimmed_mean``, ``krum`` or ``clip``.
        share: Of the clients, how many may be an attacker's: what the trimmed mean cuts at each end, and Krum counts with.
        norm: For `clip`, the greatest length of an update; None takes the median length of those sent.
    """

    modality: ClassVar[tuple[str, ...]] = ("array", "table", "bytes", "text")

    rule: Rule = "median"
    share: float = 0.2
    norm: float | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise UsageError(f"rule={self.rule!r} is not allowed; give one of {', '.join(RULES)}")
        if not 0 <= self.share < 0.5:
            raise UsageError(f"share={self.share!r} is not allowed; give a share from 0 to below one half")
        if self.norm is not None and not self.norm > 0:
            raise UsageError(f"norm={self.norm!r} is not allowed; give a length above 0, or None")

    def __call__(self, updates: Any) -> Floats:
        """The joint update ``(p,)`` of updates ``(n, p)``."""
        sent = np.asarray(updates, np.float64)
        if self.rule == "median":
            return median(sent)
        if self.rule == "trimmed_mean":
            return trimmed_mean(sent, self.share)
        return krum(sent, int(self.share * len(sent))) if self.rule == "krum" else clipped_mean(sent, self.norm)

    def harden_rounds(self, case: Federated) -> Federated:
        """The same rounds, summed up by this rule.

        Raises:
            UsageError: It is no federated training.
        """
        if not isinstance(case, Federated):
            raise UsageError(f"cannot harden a {type(case).__name__}; give a casemate.core.federated.Federated")
        return replace(case, rule=self)


def median(updates: Any) -> Floats:
    """The median of each column of ``(n, p)``: between honest values as long as fewer than n / 2 rows are not."""
    return np.asarray(np.median(np.asarray(updates, float), axis=0))


def clipped_mean(updates: Any, norm: float | None = None) -> Floats:
    """The mean of ``(n, p)`` after rows longer than `norm` (by default their median length) are shortened to it."""
    sent = np.asarray(updates, float)
    # Lengths of rows scaled by their own largest entry, so that no square overflows.
    most = np.maximum(np.abs(sent).max(1, initial=0.0), 1e-300)
    length = most * np.linalg.norm(sent / most[:, None], axis=1)
    line = float(np.median(length)) if norm is None else norm
    return np.asarray((sent * np.minimum(1.0, line / np.maximum(length, 1e-300))[:, None]).mean(0))


def krum(updates: Any, bad: int) -> Floats:
    """The row of ``(n, p)`` whose ``n - bad - 2`` nearest others lie nearest, by the sum of squared distances.

    Of equals it is the first one that was sent.

    Raises:
        BadInput: Fewer than ``2 bad + 3`` rows: the rule then promises nothing.
    """
    sent = np.asarray(updates, float)
    n = len(sent)
    if n < 2 * bad + 3:
        raise BadInput(f"{NAME}: Krum against {bad} attackers needs {2 * bad + 3} clients or more; got {n}")
    far = cdist(sent, sent, "sqeuclidean")
    np.fill_diagonal(far, np.inf)
    return np.asarray(sent[np.argmin(np.sort(far, axis=1)[:, : n - bad - 2].sum(1))])
