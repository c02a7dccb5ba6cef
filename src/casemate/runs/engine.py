"""Engines: where cells run. In this process, or in worker processes of one torch thread each.

Every finished cell is stored at once. Killed at any moment, the same command goes on where it was; the evidence is the
same for one worker or many, because a cell depends on nothing but its own line in the plan.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
        training: Seconds the run is given in all, which no single training may exceed; None: nobody said.
    """

    store: Store | None = None
    workers: int = 1
    deadline: float | None = None
    source: str = ""
    applied: Applied = ()
    training: float | None = None


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
    runner = _in_workers if work.workers > 1 and len(todo) > 1 and _elsewhere(bench, work) else _here
    for cell, part in runner(bench, todo, work, lambda label, f: show(Event(len(found), len(cells), label, f))):
        _keep(work.store, cell, part)
        found[cell.label] = part
        show(Event(len(found), len(cells), cell.label, 1.0))
    return found


def _elsewhere(bench: Bench, work: Work) -> bool:
    """Whether a worker process can open the very same bench for itself."""
    binding = bench.system.binding(bench.component)
    if binding is not None and binding.url:
        return False  # one process, so that the cap and the pace hold
    return bool(work.source) and (not bench.applied or bool(work.applied))


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
        yield cell, execute(bench, cell, lambda f, label=cell.label: tell(label, f), work.training)  # type: ignore[misc]


def _in_workers(
    bench: Bench, cells: Sequence[Cell], work: Work, tell: Callable[[str, float], None]
) -> Iterable[tuple[Cell, Part]]:
    pool, identity = _pool(work.workers), bench.identity()
    # The dearest first: the last cell to finish should be a short one.
    queue = sorted(cells, key=lambda cell: -cell.calls)
    running: dict[Future[Part], Cell] = {}
    try:
        while queue or running:
            while queue and len(running) < work.workers and not _late(work):
                cell = queue.pop(0)
                tell(cell.label, 0.0)
                with _unheard():
                    line = (work.source, bench.component, work.applied, identity, cell, work.training)
                    running[pool.submit(_work, *line)] = cell
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
    except BaseException as error:
        _pool.cache_clear()
        workers = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:  # or the way out would wait for the cells they are at
            worker.terminate()
        if not isinstance(error, BrokenProcessPool):
            raise
        message = "a worker process died (out of memory?); what was finished is stored, run the same command again"
        raise RunError(message) from error


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Workers started here never hear Ctrl-C, which a terminal sends to them too: each would print a traceback of its own.

    The mask goes over to the worker; what came in meanwhile reaches this process afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@functools.cache
def _pool(workers: int) -> ProcessPoolExecutor:
    """One pool for all descriptions of a run: starting a worker costs as much as a small cell."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    """A worker holds both ends of its queue, so it would wait for ever for a parent that was killed."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(2)

    threading.Thread(target=watch, daemon=True, name="casemate parent watch").start()


@functools.lru_cache(maxsize=2)
def _opened(source: str, component: str, applied: Applied, identity: str | None) -> Bench:
    """A worker opens a description for itself, and keeps it while cells of it come."""
    one_thread()
    from .applied import apply_all
    from .assess import open_described

    bench = apply_all(open_described(source, component), applied)
    one_thread()  # again: what it opened may just have loaded torch
    if bench.identity() != identity:
        raise RunError(f"{source}: {component!r} is not what was planned; it was edited meanwhile, or is not the same twice")
    return bench


def _work(source: str, component: str, applied: Applied, identity: str | None, cell: Cell, training: float | None) -> Part:
    # Claims may hold callables, which do not travel; what the evidence needs of them is in the rows and samples.
    return replace(execute(_opened(source, component, applied, identity), cell, training=training), claims=None)


def one_thread() -> None:
    """One thread for torch and OpenMP: tiny models run faster so, and sums come out in one order."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "sklearn" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(1)
