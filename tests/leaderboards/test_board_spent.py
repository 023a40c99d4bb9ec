"""What cells spent, on every form of the board; and boards of runs that do not say it."""

import io

import pandas as pd
import pytest
from adaptbench.harness.cards import ModelCard
from adaptbench.harness.contracts import Record, Sample
from adaptbench.harness.errors import UserError
from adaptbench.harness.execution import Execution
from adaptbench.harness.measure.roofline import find_accelerator
from adaptbench.harness.plugins import Plugins
from adaptbench.harness.prefill_cost import LanguageFlops, PrefillCost, Units
from adaptbench.harness.registry import Registry
from adaptbench.harness.results import SCHEMA_VERSION, CellId, CellResult
from adaptbench.harness.spending import predicted_prefill, spending
from adaptbench.harness.summary import summarise
from adaptbench.harness.transformer import Language, Linear, Stack
from adaptbench.leaderboards import page, tables
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.spent import spent_table

STACK = Stack(layers=4, hidden=32, heads=4, kv_heads=4, head_dim=8, ffn=48, gated=True, rotary=True)
LANGUAGE = Language(STACK, (Linear("lm_head", 32, 60),), causal=True)
WHOLE = Execution.full(STACK, 12)
V100 = find_accelerator("V100")


def records(executions, units=True, right=1.0):
    """A record for each execution; a block is a unit and 100 FLOPs, and a scheduler takes one more."""
    made = []
    for place, ran in enumerate(executions):
        count = len(ran.layers)
        language = LanguageFlops(100 * count + units, 400, 500 if units else 400)
        cost = PrefillCost(4, 8 + place % 2, 0, 900, language, Units(count, 4) if units else None, ran)
        score = {"accuracy": float(place < right * len(executions))}
        made.append(Record(f"q{place}", "0" * 64, "yes", "yes", score, (cost,)))
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
        "records_sha256": journal.digest(), "language": LANGUAGE,
        "spending": spending(rows, budget, LANGUAGE, "question"),
        **summarise(make.task_card, [Sample(row.sample, (0,)) for row in rows], rows),
    }  # fmt: skip
    journal.finish(CellResult(**(fields | changes)), None)
    journal.release()


@pytest.fixture
def run(new_run, make):
    """A base, a scheduler that keeps its budget, one that does not always, and a cell that says nothing."""
    run = new_run()
    three = WHOLE.keep_layers(3)
    add(run, make, "base", records([WHOLE] * 12, units=False))
    add(run, make, "base+strict", records([three] * 12, right=0.75), budget=0.8)
    add(run, make, "base+loose", records([three] * 9 + [WHOLE] * 3), budget=0.8)
    add(run, make, "silent", [Record("q0", "0" * 64, "yes", "yes", {"accuracy": 1.0})], spending=None, language=None)
    return run


def board(run, hardware=()):
    return make_board([run.directory], Plugins(), hardware)


def shown(run, hardware=()):
    """Model -> heading -> text."""
    (section,) = board(run, hardware).sections
    table = spent_table(section)
    heads = [", ".join(filter(None, head)) for head in table.heads]
    return {row.name: dict(zip(heads, (cell.text for cell in row.cells), strict=True)) for row in table.rows}


def test_the_table_has_every_figure_of_a_cells_spending(run):
    table = shown(run)
    assert set(table) == {"base", "base+strict@0.8", "base+loose@0.8"}
    assert table["base+strict@0.8"] == {
        "budget, %": "80", "FLOPs, language model": "301", "of the base model, FLOPs, %": "60.2",
        "accuracy retained, % of the base model": "75.0", "of the same, all on, FLOPs, %": "75.25",
        "success, units, %": "100.0 [75.8, 100.0]", "utilisation, units, %": "93.75",
        "success, FLOPs, %": "100.0 [75.8, 100.0]", "utilisation, FLOPs, %": "94.06",
        "visual tokens, mean (range)": "8.5 (8–9)", "blocks, mean (range)": "3", "heads, mean (range)": "12",
    }  # fmt: skip
    assert table["base"]["success, units, %"] == "–"
    assert table["base"]["utilisation, FLOPs, %"] == "100.00"
    assert table["base"]["heads, mean (range)"] == "16"
    assert table["base"]["of the base model, FLOPs, %"] == "100.0"
    assert table["base"]["accuracy retained, % of the base model"] == "100.0"


