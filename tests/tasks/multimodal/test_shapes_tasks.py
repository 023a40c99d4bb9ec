"""The benchmarks on shapes: oracle, constants and the opposite of the truth score what arithmetic says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import adaptbench
import numpy as np
import pytest
from adaptbench.harness.conformance import check
from adaptbench.harness.contracts import Scores
from adaptbench.harness.errors import UserError
from adaptbench.harness.plugins import Plugins
from adaptbench.tasks.multimodal import shapes
from adaptbench.tasks.multimodal.shapes_drawing import draw_scene
from adaptbench.tasks.multimodal.shapes_world import make_scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from adaptbench.tasks.multimodal.question import Question
    from adaptbench.tasks.multimodal.task import VisualQuestions

FACTORIES = [getattr(shapes, name) for name in shapes.FACTORIES]
SUFFIXES = {
    "short-answer": "\nAnswer the question using a single word or phrase.",
    "textvqa": "\nAnswer the question using a single word or phrase.",
    "option-letter": "\nAnswer with the option's letter from the given choices directly.",
}


def oracle(question: Question) -> str:
    return question.target[0] if isinstance(question.target, list) else question.target


def scored(task: VisualQuestions, answer: Callable[[Question], str]) -> dict[str, float]:
    """Means and metrics of a model that answers so."""
    answers = [answer(question) for question in task.questions]
    outputs = task.outputs(task.samples, answers)
    rows = [
        task.score(sample, task.parse(sample, output)) for sample, output in zip(task.samples, outputs, strict=True)
    ]
    values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    axes = {axis for sample in task.samples for axis in sample.subsets}
    subsets = {axis: np.array([s.subsets.get(axis) for s in task.samples], dtype=object) for axis in axes}
    table = Scores(values, subsets, np.ones(len(rows)))
    return {name: float(column.mean()) for name, column in values.items()} | dict(task.aggregate(table))


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("split", ["test", "heldout"])
def test_the_truth_scores_everything(factory: Callable[..., VisualQuestions], split: str) -> None:
    task = factory(split, scenes=12)
    assert scored(task, oracle)["accuracy"] == 1
    if factory is not shapes.shapes_pope:  # whose rule takes everything that is not a no for a yes
        assert scored(task, lambda question: "perhaps")["accuracy"] == 0
    assert {metric.name for metric in task.card.metrics} <= scored(task, oracle).keys() | {"cognition"}


def test_synonyms_are_right_and_other_answers_wrong() -> None:
    task = shapes.shapes_open(scenes=20)
    told = {"large": "Big", "bottom left": "Lower left.", "0": "none", "2": "two"}
    assert scored(task, lambda question: told.get(oracle(question), oracle(question)))["accuracy"] == 1
    assert scored(task, lambda question: "small" if oracle(question) == "large" else oracle(question))["accuracy"] < 1
    assert scored(task, lambda question: "a banana")["accuracy"] == 0


def test_always_yes_is_right_for_half_of_pope_and_of_mme() -> None:
    said = scored(shapes.shapes_pope(scenes=20), lambda question: "Yes")
    assert said["accuracy"] == 0.5
    assert said["yes ratio"] == said["recall"] == 1
    assert said["F1"] == pytest.approx(2 / 3)
    said = scored(shapes.shapes_mme(scenes=20), lambda question: "yes")
    assert (said["accuracy"], said["accuracy+"], said["perception"]) == (0.5, 0, 250)
    assert scored(shapes.shapes_mme(scenes=20), oracle)["perception"] == 1000


def test_mme_has_both_questions_of_an_image_in_one_sample() -> None:
    task = shapes.shapes_mme(scenes=10)
    for sample in task.samples:
        assert [question.target for question in task.questions_of(sample)] == ["yes", "no"]
    assert {sample.subsets["category"] for sample in task.samples} == {"existence", "count", "position", "color", "OCR"}


def test_a_choice_counts_only_if_every_pass_is_right() -> None:
    task = shapes.shapes_choice(scenes=20)
    assert {len(sample.inputs) for sample in task.samples} >= {2, 3, 4}
    always_a = scored(task, lambda question: "A")
    assert always_a["accuracy"] == 0
    assert 0.1 < always_a["first pass"] < 0.6

    def first_only(question: Question) -> str:
        return oracle(question) if question.id.endswith("-1") else "Z"

    found = scored(task, first_only)
    assert (found["accuracy"], found["first pass"]) == (0, 1)


def test_copying_the_reader_is_not_enough() -> None:
    task = shapes.shapes_reading(scenes=100)
    copied = scored(task, lambda question: question.ocr[0] if question.ocr else "")["accuracy"]
    assert 0.4 < copied < 0.9
    assert {sample.subsets["reader"] for sample in task.samples} == {"right", "wrong"}


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_prompt_is_that_of_the_benchmark_and_shows_the_scene(factory: Callable[..., VisualQuestions]) -> None:
    task = factory(scenes=4)
    for question, given in zip(task.questions, task.inputs, strict=True):
        prompt = given.load()
        assert prompt.text.startswith(question.text)
        assert prompt.text.endswith(SUFFIXES[task.benchmark.prompt])
        scene = make_scene("test", int(question.id.split("/")[2]))
        assert prompt.images[0].tobytes() == draw_scene(scene).tobytes()
    assert len({sample.group for sample in task.samples}) == len({q.group for q in task.questions}) > 1


def test_without_the_reader_its_words_are_not_in_the_prompt() -> None:
    assert "OCR token" in shapes.shapes_reading(scenes=6).inputs[0].load().text
    assert "OCR token" not in shapes.shapes_reading(scenes=6, ocr=False).inputs[0].load().text


@pytest.mark.parametrize("factory", FACTORIES)
def test_names_and_digests_are_the_same_again_and_differ_by_seed(factory: Callable[..., VisualQuestions]) -> None:
    first, again, other = factory(scenes=5), factory(scenes=5), factory(scenes=5, seed=1)
    assert [question.id for question in first.questions] == [question.id for question in again.questions]
    assert [given.digest for given in first.inputs] == [given.digest for given in again.inputs]
    assert not {given.digest for given in first.inputs} & {given.digest for given in other.inputs}
    assert len({question.id for question in first.questions}) == len(first.questions)


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(UserError, match="no split 'tset'"):
        shapes.shapes_open("tset")
    with pytest.raises(UserError, match="cannot draw 0 scenes"):
        shapes.shapes_mme(scenes=0)
    with pytest.raises(UserError, match="no rule 'offical'"):
        shapes.shapes_pope(scenes=1, rule="offical")


def test_they_keep_the_contract_of_tasks() -> None:
    class Shapes:
        @staticmethod
        @adaptbench.hookimpl
        def register(registry: Any) -> None:
            for name, benchmark in shapes.FACTORIES.items():
                factory = getattr(shapes, name)
                registry.task(benchmark.name, factory, card=benchmark.card, args={"scenes": 8})

    plugins = Plugins()
    plugins.add("mine", "here", Shapes)
    assert [finding for finding in check(plugins, "mine") if not finding.ok] == []
