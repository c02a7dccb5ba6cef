"""`run`: one attack on one target, from Python, with no description at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.adversary import Adversary, Budget, Need, researcher
from ..core.attack import attacks, parameters
from ..core.case import AnyCase, Evade, Inputs
from ..core.constraint import Ball
from ..core.control import Service
from ..core.errors import BadInput, BudgetSpent, NotGranted, RunError
from ..core.evidence import Baseline, Cost, Evidence, Verdict, plain
from ..core.oracle import Known
from ..core.target import Target, to_numpy
from ..judges.evade import VOTES
from ..judges.statistics import clopper_pearson, curve, median_time
from ..judges.verdict import rate_verdict, width_check
from .driver import Progress
from .evade import Setting, baseline, run_evade
from .health import checks
from .part import Part, merge_rows, merge_spent
from .plan import share
from .sets import run_set

NOISE_ROWS = 100  # rows of the baseline: enough to tell a system that fails by itself
SHARD = 500  # rows of a shard: enough to fill a model call, small enough for memory


@contextmanager
def _judged() -> Iterator[None]:
    """A cap that ends an attack leaves a claim; one that ends the judge's own questions leaves nothing to say."""
    try:
        yield
    except BudgetSpent as spent:
        raise RunError(
            f"the judge could not finish: {spent}. What an attack claims is no evidence until the target itself was asked: "
            "raise query_cap by at least those rows, or give fewer"
        ) from spent


@_judged()
def run(
    attack: Any,
    target: Any,
    case: AnyCase,
    *,
    adversary: Adversary | None = None,
    budget: Budget | None = None,
    controls: Sequence[Service] = (),
    known: Known | None = None,
    seed: int = 0,
    shard: int = SHARD,
    progress: Progress | None = None,
) -> Evidence:
    """Run an attack and judge it.

    Args:
        attack: An id (``"evasion.pgd"``, or a name from the literature) or an attack with its parameters.
        target: A `Target`, or anything `wrap` takes.
        case: What is attempted: `Evade`, `Poison`, `Infer`, `Copy`, `Stall`, `Smuggle`.
        adversary: Who; by default the unlimited researcher.
        budget: Replaces the adversary's budget.
        controls: Service controls the endpoint sits behind. Controls of other kinds change the target itself:
            ``control.harden_target(target)``.
        known: What the adversary holds besides access (data, public parent, recipe). A parent is wrapped like the target.
        seed: All randomness comes from it and from row ids.
        shard: Rows worked on at a time; memory grows with it, the outcome does not depend on it beyond rounding.

    Raises:
        NotGranted: The attack needs more than the adversary holds.
        BadInput: The case cannot be attacked (empty, not finite, outside its domain, wrong shape), or a control is no service.
        RunError: The cap of a remote target does not cover what the judge has to ask.
    """
    chosen = attacks.get(attack)() if isinstance(attack, str) else attack() if isinstance(attack, type) else attack
    adversary = adversary or researcher()
    adversary = replace(adversary, budget=budget) if budget else adversary
    _check_call(chosen, case, adversary, controls)
    wrapped, known = _wrapped(target, known or Known())
    if isinstance(case, Evade):
        return _run_rows(chosen, case, wrapped, adversary, tuple(controls), known, seed, progress, shard)
    return run_set(chosen, case, wrapped, adversary, tuple(controls), known, seed, progress)


def _check_call(attack: Any, case: AnyCase, adversary: Adversary, controls: Sequence[Service]) -> None:
    """Refuse what does not fit together."""
    check_granted(attack, adversary)
    _check_services(controls)
    if attack.info.case != case.kind:
        raise BadInput(f"{attack.info.id} takes a case of kind {attack.info.case!r}; got {case.kind!r}")


def _wrapped(target: Any, known: Known) -> tuple[Target | None, Known]:
    """The target, and what is known with the public parent in it: each wrapped, where there is one."""
    from ..targets.wrap import wrap

    own = wrap(target) if target is not None else None
    return own, known if known.parent is None else replace(known, parent=wrap(known.parent))


