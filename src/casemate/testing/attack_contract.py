"""What every attack must keep, whatever it does inside: `check_attack` is to attacks what `check_estimator` is elsewhere.

Each rule has one word for a name. A wrong attack should be caught by the rule that says what is wrong with it, so rules
that compare two trials let rows neither finish nor leave, and global generators are reset before each of them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, get_args

import numpy as np

from ..core.adversary import Adversary, Budget
from ..core.attack import Scope, attacks
from ..core.case import Distinguisher, Evade, Guesses, Load, Records, Recovered, Replica, Values
from ..core.errors import BadInput, NotGranted
from ..core.oracle import Meter
from ..core.target import count, take, to_numpy
from ..runs.api import check_granted
from ..runs.evade import run_evade
from ._data_rules import data
from ._input_rules import batch, constraint, failure, order, record, rescale, setting_of, shift, stands
from ._trial import Gate, Trial, trial, unlike
from .contract import Check, ContractBroken, demand, distance, raised, run_all
from .rig import Rig, Variant, arrays_of
from .rigs import rigs_for

Rule = Callable[[Any, Rig], None]
SCOPES = get_args(Scope)


def check_attack(attack: Any, *, rigs: Sequence[Rig] | None = None) -> None:
    """Check an attack (an instance, a class or an id) against the whole contract.

    Args:
        rigs: Targets and cases to try it on; by default the toy ones that fit its case and modality.

    Raises:
        ContractBroken: The first rule that it does not keep, with the value seen and what to do.
    """
    run_all(attack_checks(attack, rigs=rigs))


def attack_checks(attack: Any, *, rigs: Sequence[Rig] | None = None) -> Iterator[Check]:
    """The checks one by one, as ``(name, function)``, for a test runner to list."""
    chosen = attacks.get(attack) if isinstance(attack, str) else attack
    yield "definition", partial(_definition, chosen)
    made = chosen() if isinstance(chosen, type) else chosen
    places = list(rigs_for(made.info) if rigs is None else rigs)
    yield "runs", partial(_runs, made, places)
    for rule in _rules(made):
        for rig in places:
            name = f"{rule.__name__.strip('_')} on {rig.name}"
            yield name, partial(_guarded, rule, made, rig)


def _rules(attack: Any) -> Iterator[Rule]:
    yield from (_needs, _seed, _arrays, _target, _ledger, _budget, _refusal)
    if attack.info.scope == "set":
        yield data
    if attack.info.case != "evade":
        yield _claim
        return
    yield from (constraint, stands, failure, shift, rescale)
    if attack.info.scope != "set":  # one change for all rows depends on all of them, by definition
        yield from (batch, order)
    if attack.info.scope == "rows":
        yield record


def _guarded(rule: Rule, attack: Any, rig: Rig) -> None:
    """A rule, where an exception that belongs nowhere is the rule broken too."""
    name = rule.__name__.strip("_")
    try:
        rule(attack, rig)
    except ContractBroken:
        raise
    except (BadInput, NotGranted) as error:  # if the plain run ends so too, "runs" has the say
        if _fits(attack, rig):
            raise raised(name, attack.info.id, error) from error
    except Exception as error:
        raise raised(name, attack.info.id, error) from error


def _fits(attack: Any, rig: Rig) -> bool:
    try:
        trial(attack, rig)
    except (BadInput, NotGranted):
        return False
    return True


# once for each attack -----------------------------------------------------------------------------------------------


def _definition(attack: Any) -> None:
    """A frozen dataclass whose every parameter is explained and has a value, under ``family.method``."""
    kind: Any = attack if isinstance(attack, type) else type(attack)
    check = partial(_demand_definition, getattr(getattr(kind, "info", None), "id", kind.__name__))
    check(hasattr(kind, "info"), "it has no info", "put @casemate.attack(...) above the class")
    frozen = getattr(getattr(kind, "__dataclass_params__", None), "frozen", False)
    check(frozen, "it is not a frozen dataclass", "let @casemate.attack make it one")
    info = kind.info
    check(re.fullmatch(r"[a-z0-9]+\.[a-z0-9_]+", info.id), f"its id is {info.id!r}", "write family.method in lower case")
    check(info.scope in SCOPES, f"its scope is {info.scope!r}", f"give one of {', '.join(SCOPES)}")
    check(info.summary, "it has no docstring", "say in the first line what it does")
    check(info.spends, "it does not say what it spends", "give spends=, as a formula")
    text = (kind.__doc__ or "").partition("Args:")[2]
    for part in dataclasses.fields(kind):
        described = re.search(rf"^\s+(\w+, )*{part.name}(, \w+)*:", text, re.M)
        check(described, f"parameter {part.name!r} is not explained", "add it under Args: in the docstring")
        required = part.default is dataclasses.MISSING and part.default_factory is dataclasses.MISSING
        check(not required, f"parameter {part.name!r} has no default", "give it one that works")
    made = kind() if isinstance(attack, type) else attack
    try:
        hash(made)
    except TypeError as error:
        raise ContractBroken("definition", info.id, f"it cannot be hashed ({error})", "use tuples for parameters") from error


def _demand_definition(subject: str, ok: Any, found: str, advice: str) -> None:
    demand(ok, "definition", subject, found, advice)


def _runs(attack: Any, rigs: Sequence[Rig]) -> None:
    """It runs with what it declares, on at least one rig."""
    advice = "give rigs=[Rig(...)] with a target and a case that it takes"
    demand(rigs, "runs", attack.info.id, f"no toy fits case {attack.info.case!r}, modality {attack.info.modality}", advice)
    refusals = []
    for rig in rigs:
        try:
            trial(attack, rig)
        except BadInput as error:
            refusals.append(f"{rig.name}: {error}")
        except NotGranted as error:
            raise ContractBroken("runs", attack.info.id, str(error), "declare all that it uses in needs=") from error
        except Exception as error:
            raise raised("runs", attack.info.id, error) from error
    demand(len(refusals) < len(rigs), "runs", attack.info.id, "; ".join(refusals), advice)


# any attack ---------------------------------------------------------------------------------------------------------


def _needs(attack: Any, rig: Rig) -> None:
    """Who holds nothing is refused by name, and by the oracle too."""
    if not attack.info.needs:
        return
    nobody, id = Adversary(name="nobody"), attack.info.id
    try:
        check_granted(attack, nobody)
    except NotGranted as error:
        demand(id in str(error), "needs", id, f"the refusal says {error}", "name the attack in it")
    try:
        trial(attack, rig, adversary=nobody)
    except NotGranted:
        return
    raise ContractBroken("needs", id, "it ran for somebody who holds nothing", "go through the oracle for every answer")


def _seed(attack: Any, rig: Rig) -> None:
    """The same seed, the same claims: whatever the global generators stand at."""
    first, second = (trial(attack, rig, noise=noise) for noise in (1, 2))
    gap = _gap(first, second)
    advice = "take all randomness from rng, keyed by row and draw"
    demand(gap == 0, "seed", attack.info.id, f"two runs with one seed differ by {gap:g}", advice)
    same = first.meter.total == second.meter.total
    demand(same, "seed", attack.info.id, f"ledgers {first.meter.total} and {second.meter.total}", advice)


def _gap(a: Trial, b: Trial) -> float:
    if isinstance(a.case, Evade):
        return distance(a.claim, b.claim)
    return unlike(a.claim, b.claim, getattr(getattr(a.case, "truth", None), "x", None))


def _arrays(attack: Any, rig: Rig) -> None:
    """The caller's arrays are read and never written."""
    setup = rig.make(Variant())
    named = [*arrays_of(setup.case), *arrays_of(setup.known, "known")]
    before = [(name, value, _snapshot(value)) for name, value in named]
    trial(attack, rig, setup=setup)
    for name, value, old in before:
        gap = distance(value, old)
        demand(gap == 0, "arrays", attack.info.id, f"{name} was changed by {gap:g}", "work on a copy")


