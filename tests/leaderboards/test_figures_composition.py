"""The figures of chapter 4: what is drawn of pairs in four settings is what the records say."""

from __future__ import annotations

import importlib
import itertools
import json
import re
import xml.etree.ElementTree as ET

import pytest
from adaptbench.harness.cards import Metric, ModelCard, TaskCard
from adaptbench.harness.contracts import Record, Sample
from adaptbench.harness.errors import UserError
from adaptbench.harness.outputs import FigureRequest
from adaptbench.harness.results import CellId, CellResult
from adaptbench.harness.summary import summarise
from adaptbench.leaderboards import page
from adaptbench.leaderboards.board import make_board
from adaptbench.leaderboards.charts import FILE
from adaptbench.leaderboards.dissertation.printed import printed
from adaptbench.leaderboards.dissertation.published import read
from adaptbench.leaderboards.dissertation.scale import _apart
from adaptbench.leaderboards.figures.compositional import compositional
from adaptbench.leaderboards.figures.pairs import Pair, brief, family, find_pairs
from hypothesis import given
from hypothesis import strategies as st

SETTINGS = ("first", "second", "composite", "composite-in-context")
SHOWN = ("first task", "second task", "composite", "composite in context")
MISTAKES = ("first only", "second only", "copied", "other")
TAG = "<script>alert(1)</script>"
CARD = TaskCard(
    summary="Toy pair",
    capability="generate",
    metrics=(
        Metric(name="word match"),
        Metric(name="exact match"),
        *(Metric(name=name, better="lower") for name in MISTAKES),
    ),
    rule="word-match",
    sample_noun="question",
)
ERRORS = CARD.model_copy(update={"metrics": (Metric(name="word error rate", better="lower"),)})
AB = {"pair": "A+B", "structure": "sequential"}
AF = {"pair": "A+F", "structure": "separable"}
QUESTIONS = 40
PYTHIA, LLAMA = "hf-lm:EleutherAI/pythia-", "hf-lm:meta-llama/Llama-2-"
SIZES = {
    f"{PYTHIA}160m": 162_322_944,
    f"{PYTHIA}1.4b": 1_414_647_808,
    f"{PYTHIA}12b": 11_846_072_320,
    f"{LLAMA}7b-hf": 6_738_415_616,
    f"{LLAMA}70b-hf": 68_976_648_192,
}


def ask(run, model, task, done, *, axes=(), parameters=None, baseline=False, card=CARD, **changes):
    """Complete a cell of a pair.

    Args:
        done: Setting -> what each answer shows to have been done; the replications of a question are `QUESTIONS` apart.
        axes: Further axes of all samples.
    """
    asked = [(setting, *pair) for setting, answers in done.items() for pair in enumerate(answers)]
    samples, records = [], []
    for place, (setting, number, applied) in enumerate(asked):
        group = f"{setting.removesuffix('-in-context')}/{number % QUESTIONS}"
        sample = Sample(f"{setting}/{number}", [place], group=group, subsets={"setting": setting, **dict(axes)})
        right = float(applied.startswith("right"))
        scores = dict.fromkeys((metric.name for metric in card.metrics), 0.0) | {"word error rate": 1.5 - right}
        scores |= {"word match": right, "exact match": right, applied: 1.0}
        kept = {metric.name: scores[metric.name] for metric in card.metrics}
        samples.append(sample)
        records.append(Record(sample.id, f"{place:064}", "x", {"answer": "x", "applied": applied}, kept, group=group))
    cell = CellId(model=model, task=task, seed=changes.pop("seed", 0))
    journal = run.directory.claim(f"{len(run.directory.journals()):032x}", cell)
    journal.acquire()
    journal.append(records)
    fields = {
        "key": journal.folder.name,
        "cell": cell,
        "model_card": ModelCard(summary="toy", capabilities=("generate",), reference=baseline),
        "task_card": card,
        "samples_digest": "5a" * 32,
        "partial": None,
        "flops": None,
        "parameters": parameters,
        "settings": {"batch_size": 64},
        "records_sha256": journal.digest(),
        **summarise(card, samples, records),
    }
    journal.finish(CellResult(**(fields | changes)), None)
    journal.release()


def answers(right, otherwise="first only", n=QUESTIONS):
    """Some answers, the first of which are right."""
    return ["right"] * round(right * n) + [otherwise] * (n - round(right * n))


