"""Many questions that belong to no row: inside the budget, past refusals, in model calls of a fair size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import BudgetSpent, Refused
from ..core.oracle import Oracle
from ..core.target import Response, count, take, to_numpy

PACK = 512  # rows of one call: enough to fill a model, few enough that a spent budget leaves little unasked


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back of one call: positions ``(m,)`` in the questions, and the response to them, as numpy."""

    places: NDArray[np.int64]
    response: Response


def replies(oracle: Oracle, x: Any, ids: NDArray[Any], *, pack: int = PACK) -> Iterator[Reply]:
    """Ask about every row of `x`, in order. Spends one query (or local call) a row.

    Args:
        x: Questions ``(n, *shape)``, a frame, or a list.
        ids: Ledger ids ``(n,)``, one of its own for every question, so that a cap per row never binds.

    Raises:
        BudgetSpent: After the last answers the budget covers, when some of `x` was left unasked.
        Refused: The endpoint let nothing of a call in, and would not have let in the next one.
    """
    size = int(min(count(x), max(oracle.affordable, 0)))
    for start in range(0, size, pack):
        places = np.arange(start, min(start + pack, size))
        response, refused = oracle.ask(take(x, places), rows=np.asarray(ids)[places])
        if response is None:
            raise Refused(f"the endpoint refused question {start} of {count(x)} and all that came with it")
        yield Reply(places[~refused], _numpy(response))
    if size < count(x):
        raise BudgetSpent(f"{count(x) - size} of {count(x)} questions are beyond the campaign's budget")


def _numpy(response: Response) -> Response:
    return Response(
        np.asarray(to_numpy(response.label)),
        None if response.scores is None else np.asarray(to_numpy(response.scores)),
        None if response.logits is None else np.asarray(to_numpy(response.logits)),
    )
