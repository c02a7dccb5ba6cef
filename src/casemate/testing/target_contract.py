"""What every target must keep: adapters of casemate's own, of plugins, and targets that a user built."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.adversary import Need
from ..core.errors import CasemateError, NotGranted
from ..core.target import REJECT, Response, Target, count, take, to_numpy
from ..targets.pipeline import Pipeline
from .contract import Check, ContractBroken, demand, distance, raised, run_all

ROW = 1_000  # row ids start here: nothing may take them for positions


def check_target(target: Any, sample: Any, *, changed: Any = None) -> None:
    """Check a target on a few of its own inputs (at least four).

    Args:
        sample: Inputs as the deployed system takes them.
        changed: The same target with other weights, whose fingerprint must differ; a torch target makes its own.

    Raises:
        ContractBroken: The first rule that it does not keep, with the value seen and what to do.
    """
    run_all(target_checks(target, sample, changed=changed))


def target_checks(target: Any, sample: Any, *, changed: Any = None) -> Iterator[Check]:
    """The checks one by one, as ``(name, function)``, for a test runner to list."""
    name = str(getattr(target, "name", type(target).__name__))
    yield "protocol", partial(_protocol, target, sample, name)
    for rule in (_labels, _shows, _repeats, _batch, _arrays, _untouched, _gradient, _shape):
        yield rule.__name__.strip("_"), partial(_guarded, rule, target, sample, name)
    yield "fingerprint", partial(_fingerprint, target, changed, name)


def _guarded(rule: Any, target: Any, sample: Any, name: str) -> None:
    try:
        rule(target, sample, name)
    except ContractBroken:
        raise
    except Exception as error:
        raise raised(rule.__name__.strip("_"), name, error) from error


def _protocol(target: Any, sample: Any, name: str) -> None:
    """It has all that a Target has."""
    demand(isinstance(target, Target), "protocol", name, f"a {type(target).__name__} is no Target", "see casemate.core.target")
    demand(Need.LABEL in target.offers, "protocol", name, f"it offers {target.offers!r}", "every target offers labels")
    ok = target.classes is None or target.classes >= 2
    demand(ok, "protocol", name, f"classes is {target.classes!r}", "give a number from 2, or None")
    demand(count(sample) >= 4, "protocol", name, f"{count(sample)} rows of sample", "give at least four")


def _ask(target: Any, x: Any, first: int = 0, draw: int = 0) -> Response:
    found = target.respond(x, rows=ROW + first + np.arange(count(x)), draw=draw)
    shown = [None if v is None else np.asarray(to_numpy(v)) for v in (found.label, found.scores, found.logits)]
    return Response(*shown)


def _labels(target: Any, sample: Any, name: str) -> None:
    """One decision a row: a class, a reject, or the number of a regression."""
    label = _ask(target, sample).label
    demand(label.shape == (count(sample),), "labels", name, f"labels {label.shape} for {count(sample)} rows", "give one a row")
    if label.dtype.kind == "f":
        demand(np.isfinite(label).all(), "labels", name, "a decision is not finite", "raise TargetFailed instead")
        return
    demand(label.dtype.kind in "iu", "labels", name, f"labels of {label.dtype}", "give class indices")
    top = target.classes or np.inf
    ok = bool(((label >= REJECT) & (label < top)).all())
    found = f"labels {label.min()}..{label.max()} of {target.classes} classes"
    demand(ok, "labels", name, found, "0.. for classes, -1 for a reject")


def _shows(target: Any, sample: Any, name: str) -> None:
    """It shows what it offers and no more; scores are probabilities."""
    found = _ask(target, sample)
    for need, value, what in ((Need.SCORE, found.scores, "scores"), (Need.LOGIT, found.logits, "logits")):
        offered = need in target.offers
        demand(not offered or value is not None, "shows", name, f"{what} are offered and not shown", "offer what is shown")
        if value is not None:
            demand(len(value) == count(sample), "shows", name, f"{what} {value.shape} for {count(sample)} rows", "one a row")
            demand(np.isfinite(value).all(), "shows", name, f"{what} are not finite", "raise TargetFailed instead")
    if found.scores is not None and found.scores.shape[1] > 1:
        total = found.scores.sum(1)
        ok = np.allclose(total, 1, atol=1e-4) and found.scores.min() >= 0
        demand(ok, "shows", name, f"scores add up to {total.min():.4g}..{total.max():.4g}", "show probabilities")


def _near(a: Response, b: Response) -> str:
    """What differs between two answers beyond rounding; nothing where they agree."""
    for what, x, y in (("logits", a.logits, b.logits), ("scores", a.scores, b.scores)):
        if x is not None and y is not None:
            tolerance = 1e-9 if x.dtype == np.float64 else 1e-4
            gap = distance(x, y)
            if gap > tolerance * (1 + float(np.abs(x).max())):
                return f"{what} differ by {gap:g}"
    gap = distance(a.label, b.label)
    return f"labels differ by {gap:g}" if gap > (1e-4 if a.label.dtype.kind == "f" else 0) else ""


def _repeats(target: Any, sample: Any, name: str) -> None:
    """The same question (rows and draw included) has the same answer; a target that says random draws by those alone."""
    found = _near(_ask(target, sample), _ask(target, sample))
    advice = "declare random=True and key all randomness by rows and draw"
    demand(not found, "repeats", name, f"asked twice, {found}", advice)
    if not target.random:
        found = _near(_ask(target, sample), _ask(target, sample, draw=5))
        demand(not found, "repeats", name, f"with another draw {found}, and it is not random", advice)


def _batch(target: Any, sample: Any, name: str) -> None:
    """A row is decided the same in any company and any order."""
    whole, n = _ask(target, sample), count(sample)
    advice = "evaluation mode, no statistics of the batch"
    for size in (1, 3):
        parts = [_ask(target, take(sample, np.arange(i, min(i + size, n))), i) for i in range(0, n, size)]
        found = _near(whole, _joined(parts))
        demand(not found, "batch", name, f"in batches of {size} {found}", advice)
    order = np.arange(n)[::-1].copy()
    turned = target.respond(take(sample, order), rows=ROW + order)
    shown = (turned.label, turned.scores, turned.logits)
    back = Response(*(None if v is None else np.asarray(to_numpy(v))[order] for v in shown))
    found = _near(whole, back)
    demand(not found, "batch", name, f"in reverse order {found}", advice)


def _joined(parts: list[Response]) -> Response:
    def one(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    return Response(one("label"), one("scores"), one("logits"))


def _arrays(target: Any, sample: Any, name: str) -> None:
    """Inputs are read and never written."""
    old = list(sample) if isinstance(sample, list | tuple) else sample.clone() if hasattr(sample, "clone") else sample.copy()
    target.respond(sample)
    gap = distance(sample, old)
    demand(gap == 0, "arrays", name, f"the sample was changed by {gap:g}", "work on a copy")


def _untouched(target: Any, sample: Any, name: str) -> None:
    """Asking changes nothing that the next answer depends on."""
    before = target.state()
    _ask(target, sample)
    if Need.GRADIENT in target.offers:
        target.gradient(sample, to_numpy(target.respond(sample).label), _weighted, rows=np.arange(count(sample)))
    demand(target.state() == before, "untouched", name, "its state differs after being asked", "keep it in evaluation mode")


def _weighted(logits: Any, y: Any) -> Any:
    """A smooth loss that every logit counts in, each with a weight of its own."""
    weights = [1.0 + 0.37 * i * (-1) ** i for i in range(logits.shape[1])]
    total = logits[:, 0] * weights[0]
    for i, weight in enumerate(weights[1:], 1):
        total = total + logits[:, i] * weight + 0.01 * logits[:, i] ** 2
    return total


def _gradient(target: Any, sample: Any, name: str) -> None:
    """The slope is the one that finite differences see; who has none says so in words."""
    y = to_numpy(target.respond(sample).label)
    if Need.GRADIENT not in target.offers:
        try:
            target.gradient(sample, y, _weighted)
        except NotGranted as error:
            demand("gradient" in str(error), "gradient", name, f"the refusal says {error}", "say that there is no gradient")
            return
        raise ContractBroken("gradient", name, "it has a gradient and does not offer it", "raise NotGranted, or offer it")
    exact = _double(target)
    x, rows = np.asarray(to_numpy(sample), np.float64), ROW + np.arange(count(sample))
    found = exact.gradient(x, y, _weighted, rows=rows)
    slope = np.asarray(to_numpy(found.slope), np.float64)
    demand(slope.shape == x.shape, "gradient", name, f"slope {slope.shape} for inputs {x.shape}", "differentiate in the input")
    demand(np.isfinite(slope).all(), "gradient", name, "the slope is not finite", "mind logarithms and roots")
    if all(getattr(stage, "backward", "auto") == "auto" for stage in getattr(exact, "stages", ())):
        gap, along = _differences(exact, x, y, rows, slope)
        ok = np.abs(gap).max() <= 1e-4 * (1 + np.abs(along).max())
        text = f"finite differences give {along[0]:.6g} along a direction, the gradient {along[0] + gap[0]:.6g}"
        demand(ok, "gradient", name, text, "differentiate through every stage, or declare its backward pass")


def _differences(target: Any, x: NDArray[Any], y: Any, rows: Any, slope: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The slope along one random direction a row, less the central difference; and the central difference."""
    way = np.random.default_rng(5).normal(size=x.shape)
    way /= np.sqrt((way**2).reshape(len(way), -1).sum(1)).reshape(-1, *([1] * (x.ndim - 1)))
    single = "float64" not in str(getattr(target.model, "dtype", "float64")) if hasattr(target, "model") else False
    step = 1e-2 if single else 1e-5
    ends = [to_numpy(target.gradient(x + s * step * way, y, _weighted, rows=rows).loss).astype(float) for s in (1, -1)]
    along = (ends[0] - ends[1]) / (2 * step)
    return (slope * way).reshape(len(x), -1).sum(1) - along, along


