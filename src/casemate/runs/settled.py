"""Whether a description states the fact that a question asks for."""

from __future__ import annotations

from ..core.errors import CasemateError
from ..core.fact import Truth
from ..core.system import System


def stated(system: System, field: str) -> bool:
    """Whether the fact is known now.

    A question of access names its capability (`access(eve, api): see_score`), one about assets that nobody listed what
    they are worth or whether something holds of them (`assets(model): C`).
    """
    path, _, what = field.partition(": ")
    if path.startswith("assets("):
        held = [asset.id for asset in system.assets if f"assets({asset.kind})" == path]
        return any(_known(system, f"{id}.value.{what}" if len(what) == 1 else f"{id}.{what}") for id in held)
    return _decided(system, path, what) if what else _known(system, path)


def _known(system: System, path: str) -> bool:
    try:
        return system.fact(path).value not in (None, Truth.UNKNOWN, "unknown")  # an empty list is an answer
    except (CasemateError, LookupError, AttributeError, ValueError):
        return False  # the element is gone, and with it the question


def _decided(system: System, path: str, capability: str) -> bool:
    rows = [row for row in system.access if f"access({row.principal}, {row.on})" == path]
    return bool(rows) and not any(capability in row.unsure for row in rows)
