"""Counting per account with values: a count over sliding windows, and a bounded table that is copied cheaply.

Both are immutable. A step makes new ones, so an assessment can rewind, a refused request costs nothing, and the same
state twice gives the same answer.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

_SHARD = 256  # accounts per shard: a step copies one shard and the list of shards, a few microseconds


@dataclass(frozen=True, slots=True)
class Window:
    """Rows let in during the newest parts of time, newest first. `index` is the newest part, from the clock's zero."""

    index: int
    counts: tuple[int, ...]

    def at(self, index: int) -> Window:
        """The same window seen from part `index`. A clock that steps back finds no fresh budget: time stands still."""
        passed = index - self.index
        if passed <= 0:
            return self
        kept = self.counts[:-passed] if passed < len(self.counts) else ()
        return Window(index, (0,) * (len(self.counts) - len(kept)) + kept)

    def plus(self, rows: int) -> Window:
        return Window(self.index, (self.counts[0] + rows, *self.counts[1:]))

    @property
    def used(self) -> int:
        return sum(self.counts)

    def frees_at(self, cap: int) -> int:
        """The part in which fewer than `cap` rows count, if nothing more is let in."""
        left, index = self.used, self.index
        for count in reversed(self.counts):
            if left < cap:
                break
            left -= count
            index += 1
        return index


@dataclass(frozen=True, slots=True)
class Shard:
    """Some of the accounts. Those that found no room share `overflow`."""

    windows: dict[str, Window]
    overflow: Window


@dataclass(frozen=True, slots=True)
class Table:
    """Windows by account, at most `capacity` of them.

    A full shard first forgets accounts whose windows are over, which changes nothing for them. If all are live, an
    account without a place shares one budget with the others that have none. So nobody is ever forgiven what they
    used, and opening accounts in bulk starves the newcomers, not those who were there.
    """

    shards: tuple[Shard, ...]
    capacity: int

    @staticmethod
    def empty(capacity: int, parts: int) -> Table:
        count = -(-capacity // _SHARD)
        fresh = Window(0, (0,) * parts)
        return Table((Shard({}, fresh),) * count, -(-capacity // count))

    def find(self, account: str, index: int) -> Window:
        """What `account` used, seen from part `index`."""
        shard = self.shards[self._place(account)]
        return shard.windows.get(account, shard.overflow).at(index)

    def put(self, account: str, window: Window) -> Table:
        """A table in which `account` used `window`."""
        place = self._place(account)
        shard = self.shards[place]
        windows = shard.windows
        if account not in windows and len(windows) >= self.capacity:
            windows = {name: old for name, old in windows.items() if old.at(window.index).used}
        if account in windows or len(windows) < self.capacity:
            # An account that moves in from the shared budget takes the shared count along: see `find`.
            new = Shard({**windows, account: window}, shard.overflow)
        else:
            new = Shard(windows, window)
        return Table(self.shards[:place] + (new,) + self.shards[place + 1 :], self.capacity)

    def _place(self, account: str) -> int:
        # Not hash(): it differs from process to process, and evidence must not.
        return zlib.crc32(account.encode("utf-8", "surrogatepass")) % len(self.shards)
