"""Fetching training data from places that others control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Get other data into the training than what its list was made of.

    Args:
        manifest: The list of what is fetched: text that names URLs, and perhaps a digest with each. Read, never changed.
        loader: What fetches it as deployed: ``loader(manifest path)`` gives the data, or raises where something is wrong.
    """

    manifest: Path
    loader: Callable[[Path], Any]
    kind = "fetch"

    def blind(self) -> Fetch:
        return self
