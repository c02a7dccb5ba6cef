"""Passwords and keys that stand in plain text: known shapes of tokens, and assignments of what looks random.

A finding says where it stands and what kind it is. The secret itself leaves this module in no way.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from casemate.core.entities import Component
from casemate.core.fact import NO, YES
from casemate.core.system import System
from casemate.threats.checks.outcome import Finding, Measured, Said, unread
from casemate.threats.checks.within import MAX_FILES, CannotRead, Folder

NAME = "secrets.literal"
MOST = 200  # findings of one component that are listed
_SUFFIXES = frozenset(
    ".ipynb .env .yaml .yml .py .json .toml .ini .cfg .conf .sh .properties .tf .pem .key".split()  # noqa: SIM905
)
_NAMES = frozenset({"Dockerfile", "credentials", ".netrc", ".env"})
_CODE = frozenset({".py", ".ipynb"})  # an assignment without quotes is a name there, not a value
_TOKENS = (
    ("a private key", re.compile(r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY")),
    ("an AWS access key id", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b")),
    ("a GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,64}")),
    ("a Slack token", re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,250}")),
    ("a Slack webhook", re.compile(r"hooks\.slack\.com/services/[A-Za-z0-9]{8,12}/[A-Za-z0-9]{8,12}/[A-Za-z0-9]{20,32}")),
    ("a Google API key", re.compile(r"\bAIza[0-9A-Za-z_-]{35}")),
    ("a Stripe key", re.compile(r"\b[sr]k_live_[0-9A-Za-z]{16,250}")),
    ("a Hugging Face token", re.compile(r"\bhf_[A-Za-z0-9]{30,64}\b")),
    ("a secret API key (sk-)", re.compile(r"\bsk-(?:[a-z0-9]{2,8}-){0,2}[A-Za-z0-9_-]{32,250}")),
    ("an npm token", re.compile(r"\bnpm_[A-Za-z0-9]{36}\b")),
    ("a storage account key", re.compile(r"AccountKey=[A-Za-z0-9+/]{60,200}={0,2}")),
    ("a signed web token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,500}\.eyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,500}")),
)
_URL = re.compile(r"\b[a-z][a-z0-9+]{1,15}://[^\s:/@'\"]{1,64}:([^\s/@'\"]{3,128})@")
_WORD = re.compile(r"(?i)(?:my)?(?:pass(?:w(?:or)?d)?|pwd|token|secret|key|user|[a-z])\Z")  # stands for one in documentation
_ASSIGNED = re.compile(
    r"""(?i)(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|credentials?)
        ([a-z0-9_-]{0,32})["']?\s{0,8}(?::|=(?!=)|:=)\s{0,8}(["']?)([^\s"',;#]{8,256})""",
    re.VERBOSE,
)
_PLACEHOLDER = re.compile(
    r"(?i)^\$|[<>{}()\[\]]|\*{3}|^\.|x{4}|change_?me|example|placeholder|dummy|redacted|your[_-]|^(?:none|null|true|false)$|^[/~]|://|^\W+$"
)
# What a name that starts like a secret's goes on with where it is none: tokenizer, secretName, token_count, password_hash.
_OTHERWISE = re.compile(r"(?i)i[sz]|.*(?:name|id|ref|file|path|type|url|uri|count|length|size|limit|hash|env|expires?|version)$")
_SPREAD = 3.0  # bits per character: words and names stay below it, random strings of ten and more are above


def literal(system: System, component: Component, folder: Folder, /) -> Iterator[Said]:
    """`workspace.secrets_in_plain`, from the file or folder that `workspace.path` names."""
    record = component.workspace
    if record is None or not record.path:
        return
    asked, fact = f"{component.id}.workspace.path", f"{component.id}.workspace.secrets_in_plain"
    try:
        top = folder.find(record.path)
        wanted = [path for path in folder.files(top) if path == top or _may_hold(path)]
    except CannotRead as error:
        yield unread(system, asked, str(error), NAME)
        return
    found: list[Finding] = []
    problems = [f"{len(wanted) - MAX_FILES:,} of {len(wanted):,} files were not read"] if len(wanted) > MAX_FILES else []
    for path in wanted[:MAX_FILES]:
        try:
            text = folder.text(path)
        except CannotRead as error:
            problems.append(str(error))
            continue
        for line, kind in kinds(text, path.suffix):
            found.append(Finding(component=component.id, text=f"holds {kind}", check=NAME, file=folder.shown(path), line=line))
    yield from found[:MOST]
    if len(found) > MOST:
        problems.append(f"{len(found) - MOST:,} more findings are not listed")
    if found:
        first = found[0]
        yield Measured(path=fact, value=YES, because=f"it {first.text}", check=NAME, file=first.file, line=first.line)
    elif not wanted:
        problems.append(f"there is no file at {folder.shown(top)} of a kind that is searched")
    elif not problems:
        because = f"no known kind of key and no random-looking assignment in {len(wanted)} file(s)"
        yield Measured(path=fact, value=NO, because=because, check=NAME, file=folder.shown(top), weak=True)
    yield from (unread(system, asked, problem, NAME) for problem in problems)


def _may_hold(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES or path.name in _NAMES or path.name.startswith((".env.", "Dockerfile."))


def kinds(text: str, suffix: str = "") -> Iterator[tuple[int, str]]:
    """The line (from 1) and the kind of every secret in a text; each kind once a line."""
    for number, line in enumerate(text.split("\n"), 1):
        if suffix == ".ipynb":  # a line of code is a JSON string there
            line = line.replace('\\"', '"')
        said = [kind for kind, shape in _TOKENS if shape.search(line)]
        said += ["a password in an address"] if any(_real(m[1]) and not _WORD.match(m[1]) for m in _URL.finditer(line)) else []
        if not said and any(_assigned(match, suffix) for match in _ASSIGNED.finditer(line)):
            said = ["a password or key by its name"]
        yield from ((number, kind) for kind in dict.fromkeys(said))


def _real(value: str) -> bool:
    """Whether it is more than a place to put a secret."""
    return not _PLACEHOLDER.search(value)


def _assigned(match: re.Match[str], suffix: str) -> bool:
    """Whether what is assigned looks random: letters and digits, or capitals all over, spread out."""
    more, quote, value = match.groups()
    if (suffix in _CODE and not quote) or _OTHERWISE.match(more) or not _real(value):
        return False
    # One digit alone is a version at the end of a name; a few capitals are its words.
    mixed = any(c.isalpha() for c in value) and sum(c.isdigit() for c in value) > 1
    rises = sum(a.islower() and b.isupper() for a, b in itertools.pairwise(value))
    return (mixed or rises * 5 >= len(value)) and spread(value) >= _SPREAD


def spread(value: str) -> float:
    """Shannon entropy, in bits per character."""
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts)
