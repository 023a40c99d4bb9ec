"""Published tables of token reduction: transcribed whole, their averages computed again, what contradicts what."""

import csv
import io
import json
import re
from importlib.resources import files
from pathlib import Path

import adaptbench
import pytest
from adaptbench.harness.hooks import BoardContext
from adaptbench.harness.outputs import ReportRequest
from adaptbench.harness.specs import parse
from adaptbench.leaderboards import reduction
from adaptbench.leaderboards.reduction.averages import RULES, UNKNOWN, Rule, recomputed
from adaptbench.leaderboards.reduction.contradictions import contradictions, moved
from adaptbench.leaderboards.reduction.printed import lines, tables
from adaptbench.leaderboards.reduction.published import published
from adaptbench.leaderboards.reduction.scores import published_scores

FOLDER = files(reduction) / "tables"
LINEAGES = {"own", "copied", "re-run", "[?]"}
# Contradictions whose values are cells of a table here: source -> table, and what its method is called there.
SOURCES = {
    "RESTORE": ("restore-1", {"SparseVLM": "SparseVLM (v2)"}),
    "EADP": ("eadp-1", {}),
    "copied lineage": ("lineage", {}),
    "copied lineage (v1)": ("lineage", {"SparseVLM": "SparseVLM v1"}),
    "DART": ("lineage", {}),
    "VisionZip": ("lineage", {}),
    "MMTok": ("lineage", {}),
}
OTHER_TOKENS = {"32"}
"""Numbers of tokens that no table here has."""


@pytest.fixture
def asked(plugins):
    return lambda form: published(ReportRequest(runs=(), plugins=plugins, form=form))


def test_the_index_names_every_table():
    known = {path.name.removesuffix(".csv") for path in FOLDER.iterdir()}
    assert known == {"index", "contradictions", *tables()}


@pytest.mark.parametrize("name", tables())
def test_tables_are_plain_csv_of_known_lineages(name):
    text = (FOLDER / f"{name}.csv").read_text()
    head, *rows = csv.reader(io.StringIO(text), strict=True)
    assert head[:4] == ["keep", "method", "lineage", "source"]
    assert {len(row) for row in rows} == {len(head)}
    assert all(cell == cell.strip() != "" for row in rows for cell in row)
    assert {row.lineage for row in tables()[name].rows} <= LINEAGES


@pytest.mark.parametrize("name", tables())
def test_every_cell_is_a_number_with_its_marks_or_none(name):
    for row in tables()[name].rows:
        for column, text in row.cells.items():
            assert (row.value(column) is None) == (text in ("-", "[?]")), (row, column)


def test_marks_are_kept():
    marked = {
        (name, row.keep, row.method, column): text
        for name, table in tables().items()
        for row in table.rows
        for column, text in row.cells.items()
        if text[-1] in "~*!?]"
    }
    assert marked["lineage", "128", "FastV", "MMB-CN"] == "55.9~"
    assert marked["lineage", "192", "ToMe", "VQAv2"] == "[?]"
    assert marked["eadp-1", "64", "DivPrune", "VizWiz"] == "57.8*"
    assert marked["restore-3", "22.2 %", "VisPruner", "MME"] == "1604!"
    assert tables()["restore-3"].row("22.2 %", "VisPruner").value("MME") == 1604


@pytest.mark.parametrize(
    ("name", "rows", "sums"),
    [
        ("lineage", 34, {"GQA": 1873.6, "MME": 55600.3, "VQAv2": 2136.04, "OCRB": 4882}),
        ("restore-1", 22, {"GQA": 1245.6, "MME": 36829, "POPE": 1734.9}),
        ("eadp-1", 17, {"GQA": 952.4, "MME-P": 22707.2, "MMVet": 470.4}),
    ],
)
def test_no_row_or_cell_is_lost(name, rows, sums):
    table = tables()[name]
    assert len(table.rows) == rows
    found = {column: sum(row.value(column) or 0 for row in table.rows) for column in sums}
    assert found == {column: pytest.approx(value) for column, value in sums.items()}


def test_averages_that_do_not_hold_are_these():
    off = {
        (one.where, one.row.method, one.row.keep): (one.printed, round(one.found, 1))
        for one in recomputed()
        if not one.agrees
    }
    assert off == {
        ("MMTok Table 3", "none", "0"): (33.8, 33.4),
        ("TwigVLM Table 1", "SparseVLM v1", "64"): (89.9, 86.4),
        ("DART Table 1", "PDrop", "192"): (96.7, 96.9),
        ("DART Table 1", "HiRED", "64"): (87.0, 86.9),
        ("DART Table 4", "FastV", "33.3 %"): (94.0, 93.9),
    }


def test_all_other_averages_hold():
    found = [one for one in recomputed() if one.agrees]
    counts = {where: sum(one.where == where for one in found) for where in {one.where for one in found}}
    assert counts == {"RESTORE Table 1": 21, "EADP Table 1": 16, "MMTok Table 3": 6, "RESTORE Table 3": 6}


