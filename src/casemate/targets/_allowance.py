"""How many rows one host may still be sent, and how fast: a cap that is never exceeded."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from ..core.errors import BudgetSpent, UsageError

_WIDTH = 64  # bytes of the one line of the file: overwritten in place, so that a kill leaves the old or the new count


class Allowance:
    """Counts rows before they are sent, and makes them wait for their turn.

    Every row handed to the network counts, whatever came of it: repeated, refused or lost rows too.

    Args:
        cap: Rows in all, at least 1.
        pace_per_s: Rows a second, above 0.
        file: Where the count is kept, shared by processes and by runs. Without one it lives and ends with this process.
        clock: Seconds, shared by all processes that share the file.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        cap: int,
        pace_per_s: float,
        *,
        file: Path | None,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.cap, self._pace, self._file = cap, pace_per_s, file
        self._clock, self._sleep = clock, sleep
        self._lock, self._process = threading.Lock(), os.getpid()
        self._kept = (0, float("-inf"))  # rows sent so far, and when the next may go

    @property
    def sent(self) -> int:
        """Rows counted so far."""
        with self._open() as (sent, _, _keep):
            return sent

    def check(self, rows: int) -> None:
        """Refuse what would not fit, before its first part is sent.

        Raises:
            BudgetSpent: Fewer than `rows` rows are left.
        """
        self._fits(self.sent, rows)

    def take(self, rows: int) -> None:
        """Count `rows` rows, then wait until the pace lets them go.

        Raises:
            BudgetSpent: They would exceed the cap; nothing was counted.
        """
        with self._open() as (sent, free, keep):
            self._fits(sent, rows)
            now = self._clock()
            # Never more than the whole cap ahead: a time further off is from a clock that was set back since.
            start = max(now, min(free, now + self.cap / self._pace))
            keep(sent + rows, start + rows / self._pace)
        if start > now:
            self._sleep(start - now)

    def _fits(self, sent: int, rows: int) -> None:
        if sent + rows > self.cap:
            raise BudgetSpent(f"{rows} more rows would exceed the query cap of {self.cap}; {sent} were sent")

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[int, float, Callable[[int, float], None]]]:
        """The count, held so that nobody else changes it meanwhile."""
        with self._lock:
            if self._file is not None:
                with _locked(self._file) as kept:
                    yield kept
                return
            if os.getpid() != self._process:
                raise UsageError("a query cap counted in one process cannot be shared by others; give count_file=")
            yield (*self._kept, self._keep)

    def _keep(self, sent: int, free: float) -> None:
        self._kept = (sent, free)


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[tuple[int, float, Callable[[int, float], None]]]:
    try:
        import fcntl
    except ImportError:
        raise UsageError(f"count_file={str(file)!r} needs a system with file locks (fcntl)") from None
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        text = os.pread(handle, _WIDTH, 0).decode("ascii", "replace").split()
        try:
            sent, free = (int(text[0]), float(text[1])) if text else (0, float("-inf"))
        except (ValueError, IndexError):
            raise UsageError(
                f"{file} holds no count of rows; it is not overwritten: give another count_file="
            ) from None
        yield sent, free, lambda sent, free: _write(handle, sent, free)
    finally:
        os.close(handle)  # gives the lock back


def _write(handle: int, sent: int, free: float) -> None:
    os.pwrite(handle, f"{sent} {free!r}".ljust(_WIDTH - 1).encode() + b"\n", 0)
