"""The only door from an attack to a target: it grants, meters, refuses.

Every call is charged before it is made, to the row it was made for. The budget is a hard cap: the call that would overrun
it raises `BudgetSpent` and is not made. The endpoint's own limits are controls of the target: they refuse, and a refusal
is charged too, because the attacker did send the row.

The ledger equation, which a hook on the model checks in `casemate.testing`:

    model rows = queries + local + gradients - refused + judge + health      (times the draws of a random target)

``backwards`` are further backward passes through a forward pass that was charged as a gradient already. They fall under
the cap of gradients too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .adversary import Adversary, Need
from .endpoint import Endpoint
from .errors import BadInput, BudgetSpent, NotGranted, Refused
from .poison import Records, written_records
from .target import Jacobian, Recipe, Response, Slope, Target, count, take, to_numpy
from .withheld import held, refusal

Array = Any
Watch = Callable[[Any, NDArray[Any], Any], None]
_PER_ROW = ("queries", "refused", "local", "gradients", "backwards", "parent")


class Meter:
    """What was spent, by row and in total. The one mutable object of a run."""

    def __init__(self, rows: Any) -> None:
        self._size = int(np.max(rows, initial=-1)) + 1
        self._by_row = {kind: np.zeros(self._size, np.int64) for kind in _PER_ROW}
        self.total: dict[str, int] = dict.fromkeys((*_PER_ROW, "records", "judge", "health"), 0)
        self.written: frozenset[tuple[bytes, int]] = frozenset()  # what some training saw: see `written_records`

    def add(self, kind: str, rows: Any) -> None:
        """Charge one unit of `kind` to each entry of `rows` (repeats count)."""
        rows = np.asarray(rows)
        if 16 * len(rows) < self._size:  # a dialogue asks a few rows at a time of a plan of thousands
            np.add.at(self._by_row[kind], rows, 1)
        else:
            self._by_row[kind] += np.bincount(rows, minlength=self._size)
        self.total[kind] += len(rows)

    def of(self, kind: str, rows: Any) -> NDArray[np.int64]:
        """What each of `rows` has been charged of `kind`."""
        return np.asarray(self._by_row[kind][np.asarray(rows)])

    def count(self, kind: str, amount: int) -> None:
        """Charge to the whole, where no row is to blame."""
        self.total[kind] += amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the adversary holds besides access: its own data, the public parent, the recipe, the artifact."""

    data: tuple[Any, Any] | None = None
    parent: Target | None = None
    recipe: Recipe | None = None
    artifact: Path | None = None


