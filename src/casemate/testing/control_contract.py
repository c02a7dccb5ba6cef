"""What every control must keep, by its kind: service, inference, training, pipeline."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ..controls import facts_of
from ..core.adversary import Need
from ..core.attack import attacks
from ..core.control import controls
from ..core.entities import Component
from ..core.errors import CasemateError, UsageError
from ..core.system import System
from ..core.target import REJECT, Recipe, Response, Target, count
from ..targets.identity import digest
from .contract import Check, ContractBroken, demand, distance, raised, run_all

KINDS = ("service", "inference", "training", "pipeline")


def check_control(control: Any) -> None:
    """Check a control (an instance, a class or an id) against the contract of its kind.

    Raises:
        ContractBroken: The first rule that it does not keep, with the value seen and what to do.
    """
    run_all(control_checks(control))


def control_checks(control: Any) -> Iterator[Check]:
    """The checks one by one, as ``(name, function)``, for a test runner to list."""
    chosen = controls.get(control) if isinstance(control, str) else control
    yield "definition", partial(_definition, chosen)
    made = chosen() if isinstance(chosen, type) else chosen
    rules: dict[str, tuple[Callable[[Any], None], ...]] = {
        "service": (_state, _admits, _rows, _waits, _labels, _answers),
        "inference": (_hardens,),
        "training": (_sums if hasattr(made, "harden_rounds") else _trains,),
        "pipeline": (_pins,),
    }
    for rule in (_facts, _knows, *rules[made.info.kind]):
        yield rule.__name__.strip("_"), partial(_guarded, rule, made)


def _guarded(rule: Callable[[Any], None], control: Any) -> None:
    try:
        rule(control)
    except ContractBroken:
        raise
    except Exception as error:
        raise raised(rule.__name__.strip("_"), control.info.id, error) from error


# every kind ---------------------------------------------------------------------------------------------------------


def _definition(control: Any) -> None:
    """A frozen dataclass under ``kind.name`` that says what it does and what it costs."""
    kind: Any = control if isinstance(control, type) else type(control)
    id = getattr(getattr(kind, "info", None), "id", kind.__name__)

    def check(ok: Any, found: str, advice: str) -> None:
        demand(ok, "definition", id, found, advice)

    check(hasattr(kind, "info"), "it has no info", "put @casemate.control(...) above the class")
    frozen = getattr(getattr(kind, "__dataclass_params__", None), "frozen", False)
    check(frozen, "it is not a frozen dataclass", "let @casemate.control make it one")
    check(re.fullmatch(r"[a-z]+\.[a-z0-9_]+", id), f"its id is {id!r}", "write kind.name in lower case")
    check(kind.info.kind in KINDS, f"its kind is {kind.info.kind!r}", f"give one of {', '.join(KINDS)}")
    check(kind.info.summary and kind.info.side_effects, "it does not say what it does or costs", "a docstring, side_effects=")
    wrong = [t for t in kind.info.threats if not re.fullmatch(r"[A-Z]{2}-\d{2}", t)]
    check(not wrong, f"threats {wrong} are no ids", "write them like EV-02")
    text = (kind.__doc__ or "").partition("Args:")[2]
    for part in dataclasses.fields(kind):
        described = re.search(rf"^\s+(\w+, )*{part.name}(, \w+)*:", text, re.M)
        check(described, f"parameter {part.name!r} is not explained", "add it under Args: in the docstring")


def _facts(control: Any) -> None:
    """The facts it changes are facts of the description, with values they can have."""
    system = System(components=(Component(id="api"),))
    for path, value in facts_of(control):
        if isinstance(value, str) and "<" in value:  # a placeholder of the documentation: nothing is set yet
            continue
        try:
            system.replace_fact(f"api.{path}", value)
        except CasemateError as error:
            advice = "see docs/reference/description.md"
            raise ContractBroken("facts", control.info.id, f"{path}={value!r}: {error}", advice) from error


def _knows(control: Any) -> None:
    """The attacks that know it exist."""
    missing = [id for id in control.info.knows if id not in attacks]
    demand(not missing, "knows", control.info.id, f"no attack is called {', '.join(missing)}", "name registered attacks by id")


# service ------------------------------------------------------------------------------------------------------------


def _state(control: Any) -> None:
    """A step returns a new state and keeps nothing: the same question twice has the same answer."""
    before, own = control.start, _hash(control)
    frozen = _hash(before)
    first = control.admit(before, "a", range(3), 1.0)
    control.admit(before, "b", range(5), 2.0)
    control.answer(first[0], responses()[0])
    control.wait(first[0], "a", 3.0)
    advice = "make a new state (dataclasses.replace) and leave the old one, and the control, as they are"
    demand(_hash(before) == frozen, "state", control.info.id, "admit changed the state it was given", advice)
    demand(_hash(control) == own, "state", control.info.id, "the control itself changed", advice)
    again = control.admit(before, "a", range(3), 1.0)
    same = _hash(again[0]) == _hash(first[0]) and bool((np.asarray(again[1]) == np.asarray(first[1])).all())
    demand(same, "state", control.info.id, "the same state, account, rows and time were answered differently", advice)


def _hash(value: Any) -> str:
    return digest(value, strict=False) or ""


def _admits(control: Any) -> None:
    """The mask says yes or no to each row that was asked about, and to no other."""
    state = control.start
    for step, size in enumerate((0, 1, 2, 7, 100, 5000)):
        state, mask = control.admit(state, "a", range(size), float(step))
        mask = np.asarray(mask)
        found = f"{size} rows asked, mask {mask.shape} of {mask.dtype}"
        demand(mask.shape == (size,) and mask.dtype == bool, "admits", control.info.id, found, "give one boolean per row")


def _rows(control: Any) -> None:
    """It counts rows: one request of many rows gets in no more than as many requests of one."""
    for size in (2, 50, 3000):
        _, mask = control.admit(control.start, "a", range(size), 1.0)
        state, alone = control.start, 0
        for _ in range(size):
            state, one = control.admit(state, "a", range(1), 1.0)
            alone += int(np.asarray(one).sum())
        found = f"{int(np.asarray(mask).sum())} of {size} rows in one request, {alone} one by one"
        demand(int(np.asarray(mask).sum()) <= alone, "rows", control.info.id, found, "count len(rows), not calls")


def _waits(control: Any) -> None:
    """The wait is a time, and after it a row gets in."""
    state, now = control.start, 10.0
    for _ in range(60):
        state, _ = control.admit(state, "a", range(100), now)
        pause = float(control.wait(state, "a", now))
        demand(pause >= 0, "waits", control.info.id, f"wait says {pause}", "give seconds from 0, infinite for never")
        if pause and math.isfinite(pause):
            now += pause
            state, mask = control.admit(state, "a", range(1), now)
            found = f"after waiting {pause:g} s nothing got in"
            demand(np.asarray(mask).all(), "waits", control.info.id, found, "see Service.wait")
            return


def responses() -> list[Response]:
    """Answers as endpoints give them: all shown, scores only, labels only, a reject among them; a regression."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 3))
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    label = logits.argmax(1)
    label[2] = REJECT
    value = rng.normal(size=4)
    return [Response(label, scores, logits), Response(label, scores), Response(label), Response(value, None, value[:, None])]


