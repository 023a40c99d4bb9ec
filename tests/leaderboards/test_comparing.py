"""A comparison as files and on the command line: what it shows, what it refuses, and that hostile text stays text."""

import json
import re

import pytest
from adaptbench import run as run_models
from adaptbench.harness.cli.comparing import CompareOptions, compare_sides
from adaptbench.harness.cli.reporting import ReportOptions, write_reports
from adaptbench.harness.errors import UserError
from adaptbench.leaderboards.comparing import comparison, files

EVIL = "</style><script>alert(1)</script><img src=x onerror=alert(2)>|`*\u202e\x1b[31m"


def right(hits, n=40):
    return [float(i < hits) for i in range(n)]


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Two models that say yes and no, on real questions about images."""
    out = tmp_path_factory.mktemp("asked") / "run"
    return run_models(["says:no", "says:yes"], "shapes-open(scenes=2)", out=out).path


@pytest.fixture
def compared(capsys):
    """What ``adaptbench compare`` prints."""

    def run(*sides, **options):
        compare_sides(CompareOptions(sides=tuple(map(str, sides)), **options))
        return capsys.readouterr().out

    return run


def test_the_terminal_shows_a_row_for_each_task(new_run, make, compared):
    one, other = new_run("one"), new_run("other")
    for task, hits in (("toy", 38), ("toy|hard", 12)):
        one.cell("model", right(30), task=task, flops=make.flops(2_000_000), parameters=10)
        other.cell("model", right(hits), task=task, flops=make.flops(1_000_000), parameters=10)
    text = compared(one.path, other.path)
    heads = "difference p FLOPs time retained baseline candidate lost gained detectable memory parameters".split()
    lines = [re.split(r" {2,}", line) for line in text.splitlines()]
    assert lines[:2] == [["baseline", "one"], ["candidate", "other"]]
    assert lines[3] == ["task", "model", "verdict", *heads]
    better, worse = (dict(zip(lines[3], line, strict=True)) for line in lines[4:6])
    assert (better["task"], better["verdict"]) == ("toy", "▲ better")
    assert (worse["task"], worse["verdict"]) == ("toy|hard", "▼ worse")
    assert (better["difference"], better["p"], better["FLOPs"]) == ("+20.00 [+6.46, +34.66]", "0.008", "× 0.5")
    assert (worse["difference"], worse["p"], worse["lost"]) == ("-45.00 [-58.34, -27.08]", "< 0.001", "18")
    assert (worse["baseline"], worse["candidate"]) == ("75.00 [59.81, 85.81]", "30.00 [18.07, 45.43]")
    assert (worse["retained"], worse["detectable"], worse["gained"]) == ("40.00 [24.84, 60.35]", "37.9", "0")
    assert text.splitlines()[-1] == "2 comparisons, 1 better, 1 worse; p adjusted for all rows of a table (Holm)."


def test_what_is_refused_is_shown_with_its_reason(new_run, compared):
    one, other = new_run("one").cell("m", right(30)), new_run("other").cell("m", right(9), samples_digest="1b" * 32)
    text = compared(one.path, other.path)
    assert "note: other samples: 5a5a5a5a, and 1b1b1b1b" in text
    assert "– not comparable" in text.splitlines()[4]


def test_questions_images_and_truth_are_shown(asked, compared, tmp_path):
    page, table = tmp_path / "c.html", tmp_path / "c.md"
    printed = compared(asked, baseline="says:no", candidate="says:yes", outs=[page, table], samples=2)
    assert printed.split() == [str(page), str(table)]
    for text in (page.read_text(), table.read_text()):
        assert len(re.findall("Is (?:the|there) [a-z ]+?", text)) >= 2
        assert "yes instead of no" in text
    assert page.read_text().count('<img src="data:image/png;base64,') == 4
    assert "4 are shown" in page.read_text()


def test_other_metrics_follow_in_a_table_of_their_own(tmp_path, compared):
    run = run_models(["says:no", "says:yes"], "shapes-pope(scenes=2)", out=tmp_path / "run").path
    text = compared(run, baseline="says:no", candidate="says:yes")
    _, first, others, *_ = text.split("\n\n")
    assert first.startswith("task ")
    rows = [re.split(r" {2,}", line) for line in others.splitlines()]
    assert rows[0] == ["task", "model", "metric", "verdict", "difference", "p", "baseline", "candidate"]
    assert [row[2] for row in rows[1:]] == ["F1, %", "precision, %", "recall, %", "yes ratio, %", "unread, %"]
    assert rows[3][4].startswith("+100.00")
    outs = [tmp_path / "c.md", tmp_path / "c.html"]
    compared(run, baseline="says:no", candidate="says:yes", outs=outs)
    for out, heading in zip(outs, ("### Other metrics\n", "<h2>Other metrics</h2>"), strict=True):
        assert heading in out.read_text()


def test_episodes_show_classes_counts_and_support_images(tmp_path, compared):
    run = run_models(["constant", "pixels"], "digits-5way-1shot(episodes=3)", out=tmp_path / "run").path
    compared(run, baseline="constant", candidate="pixels", outs=[tmp_path / "c.html"], samples=2)
    page = (tmp_path / "c.html").read_text()
    assert page.count("<figure>") == 2 * 5
    names = re.findall(r'alt="(\d)"><figcaption>\1</figcaption>', page)
    assert page.count(f"5-way 1-shot: {', '.join(names[:5])}\n") == 1
    assert page.count("<dd>15 of 75 right</dd>") == 2
    assert "Without questions" not in page


def test_json_holds_every_flip_and_the_samples_asked_for(asked, compared):
    (task,) = json.loads(compared(asked, baseline="says:no", candidate="says:yes", samples=1, as_json=True))["tasks"]
    assert len(task["flips"]["gained"]) + len(task["flips"]["lost"]) > 2
    lost, gained = task["flips"]["samples"]
    assert (lost["gained"], gained["gained"]) == (False, True)
    assert (gained["truth"], gained["baseline"], gained["candidate"]) == ("yes", "no", "yes")
    assert gained["question"].endswith("Answer the question using a single word or phrase.")
    assert gained["why"] == "yes instead of no"


def test_without_the_task_the_answers_are_shown_and_why_not_the_questions(new_run, compared, tmp_path):
    one = new_run("one").cell("m", right(30), outputs=[str(i) for i in range(40)])
    other = new_run("other").cell("m", right(29), outputs=[str(-i) for i in range(40)])
    compared(one.path, other.path, outs=[tmp_path / "c.md"])
    text = (tmp_path / "c.md").read_text()
    assert "Without questions: " in text
    assert r"| lost | q29 |  |  | 29 | -29 | -29 instead of 29 |" in text


def test_a_score_between_right_and_wrong_says_how_far_it_moved(new_run, compared):
    one, other = new_run("one").cell("m", [0.5] * 20), new_run("other").cell("m", [0.25] * 20, outputs=["x"] * 20)
    (task,) = json.loads(compared(one.path, other.path, as_json=True))["tasks"]
    assert task["flips"]["samples"][0]["why"] == "x instead of answer 0 (accuracy 0.5 to 0.25)"


def test_the_report_with_a_baseline_compares_every_other_model(new_run, capsys):
    run = new_run("run").cell("base", right(30)).cell("one", right(10)).cell("two", right(38))
    write_reports(ReportOptions(runs=[run.path], baseline="base"))
    assert capsys.readouterr().out.strip() == str(run.path / "comparison.html")
    page = (run.path / "comparison.html").read_text()
    assert re.findall(r'<td class="model"><span class="spec">(\w+)', page) == ["one", "two"]
    with pytest.raises(UserError, match="'seeds' compares with no baseline"):
        write_reports(ReportOptions(runs=[run.path], baseline="base", name="seeds"))


@pytest.mark.parametrize(
    ("sides", "options", "message"),
    [
        (["run"], {}, r"one run is compared with itself; add --baseline SPEC, or a second run"),
        (["run#m"], {"baseline": "m"}, r"--baseline: the model is named twice: m and m; name it once"),
        (["run#n"], {}, r"the run has no model n"),
        (["gone", "run"], {}, r"not a run directory"),
        (["run", "run"], {"outs": ["c.csv"]}, r"a comparison is not written as '.csv'"),
    ],
)
def test_what_cannot_be_done_is_one_line(new_run, compared, tmp_path, sides, options, message):
    new_run("run").cell("m", right(30))
    if "outs" in options:
        options = {"outs": [tmp_path / name for name in options["outs"]]}
    with pytest.raises(UserError, match=message):
        compared(*(tmp_path / side for side in sides), **options)


class TestHostileText:
    @pytest.fixture
    def runs(self, new_run):
        one = new_run("one").cell(EVIL, right(30), task=EVIL, outputs=[EVIL] * 40)
        return one, new_run("other").cell(EVIL, right(10), task=EVIL, outputs=["x"] * 40)

    def test_nothing_runs_on_the_page(self, runs, write, tmp_path):
        page = write(comparison, tmp_path / "c.html", *runs).read_text()
        assert "<script" not in page
        assert "<img src=x" not in page
        assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
        assert "script-src 'none'" in page.replace("&#39;", "'")

    def test_markdown_shows_it_as_it_is(self, runs, write, tmp_path):
        text = write(comparison, tmp_path / "c.md", *runs).read_text()
        assert "<script" not in text
        rows = [line for line in text.splitlines() if line.startswith("| lost")]
        assert rows
        assert all(len(re.findall(r"(?<!\\)\|", row)) == 8 for row in rows)

    def test_the_terminal_is_not_steered(self, runs, write, tmp_path):
        assert "\x1b" not in write(comparison, tmp_path / "c.txt", *runs).read_text()


def test_markdown_that_would_be_too_long_is_cut_between_rows(new_run, write, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 1500)
    runs = [new_run(name) for name in ("one", "other")]
    for number in range(12):
        for run, hits in zip(runs, (30, 20), strict=True):
            run.cell("model", right(hits), task=f"task-{number}")
    text = write(comparison, tmp_path / "c.md", *runs, samples=0).read_text()
    assert len(text.encode()) <= 1500
    rows = [line for line in text.splitlines() if "worse" in line and line.startswith("|")]
    assert 0 < len(rows) < 12
    assert f"*{12 - len(rows):,} of 12 rows are left out: the page would be too long.*" in text
