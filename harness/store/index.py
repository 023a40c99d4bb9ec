"""An SQLite index of scores, for queries across records. It can be deleted at any time, and is rebuilt."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..texts import printable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from ..results import CellResult
    from .journal import Journal
    from .run import RunDirectory

logger = logging.getLogger(__name__)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS cell(key TEXT PRIMARY KEY, model TEXT, task TEXT, budget REAL, seed INTEGER, records TEXT);
CREATE TABLE IF NOT EXISTS score(key TEXT, position INTEGER, sample TEXT, cluster TEXT, metric TEXT, value REAL,
                                 PRIMARY KEY(key, metric, position)) WITHOUT ROWID;
"""
_VERSION = 3
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
    """The index of one run, to be asked within ``with``: it is brought up to date cell by cell.

    What it learnt is written when it is left; it may be entered again. Sample ids are stored as JSON texts, which hold
    any character. Where the file cannot be used, an index in memory takes its place.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._path = run.path / "index.sqlite"
        self._texts: dict[str, Any] = {}

    def __enter__(self) -> Index:
        self._connect(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(sqlite3.Error):  # it can be made again
            self._database.commit()
        self._database.close()

    def scores(self, journal: Journal, metric: str, result: CellResult | None = None) -> MetricColumn:
        """Return one metric of a complete cell, in sample order.

        Args:
            journal: Of the cell.
            metric: Name of a metric.
            result: What `Journal.check` returned, if it was asked already.

        Raises:
            UserError: The records are not those that the result was made from.
        """
        result = result or journal.check()
        try:
            return self._column(journal, metric, result)
        except sqlite3.Error as error:
            self._give_up(error)
        except ValueError as error:  # garbled where SQLite cannot tell
            self._give_up(error)
        return self._column(journal, metric, result)

    def _column(self, journal: Journal, metric: str, result: CellResult | None) -> MetricColumn:
        if result is not None:
            _refresh(self._database, journal, result)
        rows = self._database.execute(
            "SELECT sample, value, cluster FROM score WHERE key = ? AND metric = ? ORDER BY position",
            (journal.folder.name, printable(metric)),
        ).fetchall()
        values = np.array([np.nan if value is None else value for _, value, _ in rows], dtype=np.float64)
        samples, groups = ([self._text(row[column]) for row in rows] for column in (0, 2))
        return MetricColumn(samples, values, groups)

    def _text(self, stored: str) -> Any:
        """What a JSON text holds; the same object for each cell, of which there may be thousands."""
        if stored not in self._texts:
            self._texts[stored] = json.loads(stored)
        return self._texts[stored]

    def _connect(self, place: str | Path) -> None:
        try:
            self._database = sqlite3.connect(place, timeout=60)
            _prepare(self._database)
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Go on in memory: the file cannot be written, is locked for long, of another version, or garbled."""
        if isinstance(error, sqlite3.OperationalError):
            logger.debug("%s: %s", self._path, error)
        else:  # it holds nothing that the records do not hold
            logger.warning("%s: damaged, and made again", self._path)
            for path in (self._path, self._path.with_name(f"{self._path.name}-journal")):
                with suppress(OSError):
                    path.unlink()
        self._connect(":memory:")


def _prepare(database: sqlite3.Connection) -> None:
    """Make the tables; those of another version hold nothing that cannot be made again."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version != _VERSION:
        database.executescript("DROP TABLE IF EXISTS cell; DROP TABLE IF EXISTS score;")
        database.execute(f"PRAGMA user_version = {_VERSION}")
    database.executescript(_SCHEMA)


def _refresh(database: sqlite3.Connection, journal: Journal, result: CellResult) -> None:
    key, cell = journal.folder.name, result.cell
    known = database.execute("SELECT records FROM cell WHERE key = ?", (key,)).fetchone()
    if known == (result.records_sha256,):
        return
    metrics = [metric.name for metric in result.task_card.metrics if metric.kind == "mean"]
    rows = [
        (
            key,
            position,
            json.dumps(record.sample),
            json.dumps(record.group),
            printable(metric),
            None if record.scores is None else record.scores.get(metric),
        )
        for position, record in enumerate(journal.records())
        for metric in metrics
    ]
    database.execute("DELETE FROM score WHERE key = ?", (key,))
    database.executemany("INSERT INTO score VALUES (?, ?, ?, ?, ?, ?)", rows)
    database.execute(
        "INSERT OR REPLACE INTO cell VALUES (?, ?, ?, ?, ?, ?)",
        (key, printable(cell.model), printable(cell.task), cell.budget, cell.seed, result.records_sha256),
    )
