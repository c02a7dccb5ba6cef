"""A remote endpoint as a model: the deployed thing itself. It is asked under a hard cap and at a stated pace."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from ..core.adversary import Need
from ..core.errors import BadInput
from ..core.target import Response, count, to_numpy
from ._allowance import Allowance
from ._payload import V2, Json, Payload, rows_of
from ._wire import Wire
from .answers import Output, class_values, indices, same_length, scored, words


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HttpTarget:
    """A model behind a URL.

    The cap counts every row handed to the network, repeated and refused ones too, and is never exceeded. Only the
    URL's own host is asked; redirects are refused. Secrets come from environment variables when a request is made, and
    stand in no repr and no message.

    Args:
        url: The server for ``v2`` (or a URL that ends in ``/infer``); the very endpoint for ``json``.
        query_cap: Rows in all, over the life of the target, or of `count_file`. At least 1.
        pace_per_s: Rows a second at most, above 0.
        protocol: ``v2`` (Open Inference Protocol; `model` and `model_version` say which model) or ``json``.
        input_key: Name of the input tensor (``v2``), or where the rows go in the body (``json``, as ``data.rows``).
        label_path, scores_path: Output tensors (``v2``), or paths as ``predictions.*.label`` (``json``).
        output: What the numbers are: ``scores`` or ``logits``; ``labels`` reads labels only. ``auto``: scores where
            `scores_path` is given, else labels.
        datatype: Of ``v2``: the type to send, ``FP32`` or ``FP64`` and so on; by default the rows' own.
        batched: Of ``json``: whether the body holds a list of rows.
        body: Of ``json``: what every request carries besides.
        classes: How many, or their values in index order. Needed where labels are words.
        max_batch: Rows of one request.
        timeout_s: Seconds for one request.
        retries: How often a row is sent again, only where the server cannot have acted on it.
        max_wait_s: Longest wait the server may ask for (Retry-After) before that counts as a refusal.
        headers_from_env: ``{"Authorization": "Bearer $API_TOKEN"}``, or the bare name of a variable.
        verify: False, or a file of certificate authorities, where the system's own do not do.
        count_file: Keeps the count for several processes and for a run that is resumed.
        version: The user's own version. Without it nothing vouches for what is behind the URL.
        random: Whether the same row may get different answers.
        clock, sleep: For tests.

    Raises:
        BadInput: A setting is not allowed. UsageError: an environment variable is not set."""

    url: str
    query_cap: int
    pace_per_s: float
    protocol: Literal["v2", "json"] = "json"
    name: str = ""
    model: str = ""
    model_version: str = ""
    input_key: str | None = None
    label_path: str | None = None
    scores_path: str | None = None
    output: Literal["auto", "labels", "scores", "logits"] = "auto"
    datatype: str | None = None
    batched: bool = True
    body: Mapping[str, Any] = field(default_factory=dict)
    classes: Any = None
    max_batch: int = 32
    timeout_s: float = 10.0
    retries: int = 2
    max_wait_s: float = 60.0
    headers_from_env: Mapping[str, str] = field(default_factory=dict)
    verify: bool | str = True
    count_file: str | Path | None = None
    version: str = ""
    random: bool = False
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    offers: Need = field(init=False, default=Need.LABEL)
    values: tuple[Any, ...] = field(init=False, default=())
    endpoint: ClassVar[bool] = True  # what it answers is what is deployed: compared with the description
    _payload: Payload = field(init=False)
    _wire: Wire = field(init=False)

    def __post_init__(self) -> None:
        _check(self)
        size, values = class_values(self.classes)
        output = self.output if self.output != "auto" else "scores" if self.scores_path is not None else "labels"
        shown = {"labels": Need.NONE, "scores": Need.SCORE, "logits": Need.SCORE | Need.LOGIT}[output]
        file = None if self.count_file is None else Path(self.count_file)
        allowance = Allowance(self.query_cap, self.pace_per_s, file=file, clock=self.clock, sleep=self.sleep)
        wire = Wire(
            self.url, headers_from_env=self.headers_from_env, verify=self.verify, timeout_s=self.timeout_s,
            retries=self.retries, max_wait_s=self.max_wait_s, allowance=allowance, sleep=self.sleep,
        )  # fmt: skip
        for name, value in (
            ("classes", size), ("values", values), ("output", output), ("offers", Need.LABEL | shown),
            ("name", self.name or wire.host), ("_wire", wire), ("_payload", _payload_of(self, values)),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        place = urlsplit(self.url)._replace(query="").geturl()
        cap = f"query_cap={self.query_cap}, pace_per_s={self.pace_per_s:g}"
        return f"HttpTarget(url={place!r}, protocol={self.protocol!r}, {cap})"

    @property
    def sent(self) -> int:
        """Rows handed to the network so far."""
        return self._wire.allowance.sent

    def prepare(self, x: Any) -> Any:
        """Tensors as arrays."""
        return to_numpy(x)

    def forward(self, x: Any) -> Response:
        """Ask, `max_batch` rows a request.

        Raises:
            BudgetSpent: The cap does not cover all rows; none was sent. Refused: It still refuses after `retries`
                waits. TargetFailed: No answer, or one that is no decision.
        """
        x, rows = to_numpy(x), count(x)
        self._wire.allowance.check(rows)
        step = self.max_batch if self.batched or self.protocol == "v2" else 1
        parts = [self._ask(rows_of(x, start, start + step), min(step, rows - start)) for start in range(0, rows, step)]
        return _joined(parts)

    def decided(self, labels: Any) -> NDArray[Any]:
        """The endpoint's own words ``(n,)`` for labels ``(n,)``; None for a reject."""
        return words(self.values, labels)

    def fingerprint(self) -> str | None:
        """The URL and the user's version; None without one: a server's word on its name says nothing of its weights."""
        if not self.version:
            return None
        parts = (
            self.url,
            self.protocol,
            self.model,
            self.model_version,
            repr(self._payload),
            self.output,
            self.version,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def state(self) -> str:
        return hashlib.sha256(repr((self.url, self.version)).encode()).hexdigest()  # what lies behind cannot be seen

    def _ask(self, x: Any, rows: int) -> Response:
        payload = self._payload
        labels, numbers = payload.unpack(self.name, self._wire.post(payload.path, payload.pack(x), rows), rows)
        if self.output == "labels":
            if labels is None and numbers is None:
                raise BadInput(f"{self.name}: the answer holds no label; give label_path=")
            if labels is None:
                return Response(scored(self.name, numbers, "scores", self.classes).label)
            label = indices(self.name, labels, self.classes, self.values)
            same_length(self.name, rows, label)
            return Response(label, None, label.reshape(-1, 1) if label.dtype.kind == "f" else None)
        if numbers is None:
            raise BadInput(f"{self.name}: the answer holds no {self.output}; give scores_path=")
        kind: Output = "logits" if self.output == "logits" else "scores"
        decided = None if labels is None else indices(self.name, labels, self.classes, self.values)
        response = scored(self.name, numbers, kind, self.classes, decided)
        same_length(self.name, rows, response.label, response.scores, response.logits)
        return response


def _payload_of(target: HttpTarget, values: tuple[Any, ...]) -> Payload:
    if target.protocol == "json":
        key = "inputs" if target.input_key is None else target.input_key
        return Json(
            input_key=key,
            label=target.label_path,
            numbers=target.scores_path,
            batched=target.batched,
            body=target.body,
            values=values,
        )
    version = f"/versions/{target.model_version}" if target.model_version else ""
    complete = urlsplit(target.url).path.endswith("/infer")
    return V2(
        path="" if complete else f"/v2/models/{target.model}{version}/infer", input=target.input_key or "input",
        datatype=target.datatype, label=target.label_path, numbers=target.scores_path,
    )  # fmt: skip


def _check(target: HttpTarget) -> None:
    wrong = []
    if isinstance(target.query_cap, bool) or not isinstance(target.query_cap, int) or target.query_cap < 1:
        wrong.append(f"query_cap={target.query_cap!r}: give a whole number of rows of at least 1")
    rates = {"pace_per_s": target.pace_per_s, "timeout_s": target.timeout_s}
    wrong += [f"{name}={value!r}: give a number above 0" for name, value in rates.items() if not 0 < value < float("inf")]
    if target.max_batch < 1 or target.retries < 0:
        wrong.append(f"max_batch={target.max_batch!r}, retries={target.retries!r}: give at least 1 and 0")
    if target.protocol not in ("v2", "json"):
        wrong.append(f"protocol={target.protocol!r}: give 'v2' or 'json'")
    if target.protocol == "v2" and not target.model and not urlsplit(target.url).path.endswith("/infer"):
        wrong.append("model='': say which model the server shall ask, or give a url that ends in /infer")
    if target.protocol == "json" and target.label_path is None and target.scores_path is None:
        wrong.append("label_path=None, scores_path=None: say where the answer holds its decision")
    if wrong:
        raise BadInput(f"{urlsplit(target.url).hostname}: {'; '.join(wrong)}")


def _joined(parts: list[Response]) -> Response:
    if len(parts) == 1:
        return parts[0]
    columns = [[getattr(part, name) for part in parts] for name in ("label", "scores", "logits")]
    return Response(*(None if column[0] is None else np.concatenate(column) for column in columns))
