"""What a description alone says: every threat as a finding that nobody has tested. Loads and runs none of the user's code."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from pathlib import Path

from ..core.finding import Assessment
from ..core.system import System
from ..threats import checks
from ..threats.chains import search
from ..threats.derive import Derivation, derive
from ..threats.load import load
from ..threats.rules import rules_for
from .findings import blind_spots, collect, question_of
from .risks import NOT_RUN


def derived(
    path: str | Path | System, *, rules: Iterable[str | Path] = (), static: bool = False
) -> tuple[Derivation, Assessment]:
    """Derive a described system, and put it in the form that every report, gate and comparison reads.

    Args:
        rules: More files or folders with rules.
        static: Let the static checks read the files that the description names, and settle what they can.

    While it runs, Python does not look for cycles of garbage, as in `derive`: of a large system there are hundreds of
    thousands of findings, none of them in a cycle.

    Raises:
        BadSystem: The description or a rule cannot be read; carries every problem.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _derived(path, rules, static)
    finally:
        if collecting:
            gc.enable()


def _derived(path: str | Path | System, rules: Iterable[str | Path], static: bool) -> tuple[Derivation, Assessment]:
    system = path if isinstance(path, System) else load(path)
    checked = checks.run(system) if static else None
    system = checked.system if checked else system
    found = derive(system, rules_for(system, rules))
    name = "the system" if isinstance(path, System) else str(path)
    chained = search(found)
    assessment = Assessment(
        name=system.name or Path(name).stem,
        path=name,
        system=system,
        findings=collect(found, system, {}, [(t.id, test, NOT_RUN) for t in found.threats for test in t.tests]),
        questions=tuple(question_of(q) for q in found.questions),
        hidden=found.hidden,
        chains=chained.chains,
        conflicts=checked.conflicts if checked else (),
        warnings=(*blind_spots(system), *((chained.left_out,) if chained.left_out else ()), *_told(checked)),
        budget="none",
        reproduce=f"casemate threats {name}",
        personal=any(a.personal.value != "no" for a in system.assets if a.kind in ("training_data", "input_data")),
    )
    return found, assessment


def _told(checked: checks.Checked | None) -> tuple[str, ...]:
    """What the static checks found and what they could not read; none of it is a threat of its own."""
    if checked is None:
        return ()
    found = (f"{f.file}{f':{f.line}' if f.line else ''}: {f.text} ({f.check})" for f in checked.findings)
    return (*found, *(f"not checked: {problem}" for problem in checked.problems))
