"""Service controls in production: the same objects that were assessed, around a live endpoint.

Reaches only `controls/service` and `core`: no torch, no attacks. The middleware is pure ASGI and needs no web
framework; only `serve` needs uvicorn, and loads it when called.
"""

from __future__ import annotations

from .account import Accounts as Accounts
from .admission import Hosted as Hosted
from .events import to_logger as to_logger
from .events import to_stream as to_stream
from .middleware import Guard as Guard
from .middleware import Limits as Limits
from .policy import Policy as Policy
from .replay import Replayed as Replayed
from .replay import replay as replay
from .route import Paths as Paths
from .schema import Schema as Schema
from .serve import serve as serve
