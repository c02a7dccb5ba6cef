"""`casemate init`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .echo import echo

# The shape of the system. All else is asked by the rules that need it.
_FIRST = (
    ("name", "What is the system called", "my-system", None),
    ("modality", "What goes into the model", "tabular", ("tabular", "image", "text", "audio", "timeseries", "graph", "bytes")),
    ("task", "What does it decide", "binary",
     ("binary", "multiclass", "regression", "detection", "ranking", "seq", "anomaly")),
    ("caller", "Who sends inputs", "customer",
     ("anonymous", "customer", "paid_account", "partner", "data_provider", "insider")),
    ("on_device", "Does the model run on the user's own device", "no", ("yes", "no")),
)  # fmt: skip
_LATER, _STOP, _WHY = "unknown", "q", "?"


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default="system.yaml")
@click.option("--from", "sources", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="Fill in facts from a model, a model card, an ML-BOM, MLmodel, OpenAPI, compose, Kubernetes. Repeatable.")
@click.option("--accept", multiple=True, metavar="FACT", help="With --from: take the imported value here (api.endpoint.auth).")
@click.option("--component", help="With --from: the component that a model file or card is about.")
@click.option("--ask/--no-ask", default=None, help="Ask the open questions now, or do not. Left out: where there is a terminal.")
@click.option("--again", is_flag=True, help="Ask again what was answered with unknown.")
@click.option("--defaults", is_flag=True, help="Ask nothing at all: every fact that matters stays unknown.")
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
    text = None if fresh and sources else _begun(asking) if fresh else _read(path)
    left = 0
    if sources:
        left = _import(text, path, sources, accept, component)
    elif text is not None:
        _save(path, text)
    if asking:
        _interview(path, again)
    return _end(path, left)


def _read(path: Path) -> str:
    from ..threats.load import load

    load(path)  # what is wrong with it is told before anything is asked
    return path.read_bytes().decode("utf-8")


def _begun(asking: bool) -> str:
    answers = {key: _choose(text, default, allowed) if asking else default for key, text, default, allowed in _FIRST}
    return skeleton(answers)


def _choose(text: str, default: str, allowed: tuple[str, ...] | None) -> str:
    kind: Any = click.Choice(allowed) if allowed else str
    return str(click.prompt(text, default=default, type=kind)).strip()


def _save(path: Path, text: str) -> None:
    """Whole or not at all; what is written must read: a slip here is ours, and is found before the file is touched."""
    from ..core.errors import UsageError
    from ..report._files import replace_file
    from ..threats.load import loads

    loads(text, name=str(path), folder=str(path.parent))
    if not path.parent.is_dir():
        raise UsageError(f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}; make it first")
    try:
        replace_file(path, text)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror or error}; give another path") from error


# Importing -----------------------------------------------------------------------------------------------------------


def _import(
    text: str | None, path: Path, sources: Sequence[Path], accept: tuple[str, ...], component: str | None
) -> int:
    """Write what the files say, then say what was written; how many things are left for a person to decide."""
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
    _list("CONFLICT between files, neither was written", merged.conflicts)
    return len(merged.differences) + len(merged.conflicts)


def _list(title: str, rows: Sequence[Any]) -> None:
    for row in rows:
        echo(f"  {title}: {row}")


# Asking --------------------------------------------------------------------------------------------------------------


def _interview(path: Path, again: bool) -> None:
    """Ask until nothing is open or the person stops. The answer decides what is asked next."""
    from ..imports.interview import asks
    from ..threats.load import load

    passed: set[str] = set()
    echo(f"Answer, or: {_LATER} (or just Enter) for not known, {_WHY} why it is asked, {_STOP} to stop; all is kept in {path}.")
    while True:
        system = load(path)
        open_ = [a for a in asks(system) if a.path not in passed and (again or not a.asked)]
        if not open_:
            return
        ask = open_[0]
        answer = _answer(ask, len(open_))
        if answer == _STOP:
            return
        passed.add(ask.path)
        _write(path, system, ask, answer, passed)


def _answer(ask: Any, left: int) -> str:
    choice = f" [{'/'.join((*ask.allowed, _LATER))}]" if ask.allowed else f" ({ask.form})" if ask.form else ""
    while True:
        echo(f"\n{ask.text}{choice}  ({left} open)")
        answer = str(click.prompt("", default=_LATER, prompt_suffix="> ", show_default=False)).strip()
        if answer != _WHY:
            return answer
        echo(f"  {ask.path} decides {', '.join(ask.threats)}; the gravest has impact {ask.impact} of 4.")


def _write(path: Path, system: Any, ask: Any, answer: str, passed: set[str]) -> None:
    """Write the answer; one that does not fit is told and asked for again."""
    from ..core.errors import UsageError
    from ..imports.interview import answered

    try:
        _save(path, answered(path.read_bytes().decode("utf-8"), system, ask, answer))
    except UsageError as error:
        echo(f"  {error}")
        if answer != _LATER:
            passed.discard(ask.path)


def _end(path: Path, left: int) -> int:
    from ..threats.derive import derive
    from ..threats.load import load

    result = derive(load(path))
    echo(f"{path}: {len(result.threats)} threats derived, {len(result.questions)} open questions.")
    if left:
        echo(f"{left} to decide: see DIFFERS and CONFLICT above.")
    bound = "" if load(path).target else "bind your model in system.target and run "
    echo(f"Next: casemate threats {path}; then {bound}casemate assess {path}")
    return 1 if left else 0


def skeleton(answers: dict[str, str]) -> str:
    """The YAML text of a first description: its shape, and nothing that nobody said."""
    import json

    name = json.dumps(answers["name"])  # quoted: a name may hold anything
    device = answers["on_device"] == "yes"
    kind, zone = ("edge_runtime", "device") if device else ("server", "service")
    home = "{id: device, trust: user_device}" if device else "{id: service, trust: prod}"
    can = "query, read_binary" if device else "query"
    return f"""# Facts are yes, no or unknown; what is left out is unknown. `casemate schema` helps your editor.
casemate: 1
system:
  name: {name}
  task: {answers["task"]}
  modality: {answers["modality"]}
  # To attack it, bind your own functions (module:function, beside this file):
  # target:
  #   - component: model
  #     factory: "bind:target"      # returns an nn.Module, an estimator, an .onnx path, a callable, or cm.wrap(...)
  #     data: "bind:holdout"        # returns (x, y) that no training saw
  #     recipe: "bind:recipe"       # returns cm.Recipe(fit, x, y): for poisoning, membership, hardening by training
  #     within: {{kind: ball, norm: linf, radius: 0.05, low: 0.0, high: 1.0}}
zones:
  - {{id: outside, trust: public}}
  - {home}
principals:
  - {{id: caller, kind: {answers["caller"]}, zone: outside}}
components:
  - id: model
    kind: {kind}
    zone: {zone}
flows:
  - {{from: caller, to: model, channel: https}}
access:
  - {{principal: caller, on: model, can: [{can}], unsure: [see_label, see_score]}}
"""