def test_nothing_is_retained_of_a_base_that_was_not_run(new_run, make):
    run = new_run()
    add(run, make, "base+strict", records([WHOLE] * 12), budget=0.8)
    assert shown(run)["base+strict@0.8"]["accuracy retained, % of the base model"] == "–"
    assert shown(run)["base+strict@0.8"]["of the base model, FLOPs, %"] == "80.2"


def test_what_is_beyond_its_budget_shows(run):
    loose = shown(run)["base+loose@0.8"]
    assert loose["success, units, %"] == "75.0 [46.8, 91.1]"
    assert loose["utilisation, units, %"] == "101.56 ± 8.98"
    assert loose["blocks, mean (range)"] == "3.25 (3–4)"


def test_a_success_in_flops_says_that_units_are_not_all_of_them(run):
    (section,) = board(run).sections
    table = spent_table(section)
    hints = {row.name: [cell.hint for cell in row.cells if "on top of the units" in cell.hint] for row in table.rows}
    assert {name: len(found) for name, found in hints.items()} == {"base": 0, "base+strict@0.8": 1, "base+loose@0.8": 1}
    assert len(table.caption) < 120


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
            expected = predicted_prefill(standing.row.journal.records(), LANGUAGE, V100)
            assert standing.row.predicted == {"V100": expected}
    assert not [head for head in shown(run)["base"] if "predicted" in head]


def test_the_page_and_markdown_have_the_table_and_programs_have_columns(run):
    html = page.render(board(run, (V100,)), Registry())
    assert html.count("<h3>What it spent</h3>") == 1
    assert "predicted, V100</th>" in html
    text = tables.markdown(board(run, (V100,)))
    assert "### What it spent" in text
    assert "| base+loose@0.8 | 80 | 326 |" in text
    made = board(run, (V100,))
    for table in (pd.read_csv(io.StringIO(tables.csv(made))), pd.read_parquet(io.BytesIO(tables.parquet(made)))):
        rows = table.set_index("model")
        loose, strict = rows.loc["base+loose"], rows.loc["base+strict"]
        assert (loose["success_units"], loose["language_flops"]) == (0.75, 326)
        assert loose["utilisation_units_high"] > loose["utilisation_units"] > 1
        assert (strict["share_of_all_on"], strict["share_of_base"]) == pytest.approx((0.7525, 0.602))
        assert strict["retained"] == 0.75
        assert (strict["visual_tokens_least"], strict["heads_mean"]) == (8, 12)
        assert strict["predicted_prefill_V100"] < rows.loc["base", "predicted_prefill_V100"]
        assert rows.loc["silent"].filter(like="_units").isna().all()


def test_a_run_that_does_not_say_what_it_spent_has_no_such_table(new_run, make):
    run = new_run().cell("old", make.scores(0.5), flops=make.flops(10))
    (section,) = board(run, (V100,)).sections
    assert spent_table(section) is None
    assert "What it spent" not in page.render(board(run, (V100,)), Registry())


def test_a_run_of_an_earlier_format_is_refused_by_name(run):
    path = run.path / "manifest.json"
    path.write_text(
        path.read_text("utf-8").replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 1'), "utf-8"
    )
    said = rf"it has format 1, and this version of AdaptBench reads 2 and {SCHEMA_VERSION}; restore it, or choose"
    with pytest.raises(UserError, match=said):
        board(run)


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
