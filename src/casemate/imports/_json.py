"""JSON from inside a model file."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from casemate.imports._reading import Reading, refuse


def parsed(r: Reading, content: bytes, what: str) -> Any:
    """The document.

    Raises:
        UsageError: It is no JSON, no UTF-8, or nested too deep.
    """
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise refuse(r.file, f"{what} is no JSON that can be read ({type(error).__name__}); save the model again") from error


def nodes(tree: Any) -> list[dict[str, Any]]:
    """Every mapping in a parsed document, in the order of its levels."""
    found, todo = [], deque([tree])
    while todo:
        node = todo.popleft()
        if isinstance(node, dict):
            found.append(node)
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)
    return found
