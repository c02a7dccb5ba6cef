"""The adversary that a principal is to a component: what its access rows let it send, see, know and write."""

from __future__ import annotations

from casemate.core.adversary import Adversary, Budget, Need
from casemate.core.entities import Access, Parent
from casemate.core.fact import YES
from casemate.core.surface import (
    WRITES,
    Seen,
    can_contribute,
    can_submit,
    documented,
    effective_output,
    end_of,
    holds,
    model_places,
    rows_of,
    training_inputs,
)
from casemate.core.system import System
from casemate.threats.scene import CAMPAIGN_DAYS, assets_of, campaign

_SEEN = {
    "none": Need.NONE,
    "label": Need.LABEL,
    "topk": Need.LABEL | Need.SCORE,
    "score": Need.LABEL | Need.SCORE,
    "logits": Need.LABEL | Need.SCORE | Need.LOGIT,
}
_COPY = Need.ARTIFACT | Need.STRUCTURE | Need.GRADIENT | Need.LABEL | Need.SCORE | Need.LOGIT


def adversary_for(system: System, principal: str, component: str, *, goal: str = "integrity") -> Adversary:
    """The adversary that a principal is to a component: its access rows decide, nothing else.

    What it sees is what is shown: a row that claims scores of an endpoint that answers with labels grants labels,
    and `derived_from` says so. The rate limit of the endpoint is no part of the budget (see `rate_limit`).
    """
    because: list[str] = []
    may = _sends(system, principal, component, because)
    may |= _reads(system, principal, component, because)
    grant = can_contribute(system, principal, component)
    if grant.truth is YES:
        may |= Need.CONTRIBUTE
        because += [row for row in grant.because if row.rpartition(": ")[2] in WRITES]
    budget = _budget(_rows(system, principal, component), because)
    return Adversary(
        name=f"{principal}@{component}",
        principal=principal,
        may=may,
        budget=budget,
        goal=goal,
        knowledge=_knows(may),
        derived_from=tuple(dict.fromkeys(because)),
    )


def _sends(system: System, principal: str, component: str, because: list[str]) -> Need:
    grant = can_submit(system, principal, component)
    if grant.truth is not YES:
        return Need.NONE  # seeing an output is worth nothing to one who cannot ask
    because += grant.because
    seen: Seen = effective_output(system, principal, component)
    may = Need.SUBMIT | _SEEN[seen.level]
    because += seen.because
    if seen.capped:
        because.append(f"{seen.capped}.model.output: shows {seen.level} only, whatever the access row says")
    upstream = system.around((component,), back=True, past_trainers=False)
    sensor = holds(system, principal, ("control_sensor",), upstream)
    return may | Need.SENSOR if sensor.truth is YES else may


def _reads(system: System, principal: str, component: str, because: list[str]) -> Need:
    may = Need.NONE
    copy = holds(system, principal, ("read_weights", "read_binary"), model_places(system, component))
    if copy.truth is YES:
        may |= _COPY
        because += copy.because
    data = holds(system, principal, ("read_data",), training_inputs(system, component) | system.group((component,)))
    if data.truth is YES:
        may |= Need.DATA
        because += data.because
    elif public := _public_data(system, component):
        may |= Need.DATA
        because.append(f"assets.{public}.public")
    provenance = system.component(component).provenance
    if provenance and isinstance(provenance.parent, Parent) and provenance.parent.public is YES:
        may |= Need.PARENT
        because.append(f"{component}.provenance.parent.public")
    if documented(system, component) is YES:
        may |= Need.RECIPE
        because.append("training.documented")
    return may


def _public_data(system: System, component: str) -> str:
    """A training-data asset of the component that anybody can get; empty where there is none."""
    return next((asset.id for asset in assets_of(system, component, "training_data") if asset.public is YES), "")


def _knows(may: Need) -> tuple[str, ...]:
    words = {"weights": Need.ARTIFACT, "parent": Need.PARENT, "data": Need.DATA, "recipe": Need.RECIPE}
    return tuple(word for word, need in words.items() if need in may)


def _rows(system: System, principal: str, component: str) -> tuple[Access, ...]:
    """The rows that bear on the component: where it gets inputs, records or weights from, and where it answers."""
    near = system.around((component,)) | system.around((component,), back=True) | training_inputs(system, component)
    return tuple(row for row in rows_of(system, principal) if row.on in near or end_of(system, row.on) in near)


def _budget(rows: tuple[Access, ...], because: list[str]) -> Budget:
    """The sum of what the rows would spend; what none of them states stays unlimited."""
    budgets = [row.budget for row in rows if row.budget]
    timed = any(b.days or b.hours for b in budgets)
    daily = [b.queries_per_day for b in budgets if b.queries_per_day is not None]
    if daily and not timed:
        because.append(f"length of the campaign not stated: {CAMPAIGN_DAYS:g} days assumed")
    days = campaign(rows) if timed or daily else None
    records = [b.samples for b in budgets if b.samples is not None]
    return Budget(
        queries=int(sum(daily) * days) if daily and days is not None else None,
        records=sum(records) if records else None,
        accounts=max((b.accounts for b in budgets if b.accounts), default=1),
        days=days,
    )
