"""Artifact theft: who holds the file holds the model. Opened where that is safe, and compared."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Copy, Replica
from ...core.errors import NotGranted
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count
from ._axes import draw
from ._decision import decision_of
from ._open import Opened, opened
from ._talk import Talk


@attack(
    "extraction.artifact_theft",
    needs=Need.LABEL | Need.ARTIFACT,
    scope="set",
    aka=("model file theft", "artifact exfiltration"),
    spends="no query; `checks` calls of the attacker's own copy to learn what the file's classes are called",
    modality=("array", "table"),
)
class ArtifactTheft:
    """Take the model file that the adversary can reach, open it, and see whether it decides as the endpoint does.

    ONNX is run by ONNX Runtime, skops loads the types it trusts, and safetensors is read as dense layers in a row, which is all
    that weights alone can be read as. Nothing is ever unpickled: of a pickle, joblib or torch file it is said what holding it
    means, and the copy is then the deployed model itself, run as this adversary could (``detail["through"]``).

    Args:
        checks: Inputs on which the file and the deployed model are compared first.
    """

    checks: int = 64

    def __call__(self, oracle: Oracle, case: Copy, *, rng: RowRandom) -> Generator[Replica, None, Replica]:
        if not oracle.granted(Need.ARTIFACT):
            raise NotGranted("extraction.artifact_theft is for an adversary who holds the model file, and this one does not")
        try:
            path = oracle.artifact
            found, file = opened(path), path.name
        except NotGranted:
            found, file = Opened("none", why="the adversary holds the model file, but none is bound to compare with"), None
        detail: dict[str, Any] = {"file": file, "format": found.format, "loaded": not found.why}
        detail |= {"why": found.why or None, "reading": found.reading or None}
        talk = Talk(oracle, case)
        able = case.pool is not None or (case.low is not None and case.high is not None)
        x = draw(case, rng, min(self.checks, talk.left), 0) if able and talk.left else None
        if found.why or x is None:
            claim = _through(oracle, {**detail, "through": "the bound target"})
        else:
            claim = _compared(found, talk, x, {**detail, "through": "the file"})
        yield claim
        return claim


def _through(oracle: Oracle, detail: dict[str, Any]) -> Replica:
    """The deployed model as the adversary would run it on its own machine."""

    def labels(x: Any) -> Any:
        return oracle.labels(x, rows=np.zeros(count(x), np.int64))

    return Replica(labels=labels, detail=detail)


def _compared(found: Opened, talk: Talk, x: Any, detail: dict[str, Any]) -> Replica:
    """The file as a copy, with the endpoint's names for its decisions."""
    label = talk.ask(x).label
    if found.labels is not None:
        own = found.labels
        names = _names(own(x), label)

        def labels(x: Any) -> NDArray[Any]:
            return np.array([names.get(v, v) for v in own(x).tolist()])
    else:
        assert found.scores is not None  # a file that was opened gives one of the two
        show = found.scores
        rule = decision_of(show(x), label) if show(x).shape[1] > 1 else None

        def labels(x: Any) -> NDArray[Any]:
            return show(x)[:, 0] if rule is None else rule(show(x))

    agreed = float((labels(x) == label).mean())
    return Replica(labels=labels, scores=found.scores, detail={**detail, "agreement": agreed})


def _names(own: NDArray[Any], label: NDArray[Any]) -> dict[Any, Any]:
    """For each decision of the file the endpoint's most common one with it."""
    found = {}
    for value in dict.fromkeys(own.tolist()):
        seen, times = np.unique(label[own == value], return_counts=True)
        found[value] = seen[times.argmax()]
    return found