def _snapshot(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value.clone() if hasattr(value, "clone") else value.copy()


def _target(attack: Any, rig: Rig) -> None:
    """Parameters, buffers and training flags are as they were."""
    setup = rig.make(Variant())
    targets = [t for t in (setup.target, setup.known.parent) if t is not None]
    before = [(t.state(), t.fingerprint()) for t in targets]
    trial(attack, rig, setup=setup)
    same = before == [(t.state(), t.fingerprint()) for t in targets]
    demand(same, "target", attack.info.id, "the target's state differs afterwards", "ask through the oracle and change nothing")


def _ledger(attack: Any, rig: Rig) -> None:
    """What a hook on the model counts is what the ledger says; with the judge and the health checks too."""
    done = trial(attack, rig)
    _balanced(done, "ledger", attack)
    parent = done.setup.parent.rows
    found = f"the parent was asked about {parent} rows, the ledger says {done.meter.total['parent']}"
    demand(parent == done.meter.total["parent"], "ledger", attack.info.id, found, "use oracle.parent() for every call of it")
    if not isinstance(done.case, Evade):
        return
    setup = rig.make(Variant())
    spent = run_evade(attack, setup.case, setting_of(attack, rig, setup, True)).spent  # type: ignore[arg-type]
    total = Trial(setup=setup, case=setup.case, meter=Meter(np.zeros(0, int)))
    total.meter.total.update(spent)
    _balanced(total, "ledger", attack)


def _balanced(done: Trial, rule: str, attack: Any) -> None:
    found = f"the model was asked about {done.setup.tally.rows} rows, the ledger says {done.charged} ({done.meter.total})"
    demand(done.setup.tally.rows == done.charged, rule, attack.info.id, found, "call the model through the oracle only")


BUDGETS = (
    Budget(queries_per_row=0, gradients_per_row=0, records=0),
    Budget(queries_per_row=1, gradients_per_row=1, records=1),
    Budget(queries_per_row=7, gradients_per_row=3, records=5),
    Budget(queries=0, queries_per_row=20, gradients_per_row=5),
    Budget(queries=1, queries_per_row=20, gradients_per_row=5),
    Budget(queries=37, queries_per_row=20, gradients_per_row=5),
)


def _budget(attack: Any, rig: Rig) -> None:
    """No budget is exceeded, none at all included, and the run ends quietly."""
    for budget in BUDGETS:
        done = trial(attack, rig, budget=budget)
        rows = done.case.row if isinstance(done.case, Evade) else np.arange(1 << 14)
        caps = (("queries", budget.queries_per_row), ("gradients", budget.gradients_per_row))
        for kind, cap in caps:
            most = int(done.meter.of(kind, rows).max())
            demand(cap is None or most <= cap, "budget", attack.info.id, f"{most} {kind} for a row of {cap}", _HARD)
        for kind, cap in (("queries", budget.queries), ("records", budget.records)):
            total = done.meter.total[kind]
            demand(cap is None or total <= cap, "budget", attack.info.id, f"{total} {kind} of {cap}", _HARD)


_HARD = "a budget is a hard cap; leave the counting to the oracle"


def _refusal(attack: Any, rig: Rig) -> None:
    """An endpoint that refuses, at once or later, ends the attack with the last claim standing."""
    for after in (0, 7, 40):
        done = trial(attack, rig, services=(Gate(after),))
        let_in = min(after, done.setup.tally.rows)
        if rig.name not in ("poison", "backdoor", "misread"):  # train on their own
            charged = done.meter.total["queries"] - done.meter.total["refused"]
            demand(charged <= after, "refusal", attack.info.id, f"{charged} rows let in, {let_in} of {after} allowed", _DOOR)
        if not isinstance(done.case, Evade):
            continue
        last = done.last()
        for i, row in enumerate(done.case.row.tolist()):
            kept = distance(take(done.claim, [i]), last[row]) if row in last else 0.0
            demand(kept == 0, "refusal", attack.info.id, f"row {row} lost its last claim after {after} rows", _DOOR)


_DOOR = "let Refused pass, or go on with what is known; claims made before stand"


def _claim(attack: Any, rig: Rig) -> None:
    """Every claim of a set attack is well-formed, the ones on the way included."""
    done = trial(attack, rig)
    demand(done.said, "claim", attack.info.id, "it claims nothing", "yield a claim as soon as there is one")
    for said in done.said:
        problem = _malformed(said.best, done.case)
        demand(not problem, "claim", attack.info.id, problem, f"see {type(said.best).__name__} in casemate.core.case")


def _malformed(claim: Any, case: Any) -> str:
    """What is wrong with a claim; nothing where it is well-formed."""
    if isinstance(claim, Records):
        n, index = count(case.recipe.x), np.asarray(claim.index)
        if not len(index) == count(claim.x) == len(claim.y):
            return f"{len(index)} indices, {count(claim.x)} inputs and {len(claim.y)} labels"
        ok = len(np.unique(index)) == len(index) and bool(((index >= 0) & (index < n)).all())
        return "" if ok else f"indices repeat or lie outside 0..{n - 1}"
    if isinstance(claim, Guesses):
        n, score, member = count(case.x), np.asarray(claim.score), np.asarray(claim.member)
        ok = score.shape == member.shape == (n,) and member.dtype == bool and bool(np.isfinite(score).all())
        return "" if ok else f"scores {score.shape} and guesses {member.shape} of {member.dtype} for {n} candidates"
    if isinstance(claim, Replica):
        own = np.asarray(to_numpy(claim.labels(case.truth.x)))
        return "" if own.shape == (count(case.truth.x),) else f"{own.shape} labels for {count(case.truth.x)} inputs"
    if isinstance(claim, Load):
        ok = 0 <= claim.admitted <= claim.sent <= case.rows
        return "" if ok else f"{claim.admitted} admitted, {claim.sent} sent, {case.rows} planned"
    if isinstance(claim, Values | Distinguisher | Recovered):
        return _disclosed(claim, case)
    if hasattr(claim, "malformed"):  # a claim that knows its own rules
        return str(claim.malformed(case))
    checks = getattr(claim, "checks", None)
    ok = isinstance(checks, dict) and all(isinstance(value, bool) for value in checks.values())
    return "" if ok else f"a {type(claim).__name__} is no claim of a case {case.kind!r}"


def _disclosed(claim: Any, case: Any) -> str:
    """What is wrong with a claim about people, about the training set, or of what a model was trained on."""
    if isinstance(claim, Values):
        value, n = np.asarray(to_numpy(claim.value)), count(case.x)
        ok = value.shape == (n,) and set(value.tolist()) <= set(case.values)
        return "" if ok else f"values of shape {value.shape}, {sorted(set(value.ravel().tolist()))[:5]}, for {n} of {case.values}"
    if isinstance(claim, Distinguisher):
        return "" if callable(claim.decide) and count(claim.ask) else "it asks nothing, or has nothing to decide by"
    x, y = np.asarray(to_numpy(claim.x)), np.asarray(to_numpy(claim.y))
    ok = x.shape == (len(y), *case.shape) and bool(np.isfinite(x).all() and (x >= case.low).all() and (x <= case.high).all())
    return "" if ok else f"inputs {x.shape} and labels {y.shape} for inputs of shape {case.shape} in [{case.low}, {case.high}]"