def test_every_average_that_is_printed_here_is_computed_again_or_said_not_to_be():
    rows = [(row.source, row) for table in tables().values() for row in table.rows if row.method != "none"]
    printed = {(where, row.keep, row.method) for where, row in rows if row.value("average") is not None}
    computed = {(one.where, one.row.keep, one.row.method) for one in recomputed()}
    left = {where.split(",")[0] for where, *_ in printed - computed}
    assert left == {"S2Prune Table 1", "IDPruner Table 1", "TwigVLM Table 3"}
    assert left < {one.where for one in UNKNOWN}


def test_means_of_the_columns_that_are_here_are_no_averages_over_twelve():
    table = tables()["twigvlm-3"]
    rule = Rule(tuple(table.columns))
    found = [round(rule.average(row, table.whole), 1) for row in table.rows[1:]]
    (unknown,) = (one for one in UNKNOWN if one.where == "TwigVLM Table 3")
    assert unknown.why.endswith(f"their means are {found[0]} and {found[1]}")


def test_two_values_that_look_exchanged_would_have_other_averages():
    table, rule = tables()["restore-3"], RULES["restore-3"]
    more, less = (table.row(keep, "VisPruner") for keep in ("22.2 %", "11.1 %"))
    swapped = [dict(row.cells) | {"MME": other.cells["MME"]} for row, other in ((more, less), (less, more))]
    found = [
        rule.average(type(more)(row.keep, row.method, row.lineage, row.source, cells), table.whole)
        for row, cells in zip((more, less), swapped, strict=True)
    ]
    assert [round(value, 1) for value in found] == [93.2, 82.3]
    assert "93.2 and 82.3" in table.note


def test_a_row_without_all_of_its_cells_has_no_average():
    table = tables()["lineage"]
    assert RULES["restore-1"].average(table.row("192", "ToMe"), table.whole) is None


@pytest.mark.parametrize("line", lines("contradictions"), ids=lambda line: " ".join(line.values()))
def test_what_contradicts_is_what_the_tables_have(line):
    if line["method"] != "none" and line["source"] in SOURCES and line["keep"] not in OTHER_TOKENS:
        table, names = SOURCES[line["source"]]
        row = tables()[table].row(line["keep"], names.get(line["method"], line["method"]))
        assert row.value(line["quantity"]) == float(line["value"])


def test_every_contradiction_has_two_sources_that_differ():
    found = contradictions()
    assert all(len({said.source for said in one.said}) > 1 and one.high > one.low for one in found)
    assert [one.apart for one in found] == sorted((one.apart for one in found), reverse=True)


def test_a_rerun_moves_tome_by_a_third():
    (tome,) = (one for one in contradictions() if (one.method, one.keep) == ("ToMe", "64"))
    assert [said.printed for said in tome.said] == ["52.5", "84.3"]
    assert tome.apart == pytest.approx(100 * (84.3 - 52.5) / 85.9)


def test_running_again_moves_numbers_by_more_than_methods_are_apart():
    found = moved()
    assert (found.cells, round(found.shift, 2), round(found.gap, 2)) == (113, 2.44, 0.73)


def test_the_page_is_what_it_was(asked, golden):
    golden("reduction-published.md", asked(".md"))


def test_the_documentation_shows_what_it_says(asked):
    shown = (Path(adaptbench.__file__).parent / "docs" / "token-reduction.md").read_text(encoding="utf-8")
    table = re.search(r"^\| source \| rule .*?(?=\n\n)", shown, re.DOTALL | re.MULTILINE)[0]
    assert table in asked(".md")


def test_programs_get_every_cell_and_the_computed_averages(asked):
    rows = json.loads(asked(".json"))
    assert len(rows) == sum(len(row.cells) for table in tables().values() for row in table.rows)
    (zero,) = (row for row in rows if (row["table"], row["keep"], row["column"]) == ("mmtok-3", "0", "average"))
    assert (zero["printed"], zero["value"], round(zero["computed"], 1)) == ("33.8", 33.8, 33.4)


@pytest.mark.parametrize("form", [".html", ".tex", ".csv"])
def test_it_is_written_in_every_form(asked, form):
    assert "SparseVLM" in asked(form)


def test_what_contradicts_is_drawn(asked):
    drawn = asked(".svg")
    assert drawn.startswith("<svg")
    assert all(text in drawn for text in ("ToMe, POPE", "Nothing dropped", "192 tokens", "re-run"))


def test_scores_stand_beside_those_of_runs(plugins):
    event = BoardContext(board=None, notes=[], published=[])
    plugins.fire("board_context", event)
    found = {(score.model, score.task, score.source): score.value for score in event.published}
    base = "llava:llava-hf/llava-1.5-7b-hf"
    assert found[f"{base}+divprune(keep=64)", "pope", "MMTok Table 1, re-run"] == 85.56
    assert found[f"{base}+visionzip(contextual=10,dominant=54)", "gqa", "RESTORE Table 1, re-run"] == 56.0
    assert found[f"{base}+fastv(k=2,keep=192)", "gqa", "MMTok Table 1, copied"] == 52.7
    assert all(str(parse(score.model)) == score.model for score in published_scores())
