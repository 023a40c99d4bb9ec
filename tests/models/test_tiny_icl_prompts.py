"""What tiny-icl is taught: never a composite, nothing that is asked later, and prompts as the suite writes them."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING

import pytest
from adaptbench.models.reference.tiny_icl_prompts import BRACKETS, FUNCTIONS, SIGNS, Example, Lessons, Prompts, written
from adaptbench.tasks.compositional import lessons as writing
from adaptbench.tasks.compositional.logical import logical
from adaptbench.tasks.compositional.prompting import prompt_of
from adaptbench.tasks.compositional.simple import KINDS, RANGES, Ranges, on_side
from adaptbench.tasks.compositional.words import OPPOSITE_OF, VERBS, past, spell, unspell

if TYPE_CHECKING:
    from collections.abc import Callable

MARKS = "".join((*SIGNS, *BRACKETS))
KNOWLEDGE = {"opposite", "past tense"}
"""Functions that are taught for words of questions, too, since nothing else tells their answers."""


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> Lessons:
    path = tmp_path_factory.mktemp("lessons") / "deep" / "lessons.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["lessons", "--out", str(path)])
        writing.main()
    assert set(json.loads(path.read_text())) == {"operands", "facts"}
    return Lessons.read(path)


@pytest.fixture(scope="module")
def prompts(lessons: Lessons) -> list[list[Example]]:
    source = Prompts(lessons, seed=5)
    return [source.prompt(str(number), 10) for number in range(600)]


def operands(given: str) -> list[str]:
    return given.translate(str.maketrans("", "", MARKS)).split()


def signs(given: str) -> str:
    return re.sub(r"[\w\s'-]", "", given)


def simple_functions() -> dict[str, Callable[[list[str]], list[str]]]:
    """The suite's simple tasks, written anew; a function that cannot act raises."""

    def of_two(rule: Callable[[int, int], int]) -> Callable[[list[str]], list[str]]:
        def act(words: list[str]) -> list[str]:
            a, b = map(int, words)
            return [str(rule(a, b))]

        return act

    def two_sum(words: list[str]) -> list[str]:
        a, b = words
        return [spell(unspell(a) + unspell(b))]

    def swap(words: list[str]) -> list[str]:
        a, b = words
        return [b, a]

    def pasts(words: list[str]) -> list[str]:
        return [past(VERBS[VERBS.index(word)]) for word in words]

    return {
        "A": lambda words: [word.upper() for word in words if word.upper() != word or 1 / 0],
        "B": swap,
        "C": two_sum,
        "D": pasts,
        "E": lambda words: [OPPOSITE_OF[word] for word in words],
        "F": lambda words: [str(int(word) + 1) for word in words],
        "G": of_two(lambda a, b: a % b),
        "H": of_two(lambda a, b: a + b + 1),
    }


def acted(*rules: Callable[[list[str]], list[str]], on: list[str]) -> list[str] | None:
    """What rules make of words one after the other; nothing where one cannot act."""
    try:
        for rule in rules:
            on = rule(on)
    except (ValueError, KeyError, ZeroDivisionError):
        return None
    return on


def composites(words: list[str]) -> set[str]:
    """What two different simple tasks lead to, by steps or by parts."""
    found = set()
    known = simple_functions()
    for first, second in itertools.permutations(known.values(), 2):
        found.add(" ".join(acted(first, second, on=words) or []))
        for cut in range(1, len(words)):
            left, right = acted(first, on=words[:cut]), acted(second, on=words[cut:])
            if left and right:
                found.add(" ".join([*left, *right]))
    return found - {""}


def alone(example: Example) -> str:
    """What the example's function makes of its operands, by another reckoning than that of the prompts."""
    words = operands(example.given)
    letter = {
        "capitals": "A", "swap": "B", "two sum": "C", "past tense": "D",
        "opposite": "E", "plus one": "F", "modular": "G", "two sum plus one": "H",
    }.get(example.function)  # fmt: skip
    return " ".join(acted(simple_functions()[letter], on=words) or ["nothing"]) if letter else example.answer


def test_the_independent_check_knows_a_composite_when_it_sees_one() -> None:
    for question in logical("text", queries=10, replications=1).questions:
        assert set(question.sample.target["answers"]) & composites(
            operands(question.prompt.rpartition("input: ")[2].removesuffix("\noutput:"))
        ) or question.sample.subsets["pair"] in ("G+H",)


def test_in_every_example_one_function_acts(prompts: list[list[Example]]) -> None:
    """A sum is the same whatever the order, so arithmetic alone may also be read as a composite with swap."""
    seen = set()
    for example in itertools.chain(*prompts):
        assert alone(example) == example.answer, example
        if example.function in list(FUNCTIONS)[:8] and example.answer in composites(operands(example.given)):
            seen.add(example.function)
    assert seen <= {"two sum", "modular", "two sum plus one"}