def _run_rows(
    attack: Any, case: Evade, target: Target | None, adversary: Adversary, services: tuple[Service, ...], known: Known,
    seed: int, progress: Progress | None, shard: int,
) -> Evidence:  # fmt: skip
    """Attack an evasion case shard by shard, and judge all of them together, beside random changes."""
    if target is None:
        raise BadInput("a case of kind 'evade' needs a target")
    setting = Setting(target=target, adversary=adversary, services=services, known=known, seed=seed)
    check_case(case)
    parts, claims = [], _Claims(case)
    done = 0
    for one in shards(case, setting, len(case) if attack.info.scope == "set" else shard):
        part = run_evade(attack, one, _share_of(setting, done, len(one), len(case)), progress)
        claims.add(part)
        parts.append(replace(part, claims=None))
        done += len(one)
    luck = baseline(case.only(np.arange(min(NOISE_ROWS, len(case)))), setting)
    noise = (int(luck.rows["broken"].sum()), int(luck.rows["right"].sum())) if luck.facts["draws"] else None
    evidence = evade_evidence(attack, case, setting, parts, noise)
    # The baseline asked the target too, in the judge's name, and the ledger says so.
    spent = merge_spent([*parts, luck])
    return replace(evidence, spent=spent, claims=Inputs(x=claims.x, broken=np.concatenate([p.rows["broken"] for p in parts])))


def _share_of(setting: Setting, start: int, size: int, rows: int) -> Setting:
    """The setting of a shard, with its part of the campaign's queries and of its time."""
    budget = setting.adversary.budget
    if budget.seconds is not None:
        own = replace(budget, seconds=budget.seconds * size / rows)
        setting = replace(setting, adversary=replace(setting.adversary, budget=own))
    return setting if budget.queries is None else replace(setting, share=share(budget.queries, (start, start + size), rows))


class _Claims:
    """Claims of all shards in one place, so that memory holds the inputs, the claims, and one shard's work."""

    def __init__(self, case: Evade) -> None:
        self._size, self._at = len(case), 0
        self.x: Any = [] if isinstance(case.x, list | tuple) else None
        self._frames: list[Any] = []

    def add(self, part: Part) -> None:
        """Take in the claims of the next shard."""
        found = to_numpy(part.claims)  # inputs that nobody moved come back as they were handed in
        if hasattr(found, "iloc"):
            import pandas

            self._frames.append(found)
            self.x = pandas.concat(self._frames)
        elif isinstance(found, list):
            self.x.extend(found)
        else:
            if self.x is None:
                self.x = np.empty((self._size, *found.shape[1:]), found.dtype)
            self.x[self._at : self._at + len(found)] = found
        self._at += len(found)


def check_granted(attack: Any, adversary: Adversary) -> None:
    """Refuse, by name, an attack that needs more than the adversary holds."""
    missing = attack.info.needs & ~adversary.may
    if missing:
        held = ", ".join(adversary.may.names) or "nothing"
        raise NotGranted(
            f"{attack.info.id} needs {', '.join(missing.names)}, which {adversary.name} does not hold; it may use: {held}"
        )


def _check_services(controls: Sequence[Any]) -> None:
    """Refuse a control that does not sit around an endpoint, and say where it goes."""
    for control in controls:
        if not all(hasattr(control, part) for part in ("start", "admit", "answer")):
            what = "; attack control.harden_target(target) instead" if hasattr(control, "harden_target") else ""
            raise BadInput(f"controls= takes service controls; {type(control).__name__} is none{what}")


