"""An SQLite index of a run's scores, for whoever asks across records. It can be deleted at any time: it is rebuilt."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .files import disk_errors

if TYPE_CHECKING:
    import numpy.typing as npt

    from .journal import Journal
    from .run import RunDirectory

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cell(key TEXT PRIMARY KEY, model TEXT, task TEXT, budget REAL, seed INTEGER, records TEXT);
CREATE TABLE IF NOT EXISTS score(key TEXT, position INTEGER, sample TEXT, metric TEXT, value REAL,
                                 PRIMARY KEY(key, metric, position)) WITHOUT ROWID;
"""


class Scores(NamedTuple):
    """One metric of one cell: sample ids and values of shape [n], NaN where the sample could not be scored."""

    samples: list[str]
    values: npt.NDArray[np.float64]


class Index:
    """The index of one run, brought up to date cell by cell when it is asked."""

    def __init__(self, run: RunDirectory) -> None:
        self._path = run.path / "index.sqlite"

    def scores(self, journal: Journal, metric: str) -> Scores:
        """Return one metric of a complete cell, in sample order."""
        try:
            return self._scores(journal, metric)
        except sqlite3.DatabaseError:  # garbled, or not a database: it holds nothing that the records do not hold
            with disk_errors(self._path):
                self._path.unlink(missing_ok=True)
            return self._scores(journal, metric)

    def _scores(self, journal: Journal, metric: str) -> Scores:
        place = self._path if os.access(self._path.parent, os.W_OK) else ":memory:"
        with closing(sqlite3.connect(place, timeout=60)) as database:
            database.executescript(_SCHEMA)
            _refresh(database, journal)
            rows = database.execute(
                "SELECT sample, value FROM score WHERE key = ? AND metric = ? ORDER BY position",
                (journal.folder.name, metric),
            ).fetchall()
        values = np.array([np.nan if value is None else value for _, value in rows], dtype=np.float64)
        return Scores([sample for sample, _ in rows], values)


def _refresh(database: sqlite3.Connection, journal: Journal) -> None:
    result = journal.result()
    if result is None:
        return
    key, cell = journal.folder.name, result.cell
    known = database.execute("SELECT records FROM cell WHERE key = ?", (key,)).fetchone()
    if known == (result.records_sha256,):
        return
    journal.check()
    metrics = [metric.name for metric in result.task_card.metrics]
    rows = (
        (key, position, record.sample, metric, None if record.scores is None else record.scores.get(metric))
        for position, record in enumerate(journal.records())
        for metric in metrics
    )
    with database:
        database.execute("DELETE FROM score WHERE key = ?", (key,))
        database.executemany("INSERT INTO score VALUES (?, ?, ?, ?, ?)", rows)
        database.execute(
            "INSERT OR REPLACE INTO cell VALUES (?, ?, ?, ?, ?, ?)",
            (key, cell.model, cell.task, cell.budget, cell.seed, result.records_sha256),
        )