def _double(target: Any) -> Any:
    """The target in float64, where it is a torch module; anything else as it is."""
    module = _module(target)
    if module is None:
        return target
    return target.replace(model=dataclasses.replace(target.model, module=copy.deepcopy(module).double()))


def _module(target: Any) -> Any:
    """The torch module of a pipeline of casemate's own; None for any other target, which keeps its secrets."""
    return getattr(target.model, "module", None) if type(target) is Pipeline and hasattr(target.model, "device") else None


def _shape(target: Any, sample: Any, name: str) -> None:
    """Inputs of a wrong shape are refused in one sentence, and not with a traceback of the library below."""
    if not hasattr(sample, "shape") or hasattr(sample, "iloc"):
        return
    x = np.asarray(to_numpy(sample))
    wrong = (x[..., :-1], x[0]) if x.ndim > 1 else (x[:, None],)
    for bad in wrong:
        if 0 in bad.shape:
            continue
        try:
            answer = target.respond(bad)
        except CasemateError:
            continue
        except Exception as error:
            raise raised("shape", name, error) from error
        label = np.asarray(to_numpy(answer.label))
        demand(len(label) == len(bad), "shape", name, f"{len(bad)} rows in, {len(label)} out", "refuse a shape that is not yours")


def _fingerprint(target: Any, changed: Any, name: str) -> None:
    """The same twice, and different once a weight is; None where nobody can vouch for it."""
    mark = target.fingerprint()
    demand(mark is None or (isinstance(mark, str) and mark), "fingerprint", name, f"it is {mark!r}", "give a hash, or None")
    demand(mark == target.fingerprint(), "fingerprint", name, "it differs from call to call", "hash content, not identity")
    other = _moved(target) if changed is None else changed
    if other is not None and mark is not None:
        demand(other.fingerprint() != mark, "fingerprint", name, "it is the same with another weight", "hash the weights")


def _moved(target: Any) -> Any:
    """A torch target with its first weight moved; None for others."""
    module = copy.deepcopy(_module(target))
    if module is None:
        return None
    first = next(iter(module.parameters()), None)
    if first is None:
        return None
    first.data.view(-1)[0] += 1.0
    return target.replace(model=dataclasses.replace(target.model, module=module))
