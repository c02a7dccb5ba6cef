"""A target under watch: whatever it raises becomes `TargetFailed`, and a call that hangs is cut."""

from __future__ import annotations

import functools
import math
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from ..core.adversary import Need
from ..core.errors import CasemateError, NotGranted, TargetFailed
from ..core.target import Jacobian, Recipe, Response, Slope, Target, count

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


def watched_recipe(recipe: Recipe, patience: float | None = PATIENCE) -> Recipe:
    """A recipe whose training and whose models are watched; what it returns may be anything `wrap` takes."""
    from ..targets.wrap import wrap

    @functools.wraps(recipe.fit)
    def fit(x: Any, y: Any, seed: int) -> Target:
        # Training takes longer than answering, and how long nobody knows: only what it raises is caught.
        with watch("the recipe", None):
            made = recipe.fit(x, y, seed)
        return Watched(wrap(made), patience)

    return replace(recipe, fit=fit)


@contextmanager
def watch(what: str, patience: float | None) -> Iterator[None]:
    """Turn whatever the block raises into `TargetFailed`, and interrupt it after `patience` seconds.

    The interruption needs a POSIX signal and the main thread, where the block runs on unchanged (thread-local state is
    the target's own). Code that never returns to Python cannot be interrupted here: a worker process is ended from outside.
    """
    timed = patience is not None and hasattr(signal, "setitimer")
    timed = timed and threading.current_thread() is threading.main_thread()
    timed = timed and signal.getitimer(signal.ITIMER_REAL)[0] == 0  # somebody else's alarm is theirs

    def ring(number: int, frame: FrameType | None) -> None:
        raise TargetFailed(f"{what} hangs: no answer within {patience:g} s")

    old = signal.signal(signal.SIGALRM, ring) if timed else None
    try:
        if timed and patience is not None:
            signal.setitimer(signal.ITIMER_REAL, max(patience, math.ulp(1.0)))
        yield
    except (CasemateError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        raise TargetFailed(f"{what} failed: {type(error).__name__}: {error}") from error
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
