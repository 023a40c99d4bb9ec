import multiprocessing

import numpy as np
import pytest
from adaptbench import UserError
from adaptbench.harness.store import FeatureStore, features
from hypothesis import given, settings
from hypothesis import strategies as st

DIGESTS = ["aa", "bb", "cc"]
VECTORS = np.array([[1, 2], [3, 4.5], [np.nan, -0.0]], dtype=np.float32)
FORK = multiprocessing.get_context("fork")


def write(store, digests=DIGESTS, vectors=VECTORS):
    store.put(digests, vectors)


def block(folder):
    (path,) = folder.rglob("*.blocks")
    return path


def test_a_block_is_read_as_it_was_written_by_the_encoder_and_the_contents(tmp_path):
    store = FeatureStore(tmp_path, "e" * 64)
    assert store.get(DIGESTS) is None
    write(store)
    np.testing.assert_array_equal(store.get(DIGESTS), VECTORS)
    assert store.get(DIGESTS).dtype == np.float32
    assert store.get(DIGESTS[::-1]) is None
    assert store.get(DIGESTS[:2]) is None
    assert store.get(["aab", "b", "cc"]) is None
    assert FeatureStore(tmp_path, "f" * 64).get(DIGESTS) is None


def test_a_block_is_stored_as_float32_whatever_the_model_gave(tmp_path):
    store = FeatureStore(tmp_path, "e" * 64)
    write(store, DIGESTS, VECTORS.astype(np.float64)[:, ::-1])
    np.testing.assert_array_equal(store.get(DIGESTS), VECTORS[:, ::-1])


@settings(deadline=None)
@given(st.data())
def test_a_damaged_block_is_computed_again(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("features")
    store = FeatureStore(folder, "e" * 64)
    write(store)
    written = block(folder).read_bytes()
    damaged = bytearray(written)
    place = data.draw(st.integers(0, len(written) * 8 - 1))
    damaged[place // 8] ^= 1 << place % 8
    block(folder).write_bytes(damaged)
    for reader in (store, FeatureStore(folder, "e" * 64)):
        found = reader.get(DIGESTS)
        assert found is None or np.array_equal(found, VECTORS, equal_nan=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "_WRITER", data.draw(st.sampled_from(["0", "z"])))
        write(FeatureStore(folder, "e" * 64))
    np.testing.assert_array_equal(FeatureStore(folder, "e" * 64).get(DIGESTS), VECTORS)


def test_a_damaged_block_is_said_to_be_computed_again(tmp_path, caplog):
    store = FeatureStore(tmp_path, "e" * 64)
    write(store)
    block(tmp_path).write_bytes(block(tmp_path).read_bytes()[:-1] + b"?")
    assert store.get(DIGESTS) is None
    assert "damaged features are computed again" in caplog.text


@pytest.mark.parametrize("keep", [0, 7, 50, 100, -1])
def test_what_a_kill_cut_short_is_not_stored_and_harms_no_other_block(tmp_path, keep, monkeypatch):
    store = FeatureStore(tmp_path, "e" * 64)
    write(store)
    block(tmp_path).write_bytes(block(tmp_path).read_bytes() + block(tmp_path).read_bytes()[:keep])
    monkeypatch.setattr(features, "_WRITER", "next")
    after = FeatureStore(tmp_path, "e" * 64)
    write(after, DIGESTS[::-1], VECTORS[::-1])
    for reader in (after, FeatureStore(tmp_path, "e" * 64)):
        np.testing.assert_array_equal(reader.get(DIGESTS), VECTORS)
        np.testing.assert_array_equal(reader.get(DIGESTS[::-1]), VECTORS[::-1])
        assert len(reader.stored()) == 2


def test_a_block_is_in_its_file_as_soon_as_it_is_put(tmp_path, monkeypatch):
    for number in range(3):
        monkeypatch.setattr(features, "_WRITER", f"writer-{number % 2}")
        write(FeatureStore(tmp_path, "e" * 64), [str(number)] * 3)
        reader = FeatureStore(tmp_path, "e" * 64)
        assert len(reader.stored()) == number + 1
        np.testing.assert_array_equal(reader.get([str(number)] * 3), VECTORS)


def test_a_block_with_too_few_vectors_is_not_taken(tmp_path):
    store = FeatureStore(tmp_path, "e" * 64)
    write(store, DIGESTS, VECTORS[:2])
    assert store.get(DIGESTS) is None


def test_a_disk_that_cannot_be_written_is_an_error_of_the_user(tmp_path):
    (tmp_path / "features").touch()
    with pytest.raises(UserError, match=r"a file is where a folder is needed"):
        write(FeatureStore(tmp_path / "features", "e" * 64))


def _put_often(folder, number):
    store = FeatureStore(folder, "e" * 64)
    for _ in range(100):
        write(store)
        if store.get(DIGESTS) is None:
            raise SystemExit(number + 1)


def test_processes_that_write_the_same_block_at_once_do_not_harm_it(tmp_path):
    workers = [FORK.Process(target=_put_often, args=(tmp_path, number), daemon=True) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(FeatureStore(tmp_path, "e" * 64).stored()) == 1
    assert len(list((tmp_path / ("e" * 16)).iterdir())) == 4
