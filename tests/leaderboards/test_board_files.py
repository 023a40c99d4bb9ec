"""The files of a board as they are written: golden files, tidy tables, refusals.

The golden files are in ``golden/``. After a wanted change, write them anew and look at the difference:
``ADAPTBENCH_GOLDEN=write pytest tests/leaderboards``.
"""

import base64
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import adaptbench
import numpy as np
import pandas as pd
import pytest
from adaptbench.harness.cli.reporting import ReportOptions, write_reports
from adaptbench.harness.errors import UserError
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.store import RunDirectory
from adaptbench.leaderboards import page, tables
from adaptbench.leaderboards.board import make_board, need
from adaptbench.leaderboards.leaderboard import leaderboard

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&|`*"


def settled(html):
    """The page without what libraries decide: their scripts, their images, and the hashes of these."""
    html = re.sub(r'(<script type="module">).*?(</script>)', r"\1\2", html, flags=re.DOTALL)
    html = re.sub(r'(id="(?:charts|samples)">).*?(</script>)', r"\1\2", html, flags=re.DOTALL)
    html = re.sub(r"(<style>).*?(</style>)", r"\1\2", html, flags=re.DOTALL)
    html = re.sub(r'<svg xmlns="[^"]*".*?</svg>', "<svg/>", html, flags=re.DOTALL)
    html = re.sub(r"sha256-[\w+/=]+", "sha256-", html)
    return html.replace(f"AdaptBench {adaptbench.__version__}.", "AdaptBench VERSION.")


@pytest.fixture
def board(example, plugins):
    return make_board([example.directory], plugins)


@pytest.fixture
def evil(new_run, make):
    """A run in which every text that a stranger may choose is hostile."""
    card = make.task_card.model_copy(update={"summary": EVIL, "rule": EVIL, "sample_noun": EVIL})
    run = new_run("evil").begin(EVIL)
    fields = {
        "flops_missing": EVIL,
        "task": EVIL,
        "card": card,
        "outputs": [EVIL] * 20,
        "timing": run.timing(note=EVIL, what=EVIL),
    }
    run.cell(EVIL, make.scores(0.5, n=20), flops=make.flops(10), **fields)
    run.cell("plain", make.scores(0.4, n=20), **fields)
    run.cell("partial", make.scores(0.4, n=20), partial=EVIL, **fields)
    run.unfinished(EVIL)
    return run


def test_markdown(board, golden):
    golden("board.md", tables.markdown(board))


def test_csv(board, golden):
    golden("board.csv", tables.csv(board))


def test_html(board, plugins, golden):
    golden("board.html", settled(page.render(board, plugins.registry)))


def test_the_same_runs_give_the_same_page(example, plugins):
    pages = [page.render(make_board([example.directory], plugins), plugins.registry) for _ in range(2)]
    assert pages[0] == pages[1]


def test_parquet_holds_what_csv_holds(board):
    parquet = pd.read_parquet(io.BytesIO(tables.parquet(board)))
    text = pd.read_csv(io.StringIO(tables.csv(board)), keep_default_na=False, na_values=[""])
    assert list(parquet.columns) == list(text.columns)
    for column in parquet.columns:
        assert [*parquet[column].isna()] == [*text[column].isna()], column
    np.testing.assert_array_equal(parquet["value"], text["value"])
    assert str(parquet["n"].dtype) == "Int64"


def test_tidy_rows_are_one_a_cell_and_metric_and_none_is_dropped(board):
    rows = list(csv.DictReader(io.StringIO(tables.csv(board))))
    found = [(row["model"], row["task"], row["metric"], row["status"]) for row in rows]
    assert sorted(found) == sorted(
        [
            *((name, "toy", "accuracy", "ranked") for name in ("small", "large", "wasteful", "uncounted")),
            ("random", "toy", "accuracy", "baseline"),
            ("hasty", "toy", "accuracy", "not ranked"),
            *((name, "toy|hard", metric, "ranked") for name in ("small", "large") for metric in ("accuracy", "loss")),
            ("slow", "toy|hard", "", "incomplete"),
        ]
    )
    ranks = {(row["model"], row["task"], row["metric"]): row["rank_best"] for row in rows}
    assert ranks["large", "toy", "accuracy"] == "1"
    assert ranks["large", "toy|hard", "loss"] == "", "ranks are by the first metric"
    origin = next(row for row in rows if row["model"] == "large")
    assert origin["git_revision"] == "abc1234"
    assert json.loads(origin["settings"]) == {"batch_size": 64, "device": "cpu"}


def test_a_markdown_table_keeps_its_columns_whatever_the_names(evil, plugins):
    text = tables.markdown(make_board([evil.directory], plugins))
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(columns) == 1
    assert "<script" not in text
    assert "<img" not in text


class Page(HTMLParser):
    """Tags of a page with their attributes, and the texts outside scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self._raw = [], [], ""
        self.scripts = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._raw = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self._raw = ""

    def handle_data(self, data):
        if self._raw == "script":
            self.scripts.append(data)
        elif not self._raw:
            self.texts.append(data)


def test_hostile_text_stays_text_everywhere(evil, plugins):
    found = Page(page.render(make_board([evil.directory], plugins), plugins.registry))
    assert [tag for tag, _ in found.tags].count("script") == 5
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert not [name for _, attrs in found.tags for name in attrs if name.startswith("on")]
    assert "".join(found.texts).count(EVIL) > 20
    values = json.loads(found.scripts[0])["task-1-flops"]["data"]["values"]
    assert values[0]["name"] == EVIL


def test_the_page_asks_for_nothing_and_runs_only_its_own_scripts(board, plugins):
    html = page.render(board, plugins.registry)
    found = Page(html)
    links = [
        attrs[name] for _, attrs in found.tags for name in ("href", "src", "action", "data", "poster") if name in attrs
    ]
    assert links
    assert all(link.startswith("#") for link in links)
    assert "@import" not in html.partition("</style>")[0]
    assert "url(" not in html.partition("</style>")[0]
    policy = next(attrs["content"] for _, attrs in found.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    for script in found.scripts[2:]:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert len(html) < 2_000_000


def test_anchors_lead_somewhere(board, plugins):
    tags = Page(page.render(board, plugins.registry)).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"][1:] for tag, attrs in tags if tag == "a"} <= set(ids)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_texts_have_contrast_in_both_themes(theme):
    css = (Path(page.__file__).parent / "templates" / "board.css").read_text("utf-8")
    colours = {name: pair.split(", ")[theme] for name, pair in re.findall(r"--(\w+): light-dark\(([^)]+)\)", css)}

    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for text in ("ink", "muted", "accent", "warn"):
        for paper in ("paper", "raised"):
            lighter, darker = sorted((luminance(colours[text]), luminance(colours[paper])), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, paper)


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")


@pytest.mark.parametrize("suffix", [".html", ".md", ".csv", ".parquet", ".svg", ".pdf"])
def test_every_format_is_written_by_the_command(example, installed, tmp_path, capsys, suffix):
    out = tmp_path / "new folder" / f"board{suffix}"
    write_reports(ReportOptions([example.path], [out]))
    assert out.stat().st_size > 1000
    assert capsys.readouterr().out == f"{out}\n"
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_board_of_a_real_run(tmp_path, installed):
    class Means:
        fingerprint = "means"

        def embed(self, images):
            return np.array([np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) for image in images])

    result = adaptbench.run(["constant", Means()], "digits(ways=3,shots=1,episodes=30)", out=tmp_path / "run")
    plugins = load_plugins()
    (section,) = make_board([RunDirectory.existing(result.path)], plugins).sections
    values = {s.row.result.cell.model: s.headline.value for s in section.standings}
    expected = {cell.cell.model: cell.metrics["accuracy"].value for cell in result.results}
    assert values == expected
    assert {s.rank for s in section.standings} == {"1", "baseline"}
    assert (result.path / "index.sqlite").exists()


@pytest.mark.parametrize(
    ("module", "form"),
    [("pandas", ".csv"), ("pyarrow", ".parquet"), ("vl_convert", ".svg"), ("vl_convert", ".pdf"),
     ("vl_convert", ".html"), ("itables", ".html")],
)  # fmt: skip
def test_a_missing_extra_is_named(example, write, tmp_path, monkeypatch, module, form):
    page._datatables.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=rf"needs {module}, .*; pip install 'adaptbench\[board\]'"):
        write(leaderboard, tmp_path / f"board{form}", example)


def test_a_library_that_is_there_but_broken_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "half_broken.py").write_text("raise RuntimeError('broken')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="broken"):
        need("half_broken")


def test_a_place_that_cannot_be_written_is_named(example, write, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"/file: cannot write"):
        write(leaderboard, tmp_path / "file" / "board.md", example)


def test_an_unknown_format_offers_those_there_are(example, installed, tmp_path):
    with pytest.raises(UserError, match=r"a report is not written as '\.htm' \(did you mean '\.html'\?\).*\.html"):
        write_reports(ReportOptions([example.path], [tmp_path / "board.htm"]))


def test_registering_imports_nothing_heavy():
    code = (
        "import sys, adaptbench.leaderboards.builtin\n"
        "heavy = {'pandas', 'altair', 'jinja2', 'vl_convert', 'itables', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
