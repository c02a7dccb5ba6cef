"""The policy of a gate: a small file with one line for each rule, and what happens when it is not met.

    casemate: 1
    gate:
      severity_at_least: high        # a value: fail from here on
      prior_severity_at_least: {at: critical, then: warn}
      new_without_disposition: fail  # or warn, or ignore
      cost_drop_percent: warn        # with the value it has by default

A rule that is not named keeps its default. `python -m casemate.runs.gate_policy` writes the shipped JSON Schema.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core.finding import SEVERITIES
from ..threats.dispositions import MAX_DAYS
from ..threats.forms import Form
from ..threats.nodes import Node, compose, read

VERSION = 1
SHIPPED = Path(__file__).parent / "gate.schema.json"
Then = Literal["fail", "warn", "ignore"]
_THEN = ("fail", "warn", "ignore")
_GRADES = SEVERITIES[:4]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One rule: what happens, at which value, and whether the file says so (`stated`) or it is the default."""

    then: Then
    at: Any = None
    stated: bool = False


RULES: Mapping[str, tuple[Setting, str]] = {
    "new_without_disposition": (
        Setting(then="fail"),
        "a threat that the baseline does not have, and that nobody has decided about by its id",
    ),
    "replaced": (
        Setting(then="warn"),
        "a new threat in place of one that went away: the same attacker, element and goal, at no lower cost, not decided about",
    ),
    "regressed": (Setting(then="fail"), "a threat that is broken and was not in the baseline, or moved for the worse"),
    "severity_at_least": (Setting(then="fail", at="high"), "a measured break of this severity or worse, not decided about"),
    "prior_severity_at_least": (
        Setting(then="warn", at="critical"),
        "a threat that nobody measured, of this severity by the catalogue's prior, not decided about",
    ),
    "cost_drop_percent": (
        Setting(then="fail", at=20),
        "a break that costs so much less than in the baseline, and outside its interval",
    ),
    "expired": (Setting(then="fail"), "a decision that has ended, a fix that is late"),
    "violated": (
        Setting(then="fail"),
        "a decision whose condition the measurement no longer meets, or a false positive that was broken",
    ),
    "max_days": (
        Setting(then="fail", at=MAX_DAYS),
        "a decision that runs for more days than this, whatever the dispositions file allows",
    ),
    "orphaned": (Setting(then="warn"), "a decision about a threat that there is not"),
    "stale_evidence": (
        Setting(then="warn"),
        "evidence made for something else than what is described now, or that only the baseline has",
    ),
    "unknown_in_critical": (Setting(then="warn"), "an open question that a threat of impact 4 waits for"),
    "undecided": (
        Setting(then="fail"),
        "an attack that failed or did not decide; what the baseline knew and nobody knows now: it cannot be told",
    ),
    "nothing_judged": (Setting(then="fail"), "a system without a threat, or with open questions only: it cannot be told"),
    "same_system": (
        Setting(then="fail"),
        "a report and a baseline or --description of another name, or a system that only the baseline has: it cannot be told",
    ),
    "taxonomy": (Setting(then="fail"), "a rule that cites an id, name or release that is not in the shipped tables"),
    "max_open_days": (Setting(then="warn", at=90), "a break that stays open, or a fix that stays promised, for longer"),
}
# Not met, these make no failure but a gate that could not tell, unless the policy says warn or ignore.
UNTOLD = ("undecided", "nothing_judged", "same_system")
_LIMITS = {"cost_drop_percent": (0.0, 100.0), "max_open_days": (0.0, 3650.0), "max_days": (1.0, 3650.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What each rule of the gate leads to."""

    rules: Mapping[str, Setting] = field(default_factory=lambda: {name: setting for name, (setting, _) in RULES.items()})

    def __getitem__(self, name: str) -> Setting:
        return self.rules[name]


def read_policy(path: str | Path) -> Policy:
    """A policy from its file.

    Raises:
        BadSystem: with every problem of the file, each with its line.
    """
    return _read(read(Path(path), str(path)))


def policy_of(text: str | bytes, *, name: str = "<text>") -> Policy:
    """`read_policy`, for text that is already in memory."""
    return _read(compose(text.encode() if isinstance(text, str) else text, name))


def _read(root: Node) -> Policy:
    form = Form()
    top = form.entries(root, "", ("casemate", "gate"), must=("casemate", "gate"))
    form.version(top, VERSION)
    stated = form.entries(top["gate"], "gate", RULES) if "gate" in top else {}
    rules = {name: setting for name, (setting, _) in RULES.items()}
    for name, node in stated.items():
        rules[name] = dataclasses.replace(_setting(form, name, node, rules[name]), stated=True)
    form.done()
    return Policy(rules=rules)


def _setting(form: Form, name: str, node: Node, default: Setting) -> Setting:
    if node.scalar and node.text in _THEN:
        return dataclasses.replace(default, then=node.text)  # type: ignore[arg-type]
    if default.at is None:
        if node.entries is None:
            form.choice({name: node}, name, "gate", _THEN)
            return default
        entries = form.entries(node, f"gate.{name}", ("then",), must=("then",))
        return dataclasses.replace(default, then=form.choice(entries, "then", f"gate.{name}", _THEN) or default.then)  # type: ignore[arg-type]
    if node.entries is None:
        return dataclasses.replace(default, then="fail", at=_at(form, {name: node}, name, name, "gate", default.at))
    entries = form.entries(node, f"gate.{name}", ("at", "then"))
    then = form.choice(entries, "then", f"gate.{name}", _THEN) if "then" in entries else "fail"
    at = _at(form, entries, "at", name, f"gate.{name}", default.at) if "at" in entries else default.at
    return dataclasses.replace(default, then=then or "fail", at=at)  # type: ignore[arg-type]


def _at(form: Form, entries: dict[str, Node], key: str, name: str, path: str, default: Any) -> Any:
    if name in _LIMITS:
        found = form.number(entries, key, path, *_LIMITS[name])
        return default if found is None else found
    return form.choice(entries, key, path, (*_GRADES, *(() if key == "at" else _THEN))) or default


def schema() -> dict[str, Any]:
    """The schema of a policy file, from the table of rules."""
    then = {"enum": list(_THEN)}
    rules: dict[str, Any] = {}
    for name, (setting, text) in RULES.items():
        low, high = _LIMITS.get(name, (0.0, 0.0))
        at = {"type": "number", "minimum": low, "maximum": high} if name in _LIMITS else {"enum": list(_GRADES)}
        keys = {"then": then} if setting.at is None else {"at": at, "then": then}
        whole = {"type": "object", "additionalProperties": False, "properties": keys}
        shapes = [then, {**whole, "required": ["then"]}] if setting.at is None else [then, at, whole]
        rules[name] = {"description": text, "anyOf": shapes}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "casemate gate policy",
        "type": "object",
        "additionalProperties": False,
        "required": ["casemate", "gate"],
        "properties": {
            "casemate": {"const": VERSION, "description": "version of this language"},
            "gate": {"type": "object", "additionalProperties": False, "properties": rules},
        },
    }


def schema_text() -> str:
    """The shipped file, byte for byte."""
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    SHIPPED.write_text(schema_text(), encoding="utf-8")
