"""The benchmarks of the world ``shapes``: made here, asked and scored in the manner of the real ones.

Each takes its prompt, rules and metrics from the benchmark that it imitates. The split ``test`` has scenes that nobody
trained on, of pairs of shape and colour that training shows; in ``heldout`` every scene has a pair that it never shows.
"""

from __future__ import annotations

import functools
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...harness.cards import Metric, TaskCard
from ...harness.errors import UserError
from ..dice import Dice
from . import mmbench, mme, pope, textvqa
from .images import LazyImage
from .normalise import evalai
from .question import Question
from .shapes_questions import (
    CHOICE_KINDS,
    MME_TASKS,
    OPEN_KINDS,
    POPE_SPLITS,
    SYNONYMS,
    ask_choice,
    ask_mme,
    ask_open,
    ask_pope,
    ask_reading,
    circular,
)
from .shapes_world import make_scene
from .task import Benchmark, Rule, VisualQuestions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...harness.contracts import Json
    from .shapes_questions import Asked
    from .shapes_world import Scene

_SOURCE = {"licence": "Apache-2.0", "source": "adaptbench.tasks.multimodal.shapes_world", "revision": "1"}
_CHOICES = 3
"""Multiple-choice questions per scene."""


def shapes_open(split: str = "test", *, scenes: int = 100, seed: int = 0, rule: str = "official") -> VisualQuestions:
    """Return open questions in the manner of VQA: colours, shapes, numbers, places, neighbours, yes and no.

    Args:
        split: ``train``, ``val``, ``test`` or ``heldout``.
        scenes: How many images; each has one question of every kind that it allows.
        seed: Of the scenes.
        rule: ``official``: the answer or a synonym, after the cleaning that LLaVA applies to VQA's answers.

    Raises:
        UserError: There is no such split, or no scene is asked for.
    """
    return OPEN.task(_asked(_open, split, scenes, seed), rule)


def shapes_pope(split: str = "test", *, scenes: int = 100, seed: int = 0, rule: str = "official") -> VisualQuestions:
    """Return questions in the manner of POPE: up to 18 per image, as many yes as no, in three splits.

    Args:
        split: As `shapes_open`.
        scenes: As `shapes_open`.
        seed: As `shapes_open`.
        rule: One of POPE's.

    Raises:
        UserError: As `shapes_open`.
    """
    return POPE.task(_asked(_pope, split, scenes, seed), rule)


def shapes_mme(split: str = "test", *, scenes: int = 100, seed: int = 0, rule: str = "official") -> VisualQuestions:
    """Return pairs of questions in the manner of MME: existence, count, position, color and OCR.

    Args:
        split: As `shapes_open`.
        scenes: How many images; each has one pair of every subtask that it allows.
        seed: As `shapes_open`.
        rule: One of MME's.

    Raises:
        UserError: As `shapes_open`.
    """
    return MME.task(_asked(_mme, split, scenes, seed), rule)


def shapes_choice(split: str = "test", *, scenes: int = 100, seed: int = 0, rule: str = "official") -> VisualQuestions:
    """Return multiple-choice questions in the manner of MMBench, with its circular passes.

    Args:
        split: As `shapes_open`.
        scenes: How many images; each has up to three questions.
        seed: As `shapes_open`.
        rule: One of MMBench's.

    Raises:
        UserError: As `shapes_open`.
    """
    return CHOICE.task(_asked(_choice, split, scenes, seed), rule)


def shapes_reading(
    split: str = "test", *, scenes: int = 300, seed: int = 0, ocr: bool = True, rule: str = "official"
) -> VisualQuestions:
    """Return questions in the manner of TextVQA: which letter or digit is written.

    Args:
        split: As `shapes_open`.
        scenes: How many images; those without writing, or with writing that no words single out, are left out.
        seed: As `shapes_open`.
        ocr: Whether the prompt has the tokens of a reader that is sometimes wrong, as LLaVA's prompt for TextVQA has.
        rule: One of TextVQA's.

    Raises:
        UserError: As `shapes_open`.
    """
    benchmark = READING if ocr else replace(READING, prompt="short-answer")
    return benchmark.task(_asked(_reading, split, scenes, seed), rule)


def _asked(
    ask: Callable[[Scene, LazyImage, Dice], Iterator[Question]], split: str, scenes: int, seed: int
) -> list[Question]:
    if scenes < 1:
        raise UserError(f"cannot draw {scenes} scenes", where="shapes", todo="ask for at least one")
    questions: list[Question] = []
    for index in range(scenes):
        scene = make_scene(split, index, seed)
        image = LazyImage(f"shapes/{scene.name}", functools.partial(_encoded, scene))
        questions += ask(scene, image, Dice(*scene.look, 3))
    return questions