def _labels(control: Any) -> None:
    """`answer` leaves the decision alone, unless the class says ``relabels = True``."""
    if getattr(control, "relabels", False):
        return
    for given in responses():
        label = given.label.copy()
        shown = control.answer(control.start, given)
        gap = distance(label, shown.label)
        advice = "pass the label on, or declare relabels: ClassVar[bool] = True"
        demand(gap == 0, "labels", control.info.id, f"labels differ by {gap:g}", advice)


def _answers(control: Any) -> None:
    """`answer` takes every kind of answer, writes into none of them, and shows no more than it got."""
    for given in responses():
        kept = [None if v is None else v.copy() for v in (given.label, given.scores, given.logits)]
        shown = control.answer(control.start, given)
        for name, old in zip(("label", "scores", "logits"), kept, strict=True):
            now, was = getattr(shown, name), getattr(given, name)
            changed = old is not None and distance(was, old) != 0
            demand(not changed, "answers", control.info.id, f"it wrote into the {name} it was given", "make a new Response")
            demand(old is not None or now is None, "answers", control.info.id, f"it shows {name} where none were", "show less")
            fits = now is None or len(now) == len(given.label)
            demand(fits, "answers", control.info.id, f"{name} for another number of rows", "keep the rows in order")


# the others ---------------------------------------------------------------------------------------------------------


def _hardens(control: Any) -> None:
    """A hardened target is a Target of its own: the original is as it was, and a gradient is not lost on the way."""
    from .rig import Variant
    from .rigs import rigs_for

    rig = next(r for r in rigs_for(attacks.get("evasion.noise").info) if r.name == "network linf")
    setup = rig.make(Variant())
    target, x = setup.target, setup.case.x  # type: ignore[union-attr]
    assert target is not None
    before = target.state(), target.fingerprint()
    hard = control.harden_target(target)
    id = control.info.id
    demand(isinstance(hard, Target), "hardens", id, f"it made a {type(hard).__name__}", "return a casemate Target")
    demand(before == (target.state(), target.fingerprint()), "hardens", id, "the original was changed", "use target.replace(...)")
    demand(hard.fingerprint() != before[1], "hardens", id, "it hashes like the original", "put parameters into params=")
    size = len(hard.respond(x).label)
    demand(size == count(x), "hardens", id, f"{count(x)} rows in, {size} out", "keep the rows in order")
    advice = "declare a backward pass: an adaptive attacker differentiates through it"
    demand(Need.GRADIENT in hard.offers, "hardens", id, "the gradient is gone", advice)
    slope = hard.gradient(x, setup.case.y, lambda logits, y: -logits.gather(1, y[:, None])[:, 0]).slope  # type: ignore[union-attr]
    demand(bool((slope != 0).any()), "hardens", id, "the gradient is zero everywhere", advice)
    _refused(control.harden_target, object(), "hardens", id)


