"""The logical suite as a task: prompts to the letter, settings, sides, replications, and whole runs of baselines."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import adaptbench
import pytest
from adaptbench.harness.cards import ModelCard
from adaptbench.harness.conformance import check
from adaptbench.harness.errors import UserError
from adaptbench.harness.hashing import sha256_hex
from adaptbench.harness.plugins import load_plugins
from adaptbench.harness.suites import load_suite
from adaptbench.models.reference.rule_follower import MODES, RuleFollower
from adaptbench.tasks.compositional.logical import SETTINGS, Logical, Protocol, logical, logical_card
from adaptbench.tasks.compositional.pairs import PAIRS
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(adaptbench.__file__).parent
PAGE = (ROOT / "docs" / "compositional.md").read_text(encoding="utf-8")
COMPOSITE = {  # what only a composite looks like
    "ab": r"\( \* .*\)",
    "ac": r"\* \(.*@.*\)",
    "af": r"\d+ \D+",
    "bd": r"\* .*#",
    "be": r"\* .*#",
    "df": r"\d+ \D+",
    "gh": r".*(@.*#|#.*@).*",
    "da": r"\* .*#",
    "ed": r"\* .*# .*",
}


def small(pair, setting="composite", **arguments):
    return logical(pair, setting=setting, **{"queries": 4, "replications": 1} | arguments)


def prompts(task):
    return [item.load().text for item in task.inputs]


def blocks(text):
    """The demonstrations of a prompt, as (input, output), and its query."""
    *shown, query = text.split("\n\n")
    found = [re.fullmatch("input: (.+)\noutput: (.+)", block).groups() for block in shown]
    return found, re.fullmatch("input: (.+)\noutput:", query).group(1)


def test_a_prompt_to_the_letter():
    task = small("ab", k=1, queries=1, instructions=True)
    (text,) = prompts(task)
    assert re.fullmatch(
        r"\* is a function for capitalizing letters, \(\) is another function for swapping the position of 2 words\."
        r"\n\n(input: \* (\S+)\noutput: (\S+)\n\ninput: \( (\S+) (\S+) \)\noutput: (\S+) (\S+)"
        r"|input: \( (\S+) (\S+) \)\noutput: (\S+) (\S+)\n\ninput: \* (\S+)\noutput: (\S+))"
        r"\n\ninput: \( \* (\S+) \* (\S+) \)\noutput:",
        text,
    )
    asked = task.inputs[0].load()
    assert (asked.images, asked.max_new_tokens, asked.stop) == ((), 20, ("\n",))


def test_instructions_are_off_unless_asked_for():
    assert prompts(small("bd", k=0))[0].startswith("input: * ")
    said = prompts(small("bd", k=0, instructions=True))[0]
    assert said.partition("\n\n")[0] == (
        "* is a function before words for finding the past tense of two verbs, # is another function after words for "
        "swapping the position of 2 verbs"
    )
    assert said.partition("\n\n")[2] == prompts(small("bd", k=0))[0]


@pytest.mark.parametrize("pair", PAIRS)
def test_every_form_has_an_instruction_that_goes_with_its_signs(pair):
    for form in PAIRS[pair].forms.values():
        assert {sign for sign in "*#@" if sign in form.marks} <= set(form.instruction) | {"@"}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("with_simple", [False, True])
def test_demonstrations_show_what_the_setting_says(pair, setting, with_simple):
    task = small(pair, setting, k=5, with_simple=with_simple)
    expected = {
        "composite": (10, 0),
        "composite-in-context": (15, 5) if with_simple else (5, 5),
    }.get(setting, (5, 0))
    for text in prompts(task):
        shown, query = blocks(text)
        composites = [said for said, _ in shown if re.fullmatch(COMPOSITE[pair], said)]
        assert (len(shown), len(composites)) == expected
        assert len(set(shown)) == len(shown)
        assert bool(re.fullmatch(COMPOSITE[pair], query)) == setting.startswith("composite")


@pytest.mark.parametrize("pair", PAIRS)
def test_demonstrations_of_two_tasks_are_mixed_in_new_orders(pair):
    simple = PAIRS[pair]
    kinds = set()
    for text in prompts(small(pair, k=4, queries=6)):
        shown, _ = blocks(text)
        first = simple.forms[next(iter(simple.forms))].first
        shape = re.escape(first)
        for number in range(3):
            shape = shape.replace(
                re.escape(f"{{{number}}}"), r"[A-Za-z][\w'-]*" if simple.first.letter != "G" else r"\d+"
            )
        kinds.add("".join("1" if re.fullmatch(shape, said) else "2" for said, _ in shown))
    assert all(Counter(order) == {"1": 4, "2": 4} for order in kinds)
    assert len(kinds) > 1


@pytest.mark.parametrize("pair", PAIRS)
def test_no_word_of_a_query_stands_in_any_demonstration(pair):
    task = logical(pair, setting="all", queries=30, replications=1)
    asked, shown = set(), set()
    for text in prompts(task):
        found, query = blocks(text)
        shown |= {said for said, _ in found}
        asked.add(query)
    assert asked & shown == set()
    if pair not in {"ac", "gh"}:  # whose numbers come in pairs: the pair is what is new
        words = [{word for said in texts for word in re.findall(r"[\w'-]+", said)} for texts in (asked, shown)]
        assert words[0] & words[1] == set()


def test_fresh_demonstrations_differ_by_question_and_fixed_ones_do_not():
    fresh = [text.rpartition("input: ")[0] for text in prompts(small("ab"))]
    assert len(set(fresh)) == 4
    fixed = prompts(small("ab", demonstrations="fixed", replications=2))
    heads = [text.rpartition("input: ")[0] for text in fixed]
    assert len(set(heads[:4])) == len(set(heads[4:])) == 1
    assert heads[0] != heads[4]
    queries = [blocks(text)[1] for text in fixed]
    assert queries[:4] == queries[4:] == [blocks(text)[1] for text in prompts(small("ab"))]


def test_replications_are_one_group_and_have_names_of_their_own():
    task = small("ab", replications=3)
    assert len({sample.id for sample in task.samples}) == 12
    assert set(Counter(sample.group for sample in task.samples).values()) == {3}
    assert task.samples[5].id == "ab/composite/2/0001"
    assert task.samples[5].subsets == {
        "pair": "A+B",
        "setting": "composite",
        "structure": "sequential",
        "replication": "2",
    }
    assert [list(sample.inputs) for sample in task.samples] == [[number] for number in range(12)]


def test_the_composite_is_asked_the_same_in_both_settings():
    both = [[blocks(text)[1] for text in prompts(small("gh", setting))] for setting in SETTINGS[2:]]
    assert both[0] == both[1]


def test_seeds_change_everything_and_forms_the_form_only():
    assert set(prompts(small("ab"))) & set(prompts(small("ab", seed=1))) == set()
    inside, outside = (prompts(small("ab", form=form)) for form in ("inside", "outside"))
    assert [re.sub(r"[*() ]+", " ", text) for text in inside] == [re.sub(r"[*() ]+", " ", text) for text in outside]
    assert inside != outside


def test_queries_are_different_and_fewer_where_there_are_no_more():
    task = logical("ac", setting="first", replications=1)
    asked = [blocks(text)[1] for text in prompts(task)]
    assert len(set(asked)) == len(asked) == len(task.samples)
    assert 25 <= len(asked) <= 35  # of a hundred numbers in words
    for pair in PAIRS:
        assert len(logical(pair, k=0, queries=300, replications=1).samples) == (300 if pair != "da" else 117)


@pytest.mark.parametrize(("arguments", "most"), [({}, 9994), ({"ranges": "text"}, 1000), ({"low": 20, "high": 40}, 40)])
def test_numbers_lie_in_the_range_that_was_chosen(arguments, most):
    texts = "\n".join(prompts(logical("af", setting="second", queries=20, replications=1, **{"k": 5} | arguments)))
    numbers = [int(number) for number in re.findall(r"input: (\d+)", texts)]
    assert most / 2 < max(numbers) <= most
    assert min(numbers) >= {9994: 1005, 1000: 1, 40: 20}[most]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pair": "ba"}, "there is no pair 'ba'"),
        ({"pair": 1}, "there is no pair 1"),
        ({"form": 1, "pair": "ab"}, "form=1"),
        ({"setting": "composit"}, "setting='composit' .*did you mean 'composite'"),
        ({"pair": "ab", "form": "marked"}, "form='marked'"),
        ({"demonstrations": "new"}, "demonstrations='new'"),
        ({"ranges": "texts"}, "ranges='texts'"),
        ({"low": 9, "high": 3}, "no numbers lie in"),
        ({"k": -1}, "k=-1 is not a whole number of at least 0"),
        ({"queries": 0}, "queries=0"),
        ({"replications": True}, "replications=True"),
    ],
)
def test_arguments_that_are_none_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        logical(**arguments)


def test_more_demonstrations_than_there_are():
    with pytest.raises(UserError, match=r"pair A\+C has \d\d different demonstrations of a task, k=90"):
        _ = [question.prompt for question in small("ac", k=90).questions]


def test_a_card_says_how_the_pair_is_made():
    assert logical_card([PAIRS["af"]]).summary == "A+F, capitalisation and plus one by parts (separable)"
    assert small("gh").card.summary == "G+H, modular and two sum plus one by steps (sequential): composite"
    assert "A+B, A+C, A+F" in small("text").card.summary


DIGEST = (
    "from adaptbench.harness.hashing import sha256_hex\nfrom adaptbench.tasks.compositional.logical import logical\n"
)
DIGEST += "task = logical('all', setting='all', queries=3, replications=2)\n"
DIGEST += "print(sha256_hex(*(item.load().text.encode() for item in task.inputs)))"
PROMPTS = "c1f93e4b160f9541bbad2b17633ce7c4609ad660b475acefbd4dc9c2fe9155c9"


def test_the_same_seed_gives_the_same_prompts_on_any_platform():
    task = logical("all", setting="all", queries=3, replications=2)
    assert sha256_hex(*(text.encode() for text in prompts(task))) == PROMPTS


def test_the_same_seed_gives_the_same_prompts_in_another_process():
    told = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env={"PYTHONHASHSEED": "77", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == PROMPTS


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(PAIRS)), st.integers(0, 2**64), st.sampled_from(SETTINGS))
def test_any_seed_makes_questions_whose_first_answer_is_right(pair, seed, setting):
    task = Logical([(PAIRS[pair], "")], [setting], Protocol(k=2, queries=2, replications=1), seed)
    for sample in task.samples:
        scores = task.score(sample, task.parse(sample, f" {sample.target['answers'][0]}\n\ninput: x"))
        assert scores["word match"] == scores["exact match"] == scores["contains"] == 1


class Registering:
    """What the built-in plugin registers, by other names."""

    @adaptbench.hookimpl
    def register(self, registry):
        card = ModelCard(capabilities=("generate",), reference=True, replays=True)
        registry.model("follower", RuleFollower, card=card)
        for pair in PAIRS.values():
            registry.task(f"lg-{pair.slug}", functools.partial(logical, pair, queries=20), card=logical_card([pair]))


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    """(mode, pair, setting) -> metric -> value, of a whole run."""
    tasks = [
        f"lg-{pair}(setting={setting},k=1,queries=40,replications=1)"
        for pair in ("ab", "af", "gh")
        for setting in SETTINGS
    ]
    out = tmp_path_factory.mktemp("runs") / "baselines"
    models = [f"follower(mode={mode})" for mode in MODES]
    result = adaptbench.run(models, tasks, out=out, plugins=[Registering()])
    found = {}
    for cell in result.results:
        mode = re.search(r"mode=(\w+)", cell.cell.model).group(1)
        pair, setting = re.search(r"lg-(\w+)\(.*setting=([\w-]+)", cell.cell.task).groups()
        found[mode, pair, setting] = {name: metric.value for name, metric in cell.metrics.items()}
    return found


def test_baselines_score_what_they_do(metrics):
    for setting in ("composite", "composite-in-context"):
        for pair in ("ab", "af", "gh"):
            assert metrics["both", pair, setting]["exact match"] == 1
            assert metrics["reverse", pair, setting]["word match"] == 1
            assert metrics["copy", pair, setting]["copied"] > 0.9
        for mode in ("first", "second"):
            assert metrics[mode, "ab", setting]["exact match"] == 0
            assert metrics[mode, "ab", setting][f"{mode} only"] == 1
            assert metrics[mode, "af", setting]["word match"] == 0.5  # the part that the other task leaves
            assert metrics[mode, "af", setting][f"{mode} only"] == 1
    assert metrics["first", "ab", "first"]["exact match"] == metrics["second", "ab", "second"]["exact match"] == 1
    assert metrics["second", "ab", "first"]["copied"] == 1  # one word cannot be swapped
    assert metrics["first", "ab", "second"]["first only"] == 1
    assert metrics["first", "gh", "second"]["exact match"] < 0.2


def test_a_follower_wants_a_mode_and_a_task_that_tells():
    with pytest.raises(UserError, match=r"no mode 'frist' \(did you mean 'first'\?\)"):
        RuleFollower("frist")

    samples = (adaptbench.Sample("a", [0], target="yes"),)
    with pytest.raises(UserError, match="does not say what its operations lead to"):
        RuleFollower().replay(adaptbench.Task(), samples)


def test_tasks_conform():
    plugins = load_plugins([Registering()])
    findings = check(plugins, next(p.name for p in plugins.loaded if "lg-ab" in "".join(map(str, p.names))))
    assert [finding for finding in findings if finding.name.startswith("task") and not finding.ok] == []


def test_the_suite_asks_the_seven_pairs_in_four_settings():
    suite = load_suite(ROOT / "tasks" / "suites" / "compositional-logical.yaml")
    asked = [re.fullmatch(r"logical-(\w+)\(setting=([\w-]+)\)", task).groups() for task in suite.tasks]
    assert asked == [(pair, setting) for pair in list(PAIRS)[:7] for setting in SETTINGS]
    assert [re.search(r"mode=(\w+)", model).group(1) for model in suite.models] == [
        "both",
        "reverse",
        "first",
        "second",
        "copy",
    ]


def test_the_plugin_of_the_documentation_runs(tmp_path):
    code = PAGE.partition("```python\n")[2].partition("```")[0]
    plugin = tmp_path / "my_pair.py"
    plugin.write_text(code, encoding="utf-8")
    tasks = ["reversal-plus-one(queries=8,k=2)", "reversal-capitals(queries=8,k=2)"]
    plugins = [str(plugin), Registering()]
    result = adaptbench.run(
        ["follower(mode=first)", "follower(mode=both)"], tasks, out=tmp_path / "run", plugins=plugins
    )
    said = {(cell.cell.model, cell.cell.task.partition("(")[0]): cell.metrics for cell in result.results}
    assert said["follower(mode=first)", "reversal-capitals"]["first only"].value == 1
    assert said["follower(mode=both)", "reversal-capitals"]["exact match"].value == 1
    assert said["follower(mode=both)", "reversal-plus-one"]["exact match"].value == 1


def test_the_page_lists_every_pair_with_a_composite_that_is_right():
    rows = re.findall(r"\| `logical-(\w+)` \| `(.+?)` \| `(.+?)` \| `(.+?)` -> `(.+?)`", PAGE)
    assert [slug for slug, *_ in rows] == list(PAIRS)
    metrics = re.findall(
        r"^\| (`.+`) \|", PAGE.partition("| metric | meaning |")[2].partition("Exact match and")[0], re.M
    )
    assert re.findall("`(.+?)`", " ".join(metrics)) == [metric.name for metric in small("ab").card.metrics]
