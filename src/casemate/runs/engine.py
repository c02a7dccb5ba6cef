"""Engines: where cells run. In this process, or in worker processes of one torch thread each.

Every finished cell is stored at once. Killed at any moment, the same command goes on where it was; the evidence is the
same for one worker or many, because a cell depends on nothing but its own line in the plan.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from ..core.errors import RunError
from ..store.cells import Store
from .bench import Bench
from .cells import execute
from .part import Part
from .plan import Cell

OpenBench = Callable[[], Bench]


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
    applied: tuple[tuple[str, tuple[tuple[str, object], ...]], ...] = ()


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
    context = multiprocessing.get_context("spawn")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    arguments = (work.source, bench.component, work.applied)
    with ProcessPoolExecutor(work.workers, context, initializer=_begin, initargs=arguments) as pool:
        # The dearest first: the last cell to finish should be a short one.
        queue = sorted(cells, key=lambda cell: -cell.calls)
        running: dict[Future[Part], Cell] = {}
        try:
            while queue or running:
                while queue and len(running) < work.workers and not _late(work):
                    cell = queue.pop(0)
                    tell(cell.label, 0.0)
                    running[pool.submit(_work, cell)] = cell
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
        except BrokenProcessPool as error:
            message = "a worker process died (out of memory?); what was finished is stored, run the same command again"
            raise RunError(message) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_BENCH: Bench | None = None


def _begin(source: str, component: str, applied: tuple[tuple[str, tuple[tuple[str, object], ...]], ...]) -> None:
    """Start of a worker: open the description for itself, on one thread."""
    global _BENCH
    one_thread()
    from .assess import open_described
    from .harden import apply_all

    _BENCH = apply_all(open_described(source, component), applied)


def _work(cell: Cell) -> Part:
    assert _BENCH is not None
    return execute(_BENCH, cell)


def one_thread() -> None:
    """One thread for torch and OpenMP: tiny models run faster so, and sums come out in one order."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "sklearn" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(1)
