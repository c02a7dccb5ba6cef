"""The errors a caller may meet.

    CasemateError
    ├── UsageError(ValueError)          the caller can fix it; exit code 2
    │   ├── UnknownName                 no such attack, control, component, ...; suggests
    │   ├── BadSystem                   a description is inconsistent: all problems at once, with file and line
    │   ├── BadInput                    data, shape, dtype or range that cannot be attacked
    │   ├── NotGranted(PermissionError) an attack needs more than the adversary holds
    │   └── MissingExtra(ImportError)   an optional package is absent; prints the install line
    ├── RunError                        the run stopped, and the same command resumes it
    │   └── TargetFailed                the system under test misbehaved (kept as evidence)
    ├── BudgetSpent                     control flow inside a run; never escapes it
    └── Refused                         the endpoint said no; control flow inside a run
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any


class CasemateError(Exception):
    """Root of everything casemate raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Some errors are made of other things than their message, and must come back from a worker process all the same.
        return _again, (type(self), str(self)), self.__dict__


def _again(kind: type[CasemateError], message: str) -> CasemateError:
    new: Any = OSError.__new__ if issubclass(kind, OSError) else Exception.__new__
    error: CasemateError = new(kind, message)
    error.args = (message,)
    return error


class UsageError(CasemateError, ValueError):
    """Something the caller can fix."""


class UnknownName(UsageError):
    """A name that nothing answers to. The message lists what does."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(map(repr, close))}?" if close else f"known: {', '.join(known) or 'none'}"
        super().__init__(f"no {kind} is called {name!r}; {hint}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a description: where, what, and what to do."""

    file: str
    line: int
    key: str
    message: str
    suggestion: str = ""

    def __str__(self) -> str:
        hint = f" ({self.suggestion})" if self.suggestion else ""
        text = f"{self.file}:{self.line}: {self.key}: {self.message}{hint}"
        return text.replace("\n", "\\n").replace("\r", "\\r")  # a key of a file begins no line of its own


class BadSystem(UsageError):
    """A description that cannot be read. Carries every problem, not the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class BadInput(UsageError):
    """Data that cannot be attacked: wrong shape, not finite, empty, one class, outside its domain."""


class NotGranted(UsageError, PermissionError):
    """An attack asked for what its adversary does not hold."""


class MissingExtra(UsageError, ImportError):
    """An optional dependency is absent."""

    def __init__(self, package: str, extra: str, why: str) -> None:
        super().__init__(f"{why} needs {package}, which is not installed; run: pip install 'casemate[{extra}]'")


class RunError(CasemateError):
    """The run stopped. What was measured is kept; the same command goes on from there."""


class TargetFailed(RunError):
    """The system under test raised, hung, or answered nonsense."""


class BudgetSpent(CasemateError):
    """The next call would overrun the budget. Raised before the call is made."""


class Refused(CasemateError):
    """The deployed endpoint refused (rate limit, quota, control)."""


def need(module: str, extra: str, why: str) -> ModuleType:
    """Import an optional module, or say how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(module.split(".")[0], extra, why) from error
