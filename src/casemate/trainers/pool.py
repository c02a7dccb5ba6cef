"""One job after another, here or in processes of their own, whichever is over sooner.

The first job runs here and tells how long one takes; only where the rest would take longer than processes take to start are
they started. A process is a fresh interpreter with one thread for arithmetic, which never runs the caller's script again.
"""

from __future__ import annotations

import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from .limit import TooLong, too_long, within

Task = Callable[[Any, Any], Any]
Done = tuple[int, Any, str]  # which job, its result, what went wrong ("" where nothing did)
START_SECONDS = 4.0  # a process that loads torch or scikit-learn took 1.5 to 3 s on a busy machine; saving less is no saving
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS")


def spread(
    task: Task, shared: Any, jobs: Sequence[Any], workers: int | None = None, limit: float | None = None
) -> Iterator[Done]:
    """Do ``task(shared, job)`` for every job and yield each as it is done, in any order.

    A job that raises, or whose process dies, is reported and the others go on. Leaving the loop early, as an interruption
    does, ends every process.

    Args:
        task: A function. Only one of an importable module can be sent to a process.
        shared: What all jobs need; sent to each process once.
        jobs: What each needs.
        workers: Processes; None: one for each core, where that is faster; 1: none.
        limit: Seconds one job may take; None: any number. The first that takes longer ends them all: what one training does,
            the next would do too.

    Raises:
        TooLong: A job was cut. Here that needs a POSIX signal and the main thread; a process is ended wherever it is.
    """
    started = time.perf_counter()
    rest = list(range(len(jobs)))
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        for place in rest[:1]:
            yield _here(task, shared, jobs[place], place, limit, len(jobs))
        rest = rest[1:]
        workers = min(workers, len(rest))
        saved = (time.perf_counter() - started) * len(rest) * (1 - 1 / max(1, workers))
        workers = workers if saved > START_SECONDS else 1
    sent = _sendable(task, shared) if workers > 1 else None
    if sent is not None:
        rest = yield from _Crew(sent, jobs, rest, min(workers, len(rest)), limit).work()
    for place in rest:
        yield _here(task, shared, jobs[place], place, limit, len(jobs))


def _here(task: Task, shared: Any, job: Any, place: int, limit: float | None = None, jobs: int = 1) -> Done:
    try:
        with within(limit, _cut(place, jobs, limit)):
            return place, task(shared, job), ""
    except TooLong:
        raise
    except Exception as error:  # noqa: BLE001 - a user's own code may raise anything, and the other jobs still count
        return place, None, _said(error)


def _cut(place: int, jobs: int, limit: float | None) -> str:
    return too_long(f"training {place + 1} of {jobs}", limit)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _sendable(task: Task, shared: Any) -> bytes | None:
    """Task and data as bytes; None where another process could not make them out."""
    try:
        sent = pickle.dumps((task, shared), pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - whatever cannot be sent is done here
        return None
    return None if b"__main__" in sent else sent  # a script's own names are known to nobody else


class _Crew:
    """Processes, and a thread for each that hands it jobs."""

    def __init__(self, sent: bytes, jobs: Sequence[Any], rest: list[int], workers: int, limit: float | None = None) -> None:
        self._sent, self._jobs, self._rest, self._limit = sent, jobs, rest, limit
        self._waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._told: queue.SimpleQueue[Done | TooLong | None] = queue.SimpleQueue()  # None: a process is gone
        for place in rest:
            self._waiting.put(place)
        code = "from casemate.trainers.pool import serve; serve()"
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        env = os.environ | dict.fromkeys(ONE_THREAD, "1") | {"PYTHONPATH": paths}
        self._crew = [
            subprocess.Popen([sys.executable, "-c", code], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own interpreter
            for _ in range(workers)
        ]

    def work(self) -> Generator[Done, None, list[int]]:
        """What is done, as it is done; returns the jobs nobody took up, where every process failed to start."""
        left = set(self._rest)
        try:
            for process in self._crew:
                threading.Thread(target=self._lead, args=(process,), daemon=True).start()
            alive = len(self._crew)
            while left and alive:
                told = self._told.get()
                if told is None:
                    alive -= 1
                    continue
                if isinstance(told, TooLong):
                    raise told
                left.discard(told[0])
                yield told
        finally:
            for process in self._crew:
                process.kill()
            for process in self._crew:
                process.wait()
        return sorted(left)

    def _lead(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        place = None
        try:
            process.stdin.write(self._sent)
            process.stdin.flush()
            pickle.load(process.stdout)  # noqa: S301 - from our own process: it could load what it was sent
            while True:
                place = None
                place = self._waiting.get_nowait()
                pickle.dump(self._jobs[place], process.stdin, pickle.HIGHEST_PROTOCOL)
                process.stdin.flush()
                result, why = self._answer(process, place)
                self._told.put((place, result, why))
        except TooLong as error:
            self._told.put(error)
        except queue.Empty:
            pass
        except (OSError, EOFError, ValueError, pickle.PickleError):
            if place is not None:
                self._told.put((place, None, "its process died"))
        finally:
            self._told.put(None)


    def _answer(self, process: subprocess.Popen[bytes], place: int) -> Any:
        """What the process says of its job; it is ended where it says nothing in time, whatever it is doing."""
        over = threading.Event()

        def end() -> None:
            over.set()
            process.kill()

        clock = threading.Timer(self._limit, end) if self._limit not in (None, math.inf) else None
        if clock is not None:
            clock.daemon = True
            clock.start()
        try:
            return pickle.load(process.stdout)  # type: ignore[arg-type]  # noqa: S301 - from our own process
        except (OSError, EOFError, ValueError, pickle.PickleError) as error:
            if over.is_set():
                raise TooLong(_cut(place, len(self._jobs), self._limit)) from error
            raise
        finally:
            if clock is not None:
                clock.cancel()


def serve() -> None:
    """What a process does: load the task, then answer jobs until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interruption reaches the parent, which ends its processes
    come, go = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the user's code prints must not get in between
    task, shared = pickle.load(come)  # noqa: S301 - from our own parent
    _send(go, True)
    while True:
        try:
            job = pickle.load(come)  # noqa: S301 - from our own parent
        except EOFError:
            return
        _send(go, _here(task, shared, job, 0)[1:])


def _send(go: Any, what: Any) -> None:
    go.write(pickle.dumps(what, pickle.HIGHEST_PROTOCOL))
    go.flush()
