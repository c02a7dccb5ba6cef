"""How an attack on a whole set ended: by itself, on a plan its budget cut down, or in the middle of its work.

What was cut off in the middle has shown nothing, so it fails health check 40 and may not be called `resisted`. A plan that was
made smaller is carried out in full: that is this adversary's budget, and the verdict names it.
"""

from __future__ import annotations

from typing import Any

from ..core.adversary import Adversary
from ..core.evidence import Check
from ..core.oracle import Meter
from ..core.target import count
from .driver import LATE
from .kinds import KINDS

NEARLY = 0.8  # of a cap: who spent so much of it may have kept within it, and the verdict says so
_BUDGET, _REFUSED = "budget: ", "refused: "


def scope_of(attack: Any, case: Any, adversary: Adversary, meter: Meter) -> dict[str, Any]:
    """What was spent against what could be, as JSON holds it.

    Returns:
        ``within``: the caps that were reached or nearly so, with what was spent and, where it is known, what was planned;
        ``most``: the queries the attack asks at most, None where its parameters do not tell.
    """
    planned, within = KINDS[case.kind].plan(case), []
    for name in ("queries", "records"):
        cap, spent, plan = getattr(adversary.budget, name), meter.total[name], planned.get(name)
        if cap is None or not spent:
            continue
        # Of records a plan may be for more than any one way to write them takes; queries were short only where all were asked.
        short = plan is not None and plan > cap and (name == "records" or spent >= cap)
        if short or spent >= NEARLY * cap:
            within.append({"name": name, "cap": cap, "spent": spent, "plan": plan if short else None})
    cost = attack.info.static_cost
    return {"within": within, "most": None if cost is None or not hasattr(case, "x") else int(cost(attack)) * count(case.x)}


def end_check(stopped: str, scope: dict[str, Any] | None, spent: dict[str, int]) -> Check:
    """Health check 40, from what `scope_of` noted and what stopped the attack."""
    name = "ran to its end"
    if stopped.startswith(LATE):
        return Check(40, name, False, f"the time was up {_done(spent)} it had not finished")
    if stopped.startswith(_BUDGET):
        most = (scope or {}).get("most")
        needs = f"; in all it asks {most:,} at most" if most else ""
        return Check(40, name, False, f"the budget ended it {_done(spent)} {stopped.removeprefix(_BUDGET)}{needs}")
    if stopped.startswith(_REFUSED):  # what withstood is a control: that is no fault of the attack
        return Check(40, name, False, f"the endpoint ended it: {stopped.removeprefix(_REFUSED)}", fatal=False)
    short = [one for one in (scope or {}).get("within", []) if one["plan"] is not None]
    return Check(40, name, not short, scoped(scope) if short else "nothing cut it off", fatal=False)


def scoped(scope: dict[str, Any] | None) -> str:
    """The budget that a `resisted` stands for, where it was used up or nearly so; else empty."""
    parts = []
    for one in (scope or {}).get("within", []):
        said = f"within {_many(one['cap'], one['name'])}"
        said += " (all spent)" if one["spent"] >= one["cap"] else f" ({one['spent']:,} spent)"
        parts.append(said + (f"; the case plans for up to {one['plan']:,}" if one["plan"] else ""))
    return "; ".join(parts)


def _done(spent: dict[str, int]) -> str:
    done = [_many(spent[name], name) for name in ("queries", "records") if spent.get(name)]
    return f"after {' and '.join(done)}" + ":" if done else "before anything was asked:"


def _many(n: int, name: str) -> str:
    """``1 query``, ``2 queries``, ``1 record``, ``1,200 records``."""
    return f"{n:,} {name}" if n != 1 else f"1 {({'queries': 'query', 'records': 'record'})[name]}"
