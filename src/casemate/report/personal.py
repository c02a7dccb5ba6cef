"""What is about people, and how it is left out.

Columns of a row are let through by name: a column nobody has thought of is redacted, not shown.
"""

from __future__ import annotations

from typing import Any

from ..core.fact import Truth
from ..core.finding import Assessment

REDACTED = "redacted"
# Numbers about the attack. Truth, decisions, scores and membership are about the person behind the row.
_ABOUT_THE_ATTACK = frozenset(
    {
        "row", "right", "broken", "inside", "believed", "blocked", "improving", "distance", "broke_at", "queries", "local",
        "gradients", "by", "seconds", "records", "accounts",
    }
)  # fmt: skip


# What a judge leaves beside the rate that points at single people.
_POINTS_AT_PEOPLE = frozenset({"most_exposed"})


def is_personal(assessment: Assessment) -> bool:
    """Whether rows of this system are about people, by the assessment or by an asset of the description."""
    assets = getattr(assessment.system, "assets", ())
    return assessment.personal or any(asset.personal is Truth.YES for asset in assets)


def hidden(assessment: Assessment, show_personal: bool) -> bool:
    return is_personal(assessment) and not show_personal


def redact_rows(rows: dict[str, Any], hide: bool) -> dict[str, Any]:
    """The columns, those about people replaced by a word."""
    return {name: REDACTED if hide and name not in _ABOUT_THE_ATTACK else column for name, column in rows.items()}


def redact_extra(extra: dict[str, Any], hide: bool) -> dict[str, Any]:
    """What stands beside a rate; what points at single people is replaced by a word."""
    return {name: REDACTED if hide and name in _POINTS_AT_PEOPLE else value for name, value in extra.items()}
