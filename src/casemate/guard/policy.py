"""A guard's policy as a file: which controls, with which parameters, in which mode.

Everything wrong with it is said at once, with file and line. Nothing is ignored: a key that nobody reads would be a
control that somebody believes in.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml

from ..core.control import controls as known_controls
from ..core.errors import BadSystem, Problem, UsageError
from .account import Accounts
from .admission import Hosted
from .events import Sink
from .middleware import App, Guard, Limits
from .route import Paths
from .schema import Schema

T = TypeVar("T")
_KEYS = ("guard", "app", "controls", "account", "schema", "paths", "limits", "on_fault", "unreadable")
_CONTROL_KEYS = ("use", "params", "mode", "threats")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a guard does. `read` makes one from a file, `of` from a mapping, `wrap` puts it around an application."""

    controls: tuple[Hosted, ...]
    app: str = ""
    account: Accounts = field(default_factory=Accounts)
    schema: Schema = field(default_factory=Schema)
    paths: Paths = field(default_factory=Paths)
    limits: Limits = field(default_factory=Limits)
    on_fault: Literal["closed", "open"] = "closed"
    unreadable: Literal["refuse", "pass"] = "refuse"
    folder: str = ""  # where the application is looked for

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The policy in a YAML file.

        Raises:
            BadSystem: With every problem in the file.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: cannot be read ({error})") from error
        lines: dict[str, int] = {}
        try:
            node = yaml.compose(text, Loader=_Loader)
            if node is not None:
                _walk(node, "", lines, str(path))
            data = yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = str(getattr(error, "problem", None) or error)
            raise BadSystem([Problem(str(path), mark.line + 1 if mark else 1, "policy", problem)]) from error
        return cls.of(data, file=str(path), lines=lines)

    @classmethod
    def of(cls, data: Any, *, file: str = "<policy>", lines: Mapping[str, int] | None = None) -> Self:
        """The policy in a mapping."""
        reader = _Reader(file, lines or {})
        policy = cls(**reader.policy(data), folder=str(Path(file).resolve().parent) if lines is not None else "")
        if reader.problems:
            raise BadSystem(reader.problems)
        return policy

    def wrap(self, app: App, *, sink: Sink | None = None) -> Guard:
        """A guard around `app`. Its first events are the `cautions`."""
        named = ("controls", "account", "schema", "paths", "limits", "on_fault", "unreadable")
        guard = Guard(app, sink=sink, **{name: getattr(self, name) for name in named})
        for reason in self.cautions:
            guard.caution(reason)
        return guard

    @property
    def cautions(self) -> tuple[str, ...]:
        """Settings under which a cap on rows holds only if something outside the guard does its part."""
        found = []
        if self.account.trust:
            found.append(
                "account.trust is on: any value of the account header is a new account with a budget of its own; "
                "something in front must check it and nobody may reach this port past that"
            )
        if self.schema.kind != "raw" and self.schema.row_shape is None:
            found.append(
                "schema.row_shape is not set: only the first dimension counts as rows; "
                "the server must refuse any shape it was not made for"
            )
        return tuple(found)


