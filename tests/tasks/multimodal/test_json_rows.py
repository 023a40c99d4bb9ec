"""The rows of JSON files are made one at a time, and are those of the whole."""

import json
from typing import TypedDict

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.tasks.multimodal import predictions
from adaptbench.tasks.multimodal.json_rows import json_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

texts = st.text(max_size=5) | st.sampled_from(["\ud800", "\0", "</script>", "9" * 30])
numbers = st.integers() | st.integers(-(10**40), 10**40) | st.floats()
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
rows = st.dictionaries(texts, values, max_size=3)
layouts = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}])
in_a_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(path, text, *columns):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = json_rows(path, *columns)
    return None if found is None else [row for _, row in found]


def same(found, expected):
    """NaN equals no NaN, but is written alike."""
    return json.dumps(found) == json.dumps(expected)


@in_a_folder
@given(st.lists(rows, max_size=4), layouts)
def test_the_rows_of_a_list_are_those_of_the_whole(tmp_path, content, layout):
    text = json.dumps(content, **layout)
    found = read(tmp_path / "a.json", text)
    if found is None:  # NaN and infinities, or half a surrogate: the file is read whole
        assert any(strange in text for strange in ("NaN", "Infinity", "\\ud"))
    else:
        assert same(found, json.loads(text))


@in_a_folder
@given(st.lists(st.dictionaries(texts, st.integers(), max_size=2), min_size=1, max_size=4), rows, layouts)
def test_so_are_those_of_a_list_within_an_object(tmp_path, content, info, layout):
    text = json.dumps({"info": {"of": [info]}, "annotations": content, "split": "val"}, **layout)
    found = read(tmp_path / "a.json", text)
    assert found is None or same(found, content)
    assert found is not None or any(strange in text for strange in ("NaN", "Infinity", "\\ud"))


class Wanted(TypedDict, total=False):
    question_id: int | str
    answers: list[str]


@in_a_folder
@given(st.dictionaries(st.sampled_from(["question_id", "answers", "other"]), values | st.lists(st.text(max_size=2))))
def test_columns_that_are_not_needed_are_left_out_where_the_needed_ones_fit(tmp_path, row):
    found = read(tmp_path / "a.json", json.dumps([row]), Wanted)
    if found is not None:
        assert all(same(found[0].get(name), row.get(name)) for name in Wanted.__annotations__)
    assert read(tmp_path / "a.json", '[{"question_id": 7, "other": {"x": [1]}}]', Wanted) == [{"question_id": 7}]


def test_a_byte_order_mark_is_read_over(tmp_path):
    assert read(tmp_path / "a.json", b'\xef\xbb\xbf[{"a": 1}]') == [{"a": 1}]


@pytest.mark.parametrize(
    "content",
    [
        '{"1": {"text": "a"}, "2": {"text": "b"}}',
        '{"outputs": {"1": "a"}, "acc": 1}',
        '{"question_id": 1, "text": "a"}\n{"question_id": 2, "text": "b"}\n',
        '{"a": [1], "b": [{"c": 2}]}',
        "[1, NaN]",
        "[" * 5_000 + "]" * 5_000,
        "[",
        "",
        "7",
    ],
)
def test_what_else_a_file_holds_is_not_rows(tmp_path, content):
    assert read(tmp_path / "a.json", content) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"a": 1}, {"a": 2', r"a\.json: not JSON"),
        ('[{"a": 1} {"a": 2}]', r"a\.json: not JSON: Expecting ',' delimiter"),
        ('[{"a": 1}, 5]', r"a\.json, item 2: 5 is not an object"),
        (b'[{"a": 1}, {"a": "\xff"}]', r"a\.json, item 2: not JSON"),
        ('[{"a": ' + "9" * 5_000 + "}]", r"a\.json, item 1: not JSON: .*digits"),
        ("[", r"a\.json: not JSON"),
        ("", r"a\.json: not JSON"),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        list(predictions.read_rows(path))