class Oracle:
    """What one adversary can do with one endpoint. Handed to attacks; it has no other way in.

    Args:
        endpoint: The deployed endpoint.
        adversary: Whose hands these are.
        meter: Where it is all counted.
        known: What the adversary holds besides access.
        watch: Told of every answer, ``(x, rows, labels)``; health check 10 looks for successes that are forgotten.
    """

    def __init__(
        self, endpoint: Endpoint, adversary: Adversary, meter: Meter, known: Known | None = None, watch: Watch | None = None
    ) -> None:
        self._endpoint, self._meter, self._watch = endpoint, meter, watch
        self.adversary, self._known = adversary, held(known or Known(), adversary)
        # With a copy of the artifact, forward passes run on the copy: they cost compute and no query.
        self._copy = Need.ARTIFACT in adversary.may

    _draws_of: tuple[str, ...] = ("queries", "local", "gradients")

    # -- asking -------------------------------------------------------------------------------------------------------
    def look(self, x: Any, *, rows: Array, account: int | None = None) -> Response:
        """All that is granted of the decisions on `x`. Spends one query (or one local call, with a copy) per row.

        Raises:
            BudgetSpent: The budget does not cover all of `x`; nothing was sent.
            Refused: The endpoint refused some of it.
        """
        response, refused = self.ask(x, rows=rows, account=account)
        if response is None or refused.any():
            raise Refused(f"the endpoint refused {int(refused.sum())} of {len(refused)} rows")
        return response

    def ask(self, x: Any, *, rows: Array, account: int | None = None) -> tuple[Response | None, NDArray[np.bool_]]:
        """Like `look`, for a caller that can use part of an answer: the response to the rows let in, and who was not."""
        self._require(Need.LABEL)
        rows, size = _one_each(rows, x), count(x)
        keys = self._keys(rows)
        if self._copy:
            self._pay("local", rows)
            response = self._endpoint.target.respond(x, rows=keys)
            return self._granted(self._seen(x, rows, response)), np.zeros(size, bool)
        self._pay("queries", rows)
        admitted = self._endpoint.admit(size, account)
        if not admitted.all():
            self._meter.add("refused", rows[~admitted])
            if not admitted.any():
                return None, ~admitted
            x, keys = take(x, admitted), keys[admitted]
        response = self._endpoint.shown(self._endpoint.target.respond(x, rows=keys))
        return self._granted(self._seen(x, rows[admitted], response)), ~admitted

    def submit(self, x: Any, *, rows: Array, account: int | None = None) -> NDArray[np.bool_]:
        """Send `x` to the endpoint and look at nothing: which rows were let in, ``(n,)``. One query per row, copy or not.

        Raises:
            BudgetSpent: The budget does not cover all of `x`; nothing was sent.
        """
        self._require(Need.SUBMIT)
        rows = _one_each(rows, x)
        keys = self._keys(rows)
        self._pay("queries", rows)
        admitted = self._endpoint.admit(count(x), account)
        self._meter.add("refused", rows[~admitted])
        if admitted.any():
            self._endpoint.target.respond(take(x, admitted), rows=keys[admitted])
        return admitted

    def labels(self, x: Any, *, rows: Array) -> Array:
        """Decisions ``(n,)``."""
        return self.look(x, rows=rows).label

    def scores(self, x: Any, *, rows: Array) -> Array:
        """Scores ``(n, k)`` as the deployed output gives them."""
        self._require(Need.SCORE)
        found = self.look(x, rows=rows).scores
        if found is None:
            raise NotGranted(f"{self.adversary.name}: scores are granted, but the endpoint shows none")
        return found

    def gradient(
        self, x: Array, *, y: Array, rows: Array, loss: Callable[[Array, Array], Array], draws: int = 1
    ) -> Slope:
        """Differentiate ``loss(logits, y)`` on the attacker's copy; `draws` averages over a random target.

        Spends `draws` gradients per row.
        """
        self._require(Need.GRADIENT)
        rows = _one_each(rows, x)
        if draws < 1:
            raise BadInput(f"draws={draws} is not allowed; average over at least one")
        keys = [self._keys(rows, extra) for extra in range(draws)]
        self._pay("gradients", rows if draws == 1 else np.repeat(rows, draws))
        target = self._endpoint.target
        slope = target.gradient(x, y, loss, rows=keys[0])
        self._seen(x, rows, slope.response)
        shown = [slope.response]
        for key in keys[1:]:
            more = target.gradient(x, y, loss, rows=key)
            shown.append(more.response)
            slope = replace(slope, loss=slope.loss + more.loss, slope=slope.slope + more.slope)
        if draws > 1:  # one lucky draw is no decision: most of them are
            slope = Slope(slope.loss / draws, slope.slope / draws, _together(shown))
        return replace(slope, response=self._granted(slope.response))

    def jacobian(self, x: Array, *, classes: Array, rows: Array) -> Jacobian:
        """Slopes of the logits of `classes` ``(n, k)``, each row's own, on the attacker's copy: one forward pass.

        Spends one gradient and k - 1 further backward passes per row.
        """
        self._require(Need.GRADIENT)
        rows = _one_each(rows, x)
        keys, more = self._keys(rows), int(classes.shape[1]) - 1
        if more < 0:
            raise BadInput("classes of shape (n, 0) are not allowed; ask for the slope of at least one logit")
        differentiate = getattr(self._endpoint.target, "jacobian", None)
        if differentiate is None:
            raise NotGranted(f"white box granted, but the adapter of {self._endpoint.target.name} has no jacobian")
        self._pay("gradients", rows, further=more)
        found: Jacobian = differentiate(x, classes, rows=keys)
        self._seen(x, rows, found.response)
        return replace(found, response=self._granted(found.response))

    def structure(self) -> Any:
        """How the attacker's copy decides, as a value (`core.trees.Ensemble` of trees). Costs nothing: nobody is asked.

        Raises:
            NotGranted: Not held, or the adapter cannot tell; the message says why.
        """
        self._require(Need.STRUCTURE)
        reveal = getattr(self._endpoint.target, "structure", None)
        if reveal is None:
            raise NotGranted(f"white box granted, but the adapter of {self._endpoint.target.name} shows no structure")
        return reveal()

    # -- holding ------------------------------------------------------------------------------------------------------
    def parent(self) -> _Parent:
        """The public parent as an oracle of its own: free of queries, its compute counted under ``parent``."""
        self._require(Need.PARENT)
        if self._known.parent is None:
            raise NotGranted(
                f"{self.adversary.name}: a public parent is granted, but none is bound; bind it in the description, or give "
                "known=Known(parent=...) to run"
            )
        may = Need.LABEL | Need.SCORE | Need.LOGIT | Need.GRADIENT | Need.ARTIFACT
        mine = replace(self.adversary, name=f"{self.adversary.name} on the parent", may=may, budget=type(self.adversary.budget)())
        return _Parent(Endpoint(self._known.parent), mine, self._meter)

    @property
    def data(self) -> tuple[Any, Any]:
        """Training data the adversary can read."""
        self._require(Need.DATA)
        if self._known.data is None:
            raise NotGranted(f"{self.adversary.name}: training data is granted, but none is bound")
        return self._known.data

    @property
    def recipe(self) -> Recipe:
        """How the model is trained, for shadows and surrogates: the attacker's compute. Its data only with `Need.DATA`."""
        self._require(Need.RECIPE)
        if self._known.recipe is None:
            raise NotGranted(f"{self.adversary.name}: the recipe is granted, but none is bound")
        return self._known.recipe

    @property
    def artifact(self) -> Path:
        """The deployed model file."""
        if self._known.artifact is None:
            raise NotGranted(f"{self.adversary.name}: no artifact is bound to the description")
        return self._known.artifact

    def contribute(self, records: int) -> None:
        """Write `records` training records. Spends that many of the budget's records."""
        self._require(Need.CONTRIBUTE)
        if records < 0:
            raise BadInput(f"records={records} is not allowed; what was written stays written")
        cap = self.adversary.budget.records
        if cap is not None and self._meter.total["records"] + records > cap:
            raise BudgetSpent(f"{records} more records would exceed the budget of {cap}")
        self._meter.count("records", records)

    def retrained(self, records: Records) -> Oracle:
        """The deployed decision after its owner trained again, with `records` (all that were contributed so far) in the data.

        The same ledger, budget and clock go on. Every record that was not written before is charged: one with another content
        or label in the same place is another record, and what was left out this time is not given back.

        Raises:
            NotGranted: The adversary writes no training data, or nothing trains the endpoint again.
            BudgetSpent: More records than the budget has.
        """
        self._require(Need.CONTRIBUTE)
        written = self._meter.written | written_records(records)
        further = len(written) - self._meter.total["records"]
        if further > 0:
            self.contribute(further)
        self._meter.written = written
        return Oracle(self._endpoint.retrained(records), self.adversary, self._meter, self._known)

    # -- counting -----------------------------------------------------------------------------------------------------
    @property
    def on_copy(self) -> bool:
        """Whether forward passes run on the attacker's own copy."""
        return self._copy

    @property
    def random(self) -> bool:
        """Whether the target draws randomness."""
        return self._endpoint.target.random

    def granted(self, need: Need) -> bool:
        """Whether the adversary holds all of `need`."""
        return need in self.adversary.may

    def works(self, need: Need) -> bool:
        """Whether the adversary holds all of `need`, and the target at hand has it to give: slopes, structure, a parent."""
        offered = self._endpoint.target.offers | ~(Need.GRADIENT | Need.STRUCTURE)
        parent = Need.PARENT not in need or self._known.parent is not None
        data = Need.DATA not in need or self._known.data is not None
        return need in self.adversary.may and need in offered and parent and data

    @property
    def affordable(self) -> float:
        """Queries the whole campaign may still ask; infinite without a cap, or where a copy answers."""
        cap = self.adversary.budget.queries
        return np.inf if cap is None or self._copy else float(cap - self._meter.total["queries"])

    def spent(self, kind: str, rows: Array) -> NDArray[np.int64]:
        """What was charged to each of `rows`."""
        return self._meter.of(kind, rows)

    def left(self, rows: Array) -> NDArray[np.float64]:
        """Queries each of `rows` may still ask, infinite where there is no cap."""
        cap = self.adversary.budget.queries_per_row
        if cap is None or self._copy:
            return np.full(len(np.asarray(rows)), np.inf)
        return np.asarray(cap - self._meter.of("queries", rows), np.float64)

    def _keys(self, rows: NDArray[Any], extra: int = 0) -> NDArray[Any]:
        """What keys the randomness of a random target, ``(n,)``: the row, and which of its own calls this is.

        The calls of other rows do not enter, so that batches cannot matter; no two calls of a row share their noise.
        """
        if not self._endpoint.target.random:
            return rows
        spent = np.sum([self._meter.of(kind, rows) for kind in self._draws_of], axis=0)
        return np.asarray(rows + ((spent + _nth(rows) + extra) << 32), np.int64)

    def _pay(self, kind: str, rows: NDArray[Any], further: int = 0) -> None:
        """Charge one `kind` to each of `rows`, and `further` backward passes with it; nothing where that is too much."""
        budget, meter = self.adversary.budget, self._meter
        cap = {"queries": budget.queries_per_row, "gradients": budget.gradients_per_row}.get(kind)
        if cap is not None:
            due = meter.of(kind, rows) + np.bincount(rows)[rows] * (1 + further)
            if kind == "gradients":
                due = due + meter.of("backwards", rows)
            if (due > cap).any():
                raise BudgetSpent(f"{kind}: the next call would exceed {cap} for a row")
        if kind == "queries" and budget.queries is not None and meter.total["queries"] + len(rows) > budget.queries:
            raise BudgetSpent(f"{len(rows)} more queries would exceed the campaign's {budget.queries}")
        meter.add(kind, rows)
        if further:
            meter.add("backwards", np.repeat(rows, further))

    def _require(self, need: Need) -> None:
        if need not in self.adversary.may:
            raise NotGranted(refusal(self.adversary, need))

    def _seen(self, x: Any, rows: NDArray[Any], response: Response) -> Response:
        if self._watch is not None:
            self._watch(x, rows, response.label)
        return response

    def _granted(self, response: Response) -> Response:
        may = self.adversary.may
        return Response(
            response.label,
            response.scores if Need.SCORE in may else None,
            response.logits if Need.LOGIT in may else None,
        )


