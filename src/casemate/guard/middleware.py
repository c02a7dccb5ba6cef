"""The guard as pure ASGI middleware.

    route, account, body, rows  ->  admit  ->  the application  ->  answer

It fails closed: what it cannot read, route or edit does not pass, and a fault of its own is a refusal unless the
policy says otherwise. State lives in this object, so one process counts for itself; with several workers every cap
holds for each.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..core.control import Service
from ..core.errors import UsageError
from . import admission
from .account import ANONYMOUS, Accounts, Unauthenticated
from .admission import Hosted
from .answer import Answer
from .events import LOGGER, Event, Sink, to_logger
from .route import Paths
from .schema import Malformed, Schema, chained

Message = MutableMapping[str, Any]
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one request may cost.

    Args:
        body: Bytes of a request; more is answered 413.
        answer: Bytes of an answer that a control must read; more is answered 502.
        seconds: For the whole body to arrive; later is answered 408.
    """

    body: int = 1 << 20
    answer: int = 1 << 20
    seconds: float = 10.0

    def __post_init__(self) -> None:
        for name in ("body", "answer", "seconds"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise UsageError(f"{name}={value!r} is not allowed; give a number above 0")


class Stop(Exception):
    """A request that goes no further: the status and the words of the reply, and what the event says."""

    def __init__(self, status: int, action: str, reason: str, *, by: Hosted | None = None, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.status, self.action, self.reason, self.by, self.wait = status, action, reason, by, wait


class Guard:
    """An ASGI application that hosts service controls around another one.

    Args:
        app: The model server.
        controls: Service controls, in the order in which they are asked; a plain control is enforced.
        account: How a request names its account.
        schema: Where the rows and the scores are.
        paths: Which requests reach the model.
        limits: What one request may cost.
        on_fault: If a control raises: ``closed`` refuses with 503, ``open`` lets the request through, both say so.
        unreadable: If a control must edit an answer that is not JSON: ``refuse`` it with 502, or ``pass`` it on
            unedited.
        sink: Where events go.
        clock: Seconds for the controls; it must not step back.
        wall: Seconds since 1970 for the events.
    """

    def __init__(
        self,
        app: App,
        *,
        controls: Sequence[Service | Hosted],
        account: Accounts | None = None,
        schema: Schema | None = None,
        paths: Paths | None = None,
        limits: Limits | None = None,
        on_fault: Literal["closed", "open"] = "closed",
        unreadable: Literal["refuse", "pass"] = "refuse",
        sink: Sink | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        if on_fault not in ("closed", "open"):
            raise UsageError(f"on_fault={on_fault!r} is not allowed; give closed or open")
        if unreadable not in ("refuse", "pass"):
            raise UsageError(f"unreadable={unreadable!r} is not allowed; give refuse or pass")
        hosted = (c if isinstance(c, Hosted) else Hosted(control=c) for c in controls)
        self.controls = tuple(h for h in hosted if h.mode != "off")
        self._app, self._account, self._schema = app, account or Accounts(), schema or Schema()
        self._paths, self._limits, self._sink = paths or Paths(), limits or Limits(), sink or to_logger()
        self._open, self._unreadable = on_fault == "open", unreadable
        self._clock, self._wall = clock, wall
        self._states = admission.start(self.controls)
        self._editing = tuple(i for i, h in enumerate(self.controls) if h.mode == "enforce" and h.edits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            self._report(ANONYMOUS, None, "refuse", time.perf_counter(), reason="no web sockets here")
            await receive()
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = time.perf_counter()
        account, rows = ANONYMOUS, None
        try:
            if self._routed(scope):
                await self._app(scope, receive, send)
                return
            account = self._called(scope)
            body = await self._read(scope, receive)
            if body is None:  # the caller left
                return
            rows = self._counted(scope, body)
            self._admit(account, rows, begun)
        except Stop as stop:
            self._report(account, rows, stop.action, begun, by=stop.by, reason=stop.reason)
            await _reply(send, stop)
            return
        await self._forward(scope, body, receive, send, account, rows)

    # -- what is asked of a request -----------------------------------------------------------------------------------
    def _routed(self, scope: Scope) -> bool:
        """Whether the request passes untouched."""
        kind = self._paths.kind(scope["method"], scope["path"])
        if kind == "none":
            raise Stop(404, "not_found", "no such path")
        if kind == "method":
            raise Stop(405, "not_found", "not with this method")
        return kind == "open"

    def _called(self, scope: Scope) -> str:
        try:
            return self._account.of(scope["headers"])
        except Unauthenticated as error:
            raise Stop(401, "unauthenticated", str(error)) from None

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body, or None if the caller left before it was there."""
        most = self._limits.body
        for name, value in scope["headers"]:
            if name == b"content-length" and not (value.isdigit() and len(value) < 20 and int(value) <= most):
                raise Stop(413, "too_large", f"a request may have {most} bytes")
            if name == b"content-encoding" and value.lower() != b"identity":
                raise Stop(415, "malformed", "compressed requests are not read here")
        chunks, size = [], 0
        try:
            async with asyncio.timeout(self._limits.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    if size > most:
                        raise Stop(413, "too_large", f"a request may have {most} bytes")
                    chunks.append(chunk)
                    if not message.get("more_body"):
                        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except TimeoutError:
            raise Stop(408, "too_slow", "the request took too long to arrive") from None

    def _counted(self, scope: Scope, body: bytes) -> int:
        try:
            return self._schema.count(body)
        except Malformed as error:
            raise Stop(400, "malformed", str(error)) from None

    def _admit(self, account: str, rows: int, begun: float) -> None:
        """Ask the controls and keep their new states. No await in here: nothing can come between."""
        now = self._clock()
        try:
            decision = admission.decide(self.controls, self._states, account, rows, now)
            stop = self._refusal(decision.refused, account, rows, now) if decision.refused else None
        except Exception as error:
            if not self._open:
                raise Stop(503, "fault", "the guard failed; nothing was decided") from error
            self._report(account, rows, "fault", begun, reason=type(error).__name__)
            return
        if stop is not None:
            raise stop
        if not self._report(account, rows, "admit", begun, shadow=decision.shadow) and not self._open:
            raise Stop(503, "fault", "the guard failed; its events cannot be written")
        self._states = decision.states

    def _refusal(self, by: Hosted, account: str, rows: int, now: float) -> Stop:
        if not admission.fits(by, account, rows, now):
            return Stop(413, "refuse", f"{rows} rows are more than can ever be let in at once", by=by)
        state = self._states[self.controls.index(by)]
        wait = admission.retry_after(by, state, account, rows, now)
        return Stop(429, "refuse", "too many rows", by=by, wait=max(wait, 1.0))

    # -- what is shown of an answer -----------------------------------------------------------------------------------
    async def _forward(self, scope: Scope, body: bytes, receive: Receive, send: Send, account: str, rows: int | None) -> None:
        handed = False

        async def once() -> Message:
            nonlocal handed
            if handed:
                return await receive()
            handed = True
            return {"type": "http.request", "body": body, "more_body": False}

        if not self._editing:
            await self._app(scope, once, send)
            return
        # Extensions such as pathsend or trailers would carry an answer past the one who edits it.
        answer = Answer(self._limits.answer)
        await self._app({**scope, "extensions": {}}, once, answer.take)
        begun = time.perf_counter()
        by = self.controls[self._editing[0]]
        try:
            message, data = answer.edited(self._edit, lenient=self._unreadable == "pass")
        except Malformed as error:
            stop = Stop(502, "edit_failed", str(error), by=by)
        except Exception as error:  # noqa: BLE001 - a control of any kind may fail here
            self._report(account, rows, "fault", begun, by=by, reason=type(error).__name__)
            if self._open and answer.complete:
                await send(answer.start)
                await send({"type": "http.response.body", "body": answer.body})
                return
            await _reply(send, Stop(503, "fault", "the guard failed; no answer is shown"))
            return
        else:
            await send(message)
            await send({"type": "http.response.body", "body": data})
            return
        self._report(account, rows, stop.action, begun, by=stop.by, reason=stop.reason)
        await _reply(send, stop)

    def _edit(self, body: bytes) -> bytes:
        def step(i: int) -> Callable[[Any], Any]:
            return lambda response: self.controls[i].control.answer(self._states[i], response)

        return self._schema.edit(body, chained(tuple(map(step, self._editing))))

    # -- what is said -------------------------------------------------------------------------------------------------
    def caution(self, reason: str) -> None:
        """Write an event of what makes a cap easy to get round. Its words come from the policy's reader, not from callers."""
        self._report(ANONYMOUS, None, "caution", time.perf_counter(), reason=reason)

    def _report(
        self,
        account: str,
        rows: int | None,
        action: str,
        begun: float,
        *,
        by: Hosted | None = None,
        reason: str = "",
        shadow: tuple[Hosted, ...] = (),
    ) -> bool:
        """Write an event; False if that failed."""
        event: Event = {"ts": round(self._wall(), 6), "account": account, "rows": rows, "action": action}
        if by is not None:
            event |= {"control": by.id, "threats": list(by.threats)}
        if shadow:
            event["would_refuse"] = [{"control": h.id, "threats": list(h.threats)} for h in shadow]
        if reason:
            event["reason"] = reason
        event["latency_us"] = round((time.perf_counter() - begun) * 1e6)
        try:
            self._sink(event)
        except Exception:  # noqa: BLE001 - whatever the sink raises, the caller of this decides
            LOGGER.exception("an event was lost: the sink failed")
            return False
        return True


async def _reply(send: Send, stop: Stop) -> None:
    """A small JSON answer made of fixed words and numbers."""
    body = json.dumps({"error": stop.reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if stop.wait:
        headers.append((b"retry-after", b"%d" % math.ceil(stop.wait)))
    if stop.status == 401:
        headers.append((b"www-authenticate", b"ApiKey"))
    if stop.status in (408, 413):  # the rest of the body is not wanted
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": stop.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
