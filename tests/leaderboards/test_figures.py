"""The figures: what is drawn is what the records say, and what cannot be drawn is told in one line."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib
import json
import math
import types
import xml.etree.ElementTree as ET
from fractions import Fraction
from html.parser import HTMLParser

import numpy as np
import pytest
from adaptbench import Budget, Method, hookimpl
from adaptbench.harness.cards import MethodCard, ModelCard, TaskCard
from adaptbench.harness.contracts import Input, Prompt, Record, Sample, Task
from adaptbench.harness.errors import UserError
from adaptbench.harness.execution import Execution, LayerWork
from adaptbench.harness.figures import AttentionMaps, KeptTokens, Stage
from adaptbench.harness.outputs import FigureRequest
from adaptbench.harness.plugins import Plugins
from adaptbench.harness.prefill_cost import PrefillCost
from adaptbench.harness.results import Account, CellId, CellResult, Estimate, Spending
from adaptbench.harness.samples import sample_digests, samples_digest
from adaptbench.harness.summary import summarise
from adaptbench.harness.transformer import Language, Linear, Stack
from adaptbench.leaderboards import builtin, page
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.charts import FILE
from adaptbench.leaderboards.figures.answers import answers
from adaptbench.leaderboards.figures.attention import veiled
from adaptbench.leaderboards.figures.kept import dimmed
from adaptbench.leaderboards.figures.panels import PAGE, SERIES, Panel, chart, series
from adaptbench.leaderboards.figures.pareto import pareto
from adaptbench.leaderboards.figures.plans import _Plans, _Shape, _shares, on_board, plans
from adaptbench.leaderboards.figures.radar import radar
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

TAG = "<script>alert(1)</script>"
EVIL = f"{TAG}<img src=x onerror=alert(2)>&|`*"
CARD = TaskCard(summary="Toy", capability="generate", rule="exact", sample_noun="question", licence="CC0-1.0")
SHAPE = Language(Stack(4, 8, 4, 4, 2, 16, gated=True, rotary=True), (Linear("lm_head", 8, 32),), causal=True)
L, H = "toy+adallava-l(scheduler=random)", "toy+adallava-h(scheduler=random)"
BUDGETS = (0.5, 0.75, 1.0)


def plan_of_blocks(budget, number):
    """Blocks 0 and 1 run always; of 2 and 3 as many as the budget allows, the later ones for odd inputs."""
    on = {0.5: (), 0.75: (2 + number % 2,), 1.0: (2, 3)}[budget]
    return Execution(tuple(LayerWork(block, 10, 4) for block in (0, 1, *on)))


def plan_of_heads(budget, number):
    heads = {0.5: 1, 0.75: 2, 1.0: 4}[budget]
    whole = (LayerWork(0, 10, 4), LayerWork(1, 10, 4))
    return Execution((*whole, *(LayerWork(block, 10, heads, Fraction(budget)) for block in (2, 3))))


def estimate(value):
    return Estimate(value=value, low=max(0.0, value - 0.01), high=min(1.0, value + 0.01), n=30, method="95 %")


def add(run, make, model, budget, mean, *, task="toy", seed=0, plan=None, outputs=None, n=30, tokens=(0, 0), **changes):
    """Complete a cell whose scores are 1 for the first ``mean`` of its samples."""
    cell = CellId(model=model, task=task, budget=budget, seed=seed)
    samples = [Sample(f"q{i}", [i]) for i in range(n)]
    asked = Riddles()
    contents = sample_digests(asked, asked.samples)
    records = [
        Record(
            f"q{i}",
            contents[i] if i < len(contents) else f"{i:064}",
            out := outputs[i] if outputs else "yes",
            out,
            {"accuracy": float(i < mean * n)},
            (PrefillCost(*tokens, flops=round(budget * 1e9), ran=plan and plan(budget, i)),),
        )
        for i in range(n)
    ]
    journal = run.directory.claim(f"{len(run.directory.journals()):032x}", cell)
    journal.acquire()
    journal.append(records)
    spent = dict.fromkeys(("language_flops", "visual_tokens", "blocks", "heads"))
    account = Account(success=estimate(1.0), of_full=estimate(0.9 * budget), utilisation=estimate(0.9))
    fields = {
        "key": journal.folder.name,
        "cell": cell,
        "model_card": ModelCard(summary="toy", capabilities=("generate",)),
        "method_cards": {"adallava-l": MethodCard(takes_budget=True)},
        "task_card": CARD,
        "samples_digest": samples_digest(asked.samples, contents),
        "partial": None,
        "flops": make.flops(round(1e9 * budget), phase="prefill"),
        "settings": {"batch_size": 64, "device": "cpu"},
        "records_sha256": journal.digest(),
        "language": SHAPE,
        "spending": Spending(units=account, flops=account, of_base=0.8 * budget, **spent),
        **summarise(CARD, samples, records),
    }
    journal.finish(CellResult(**(fields | changes)), None)
    journal.release()


def sweep(run, make, model, scores, **options):
    for budget, mean in zip(BUDGETS, scores, strict=True):
        add(run, make, model, budget, mean, **options)
    return run


@pytest.fixture
def swept(new_run, make):
    """Two schedulers at three budgets on three tasks."""
    run = new_run("swept")
    for place, task in enumerate(("toy", "riddles", "puzzles")):
        sweep(run, make, L, (0.5 - place / 10, 0.7, 0.9), task=task, plan=plan_of_blocks)
        sweep(run, make, H, (0.6, 0.8 - place / 10, 0.9), task=task, plan=plan_of_heads)
    return run


@pytest.fixture
def ask(plugins):
    """Make a request."""

    def asked(*runs, form=".svg", **fields):
        return FigureRequest(runs=tuple(run.directory for run in runs), plugins=plugins, form=form, **fields)

    return asked


@pytest.fixture
def draw(ask, monkeypatch):
    """Call a figure and return what it would have rendered: its `Drawing`."""

    def drawn(name, *runs, arguments=None, **fields):
        module = importlib.import_module(f"adaptbench.leaderboards.figures.{name}")
        monkeypatch.setattr(module, "render", lambda drawing, form: drawing)
        return getattr(module, name)(ask(*runs, **fields), **(arguments or {}))

    return drawn


class Page(HTMLParser):
    """Tags of a page with their attributes, its texts, and what stands in its scripts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.scripts, self._inside = [], [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts.append(data)
        elif self._inside != "style" and data.strip():
            self.texts.append((self._inside, data))


def values(panel):
    """All rows of data of a panel, of any of its layers, each once."""
    found = []

    def walk(node):
        if isinstance(node, dict):
            if isinstance(node.get("values"), list) and node["values"] and isinstance(node["values"][0], dict):
                found.extend(value for value in node["values"] if value not in found)
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(panel.draw(FILE))
    return found


def curves(panel):
    """Line -> its points as (x, y), with x as the budget or cost that it is of."""
    lines = {}
    for value in values(panel):
        if "name" in value:
            lines.setdefault(value["name"], []).append((float(value["place"]), pytest.approx(value["y"])))
    return lines


def shares(panel):
    """Row -> what share of each block ran."""
    rows = {}
    for value in values(panel):
        rows.setdefault(value["row"], []).append(value["share"])
    return rows


class TestPareto:
    def test_is_a_line_for_each_model_over_its_budgets(self, draw, swept):
        drawing = draw("pareto", swept)
        assert sorted(panel.title for panel in drawing.panels) == ["puzzles", "riddles", "toy"]
        toy = next(panel for panel in drawing.panels if panel.title == "toy")
        assert curves(toy) == {
            H: [(5e8, 60), (7.5e8, 80), (1e9, 90)],
            L: [(5e8, 50), (7.5e8, 70), (1e9, 90)],
        }

    def test_its_frontier_is_the_best_that_a_cost_has_bought(self, draw, swept):
        (panel,) = draw("pareto", swept, task="puzzles").panels
        steps = [(value["x"], value["y"]) for value in values(panel) if "name" not in value]
        assert steps[:-1] == [(5e8, pytest.approx(60)), (7.5e8, pytest.approx(70)), (1e9, pytest.approx(90))]

    @pytest.mark.parametrize(("against", "places"), [("budget", BUDGETS), ("share", (0.4, 0.6, 0.8))])
    def test_is_drawn_against_budgets_or_shares_as_well(self, draw, swept, against, places):
        (panel,) = draw("pareto", swept, task="toy", models=(L,), arguments={"against": against}).panels
        assert [x for x, _ in curves(panel)[L]] == pytest.approx(places)

    def test_is_drawn_against_visual_tokens_averaged_over_blocks(self, draw, new_run, make):
        run, dropped = new_run(), Execution(tuple(LayerWork(block, 10 if block < 2 else 4, 4) for block in range(4)))
        add(run, make, "toy", 1.0, 0.9, tokens=(2, 8))
        add(run, make, "toy+fastv(k=2,r=0.75)", 1.0, 0.8, tokens=(2, 8), plan=lambda *_: dropped)
        add(run, make, "mute", 1.0, 0.7)  # says nothing of tokens
        (panel,) = draw("pareto", run, arguments={"against": "tokens"}).panels
        assert curves(panel) == {"toy": [(8, 90)], "toy+fastv(k=2,r=0.75)": [((8 + 8 + 2 + 2) / 4, 80)]}

    def test_many_lines_have_a_panel_for_each_base(self, draw, new_run, make):
        run = new_run()
        for base in ("toy", "other"):
            for keep in range(13):
                tokens = (2, keep + 1)
                add(run, make, f"{base}+m(how=w{keep})", 1.0, 0.5 + keep / 100, tokens=tokens)
        panels = draw("pareto", run, arguments={"against": "tokens"}).panels
        assert [panel.title for panel in panels] == ["toy: other", "toy: toy"]
        assert all(name.startswith("other+") for name in curves(panels[0]))

    def test_shows_only_the_models_asked_for(self, draw, swept):
        (panel,) = draw("pareto", swept, task="toy", models=(L, f"{H}@0.5", f"{H}@1")).panels
        assert {name: len(points) for name, points in curves(panel).items()} == {L: 3, H: 2}

    def test_intervals_are_those_of_the_results(self, draw, swept):
        (panel,) = draw("pareto", swept, task="toy", models=(L,)).panels
        low, high = next((v["low"], v["high"]) for v in values(panel) if v.get("place") == "5e+08")
        assert low < 50 < high
        assert high - 50 == pytest.approx(50 - low)

    def test_is_a_line_for_each_method_over_the_values_of_one_option(self, draw, new_run, make):
        run = new_run()
        add(run, make, "toy", 1.0, 0.9)
        for k, r, mean, cost in ((2, 0.75, 0.5, 4e8), (2, 0.25, 0.8, 8e8), (2, 0.5, 0.7, 6e8), (3, 0.5, 0.6, 7e8)):
            add(run, make, f"toy+fastv(k={k},r={r})", 1.0, mean, flops=make.flops(cost, phase="prefill"))
        (panel,) = draw("pareto", run).panels
        assert curves(panel) == {
            "toy": [(1e9, 90)],
            "toy+fastv(k=2,r=...)": [(4e8, 50), (6e8, 70), (8e8, 80)],
            "toy+fastv(k=3,r=0.5)": [(7e8, 60)],
        }

    @pytest.mark.parametrize(
        "models",
        [
            ("toy+fastv(k=2,r=0.5)", "toy+fastv(k=3,r=0.25)"),  # two options
            ("toy+random-tokens(seed=1)", "toy+random-tokens(seed=2)"),  # without an order
            ("toy+fastv(heads=max)", "toy+fastv(heads=mean)"),
            ("toy(r=1)+fastv", "toy(r=2)+fastv"),  # of the model
            ("toy+fastv", "toy+fastv(r=0.25)"),
        ],
    )
    def test_needs_several_budgets_or_values(self, draw, new_run, make, models):
        run = new_run()
        for model in models:
            add(run, make, model, 1.0, 0.5)
        with pytest.raises(UserError, match=r"run at several budgets or with several values of an option; run several"):
            draw("pareto", run)

    def test_has_no_line_of_options_against_budgets(self, draw, new_run, make):
        run = new_run()
        for r in (0.25, 0.5):
            add(run, make, f"toy+fastv(r={r})", 1.0, 0.5)
        with pytest.raises(UserError, match="no model of these runs"):
            draw("pareto", run, arguments={"against": "budget"})

    def test_options_at_a_budget_are_a_line_at_that_budget(self, draw, new_run, make):
        run = new_run()
        for tokens, budget, mean in ((4, 0.75, 0.5), (8, 0.75, 0.6), (16, 0.5, 0.7)):
            add(run, make, f"toy+prumerge(tokens={tokens})+adallava-l", budget, mean)
        (panel,) = draw("pareto", run).panels
        assert {name: len(points) for name, points in curves(panel).items()} == {
            "toy+prumerge(tokens=...)+adallava-l@0.75": 2,
            "toy+prumerge(tokens=16)+adallava-l@0.5": 1,
        }

    def test_needs_a_cost_that_is_known(self, draw, new_run, make):
        run = sweep(new_run(), make, L, (0.5, 0.7, 0.9), spending=None)
        with pytest.raises(UserError, match=r"no cell of these runs says its share; use pareto\(against=budget\)"):
            draw("pareto", run, arguments={"against": "share"})

    def test_refuses_what_it_does_not_know(self, draw, swept):
        for fields, message in (
            ({"task": "tyo"}, r"no task 'tyo' \(did you mean 'toy'\?\); they hold"),
            ({"models": ("toy",)}, r"no model 'toy'"),
            ({"arguments": {"against": "time"}}, r"nothing is drawn against 'time'; use flops, tokens, share, budget"),
        ):
            with pytest.raises(UserError, match=message):
                draw("pareto", swept, **fields)


class TestPlans:
    def test_of_blocks_are_the_share_of_inputs_that_ran_each(self, draw, swept):
        first, inputs = draw("plans", swept, task="toy", models=(L,), arguments={"inputs": 3}).panels
        assert shares(first) == {"1": [1, 1, 1, 1], "0.75": [1, 1, 0.5, 0.5], "0.5": [1, 1, 0, 0]}
        assert "30 inputs" in first.caption
        assert inputs.title == f"{L}@0.75"
        assert shares(inputs) == {"q0": [1, 1, 1, 0], "q1": [1, 1, 0, 1], "q2": [1, 1, 1, 0]}

    def test_of_heads_have_a_panel_for_heads_and_one_for_channels(self, draw, swept):
        heads, channels, *_ = draw("plans", swept, task="toy", models=(H,)).panels
        assert heads.caption.startswith("Attention heads")
        assert shares(heads)["0.5"] == [1, 1, 0.25, 0.25]
        assert channels.caption.startswith("MLP channels")
        assert shares(channels)["0.5"] == [1, 1, 0.5, 0.5]

    def test_of_one_sample_are_drawn_at_every_budget(self, draw, swept):
        (panel,) = draw("plans", swept, task="toy", models=(L,), sample="q3").panels
        assert shares(panel) == {"1": [1, 1, 1, 1], "0.75": [1, 1, 0, 1], "0.5": [1, 1, 0, 0]}

    def test_a_budget_is_chosen_and_must_be_there(self, draw, swept):
        _, inputs = draw("plans", swept, task="toy", models=(L,), arguments={"budget": 0.5}).panels
        assert inputs.title.endswith("@0.5")
        with pytest.raises(UserError, match=r"no plans at budget 0\.6; choose budget= from 0\.5, 0\.75, 1"):
            draw("plans", swept, task="toy", models=(L,), arguments={"budget": 0.6})

    def test_without_any_the_reader_is_told_how_to_get_them(self, draw, new_run, make):
        with pytest.raises(UserError, match=r"no record of these runs says what ran .*; run a model with a method"):
            draw("plans", sweep(new_run(), make, L, (0.5, 0.6, 0.7)))

    def test_an_unknown_sample_is_named(self, draw, swept):
        with pytest.raises(UserError, match=r"there is no answered sample 'q99'"):
            draw("plans", swept, task="toy", models=(L,), sample="q99")

    @settings(deadline=None)
    @given(st.lists(st.sets(st.integers(0, 3), min_size=1), min_size=1, max_size=8))
    def test_shares_are_counts(self, ran):
        drawn = _Plans(
            _Shape(4, 4),
            {0.5: [Execution(tuple(LayerWork(block, 5, 4) for block in sorted(blocks))) for blocks in ran]},
        )
        (panel,) = _shares("title", drawn)
        counts = [sum(block in blocks for blocks in ran) / len(ran) for block in range(4)]
        assert shares(panel)["0.5"] == pytest.approx(counts, abs=1e-4)


class TestRadar:
    def test_is_a_polygon_for_each_model_as_a_share_of_the_best(self, draw, swept):
        (panel,) = draw("radar", swept, models=(L,)).panels
        found = {}
        for value in values(panel):
            if "task" in value:
                found.setdefault(value["name"], {})[value["task"]] = value["text"]
        assert found[f"{L}@0.5"] == {"toy": "55.6 %", "riddles": "44.4 %", "puzzles": "33.3 %"}
        assert set(found[L].values()) == {"100.0 %"}

    def test_a_base_is_the_rim(self, draw, swept):
        (panel,) = draw("radar", swept, models=(L,), arguments={"base": f"{L}@0.75", "centre": 0.2}).panels
        texts = {v["text"] for v in values(panel) if v.get("name") == f"{L}@0.75"}
        assert texts == {"100.0 %"}
        assert (panel.title, panel.caption) == (f"Shares of {L}@0.75", "The centre is 20 %.")

    def test_points_lie_on_spokes_by_their_share(self, draw, swept):
        (panel,) = draw("radar", swept, models=(f"{L}@0.5", L), arguments={"centre": 0}).panels
        lengths = {(v["name"], v["task"]): math.hypot(v["x"], v["y"]) for v in values(panel) if "task" in v}
        assert lengths[(L, "toy")] == pytest.approx(1)
        assert lengths[(f"{L}@0.5", "toy")] == pytest.approx(5 / 9, abs=1e-6)

    def test_what_it_cannot_draw(self, draw, swept, new_run, make):
        two = sweep(new_run("two"), make, L, (0.5, 0.6, 0.7))
        many = new_run("many")
        for task in ("a", "b", "c"):
            for number in range(9):
                add(many, make, f"m{number}", 1.0, 0.5, task=task)
        for run, arguments, message in (
            (two, {}, r"a radar takes 3 tasks .* these runs have 1"),
            (many, {}, r"9 models are too many for one radar; name up to 8 with --model"),
            (swept, {"base": "toy"}, r"'toy' has no scores on all tasks"),
            (swept, {"centre": 1.5}, r"the centre is 1\.5, and the rim 1"),
        ):
            with pytest.raises(UserError, match=message):
                draw("radar", run, arguments=arguments)


class TestAblation:
    def test_is_a_line_for_each_value_of_the_argument(self, draw, new_run, make):
        run = new_run()
        for place, prefix in enumerate((10, 8)):
            sweep(run, make, f"toy+adallava-l(checkpoint=x,prefix={prefix})", (0.5, 0.6 + place / 10, 0.9))
        sweep(run, make, "toy+adallava-l(checkpoint=x)", (0.4, 0.5, 0.9))
        accuracy, success, utilisation = draw("ablation", run).panels
        assert list(curves(accuracy)) == ["prefix = 8", "prefix = 10", "prefix = default"]
        assert curves(accuracy)["prefix = 8"] == [(0.5, 50), (0.75, 70), (1.0, 90)]
        assert curves(accuracy)["prefix = default"] == [(0.5, 40), (0.75, 50), (1.0, 90)]
        assert curves(success)["prefix = 8"] == [(0.5, 100), (0.75, 100), (1.0, 100)]
        assert curves(utilisation)["prefix = 8"] == [(0.5, 90), (0.75, 90), (1.0, 90)]

    def test_asks_which_argument_where_there_are_several(self, draw, new_run, make):
        run = new_run()
        for prefix, rank in ((8, 4), (10, 4), (8, 2)):
            sweep(run, make, f"toy+adallava-h(prefix={prefix},rank={rank})", (0.5, 0.6, 0.9))
        with pytest.raises(UserError, match=r"the models differ in prefix and rank; say ablation\(by=prefix\)"):
            draw("ablation", run)
        panel = draw("ablation", run, arguments={"by": "rank"}).panels[0]
        assert list(curves(panel)) == ["rank = 2", "rank = 4"]

    def test_needs_models_that_differ_in_one_argument(self, draw, swept):
        with pytest.raises(UserError, match=r"no two models at several budgets differ in one argument alone"):
            draw("ablation", swept)
        with pytest.raises(UserError, match=r"differ in 'prefix' alone"):
            draw("ablation", swept, arguments={"by": "prefix"})


class TestRandom:
    def test_is_the_mean_and_the_range_over_seeds_beside_the_learned_one(self, draw, new_run, make):
        run, learned = new_run(), "toy+adallava-l(checkpoint=x)"
        for seed, low in ((0, 0.4), (1, 0.5), (2, 0.6)):
            sweep(run, make, f"toy+adallava-l(scheduler=random,seed={seed})", (low, 0.7, 0.9))
        sweep(run, make, learned, (0.8, 0.85, 0.9))
        (panel,) = draw("random", run).panels
        assert set(curves(panel)) == {L, learned}
        band = next(value for value in values(panel) if value.get("name") == L and value["place"] == "0.5")
        assert [band[key] for key in ("low", "y", "high", "band")] == pytest.approx([40, 50, 60, 1])
        assert all(value["band"] == 0 for value in values(panel) if value.get("name") == learned)

    def test_seeds_of_the_run_count_as_well(self, draw, new_run, make):
        run = new_run()
        for seed, low in ((0, 0.4), (1, 0.6)):
            sweep(run, make, L, (low, 0.7, 0.9), seed=seed)
        (panel,) = draw("random", run).panels
        assert curves(panel) == {L: [(0.5, 50), (0.75, 70), (1.0, 90)]}

    def test_needs_several_seeds(self, draw, swept):
        with pytest.raises(UserError, match=r"no random scheduler of these runs has several seeds .*; run adallava-l"):
            draw("random", swept)


class Toy:
    """A model of the registry that tells its attention."""

    def __init__(self, blocks=2):
        self.blocks = blocks

    def generate(self, prompts):
        return ["yes"] * len(prompts)

    def attention(self, prompt):
        maps = np.full((self.blocks, 2, 2), 0.1, dtype=np.float32)
        maps[0, 0, 1] = 0.7
        maps[-1, 1] = np.nan
        return AttentionMaps(prompt.images[0], tuple(range(self.blocks)), maps, "the latency token", split=1)


class Chooser(Toy):
    """One that tells which tokens it keeps, the budget's share of them after a block."""

    def kept(self, prompt):
        some = np.array([[True, False], [False, False]])
        return KeptTokens(prompt.images[0], (Stage(0, np.ones((2, 2), dtype=bool), 0), Stage(1, some, 2)))


class Riddles(Task):
    """Two questions on a red and a blue image, and others without."""

    card = CARD

    def __init__(self, target="yes"):
        images = [(Image.new("RGB", (40, 40), "red"),), (Image.new("RGB", (40, 40), "blue"),)]
        texts = [f"{EVIL} {i}?" for i in range(30)]
        loads = [functools.partial(Prompt, text, *images[i : i + 1]) for i, text in enumerate(texts)]
        self.inputs = [Input(f"{i}", load) for i, load in enumerate(loads)]
        self.samples = [Sample(f"q{i}", [i], target=target) for i in range(30)]


class Scheduled(Method):
    """Stands for AdaLLaVA."""

    scheduler: str = ""
    seed: int = 0
    budget: Budget = 1.0

    def apply(self, model):
        return model


@pytest.fixture
def plugins():
    """The built-in figures and the toys."""

    def register(registry):
        registry.model("toy", Toy, card=ModelCard(capabilities=("generate",), offers={"decoder"}))
        registry.model("chooser", Chooser, card=ModelCard(capabilities=("generate",), offers={"decoder"}))
        registry.model("mute", object, card=ModelCard(capabilities=("generate",), offers={"decoder"}))
        for name in ("adallava-l", "adallava-h"):
            registry.method(name, Scheduled, card=MethodCard(needs={"decoder"}, takes_budget=True))
        registry.task("toy", Riddles, card=CARD)

    plugins = Plugins()
    plugin = types.ModuleType("toys")
    plugin.register = hookimpl(register)
    assert plugins.add("toys", "a test", lambda: plugin).error == ""
    assert plugins.add("leaderboards", "a test", lambda: builtin).error == ""
    return plugins


class TestAnswers:
    @pytest.fixture
    def run(self, new_run, make):
        """On q0 all say the same; on q1 each budget says something else."""
        run = new_run("answers")
        for budget, said in zip(BUDGETS, ("no", EVIL, "yes\x1b[31m"), strict=True):
            add(run, make, L, budget, 0.5, outputs=["yes", said, *["yes"] * 28])
        return run

    def test_a_page_shows_the_answers_as_text(self, ask, run):
        html = answers(ask(run, form=".html"))
        page = Page(html)
        texts = [text for _, text in page.texts]
        assert [t for t in texts if t in ("no", "yes", "yes\N{REPLACEMENT CHARACTER}[31m")]
        assert f"{EVIL} 1?" in texts
        assert EVIL in texts
        assert [tag for tag, _ in page.tags].count("img") == 1
        assert page.scripts == ["{}"]
        assert "script-src &#39;none&#39;" in html

    def test_the_first_sample_that_differs_is_shown_unless_one_is_named(self, draw, run):
        assert draw("answers", run).title == "toy, q1"
        assert draw("answers", run, sample="q0").title == "toy, q0"

    def test_as_an_image_it_is_well_formed(self, ask, run):
        text = "".join(ET.fromstring(answers(ask(run))).itertext())
        assert all(part in text for part in ("no", f"{L}@0.5", "accuracy 100 %", "1.00 GFLOP", "Expected: yes"))

    def test_a_sample_without_an_image_is_shown_without(self, draw, run):
        assert len(draw("answers", run, sample="q2").panels) == 1
        assert len(draw("answers", run, sample="q1").panels) == 2

    def test_long_answers_are_cut_in_an_image_and_whole_on_a_page(self, ask, new_run, make):
        run, long = new_run("long"), " ".join(f"word{i}" for i in range(400))
        for budget in BUDGETS:
            add(run, make, L, budget, 0.5, outputs=[long] * 30)
        assert "word399" not in answers(ask(run))
        assert "word399" in answers(ask(run, form=".html"))

    def test_what_it_needs(self, draw, swept, new_run, make):
        one = new_run("one")
        add(one, make, L, 0.5, 0.5)
        with pytest.raises(UserError, match=r"is of one task, and there are puzzles, riddles, toy; give --task"):
            draw("answers", swept)
        with pytest.raises(UserError, match=r"there is one answer only, of .*@0\.5; run it at several"):
            draw("answers", one)
        with pytest.raises(UserError, match=r"unknown task 'riddles'"):
            draw("answers", swept, task="riddles")
        more = sweep(new_run("more"), make, L, (0.5, 0.6, 0.7), n=31)
        with pytest.raises(UserError, match=r"task toy asks no question 'q30'; use the data .* run it again"):
            draw("answers", more, sample="q30")

    @pytest.mark.parametrize("figure", ["answers", "attention", "kept"])
    def test_a_question_that_is_not_that_of_the_run_is_refused(self, draw, new_run, make, monkeypatch, figure):
        run = sweep(new_run(), make, L.replace("toy", "chooser"), (0.5, 0.6, 0.7))
        draw(figure, run, sample="q1")
        monkeypatch.setattr(Riddles.__init__, "__defaults__", ("no",))
        with pytest.raises(UserError, match=r"q1: the samples of task toy are not those of the run; use the data"):
            draw(figure, run, sample="q1")


class TestAttention:
    def test_is_the_image_and_a_map_for_each_block(self, draw, swept):
        drawing = draw("attention", swept, task="toy", models=(L,))
        assert [panel.title for panel in drawing.panels] == ["Image", "Block 0", "Block 1"]
        assert "the latency token" in drawing.title
        assert drawing.title.endswith("toy, q0")
        assert drawing.panels[1].caption == "100.0 % on the image. The last block before the plan."

    def test_the_highest_budget_is_taken_where_blocks_run_whole(self, draw, swept):
        assert f"{L} on" in draw("attention", swept, task="toy", models=(L,)).title

    def test_maps_are_bright_where_attention_is_and_grey_where_patches_were_dropped(self):
        red = Image.new("RGB", (10, 10), "red")
        grid = np.array([[0.0, 0.7], [np.nan, 0.1]], dtype=np.float32)
        image = np.asarray(veiled(red, grid), dtype=int)
        quarter = len(image) // 4
        low, high = image[quarter, quarter], image[quarter, 3 * quarter]
        assert high.sum() > low.sum() + 100
        # What lies over red there is grey: no colour but the image's own.
        assert image[3 * quarter, quarter][1] == image[3 * quarter, quarter][2]

    def test_what_it_needs(self, draw, swept, new_run, make):
        mute = new_run("mute")
        add(mute, make, "mute", 1.0, 0.5)
        for run, fields, message in (
            (swept, {"task": "toy"}, r"is of one model, and there are .*; give --model"),
            (swept, {"models": (L,)}, r"is of one task"),
            (swept, {"models": (L,), "task": "toy", "sample": "q2"}, r"sample q2 has not one image"),
            (mute, {}, r"model mute does not tell what it attends to"),
        ):
            with pytest.raises(UserError, match=message):
                draw("attention", run, **fields)


class TestKept:
    def test_is_the_image_and_each_stage_of_each_model_at_its_highest_budget(self, draw, new_run, make):
        run = sweep(new_run(), make, L.replace("toy", "chooser"), (0.5, 0.6, 0.7))
        add(run, make, "chooser", 1.0, 0.5)
        add(run, make, "mute", 1.0, 0.5)
        drawing = draw("kept", run, models=("chooser", L.replace("toy", "chooser")))
        steered = "adallava-l(scheduler=random)"
        assert [panel.title for panel in drawing.panels] == [
            "Image", "chooser", "chooser after 1 block", steered, f"{steered} after 1 block"
        ]  # fmt: skip
        assert drawing.panels[2].caption.startswith("1 of 4 tokens, and 2 merged or added.")
        first = draw("kept", run).panels[0]
        assert first.caption.endswith("Left out: mute: it does not tell which tokens it keeps.")

    @pytest.mark.parametrize("figure", ["kept", "attention", "plans"])
    def test_a_run_of_few_samples_is_drawn(self, draw, new_run, make, figure):
        run = sweep(new_run(), make, L.replace("toy", "chooser"), (0.5, 0.6, 0.7), n=9, plan=plan_of_blocks)
        assert draw(figure, run).panels
        with pytest.raises(UserError, match="no cell of these runs may be compared"):
            draw("pareto", run)

    def test_dropped_tokens_are_pale_and_the_image_keeps_its_shape(self):
        image = dimmed(Image.new("RGB", (40, 20), "red"), np.array([[True, False]]))
        assert image.size == (320, 160)
        assert image.getpixel((80, 80)) == (255, 0, 0)
        assert min(image.getpixel((240, 80))) > 150

    def test_what_it_needs(self, draw, swept, new_run, make):
        mute = new_run("mute")
        add(mute, make, "mute", 1.0, 0.5)
        with pytest.raises(UserError, match=r"kept: mute: it does not tell which tokens it keeps; choose another"):
            draw("kept", mute)
        with pytest.raises(UserError, match=r"is of one task"):
            draw("kept", swept)


class TestFiles:
    def test_a_page_holds_all_it_shows_and_runs_only_its_own_scripts(self, ask, new_run, make):
        run = sweep(new_run(), make, f'toy+adallava-l(scheduler="{TAG}")', (0.5, 0.6, 0.7), plan=plan_of_blocks)
        html = plans(ask(run, form=".html"))
        found = Page(html)
        assert TAG not in html
        assert any(TAG in text for _, text in found.texts)
        assert {attrs.get("src") for _, attrs in found.tags} == {None}
        policy = next(attrs["content"] for _, attrs in found.tags if attrs.get("http-equiv"))
        specs, *scripts = found.scripts
        assert set(json.loads(specs)) == {"panel-1", "panel-2"}
        for script in scripts:
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy

    @pytest.mark.parametrize(("form", "start"), [(".svg", "<svg"), (".pdf", b"%PDF-"), (".png", b"\x89PNG")])
    def test_images_are_what_their_names_say(self, ask, swept, form, start):
        assert radar(ask(swept, form=form, models=(L,))).startswith(start)

    def test_an_image_has_the_captions_and_hostile_names_as_text(self, ask, new_run, make):
        request = ask(sweep(new_run(), make, f'toy+adallava-l(scheduler="{TAG}")', (0.5, 0.6, 0.7)))
        image = ET.fromstring(pareto(request))
        text = "".join(image.itertext())
        assert "Each line is a model over its budgets" in text
        assert TAG in text
        assert not [element for element in image.iter() if element.tag.endswith("script")]


class TestBoard:
    def test_has_a_section_for_budgets_where_there_are_some(self, swept, plugins):
        html = page.render(make_board([swept.directory], plugins), plugins.registry)
        found = Page(html)
        ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
        assert ("h2", "Cost") in found.texts
        assert len(ids) == len(set(ids))
        assert "#figures-1" in {attrs.get("href") for tag, attrs in found.tags if tag == "a"}
        # On each of three tasks: curves, the blocks of one model, heads and channels of the other.
        drawn = {name for name in json.loads(found.scripts[0]) if name.startswith("figure-")}
        assert drawn == {f"figure-pareto-{n}" for n in (1, 2, 3)} | {f"figure-plans-{n}" for n in range(1, 10)}
        assert [text for tag, text in found.texts if tag == "summary" and "ran" in text] == [
            f"What ran on {task}" for task in ("puzzles", "riddles", "toy")
        ]

    def test_draws_the_plans_of_the_best_models_and_names_the_others(self, new_run, make, plugins):
        run = new_run()
        names = [f"toy+adallava-l(scheduler=random,seed={number})" for number in range(8)]
        for number, name in enumerate(names):
            sweep(run, make, name, (0.9 - number / 10,) * 3, plan=plan_of_blocks)
        found = Page(page.render(make_board([run.directory], plugins), plugins.registry))
        panels = on_board(make_board([run.directory], plugins))
        assert [panel.title for panel in panels] == names[:6]
        others = f"Not shown, but drawn by adaptbench figure plans: {names[6]} and {names[7]}."
        assert panels[-1].caption.endswith(others)
        assert any(text.endswith(others) for _, text in found.texts)
        drawn = {anchor for anchor in json.loads(found.scripts[0]) if anchor.startswith("figure-")}
        assert drawn == {"figure-pareto-1", *(f"figure-plans-{number}" for number in range(1, 7))}

    def test_has_none_without(self, shared_example, plugins):
        html = page.render(make_board([shared_example.directory], plugins), plugins.registry)
        assert not [attrs for _, attrs in Page(html).tags if attrs.get("id", "").startswith("figure")]


def test_a_long_title_is_cut_between_the_parts_of_a_model_spec():
    for title, lines in (
        ("tiny-llava+divprune(keep=16)", ["tiny-llava", "+divprune(keep=16)"]),
        ("tiny-llava+fastv(k=1,keep=11) after 1 block", ["tiny-llava", "+fastv(k=1,keep=11)", "after 1 block"]),
        ("What it + its base cost", ["What it + its base", "cost"]),
    ):
        panel = Panel(title, lambda palette: {"mark": "point"}, width=22 * 8)
        assert chart(panel, PAGE, titled=True)["title"]["text"] == lines


def test_colours_are_told_from_light_and_dark_paper():
    def luminance(colour):
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in SERIES:
        for paper in ("#ffffff", "#12171d"):
            lighter, darker = sorted((luminance(colour), luminance(paper)), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 3, (colour, paper)


def test_many_lines_differ_in_colour_or_mark():
    names = [f"model {number}" for number in range(64)]
    colours, marks = (series(kind, names)["scale"]["range"] for kind in ("colour", "shape"))
    assert len(set(zip(colours, marks, strict=True))) == 64