class _Parent(Oracle):
    """The parent's oracle counts under its own name and has no budget."""

    _draws_of = ("parent",)

    @property
    def held(self) -> Target:
        """The parent itself, to look inside: everybody has a copy. What its layers compute is the attacker's own, uncounted."""
        return self._endpoint.target

    def _pay(self, kind: str, rows: NDArray[Any], further: int = 0) -> None:
        self._meter.add("parent", rows)


def _together(responses: Sequence[Response]) -> Response:
    """What several draws show together: the decision of most, the first of equals; the mean of scores and of logits."""
    labels = np.stack([to_numpy(response.label) for response in responses])
    votes = (labels[:, None] == labels[None]).sum(0)
    most: Any = np.take_along_axis(labels, votes.argmax(0)[None], 0)[0]
    first = responses[0].label
    label = first.new_tensor(most) if hasattr(first, "new_tensor") else most
    means = []
    for name in ("scores", "logits"):
        parts = [getattr(response, name) for response in responses]
        means.append(None if any(part is None for part in parts) else sum(parts[1:], parts[0]) / len(parts))
    return Response(label, *means)


def _one_each(rows: Array, x: Any) -> NDArray[Any]:
    """Row ids ``(n,)``, one for each input: what is not charged to somebody would be free."""
    ids: NDArray[Any] = np.asarray(rows)
    if ids.shape != (count(x),):
        raise BadInput(f"{count(x)} inputs and row ids of shape {ids.shape}; give the id of each input's row")
    return ids


def _nth(rows: NDArray[Any]) -> NDArray[np.int64]:
    """For each entry, how many equal ones stand before it."""
    order = np.argsort(rows, kind="stable")
    first = np.searchsorted(rows[order], rows[order])
    found = np.empty(len(rows), np.int64)
    found[order] = np.arange(len(rows)) - first
    return found