def ask_all(run, model, task, shares, otherwise="first only", **options):
    """The four settings of a pair as cells of their own, each with its share of right answers."""
    for setting, share in zip(SETTINGS, shares, strict=True):
        ask(run, model, f"{task}(setting={setting})", {setting: answers(share, otherwise)}, **options)
    return run


@pytest.fixture(scope="module")
def scaled(new_shared_run):
    """Two families of models, and baselines, on a sequential and on a separable pair."""
    run = new_shared_run("scaled")
    for place, (model, size) in enumerate(SIZES.items()):
        grown = place / 10
        ask_all(run, model, "ab", (0.6, 0.5, grown, 0.5 + grown), axes=AB, parameters=size)
        ask_all(run, model, "af", (0.6, 0.5, 0.4 + grown, 0.5 + grown), "copied", axes=AF, parameters=size)
    for mode, share in (("both", 1), ("first", 0.5), ("copy", 0.5)):
        for task, axes in (("ab", AB), ("af", AF)):
            ask_all(run, f"rule-follower(mode={mode})", task, (share,) * 4, "copied", axes=axes, baseline=True)
    return run


def module_of(figure):
    folder = "dissertation" if figure == "scale" else "figures"
    return importlib.import_module(f"adaptbench.leaderboards.{folder}.{figure}")


@pytest.fixture
def request_of(plugins):
    def asked(*runs, form=".svg", **fields):
        return FigureRequest(runs=tuple(run.directory for run in runs), plugins=plugins, form=form, **fields)

    return asked


@pytest.fixture
def draw(request_of, monkeypatch):
    """Call a figure and return what it would have rendered: its `Drawing`."""

    def drawn(name, *runs, arguments=None, **fields):
        module = module_of(name)
        monkeypatch.setattr(module, "render", lambda drawing, form: drawing)
        return getattr(module, name)(request_of(*runs, **fields), **(arguments or {}))

    return drawn


def rows(panel, *fields):
    """The rows of data of a panel that have all of these fields, each once, as tuples."""
    found = []

    def walk(node):
        data = [value for value in node.get("values", ()) if isinstance(value, dict)] if "values" in node else []
        found.extend(tuple(value[field] for field in fields) for value in data if value.keys() >= set(fields))
        for child in node.values():
            for one in child if isinstance(child, list) else [child]:
                if isinstance(one, dict):
                    walk(one)

    walk(panel.draw(FILE))
    return list(dict.fromkeys(found))


def bars(panel):
    """Row -> setting -> the length of its bar."""
    found = {}
    for row, setting, value in rows(panel, "row", "setting", "value"):
        found.setdefault(row, {})[setting] = pytest.approx(value)
    return found


