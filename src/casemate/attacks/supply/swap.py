"""The swap drill: change a copy of the artifact, and see whether the deployed loader would take it."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Artifact, Smuggle
from ...core.oracle import Oracle
from ...core.random import RowRandom
from .artifact import reachable

_STEP = 1 << 20


@attack("supply.swap", needs=Need.NONE, scope="set", aka=("artifact swap",), spends="copies the artifact once", modality=())
class Swap:
    """Change single bytes of a copy in a temporary folder, and ask of each whether the pin would refuse it.

    The changes are inert, one byte appended and one bit turned in the middle, and nothing is loaded: a loader that insists
    on a digest refuses by digest alone, and one that insists on none takes any file. Checks: ``loader insists on a digest``,
    ``pin is of the deployed artifact``, ``appended byte refused``, ``turned bit refused``.
    """

    def __call__(self, oracle: Oracle, case: Smuggle, *, rng: RowRandom) -> Generator[Artifact, None, Artifact]:
        path = reachable(case)
        deployed = digest_of(path)
        pin = pin_of(case.pinned, case.facts)
        checks = {"loader insists on a digest": pin is not None}
        changed: dict[str, str] = {}
        if pin is not None:
            checks["pin is of the deployed artifact"] = hmac.compare_digest(pin, deployed)
        with tempfile.TemporaryDirectory(prefix="casemate-swap-") as folder:
            copy = Path(folder, "artifact")
            for name, change in (("appended byte refused", _append), ("turned bit refused", _turn)):
                if path.is_dir():
                    shutil.copytree(path, copy)
                else:
                    shutil.copyfile(path, copy)
                change(largest(copy))
                changed[name] = digest_of(copy)
                checks[name] = pin is not None and not hmac.compare_digest(pin, changed[name])
                if copy.is_dir():
                    shutil.rmtree(copy)
                else:
                    copy.unlink()
        claim = Artifact(checks=checks, detail={"sha256": deployed, "pinned": pin, "changed_sha256": changed})
        yield claim
        return claim


def pin_of(pinned: str | None, facts: Mapping[str, str]) -> str | None:
    """The digest the loader insists on, lower-case hex; None where it does not look, whatever is written down."""
    looks = next((v for k, v in facts.items() if k.endswith("digest_verified_at_load")), "yes")
    return pinned.lower().removeprefix("sha256:") if pinned and looks != "no" else None


def digest_of(path: Path) -> str:
    """SHA-256 of a file; of a folder, of the names and digests of its files in order."""
    if path.is_dir():
        whole = hashlib.sha256()
        for inner in sorted(p for p in path.rglob("*") if p.is_file() and not p.is_symlink()):
            whole.update(f"{inner.relative_to(path).as_posix()}\0{digest_of(inner)}\n".encode())
        return whole.hexdigest()
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_STEP):
            digest.update(block)
    return digest.hexdigest()


def largest(path: Path) -> Path:
    """The file itself, or the largest file of a folder: where weights are."""
    if not path.is_dir():
        return path
    return max((p for p in path.rglob("*") if p.is_file()), key=lambda p: (p.stat().st_size, p.as_posix()))


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def _turn(path: Path) -> None:
    size = path.stat().st_size
    if not size:
        _append(path)
        return
    with path.open("r+b") as file:
        file.seek(size // 2)
        byte = file.read(1)[0]
        file.seek(size // 2)
        file.write(bytes([byte ^ 1]))
