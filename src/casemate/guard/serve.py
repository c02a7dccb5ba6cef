"""Run a model server with the guard around it, in one process."""

from __future__ import annotations

import contextlib
import importlib
import socket
import sys
from pathlib import Path
from typing import Any

from ..core.errors import UnknownName, UsageError, need
from .events import Sink
from .middleware import App, Guard
from .policy import Policy


def load_app(name: str, folder: str | Path = "") -> App:
    """The ASGI application called ``module:name``, looked for in `folder` first. This runs the module's code."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise UsageError(f"app={name!r} names no application; give module:name")
    if folder and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UsageError(f"the application {name!r} cannot be imported: {error}") from error
    app: Any = getattr(module, attribute, None)
    if app is None:
        public = [n for n in vars(module) if not n.startswith("_")]
        raise UnknownName(f"application in {module_name}", attribute, public)
    if not callable(app):
        raise UsageError(f"the application {name!r} is not callable: it is a {type(app).__name__}")
    found: App = app
    return found


def guarded(policy: Policy | str | Path, app: str = "", *, sink: Sink | None = None) -> Guard:
    """The guarded application, for any ASGI server.

    Args:
        policy: A policy, or the file that holds one.
        app: ``module:name``; left out, the one the policy names.
        sink: Where events go; the logger ``casemate.guard`` by default.
    """
    policy = policy if isinstance(policy, Policy) else Policy.read(policy)
    name = app or policy.app
    if not name:
        raise UsageError("no application: name one as module:name, here or as `app` in the policy")
    return policy.wrap(load_app(name, policy.folder or "."), sink=sink)


def serve(
    policy: Policy | str | Path,
    app: str = "",
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    sink: Sink | None = None,
    concurrency: int = 256,
) -> None:
    """Serve the guarded application until interrupted. One worker: the controls count in this process.

    Raises:
        MissingExtra: uvicorn is not installed.
        UsageError: The port cannot be had.
    """
    uvicorn: Any = need("uvicorn", "guard", "serving")
    around = guarded(policy, app, sink=sink)
    config = uvicorn.Config(
        around,
        workers=1,
        access_log=False,  # it would write paths and addresses; events say what there is to say
        server_header=False,
        limit_concurrency=concurrency,
        log_level="warning",
    )
    with listening(host, port) as listener, contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. uvicorn would only log that it cannot have the port, and end with a code of its own."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).partition(" (")[0]  # the rest says the address again
        raise UsageError(f"port {port} on {host} cannot be used: {reason}") from error
