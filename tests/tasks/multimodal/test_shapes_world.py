"""The world of shapes: the same everywhere, every answer true by a second reading of the scene, splits apart."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest
from adaptbench.harness.errors import UserError
from adaptbench.harness.hashing import canonical_json, image_digest, sha256_hex
from adaptbench.tasks.multimodal import shapes_data, shapes_questions
from adaptbench.tasks.multimodal.shapes_drawing import CELL, SIDE, draw_scene
from adaptbench.tasks.multimodal.shapes_world import (
    COLOURS,
    DIGITS,
    GRID,
    HELD_OUT,
    LETTERS,
    SHAPES,
    SIZES,
    SPLITS,
    TEXTURES,
    Dice,
    Scene,
    Sign,
    Thing,
    company,
    make_scene,
    popularity,
)
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

SCENES = [make_scene(split, index) for split in SPLITS for index in range(80)]
WORDS = [*SIZES, *TEXTURES, *COLOURS, *SHAPES]


def dice(scene: Scene, number: int = 0) -> Dice:
    return Dice(*scene.look, 77, number)


# A second reading of the scene, which shares nothing with the code that asks.


def meant(scene: Scene, words: str) -> list[Thing]:
    """What a description fits: each of its words but the noun "object" must be true of the thing."""
    said = [word for word in words.split() if word not in {"object", "objects"}]
    said = [
        "cross" if word == "crosses" else word.removesuffix("s") if word.removesuffix("s") in SHAPES else word
        for word in said
    ]
    assert all(word in WORDS for word in said), words
    return [thing for thing in scene.things if {*said} <= {thing.size, thing.texture, thing.colour, thing.shape}]


def the(scene: Scene, words: str) -> Thing:
    (thing,) = meant(scene, words)
    return thing


def corner(held: Thing | Sign) -> str:
    return " ".join([["top", "top", "bottom", "bottom"][held.row], ["left", "left", "right", "right"][held.column]])


def on_side(one: Thing, side: str, two: Thing) -> bool:
    return {
        "left of": one.column < two.column,
        "right of": one.column > two.column,
        "above": one.row < two.row,
        "below": one.row > two.row,
    }[side]


def next_to(scene: Scene, thing: Thing, side: str) -> Thing:
    row = thing.row + {"above": -1, "below": 1}.get(side, 0)
    column = thing.column + {"left of": -1, "right of": 1}.get(side, 0)
    (found,) = [other for other in scene.things if (other.row, other.column) == (row, column)]
    return found


def written(scene: Scene, text: str) -> str:
    noun = re.search(r"letter|digit|top left|top right|bottom left|bottom right", text)[0]
    known = {"letter": LETTERS, "digit": DIGITS}.get(noun)
    (sign,) = [sign for sign in scene.signs if (sign.char in known if known else corner(sign) == noun)]
    return sign.char


def yes_no(truth: bool) -> str:
    return "yes" if truth else "no"


SIDE_OF = "(left of|right of|above|below)"
READINGS = {
    r"What color is the object directly SIDE the (.+)\?": lambda s, side, w: next_to(s, the(s, w), side).colour,
    r"Which shape is directly SIDE the (.+)\?": lambda s, side, w: next_to(s, the(s, w), side).shape,
    r"What color is the (.+)\?": lambda s, w: the(s, w).colour,
    r"What shape is the (.+)\?": lambda s, w: the(s, w).shape,
    r"What size is the (.+)\?": lambda s, w: the(s, w).size,
    r"What pattern does the (.+) have\?": lambda s, w: the(s, w).texture,
    r"How many (.+) are there\?": lambda s, w: str(len(meant(s, w))),
    r"Where is the (.+)\?": lambda s, w: corner(the(s, w)),
    r"Is the (.+) SIDE the (.+)\?": lambda s, a, side, b: yes_no(on_side(the(s, a), side, the(s, b))),
    r"Is there an? (.+?)(?: in the image| in this image)?\?": lambda s, w: yes_no(meant(s, w) != []),
    r"(?:Is|Are) there exactly (\d) (.+) in this image\?": lambda s, n, w: yes_no(len(meant(s, w)) == int(n)),
    r"Is the (letter|digit) in the image (.)\?": lambda s, noun, char: yes_no(written(s, noun) == char),
    r"Is the (.+) (\w+)\?": lambda s, w, said: yes_no(said in {the(s, w).colour, the(s, w).texture}),
    r"(What (?:letter|digit) is written in the image)\?": written,
    r"(What is written in the .+)\?": written,
}


def truth(scene: Scene, text: str) -> str:
    for pattern, read in READINGS.items():
        found = re.fullmatch(pattern.replace("SIDE", SIDE_OF), text)
        if found:
            return read(scene, *found.groups())
    raise AssertionError(f"nobody can read {text!r}")


def asked_of(scene: Scene) -> list[shapes_questions.Asked]:
    rolls = dice(scene)
    found = [shapes_questions.ask_open(scene, kind, rolls) for kind in shapes_questions.OPEN_KINDS for _ in range(4)]
    found += [one for split in shapes_questions.POPE_SPLITS for one in shapes_questions.ask_pope(scene, split, rolls)]
    for task in shapes_questions.MME_TASKS:
        found += shapes_questions.ask_mme(scene, task, rolls) or ()
    found += [shapes_questions.ask_reading(scene, rolls) for _ in range(3)]
    return [one for one in found if one is not None]


@pytest.mark.parametrize("split", SPLITS)
def test_every_answer_is_true(split: str) -> None:
    kinds: Counter[str] = Counter()
    for scene in SCENES:
        if scene.name.startswith(split):
            for asked in asked_of(scene):
                assert truth(scene, asked.text) == asked.answer, (scene, asked)
                kinds[asked.kind] += 1
    expected = {
        *shapes_questions.OPEN_KINDS,
        *shapes_questions.POPE_SPLITS,
        *shapes_questions.MME_TASKS,
        "reading",
    }
    assert {kind for kind, number in kinds.items() if number >= 15} == expected


def test_the_right_option_is_the_true_answer_in_every_pass() -> None:
    letters: Counter[str] = Counter()
    for scene in SCENES[:80]:
        for kind in shapes_questions.CHOICE_KINDS:
            asked = shapes_questions.ask_choice(scene, kind, dice(scene))
            if asked is None:
                continue
            passes = shapes_questions.circular(asked)
            assert passes[0] == asked
            assert len({one.options for one in passes}) == len(asked.options) == len({*asked.options})
            assert {one.answer for one in passes} == set("ABCD"[: len(asked.options)])
            for one in passes:
                assert one.options["ABCD".index(one.answer)] == truth(scene, one.text)
            letters[asked.answer] += 1
    assert set(letters) == set("ABCD")
    assert letters["A"] < 0.45 * letters.total()


def test_pope_asks_as_often_for_what_is_there_and_chooses_the_absent_by_the_split() -> None:
    ranks: dict[str, list[int]] = {split: [] for split in shapes_questions.POPE_SPLITS}
    order = list(popularity())
    for scene in SCENES[:80]:
        for split, places in ranks.items():
            asked = shapes_questions.ask_pope(scene, split, dice(scene))
            assert [one.answer for one in asked] == ["yes", "no"] * (len(asked) // 2)
            assert len({one.text for one in asked}) == len(asked)
            for one in asked[1::2]:
                pair = re.search(r"an? (\w+) (\w+) in", one.text).groups()
                places.append(order.index(pair))
                assert pair not in HELD_OUT
        popular = shapes_questions.ask_pope(scene, "popular", dice(scene))[1::2]
        absent = [pair for pair in order if pair not in scene.pairs]
        assert [tuple(one.text.split()[3:5]) for one in popular] == absent[: len(popular)]
    assert np.mean(ranks["popular"]) < np.mean(ranks["adversarial"]) < np.mean(ranks["random"])


def test_adversarial_pairs_stand_beside_what_is_there_more_than_others_do() -> None:
    def named(scene: Scene, split: str) -> set[tuple[str, ...]]:
        asked = shapes_questions.ask_pope(scene, split, dice(scene))
        return {re.search(r"an? (\w+) (\w+) in", one.text).groups() for one in asked[1::2]}

    def beside(scene: Scene, pairs: set[tuple[str, ...]]) -> list[int]:
        return [sum(company().get((held, pair), 0) for held in scene.pairs) for pair in pairs]

    for scene in SCENES[:50]:
        chosen = named(scene, "adversarial")
        assert min(beside(scene, chosen)) >= max(beside(scene, named(scene, "random") - chosen), default=0)


def test_things_keep_uneven_company() -> None:
    counts = list(popularity().values())
    assert counts[0] > 4 * counts[-1]
    scenes = [make_scene("train", index) for index in range(2000)]
    together = sum({("yellow", "ring"), ("blue", "circle")} <= {*scene.pairs} for scene in scenes)
    alone = [sum(pair in scene.pairs for scene in scenes) for pair in (("yellow", "ring"), ("blue", "circle"))]
    assert together > 1.2 * alone[0] * alone[1] / len(scenes)
    assert company()[("yellow", "ring"), ("blue", "circle")] == together


def test_mme_asks_one_yes_and_one_no_of_a_scene() -> None:
    for scene in SCENES[:80]:
        for task in shapes_questions.MME_TASKS:
            pair = shapes_questions.ask_mme(scene, task, dice(scene))
            assert pair is None or [one.answer for one in pair] == ["yes", "no"]


def test_the_reader_of_words_is_mostly_right() -> None:
    right = total = 0
    for scene in SCENES:
        asked = shapes_questions.ask_reading(scene, dice(scene))
        if asked is not None:
            total += 1
            right += asked.answer in asked.ocr
    assert 0.7 < right / total < 0.9


def test_answers_are_balanced() -> None:
    answers: dict[str, Counter[str]] = {}
    for scene in SCENES:
        for asked in asked_of(scene):
            kind = asked.kind if asked.answer in {"yes", "no"} else f"open {asked.kind}"
            answers.setdefault(kind, Counter())[asked.answer] += 1
    for kind in ("relation", "exists", "verify", *shapes_questions.POPE_SPLITS, *shapes_questions.MME_TASKS):
        assert 0.4 < answers[kind]["yes"] / answers[kind].total() < 0.6, kind
    for kind, most in (("color", 0.3), ("shape", 0.3), ("size", 0.6), ("pattern", 0.6), ("count", 0.5), ("place", 0.4)):
        given = answers[f"open {kind}"]
        assert given.most_common(1)[0][1] / given.total() < most, kind


def test_held_out_pairs_are_in_their_split_only() -> None:
    assert {shape for _, shape in HELD_OUT} == {*SHAPES}
    assert {colour for colour, _ in HELD_OUT} == {*COLOURS}
    for scene in SCENES:
        assert bool({*scene.pairs} & {*HELD_OUT}) == scene.name.startswith("heldout")
    for scene in SCENES:
        if not scene.name.startswith("heldout"):
            for asked in asked_of(scene):
                for pair in HELD_OUT:
                    assert " ".join(pair) not in asked.text


def test_no_scene_is_in_two_splits() -> None:
    drawn = [image_digest(draw_scene(scene)) for scene in SCENES]
    assert len({*drawn}) == len(drawn)
    assert draw_scene(make_scene("test", 3, seed=1)) != draw_scene(make_scene("test", 3))


def test_scenes_images_and_questions_are_the_same_everywhere() -> None:
    """Stored digests: a change of the world is a new version of every task on it, and of what was trained on it."""
    scenes = [make_scene(split, index) for split in SPLITS for index in range(8)]
    assert sha256_hex(*(repr(scene).encode() for scene in scenes))[:16] == "346d1eda2bab4b94"
    assert sha256_hex(*(draw_scene(scene).tobytes() for scene in scenes))[:16] == "395c237bbcaa3e67"
    said = [[asked.text, asked.answer, *asked.ocr] for scene in scenes for asked in asked_of(scene)]
    assert sha256_hex(canonical_json(said))[:16] == "df7f7396a69b2750"


@given(st.integers(0, 2**31), st.integers(0, 2**31), st.sampled_from(SPLITS))
@settings(max_examples=60, deadline=None)
def test_any_scene_is_well_formed(index: int, seed: int, split: str) -> None:
    scene = make_scene(split, index, seed)
    held = [*scene.things, *scene.signs]
    places = [(one.row, one.column) for one in held]
    assert len({*places}) == len(places)
    assert 3 <= len(scene.things) <= 7
    assert len(scene.signs) <= 2
    image = np.asarray(draw_scene(scene)).astype(int)
    assert image.shape == (SIDE, SIDE, 3)
    ground = min(range(16), key=lambda cell: (cell // GRID, cell % GRID) in places)
    colour = image[ground // GRID * CELL, ground % GRID * CELL]
    for cell in range(GRID * GRID):
        row, column = divmod(cell, GRID)
        inside = image[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        assert (abs(inside - colour).max() > 20) == ((row, column) in places)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(UserError, match="no split 'trian'"):
        make_scene("trian", 0)


def test_training_data_are_in_the_format_of_llava(tmp_path: Path) -> None:
    shapes_data.write(tmp_path, 5)
    captions, conversations, classes = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("pretrain", "instruct", "classes")
    )
    assert list(classes) == ["content", "color", "size", "pattern", "row", "column"]
    for number, (caption, record) in enumerate(zip(captions, conversations, strict=True)):
        scene = make_scene("train", number)
        assert caption["id"] == record["id"] == scene.name
        assert (tmp_path / record["image"]).is_file()
        turns = record["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert [number for number, turn in enumerate(turns) if "<image>\n" in turn["value"]] == [0]
        assert len(turns) > 2 * 15
        for cell, told in enumerate(record["cells"]):
            held = scene.at(*divmod(cell, GRID))
            name = held.char if isinstance(held, Sign) else held.shape if held else "empty"
            assert classes["content"][told[0]] == name
            assert (told[1] >= 0) == isinstance(held, Thing)
            assert told[4:] == [cell // GRID, cell % GRID]
        for thing in scene.things:
            assert f"{thing.size} {thing.texture} {thing.colour} {thing.shape}" in caption["conversations"][1]["value"]


def test_training_questions_carry_the_prompts_of_the_benchmarks(tmp_path: Path) -> None:
    shapes_data.write(tmp_path, 5)
    said = [
        turn["value"]
        for record in json.loads((tmp_path / "instruct.json").read_text())
        for turn in record["conversations"]
        if turn["from"] == "human" and "Describe" not in turn["value"]
    ]
    endings = Counter(text.rsplit("\n", 1)[1] for text in said)
    assert set(endings) == {
        "Answer the question using a single word or phrase.",
        "Answer with the option's letter from the given choices directly.",
    }
    assert any("\nReference OCR token: " in text for text in said)
    assert any(re.search(r"\?\nA\. .+\nB\. ", text) for text in said)


def test_the_command_writes_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["shapes_data", "--out", str(tmp_path / "new"), "--scenes", "2", "--split", "val"])
    shapes_data.main()
    assert [record["id"] for record in json.loads((tmp_path / "new" / "instruct.json").read_text())] == [
        "val/0/0",
        "val/0/1",
    ]
