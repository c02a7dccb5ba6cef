"""Any Python callable as a model: a library's public API, a rule, a client of the user's own. No gradient."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.adversary import Need
from ..core.errors import BadInput, CasemateError, TargetFailed
from ..core.target import Response, count, take, to_numpy
from .answers import brief, class_values, indices, same_length, scored, words
from .identity import digest
from .pipeline import source_of

MOST_PROBES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A callable from inputs to a decision.

    It gets the rows as they are (array, frame, or list of bytes or strings; tensors as arrays), or one row at a time.

    Args:
        function: ``rows -> answers``, one answer for each row; with ``batched=False``, ``row -> answer``.
        output: What it answers: ``labels`` (indices, or values of `classes`; None where it does not decide), ``scores``
            or ``logits`` ``(n, k)``, or ``both``: a pair of labels and scores. Labels that are floats, with no
            `classes`, are a regression.
        classes: How many classes, or their values in index order. Needed where labels are words.
        batched: Whether it takes many rows at once.
        version: The user's own version, part of its identity: change it when what the function calls changes.
        timeout_s: Seconds to wait for one answer (of a batch, or of a row with ``batched=False``). None waits for ever.
            A function that hangs cannot be killed: its thread is left behind, and the run stops.
        name: Shown in reports and messages; by default the function's own.
        probes: Up to 64 fixed rows. What the function answers to them, once, now, is part of its identity.
        random: Whether it draws randomness that nothing outside can key.

    Raises:
        BadInput: An option that is not allowed.
        TargetFailed: It fails on the probes.
    """

    function: Callable[..., Any]
    output: Literal["labels", "scores", "logits", "both"] = "labels"
    classes: Any = None
    batched: bool = True
    version: str = ""
    timeout_s: float | None = None
    name: str = ""
    probes: Any = ()
    random: bool = False
    offers: Need = field(init=False, default=Need.LABEL | Need.ARTIFACT)
    endpoint: ClassVar[bool] = True  # what it answers is what is deployed: compared with the description
    values: tuple[Any, ...] = field(init=False, default=())
    _seen: str | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise BadInput(f"function={self.function!r} cannot be called")
        if self.output not in ("labels", "scores", "logits", "both"):
            raise BadInput(f"output={self.output!r} is not allowed; give 'labels', 'scores', 'logits' or 'both'")
        if self.timeout_s is not None and not self.timeout_s > 0:
            raise BadInput(
                f"timeout_s={self.timeout_s!r} is not allowed; give seconds above 0, or None to wait for ever"
            )
        if count(self.probes) > MOST_PROBES:
            raise BadInput(f"{count(self.probes)} probes are too many; give at most {MOST_PROBES} rows")
        size, values = class_values(self.classes)
        shown = {"labels": Need.NONE, "both": Need.SCORE, "scores": Need.SCORE, "logits": Need.SCORE | Need.LOGIT}
        for name, value in (
            ("classes", size), ("values", values), ("offers", self.offers | shown[self.output]),
            ("name", self.name or getattr(self.function, "__name__", type(self.function).__name__)),
        ):  # fmt: skip
            object.__setattr__(self, name, value)
        # Once and now: a probe asked in the middle of a run would be a call that no ledger knows of.
        object.__setattr__(self, "_seen", self._answers_to_probes() if count(self.probes) else None)

    def prepare(self, x: Any) -> Any:
        """Tensors as arrays that share their memory."""
        return to_numpy(x)

    def forward(self, x: Any) -> Response:
        """Decide.

        Raises:
            TargetFailed: The function raised, hung, or answered something that is no decision.
        """
        rows = count(x)
        with self._asking(x) as answers:
            found = list(answers)
        labels, numbers = _split(self, found[0] if self.batched else found)
        label = indices(self.name, labels, self.classes, self.values) if self.output in ("labels", "both") else None
        if self.output == "labels" and label is not None:
            response = Response(label, None, label.reshape(-1, 1) if label.dtype.kind == "f" else None)
        else:
            response = scored(
                self.name, numbers, "logits" if self.output == "logits" else "scores", self.classes, label
            )
        same_length(self.name, rows, response.label, response.scores, response.logits)
        return response

    def decided(self, labels: Any) -> NDArray[Any]:
        """The function's own words ``(n,)`` for labels ``(n,)``; None for a reject."""
        return words(self.values, labels)

    def label(self, y: Any) -> NDArray[np.int64]:
        """Labels ``(n,)``, int64, of class values ``(n,)``."""
        return np.asarray(indices(self.name, y, self.classes, self.values))

    def fingerprint(self) -> str | None:
        """Source, qualified name, version, and answers to the probes. None with neither version nor probes: what the
        function calls cannot be seen, so nobody vouches for it."""
        if not self.version and self._seen is None:
            return None
        kind = self.function if hasattr(self.function, "__qualname__") else type(self.function)
        name = f"{kind.__module__}.{kind.__qualname__}"
        parts = (name, source_of(kind), self.version, self._seen, self.output, self.batched, self.classes, self.values)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def state(self) -> str:
        return digest(self.function, strict=False) or ""

    # -- asking -------------------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def _asking(self, x: Any) -> Iterator[Iterator[Any]]:
        """Answers as they come: one for the batch, or one for each row."""
        rows = [(self.function, x)] if self.batched else [(self.function, _row(x, i)) for i in range(count(x))]
        if self.timeout_s is None:
            yield (self._settle(i, count(x), _attempt(*row)) for i, row in enumerate(rows))
            return
        left: queue.SimpleQueue[Any] = queue.SimpleQueue()
        stop = threading.Event()
        threading.Thread(target=_work, args=(rows, left, stop), name=f"casemate {self.name}", daemon=True).start()
        try:
            yield (self._settle(i, count(x), self._wait(left, i, count(x))) for i in range(len(rows)))
        finally:
            stop.set()  # a function that wakes up later must not go on with the next row

    def _wait(self, left: queue.SimpleQueue[Any], place: int, rows: int) -> Any:
        try:
            return left.get(timeout=self.timeout_s)
        except queue.Empty:
            where = f"on a batch of {rows} rows" if self.batched else f"on row {place} of {rows}"
            raise TargetFailed(f"{self.name} hung {where}: no answer in {self.timeout_s:g} s (timeout_s)") from None

    def _settle(self, place: int, rows: int, answer: Any) -> Any:
        if not isinstance(answer, _Raised):
            return answer
        if isinstance(answer.error, CasemateError):
            raise answer.error
        where = f"in a batch of {rows} rows" if self.batched else f"on row {place} of {rows}"
        raise TargetFailed(f"{self.name} raised {where}: {brief(answer.error)}") from answer.error

    def _answers_to_probes(self) -> str:
        response = self.forward(self.prepare(self.probes))
        parts = [response.label, response.scores, response.logits]
        return hashlib.sha256(repr([None if p is None else p.tolist() for p in parts]).encode()).hexdigest()


