"""What would these controls have done to last week's traffic?

Feeds a log of events through controls on the log's own clock. Refusals in the log are asked again: a looser policy
may have let them in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ..core.control import Service
from ..core.errors import UsageError
from . import admission
from .admission import Hosted
from .events import Event

_ASKED = ("admit", "refuse")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The outcome of a replay.

    Args:
        requests, rows: What was asked of the controls.
        accounts: How many accounts asked.
        refused: Requests that would have been refused, by control.
        refused_rows: The rows in them.
        hit: Accounts with at least one refusal, and how many requests of theirs were refused, most first.
        skipped: Events that never reached the controls (malformed, unauthenticated, ...).
        seconds: From the first event to the last.
    """

    requests: int
    rows: int
    accounts: int
    refused: dict[str, int] = field(default_factory=dict)
    refused_rows: int = 0
    hit: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    seconds: float = 0.0


def replay(controls: Sequence[Service | Hosted], events: Iterable[Event]) -> Replayed:
    """Play events through controls as if all of them were enforced (those that are off stay off).

    Raises:
        UsageError: The log's clock steps back by more than a second, so its order cannot be trusted.
    """
    hosted = tuple(map(_enforced, controls))
    states = admission.start(hosted)
    refused = {h.id: 0 for h in hosted if h.mode != "off"}
    seen: set[str] = set()
    hit: dict[str, int] = {}
    requests = rows = refused_rows = skipped = 0
    first = last = None
    for event in events:
        if event.get("action") not in _ASKED or not isinstance(event.get("rows"), int):
            skipped += 1
            continue
        account, size, now = str(event["account"]), int(event["rows"]), float(event["ts"])
        if last is not None and now < last - 1.0:
            raise UsageError(f"the log steps back from {last} to {now}; sort it, or replay one process at a time")
        first, last = now if first is None else first, now if last is None else max(last, now)
        decision = admission.decide(hosted, states, account, size, last)
        requests, rows = requests + 1, rows + size
        seen.add(account)
        if decision.refused is None:
            states = decision.states
        else:
            refused[decision.refused.id] += 1
            refused_rows += size
            hit[account] = hit.get(account, 0) + 1
    return Replayed(
        requests=requests,
        rows=rows,
        accounts=len(seen),
        refused=refused,
        refused_rows=refused_rows,
        hit=dict(sorted(hit.items(), key=lambda item: -item[1])),
        skipped=skipped,
        seconds=(last - first) if first is not None and last is not None else 0.0,
    )


def _enforced(control: Service | Hosted) -> Hosted:
    h = control if isinstance(control, Hosted) else Hosted(control=control)
    return Hosted(control=h.control, mode="off" if h.mode == "off" else "enforce", threats=h.threats)
