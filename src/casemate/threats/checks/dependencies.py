"""Whether what gets installed is pinned and hashed, by the lock file: requirements, poetry, uv, Pipfile and PEP 751."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casemate.core.entities import Component
from casemate.core.fact import Truth
from casemate.core.system import System
from casemate.threats.checks.outcome import Measured, Said, unread
from casemate.threats.checks.within import CannotRead, Folder, printable

NAME = "dependencies.lock"
_DEEP = 8  # requirements files that include one another
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXACT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(?:\[[^\]]*\])?\s*={2,3}\s*[^\s,*;]+\s*(?:;.*)?\Z")
_HASH = re.compile(r"--hash[= ](?:sha256|sha384|sha512):[0-9A-Fa-f]{64,128}\b")
_FRAGMENT = re.compile(r"#(?:.*&)?sha(?:256=[0-9a-f]{64}|384=[0-9a-f]{96}|512=[0-9a-f]{128})\b", re.IGNORECASE)
_COMMIT = re.compile(r"@[0-9a-f]{40}(?:#|\s|;|\Z)", re.IGNORECASE)
_DIGEST = re.compile(r"(?:sha256|sha384|sha512)[:=]?[0-9A-Fa-f]{64,128}\Z")


@dataclass(frozen=True, slots=True)
class Package:
    """One package as a lock file states it: where, and whether its version and its content are certain."""

    name: str
    file: str
    line: int
    pinned: bool
    hashed: bool


def lock(system: System, component: Component, folder: Folder, /) -> Iterator[Said]:
    """`dependencies.pinned` and `dependencies.hashed`, from the file that `dependencies.path` names."""
    record = component.dependencies
    if record is None or not record.path:
        return
    asked = f"{component.id}.dependencies.path"
    try:
        path = _chosen(folder, folder.find(record.path))
        packages = tuple(_reader(folder, path)(folder, path))
        if not packages:
            raise CannotRead(f"{folder.shown(path)} names no package that is fetched from elsewhere")
    except CannotRead as error:
        yield unread(system, asked, str(error), NAME)
        return
    for fact, words in (("pinned", "is not pinned to one version"), ("hashed", "has no hash of its content")):
        loose = [p for p in packages if not getattr(p, fact)]
        first = loose[0] if loose else Package("", folder.shown(path), 0, True, True)
        because = f"{printable(first.name)} {words}" if loose else f"each of the {len(packages)} packages is {fact}"
        because += f", and {len(loose) - 1} more" if len(loose) > 1 else ""
        value = Truth.of(not loose)
        where = f"{component.id}.dependencies.{fact}"
        yield Measured(path=where, value=value, because=because, check=NAME, file=first.file, line=first.line)


_KNOWN = "pylock.toml, uv.lock, poetry.lock, Pipfile.lock, requirements.txt"


def _chosen(folder: Folder, path: Path) -> Path:
    """The file itself; in a folder, the one that says most."""
    if not path.is_dir():
        return path
    for name in _KNOWN.split(", "):
        if (path / name).is_file() and not (path / name).is_symlink():
            return path / name
    raise CannotRead(f"{folder.shown(path)} holds none of {_KNOWN}")


def _reader(folder: Folder, path: Path) -> Callable[[Folder, Path], Iterator[Package]]:
    name = path.name
    if name == "Pipfile.lock":
        return _pipfile
    if name in ("poetry.lock", "uv.lock") or re.fullmatch(r"pylock(\.[^.]+)?\.toml", name):
        return _toml
    if path.suffix in (".txt", ".in"):
        return requirements
    raise CannotRead(f"{folder.shown(path)} is no lock file that is known here; known: {_KNOWN}")


# requirements.txt ----------------------------------------------------------------------------------------------------


def requirements(folder: Folder, path: Path, above: tuple[Path, ...] = ()) -> Iterator[Package]:
    """The requirements of a file and of those it includes; constraints pin nothing by themselves."""
    if path in above or len(above) > _DEEP:
        raise CannotRead(f"{folder.shown(path)} is included again and again")
    for line, text in _logical(folder.text(path)):
        option = re.match(r"(?:-r|--requirement)[\s=]*(\S+)", text)
        if option:
            yield from requirements(folder, folder.beside(path, option[1]), (*above, path))
            continue
        spec = re.sub(r"^(?:-e|--editable)[\s=]*", "", text)
        if not spec.startswith(("-", ".", "/", "file:")):  # an option, or what lies beside it
            yield _required(spec, folder.shown(path), line)


def _logical(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their continuations, without comments; the number is that of the first."""
    start, held = 0, ""
    for number, line in enumerate((*text.splitlines(), ""), 1):
        start = start if held else number
        more = line.endswith("\\")
        held += re.sub(r"(^|\s)#.*$", "", line.removesuffix("\\")) + " "
        if not more:
            if held.strip():
                yield start, held.strip()
            held = ""


