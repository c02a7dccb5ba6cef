"""How long a block may take by the clock, and an alarm that cuts it."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from ..core.errors import TargetFailed

TRAINING = 3600.0  # seconds one training may take where nobody says more
ADVICE = (
    "make it shorter, or give it more time: minutes to --budget, Budget(seconds=...) to run, limit=... to train_many, in each "
    "case more than one training takes"
)

_allowed: ContextVar[float] = ContextVar("seconds one training may take", default=TRAINING)
_set: list[float] = []  # when the alarms set here ring, outermost first; only the main thread sets any


class TooLong(TargetFailed):
    """A call or a training was cut because its time was up."""


@contextmanager
def allowing(seconds: float) -> Iterator[None]:
    """Inside the block, one training of `train_many` may take that long where it is told nothing else."""
    token = _allowed.set(seconds)
    try:
        yield
    finally:
        _allowed.reset(token)


def now_allowed() -> float:
    """Seconds one training may take here: an hour, or what `allowing` says."""
    return _allowed.get()


@contextmanager
def within(seconds: float | None, said: str) -> Iterator[None]:
    """Raise `TooLong(said)` inside the block once it has taken `seconds`; None and infinity: never.

    The interruption needs a POSIX signal and the main thread, where the block runs on unchanged (thread-local state is its own);
    elsewhere the block has no limit. Of two, one inside the other, whichever is over first rings. Code that never returns to
    Python cannot be interrupted here: a worker process is ended from outside.
    """
    now = time.monotonic()
    if seconds is None or seconds == math.inf or not _can_ring() or (_set and _set[-1] <= now + seconds):
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise TooLong(said)

    old = signal.signal(signal.SIGALRM, ring)
    _set.append(now + seconds)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, math.ulp(1.0)))
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        _set.pop()
        if _set:
            signal.setitimer(signal.ITIMER_REAL, max(_set[-1] - time.monotonic(), math.ulp(1.0)))


def _can_ring() -> bool:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        return False
    return bool(_set) or signal.getitimer(signal.ITIMER_REAL)[0] == 0  # somebody else's alarm is theirs


def too_long(which: str, seconds: float | None) -> str:
    """Which training was cut, after how long, and what to do."""
    return "" if seconds is None else f"{which} was cut: it was not done after {seconds:g} s; {ADVICE}"