def check_case(case: Evade) -> None:
    """Say what is wrong with data before anything is spent on it."""
    if not len(case):
        raise BadInput("the case has no rows; give at least one input")
    for part in ("check", "measure"):
        if not callable(getattr(case.within, part, None)):
            raise BadInput(
                f"within={case.within!r} has no {part}; a constraint has check(claim, origin) and measure(claim, origin), as "
                'Ball("linf", 0.1) has'
            )
    x = to_numpy(case.x)
    if hasattr(x, "dtype") and x.dtype.kind in "fiub":
        finite = (np.isfinite(x[i : i + SHARD].reshape(len(x[i : i + SHARD]), -1)).all(1) for i in range(0, len(x), SHARD))
        bad = np.flatnonzero(~np.concatenate(list(finite)))
        if len(bad):
            raise BadInput(f"x is not finite in {len(bad)} rows (first: row {bad[0]}); remove or mend them")
        low, high = (_end(case.within, name, least) for name, least in (("low", -np.inf), ("high", np.inf)))
        _usable_radius(case.within, x)
        if x.min() < low or x.max() > high:
            raise BadInput(
                f"x spans [{x.min():.4g}, {x.max():.4g}], outside the domain [{low:.4g}, {high:.4g}] of the constraint; "
                "give the constraint's low and high in the input's own units"
            )


def _end(within: Any, name: str, otherwise: float) -> float:
    """An end of the domain, where the constraint tells one."""
    value = getattr(within, name, None)
    try:
        return otherwise if value is None else float(value)
    except (TypeError, ValueError):
        raise BadInput(f"{name}={value!r} of within={within!r} is not a number; give one for the domain of every value") from None


def _usable_radius(within: Any, x: Any) -> None:
    """Refuse a radius that rounding would eat up: an attack could not move, and would say that the rows resisted."""
    if not isinstance(within, Ball) or within.norm == "l0" or not 0 < within.radius < np.inf or x.dtype.kind != "f":
        return
    usable = min((within.inside(x[i : i + SHARD]) for i in range(0, len(x), SHARD)), default=within.radius)
    if usable < within.radius / 2:
        raise BadInput(
            f"radius={within.radius:g} in {within.norm} is less than numbers of this size round by in {x.dtype}; "
            "give the inputs as float64, or scale them"
        )


def shards(case: Evade, setting: Setting, size: int) -> Iterator[Evade]:
    """The case in shards. One shard where the endpoint keeps state, which rows share."""
    if setting.services and any(service.start is not None for service in setting.services):
        size = len(case)
    if size < 1:
        raise BadInput(f"shard={size} is not allowed; work on at least one row at a time")
    return (case.only(np.arange(i, min(i + size, len(case)))) for i in range(0, len(case), size))


def evade_evidence(
    attack: Any, case: Evade, setting: Setting, parts: Sequence[Part], noise: tuple[int, int] | None = None
) -> Evidence:
    """What all shards of one attack showed together."""
    rows = merge_rows(parts)
    right = rows["right"]
    hits, n = int(rows["broken"].sum()), int(right.sum())
    interval = clopper_pearson(hits, n)
    own = checks(attack, parts) if setting.check_health else ()
    health = tuple(sorted((*own, width_check(interval)), key=lambda check: check.number))
    baseline = None
    if noise and noise[1]:
        baseline = Baseline("random change", noise[0] / noise[1], clopper_pearson(*noise))
    verdict, reasons = rate_verdict(hits, n, health, baseline)
    if attack.info.baseline and verdict is Verdict.RESISTED:
        doubt = f"{attack.info.id} is a baseline: what stands against chance may fall to skill"
        verdict, reasons = Verdict.INCONCLUSIVE, (*reasons, doubt)
    # Whoever differentiates the model holds a copy of it: what that costs is compute, not queries.
    copy = any(part.facts.get("copy") or part.spent.get("gradients") for part in parts) or Need.GRADIENT in attack.info.needs
    times, fell = _times(rows, copy), rows["broken"][right]
    return Evidence(
        attack=attack.info.id, params=parameters(attack), adversary=setting.adversary.name,
        may=setting.adversary.may.names, budget=str(setting.adversary.budget), target=setting.target.name,
        fingerprint=setting.target.fingerprint(), case=case.kind, seed=setting.seed,
        measure="rows broken", rate=hits / n if n else 0.0, interval=interval, n=n, verdict=verdict, reasons=reasons,
        baseline=baseline, cost=_cost(rows, times, copy, parts), spent=merge_spent(parts), health=health, rows=rows,
        curves={"own calls" if copy else "queries": curve(times, fell)} if n else {},
        extra=_extra(attack, case, rows, setting, parts), papers=attack.info.papers,
        seconds=sum(part.seconds for part in parts),
    )  # fmt: skip


