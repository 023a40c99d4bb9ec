import multiprocessing

import numpy as np
import pytest
from adaptbench import UserError
from adaptbench.harness.store import FeatureStore
from hypothesis import given, settings
from hypothesis import strategies as st

DIGESTS = ["aa", "bb", "cc"]
VECTORS = np.array([[1, 2], [3, 4.5], [np.nan, -0.0]], dtype=np.float32)
FORK = multiprocessing.get_context("fork")


def block(folder):
    (path,) = folder.rglob("*.safetensors")
    return path


def test_a_block_is_read_as_it_was_written_by_the_encoder_and_the_contents(tmp_path):
    store = FeatureStore(tmp_path, "e" * 64)
    assert store.get(DIGESTS) is None
    store.put(DIGESTS, VECTORS)
    np.testing.assert_array_equal(store.get(DIGESTS), VECTORS)
    assert store.get(DIGESTS).dtype == np.float32
    assert store.get(DIGESTS[::-1]) is None
    assert store.get(DIGESTS[:2]) is None
    assert store.get(["aab", "b", "cc"]) is None
    assert FeatureStore(tmp_path, "f" * 64).get(DIGESTS) is None


def test_a_block_is_stored_as_float32_whatever_the_model_gave(tmp_path):
    store = FeatureStore(tmp_path, "e" * 64)
    store.put(DIGESTS, VECTORS.astype(np.float64)[:, ::-1])
    np.testing.assert_array_equal(store.get(DIGESTS), VECTORS[:, ::-1])


@settings(deadline=None)
@given(st.data())
def test_a_damaged_block_is_computed_again(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("features")
    store = FeatureStore(folder, "e" * 64)
    store.put(DIGESTS, VECTORS)
    written = block(folder).read_bytes()
    damaged = bytearray(written)
    place = data.draw(st.integers(0, len(written) * 8 - 1))
    damaged[place // 8] ^= 1 << place % 8
    block(folder).write_bytes(damaged)
    found = store.get(DIGESTS)
    assert found is None or np.array_equal(found, VECTORS, equal_nan=True)
    store.put(DIGESTS, VECTORS)
    assert block(folder).read_bytes() == written


@pytest.mark.parametrize("keep", [0, 7, 20, 100, -1])
def test_a_truncated_block_is_computed_again_and_said_to_be(tmp_path, keep, caplog):
    store = FeatureStore(tmp_path, "e" * 64)
    store.put(DIGESTS, VECTORS)
    block(tmp_path).write_bytes(block(tmp_path).read_bytes()[:keep])
    assert store.get(DIGESTS) is None
    assert "damaged features are computed again" in caplog.text


def test_a_block_with_too_few_vectors_is_not_taken(tmp_path):
    store = FeatureStore(tmp_path, "e" * 64)
    store.put(DIGESTS, VECTORS[:2])
    assert store.get(DIGESTS) is None


def test_a_disk_that_cannot_be_written_is_an_error_of_the_user(tmp_path):
    (tmp_path / "features").touch()
    with pytest.raises(UserError, match=r"a file is where a folder is needed"):
        FeatureStore(tmp_path / "features", "e" * 64).put(DIGESTS, VECTORS)


def _put_often(folder, number):
    store = FeatureStore(folder, "e" * 64)
    for _ in range(100):
        store.put(DIGESTS, VECTORS)
        if store.get(DIGESTS) is None:
            raise SystemExit(number + 1)


def test_processes_that_write_the_same_block_at_once_do_not_harm_it(tmp_path):
    workers = [FORK.Process(target=_put_often, args=(tmp_path, number), daemon=True) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert sorted(path.name for path in block(tmp_path).parent.iterdir()) == [".lock", block(tmp_path).name]
