"""Boards for papers, as LaTeX, and for the hub, as a model card's metadata."""

import re

import pytest
import yaml
from adaptbench.harness.errors import UserError
from adaptbench.leaderboards.latex import escaped, latex_table
from adaptbench.leaderboards.leaderboard import leaderboard
from adaptbench.leaderboards.model_card import model_card
from hypothesis import given
from hypothesis import strategies as st

HOSTILE = "--- \\input{x}_%$&#^~: \u202e[0pt]"


@given(st.text())
def test_no_text_steers_latex(text):
    left = re.sub(r"\\[&%$#_{}]|\\text\w+\{\}|\\ldots\{\}|\$(\\pm|-)\$|\{[\[\]]\}", "", escaped(text))
    assert not set(left) & set("\\&%$#_{}~^[]")
    assert left.isprintable()


def test_a_table_needs_only_booktabs():
    table = latex_table(["model", "score, %"], [[escaped("a_b"), "1"], ["c", "2"]], [1], "Scores of 50 %")
    assert table.splitlines() == [
        *(r"\begin{table}[t]", r"\centering", r"\caption{Scores of 50 \%}", r"\begin{tabular}{lr}", r"\toprule"),
        *(r"model & score, \% \\", r"\midrule", r"a\_b & 1 \\", r"c & 2 \\", r"\bottomrule"),
        *(r"\end{tabular}", r"\end{table}"),
    ]


def test_the_board_for_a_paper(shared_example, write, tmp_path):
    text = write(leaderboard, tmp_path / "board.tex", shared_example).read_text()
    tables = re.findall(r"\\begin{tabular}{(\w+)}(.*?)\\end{tabular}", text, re.DOTALL)
    assert len(tables) > 1
    for columns, body in tables:
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(columns) - 1}
    assert r"\textbf{" in text


class TestModelCard:
    def test_the_hubs_library_reads_it(self, new_run, write, tmp_path):
        from huggingface_hub.repocard_data import model_index_to_eval_results

        run = new_run()
        run.cell("m", [1.0, 0.0] * 20, budget=0.5)
        run.cell("m", [1.0] * 40, task="other", budget=0.5)
        card = write(model_card, tmp_path / "card.yaml", run, model="m@0.5").read_text()
        name, results = model_index_to_eval_results(yaml.safe_load(card)["model-index"])
        assert name == "m@0.5"
        told = {(r.dataset_name, r.metric_type): r for r in results}
        score = told["toy", "accuracy"]
        assert (score.metric_value, score.task_type) == (50.0, "image-classification")
        assert told["other", "accuracy"].metric_value == 100.0
        assert (score.metric_args["n"], score.metric_args["rule"]) == (40, "exact v1")
        assert score.metric_args["low"] < 50 < score.metric_args["high"]

    def test_a_card_begins_with_it(self, new_run, write, tmp_path):
        run = new_run()
        run.cell("m", [1.0, 0.0] * 20, task=HOSTILE)
        text = write(model_card, tmp_path / "card.md", run).read_text()
        metadata, body = text.removeprefix("---\n").split("\n---\n", 1)
        (result,) = yaml.safe_load(metadata)["model-index"][0]["results"]
        assert result["dataset"]["name"] == HOSTILE
        assert body.startswith("\n# m\n")

    def test_what_cannot_be_told_is_refused(self, new_run, write, tmp_path):
        run = new_run()
        run.cell("m", [1.0] * 40, partial="--limit 40")
        with pytest.raises(UserError, match="no cell of m is whole"):
            write(model_card, tmp_path / "card.yaml", run)
        run.cell("n", [1.0] * 40)
        with pytest.raises(UserError, match="the runs have 2 models"):
            write(model_card, tmp_path / "card.yaml", run)
        with pytest.raises(UserError, match="have no model 'o'"):
            write(model_card, tmp_path / "card.yaml", run, model="o")
