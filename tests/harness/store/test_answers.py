"""Answers that no record holds yet."""

from __future__ import annotations

import pytest
from adaptbench.harness.store import AnswerStore

ANSWERS = {"0a": ["yes \ud83d\n", [], ""], "0b": [[-1.5, True], [{"text_tokens": 3}], ""], "0c": [None, [], "a fault"]}


@pytest.fixture
def path(tmp_path):
    store = AnswerStore(tmp_path / "answers.jsonl")
    assert store.get("0a") is None
    for digest, answer in ANSWERS.items():
        store.put(digest, answer)
        assert store.get(digest) == answer
    return tmp_path / "answers.jsonl"


def read(path):
    store = AnswerStore(path)
    return {digest: found for digest in ANSWERS if (found := store.get(digest)) is not None}


def test_another_process_finds_them(path):
    assert read(path) == ANSWERS


def test_what_a_kill_cuts_off_is_missing_and_spoils_nothing_that_follows(path):
    whole = path.read_bytes()
    last = whole.rindex(b"\n")
    for end in range(last, len(whole)):
        path.write_bytes(whole[:end])
        assert read(path) == {digest: ANSWERS[digest] for digest in ("0a", "0b")}
        AnswerStore(path).put("0c", ANSWERS["0c"])
        assert read(path) == ANSWERS


def test_a_line_that_is_changed_is_no_answer(path):
    whole = path.read_bytes()
    for place in range(1, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = read(path)
        assert found.items() <= ANSWERS.items()
        assert len(found) < len(ANSWERS)


def test_they_are_forgotten_once_records_hold_them(path):
    store = AnswerStore(path)
    store.clear()
    assert not path.exists()
    assert store.get("0a") is None
    store.clear()
    with pytest.raises(ValueError, match=r"finite|NaN|nan"):
        store.put("0a", float("nan"))
    assert read(path) == {}
