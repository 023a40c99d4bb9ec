"""The one error that a user reads."""

from __future__ import annotations

import pytest
from adaptbench import UserError


@pytest.mark.parametrize(
    ("where", "todo", "text"),
    [
        ("", "", "it is wrong"),
        ("file.yaml", "", "file.yaml: it is wrong"),
        ("", "fix it", "it is wrong; fix it"),
        ("file.yaml", "fix it", "file.yaml: it is wrong; fix it"),
    ],
)
def test_says_what_where_and_what_to_do(where, todo, text):
    error = UserError("it is wrong", where=where, todo=todo)
    assert str(error) == text
    assert (error.what, error.where, error.todo) == ("it is wrong", where, todo)


def test_is_one_line_whatever_it_is_about():
    assert str(UserError("a\n  b", where="c\td", todo="e\r\n")) == "c d: a b; e"