def _refused(step: Callable[[Any], Any], thing: Any, rule: str, id: str) -> None:
    """What cannot be hardened is refused with a reason."""
    try:
        step(thing)
    except UsageError:
        return
    except Exception as error:
        raise raised(rule, id, error) from error
    raise ContractBroken(rule, id, f"it hardened {type(thing).__name__}", "raise UsageError for what it cannot harden")


def _trains(control: Any) -> None:
    """A hardened recipe is a new recipe that repeats exactly; one without the hook is refused, or hardened all the same."""
    from ._recipes import offered, plain_fit, with_hook

    x = np.random.default_rng(0).random((480, 5)).astype(np.float32)
    y = np.arange(480) % 2
    id = control.info.id
    recipe = offered(control, Recipe(with_hook, x, y, "1"))
    hard = control.harden_recipe(recipe)
    kept = recipe.x is x and recipe.y is y and recipe.version == "1"
    demand(kept, "trains", id, "the original recipe was changed", "use dataclasses.replace")
    demand(hard.version != recipe.version, "trains", id, "the hardened recipe has the version of the original", "add repr(self)")
    marks = [hard.fit(hard.x, hard.y, seed).fingerprint() for seed in (3, 3)]
    demand(marks[0] == marks[1], "trains", id, "one seed trained two different models", "take randomness from the seed")
    may_agree = getattr(control, "detects", False)  # what finds nothing wrong with the toy leaves the training alone
    same = marks[0] == recipe.fit(x, y, 3).fingerprint()
    advice = "use the hook, or declare detects: ClassVar[bool] = True"
    demand(may_agree or not same, "trains", id, "it trains the same model as before", advice)
    _refused(control.harden_recipe, object(), "trains", id)
    try:
        without = control.harden_recipe(Recipe(plain_fit, x, y))
    except UsageError:  # it needs the hook, and says so
        return
    same = without.fit(x, y, 3).fingerprint() == plain_fit(x, y, 3).fingerprint()
    advice = "raise UsageError where it cannot"
    demand(may_agree or not same, "trains", id, "without the hook it trains the same model as before", advice)


def _sums(control: Any) -> None:
    """It sums updates up to one of the same shape, in whatever order they come; what all clients send, it gives."""
    from ..core.federated import Federated

    id, sent = control.info.id, np.random.default_rng(0).normal(size=(20, 5))
    case = Federated(start=np.zeros(5), updates=sent, attackers=3, wanted=np.ones(5))
    before = sent.copy()
    hard = control.harden_rounds(case)
    joint = np.asarray(hard.rule(sent))
    demand(case.rule is not hard.rule, "sums", id, "the rounds are summed up as before", "use dataclasses.replace")
    demand(bool((sent == before).all()), "sums", id, "it wrote into the updates", "work on a copy")
    shown = f"{joint.shape} of updates {sent.shape}"
    demand(joint.shape == (5,) and bool(np.isfinite(joint).all()), "sums", id, shown, "give one update, (p,)")
    turned = distance(joint, np.asarray(hard.rule(sent[::-1])))
    demand(turned < 1e-12, "sums", id, f"another order of clients moves it by {turned:g}", "no client has a place of its own")
    alike = distance(np.asarray(hard.rule(np.tile(sent[:1], (20, 1)))), sent[0])
    demand(alike < 1e-12, "sums", id, f"equal updates are changed by {alike:g}", "what all clients send is what the round learns")
    _refused(control.harden_rounds, object(), "sums", id)


def _pins(control: Any) -> None:
    """What a pin was made of is let through, and one bit more or less is not."""
    import tempfile
    from pathlib import Path

    if not (hasattr(control, "pinned") and hasattr(control, "load")):
        return  # another step of the way of an artifact: its facts are all that can be checked from outside
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "artifact")
        path.write_bytes(b"weights")
        pin = control.pinned(path)
        demand(pin.load(path) == b"weights", "pins", control.info.id, "it refuses what it was made of", "hash the bytes")
        path.write_bytes(b"weightt")
        _refused(pin.load, path, "pins", control.info.id)
