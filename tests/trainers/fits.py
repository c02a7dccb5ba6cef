"""Functions that train, importable by the processes of a pool."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np

from casemate.core.target import Response


class Model:
    """Answers as its function says."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def respond(self, x: Any, **_: Any) -> Response:
        return self._answer(x)


def means(x: Any, y: Any, seed: int) -> Any:
    """The nearest class mean; logits carry the seed."""
    centres = np.stack([x[y == c].mean(0) for c in np.unique(y)])
    return Model(lambda q: _by(-np.square(q[:, None] - centres).sum(2) + 0.0 * seed))


def _by(logits: Any) -> Response:
    return Response(logits.argmax(1), None, logits)


def slow(x: Any, y: Any, seed: int) -> Any:
    time.sleep(0.05)
    model = means(x, y, seed)
    return Model(lambda q: _by(model.respond(q).logits + 1e-3 * (os.getpid() % 1000)))


def fragile(x: Any, y: Any, seed: int) -> Any:
    if seed == 1:
        raise RuntimeError("out of luck")
    return means(x, y, seed)


def dying(x: Any, y: Any, seed: int) -> Any:
    if seed == 3:
        os._exit(1)
    return means(x, y, seed)


def shy(x: Any, y: Any, seed: int) -> Any:
    model = means(x, y, seed)
    return Model(lambda q: Response(model.respond(q).label))


def scored(x: Any, y: Any, seed: int) -> Any:
    model = means(x, y, seed)
    return Model(lambda q: Response(model.respond(q).label, np.eye(2)[model.respond(q).label]))


def pause(shared: Any, job: int) -> int:
    """The first job is quick, the others are long."""
    time.sleep(0.0 if job == 0 else 60.0)
    return job


def never(x: Any, y: Any, seed: int) -> Any:
    """Hangs on one seed, where Python can be interrupted."""
    if seed == 3:
        time.sleep(600)
    return slow(x, y, seed)


def deaf(x: Any, y: Any, seed: int) -> Any:
    """Hangs on one seed, and hears no alarm."""
    if seed == 3:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(600)
    return slow(x, y, seed)
