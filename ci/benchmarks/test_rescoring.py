"""Scoring answers again: as many as VQAv2's validation split has, from its files to a score for each."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from adaptbench.tasks.multimodal.vqav2 import vqav2_task

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUESTIONS, IMAGES = 214_354, 40_504
MOST_SECONDS = 20


def vocabulary(chance: random.Random) -> list[str]:
    """60,000 answers of one to four words, some with what the normalisers act upon."""
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(9_000)]
    dirty = ["The", "two", "1,000", "3.5", "don't", "T-shirt", "it's", "red/blue", "a.m.", "dont"]
    return [" ".join(chance.choices(words + 100 * dirty, k=chance.randint(1, 4))) for _ in range(60_000)]


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of the shape of the official ones, with answers out of a long-tailed vocabulary."""
    chance, folder = random.Random(0), tmp_path_factory.mktemp("vqav2")
    answers = vocabulary(chance)
    labels, asked, predicted = [], [], []
    for number in range(QUESTIONS):
        question, image = 1_000 * number, number % IMAGES
        few = [answers[int(len(answers) * chance.random() ** 4)] for _ in range(chance.choice([1, 1, 2, 3, 4]))]
        humans = [{"answer": chance.choice(few), "answer_confidence": "yes", "answer_id": n} for n in range(1, 11)]
        labels.append(
            {
                "question_type": f"type {number % 65}",
                "multiple_choice_answer": few[0],
                "answers": humans,
                "image_id": image,
                "answer_type": ("yes/no", "number", "other")[number % 3],
                "question_id": question,
            }
        )
        asked.append({"image_id": image, "question": f"What is number {number}?", "question_id": question})
        predicted.append(
            {"question_id": question, "answer": few[0] if chance.random() < 0.7 else chance.choice(answers)}
        )
    found = {}
    for name, content in (
        ("annotations", {"info": {}, "data_subtype": "val2014", "annotations": labels}),
        ("questions", {"info": {}, "data_subtype": "val2014", "questions": asked}),
        ("predictions", predicted),
    ):
        found[name] = folder / f"{name}.json"
        found[name].write_text(json.dumps(content))
    return found


@pytest.mark.parametrize("rule", ["official", "lmms-eval"])
def test_scoring_vqav2_again(rule: str, files: dict[str, Path], benchmark: Any, report: Callable[..., None]) -> None:
    steps: list[float] = []

    def whole() -> float:
        start = time.process_time()
        task = vqav2_task(str(files["annotations"]), str(files["questions"]), rule=rule)
        outputs = task.predictions(files["predictions"]).outputs
        ready = time.process_time()
        total = 0.0
        for sample in task.samples:
            scores = task.score(sample, task.parse(sample, outputs[sample.id]))
            total += scores["accuracy"]
        steps[:] = [ready - start, time.process_time() - ready]
        return total / len(task.samples)

    accuracy = benchmark.pedantic(whole, rounds=1)
    report(
        f"scoring 214,354 answers to VQAv2 again, {rule}: reading / scoring",
        f"{steps[0]:.1f} s / {steps[1]:.1f} s",
        f"(at most {MOST_SECONDS} s)",
        "",
    )
    assert 0.4 < accuracy < 0.9
    assert sum(steps) < MOST_SECONDS
