"""What a guard reports: one JSON object for each request.

An event holds a hash of the account, numbers, ids and fixed words. Nothing a caller wrote gets in: no key, no path,
no body.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from ..core.errors import UsageError

Event = dict[str, Any]
Sink = Callable[[Event], None]
LOGGER = logging.getLogger("casemate.guard")
_encode = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would build an encoder each time


def line(event: Event) -> str:
    return _encode(event)


def to_logger(logger: logging.Logger = LOGGER) -> Sink:
    """Events as messages of a logger: INFO if the request was let in, WARNING if not."""

    def sink(event: Event) -> None:
        level = logging.INFO if event["action"] == "admit" else logging.WARNING
        if logger.isEnabledFor(level):
            logger.log(level, "%s", line(event))

    return sink


def to_stream(stream: TextIO) -> Sink:
    """Events as lines of a stream. A stream that blocks holds up every request: do not log into a slow pipe."""

    def sink(event: Event) -> None:
        stream.write(line(event) + "\n")
        stream.flush()

    return sink


def read(lines: Iterator[str], name: str = "events") -> Iterator[Event]:
    """Events from lines, in order."""
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            event = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{name}:{number}: not a JSON event") from error
        if not isinstance(event, dict) or "action" not in event:
            raise UsageError(f"{name}:{number}: no event of a guard: it has no action")
        yield event
