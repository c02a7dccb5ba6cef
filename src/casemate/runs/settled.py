"""Whether a description states the fact that a question asks for."""

from __future__ import annotations

from ..core.entities import Truth
from ..core.errors import CasemateError
from ..core.system import System


def stated(system: System, field: str) -> bool:
    """Whether the fact is known now. A question of access names its capability: `access(eve, api): see_score`."""
    path, _, capability = field.partition(": ")
    if capability:
        return _decided(system, path, capability)
    try:
        return system.fact(path).value not in (None, (), Truth.UNKNOWN, "unknown")
    except (CasemateError, LookupError, AttributeError, ValueError):
        return False  # the element is gone, and with it the question


def _decided(system: System, path: str, capability: str) -> bool:
    rows = [row for row in system.access if f"access({row.principal}, {row.on})" == path]
    return bool(rows) and not any(capability in row.unsure for row in rows)