def _required(text: str, file: str, line: int) -> Package:
    """One requirement, with its hashes, as a line of the file states it."""
    spec = text.split(" --")[0].strip()
    name = _NAME.match(spec)
    hashed = bool(_HASH.search(text) or _FRAGMENT.search(spec))
    commit = bool(_COMMIT.search(spec)) and "+" in spec  # a commit is the digest of a tree
    exact = bool(_EXACT.match(spec)) if "://" not in spec else hashed
    return Package(name[0] if name else "a package", file, line, exact or commit, hashed or commit)


# Lock files ----------------------------------------------------------------------------------------------------------


def _parsed(folder: Folder, path: Path, parse: Callable[[str], Any]) -> tuple[str, dict[str, Any]]:
    text = folder.text(path)
    try:
        data = parse(text)
    except (ValueError, RecursionError):
        raise CannotRead(f"{folder.shown(path)} is not what its name says: it cannot be parsed") from None
    if not isinstance(data, dict):
        raise CannotRead(f"{folder.shown(path)} is not what its name says: it holds no table")
    return text, data


def _pipfile(folder: Folder, path: Path) -> Iterator[Package]:
    text, data = _parsed(folder, path, json.loads)
    for section in ("default", "develop"):
        for name, entry in _table(data.get(section)).items():
            entry = _table(entry)
            if "path" in entry or str(entry.get("file", "")).startswith("."):  # lies beside it
                continue
            commit = _is_commit(entry.get("ref"))
            exact = str(entry.get("version", "")).startswith("==") and "*" not in str(entry.get("version"))
            line = _line_of(text, f'"{name}"')
            yield Package(name, folder.shown(path), line, exact or commit, commit or _digests(entry.get("hashes")))


def _toml(folder: Folder, path: Path) -> Iterator[Package]:
    """poetry.lock and uv.lock list `package`, pylock.toml lists `packages`."""
    text, data = _parsed(folder, path, tomllib.loads)
    listed = data.get("package", data.get("packages"))
    older = _table(_table(data.get("metadata")).get("files"))  # poetry before 1.5 kept the hashes apart
    at = 0
    for entry in map(_table, listed if isinstance(listed, list) else ()):
        name = str(entry.get("name", "a package"))
        at = text.find(f'name = "{name}"', at + 1)
        line = text.count("\n", 0, at) + 1 if at >= 0 else 0
        if not _own(entry):
            commit = _commit(entry)
            pinned = bool(entry.get("version")) or commit or bool(_table(entry.get("archive")))
            hashed = commit or _content(entry) or _digests([_table(f).get("hash") for f in _list(older.get(name))])
            yield Package(name, folder.shown(path), line, pinned, hashed)


def _own(entry: dict[str, Any]) -> bool:
    """The project itself, or a folder beside it: nothing is fetched."""
    source = _table(entry.get("source"))
    local = {"editable", "virtual", "directory"} & source.keys() or source.get("type") == "directory"
    return bool(local) or "directory" in entry


def _commit(entry: dict[str, Any]) -> bool:
    source, vcs = _table(entry.get("source")), _table(entry.get("vcs"))
    uv = str(source.get("git", "")).rpartition("#")[2]
    return any(map(_is_commit, (source.get("resolved_reference"), vcs.get("commit-id"), uv)))


def _content(entry: dict[str, Any]) -> bool:
    """Whether every file that may be installed has a digest, in the words of any of the formats."""
    files = [*_list(entry.get("files")), *_list(entry.get("wheels")), *(entry[k] for k in ("sdist", "archive") if k in entry)]
    found = []
    for file in map(_table, files):
        hashes = [f"{kind}:{value}" for kind, value in _table(file.get("hashes")).items()]
        found.append(any(_digests([one]) for one in (file.get("hash"), *hashes)))
    return bool(found) and all(found)


def _digests(hashes: Any) -> bool:
    listed = _list(hashes)
    return bool(listed) and all(isinstance(one, str) and _DIGEST.match(one) for one in listed)


def _is_commit(word: Any) -> bool:
    return isinstance(word, str) and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", word) is not None


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _line_of(text: str, word: str) -> int:
    at = text.find(word)
    return text.count("\n", 0, at) + 1 if at >= 0 else 0
