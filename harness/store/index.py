"""An SQLite index of scores, for queries across records. It can be deleted at any time, and is rebuilt."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from .journal import Journal
    from .run import RunDirectory

logger = logging.getLogger(__name__)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS cell(key TEXT PRIMARY KEY, model TEXT, task TEXT, budget REAL, seed INTEGER, records TEXT);
CREATE TABLE IF NOT EXISTS score(key TEXT, position INTEGER, sample TEXT, cluster TEXT, metric TEXT, value REAL,
                                 PRIMARY KEY(key, metric, position)) WITHOUT ROWID;
"""
_VERSION = 2
"""Of the schema, kept as the file's ``user_version``."""


class MetricColumn(NamedTuple):
    """One metric of one cell.

    Attributes:
        samples: Sample ids, n of them.
        values: Of shape [n], NaN where the sample could not be scored.
        groups: Name of each sample's group, ``None`` for one that is independent.
    """

    samples: list[str]
    values: npt.NDArray[np.float64]
    groups: list[str | None]


class Index:
    """The index of one run, brought up to date cell by cell when it is asked.

    Sample ids are stored as JSON texts, which hold any character. Where the file cannot be used, an index in memory
    takes its place for the moment.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._path = run.path / "index.sqlite"

    def scores(self, journal: Journal, metric: str) -> MetricColumn:
        """Return one metric of a complete cell, in sample order.

        Raises:
            UserError: The records are not those that the result was made from.
        """
        try:
            return _scores(self._path, journal, metric)
        except sqlite3.OperationalError as error:  # it cannot be written, is locked for long, or of another version
            logger.debug("%s: %s", self._path, error)
        except (sqlite3.DatabaseError, ValueError):  # garbled: it holds nothing that the records do not hold
            logger.warning("%s: damaged, and made again", self._path)
            self._discard()
        return _scores(":memory:", journal, metric)

    def _discard(self) -> None:
        for path in (self._path, self._path.with_name(f"{self._path.name}-journal")):
            with suppress(OSError):
                path.unlink()


def _scores(place: str | Path, journal: Journal, metric: str) -> MetricColumn:
    with closing(sqlite3.connect(place, timeout=60)) as database:
        _prepare(database)
        _refresh(database, journal)
        rows = database.execute(
            "SELECT sample, value, cluster FROM score WHERE key = ? AND metric = ? ORDER BY position",
            (journal.folder.name, metric),
        ).fetchall()
    values = np.array([np.nan if value is None else value for _, value, _ in rows], dtype=np.float64)
    samples, groups = ([json.loads(row[column]) for row in rows] for column in (0, 2))
    return MetricColumn(samples, values, groups)


def _prepare(database: sqlite3.Connection) -> None:
    """Make the tables; those of another version hold nothing that cannot be made again."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version != _VERSION:
        database.executescript("DROP TABLE IF EXISTS cell; DROP TABLE IF EXISTS score;")
        database.execute(f"PRAGMA user_version = {_VERSION}")
    database.executescript(_SCHEMA)


def _refresh(database: sqlite3.Connection, journal: Journal) -> None:
    result = journal.result()
    if result is None:
        return
    key, cell = journal.folder.name, result.cell
    known = database.execute("SELECT records FROM cell WHERE key = ?", (key,)).fetchone()
    if known == (result.records_sha256,):
        return
    journal.check()
    metrics = [metric.name for metric in result.task_card.metrics if metric.kind == "mean"]
    rows = (
        (
            key,
            position,
            json.dumps(record.sample),
            json.dumps(record.group),
            metric,
            None if record.scores is None else record.scores.get(metric),
        )
        for position, record in enumerate(journal.records())
        for metric in metrics
    )
    with database:
        database.execute("DELETE FROM score WHERE key = ?", (key,))
        database.executemany("INSERT INTO score VALUES (?, ?, ?, ?, ?, ?)", rows)
        database.execute(
            "INSERT OR REPLACE INTO cell VALUES (?, ?, ?, ?, ?, ?)",
            (key, cell.model, cell.task, cell.budget, cell.seed, result.records_sha256),
        )
