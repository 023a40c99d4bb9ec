import json
import multiprocessing

import pytest
from adaptbench import UserError
from adaptbench.harness.results import CellId
from adaptbench.harness.store import RunDirectory, Session

FORK = multiprocessing.get_context("fork")


def session(name="s"):
    return Session(id=name, started="2026-01-01T00:00:00+00:00", command="c", environment={"cores": 2})


@pytest.fixture
def directory(tmp_path):
    directory = RunDirectory(tmp_path / "deep" / "run")
    directory.begin(session())
    return directory


def test_a_run_begins_with_a_manifest_that_names_its_sessions(directory):
    RunDirectory(directory.path).begin(session("t"))
    manifest = RunDirectory.existing(directory.path).manifest()
    assert (manifest.name, manifest.created, manifest.cells) == ("run", "2026-01-01T00:00:00+00:00", {})
    assert manifest.sessions == (session("s"), session("t"))


def test_a_session_notes_its_kernels_and_is_told_those_of_the_others(directory):
    directory.begin(session("t"))
    assert directory.compute_with({"openblas": "Zen"}, "s") == [{}]
    directory.begin(session("s"))
    before = directory.manifest().sessions
    assert directory.compute_with({"openblas": "Haswell"}, "s") == [{"openblas": "Zen"}, {}]
    assert directory.manifest().sessions[:2] == before[:2]
    assert directory.manifest().sessions[2].kernels == {"openblas": "Haswell"}


def test_cells_stand_in_their_own_order_whichever_was_started_first(directory):
    cells = [
        CellId(model=model, task=task, budget=budget, seed=seed)
        for model in "ab" for task in "xy" for budget in (0.5, 1.0) for seed in (0, 1)
    ]  # fmt: skip
    for number, cell in reversed(list(enumerate(cells))):
        directory.claim(f"k{number}", cell)
    assert list(directory.manifest().cells.values()) == cells
    assert [journal.folder.name for journal in directory.journals()] == [f"k{number}" for number in range(16)]


def test_a_cell_that_is_run_again_under_other_conditions_takes_the_place_of_the_old_one(directory):
    one, two = CellId(model="m", task="x"), CellId(model="m", task="y")
    for key, cell in (("old", one), ("other", two), ("new", one)):
        directory.claim(key, cell)
    assert directory.manifest().cells == {"new": one, "other": two}


def test_a_claim_that_is_known_writes_nothing(directory):
    cell = CellId(model="m", task="x")
    directory.claim("k", cell)
    before = (directory.path / "manifest.json").stat()
    directory.claim("k", cell)
    assert (directory.path / "manifest.json").stat() == before


def test_a_run_that_was_killed_at_its_very_start_can_be_started(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".manifest.json.tmp").write_text("{")
    directory = RunDirectory(tmp_path)
    directory.begin(session())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "manifest.json"]


def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match=r"the folder is not empty and not a run directory; choose another --out"):
        RunDirectory(tmp_path).begin(session())
    assert (tmp_path / "thesis.tex").read_text() == "x"
    assert not (tmp_path / "manifest.json").exists()


def test_a_run_without_its_manifest_is_refused_and_nothing_of_it_lost(directory):
    journal = directory.claim("k", CellId(model="m", task="x"))
    journal.folder.mkdir(parents=True)
    manifest = directory.path / "manifest.json"
    content = manifest.read_bytes()
    manifest.unlink()
    with pytest.raises(UserError, match=r"the folder holds cells but no manifest.json; put it back"):
        RunDirectory(directory.path).begin(session("t"))
    with pytest.raises(UserError, match=r"not a run directory: it has no manifest.json"):
        RunDirectory.existing(directory.path)
    manifest.write_bytes(content)
    RunDirectory(directory.path).begin(session("t"))
    assert len(directory.manifest().sessions) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": "x", "created": "", "colour": 1}', b"\xff"])
def test_a_garbled_manifest_is_refused_and_not_written_over(directory, content):
    path = directory.path / "manifest.json"
    path.write_bytes(content)
    for ask in (directory.manifest, lambda: directory.begin(session()), lambda: directory.claim("k", _cell())):
        with pytest.raises(UserError, match=r"manifest.json: not a valid manifest.json: .*; restore it"):
            ask()
    assert path.read_bytes() == content


def _cell():
    return CellId(model="m", task="x")


def test_what_is_attached_is_written_once(directory):
    calls = []

    def write(path):
        calls.append(path)
        path.write_text("episodes")

    for _ in range(2):
        directory.attach("episodes/a.json", write)
    assert calls == [directory.path / "episodes" / "a.json"]
    assert not list(directory.changed())


def test_what_was_attached_and_edited_is_refused(directory):
    directory.attach("episodes/a.json", lambda path: path.write_text("episodes"))
    (directory.path / "episodes" / "a.json").write_text("epicodes")
    assert [error.what for error in directory.changed()] == ["it was damaged or edited"]
    with pytest.raises(UserError, match=r"a.json: it was damaged or edited; restore it, or move it away and run"):
        directory.attach("episodes/a.json", lambda path: path.write_text("other"))


def _claim_many(path, number):
    directory = RunDirectory(path)
    directory.begin(session(f"s{number}"))
    for index in range(20):
        directory.claim(f"k{number}-{index}", CellId(model=f"m{number}", task=f"t{index:02}"))


def test_processes_that_begin_and_claim_at_once_lose_nothing(tmp_path):
    path = tmp_path / "run"
    workers = [FORK.Process(target=_claim_many, args=(path, number), daemon=True) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    manifest = json.loads((path / "manifest.json").read_bytes())
    assert list(manifest["cells"]) == [f"k{number}-{index}" for number in range(4) for index in range(20)]
    assert {s["id"] for s in manifest["sessions"]} == {"s0", "s1", "s2", "s3"}
