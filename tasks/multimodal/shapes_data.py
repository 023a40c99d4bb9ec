r"""Writes scenes of ``shapes`` as training data in LLaVA's format.

    python -m adaptbench.tasks.multimodal.shapes_data --out DIR --scenes 24000

The folder then has ``images/*.png``, ``pretrain.json`` (a caption and descriptions of regions of each image),
``instruct.json`` (many short questions per image, as LLaVA's second stage) and ``classes.json`` (what the numbers in
the ``cells`` of every record mean). A record is ``{"id", "image", "conversations": [{"from": "human", "value":
"<image>\n..."}, {"from": "gpt", "value": "..."}, ...], "cells"}``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dice import Dice
from .prompts import render
from .question import Question
from .shapes_drawing import draw_scene
from .shapes_questions import (
    CHOICE_KINDS,
    MME_TASKS,
    OPEN_KINDS,
    POPE_SPLITS,
    Asked,
    ask_choice,
    ask_mme,
    ask_open,
    ask_pope,
    ask_reading,
    ask_region,
    describe,
)
from .shapes_world import COLOURS, DIGITS, GRID, LETTERS, SHAPES, SIZES, TEXTURES, Sign, make_scene

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .shapes_world import Scene

CLASSES = {
    "content": ("empty", *SHAPES, *LETTERS, *DIGITS),
    "color": COLOURS,
    "size": SIZES,
    "pattern": TEXTURES,
    "row": tuple(str(row + 1) for row in range(GRID)),
    "column": tuple(str(column + 1) for column in range(GRID)),
}
"""What is told of each cell; -1 stands where a cell has no such thing."""

_DESCRIBE = "Describe the image."
_CHOICES = 5
_REGIONS = 20
"""Regions described an image in ``pretrain.json``."""
_REGIONS_AGAIN = 8
"""Regions described between the questions: what is not practised is forgotten."""


def write(out: Path, scenes: int, split: str = "train", seed: int = 0) -> None:
    """Write training data.

    Args:
        out: Folder, made if it is missing.
        scenes: How many images.
        split: ``train`` or ``val``.
        seed: Of the scenes.
    """
    (out / "images").mkdir(parents=True, exist_ok=True)
    captions, conversations = [], []
    for index in range(scenes):
        scene = make_scene(split, index, seed)
        path = f"images/{index:06}.png"
        draw_scene(scene).save(out / path, compress_level=1)
        head = {"id": scene.name, "image": path, "cells": cells(scene)}
        captions.append({**head, "conversations": _turns(list(descriptions(scene, Dice(*scene.look, 2))))})
        conversations.append({**head, "conversations": _turns(list(questions(scene, Dice(*scene.look, 1))))})
    for name, content in (("pretrain", captions), ("instruct", conversations), ("classes", CLASSES)):
        (out / f"{name}.json").write_text(json.dumps(content, separators=(",", ":")))


def cells(scene: Scene) -> list[list[int]]:
    """Return the number of the class in each of `CLASSES`, for every cell in reading order."""
    return [_cell(scene, row, column) for row in range(GRID) for column in range(GRID)]


def _cell(scene: Scene, row: int, column: int) -> list[int]:
    held = scene.at(row, column)
    if held is None or isinstance(held, Sign):
        seen = ["empty" if held is None else held.char, "", "", ""]
    else:
        seen = [held.shape, held.colour, held.size, held.texture]
    known = list(CLASSES.values())
    return [names.index(name) if name else -1 for names, name in zip(known, seen, strict=False)] + [row, column]


def descriptions(scene: Scene, dice: Dice) -> Iterator[tuple[str, str]]:
    """Yield a description of the whole scene, then of parts of it."""
    yield _DESCRIBE, describe(scene)
    for found in (ask_region(scene, dice) for _ in range(_REGIONS)):
        if found:
            yield found.text, found.answer


def questions(scene: Scene, dice: Dice) -> Iterator[tuple[str, str]]:
    """Yield messages and answers of every kind, in a new order.

    Questions are put as the prompts of the benchmarks put them. Some descriptions of regions are among them, as
    there are in LLaVA's own mixture.
    """
    asked: list[tuple[str, Asked]] = []
    for kind in OPEN_KINDS:
        found = ask_open(scene, kind, dice)
        asked += [("short-answer", found)] if found else []
    for split in POPE_SPLITS:
        asked += [("short-answer", one) for one in ask_pope(scene, split, dice, most=1)]
    for task in dice.shuffled(MME_TASKS)[:3]:
        pair = ask_mme(scene, task, dice)
        asked += [("short-answer", one) for one in pair or ()]
    for kind in dice.shuffled(CHOICE_KINDS)[:_CHOICES]:
        found = ask_choice(scene, kind, dice)
        asked += [("option-letter", found)] if found else []
    for prompt in ("textvqa", "short-answer"):
        found = ask_reading(scene, dice)
        asked += [(prompt, found)] if found else []
    asked += [("bare", found) for found in (ask_region(scene, dice) for _ in range(_REGIONS_AGAIN)) if found]
    for prompt, one in dice.shuffled(asked):
        yield message(prompt, one), one.answer


def message(prompt: str, asked: Asked) -> str:
    """Return what a benchmark with this prompt would say."""
    return render(prompt, Question("", asked.text, None, options=asked.options, ocr=asked.ocr))


def _turns(said: list[tuple[str, str]]) -> list[dict[str, Any]]:
    turns = []
    for number, (question, answer) in enumerate(said):
        turns += [
            {"from": "human", "value": question if number else f"<image>\n{question}"},
            {"from": "gpt", "value": answer},
        ]
    return turns


def main() -> None:
    """Write the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=24_000)
    parser.add_argument("--split", default="train", choices=("train", "val"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write(arguments.out, arguments.scenes, arguments.split, arguments.seed)


if __name__ == "__main__":
    main()
