"""Append-only evidence. SQLite now, PostgreSQL by the same URL later.

A cell is stored the moment it is finished, under the hash of everything that decides its outcome, so a run that is killed
goes on where it was, and nothing measured is lost. Rows are never changed: triggers refuse it where the database can.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Column, DateTime, Index, LargeBinary, MetaData, String, Table, Text, create_engine, event, select
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ..core.errors import RunError, UsageError

_META = MetaData()
_CELLS = Table(
    "cells", _META,
    Column("key", String(64), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("label", Text, nullable=False),
    Column("written", DateTime, nullable=False),
    Column("part", LargeBinary, nullable=False),
)  # fmt: skip
_RUNS = Table(
    "runs", _META,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("written", DateTime, nullable=False),
    Column("assessment", Text, nullable=False),
    Index("runs_by_time", "written"),
)  # fmt: skip


class Store:
    """Cells by key, and assessments in the order they were made.

    Args:
        url: A path, or a database URL (``sqlite:///evidence.db``, ``postgresql+psycopg://...``).
    """

    def __init__(self, url: str | Path) -> None:
        text = str(url)
        try:
            if "://" not in text:
                Path(text).parent.mkdir(parents=True, exist_ok=True)
            # Put together, not parsed: a file name may hold a question mark.
            place = make_url(text) if "://" in text else URL.create("sqlite", database=text)
            self.url = place.render_as_string(hide_password=True)
            self._engine: Engine = create_engine(place)
            sqlite = self._engine.dialect.name == "sqlite"
            if sqlite:
                event.listen(self._engine, "connect", _settle)
            _META.create_all(self._engine)
            if sqlite:
                self._forbid_changes()
        except (SQLAlchemyError, OSError, ImportError) as error:
            cause = getattr(error, "orig", None) or error
            shown = getattr(self, "url", text.split("@")[-1])
            raise UsageError(f"the store {shown!r} cannot be opened: {cause}; give --store another place") from error

    def _forbid_changes(self) -> None:
        with self._engine.begin() as link:
            for table in ("cells", "runs"):
                for verb in ("UPDATE", "DELETE"):
                    link.exec_driver_sql(
                        f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                        "BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END"
                    )

    def get(self, key: str) -> bytes | None:
        """The stored part of a cell, or None."""
        with self._said(), self._engine.connect() as link:
            return link.execute(select(_CELLS.c.part).where(_CELLS.c.key == key)).scalar()

    def put(self, key: str, part: bytes, digest: str, label: str) -> None:
        """Append a cell. The same key again is no error: the first one stands."""
        row = {"key": key, "part": part, "digest": digest, "label": label, "written": _now()}
        with self._said():
            try:
                with self._engine.begin() as link:
                    link.execute(_CELLS.insert().values(**row))
            except IntegrityError:
                return

    def add_run(self, id: str, name: str, assessment: str) -> None:
        """Append an assessment as JSON."""
        with self._said():
            try:
                with self._engine.begin() as link:
                    link.execute(_RUNS.insert().values(id=id, name=name, assessment=assessment, written=_now()))
            except IntegrityError:
                return  # the very same run, repeated

    def runs(self) -> list[tuple[str, str, datetime.datetime]]:
        """Id, name and time of every assessment, oldest first."""
        with self._said(), self._engine.connect() as link:
            found = link.execute(select(_RUNS.c.id, _RUNS.c.name, _RUNS.c.written).order_by(_RUNS.c.written)).all()
            return [(row[0], row[1], row[2]) for row in found]

    def run(self, id: str) -> str | None:
        """One assessment as JSON."""
        with self._said(), self._engine.connect() as link:
            return link.execute(select(_RUNS.c.assessment).where(_RUNS.c.id == id)).scalar()

    def close(self) -> None:
        """Give the connection back."""
        self._engine.dispose()

    @contextmanager
    def _said(self) -> Iterator[None]:
        """A database error as one clear message; whatever was stored before stays."""
        try:
            yield
        except IntegrityError:
            raise
        except (SQLAlchemyError, OSError) as error:
            cause = getattr(error, "orig", None) or error
            raise RunError(
                f"the store {self.url} failed: {cause}; what was stored is kept, make room or give another --store and run again"
            ) from error


def _settle(link: object, _record: object) -> None:
    """Write-ahead log and a patient lock: workers and a reader beside them never see half a cell."""
    cursor = link.cursor()  # type: ignore[attr-defined]
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
