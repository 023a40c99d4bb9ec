"""What cells spent, on every form of the board; and boards of runs that do not say it."""

import io
import json

import pandas as pd
import pytest
from adaptbench.harness.cards import ModelCard
from adaptbench.harness.contracts import Record, Sample
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure.roofline import find_accelerator
from adaptbench.harness.plugins import Plugins
from adaptbench.harness.registry import Registry
from adaptbench.harness.results import CellId, CellResult, LanguageShape
from adaptbench.harness.spending import predicted_prefill, spending, spent
from adaptbench.harness.summary import summarise
from adaptbench.leaderboards import page, tables
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.spent import spent_table

SHAPE = LanguageShape(
    layers=4, hidden=32, heads=4, kv_heads=4, head_dim=8, ffn=48, gated=True, rotary=True, vocabulary=60
)
WHOLE = [[block, 12, 4, 1.0] for block in range(4)]
V100 = find_accelerator("V100")


def records(budget, plans, units=True):
    """A record for each plan; block by block they are a unit and 100 FLOPs, with one of a scheduler."""
    made = []
    for place, plan in enumerate(plans):
        cost = {"flops": 900, "text_tokens": 4, "visual_tokens": 8 + place % 2, "whole_language_flops": 400}
        cost["language_flops"] = 100 * len(plan) + units
        if units:
            cost |= {"units": len(plan), "all_units": 4}
        name = f"q{place}"
        made.append(Record(name, "0" * 64, "yes", "yes", {"accuracy": 1.0}, spent([cost], budget), plan=[plan]))
    return made


def add(run, make, model, rows, budget=1.0, **changes):
    """A complete cell of these records."""
    cell = CellId(model=model, task="toy", budget=budget)
    journal = run.directory.claim(f"{len(run.directory.journals()):032x}", cell)
    journal.acquire()
    journal.append(rows)
    fields = {
        "key": journal.folder.name, "cell": cell, "model_card": ModelCard(capabilities=("embed",)),
        "task_card": make.task_card, "samples_digest": "5a" * 32, "partial": None, "flops": None, "settings": {},
        "records_sha256": journal.digest(), "spending": spending(rows, budget, SHAPE, "question"), "language": SHAPE,
        **summarise(make.task_card, [Sample(row.sample, (0,)) for row in rows], rows),
    }  # fmt: skip
    journal.finish(CellResult(**(fields | changes)), None)
    journal.release()


@pytest.fixture
def run(new_run, make):
    """A base, a scheduler that keeps its budget, one that does not always, and a cell that says nothing."""
    run = new_run()
    add(run, make, "base", records(1.0, [WHOLE] * 12, units=False))
    add(run, make, "strict", records(0.8, [WHOLE[:3]] * 12, units=True), budget=0.8)
    add(run, make, "loose", records(0.8, [WHOLE[:3]] * 9 + [WHOLE] * 3), budget=0.8)
    add(run, make, "silent", [Record("q0", "0" * 64, "yes", "yes", {"accuracy": 1.0})], spending=None, language=None)
    return run


def board(run, hardware=()):
    return make_board([run.directory], Plugins(), hardware)


def shown(run, hardware=()):
    """Model -> heading -> text."""
    (section,) = board(run, hardware).sections
    table = spent_table(section)
    heads = [", ".join(filter(None, head)) for head in table.heads]
    return {name: dict(zip(heads, (cell.text for cell in cells), strict=True)) for name, cells in table.rows}


def test_the_table_has_every_figure_of_a_cells_spending(run):
    table = shown(run)
    assert set(table) == {"base", "strict@0.8", "loose@0.8"}
    assert table["strict@0.8"] == {
        "budget, %": "80", "FLOPs, language model": "301", "FLOPs, % of the whole": "75.25",
        "success, units, %": "100.0 [75.8, 100.0]", "utilisation, units, %": "93.75",
        "success, FLOPs, %": "100.0 [75.8, 100.0]", "utilisation, FLOPs, %": "94.06",
        "visual tokens, mean (range)": "8.5 (8–9)", "blocks, mean (range)": "3", "heads, mean (range)": "12",
    }  # fmt: skip
    assert table["base"]["success, units, %"] == "–"
    assert table["base"]["utilisation, FLOPs, %"] == "100.00"
    assert table["base"]["heads, mean (range)"] == "16"


