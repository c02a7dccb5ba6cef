"""Engines: where cells run. In this process, or in worker processes of one torch thread each.

Every finished cell is stored at once. Killed at any moment, the same command goes on where it was; the evidence is the
same for one worker or many, because a cell depends on nothing but its own line in the plan.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace

from ..core.errors import RunError
from ..store.cells import Store
from .bench import Bench
from .cells import execute
from .part import Part
from .plan import Cell

Applied = tuple[tuple[str, tuple[tuple[str, object], ...]], ...]


@dataclass(frozen=True, slots=True)
class Event:
    """Something to show: a cell began, moved on or was finished."""

    done: int
    total: int
    label: str
    fraction: float = 0.0
    stored: bool = False  # it was there already


Show = Callable[[Event], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How to run cells.

    Args:
        store: Where finished cells go; None keeps them in memory only.
        workers: Processes; 1 runs in this one.
        deadline: ``time.monotonic()`` after which no further cell begins.
        source: Description path that a worker opens for itself.
        applied: Controls by id and parameters that a worker applies to its bench.
    """

    store: Store | None = None
    workers: int = 1
    deadline: float | None = None
    source: str = ""
    applied: Applied = ()


def run_cells(bench: Bench, cells: Sequence[Cell], work: Work, show: Show) -> dict[str, Part]:
    """Parts by cell label. A cell that a deadline cut off is absent."""
    found: dict[str, Part] = {}
    todo = []
    for cell in cells:
        data = work.store.get(cell.key) if work.store and cell.key else None
        if data is not None:
            found[cell.label] = Part.from_bytes(data)
            show(Event(len(found), len(cells), cell.label, 1.0, stored=True))
        else:
            todo.append(cell)
    if not todo:
        return found
    runner = _in_workers if work.workers > 1 and len(todo) > 1 and work.source else _here
    for cell, part in runner(bench, todo, work, lambda label, f: show(Event(len(found), len(cells), label, f))):
        _keep(work.store, cell, part)
        found[cell.label] = part
        show(Event(len(found), len(cells), cell.label, 1.0))
    return found


def _keep(store: Store | None, cell: Cell, part: Part) -> None:
    # An error is not kept: the next run tries again.
    if store and cell.key and "error" not in part.facts:
        store.put(cell.key, part.to_bytes(), part.digest(), cell.label)


def _late(work: Work) -> bool:
    return work.deadline is not None and time.monotonic() > work.deadline


def _here(
    bench: Bench, cells: Sequence[Cell], work: Work, tell: Callable[[str, float], None]
) -> Iterable[tuple[Cell, Part]]:
    one_thread()
    for cell in cells:
        if _late(work):
            return
        tell(cell.label, 0.0)
        yield cell, execute(bench, cell, lambda f, label=cell.label: tell(label, f))  # type: ignore[misc]


def _in_workers(
    bench: Bench, cells: Sequence[Cell], work: Work, tell: Callable[[str, float], None]
) -> Iterable[tuple[Cell, Part]]:
    pool = _pool(work.workers)
    # The dearest first: the last cell to finish should be a short one.
    queue = sorted(cells, key=lambda cell: -cell.calls)
    running: dict[Future[Part], Cell] = {}
    try:
        while queue or running:
            while queue and len(running) < work.workers and not _late(work):
                cell = queue.pop(0)
                tell(cell.label, 0.0)
                running[pool.submit(_work, work.source, bench.component, work.applied, cell)] = cell
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
    except BaseException as error:
        _pool.cache_clear()
        pool.shutdown(wait=False, cancel_futures=True)
        if not isinstance(error, BrokenProcessPool):
            raise
        message = "a worker process died (out of memory?); what was finished is stored, run the same command again"
        raise RunError(message) from error


@functools.cache
def _pool(workers: int) -> ProcessPoolExecutor:
    """One pool for all descriptions of a run: starting a worker costs as much as a small cell."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))


@functools.lru_cache(maxsize=2)
def _opened(source: str, component: str, applied: Applied) -> Bench:
    """A worker opens a description for itself, and keeps it while cells of it come."""
    one_thread()
    from .assess import open_described
    from .harden import apply_all

    bench = apply_all(open_described(source, component), applied)
    one_thread()  # again: what it opened may just have loaded torch
    return bench


def _work(source: str, component: str, applied: Applied, cell: Cell) -> Part:
    # Claims may hold callables, which do not travel; what the evidence needs of them is in the rows and samples.
    return replace(execute(_opened(source, component, applied), cell), claims=None)


def one_thread() -> None:
    """One thread for torch and OpenMP: tiny models run faster so, and sums come out in one order."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "sklearn" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(1)
