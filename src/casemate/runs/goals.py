"""The goal that a description states, in the terms of the target it is about."""

from __future__ import annotations

from typing import Any

from ..core.errors import BadInput, UsageError
from ..core.goal import Becomes, Goal, Routed, Shift, Vanish, Wrong
from ..core.target import REJECT, Target
from .named import told_names

_GOALS: dict[str, Any] = {"wrong": Wrong, "becomes": Becomes, "routed": Routed, "shift": Shift, "vanish": Vanish}


def goal_of(spec: dict[str, Any], target: Target | None) -> Goal:
    """The goal that a description states as `spec`, of what the target decides.

    Raises:
        UsageError: It is no goal, or names a class that is none of the target's: every row would seem to stand.
    """
    spec = dict(spec)
    kind = spec.pop("kind", "wrong")
    if kind not in _GOALS:
        raise UsageError(f"target.goal.kind={kind!r} is not known; allowed: {', '.join(_GOALS)}")
    said = {}
    for key, value in spec.items():
        each = [_class(key, one, target) for one in (value if isinstance(value, list) else [value])]
        said[key] = tuple(each) if isinstance(value, list) else each[0]
    try:
        made: Goal = _GOALS[kind](**said)
    except (TypeError, BadInput) as error:
        raise UsageError(f"target.goal={spec!r}: {error}") from error
    return made


def _class(key: str, value: Any, target: Target | None) -> Any:
    """A class that a goal names by a word, as the target answers it; anything else as it is, where the target can answer it."""
    if key not in ("target", "to", "nothing"):
        return value
    if isinstance(value, str):
        names = told_names(target)
        if value not in names:
            known = f"it has {', '.join(names[:10])}" if names else "it tells no names; give the number of the class, from 0"
            raise UsageError(f"target.goal.{key}={value!r} is no class of the target; {known}")
        return names.index(value)
    classes = None if target is None else target.classes
    if isinstance(value, int) and classes is not None and not REJECT <= value < classes:
        raise UsageError(f"target.goal.{key}={value!r} is no class of the target; it answers 0 to {classes - 1}")
    return value
