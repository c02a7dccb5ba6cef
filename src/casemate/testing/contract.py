"""What all contracts share: the error that names the broken rule, and how a list of checks is run."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..core.errors import CasemateError

Check = tuple[str, Callable[[], None]]


class ContractBroken(AssertionError):
    """A promise that was not kept.

    Args:
        rule: Its name, one word; the tests of casemate rely on it.
        subject: Who broke it.
        found: What was seen, with the value.
        advice: What to do.
    """

    def __init__(self, rule: str, subject: str, found: str, advice: str) -> None:
        self.rule, self.subject, self.found, self.advice = rule, subject, found, advice
        super().__init__(f"{subject} breaks the rule {rule!r}: {found}; {advice}")


def demand(ok: Any, rule: str, subject: str, found: str, advice: str) -> None:
    """Raise `ContractBroken` unless `ok`."""
    if not ok:
        raise ContractBroken(rule, subject, found, advice)


def raised(rule: str, subject: str, error: BaseException) -> ContractBroken:
    """An exception where none belongs, as a broken rule."""
    kind = "a usage error" if isinstance(error, CasemateError) else "an exception"
    text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return ContractBroken(rule, subject, f"{kind} came out, {text}", "let it run to its end, or refuse before it starts")


def run_all(checks: Iterable[Check]) -> None:
    """Run checks in order; the first broken rule is raised."""
    for _, check in checks:
        check()


@contextlib.contextmanager
def global_random(seed: int) -> Iterator[None]:
    """Every global generator in a known state, and as it was afterwards."""
    torch: Any = sys.modules.get("torch")
    before = random.getstate(), np.random.get_state(), None if torch is None else torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if torch is not None:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        if before[2] is not None:
            torch.set_rng_state(before[2])


def distance(a: Any, b: Any) -> float:
    """How far two claims, answers or arrays are apart: the largest difference, infinite where they cannot be compared."""
    if hasattr(a, "iloc") or hasattr(b, "iloc"):
        return 0.0 if a.reset_index(drop=True).equals(b.reset_index(drop=True)) else np.inf
    if isinstance(a, list | tuple):
        return 0.0 if list(a) == list(b) else np.inf
    first, second = (np.asarray(v.detach().cpu() if hasattr(v, "detach") else v) for v in (a, b))
    if first.shape != second.shape:
        return np.inf
    if first.dtype.kind not in "fiub" or second.dtype.kind not in "fiub":
        return 0.0 if bool((first == second).all()) else np.inf
    gap = np.abs(first.astype(np.float64) - second.astype(np.float64))
    same = (first == second) | (np.isnan(first.astype(float)) & np.isnan(second.astype(float)))
    gap = np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))
    return float(gap.max(initial=0.0))
