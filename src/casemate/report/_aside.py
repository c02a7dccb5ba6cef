"""What stands beside a rate: a title, one line for every format, tables, and sentences."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

ROOM = "95% interval"
_NONE = Markup("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A small table.

    Args:
        short: Whether Markdown shows it too.
        strips: One drawing for each row, between its first cell and the others; `axis` stands above them.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    short: bool = False
    strips: tuple[Markup, ...] = ()
    axis: Markup = _NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """One block. `brief` is one sentence that ends with the evidence it rests on; `chart` is one that belongs to it alone."""

    title: str
    brief: str
    grids: tuple[Grid, ...] = ()
    notes: tuple[str, ...] = ()
    chart: Markup = _NONE


def rows_of(*rows: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Those rows of a table that say something: a row whose second cell is empty was not measured."""
    return tuple(row for row in rows if len(row) > 1 and row[1])
