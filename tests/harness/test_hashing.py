import json
import math
import re

import numpy as np
import pytest
from adaptbench.harness import hashing
from adaptbench.harness.hashing import array_digest, canonical_json, image_digest, sha256_file, sha256_hex
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

TEXT = st.text(st.characters(codec=None))  # lone surrogates included
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=20
)


def test_the_digests_of_values_are_those_that_stored_runs_were_named_by():
    value = {"b": [1, -0.0, 1e-07, True, None], "a": 'ü\ud83d\n"', "": ("x",)}
    assert canonical_json(value) == b'{"":["x"],"a":"\xc3\xbc\\ud83d\\n\\"","b":[1,-0.0,1e-07,true,null]}'
    assert sha256_hex(canonical_json(value)) == "0854296de073b2db714f6a39b17c65acf0f55bda9a231fd6de2c684e12882d54"
    assert sha256_hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256_hex(b"ab", b"c") == "43ee655579de01ca739b3f95c1c2d3f46d353b2c0df818064ea594506cdb2617"
    assert (
        array_digest(np.arange(6, dtype=np.int16).reshape(2, 3))
        == "7d3232338cd3a7231af391e698cb9116972ff13ddc8eb4fb2d34584ff683c80b"
    )
    assert (
        image_digest(Image.new("RGB", (3, 2), (1, 2, 3)))
        == "7ca631fe9978e63091e45be62f1656ac8fca5f6842f6ad557f5c8a908f8ede0e"
    )


@given(VALUES)
def test_canonical_json_is_utf8_and_reads_back_as_the_value(value):
    text = canonical_json(value)
    text.decode("utf-8")
    again = json.loads(text)
    assert canonical_json(again) == canonical_json(json.loads(canonical_json(again)))
    if not _surrogate_pairs(value):
        assert again == value
        assert canonical_json(again) == text


@given(VALUES)
def test_canonical_json_is_what_pythons_json_writes(value):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical_json(value) == text.encode("utf-8", "backslashreplace")


def test_a_list_that_is_held_twice_is_written_twice():
    twice = [1, [2.5]]
    assert canonical_json({"b": twice, "a": [twice, twice]}) == b'{"a":[[1,[2.5]],[1,[2.5]]],"b":[1,[2.5]]}'


def _surrogate_pairs(value):
    """Two halves side by side: Python keeps them apart, JSON reads them as the character that they spell."""
    return json.loads(json.dumps(value)) != value


@given(st.dictionaries(TEXT, LEAVES))
def test_the_order_of_keys_does_not_matter(value):
    assert canonical_json(dict(reversed(value.items()))) == canonical_json(value)


def test_odd_text_is_stored_escaped_and_keeps_its_identity():
    texts = ["\ud83d", "\\ud83d", "?", "\ufffd", "\udcff", "\u2028", "\x00"]
    stored = [canonical_json(text) for text in texts]
    assert len(set(stored)) == len(texts)
    assert [json.loads(text) for text in stored] == texts


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "value is nan, which is not finite"),
        ({"a": [0.5, {"b": -math.inf}]}, "value.a[1].b is -inf, which is not finite"),
        ({"a": {1: 2}}, "value.a has the key 1, which is not text"),
        ([{None: 1}], "value[0] has the key None, which is not text"),
        ({"a": (1, {2, 3})}, "value.a[1] is a set, which JSON cannot hold"),
        ([np.float32(1)], "value[0] is a float32, which JSON cannot hold"),
        (b"", "value is a bytes, which JSON cannot hold"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(value, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        canonical_json(value)


def test_the_place_starts_with_the_name_that_the_caller_gives():
    with pytest.raises(ValueError, match=r"^record.output is nan"):
        canonical_json({"output": math.nan}, "record")


def test_a_value_that_holds_itself_is_refused():
    loop = []
    loop.append(loop)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for value in (loop, deep):
        with pytest.raises(ValueError, match=r"holds itself, or is nested too deeply"):
            canonical_json(value)


@given(st.lists(st.binary(max_size=5), max_size=5), st.lists(st.binary(max_size=5), max_size=5))
def test_other_parts_have_another_hash(one, two):
    assert (sha256_hex(*one) == sha256_hex(*two)) == (one == two)


def test_a_file_is_hashed_as_its_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_an_array_is_known_by_type_shape_and_content_not_by_layout():
    array = np.arange(6, dtype="<i4").reshape(2, 3)
    assert array_digest(array) == array_digest(array.astype(">i4")) == array_digest(np.asfortranarray(array))
    others = [array.reshape(3, 2), array.astype("<i8"), array + 1, np.array(3), np.array([3]), array[:0]]
    assert len({array_digest(other) for other in [array, *others]}) == 7


def test_an_array_of_objects_has_no_digest():
    with pytest.raises(ValueError, match=r"Python objects"):
        array_digest(np.array([object()]))


def test_an_image_is_known_by_mode_size_pixels_and_palette():
    grey = Image.new("L", (2, 2), 7)
    palette = grey.convert("P")
    other = palette.copy()
    other.putpalette([9, 9, 9] * 256)
    images = [grey, Image.new("L", (4, 1), 7), Image.new("L", (2, 2), 8), grey.convert("RGB"), palette, other]
    assert len({image_digest(image) for image in images}) == len(images)
    assert image_digest(grey) == image_digest(grey.copy())


def test_the_package_is_known_by_the_code_that_can_change_an_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(hashing, "__file__", str(tmp_path / "harness" / "hashing.py"))
    for name in ("harness/hashing.py", "tasks/few/x.py", "leaderboards/board.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"a = 1\nb = 2\n")
    digest = hashing.package_source_digest.__wrapped__
    before = digest()
    (tmp_path / "leaderboards/board.py").write_bytes(b"a = 3\n")
    (tmp_path / "harness/hashing.py").write_bytes(b"a = 1\r\nb = 2\r\n")
    assert digest() == before
    (tmp_path / "tasks/few/x.py").write_bytes(b"a = 3\n")
    changed = digest()
    (tmp_path / "tasks/few/x.py").rename(tmp_path / "tasks/few/y.py")
    assert len({before, changed, digest()}) == 3
