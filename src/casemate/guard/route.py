"""Which requests reach the model. What is not named reaches nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from ..core.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Paths as patterns; ``*`` stands for one segment, or a part of one.

    Args:
        model: Ask the model. POST only; every control applies.
        open: Pass untouched: health and metadata. GET and HEAD only.
    """

    model: tuple[str, ...] = ("/v2/models/*/infer", "/v2/models/*/versions/*/infer")
    open: tuple[str, ...] = ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/*", "/v2/models/*/ready")
    _model: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _open: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("model", "open"):
            patterns = getattr(self, name)
            wrong = [p for p in patterns if not isinstance(p, str) or not p.startswith("/")]
            if isinstance(patterns, str) or wrong:
                raise UsageError(f"{name}={patterns!r} is not allowed; give a list of paths that start with /")
            object.__setattr__(self, f"_{name}", _compiled(patterns))
        if not self.model:
            raise UsageError("model=() guards nothing; name the path that asks the model")

    def kind(self, method: str, path: str) -> Literal["model", "open", "method", "none"]:
        """Where a request belongs; ``method`` if the path is known but the method is not the one."""
        if self._model.fullmatch(path):
            return "model" if method == "POST" else "method"
        if self._open.fullmatch(path):
            return "open" if method in ("GET", "HEAD") else "method"
        return "none"


def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    one = (re.escape(pattern).replace(r"\*", "[^/]+") for pattern in patterns)
    return re.compile("|".join(one) or r"(?!)")
