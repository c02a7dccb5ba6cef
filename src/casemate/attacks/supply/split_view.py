"""The split view drill: the file behind a URL is another one by the time the training fetches it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from ...core.adversary import Need
from ...core.attack import attack
from ...core.case import Artifact
from ...core.errors import BadInput
from ...core.fetch import Fetch
from ...core.oracle import Oracle
from ...core.random import RowRandom
from ...core.target import count
from ._local import Entry, Served, content_for, entries, other, pointed, serving


@attack(
    "supply.split_view",
    needs=Need.NONE,
    scope="set",
    case="fetch",
    papers=("arXiv:2302.10149",),
    aka=("split-view poisoning", "expired domain"),
    spends="runs the loader twice",
    modality=(),
)
class SplitView:
    """Swap a file after its list was made, and see whether the deployed loader notices.

    Nothing outside is touched. A copy of the manifest is pointed at a server on 127.0.0.1, with the digests of what is served
    there in place of its own; the deployed loader runs on it, and must succeed. Then the content of one file is changed and
    the loader runs again: it must raise, or leave the file out. Files are served from copies beside the manifest, found by
    name; where there is none, as two lines of numbers. Checks: ``every file is pinned by digest`` (SHA-256 or longer),
    ``swapped file refused``.

    Args:
        patience: Seconds the loader may take for each run.
    """

    patience: float = 60.0

    def __call__(self, oracle: Oracle, case: Fetch, *, rng: RowRandom) -> Generator[Artifact, None, Artifact]:
        path = Path(case.manifest)
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        files = entries(text)
        if not files:
            raise BadInput(f"{path.name} names no URL; give the manifest that the loader reads")
        contents = [content_for(entry, path.parent) for entry in files]
        with serving(contents) as served, tempfile.TemporaryDirectory(prefix="casemate-manifest-") as folder:
            copy = Path(folder, path.name)
            copy.write_text(pointed(text, files, contents, served.port), encoding="utf-8", errors="surrogateescape")
            claim = self._drilled(case.loader, copy, files, served)
        yield claim
        return claim

    def _drilled(self, loader: Callable[[Path], Any], copy: Path, files: list[Entry], served: Served) -> Artifact:
        pinned = all(entry.digest for entry in files)
        detail: dict[str, Any] = {"files": len(files), "unpinned": [e.url for e in files if not e.digest][:20]}
        checks = {"every file is pinned by digest": pinned}
        honest, problem = _run(loader, copy, self.patience)
        if problem:
            problem = _named(problem, files, served.port)
            why = f"the loader does not take the files as they were: {problem}; put copies of them beside the manifest"
            return Artifact(checks=checks, detail={**detail, "undecided": why})
        chosen = _victim(files, served)
        if chosen is None:
            detail["undecided"] = "the loader fetched nothing from where the list points"
            return Artifact(checks=checks, detail=detail)
        served.contents[chosen] = other(served.contents[chosen])
        served.asked = [0] * len(files)
        swapped, problem = _run(loader, copy, self.patience)
        fewer = not problem and _size(swapped) is not None and (_size(swapped) or 0) < (_size(honest) or 0)
        checks["swapped file refused"] = bool(problem) or fewer
        said = _named(problem, files, served.port) or ("it was left out" if fewer else "the loader went on")
        detail |= {"swapped": files[chosen].url, "asked": served.asked[chosen], "loader": said}
        return Artifact(checks=checks, detail=detail)


def _victim(files: list[Entry], served: Served) -> int | None:
    """A file that was fetched: an unpinned one where there is one, since that is what an attacker would look for."""
    fetched = [i for i, times in enumerate(served.asked) if times]
    return next((i for i in fetched if not files[i].digest), fetched[0] if fetched else None)


def _named(problem: str, files: list[Entry], port: int) -> str:
    """What the loader said, with the files named as the manifest names them: the port is another one in every run."""
    for i, entry in enumerate(files):
        problem = problem.replace(f"http://127.0.0.1:{port}/{i}/{entry.name}", entry.url)
    return problem.replace(f"127.0.0.1:{port}", "the local server")


def _run(loader: Callable[[Path], Any], manifest: Path, patience: float) -> tuple[Any, str]:
    """What the loader returns, and what it raised in words; in a thread of its own, so that one that hangs ends nothing."""
    found: list[Any] = []
    raised: list[str] = []

    def work() -> None:
        try:
            found.append(loader(manifest))
        except BaseException as error:  # noqa: BLE001  whatever it raises is its way to refuse
            raised.append(f"{type(error).__name__}: {error}"[:300])

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(patience)
    if thread.is_alive():
        return None, f"no answer within {patience:g} s"
    return (found[0], "") if found else (None, raised[0])


def _size(loaded: Any) -> int | None:
    """Rows of what a loader gave: of the inputs, where it is a pair."""
    first = loaded[0] if isinstance(loaded, tuple) and loaded else loaded
    return count(first) if hasattr(first, "__len__") and not isinstance(first, str | bytes) else None
