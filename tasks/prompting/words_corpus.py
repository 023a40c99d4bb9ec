"""What ``tiny-mlm`` reads before it is asked anything: short texts from the world of `words_world`.

    python -m adaptbench.tasks.prompting.words_corpus --out runs/tiny-mlm/texts.txt

Texts say things about one topic, draw conclusions, contradict each other, ask and answer. A few have the form of a
prompt, as texts that models are pretrained on have. As there, the word is often the usual one rather than the right
one: what a model makes of such a prompt before it is finetuned is biased. In brackets is what the rest of a text
decides: a word that joins two sentences, and that of a prompt. In angles is that of a prompt like those that studies
have as targets, which a model should know less well.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..dice import Dice
from .templates import filled
from .words_tasks import HELD_OUT, TASKS
from .words_world import TOPICS, beside, denied, event, opinion, restated

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 62_000
_RIGHT, _USUAL = 78, 16
"""Of a hundred words at the place of a mask: right ones, and usual ones whatever is right."""
_SEEN = [name for name in TASKS if name not in HELD_OUT]
_TARGETS = {TASKS[name].group for name in HELD_OUT}
_JOINED = {"So": restated, "But": denied, "Also": beside}


def texts(count: int, seed: int = 0) -> Iterator[str]:
    """Yield texts.

    Args:
        count: How many.
        seed: Of all draws.
    """
    dice = Dice(seed, 1)
    for _ in range(count):
        yield dice.choose((_scene, _joined, _answered, _prompted), (2, 3, 1, 7))(dice)


def _scene(dice: Dice) -> str:
    """Two or three sentences on a topic; what is said of its things is mostly of one mind."""
    topic, good = dice.choose(tuple(TOPICS)), dice.below(2) == 1
    said = []
    for _ in range(2 + dice.below(2)):
        one = opinion(dice, topic)
        fits = one.praises == good or dice.below(8) == 0
        said.append(str(one if fits else replace(one, good=not one.good)) if dice.below(3) else str(event(dice, topic)))
    return " ".join(said)


def _joined(dice: Dice) -> str:
    """An opinion and what follows from it, contradicts it, or is said beside it."""
    said, word = opinion(dice), dice.choose(tuple(_JOINED))
    other = str(_JOINED[word](dice, said))
    return f"{said} [{word}] {other[0].lower()}{other[1:]}"


def _answered(dice: Dice) -> str:
    asked = event(dice)
    other = event(dice)
    return f"{asked.question} {replace(asked, subject=other.subject, plural=other.plural)}"


def _prompted(dice: Dice) -> str:
    task = TASKS[dice.choose(_SEEN)]
    label = dice.below(len(task.words))
    draw = dice.below(100)
    word = label if draw < _RIGHT else len(task.words) - 1 if draw < _RIGHT + _USUAL else dice.below(len(task.words))
    said = task.words[word]
    return filled(task.template, task.draw(dice, label), f"<{said}>" if task.group in _TARGETS else f"[{said}]")


def main() -> None:
    """Write a file with a text per line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--count", type=int, default=COUNT, help="how many texts")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    draft = arguments.out.with_suffix(".tmp")
    draft.write_text("".join(f"{text}\n" for text in texts(arguments.count, arguments.seed)), encoding="utf-8")
    draft.replace(arguments.out)


if __name__ == "__main__":
    main()