class TestPairs:
    def test_are_cells_whose_tasks_differ_in_the_setting_alone(self, request_of, new_run):
        run = new_run()
        ask(run, "m", "ab(k=5,setting=first)", {"first": answers(0.5)})
        ask(run, "m", "ab(k=5)", {"composite": answers(0.5)})
        ask(run, "m", "ab", {"composite": answers(0.5)}, axes=AB)
        ask(run, "m", "ab", {"composite": answers(0.5)}, axes=AB, seed=3)
        found = find_pairs(request_of(run), "scale")
        assert [(pair.title, sorted(pair.parts["m"])) for pair in found] == [
            ("A+B, sequential: ab", ["composite"]),
            ("A+B, sequential: ab, seed 3", ["composite"]),
            ("ab(k=5)", ["composite", "first"]),
        ]

    def test_a_task_of_all_settings_is_told_apart_by_its_axis(self, draw, new_run):
        run = new_run()
        done = {setting: answers(share) for setting, share in zip(SETTINGS, (0.1, 0.2, 0.3, 0.4), strict=True)}
        ask(run, "m", "ab(setting=all)", done)
        (panel,) = draw("compositional", run).panels
        assert bars(panel) == {"m": dict(zip(SHOWN, (10, 20, 30, 40), strict=True))}

    def test_models_are_called_by_their_shortest_own_names(self):
        names = ["hf-lm:a/x-7b(dtype=bfloat16)", "hf-lm:a/y", "hf-lm:b/y", "hf-lm:c/z(share=true)", "hf-lm:c/z"]
        names += ["rule-follower(mode=first)", "rule-follower(mode=copy)", "says:yes", "hf-lm:a/w+layers(keep=2)@0.5"]
        short = ["x-7b", "hf-lm:a/y", "hf-lm:b/y", "z(share=true)", "z", *names[5:7], "yes", "w+layers(keep=2)@0.5"]
        assert brief(names) == dict(zip(names, short, strict=True))

    @pytest.mark.parametrize(
        ("name", "of"),
        [
            ("pythia-160m", "pythia"),
            ("pythia-1.4b-deduped", "pythia-deduped"),
            ("Llama-2-70b-hf", "Llama-2-hf"),
            ("Meta-Llama-3-8B", "Meta-Llama-3"),
            ("Mixtral-8x7B-v0.1", "Mixtral-v0.1"),
            ("open_llama_3b_v2", "open_llama_v2"),
            ("gpt2-xl", "gpt2"),
            ("7b", "7b"),
            ("tiny-icl", "tiny-icl"),
            ("x4b", "x4b"),
        ],
    )
    def test_a_family_is_the_name_without_the_size(self, name, of):
        assert family(name) == of

    def test_a_pair_is_named_with_its_setting_or_without(self, draw, scaled):
        for task in ("ab", "ab(setting=composite)"):
            assert [panel.title for panel in draw("compositional", scaled, task=task).panels] == ["A+B, sequential: ab"]
        with pytest.raises(UserError, match=r"the runs hold no pair 'gh'; they hold ab, af"):
            draw("compositional", scaled, task="gh")

    @pytest.mark.parametrize("name", ["scale", "compositional", "gap", "mistakes"])
    def test_a_run_without_pairs_is_one_line(self, draw, shared_example, name):
        with pytest.raises(UserError, match=rf"^{name}: no task of these runs composes two simple ones; run some: "):
            draw(name, shared_example)

    @pytest.mark.parametrize("name", ["scale", "compositional", "gap"])
    def test_an_unknown_metric_is_one_line(self, draw, scaled, name):
        with pytest.raises(UserError, match=r"there is no metric 'exact'; choose word match, exact match, "):
            draw(name, scaled, arguments={"metric": "exact"})


