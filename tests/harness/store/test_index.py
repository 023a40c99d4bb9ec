import multiprocessing
import sqlite3

import numpy as np
import pytest
from adaptbench import Metric, ModelCard, Record, TaskCard, UserError
from adaptbench.harness.results import CellId, CellResult
from adaptbench.harness.store import Index, RunDirectory, Session

FORK = multiprocessing.get_context("fork")
ODD = "q\udcff'\"\x00ü"


def complete(directory, key, scores):
    """Write a complete cell with these scores, one record each."""
    journal = directory.claim(key, CellId(model=key, task="t"))
    journal.folder.mkdir(parents=True, exist_ok=True)
    journal.path.unlink(missing_ok=True)
    records = [Record(f"s{i}" if i else ODD, "", i, i, score) for i, score in enumerate(scores)]
    journal.append(records)
    card = TaskCard(capability="embed", metrics=(Metric(name="accuracy"), Metric(name="said")))
    journal.finish(
        CellResult(
            key=key, cell=CellId(model=key, task="t"), model_card=ModelCard(capabilities=("embed",)), task_card=card,
            samples_digest="d", samples=len(scores), unscored=0, unparsed=0, partial=None, metrics={}, flops=None,
            settings={}, records_sha256=journal.digest(),
        ),
        None,
    )  # fmt: skip
    return journal


@pytest.fixture
def directory(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.begin(Session(id="s", started="2026", command="", environment={}))
    return directory


def ask(directory, journal, metric):
    """Ask an index that is opened for it."""
    with Index(directory) as index:
        return index.scores(journal, metric)


SCORES = [{"accuracy": 0.25, "said": 1.0}, None, {"accuracy": 1 / 3, "said": 0.0}]


def assert_right(scores):
    assert scores.samples == [ODD, "s1", "s2"]
    np.testing.assert_array_equal(scores.values, [0.25, np.nan, 1 / 3])


def test_the_index_gives_the_scores_of_the_records_in_their_order(directory):
    journal = complete(directory, "one", SCORES)
    complete(directory, "two", SCORES[::-1])
    with Index(directory) as index:
        assert_right(index.scores(journal, "accuracy"))
        np.testing.assert_array_equal(index.scores(journal, "said").values, [1, np.nan, 0])
        np.testing.assert_array_equal(index.scores(directory.journal("two"), "accuracy").values, [1 / 3, np.nan, 0.25])


def test_it_can_be_read_with_sqlite_alone(directory):
    ask(directory, complete(directory, "one", SCORES), "accuracy")
    with sqlite3.connect(directory.path / "index.sqlite") as database:
        rows = database.execute(
            "SELECT model, metric, avg(value), count(*) FROM score JOIN cell USING (key) GROUP BY model, metric"
        ).fetchall()
    assert rows == [("one", "accuracy", pytest.approx(7 / 24), 3), ("one", "said", 0.5, 3)]


def test_deleting_it_changes_nothing(directory):
    journal = complete(directory, "one", SCORES)
    ask(directory, journal, "accuracy")
    (directory.path / "index.sqlite").unlink()
    assert_right(ask(directory, journal, "accuracy"))


@pytest.mark.parametrize(
    "damage", [lambda b: b"no database", lambda b: b[:1500], lambda b: b[:100] + bytes(len(b) - 100)]
)
def test_a_garbled_one_is_made_again(directory, damage, caplog):
    journal = complete(directory, "one", SCORES)
    ask(directory, journal, "accuracy")
    path = directory.path / "index.sqlite"
    path.write_bytes(damage(path.read_bytes()))
    for _ in range(2):
        assert_right(ask(directory, journal, "accuracy"))
    assert sqlite3.connect(path).execute("SELECT count(*) FROM score").fetchone() == (6,)


def test_an_index_of_another_version_is_not_used(directory):
    with sqlite3.connect(directory.path / "index.sqlite") as database:
        database.execute("CREATE TABLE cell(key TEXT)")
    assert_right(ask(directory, complete(directory, "one", SCORES), "accuracy"))


def test_where_nothing_can_be_written_an_index_in_memory_serves(directory, monkeypatch):
    journal = complete(directory, "one", SCORES)
    connect = sqlite3.connect

    def read_only(place, **options):
        if place == ":memory:":
            return connect(place, **options)
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", read_only)
    assert_right(ask(directory, journal, "accuracy"))
    assert not (directory.path / "index.sqlite").exists()


def test_a_cell_that_was_made_again_is_read_again(directory):
    journal = complete(directory, "one", SCORES)
    ask(directory, journal, "accuracy")
    complete(directory, "one", [{"accuracy": 1.0, "said": 1.0}])
    scores = ask(directory, journal, "accuracy")
    assert (scores.samples, scores.values.tolist()) == ([ODD], [1.0])


def test_records_that_the_result_was_not_made_from_are_not_indexed(directory):
    journal = complete(directory, "one", SCORES)
    journal.append([Record("more", "", 0)])
    with pytest.raises(UserError, match=r"the records are not those that result.json was made from"):
        ask(directory, journal, "accuracy")


def test_a_cell_that_is_not_complete_has_no_scores(directory):
    scores = ask(directory, directory.claim("one", CellId(model="m", task="t")), "accuracy")
    assert scores.samples == []
    assert scores.values.shape == (0,)


def _ask(path, results):
    directory = RunDirectory(path)
    for key in ("one", "two"):
        results.put(ask(directory, directory.journal(key), "accuracy").values.tolist())


def test_processes_that_index_the_same_run_at_once_all_get_the_scores(directory):
    for key in ("one", "two"):
        complete(directory, key, [{"accuracy": 0.5, "said": 1.0}] * 500)
    results = FORK.Queue()
    workers = [FORK.Process(target=_ask, args=(directory.path, results), daemon=True) for _ in range(4)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=300) for _ in range(8)] == [[0.5] * 500] * 8
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
