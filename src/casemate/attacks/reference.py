"""The reference page of the attacks. `python -m casemate.attacks.reference` prints it."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from ..core.attack import AttackInfo, attacks

_HEAD = """# Attacks

Generated from the attacks themselves; do not edit. `casemate attacks ID` shows one with its parameters; names from the
literature work as ids too. An adversary who does not hold all that an attack needs is refused by name.

Scope: `rows` work on many inputs at once and never spend on one that is done; a `dialogue` is written for one input, and the
questions of all inputs travel in full model calls; a `set` makes one change for all inputs, or works on training and models; a
`cascade` runs others in order, each on what still stands.
"""
_FAMILIES = {
    "evasion": "Evasion: a changed input, a wrong decision", "suite": "Suites: the best answer for one adversary",
    "poisoning": "Poisoning: training data that is written", "privacy": "Privacy: what a model says of its data",
    "extraction": "Extraction: a copy of the model", "availability": "Availability", "supply": "Supply chain: the artifact",
}  # fmt: skip


def page() -> str:
    """The page as Markdown."""
    kinds = [attacks.get(id) for id in attacks]
    own = [kind for kind in kinds if kind.__module__.startswith("casemate.")]
    lines = [_HEAD]
    for family, title in _FAMILIES.items():
        members = [kind for kind in own if kind.info.id.startswith(f"{family}.")]
        lines += [f"## {title}", "", "| id | what it does | needs | on | scope | papers |", "|---|---|---|---|---|---|"]
        lines += [_line(kind.info) for kind in members] + [""]
    return "\n".join(lines)


def _line(info: AttackInfo) -> str:
    name = f"`{info.id}`" + (f"<br>{', '.join(info.aka[:2])}" if info.aka else "")
    needs = ", ".join(info.needs.names) or "nothing"
    cells = (name, _plain(info.summary), needs, _on(info), info.scope, "<br>".join(map(_paper, info.papers)))
    return f"| {' | '.join(cells)} |"


def _on(info: AttackInfo) -> str:
    if info.case != "evade":
        return info.case
    found = []
    if "array" in info.modality:
        found += [f"arrays, {', '.join(info.norms)}"] if "Ball" in info.within else []
        found += [f"arrays in a {name}" for name in info.within if name not in ("Ball", "*")]
    return "; ".join([*found, *(kind for kind in info.modality if kind != "array")])


def _paper(id: str) -> str:
    if id.startswith("arXiv:"):
        return f"[{id[6:]}](https://arxiv.org/abs/{id[6:]})"
    return f"[{id}](https://doi.org/{id})" if id.startswith("10.") else id


def _plain(text: str) -> str:
    return inspect.cleandoc(text).replace("|", "\\|")


def main() -> Any:
    """Print the page."""
    return sys.stdout.write(page())


if __name__ == "__main__":
    main()