class TestScale:
    def test_is_a_line_for_each_setting_and_family_over_the_parameters(self, draw, scaled):
        panel = draw("scale", scaled, task="ab").panels[0]
        points = {}
        for name, mark, place, y in rows(panel, "name", "mark", "place", "y"):
            points.setdefault((name, mark), []).append((float(place), pytest.approx(y)))
        assert set(points) == {(setting, of) for setting in SHOWN for of in ("pythia", "Llama-2-hf")}
        assert points["composite", "pythia"] == [(0.1623, 0), (1.415, 10), (11.85, 20)]
        assert points["composite in context", "Llama-2-hf"] == [(6.738, 80), (68.98, 90)]

    def test_its_axis_is_logarithmic_in_a_unit_that_fits(self, draw, scaled, new_run):
        spec = json.dumps(draw("scale", scaled, task="ab").panels[0].draw(FILE))
        assert '"type": "log"' in spec
        assert "parameters, billions" in spec
        small = new_run("small")
        for size in (50_000, 700_000):
            ask(small, f"m-{size // 1000}k", "ab", {"composite": answers(0.5)}, parameters=size)
        assert "parameters, thousands" in json.dumps(draw("scale", small).panels[0].draw(FILE))

    def test_by_family_is_a_row_for_each_pair(self, draw, scaled):
        drawing = draw("scale", scaled, arguments={"by": "family"})
        assert [panel.title for panel in drawing.panels] == [
            f"{pair}, {of}" for pair in ("A+B, sequential: ab", "A+F, separable: af") for of in ("Llama-2-hf", "pythia")
        ]
        assert drawing.columns == 2
        assert {mark for (mark,) in rows(drawing.panels[0], "mark")} == {""}

    def test_baselines_are_levels_of_the_composite_whose_names_stand_apart(self, draw, scaled):
        panel = draw("scale", scaled, task="ab").panels[0]
        levels = {text: (value, place) for text, value, place in rows(panel, "text", "value", "place")}
        assert {name: value for name, (value, _) in levels.items()} == {
            "rule-follower(mode=both)": 100,
            "rule-follower(mode=copy)": 50,
            "rule-follower(mode=first)": 50,
        }
        assert abs(levels["rule-follower(mode=copy)"][1] - levels["rule-follower(mode=first)"][1]) > 4
        assert "Dashed: what baselines get" in panel.caption

    @given(st.lists(st.floats(0, 100), max_size=12))
    def test_names_keep_their_distance_and_their_order(self, values):
        places = _apart(values, 5, 104)
        ordered = [place for _, place in sorted(zip(values, places, strict=True))]
        assert all(after - before >= 5 - 1e-9 for before, after in itertools.pairwise(ordered))
        assert max(places, default=0) <= 104

    def test_intervals_stay_on_the_axis(self, draw, new_run):
        run = new_run()
        for model, size in (("m-1m", 1e6), ("m-2m", 2e6)):
            ask(run, model, "ab", {"first": answers(0.025), "composite": answers(0.975)}, parameters=int(size))
        ends = rows(draw("scale", run).panels[0], "low", "high")
        assert 0 <= min(low for low, _ in ends) < 2.5
        assert 97.5 < max(high for _, high in ends) <= 100

    def test_an_axis_of_errors_is_turned_and_reaches_the_worst(self, draw, new_run):
        run = new_run()
        for model, size in (("m-1m", 1e6), ("m-2m", 2e6)):
            ask(run, model, "ab", {"composite": answers(0.0)}, parameters=int(size), card=ERRORS)
        spec = draw("scale", run).panels[0].draw(FILE)
        scales = [scale for scale in re.findall(r"{[^{}]*'reverse': True}", str(spec)) if "156" in scale]
        assert scales

    def test_the_published_models_stand_beside_those_of_the_run(self, draw, scaled):
        panel = draw("scale", scaled, task="ab", models=(f"{PYTHIA}12b",), arguments={"published": True}).panels[0]
        points = {}
        for name, mark, place, y in rows(panel, "name", "mark", "place", "y"):
            points.setdefault((name, mark), []).append((float(place), pytest.approx(y)))
        assert points["composite", "Llama2, printed"] == [(7, 7), (13, 1), (70, 37)]
        assert points["composite in context", "Llama3, printed"] == [(8, 97), (70, 100)]
        assert points["composite", "Mistral, printed"] == [(7, 16), (46.7, 42)]
        assert points["composite", "pythia"] == [(11.85, 20)]
        assert "printed scores aside" in panel.caption
        assert "printed" not in draw("scale", scaled, task="ab").panels[0].caption

    def test_every_figure_of_the_published_tables_is_in_one_setting(self):
        kinds = ("A+B", "A+C", "A+F", "B+D", "B+E", "D+F", "G+H")
        curves = {kind: printed(Pair("t", 0, f"{kind}, any", CARD), CARD.metrics[0]) for kind in kinds}
        assert sum(len(one.spots) for own in curves.values() for one in own) == sum(
            len(read(t)) for t in ("4.4", "B.2")
        )
        assert all({one.name for one in own} == set(SHOWN) for own in curves.values())
        values = {(one.name, one.mark): [spot.y for spot in one.spots] for one in curves["A+C"]}
        # The table prints the second task, two sum, first.
        assert values["first task", "Mistral, printed"] == [98, 99]
        assert values["second task", "Mistral, printed"] == [71, 100]

    def test_what_is_not_published_is_one_line(self, draw, new_run, scaled):
        run = new_run()
        ask(run, "m", "ed", {"composite": answers(0.5)}, axes={"pair": "E+D"}, parameters=10)
        for one, arguments in ((run, {}), (scaled, {"metric": "exact match"})):
            with pytest.raises(UserError, match=r"nothing is published of these pairs .*; Tables 4\.4 and B\.2 have"):
                draw("scale", one, arguments={"published": True} | arguments)

    def test_needs_two_sizes(self, draw, scaled):
        for models in ((f"{PYTHIA}160m",), ("rule-follower(mode=both)", f"{LLAMA}7b-hf")):
            with pytest.raises(UserError, match=r"no pair of these runs was asked of models of several sizes; run it"):
                draw("scale", scaled, models=models)
        with pytest.raises(UserError, match=r"there is no panel for each 'size'; use pair or family"):
            draw("scale", scaled, arguments={"by": "size"})


