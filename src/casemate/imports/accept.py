"""What a person takes from the files: `--accept api.endpoint.auth`, or `api.endpoint.auth=openapi.yaml` where files conflict."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from casemate.core.errors import UnknownName
from casemate.imports.claims import Claim
from casemate.imports.gather import MODEL

# What says which model file a component has; and what a file says that holds only if it is that one.
WHICH = ("artifact.path", "artifact.format", "artifact.digest")
_ITS_OWN = ("artifact.", "model.")


class Accepted:
    """The facts that are taken from files, each perhaps from one file only.

    Args:
        accept: As the user wrote them. `$model` may stand for its component, `model`.
    """

    def __init__(self, accept: Collection[str], model: str) -> None:
        self.wanted: dict[str, tuple[str, str]] = {}
        self.used: set[str] = set()
        for written in accept:
            path, _, file = written.partition("=")
            self.wanted[written] = (path.replace(MODEL, model, 1) if model else path, file)

    def takes(self, path: str, file: str) -> bool:
        """Whether this file's value of a fact is to be taken."""
        found = [key for key, (of, only) in self.wanted.items() if of == path and only in ("", *_names(file))]
        self.used.update(found)
        return bool(found) or (path.partition(".")[2] in WHICH and self._is_the_file(path, file))

    def chosen(self, listed: Sequence[Claim]) -> list[Claim]:
        """Of claims that conflict, those of the file that was named; none where no file was, or several answer to it."""
        found = [c for c in listed for of, file in self.wanted.values() if of == c.path and file and file in _names(c.file)]
        if not found and of_a_file(listed[0].path):
            found = [c for c in listed if self._is_the_file(c.path, c.file)]
        if not found or not all(found[0].same(c.value) for c in found):
            return []
        self.takes(found[0].path, found[0].file)
        return found

    def _is_the_file(self, path: str, file: str) -> bool:
        """Whether this file was named for one of the facts that say which model file the component has: then it is that one."""
        ours = {f"{path.partition('.')[0]}.{which}" for which in WHICH}
        found = [key for key, (of, only) in self.wanted.items() if of in ours and only and only in _names(file)]
        self.used.update(found)
        return bool(found)

    def check(self, known: Iterable[str]) -> None:
        """Raise `UnknownName` for what was written and names nothing that could be taken."""
        known = list(known)
        for written, (path, file) in sorted(self.wanted.items()):
            if written not in self.used:
                raise UnknownName("difference", f"{path}={file}" if file else path, known)


def _names(file: str) -> tuple[str, str]:
    """A file as the user named it, and without its folder."""
    return file, re.split(r"[\\/]", file)[-1]


def of_a_file(path: str) -> bool:
    """Whether a fact is about one model file: `api.model.family`, `api.artifact.digest`."""
    return path.partition(".")[2].startswith(_ITS_OWN)


def other_files(
    by_path: Mapping[str, Sequence[Claim]], stated: Callable[[str], Any], accepted: Accepted
) -> dict[tuple[str, str], str]:
    """The files that speak of another model file than the description, or than each other, and why we think so.

    Args:
        stated: What the description says at a path, as plain data; None where it says nothing.

    Returns:
        Reasons by component and file. Two models' facts in one component would describe a model that does not exist.
    """
    found: dict[tuple[str, str], str] = {}
    for owner in dict.fromkeys(path.partition(".")[0] for path in by_path):
        same = {c.file for c in by_path.get(f"{owner}.artifact.digest", ()) if c.same(stated(c.path))}
        for which in WHICH:
            listed = [c for c in by_path.get(f"{owner}.{which}", ()) if c.file not in same]
            for claim, why in _strangers(listed, stated, accepted):
                found.setdefault((owner, claim.file), why)
    return found


def _strangers(
    listed: Sequence[Claim], stated: Callable[[str], Any], accepted: Accepted
) -> Iterable[tuple[Claim, str]]:
    if not listed:
        return
    path = listed[0].path
    known = stated(path)
    chosen = accepted.chosen(listed) if not all(listed[0].same(c.value) for c in listed) else []
    for claim in listed:
        if chosen:
            if not claim.same(chosen[0].value):
                yield claim, f"{path} was taken from {chosen[0].file}, and this file is another"
        elif known is not None:
            if not claim.same(known) and not accepted.takes(path, claim.file):
                yield claim, f"the description has another file ({path} differs); --accept {path}={claim.file} takes this one"
        elif not all(claim.same(c.value) for c in listed):
            yield claim, f"files disagree on {path}; --accept {path}={claim.file} takes this one"