def _encoded(scene: Scene) -> bytes:
    """The image as BMP: unlike PNG, its bytes do not depend on a compressor's version."""
    from .shapes_drawing import draw_scene

    stream = io.BytesIO()
    draw_scene(scene).save(stream, "BMP")
    return stream.getvalue()


def _question(scene: Scene, image: LazyImage, name: str, asked: Asked, **fields: Any) -> Question:
    common = Question(
        f"{scene.name}/{name}",
        asked.text,
        image,
        asked.answer,
        options=asked.options,
        ocr=asked.ocr,
        group=scene.name,
    )
    return common.replace(**fields)


def _open(scene: Scene, image: LazyImage, dice: Dice) -> Iterator[Question]:
    for kind in OPEN_KINDS:
        asked = ask_open(scene, kind, dice)
        if asked:
            target = [asked.answer, *SYNONYMS.get(asked.answer, ())]
            yield _question(scene, image, kind, asked, target=target, subsets={"kind": kind})


def _pope(scene: Scene, image: LazyImage, dice: Dice) -> Iterator[Question]:
    for split in POPE_SPLITS:
        for number, asked in enumerate(ask_pope(scene, split, dice), 1):
            subsets = {"split": split, "answer": asked.answer}
            yield _question(scene, image, f"{split}-{number}", asked, subsets=subsets)


def _mme(scene: Scene, image: LazyImage, dice: Dice) -> Iterator[Question]:
    for task in MME_TASKS:
        for number, asked in enumerate(ask_mme(scene, task, dice) or (), 1):
            sample, subsets = f"{scene.name}/{task}", {"category": task}
            yield _question(scene, image, f"{task}-{number}", asked, sample=sample, subsets=subsets)


def _choice(scene: Scene, image: LazyImage, dice: Dice) -> Iterator[Question]:
    for kind in dice.shuffled(CHOICE_KINDS)[:_CHOICES]:
        asked = ask_choice(scene, kind, dice)
        for number, turned in enumerate(circular(asked) if asked else (), 1):
            sample, subsets = f"{scene.name}/{kind}", {"category": kind}
            yield _question(scene, image, f"{kind}-{number}", turned, sample=sample, subsets=subsets)


def _reading(scene: Scene, image: LazyImage, dice: Dice) -> Iterator[Question]:
    asked = ask_reading(scene, dice)
    if asked:
        reader = "right" if asked.answer in asked.ocr else "wrong"
        target: Json = [asked.answer] * 10  # annotators who agree
        yield _question(scene, image, "reading", asked, target=target, subsets={"reader": reader})


def _exact() -> Rule:
    """The rule of the open questions."""

    def parse(_: Sequence[Question], texts: Sequence[str]) -> Json:
        return evalai(texts[0])

    def score(questions: Sequence[Question], parsed: Json | None) -> dict[str, float]:
        return {"accuracy": float(parsed in [evalai(answer) for answer in questions[0].target])}

    return Rule("official", parse, score)


def _like(benchmark: Benchmark, name: str, summary: str, **fields: Any) -> Benchmark:
    """A benchmark asked and scored like another one, of which no predictions were made elsewhere."""
    card = benchmark.card.model_copy(update={"summary": summary, "citation": "", **_SOURCE, **fields})
    return replace(benchmark, name=name, card=card, predictions=None, submission=None)


OPEN = Benchmark(
    name="shapes-open",
    card=TaskCard(
        capability="generate",
        needs=frozenset({"images"}),
        summary="Open questions on drawn scenes: colour, shape, number, place, neighbours",
        metrics=(Metric(name="accuracy"),),
        sample_noun="question",
        **_SOURCE,
    ),
    prompt="short-answer",
    rules=(_exact(),),
)
POPE = _like(pope.BENCHMARK, "shapes-pope", "Is there such a shape in the drawn scene? In the manner of POPE")
MME = _like(mme.BENCHMARK, "shapes-mme", "Two yes-or-no questions on a drawn scene, in the manner of MME")
CHOICE = _like(
    mmbench.BENCHMARK,
    "shapes-choice",
    "Multiple choice on drawn scenes, in the manner of MMBench",
    metrics=(Metric(name="accuracy"), Metric(name="first pass")),
)
READING = _like(textvqa.BENCHMARK, "shapes-reading", "Letters and digits in drawn scenes, in the manner of TextVQA")
FACTORIES = {
    "shapes_open": OPEN,
    "shapes_pope": POPE,
    "shapes_mme": MME,
    "shapes_choice": CHOICE,
    "shapes_reading": READING,
}
"""Name of a factory in this module -> its benchmark."""
