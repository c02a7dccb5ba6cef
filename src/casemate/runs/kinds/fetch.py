"""Training data fetched by a list: a local server stands in for the hosts that the list names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import BadInput
from ...core.fetch import Fetch
from ...judges import fetch
from ...judges.opinion import Opinion
from .kind import Built, Judging, Kind

if TYPE_CHECKING:
    from ...core.adversary import Adversary
    from ..bench import Bench
    from ..plan import Cell


def check(case: Fetch) -> None:
    if not Path(case.manifest).is_file():
        raise BadInput(f"manifest={str(case.manifest)!r} is no file; give the list of URLs that the loader reads")
    if not callable(case.loader):
        raise BadInput("loader is not callable; give a function of the manifest's path")


def judge(at: Judging) -> Opinion:
    return fetch.judge(at.case, at.claim)


def why_not(bench: Bench, _: Adversary) -> str | None:
    binding = bench.system.binding(bench.component)
    if binding is None or not binding.loader:
        return "no loader is bound: target.loader"
    return None if binding.manifest else "no manifest is bound: target.manifest"


def build(bench: Bench, cell: Cell) -> Built:
    from ..bench import _Loader

    binding = bench.system.binding(bench.component)
    assert binding is not None and binding.loader and binding.manifest
    folder = Path(bench.system.folder or ".")
    loader = _Loader(folder, bench.component).find("loader", binding.loader)
    return Built(Fetch(manifest=folder / binding.manifest, loader=loader))


FETCH = Kind(check=check, judge=judge, build=build, why_not=why_not, targetless=True, alone=True)