class TestCompositional:
    def test_is_a_row_for_each_model_with_baselines_last(self, draw, scaled):
        panel = draw("compositional", scaled).panels[1]
        found = bars(panel)
        assert list(found)[:5] == ["Llama-2-7b-hf", "Llama-2-70b-hf", "pythia-160m", "pythia-1.4b", "pythia-12b"]
        assert {name.partition("(")[0] for name in list(found)[5:]} == {"rule-follower"}
        assert found["pythia-12b"] == dict(zip(SHOWN, (60, 50, 60, 70), strict=True))

    def test_bars_stand_in_order_whatever_the_other_panels_have(self, request_of, new_run):
        run = new_run()
        for task, settings in (("a", ("first", "composite")), ("b", SETTINGS)):
            ask(run, "m", task, {setting: answers(0.5) for setting in settings})
        image = compositional(request_of(run))
        drawn = re.findall(r'setting: ([\w ]+);[^>]*"bar" d="M0,([\d.]+)h', image)[2:]
        assert tuple(setting for setting, _ in drawn) == SHOWN
        assert [float(y) for _, y in drawn] == sorted(float(y) for _, y in drawn)

    def test_shows_another_metric(self, draw, scaled):
        panel = draw("compositional", scaled, task="af", arguments={"metric": "copied"}).panels[0]
        assert bars(panel)["pythia-160m"] == dict(zip(SHOWN, (40, 50, 60, 50), strict=True))


class TestGap:
    def test_is_a_panel_for_each_model_with_differences_paired_by_question(self, draw, scaled):
        drawing = draw("gap", scaled)
        assert [panel.title for panel in drawing.panels][:2] == ["Gap of Llama-2-7b-hf", "Gap of Llama-2-70b-hf"]
        assert len(drawing.panels) == len(SIZES)
        smallest = next(panel for panel in drawing.panels if "160m" in panel.title)
        assert bars(smallest) == {
            "A+B, sequential": {"composite": 0, "composite in context": 50},
            "A+F, separable": {"composite": 40, "composite in context": 50},
        }
        notes = dict(rows(smallest, "row", "note"))
        # 4 of 40 questions differ, by one each: 10 +- t(39) * 0.3 * sqrt(40 / 39) / sqrt(40).
        assert notes["A+F, separable"] == "\N{MINUS SIGN}10.00 ± 9.72"
        assert notes["A+B, sequential"] == "\N{MINUS SIGN}50.00 ± 16.19"

    def test_replications_of_a_question_count_once(self, draw, new_run):
        run = new_run()
        for times, task in ((1, "one"), (3, "three")):
            for setting, right in (("composite", 0.4), ("composite-in-context", 0.5)):
                ask(run, "m", f"{task}(setting={setting})", {setting: answers(right) * times})
        one, three = (dict(rows(draw("gap", run, task=task).panels[0], "row", "note")) for task in ("one", "three"))
        assert one["one"] == three["three"] == "\N{MINUS SIGN}10.00 ± 9.72"

    def test_is_of_independent_figures_where_questions_differ_or_one_cell_asked_both(self, draw, new_run):
        run = new_run()
        both = {"composite": answers(0.4), "composite-in-context": answers(0.5)}
        ask(run, "m", "ab(setting=all)", both)
        ask(run, "m", "af(setting=composite)", {"composite": answers(0.4, n=30)})
        ask(run, "m", "af(setting=composite-in-context)", {"composite-in-context": answers(0.5)})
        notes = dict(rows(draw("gap", run).panels[0], "row", "note"))
        # Half-widths 15.87 and 16.19 of 40 answers each.
        assert notes["ab"] == "\N{MINUS SIGN}10.00 [\N{MINUS SIGN}30.94, 12.27] (unpaired)"
        assert notes["af"].endswith("(unpaired)")

    def test_rows_of_one_kind_are_told_apart(self, draw, new_run):
        run = new_run()
        for task, right in (("ab(k=5)", 0.2), ("ab", 0.4)):
            ask(run, "m", task, {"composite": answers(right), "composite-in-context": answers(0.5)}, axes=AB)
        assert {row: found["composite"] for row, found in bars(draw("gap", run).panels[0]).items()} == {
            "A+B, sequential: ab": 40,
            "A+B, sequential: ab(k=5)": 20,
        }

    def test_baselines_have_one_if_they_are_named(self, draw, scaled):
        (panel,) = draw("gap", scaled, models=("rule-follower(mode=copy)",)).panels
        assert panel.title == "Gap of rule-follower"
        assert {note for _, note in rows(panel, "row", "note")} == {"0.00 ± 0.00"}

    def test_needs_both_settings(self, draw, new_run):
        run = new_run()
        ask(run, "m", "ab", {"composite": answers(0.5)})
        with pytest.raises(UserError, match=r"no model .* in both settings, composite and composite-in-context"):
            draw("gap", run)