def _times(rows: dict[str, Any], copy: bool) -> Any:
    """When each attacked row broke, or until when it stood, in what it had cost by then."""
    right, broken = rows["right"], rows["broken"]
    spent = (rows["local"] + rows["gradients"] if copy else rows["queries"]).astype(float)
    # Broken without its attacker knowing: that took all it spent, not nothing.
    when = np.where(np.isnan(rows["broke_at"]), spent, rows["broke_at"])
    # A row that was refused, or given up early, stood all the while the others were worked on: to take it out of the rows at
    # risk would make the defence that refused it look cheap to break.
    return np.where(broken, when, spent[right].max(initial=0.0))[right]


def _cost(rows: dict[str, Any], times: Any, copy: bool, parts: Sequence[Part]) -> Cost:
    """Deployed queries until half the rows broke, none at all for what was found on a copy; time and accounts as used."""
    days = max((float(part.facts.get("days", 0.0)) for part in parts), default=0.0) or None
    accounts = max((int(part.facts.get("accounts", 1)) for part in parts), default=1) or 1
    if not len(times):
        return Cost(None, None, accounts, days)
    fell = rows["broken"][rows["right"]]
    half = median_time(times, fell)
    if copy:
        return Cost(0.0 if half is not None else None, None, accounts, days, gradients=half)
    # Stopped by the endpoint, not by the purse: most of the rows that stand were refused.
    blocked = half is None and 2 * int(rows["blocked"].sum()) > int((~fell).sum())
    share = None if half is not None else float(fell.mean())
    return Cost(half, float(times.max()), accounts, days, blocked=blocked, share=share)


def _extra(attack: Any, case: Evade, rows: dict[str, Any], setting: Setting, parts: Sequence[Part]) -> dict[str, Any]:
    within: Any = case.within
    extra: dict[str, Any] = {"goal": repr(case.goal), "within": describe(within), "blocked": int(rows["blocked"].sum())}
    distance = rows["distance"][rows["broken"]]
    if len(distance):
        extra["median_distance"] = float(np.median(distance))
    stopped = next((p.facts["stopped"] for p in parts if p.facts.get("stopped")), "")
    if stopped:
        extra["stopped"] = stopped
    if setting.target.random:
        extra["votes"] = VOTES
    fresh = rows["right"] & (rows["gradients"] == 0)
    if attack.info.scope == "set" and rows["gradients"].any() and fresh.any():  # what was fitted on the others
        hits, n = int(rows["broken"][fresh].sum()), int(fresh.sum())
        extra["unfitted"] = {"rate": hits / n, "n": n, "interval": plain(clopper_pearson(hits, n))}
    if stages := _stages(parts):
        extra["stages"] = stages
    return extra


def _stages(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Of a cascade, what each stage did on the rows of all shards."""
    shards = [part.facts["stages"] for part in parts if part.facts.get("stages")]
    found = []
    for same in zip(*shards, strict=False):
        spent = {kind: sum(stage["spent"][kind] for stage in same) for kind in same[0]["spent"]}
        total = {name: sum(stage[name] for stage in same) for name in ("tried", "fell", "took_seconds")}
        stopped = next((stage["stopped"] for stage in same if stage["stopped"]), "")
        found.append({
            "attack": same[0]["attack"], "params": same[0]["params"], "tried": total["tried"], "fell": total["fell"],
            "spent": spent, "took_seconds": total["took_seconds"], "stopped": stopped,
        })  # fmt: skip
    return found


def describe(within: Any) -> str:
    """A constraint in a few words, without the callables inside it."""
    if isinstance(within, Ball):
        return f"{within.norm} <= {within.radius:g} in [{within.low:g}, {within.high:g}]"
    return type(within).__name__.lower()
