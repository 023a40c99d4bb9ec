"""The board as a site: a first page, a page per task, and every sample in files of limited size."""

import json
import re

import pytest
from adaptbench.harness.cli import reporting
from adaptbench.harness.cli.reporting import ReportOptions, write_reports
from adaptbench.leaderboards import site as site_module
from adaptbench.leaderboards.leaderboard import leaderboard

EVIL = "</script><script>alert(1)</script>\u2028\u202e\0\ud83d\"'`${alert(2)}"


@pytest.fixture
def short_parts(monkeypatch):
    monkeypatch.setattr(site_module, "_PART", 500)


@pytest.fixture
def answered(new_run, make):
    """A run of 60 questions: "two" is right where "one" is not, and has no score for the last three."""
    right = [float(number % 3 == 0) for number in range(60)]
    run = new_run().cell("one", right, outputs=[EVIL, *(f"one's answer {i}" for i in range(1, 60))])
    return run.cell("two", [1 - score for score in right[:-3]] + [None] * 3)


def read(out, name):
    """What a file of samples hands over."""
    return json.loads(re.fullmatch(r'samplesRead\(".*?",(.*)\);\n', (out / name).read_text("utf-8"), re.DOTALL)[1])


def test_every_sample_is_in_one_part_and_the_index_says_what_became_of_it(answered, write, tmp_path, short_parts):
    out = write(leaderboard, tmp_path / "site", answered)
    index = read(out, "samples/toy/index.js")
    parts = [read(out, f"samples/toy/{number}.js") for number in range(len(index["starts"]))]
    assert len(parts) > 5
    assert [item["id"] for part in parts for item in part] == [f"q{number}" for number in range(60)]
    assert index["starts"] == [sum(map(len, parts[:number])) for number in range(len(parts))]
    assert dict(zip(index["models"], index["fates"], strict=True)) == {"one": "rww" * 20, "two": "wrr" * 19 + "nnn"}
    assert index["disagree"] == "d" * 60
    assert not (out / f"samples/toy/{len(parts)}.js").exists()
    assert all(len(part) == 1 or sum(len(json.dumps(item)) for item in part) < 2000 for part in parts)


def test_texts_of_strangers_are_data(answered, write, tmp_path):
    out = write(leaderboard, tmp_path / "site", answered)
    escaped = EVIL.replace("\u202e", r"\u202e").replace("\0", r"\u0000").replace("\ud83d", r"\ud83d")
    assert read(out, "samples/toy/0.js")[0]["answers"][1][0] == escaped
    for page in out.glob("*.html"):
        assert "<script>alert" not in page.read_text("utf-8")


def test_pages_are_named_after_tasks_and_never_alike(new_run, make, write, tmp_path):
    run = new_run()
    for task in ("Index", "a b", "a(b)", "a-b-2", "../..", "x" * 300):
        run.cell("one", make.scores(0.5, n=20), task=task)
    out = write(leaderboard, tmp_path / "site", run)
    names = {path.stem for path in out.glob("*.html")}
    assert names == {"index", "index-2", "a-b", "a-b-2", "a-b-2-2", "task", "x" * 60}
    index = (out / "index.html").read_text("utf-8")
    assert {name for name in names if f'href="{name}.html"' in index} == names - {"index"}


def test_a_page_holds_no_script_and_allows_none_but_files(answered, write, tmp_path):
    out = write(leaderboard, tmp_path / "site", answered)
    for page in out.glob("*.html"):
        html = page.read_text("utf-8")
        assert "script-src &#39;self&#39;;" in html
        assert set(re.findall(r"<script([^>]*)>", html)) == {
            *(f' type="application/json" id="{name}"' for name in ("charts", "samples")),
            *(f' defer src="assets/{name}.js"' for name in ("vega", "datatables", "board")),
        }


