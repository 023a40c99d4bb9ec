import os

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.reading import ALLOWED, json_value, read_json_lines, read_text, within


def test_a_file_that_a_data_set_names_is_below_it(tmp_path):
    assert within(tmp_path, "a/../b.png") == tmp_path / "b.png"
    assert within(tmp_path, str(tmp_path / "b.png")) == tmp_path / "b.png"


@pytest.mark.parametrize("name", ["../b.png", "a/../../b.png", "/etc/passwd", "../run-2/b.png"])
def test_no_other_file_is_read(tmp_path, name):
    folder = tmp_path / "run"
    with pytest.raises(UserError, match=r"names the file .* which is not below it; .* ADAPTBENCH_DATA_FOLDERS"):
        within(folder, name)


def test_a_folder_can_be_allowed(tmp_path, monkeypatch):
    monkeypatch.setenv(ALLOWED, os.pathsep.join(["", str(tmp_path / "other")]))
    assert within(tmp_path / "data", "../other/b.png") == tmp_path / "other" / "b.png"
    with pytest.raises(UserError):
        within(tmp_path / "data", "../third/b.png")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5000, "digits"),
        (b"\xff", "utf-8"),
        ("[1,\n2", "x, line 2: not JSON"),
        ("NaN", "NaN is not a number that JSON has"),
    ],
)
def test_what_is_not_json_is_one_line(text, fault):
    with pytest.raises(UserError, match=fault):
        json_value(text, "x", finite=True)


def test_lines_are_read_one_by_one_and_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('\ufeff{"a": "\u2028"}\r\n\n[\n', "utf-8")
    rows = read_json_lines(path)
    assert next(rows) == (f"{path}, line 1", {"a": "\u2028"})
    with pytest.raises(UserError, match=r"a.jsonl, line 3: not JSON"):
        next(rows)


@pytest.mark.parametrize("path", ["no\0thing", "nowhere/at-all", "half\ud83d"])
def test_a_file_that_is_not_there_is_one_line(path):
    with pytest.raises(UserError, match=r"cannot read it: .*; check the path"):
        read_text(path)
