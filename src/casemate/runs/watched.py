"""A target under watch: whatever it raises becomes `TargetFailed`, and a call that hangs is cut."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..core.adversary import Need
from ..core.errors import CasemateError, NotGranted, TargetFailed
from ..core.target import Jacobian, Recipe, Response, Slope, Target, count
from ..trainers.limit import TRAINING, too_long, within

PATIENCE = 300.0  # seconds; a slow model with a full batch takes a few


@dataclass(frozen=True, slots=True)
class Watched:
    """A `Target` that cannot take the run down with it.

    Args:
        inner: The target itself.
        patience: Seconds one call may take; None for ever.
        unsteady: Whether it was seen to answer one question in two ways: then it is random, whatever it says of itself.
    """

    inner: Target
    patience: float | None = PATIENCE
    unsteady: bool = False

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def offers(self) -> Need:
        return self.inner.offers

    @property
    def random(self) -> bool:
        return self.inner.random or self.unsteady

    @property
    def classes(self) -> int | None:
        return self.inner.classes

    @property
    def model(self) -> Any:
        """The adapter inside, for whoever may look at parameters."""
        return getattr(self.inner, "model", None)

    @property
    def stages(self) -> Any:
        return getattr(self.inner, "stages", ())

    def respond(self, x: Any, *, rows: Any = None, draw: int = 0) -> Response:
        with watch(f"target {self.name}", self.patience):
            response = self.inner.respond(x, rows=rows, draw=draw)
        if len(response.label) != count(x):
            raise TargetFailed(f"{self.name}: {count(x)} rows went in and {len(response.label)} decisions came out")
        return response

    def gradient(self, x: Any, y: Any, loss: Any, *, rows: Any = None, draw: int = 0) -> Slope:
        with watch(f"target {self.name}", self.patience):
            return self.inner.gradient(x, y, loss, rows=rows, draw=draw)

    def jacobian(self, x: Any, classes: Any, *, rows: Any = None, draw: int = 0) -> Jacobian:
        with watch(f"target {self.name}", self.patience):
            return self._part("jacobian")(x, classes, rows=rows, draw=draw)  # type: ignore[no-any-return]

    def structure(self) -> Any:
        with watch(f"target {self.name}", self.patience):
            return self._part("structure")()

    def _part(self, name: str) -> Any:
        found = getattr(self.inner, name, None)
        if found is None:
            raise NotGranted(f"white box granted, but the adapter of {self.name} has no {name}")
        return found

    def fingerprint(self) -> str | None:
        return self.inner.fingerprint()

    def state(self) -> str:
        return self.inner.state()


def watched(target: Target) -> Target:
    """The target under watch. A remote one paces itself and has a timeout of its own: a batch may take long there."""
    if isinstance(target, Watched):
        return target
    return Watched(target, None if hasattr(getattr(target, "model", None), "pace_per_s") else PATIENCE)


def allowed(seconds: float | None, patience: float | None = PATIENCE) -> float:
    """Seconds one training may take in a run that is given so many in all: an hour where nobody said; never less than a call."""
    return TRAINING if seconds is None else max(seconds, patience or 0.0)


def watched_recipe(recipe: Recipe, patience: float | None = PATIENCE, training: float | None = TRAINING) -> Recipe:
    """A recipe whose training and whose models are watched; what it returns may be anything `wrap` takes.

    It trains on copies: one that changes its arrays in place changes neither the owner's data nor what the next one gets.

    Args:
        patience: Seconds one call of a model may take.
        training: Seconds one training may take.
    """
    from ..targets.wrap import wrap

    train = recipe.fit  # alone: a function shows what it holds on to, and the recipe holds the owner's data

    @functools.wraps(train)
    def fit(x: Any, y: Any, seed: int) -> Target:
        which = f"training by the recipe ({getattr(train, '__name__', type(train).__name__)}, {count(x)} rows, seed {seed})"
        with watch("the recipe", training, too_long(which, training)):
            made = train(_copy(x), _copy(y), seed)
        return Watched(wrap(made), patience)

    return replace(recipe, fit=fit)


def _copy(data: Any) -> Any:
    """Data of its own: of an array, tensor, frame or list."""
    if hasattr(data, "detach"):
        return data.clone()
    return data.copy() if hasattr(data, "copy") else data


@contextmanager
def watch(what: str, patience: float | None, said: str = "") -> Iterator[None]:
    """Turn whatever the block raises into `TargetFailed`, and interrupt it after `patience` seconds (see `within`).

    Args:
        said: What the error says where it was interrupted; left out, that there was no answer.
    """
    said = said or (f"{what} hangs: no answer within {patience:g} s" if patience is not None else "")
    try:
        with within(patience, said):
            yield
    except (CasemateError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        raise TargetFailed(f"{what} failed: {type(error).__name__}: {error}") from error
