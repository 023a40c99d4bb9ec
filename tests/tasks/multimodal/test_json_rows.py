"""Large JSON files are read row by row, as small ones are read whole."""

import io
import json

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.multimodal import json_rows, predictions
from hypothesis import given
from hypothesis import strategies as st

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
rows = st.dictionaries(st.text(max_size=3), values, max_size=3)
layouts = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])


@given(st.lists(rows, max_size=4), layouts, st.integers(1, 30))
def test_the_rows_of_a_list_are_those_of_the_whole(content, layout, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_CHUNK", chunk)
        assert list(json_rows.streamed(io.StringIO(json.dumps(content, **layout)))) == content


@given(
    st.lists(rows, min_size=1, max_size=4), st.dictionaries(st.text(max_size=3), st.text() | rows, max_size=3), layouts
)
def test_so_are_those_of_a_list_within_an_object(content, around, layout):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_CHUNK", 7)
        text = json.dumps({**around, "annotations": content, "splits": ["val"]}, **layout)
        assert list(json_rows.streamed(io.StringIO(text))) == content


@pytest.mark.parametrize(
    "content",
    [
        '[{"question_id": 1, "text": "a"}, {"question_id": 2, "text": "b"}]',
        '{"info": {}, "annotations": [{"question_id": 1}]}',
        '{"1": {"text": "a"}, "2": {"text": "b"}}',
        '{"outputs": {"1": "a"}, "acc": 1}',
        '{"question_id": 1, "of": [{"a": 1}]}\n{"question_id": 2, "of": [{"a": 2}]}\n',
        "[]",
    ],
)
def test_a_large_file_has_the_rows_of_a_small_one(tmp_path, monkeypatch, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    small = list(predictions.read_rows(path))
    monkeypatch.setattr(predictions, "_LARGE", 0)
    assert list(predictions.read_rows(path)) == small


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"a": 1}, {"a": 2', r"a\.json, item 2: not JSON"),
        ('[{"a": 1} {"a": 2}]', r"a\.json, item 2: not JSON: Expecting '\]'"),
        ('[{"a": 1}, 5]', r"a\.json, item 2: 5 is not an object"),
        ("[", r"a\.json: not JSON"),
        ("", r"a\.json: not JSON"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(tmp_path, monkeypatch, content, message):
    path = tmp_path / "a.json"
    path.write_text(content)
    monkeypatch.setattr(predictions, "_LARGE", -1)
    with pytest.raises(UserError, match=message):
        list(predictions.read_rows(path))