def test_no_input_looks_like_a_composite(prompts: list[list[Example]]) -> None:
    for example in itertools.chain(*prompts):
        words = operands(example.given)
        assert len({word.isdigit() for word in words}) == 1, example
        assert len(words) <= (2 if words[0].isdigit() and FUNCTIONS[example.function].joins else 3)
        marks = [mark for mark in signs(example.given) if mark in SIGNS]
        assert len(marks) <= 1, example
        assert sum(example.given.count(bracket) for bracket in "([{<") <= 1


def test_no_other_than_known_functions_explain_an_answer(prompts: list[list[Example]]) -> None:
    rest = {
        "copy": lambda words: words,
        "reverse": lambda words: words[::-1],
        "first": lambda words: words[:1],
        "last": lambda words: words[-1:],
        "double": lambda words: words * 2,
        "title": lambda words: [word.title() for word in words],
        "minus one": lambda words: [str(int(words[0]) - 1)],
        "plus ten": lambda words: [str(int(words[0]) + 10)],
        "sum": lambda words: [str(sum(map(int, words)))],
        "larger": lambda words: [str(max(map(int, words)))],
        "smaller": lambda words: [str(min(map(int, words)))],
        "digits": lambda words: [str(unspell(word)) for word in words],
    }
    seen = set()
    for example in itertools.chain(*prompts):
        if example.function in rest:
            assert " ".join(rest[example.function](operands(example.given))) == example.answer, example
            seen.add(example.function)
    assert seen == set(rest)


def test_what_is_asked_later_is_never_taught(prompts: list[list[Example]]) -> None:
    ranges = (RANGES["release"], Ranges(integers=(1005, 9994)))
    asked = {
        operand
        for kind in KINDS.values()
        for numbers in ranges
        for operand in kind.pool(numbers)
        if on_side(kind.key(operand), "queries")
    }
    assert len(asked) > 3000
    for example in itertools.chain(*prompts):
        words = operands(example.given)
        if FUNCTIONS[example.function].joins:  # of two numbers, the pair is what stands on a side
            if example.function in ("two sum", "modular", "two sum plus one"):
                assert on_side(" ".join(words), "demonstrations"), example
        elif example.function not in KNOWLEDGE:
            assert not asked & set(words), example


def test_the_past_of_regular_verbs_is_taught_of_one_side_only(lessons: Lessons) -> None:
    taught = {verb for verb, _ in lessons.facts["past tense"]}
    assert {"break", "bite"} <= taught
    for verb in VERBS:
        if past(verb).endswith("ed"):
            assert (verb in taught) == on_side(verb, "demonstrations"), verb


def test_opposites_are_taught_whole(lessons: Lessons) -> None:
    assert dict(lessons.facts["opposite"]) == OPPOSITE_OF


def test_the_same_seed_draws_the_same_prompts(lessons: Lessons, prompts: list[list[Example]]) -> None:
    again = Prompts(Lessons(**{name: dict(getattr(lessons, name)) for name in ("operands", "facts")}), seed=5)
    assert [again.prompt(str(number), 10) for number in reversed(range(600))] == prompts[::-1]
    assert Prompts(lessons, seed=6).prompt("0", 10) != prompts[0]


def test_lessons_do_not_change_from_one_writing_to_the_next(lessons: Lessons) -> None:
    assert writing.operands()["word"] == lessons.operands["word"]
    assert writing.invented(50) == lessons.operands["invented"][:50]


def test_signs_mean_something_else_in_every_prompt(prompts: list[list[Example]]) -> None:
    meant: dict[str, set[str]] = {sign: set() for sign in SIGNS}
    for prompt in prompts:
        here: dict[str, str] = {}
        for example in prompt:
            for sign in set(signs(example.given)) & set(SIGNS):
                meant[sign].add(example.function)
                assert here.setdefault(sign, example.function) == example.function, prompt
    assert min(map(len, meant.values())) >= 8


def test_prompts_mix_up_to_three_functions(prompts: list[list[Example]]) -> None:
    counts = {len({example.function for example in prompt}) for prompt in prompts}
    assert counts == {1, 2, 3}
    assert {example.function for prompt in prompts for example in prompt} == set(FUNCTIONS)
    assert all(len({example.given for example in prompt}) == len(prompt) for prompt in prompts)


def test_a_prompt_reads_as_those_of_the_suite(prompts: list[list[Example]]) -> None:
    *shown, asked = prompts[0]
    text = prompt_of([(one.given, one.answer) for one in shown], asked.given)
    assert written(prompts[0]) == f"{text} {asked.answer}\n\n"
