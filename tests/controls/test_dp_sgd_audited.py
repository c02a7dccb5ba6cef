"""DP-SGD against the worst record there is: what is audited comes near the epsilon accounted, and never above it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from casemate.controls.training.dp_sgd import DPSGD
from casemate.judges.epsilon import gaussian
from casemate.trainers import MLP, train_many

pytest.importorskip("torch")
ROWS, STEPS, CLIP, MODELS = 20, 10, 1e-5, 1600
EPSILON = 3.0


def audited(share_of_noise: float) -> float:
    """The lower bound from thousands of trainings, half of them with one record whose column nobody else has.

    So short a clip bounds the gradient of that record at every step, and so long a step makes the start of no account: the
    record then moves the last model by as much as DP-SGD lets any record move it.
    """
    control = DPSGD(epsilon=EPSILON, clip=CLIP, epochs=STEPS, rate=2 * (ROWS + 1) / (CLIP * STEPS))
    learner = control.learner(MLP(hidden=(), momentum=0.0), ROWS + 1)
    learner = replace(learner, noise=learner.noise * share_of_noise)
    x = np.zeros((ROWS + 1, 2))
    x[:ROWS, 1], x[ROWS, 0] = 1.0, 1.0
    y = np.append(np.arange(ROWS) % 2, 1)
    weights = np.ones((MODELS, ROWS + 1), int)
    weights[::2, ROWS] = 0
    out = train_many(learner, x, y, weights, seeds=range(MODELS), ask=x[ROWS:], classes=2)
    score = out.logits[0][:, 0, 1] - out.logits[0][:, 0, 0]
    inside = weights[:, ROWS] == 1
    bar = float(np.median(score[: MODELS // 4]))  # chosen on a quarter, judged on the others
    said, truth = score[MODELS // 4 :] > bar, inside[MODELS // 4 :]
    return gaussian(int(said[truth].sum()), int(truth.sum()), int(said[~truth].sum()), int((~truth).sum()), delta=1e-5).epsilon


def test_what_is_audited_is_nearly_what_is_accounted_and_no_more() -> None:
    assert 0.7 * EPSILON < audited(1.0) <= EPSILON


def test_training_with_less_noise_than_accounted_is_caught() -> None:
    assert audited(0.7) > EPSILON
