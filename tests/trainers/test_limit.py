"""A training that never ends is cut, wherever it runs, and the message says which, how long, and what to do."""

from __future__ import annotations

import importlib
import math
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from casemate.core.errors import BadInput, TargetFailed
from casemate.trainers import MLP, Fits, train_many
from casemate.trainers.cache import memory
from casemate.trainers.limit import TRAINING, TooLong, allowing, now_allowed, within

sys.path.insert(0, str(Path(__file__).parent))
fits = importlib.import_module("fits")
RNG = np.random.default_rng(0)
Y = np.arange(40) % 2
X = RNG.normal(size=(40, 3)) + 2 * Y[:, None]
WEIGHTS = np.ones((5, 40), int)
SAID = r"training 4 of 5 was cut: it was not done after 1.5 s; make it shorter, or give it more time"


def test_a_training_that_hangs_is_cut_regression():
    began = time.monotonic()
    with pytest.raises(TooLong, match=SAID):
        train_many(Fits(fits.never, workers=1), X, Y, WEIGHTS, seeds=range(5), ask=X, limit=1.5)
    assert time.monotonic() - began < 30 and issubclass(TooLong, TargetFailed)


@pytest.mark.parametrize("name", ["never", "deaf"])
def test_a_training_that_hangs_in_a_process_of_its_own_is_cut_regression(name):
    began = time.monotonic()
    with pytest.raises(TooLong, match=SAID):
        train_many(Fits(getattr(fits, name), workers=2), X, Y, WEIGHTS, seeds=range(5), ask=X, limit=1.5)
    assert time.monotonic() - began < 60


def test_networks_that_take_for_ever_are_cut_regression():
    memory.clear()
    with pytest.raises(TooLong, match="training 1 to 5 of 5, together, was cut"):
        train_many(MLP(hidden=(8,), epochs=10**6), X, Y, WEIGHTS, seeds=range(5), ask=X, limit=0.3)


def test_a_run_says_how_long_a_training_may_take():
    assert now_allowed() == TRAINING
    with allowing(0.2):
        assert now_allowed() == 0.2
        with pytest.raises(TooLong, match=r"after 0\.2 s"):
            train_many(Fits(fits.never, workers=1), X, Y, WEIGHTS, seeds=[3] * 5, ask=X)
    assert now_allowed() == TRAINING


def test_quick_trainings_notice_nothing():
    free = train_many(Fits(fits.means), X, Y, WEIGHTS, seeds=range(5), ask=X, limit=math.inf)
    bound = train_many(Fits(fits.means, workers=2), X, Y, WEIGHTS, seeds=range(5), ask=X, limit=60)
    np.testing.assert_array_equal(free.logits[0], bound.logits[0])
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


@pytest.mark.parametrize("limit", [0, -1.0, math.nan])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(BadInput, match="limit="):
        train_many(Fits(fits.means), X, Y, WEIGHTS, seeds=range(5), ask=X, limit=limit)


@pytest.mark.parametrize(("outer", "inner", "said"), [(0.2, 30.0, "outer"), (30.0, 0.2, "inner"), (None, 0.2, "inner"), (0.2, None, "outer")])
def test_of_two_limits_the_first_to_be_over_rings(outer, inner, said):
    with pytest.raises(TooLong, match=said), within(outer, "outer"), within(inner, "inner"):
        time.sleep(5)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_the_outer_limit_goes_on_after_an_inner_one():
    def work():
        for _ in range(100):
            with within(0.3, "inner"):
                time.sleep(0.05)

    with pytest.raises(TooLong, match="outer"), within(0.4, "outer"):
        work()


def test_an_alarm_of_somebody_else_stays():
    old = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 50)
        with within(0.01, "ours"):
            time.sleep(0.05)
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 40
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def test_beside_the_main_thread_there_is_no_limit():
    done = []

    def work():
        with within(0.01, "x"):
            time.sleep(0.05)
        done.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done
