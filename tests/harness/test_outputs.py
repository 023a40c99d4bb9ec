"""What reports and figures return is written whole, or not at all."""

import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.outputs import FOLDER, file_form, write_report


def files_of(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def write(out, *files):
    write_report(out, FOLDER, iter(files))


def test_a_name_without_an_ending_and_a_folder_that_is_there_are_folders(tmp_path):
    formats = (".html", FOLDER)
    (tmp_path / "site.v2").mkdir()
    assert [file_form(tmp_path / name, formats, "x") for name in ("site", "site.v2", "a.HTML")] == ["/", "/", ".html"]
    with pytest.raises(UserError, match=r"the file has no ending; use one of \.html"):
        file_form(tmp_path / "site", (".html",), "x")
    with pytest.raises(UserError, match=r"x is not written as '\.htm'.*use one of \.html, a folder"):
        file_form(tmp_path / "a.htm", formats, "x")


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    out = tmp_path / "new" / "site"
    write(out, ("index.html", "one"), ("parts/1.js", b"1"), ("parts/2.js", "2"))
    write(out, ("index.html", "two"), ("parts/1.js", "1"))
    assert files_of(out) == {"index.html": "two", "parts/1.js": "1"}
    assert [path.name for path in out.parent.iterdir()] == ["site"]


def test_a_fault_on_the_way_leaves_what_was_there(tmp_path):
    def broken():
        yield "index.html", "two"
        raise UserError("no more")

    write(tmp_path / "site", ("index.html", "one"))
    with pytest.raises(UserError, match="no more"):
        write_report(tmp_path / "site", FOLDER, broken())
    assert files_of(tmp_path / "site") == {"index.html": "one"}
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_what_no_report_wrote_stays(tmp_path):
    (tmp_path / "docs").mkdir()
    write(tmp_path / "docs", ("index.html", "one"))  # an empty folder may be taken
    (tmp_path / "mine").mkdir()
    for place in (tmp_path / "mine" / "notes.md", tmp_path / "file"):
        place.write_text("mine")
    for name in ("mine", "file"):
        with pytest.raises(UserError, match="no report wrote it; name a new or an empty folder"):
            write(tmp_path / name, ("index.html", "one"))
    assert files_of(tmp_path / "mine") == {"notes.md": "mine"}


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_files_stay_below_the_folder(tmp_path, name):
    with pytest.raises(UserError, match="return paths below it"):
        write(tmp_path / "site", (name, "text"))
    assert not list(tmp_path.rglob("outside"))


def test_only_texts_and_bytes_are_written(tmp_path):
    with pytest.raises(UserError, match="it returned a int; return text or bytes"):
        write(tmp_path / "site", ("index.html", 1))
    with pytest.raises(UserError, match="it returned one content for a folder"):
        write_report(tmp_path / "site", FOLDER, "text")
    with pytest.raises(UserError, match="it returned a list"):
        write_report(tmp_path / "a.html", ".html", [("index.html", "text")])
