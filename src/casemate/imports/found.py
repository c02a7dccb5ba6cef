"""What an importer hands over: elements and facts, each with the place it was read from. It decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One fact that a file states.

    Args:
        path: As in a description: `reader.artifact.format`, `system.modality`. The element is one that the same import
            proposes, or `$model`: whichever component serves the model (the user's, where there is one already).
        value: Plain data as it would stand in YAML: "yes", "no", a word, a number, a list of words.
        because: Where it stands in the file, in words: "line 4: base_model", "graph.input[0]", "magic bytes".
        line: Of the file, 0 where lines mean nothing.
    """

    path: str
    value: Any
    because: str
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What one file gave.

    Args:
        format: In words: "ONNX model", "docker-compose", "OpenAPI 3.1".
        file: As the user named it.
        facts: In the order they were found.
        elements: Whole elements to propose, by section of a description (`principals`, `components`, `flows`, ...):
            plain mappings as in YAML, each with its id (flows: from and to; access: principal and on).
        notes: What a person should know and no fact can say: "holds 3 models; the first was read".
    """

    format: str
    file: str
    facts: tuple[Found, ...] = ()
    elements: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