def _split(target: Function, found: Any) -> tuple[Any, Any]:
    """The labels and the numbers of an answer, as far as `output` says there are any."""
    if target.output != "both":
        return (found, None) if target.output == "labels" else (None, found)
    try:
        if target.batched:
            labels, numbers = found
            return labels, numbers
        return [label for label, _ in found], [numbers for _, numbers in found]
    except (TypeError, ValueError):
        raise TargetFailed(
            f"{target.name}: output='both' needs a pair (labels, scores); got {type(found).__name__}"
        ) from None


@dataclass(frozen=True, slots=True)
class _Raised:
    error: BaseException


def _attempt(function: Callable[[Any], Any], x: Any) -> Any:
    try:
        return function(x)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a library that exits must not end the run in silence
        return _Raised(error)


def _work(
    rows: Sequence[tuple[Callable[[Any], Any], Any]], left: queue.SimpleQueue[Any], stop: threading.Event
) -> None:
    for function, x in rows:
        if stop.is_set():
            return
        answer = _attempt(function, x)
        left.put(answer)
        if isinstance(answer, _Raised):
            return


def _row(x: Any, place: int) -> Any:
    """One row as a function of one row wants it: an item of a list, an array without its first axis, a record."""
    if hasattr(x, "iloc"):
        return take(x, [place]).iloc[0]
    return x[place]
