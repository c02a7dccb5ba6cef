"""Which attacks an adversary can run on what is bound, with which parameters; and of the others, why not."""

from __future__ import annotations

from typing import Any

from ..core.adversary import Adversary, Need
from ..core.attack import attacks, unfitting
from ..core.constraint import Ball, admits
from ..core.errors import UsageError
from ..core.sequences import Text
from .bench import Bench, white_box_reason
from .kinds import KINDS
from .profiles import Profile

STAND_INS = ("evasion.transfer_surrogate", "evasion.transfer_similar")


def choose(id: str, bench: Bench, chosen: Profile, adversary: Adversary) -> tuple[Any, str]:
    """The attack with its parameters, or why it cannot be run."""
    kind = attacks.get(id)
    reason = _why_not(kind.info, bench, adversary)
    if reason is not None:
        return None, reason
    wished = _checked(id, chosen.params.get(id, {}))
    if "settings" in kind.__dataclass_fields__:  # a suite hands on what is wished of its stages
        others = {other: _checked(other, values) for other, values in sorted(chosen.params.items()) if other != id}
        wished["settings"] = tuple((other, tuple(sorted(values.items()))) for other, values in others.items())
    return kind(**wished), ""


def _checked(id: str, wished: dict[str, Any]) -> dict[str, Any]:
    """Parameters of an attack from a description or a profile, or what is wrong with them."""
    kind = attacks.get(id)
    known = set(kind.__dataclass_fields__)
    if strange := set(wished) - known:
        names = ", ".join(sorted(known)) or "none"
        raise UsageError(f"target.attacks.{id}: {', '.join(sorted(strange))} is no parameter of it; it has {names}")
    if unfit := unfitting(kind, wished):
        raise UsageError(f"target.attacks.{id}: {unfit}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in wished.items()}


def _why_not(info: Any, bench: Bench, adversary: Adversary) -> str | None:
    """Why an attack cannot be run here; None where it can, an empty string where it simply is not meant for this."""
    if info.case == "smuggle":
        if info.id != "supply.probe" and bench.artifact is None:
            return "no artifact is bound to the description"
        return None
    if info.case != "evade" and KINDS[info.case].alone:
        return KINDS[info.case].why_not(bench, adversary)
    if bench.target is None:
        return "no target is bound to the description"
    if Need.ARTIFACT in adversary.may and info.id in STAND_INS:
        return "whoever holds the model needs no stand-in"
    missing = info.needs & ~adversary.may
    if missing:
        return f"needs {', '.join(missing.names)}, which {adversary.name} does not hold"
    if Need.GRADIENT in info.needs and Need.PARENT not in info.needs and white_box_reason(bench.target):
        return white_box_reason(bench.target)
    if Need.STRUCTURE in info.needs and Need.STRUCTURE not in bench.target.offers:
        return "white box granted, the adapter shows no structure"
    if Need.PARENT in info.needs and bench.parent is None:
        return "a public parent is stated, but none is bound to attack with"
    if bench.data is None:
        return "no data is bound to the description"
    if info.modality and bench.modality not in info.modality:
        return ""
    if info.case == "evade" and not bench.constraints:
        return "no constraint is bound: say in target.within what a change may be"
    if info.case == "evade" and place_for(info, bench) is None:
        stated = ", ".join(_kind(one) for one in bench.constraints)
        return f"changes inputs within {_wanted(info)}; stated is {stated}. State another under target.also"
    return None if info.case == "evade" else KINDS[info.case].why_not(bench, adversary)


def place_for(info: Any, bench: Bench) -> int | None:
    """Which of the stated constraints an attack can work within: the first."""
    for place, within in enumerate(bench.constraints):
        if isinstance(within, Text) and not set(getattr(attacks.get(info.id), "edits", within.kinds)) & set(within.kinds):
            continue
        if "array" not in info.modality or bench.modality != "array" or "*" in info.within:
            return place  # of other modalities the constraint proposes the changes itself
        if admits(info.within, within) and (not isinstance(within, Ball) or within.norm in info.norms):
            return place
    return None


def _kind(within: Any) -> str:
    return f"a {type(within).__name__}" + (f" of {within.norm}" if isinstance(within, Ball) else "")


def _wanted(info: Any) -> str:
    norms = f" of {', '.join(info.norms)}" if "Ball" in info.within else ""
    return f"a {' or '.join(info.within)}{norms}"
