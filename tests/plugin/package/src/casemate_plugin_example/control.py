"""A control from outside: only the two best classes keep their scores."""

from dataclasses import replace

import numpy as np

import casemate as cm


@cm.control(
    "service.best_two",
    changes=(("model.output", "label"),),
    knows=("evasion.corners",),
    threats=("EV-02",),
    side_effects="callers no longer see what else it might have been",
)
class BestTwo:
    """Strip logits, and set all scores but the two best to zero."""

    start = None

    def admit(self, state, account, rows, now):
        return state, np.ones(len(rows), bool)

    def answer(self, state, response):
        if response.scores is None:
            return replace(response, logits=None)
        scores = np.asarray(response.scores)
        second = np.sort(scores, axis=1)[:, -2:-1]
        return replace(response, scores=np.where(scores >= second, scores, 0.0), logits=None)

    def wait(self, state, account, now):
        return 0.0