class TestCommand:
    @pytest.fixture(autouse=True)
    def installed(self, monkeypatch):
        monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")

    def test_a_site_is_made_again_only_if_something_changed(self, answered, tmp_path, capsys):
        out = tmp_path / "site"
        made = lambda: (write_reports(ReportOptions([answered.path], [out])), (out / "index.html").stat().st_ino)[1]  # noqa: E731
        first = made()
        assert made() == first
        (out / "toy.html").unlink()
        assert made() != first
        assert (out / "toy.html").exists()
        assert capsys.readouterr().out == f"{out / 'index.html'}\n" * 3

    def test_a_large_run_is_a_site_unless_a_file_is_named(self, answered, capsys, monkeypatch):
        monkeypatch.setattr(reporting, "_LARGE", 1000)
        write_reports(ReportOptions([answered.path]))
        write_reports(ReportOptions([answered.path], [answered.path / "board.html"]))
        folder = answered.path / "leaderboard"
        assert capsys.readouterr().out == f"{folder / 'index.html'}\n{answered.path / 'board.html'}\n"

    def test_a_small_run_is_a_file(self, answered, capsys):
        write_reports(ReportOptions([answered.path]))
        assert capsys.readouterr().out == f"{answered.path / 'leaderboard.html'}\n"


@pytest.mark.browser
class TestBrowser:
    @pytest.fixture
    def visit(self, chromium, watched):
        """Open a site from the disk; in the end it must have kept quiet and asked for nothing but its own files."""
        opened = []

        def open_page(out, page="index.html", **options):
            context = chromium.new_context(**options)
            tab = context.new_page()
            opened.append((context, watched(tab), out.as_uri()))
            tab.goto((out / page).as_uri())
            return tab

        yield open_page
        for context, seen, address in opened:
            context.close()
            assert seen.console == []
            assert seen.dialogs == []
            assert all(request.startswith(f"{address}/") for request in seen.requests)

    def test_samples_are_found_from_the_first_page_and_read_page_by_page(
        self, answered, write, tmp_path, visit, short_parts
    ):
        from playwright.sync_api import expect

        page = visit(write(leaderboard, tmp_path / "site", answered))
        page.locator("#tasks").get_by_role("link", name="toy").click()
        expect(page.locator("h1")).to_have_text("toy")
        page.get_by_text("Samples: all 60").click()
        ids, count = page.locator(".sample h4"), page.locator(".controls output")
        show, model, length = (page.locator(".controls select").nth(place) for place in (0, 1, 3))
        expect(count).to_have_text("1 to 10 of 60")
        expect(ids.first).to_have_text("q0")
        model.select_option("one")
        show.select_option("wrong")
        expect(count).to_have_text("1 to 10 of 40")
        page.get_by_role("button", name="Next").click()
        expect(ids).to_have_text([f"q{number}" for number in (16, 17, 19, 20, 22, 23, 25, 26, 28, 29)])
        page.get_by_label("Page, 1 to 4").fill("99")
        page.get_by_label("Page, 1 to 4").press("Enter")
        expect(count).to_have_text("31 to 40 of 40")
        expect(ids.last).to_have_text("q59")
        length.select_option("25")
        expect(ids).to_have_count(25)
        model.select_option("two")
        show.select_option("not scored")
        expect(ids).to_have_text(["q57", "q58", "q59"])
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    def test_the_page_of_a_task_filters_its_models(self, answered, write, tmp_path, visit):
        page = visit(
            write(leaderboard, tmp_path / "site", answered), "toy.html", viewport={"width": 390, "height": 800}
        )
        page.get_by_label("Filter models").fill("tw")
        assert page.locator("#task table.sortable tbody th:visible").all_inner_texts() == ["two"]
        assert page.locator("#matches").inner_text() == "1 of 2"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    def test_a_part_that_is_missing_is_named(self, answered, write, tmp_path, chromium):
        from playwright.sync_api import expect

        out = write(leaderboard, tmp_path / "site", answered)
        (out / "samples/toy/0.js").unlink()
        page = chromium.new_page()
        page.goto((out / "toy.html").as_uri())
        page.get_by_text("Samples: all 60").click()
        expect(page.locator(".controls output")).to_have_text("samples/toy/0.js cannot be read")
        page.close()