def test_what_is_beyond_its_budget_shows(run):
    loose = shown(run)["loose@0.8"]
    assert loose["success, units, %"] == "75.0 [46.8, 91.1]"
    assert loose["utilisation, units, %"] == "101.56 ± 8.98"
    assert loose["blocks, mean (range)"] == "3.25 (3–4)"


def test_a_success_in_flops_says_that_units_are_not_all_of_them(run):
    (section,) = board(run).sections
    table = spent_table(section)
    hints = {name: [cell.hint for cell in cells if "on top of the units" in cell.hint] for name, cells in table.rows}
    assert {name: len(found) for name, found in hints.items()} == {"base": 0, "strict@0.8": 1, "loose@0.8": 1}
    assert "success may be 0 there and the budget kept in units" in table.caption


def test_predicted_times_are_of_the_hardware_that_is_asked_for_and_never_measured_ones(run):
    table = shown(run, (V100, find_accelerator("H100-SXM")))
    heads = [head for head in table["base"] if "predicted" in head]
    assert heads == ["predicted, V100", "predicted, H100-SXM"]
    assert not [head for head in table["base"] if "time" in head]
    (section,) = board(run, (V100,)).sections
    for standing in section.standings:
        if standing.name == "silent":
            assert standing.row.predicted == {}
        else:
            expected = predicted_prefill(standing.row.journal.records(), SHAPE, V100)
            assert standing.row.predicted == {"V100": expected}
    assert not [head for head in shown(run)["base"] if "predicted" in head]


def test_the_page_and_markdown_have_the_table_and_programs_have_columns(run):
    html = page.render(board(run, (V100,)), Registry())
    assert html.count("<h3>What it spent</h3>") == 1
    assert "predicted, V100</th>" in html
    text = tables.markdown(board(run, (V100,)))
    assert "### What it spent" in text
    assert "| loose@0.8 | 80 | 326 |" in text
    made = board(run, (V100,))
    for table in (pd.read_csv(io.StringIO(tables.csv(made))), pd.read_parquet(io.BytesIO(tables.parquet(made)))):
        rows = table.set_index("model")
        assert rows.loc["loose", "success_units"] == 0.75
        assert rows.loc["loose", "language_flops"] == 326
        assert rows.loc["loose", "utilisation_units_high"] > rows.loc["loose", "utilisation_units"] > 1
        assert rows.loc["strict", "share_flops"] == pytest.approx(0.7525)
        assert (rows.loc["strict", "visual_tokens_least"], rows.loc["strict", "heads_mean"]) == (8, 12)
        assert rows.loc["strict", "predicted_prefill_V100"] < rows.loc["base", "predicted_prefill_V100"]
        assert rows.loc["silent"].filter(like="_units").isna().all()


def test_a_run_that_does_not_say_what_it_spent_has_no_such_table(new_run, make):
    run = new_run().cell("old", make.scores(0.5), flops=make.flops(10))
    (section,) = board(run, (V100,)).sections
    assert spent_table(section) is None
    assert "What it spent" not in page.render(board(run, (V100,)), Registry())


def test_a_cell_that_was_written_before_there_was_spending_is_read(run, make):
    journal = run.directory.journals()[0]
    path = journal.folder / "result.json"
    fields = json.loads(path.read_text("utf-8"))
    del fields["spending"], fields["language"]
    path.write_text(json.dumps(fields), "utf-8")
    assert journal.result().spending is None
    assert len(board(run, (V100,)).sections[0].standings) == 4


def test_the_command_predicts_and_refuses_what_it_cannot(run, tmp_path, monkeypatch):
    from adaptbench.harness.cli.reporting import ReportOptions, write_reports

    monkeypatch.setenv("ADAPTBENCH_PLUGINS", "")
    out = tmp_path / "board.md"
    write_reports(ReportOptions([run.path], [out], hardware=["v100", "V100"]))
    assert out.read_text("utf-8").count("predicted, V100") == 1
    with pytest.raises(UserError, match=r"charts have no predicted times; leave --hardware out"):
        write_reports(ReportOptions([run.path], [tmp_path / "board.svg"], hardware=["V100"]))
    with pytest.raises(UserError, match=r"unknown hardware 'V10' \(did you mean 'V100'"):
        write_reports(ReportOptions([run.path], [out], hardware=["V10"]))
