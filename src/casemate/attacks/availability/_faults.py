"""A model that fails in a stated way, and what a system makes of it within a stated time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.availability import Drill
from ...core.target import Response, Target, count, to_numpy

FAULTS = ("raises", "hangs", "nan", "short", "empty", "none")
SHARES = 5  # of the time a drill may take, one is for a model that hangs


class _Over(BaseException):
    """The drill is over: a system that asks again and again must not go on for ever."""


class Failing:
    """In place of the model. It answers nothing true: what a fault leaves of an answer is the usual decision, or NaN.

    Args:
        fault: One of `FAULTS`: it raises, keeps the caller waiting and then raises, answers NaN, one row too few, no rows,
            or None.
        usual: The decisions ``(n,)`` of the working model on the inputs of the drill.
        classes: Columns of its scores.
        patience: Seconds it keeps a caller waiting where it hangs.
    """

    def __init__(self, fault: str, usual: Any, classes: int, patience: float) -> None:
        self._fault, self._usual, self._classes, self._patience = fault, np.asarray(to_numpy(usual)), classes, patience
        self._over = threading.Event()

    def stop(self) -> None:
        """From now on every call ends the thread that makes it."""
        self._over.set()

    def respond(self, x: Any, *, rows: Any = None, draw: int = 0) -> Any:
        """As a target answers: labels, scores and logits."""
        label, scores = self._answer(count(x))
        return None if label is None else Response(label, scores, scores)

    def predict(self, x: Any, *args: Any, **options: Any) -> Any:
        return self._answer(count(x))[0]

    def predict_proba(self, x: Any, *args: Any, **options: Any) -> Any:
        return self._answer(count(x))[1]

    def decision_function(self, x: Any, *args: Any, **options: Any) -> Any:
        scores = self._answer(count(x))[1]
        return scores if scores is None or self._classes != 2 else scores[:, 1] - 0.5

    def __call__(self, x: Any, *args: Any, **options: Any) -> Any:
        """As a network or a function answers: scores, of the kind that its inputs are."""
        scores = self._answer(count(x))[1]
        return x.new_tensor(scores) if scores is not None and hasattr(x, "new_tensor") else scores

    def _answer(self, n: int) -> tuple[Any, Any]:
        """Labels and scores as the fault leaves them."""
        if self._over.is_set():
            raise _Over
        if self._fault == "raises":
            raise RuntimeError("drill: the model is down")
        if self._fault == "hangs":
            self._over.wait(self._patience)
            raise TimeoutError(f"drill: the model gave no answer for {self._patience:g} s")
        if self._fault == "none":
            return None, None
        if self._fault == "nan":
            return np.full(n, np.nan), np.full((n, self._classes), np.nan)
        left = max(n - 1, 0) if self._fault == "short" else 0
        label = self._usual[:left] if n == len(self._usual) else np.repeat(self._usual[:1], left)
        return label, np.eye(self._classes)[np.clip(label.astype(np.int64), 0, self._classes - 1)]


class Working:
    """The deployed model, asked in all the ways that a failing one is; `asked` counts its rows."""

    def __init__(self, target: Target) -> None:
        self._target, self.asked = target, 0

    def respond(self, x: Any, *, rows: Any = None, draw: int = 0) -> Response:
        self.asked += count(x)
        return self._target.respond(x, rows=rows, draw=draw)

    def predict(self, x: Any, *args: Any, **options: Any) -> Any:
        return self._own("predict")(x, *args, **options)

    def predict_proba(self, x: Any, *args: Any, **options: Any) -> Any:
        return self._own("predict_proba")(x, *args, **options)

    def decision_function(self, x: Any, *args: Any, **options: Any) -> Any:
        return self._own("decision_function")(x, *args, **options)

    def __call__(self, x: Any, *args: Any, **options: Any) -> Any:
        return self._own("__call__")(x, *args, **options)

    def _own(self, name: str) -> Callable[..., Any]:
        model = getattr(self._target, "model", None)
        inner: Any = next((v for v in (getattr(model, part, None) for part in ("estimator", "module", "function")) if v), model)
        found: Any = inner if name == "__call__" else getattr(inner, name)

        def ask(x: Any, *args: Any, **options: Any) -> Any:
            self.asked += count(x)
            return found(x, *args, **options)

        return ask


def tried(case: Drill, fault: str, patience: float) -> tuple[NDArray[Any] | None, str]:
    """What the system decides of the inputs of the drill under a fault: labels ``(n,)``, or None and what came instead.

    It runs beside this thread for at most `SHARES` times the patience. Whatever still asks the model then is ended.
    """
    model = Failing(fault, case.usual, case.classes, patience)
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(labels_of(case.fallback(model)(case.x), count(case.x)))
        except _Over:
            return
        except (Exception, SystemExit) as error:  # noqa: BLE001 - what the system under test raises is the result
            found.append((None, f"error to the caller: {type(error).__name__}"))

    thread = threading.Thread(target=run, name=f"drill {fault}", daemon=True)
    began = time.monotonic()
    thread.start()
    thread.join(SHARES * patience)
    model.stop()
    thread.join(max(0.0, SHARES * patience - (time.monotonic() - began)) + patience)
    return found[0] if found else (None, "no answer")


def labels_of(found: Any, n: int) -> tuple[NDArray[Any] | None, str]:
    """What a system's decision function gave, as labels ``(n,)``; None and words where it is none."""
    labels = getattr(found, "label", found)
    if labels is None:
        return None, "malformed: None in place of decisions"
    array = np.asarray(to_numpy(labels))
    if array.shape != (n,) or array.dtype.kind not in "biuf":
        return None, f"malformed: {array.dtype} of shape {array.shape} for {n} inputs"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return None, "malformed: NaN in place of decisions"
    return array, ""
