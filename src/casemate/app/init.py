"""`casemate init`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .echo import echo

_LATER, _STOP, _WHY = "unknown", "q", "?"


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default="system.yaml")
@click.option("--from", "sources", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="Fill in facts from a model, a model card, an ML-BOM, MLmodel, OpenAPI, compose, Kubernetes. Repeatable.")
@click.option("--accept", multiple=True, metavar="FACT[=FILE]",
              help="With --from: take the imported value here (api.endpoint.auth); where files conflict, that of FILE.")
@click.option("--component", help="With --from: the component that a model file or card is about.")
@click.option("--ask/--no-ask", default=None, help="Ask the open questions now, or do not. Left out: where there is a terminal.")
@click.option("--again", is_flag=True, help="Ask again what was answered with unknown.")
@click.option("--defaults", is_flag=True, help="Ask nothing at all: a caller and a service, and every fact unknown.")
@click.option("--force", is_flag=True, help="Begin anew where the file exists.")
def init(
    path: Path, sources: tuple[Path, ...], accept: tuple[str, ...], component: str | None, ask: bool | None, again: bool,
    defaults: bool, force: bool,
) -> int:  # fmt: skip
    """Write a description of your system to PATH, or go on with it: import what files say, ask what the rules need to know.

    Every answer is written at once, so stop whenever you like (q) and call it again later. "unknown" is a good answer: it
    becomes a question of the report instead of a silent pass. Imported facts are marked as such, and never replace what
    you stated: where they differ, both are shown.
    """
    from ..core.errors import UsageError

    asking = not defaults and (sys.stdin.isatty() if ask is None else ask)
    fresh = force or not path.exists()
    if not fresh and not (asking or sources):
        raise UsageError(f"{str(path)!r} exists; --ask goes on with it, --from FILE adds to it, --force begins anew")
    if not path.parent.is_dir():
        raise UsageError(f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}; make it first")
    text = None if fresh else _read(path)
    left = 0
    if sources:
        text, left = _import(text, path, sources, accept, component)
    elif text is None and not asking:
        text = _sketch(path)
    if asking:
        text = _interview(path, text, again)
    return _end(path, text, left)


def _read(path: Path) -> str:
    from ..threats.load import load

    load(path)  # what is wrong with it is told before anything is asked
    return path.read_bytes().decode("utf-8")


def _sketch(path: Path) -> str:
    """Somebody who sends inputs to a service, and nothing that nobody said."""
    from ..imports.opening import sketched

    text = sketched(_stem(path))
    _save(path, text)
    return text


def _stem(path: Path) -> str:
    return path.stem or "system"


def _save(path: Path, text: str) -> None:
    """Whole or not at all; what is written must read: a slip here is ours, and is found before the file is touched."""
    from ..core.errors import UsageError
    from ..report._files import replace_file
    from ..threats.load import loads

    loads(text, name=str(path), folder=str(path.parent))
    try:
        replace_file(path, text)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror or error}; give another path") from error


# Importing -----------------------------------------------------------------------------------------------------------


def _import(
    text: str | None, path: Path, sources: Sequence[Path], accept: tuple[str, ...], component: str | None
) -> tuple[str, int]:
    """Write what the files say, then say what was written.

    Returns:
        The text, and how many things are left for a person to decide.
    """
    from ..imports.merge import merge
    from ..imports.read import read

    found = [read(source) for source in sources]
    merged = merge(text, found, name=str(path), accept=accept, component=component, folder=str(path.parent))
    _save(path, merged.text)
    for one in found:
        echo(f"{one.file}: {one.format}, {len(one.facts)} facts")
        _list("note", one.notes)
    _list("added", [f"{claim.path} = {claim.value} ({claim.file}: {claim.because})" for claim in merged.added])
    _list("added", merged.elements)
    _list("replaced, as accepted", merged.accepted)
    _list("not written", merged.unplaced)
    _list("note", merged.notes)
    _list("DIFFERS from what is stated, left as it is (--accept FACT takes the imported value)", merged.differences)
    _list("CONFLICT between files, neither was written (--accept FACT=FILE takes what that file says)", merged.conflicts)
    return merged.text, len(merged.differences) + len(merged.conflicts)


def _list(title: str, rows: Sequence[Any]) -> None:
    for row in rows:
        echo(f"  {title}: {row}")


# Asking --------------------------------------------------------------------------------------------------------------


def _interview(path: Path, text: str | None, again: bool) -> str | None:
    """Ask until nothing is open or the person stops; the answer decides what is asked next.

    Returns:
        The text as it is now in the file; None where nothing was answered and there was none.
    """
    from ..imports.opening import begun

    fresh = text is None
    now = begun(_stem(path)) if text is None else text
    passed: set[str] = set()
    seen: set[str] = set()
    made = False
    echo(f"Answer, or: {_LATER} (or just Enter) for not known, {_WHY} why it is asked, {_STOP} to stop; all is kept in {path}.")
    while True:
        system, open_ = _open(path, now, fresh, again)
        if made:  # an asset of which the answer was "unknown": under its own name it is not asked at once again
            passed |= {ask.path for ask in open_ if ask.asked and ask.path not in seen}
        seen |= {ask.path for ask in open_}
        open_ = [ask for ask in open_ if ask.path not in passed]
        if not open_:
            return text
        try:
            answer = _answer(open_[0], len(open_))
        except (click.Abort, EOFError, KeyboardInterrupt):  # the end of the input, or Ctrl-C: what was answered stays
            echo("")
            return text
        if answer == _STOP:
            return text
        passed.add(open_[0].path)
        made = answer == _LATER and open_[0].path.startswith("assets(")
        new = _write(path, now, system, open_[0], answer)
        if new is not None:
            text = now = new
        elif answer != _LATER:  # it did not fit, and is asked for again
            passed.discard(open_[0].path)


def _open(path: Path, text: str, fresh: bool, again: bool) -> tuple[Any, list[Any]]:
    """The description, and what is still to be asked: its shape first."""
    from ..imports.interview import asks
    from ..imports.opening import openings
    from ..threats.load import loads

    system = loads(text, name=str(path), folder=str(path.parent))
    first = openings(system, fresh=fresh)
    known = {ask.path for ask in first}
    listed = [*first, *(ask for ask in asks(system) if ask.path not in known)]
    return system, [ask for ask in listed if again or not ask.asked]


def _answer(ask: Any, left: int) -> str:
    choice = f" [{'/'.join((*ask.allowed, _LATER))}]" if ask.allowed else f" ({ask.form})" if ask.form else ""
    while True:
        echo(f"\n{ask.text}{choice}  ({left} open)")
        answer = str(click.prompt("", default=_LATER, prompt_suffix="> ", show_default=False)).strip()
        if answer != _WHY:
            return answer or _LATER
        decides = f"{ask.path} decides {', '.join(ask.threats)}; the gravest has impact {ask.impact} of 4"
        echo(f"  {ask.why or decides}.")


def _write(path: Path, text: str, system: Any, ask: Any, answer: str) -> str | None:
    """The text with the answer, written; None where the answer does not fit, which is told."""
    from ..core.errors import UsageError
    from ..imports.opening import opened

    try:
        new = opened(text, system, ask, answer)
        _save(path, new)
    except UsageError as error:
        echo(f"  {error}")
        return None
    return new


# The end -------------------------------------------------------------------------------------------------------------


def _end(path: Path, text: str | None, left: int) -> int:
    from ..imports.opening import missing, untaught
    from ..threats.derive import derive

    if text is None:
        echo(f"Nothing was answered, so {path} was not written.")
        return 0
    system, open_ = _open(path, text, fresh=False, again=False)
    result, lacking = derive(system), missing(system)
    if lacking:
        much = "little" if result.threats or result.questions else "nothing"
        echo(f"{path}: {lacking}: {much} can be derived; casemate init {path} --ask asks.")
    if not lacking or result.threats or result.questions:
        _count(path, system, result, len(open_))
        if untaught(system):
            echo(f"Note: {untaught(system)}.")
    if left:
        echo(f"{left} to decide: see DIFFERS and CONFLICT above.")
    return 1 if left else 0


def _count(path: Path, system: Any, result: Any, unasked: int) -> None:
    echo(f"{path}: {_many(len(result.threats), 'threat')} derived, {_many(len(result.questions), 'open question')}.")
    if unasked:
        them = "it" if unasked == 1 else "them"
        echo(f"{_many(unasked, 'question')} left that nobody was asked: casemate init {path} --ask goes on with {them}.")
    bound = "" if system.target else "bind your model in system.target and run "
    echo(f"Next: casemate threats {path}; then {bound}casemate assess {path}")


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