class _Loader(yaml.SafeLoader):
    """No aliases: a policy needs none, and a few of them can stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed in a policy", mark)
        return super().compose_node(parent, index)


def _walk(node: Any, path: str, lines: dict[str, int], file: str) -> None:
    """Note the line of every key. A key that is there twice is an error: YAML would keep the last in silence."""
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = f"{path}.{key.value}" if path else str(key.value)
            if inner in lines:
                raise BadSystem([Problem(file, key.start_mark.line + 1, inner, "is there twice", "keep one")])
            lines[inner] = key.start_mark.line + 1
            _walk(value, inner, lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, f"{path}[{index}]", lines, file)


class _Reader:
    """Collects problems while it reads."""

    def __init__(self, file: str, lines: Mapping[str, int]) -> None:
        self._file, self._lines = file, lines
        self.problems: list[Problem] = []

    def policy(self, data: Any) -> dict[str, Any]:
        found: dict[str, Any] = {"controls": ()}
        if not self._mapping(data, "", _KEYS):
            return found
        if data.get("guard") != 1 or isinstance(data.get("guard"), bool):
            self._say("guard", f"must be 1, the version of this format; got {data.get('guard')!r}", "write: guard: 1")
        hosted = data.get("controls")
        if not isinstance(hosted, list) or not hosted:
            self._say("controls", "must be a list of at least one control")
        else:
            found["controls"] = tuple(h for i, c in enumerate(hosted) if (h := self._control(c, f"controls[{i}]")))
        if "account" in data and (account := self._account(data["account"])):
            found["account"] = account
        kinds: tuple[tuple[str, type[Any]], ...] = (("schema", Schema), ("paths", Paths), ("limits", Limits))
        for key, kind in kinds:
            if key in data and (section := self._section(kind, data[key], key)) is not None:
                found[key] = section
        for key, allowed in (("on_fault", ("closed", "open")), ("unreadable", ("refuse", "pass"))):
            if key in data and data[key] not in allowed:
                self._say(key, f"must be {' or '.join(allowed)}; got {data[key]!r}")
            elif key in data:
                found[key] = data[key]
        if not isinstance(data.get("app", ""), str):
            self._say("app", f"must be module:name; got {data['app']!r}")
        elif data.get("app"):
            found["app"] = data["app"]
        return found

    def _control(self, data: Any, path: str) -> Hosted | None:
        if not self._mapping(data, path, _CONTROL_KEYS):
            return None
        try:
            kind = known_controls.get(str(data.get("use", "")))
        except UsageError as error:
            self._say(f"{path}.use", str(error))
            return None
        params = data.get("params") or {}
        names = tuple(f.name for f in dataclasses.fields(kind))
        if not self._mapping(params, f"{path}.params", names):
            return None
        threats = data.get("threats") or []
        if not isinstance(threats, list) or not all(isinstance(t, str) for t in threats):
            self._say(f"{path}.threats", "must be a list of threat ids")
            return None
        mode: Any = data.get("mode", "enforce")
        mode = "off" if mode is False else mode  # YAML reads a bare off as false
        return self._made(lambda: Hosted(control=kind(**params), mode=mode, threats=tuple(threats)), path)

    def _account(self, data: Any) -> Accounts | None:
        names = ("header", "keys", "trust", "unknown", "anonymous", "salt_env")
        if not self._mapping(data, "account", names):
            return None
        given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        env = given.pop("salt_env", None)
        if env is not None:
            salt = os.environ.get(str(env), "")
            if not salt:
                self._say("account.salt_env", f"{env!r} is not set in the environment", "set it to 8 to 64 random bytes")
                return None
            given["salt"] = salt.encode()
        return self._made(lambda: Accounts(**given), "account")

    def _section(self, kind: type[T], data: Any, path: str) -> T | None:
        names = tuple(f.name for f in dataclasses.fields(kind) if f.init)  # type: ignore[arg-type]
        if not self._mapping(data, path, names):
            return None
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
        return self._made(lambda: kind(**given), path)

    def _made(self, make: Callable[[], T], path: str) -> T | None:
        try:
            return make()
        except (UsageError, TypeError, ValueError) as error:
            self._say(path, str(error))
            return None

    def _mapping(self, data: Any, path: str, names: tuple[str, ...]) -> bool:
        """Whether `data` is a mapping of known keys only."""
        if not isinstance(data, Mapping):
            self._say(path or "policy", f"must be a mapping; got {type(data).__name__}", f"keys: {', '.join(names)}")
            return False
        unknown = [key for key in data if key not in names]
        for key in unknown:
            close = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(names)}"
            self._say(f"{path}.{key}" if path else str(key), "is not a key of a policy here", hint)
        return not unknown or not path  # at the top the rest is still worth reading

    def _say(self, path: str, message: str, suggestion: str = "") -> None:
        at = path
        while at and at not in self._lines:
            at = at.rpartition(".")[0]
        self.problems.append(Problem(self._file, self._lines.get(at, 1), path, message, suggestion))
