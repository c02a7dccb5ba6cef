"""Of a cascade: which attack took how many rows at what cost, and which were not run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..core.evidence import Evidence
from .words import clean, count_of

# What each kind of call is called here, in the order of the ledger.
_KINDS = {
    "queries": ("query", "queries"), "local": ("own call", "own calls"), "gradients": ("gradient", "gradients"),
    "backwards": ("backward pass", "backward passes"), "parent": ("call of the parent", "calls of the parent"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stage:
    """One attack of a cascade on the rows that those before it had left."""

    attack: str
    tried: int
    fell: int
    spent: dict[str, int]
    seconds: float
    stopped: str

    @property
    def calls(self) -> int:
        """Model calls of every kind."""
        return sum(self.spent.values())

    @property
    def rows(self) -> str:
        return f"{self.fell:,} of {self.tried:,}"

    @property
    def bill(self) -> str:
        """The calls by their kind: ``30 own calls, 30 gradients``."""
        return ", ".join(count_of(self.spent[k], *words) for k, words in _KINDS.items() if self.spent.get(k)) or "nothing"

    @property
    def worth(self) -> str:
        """Rows that fell per 1,000 calls; nothing where no call was made."""
        return f"{1000 * self.fell / self.calls:,.3g}" if self.calls else ""


def stages(evidence: Evidence) -> tuple[Stage, ...]:
    """The stages in their order; none where the attack has no stages."""
    found = evidence.extra.get("stages")
    return tuple(_stage(one) for one in found if isinstance(one, Mapping)) if isinstance(found, list | tuple) else ()


def ran(found: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Those that met a row."""
    return tuple(stage for stage in found if stage.tried)


def skipped(found: tuple[Stage, ...]) -> tuple[tuple[str, str], ...]:
    """Those that met none: why, and their names, one line for each reason."""
    reasons: dict[str, list[str]] = {}
    for stage in found:
        if not stage.tried:
            reasons.setdefault(stage.stopped or "no reason was recorded", []).append(stage.attack)
    return tuple((why, ", ".join(names)) for why, names in reasons.items())


def _stage(one: Mapping[str, Any]) -> Stage:
    spent = one.get("spent") or {}
    return Stage(
        attack=clean(one.get("attack", "")), tried=int(one.get("tried", 0)), fell=int(one.get("fell", 0)),
        spent={kind: int(spent.get(kind, 0)) for kind in _KINDS}, seconds=float(one.get("took_seconds", 0.0)),
        stopped=clean(one.get("stopped") or ""),
    )  # fmt: skip