class TestMistakes:
    @pytest.fixture
    def run(self, new_run):
        """A cell of each setting, with a bit of everything in the composite."""
        run = new_run()
        done = ["right: first, then second"] * 2 + ["right: second, then first"] * 6 + ["right"] * 4
        done += ["first only"] * 10 + ["second only"] * 8 + ["copied"] * 6 + ["other"] * 4
        ask(run, "m", "gh", {"composite": done})
        ask(run, "m", "gh(setting=first)", {"first": answers(0.75, "second only")})
        return run

    def test_are_shares_of_what_was_done_and_in_which_order(self, draw, run):
        (panel,) = draw("mistakes", run).panels
        assert dict(rows(panel, "kind", "share")) == {
            "right": pytest.approx(10),
            "right: first, then second": pytest.approx(5),
            "right: second, then first": pytest.approx(15),
            "first only": pytest.approx(25),
            "second only": pytest.approx(20),
            "copied": pytest.approx(15),
            "other": pytest.approx(10),
        }

    def test_of_another_setting(self, draw, run):
        (panel,) = draw("mistakes", run, arguments={"setting": "first"}).panels
        assert dict(rows(panel, "kind", "share")) == {"right": 75, "second only": 25}

    def test_what_they_need(self, draw, run, new_run):
        with pytest.raises(UserError, match=r"there is no setting 'frist' \(did you mean 'first'\?\); choose first, "):
            draw("mistakes", run, arguments={"setting": "frist"})
        with pytest.raises(UserError, match=r"no cell of these runs in the setting second says which"):
            draw("mistakes", run, arguments={"setting": "second"})
        silent = new_run("silent")
        ask(silent, "m", "ab", {"composite": answers(0.5)}, card=ERRORS)
        with pytest.raises(UserError, match=r"no cell of these runs in the setting composite says which"):
            draw("mistakes", silent)


class TestFilesAndBoard:
    @pytest.mark.parametrize("name", ["scale", "compositional", "gap", "mistakes"])
    def test_hostile_names_are_text(self, request_of, new_run, name):
        run = new_run()
        for size in (1, 2):
            model = f'hf-lm:x/m-{size}m(dtype="{TAG}")'
            ask_all(run, model, "ab", (0.5,) * 4, axes=AB | {"pair": TAG}, parameters=size * 10**6)
        ask(run, model.replace("2m", "3m").replace("float", ""), "ab", {"composite": answers(0.2)})
        draw_it = getattr(module_of(name), name)
        image = draw_it(request_of(run))
        assert TAG not in image
        assert TAG not in draw_it(request_of(run, form=".html"))
        assert TAG in "".join(ET.fromstring(image).itertext())

    def test_a_board_has_a_section_for_pairs(self, new_run, plugins):
        run = new_run()
        ask_all(run, "m", "ab", (0.5,) * 4, axes=AB)
        ask_all(run, "rule-follower", "ab", (0.5,) * 4, axes=AB, baseline=True)
        html = page.render(make_board([run.directory], plugins), plugins.registry)
        assert html.count('id="figures-1"') == html.count('href="#figures-1"') == 1
        ids = re.findall(r'id="(figure-\w+-\d+)"', html)
        specs = json.loads(re.search(r'<script type="application/json" id="charts">(.*?)</script>', html)[1])
        assert ids == ["figure-compositional-1", "figure-gap-1", "figure-mistakes-1"]
        assert set(ids) <= set(specs)
        section = html[html.index("<h2>Composition</h2>") :]
        titles = re.findall("<h3>(.*?)</h3>", section)[:3]
        assert titles == ["A+B, sequential: ab", "Gap of m", "Mistakes on A+B, sequential: ab"]

    def test_a_board_without_pairs_has_none(self, shared_example, plugins):
        assert "omposition" not in page.render(make_board([shared_example.directory], plugins), plugins.registry)
