"""What keeps a service from serving: faults of the model, inputs that cost too much, and the bill of a day."""

from __future__ import annotations

from collections.abc import Callable

from ..core.evidence import Evidence
from ._aside import ROOM, Aside, Grid, rows_of
from ._held import entries, number, of, plain_number, record, room, share, span
from .weighed import amount
from .words import clean, count_of, short

_MOST = 24  # lines of a table


def aside(evidence: Evidence, id: str) -> Aside | None:
    """The block of the kind of case; None where there is none, or nothing to say."""
    told = _KINDS.get(evidence.case)
    return told(evidence, id) if told is not None and evidence.n else None


def _drill(evidence: Evidence, id: str) -> Aside | None:
    """Each fault and what the system decided under it."""
    held = record(evidence.extra.get("faults"))
    rows = tuple((clean(name), short(words, 200)) for name, words in held.items())[:_MOST]
    if not rows:
        return None
    failed = [short(name, 40) for name in entries(evidence.extra.get("open"))]
    said = f"fails open under {', '.join(failed)}" if failed else "no fault that was tried lets through what is refused otherwise"
    grid = Grid(head=("Fault", "What was decided"), rows=rows, short=True)
    brief = f"{said}; {count_of(len(held), 'fault')} tried [{id}]."
    return Aside(title="What happens when the model fails", brief=brief, grids=(grid,))


def _sponge(evidence: Evidence, id: str) -> Aside | None:
    """The costliest input that was found, beside honest ones."""
    extra = evidence.extra
    found, mean, most = (number(extra.get(name)) for name in ("found", "honest_mean", "honest_most"))
    if found is None or most is None:
        return None
    unit = f" {short(extra['unit'], 40)}" if extra.get("unit") else ""
    name = short(extra.get("work") or "work", 60)
    to_mean, top, proven = (number(extra.get(key)) for key in ("to_mean", "share_of_most", "proven_bound"))
    beyond = number(extra.get("honest_beyond_at_most"))
    rows = rows_of(
        (f"{name}, costliest found", plain_number(found) + unit, ""),
        ("Honest inputs, mean", "" if mean is None else plain_number(mean) + unit, ""),
        ("Honest inputs, most", plain_number(most) + unit, ""),
        ("Times the mean", "" if to_mean is None else plain_number(to_mean), room(span(extra.get("to_mean_interval")), False)),
        ("Of the most there can be", "" if top is None else share(top), ""),
        ("Proven: no input costs more than", "" if proven is None else plain_number(proven) + unit, ""),
        ("Honest inputs that cost more than all of these, at most", "" if beyond is None else share(beyond), ""),
    )  # fmt: skip
    brief = f"{name}: {plain_number(found)}{unit} against {plain_number(most)} for the costliest honest input"
    brief += f", {plain_number(evidence.rate)} times as much [{id}]."
    grid = Grid(head=("Work of one input", "Value", ROOM), rows=rows, short=True)
    return Aside(title="What one input costs", brief=brief, grids=(grid,))


def _harvest(evidence: Evidence, id: str) -> Aside | None:
    """What a day of calls costs the owner, and what the attacker."""
    extra = evidence.extra
    cost, line, day = (number(extra.get(name)) for name in ("cost_a_day", "line", "rows_a_day"))
    if cost is None or line is None:
        return None
    unit = f" {short(extra['currency'], 12)}" if extra.get("currency") else ""
    paid = number(extra.get("attacker_pays_a_day"))
    bounded = extra.get("bounded")
    rows = rows_of(
        ("Owner pays a day", amount(cost) + unit), ("The line", amount(line) + unit),
        ("Attacker pays a day", "" if paid is None else amount(paid) + unit),
        ("Calls a day", "" if day is None else f"{day:,.0f}"), ("Accounts", of(extra.get("accounts"), "account")),
        ("Accounts that reach the line", of(extra.get("accounts_for_the_line"), "account")),
        ("Bounded by a control", "" if not isinstance(bounded, bool) else "yes" if bounded else "no"),
    )  # fmt: skip
    brief = f"a day of calls costs the owner {amount(cost)}{unit} with {of(extra.get('accounts'), 'account') or 'these accounts'}"
    end = ", and no control bounds it" if bounded is False else f"; the line is {amount(line)}{unit}"
    grid = Grid(head=("A day", "Value"), rows=rows, short=True)
    return Aside(title="What a day costs", brief=f"{brief}{end} [{id}].", grids=(grid,))


_KINDS: dict[str, Callable[[Evidence, str], Aside | None]] = {"drill": _drill, "sponge": _sponge, "harvest": _harvest}
