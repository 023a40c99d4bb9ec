"""What ``tiny-icl`` is taught: operands, and what functions make of them, from the side of the demonstrations.

    python -m adaptbench.tasks.compositional.lessons --out lessons.json

No operand that may stand in a question of the logical suite (`simple.on_side`) stands here as an operand, with two
exceptions that nothing else could teach: opposites, and the past of irregular verbs. Every lesson is of one function.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..dice import Dice
from .simple import KINDS, MODULAR, RANGES, TWO_SUM, TWO_SUM_PLUS_ONE, Ranges, on_side
from .words import OPPOSITE_OF, VERBS, past, spell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .simple import Simple

_BEYOND = Ranges(integers=(1005, 9994))
"""Integers of the pair A+F in the released data."""
_INVENTED = 6000
_ONSETS = (
    "b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sc sh sk sl sm sn sp st str sw t th tr v w"
)
_NUCLEI = "a e i o u ai ea ee oa oo ou ie y"
_CODAS = "b ck d ft g k l ld ll lt m mp n nd ng nk nt p r rd rk rm rn rt s sh ss st t th x er el on in le et"


def operands() -> dict[str, list[str]]:
    """Return kind -> operands that may stand in demonstrations; unknown words are a kind, too."""
    found = {kind: _taught(kind, RANGES["release"]) for kind in KINDS}
    found["integer"] += _taught("integer", _BEYOND)
    found["invented"] = invented(_INVENTED)
    return found


def facts() -> dict[str, list[list[str]]]:
    """Return function -> pairs of an input, its operands separated by blanks, and its output."""
    words, verbs, numbers = (_taught(kind, RANGES["release"]) for kind in ("word", "verb", "number word"))
    irregular = [verb for verb in VERBS if not past(verb).endswith("ed")]
    values = {spell(number): str(number) for number in range(100)}
    plurals = ([word, _inflected(word, "NNS")] for word in words)
    return {
        "opposite": [list(pair) for pair in OPPOSITE_OF.items()],
        "past tense": [[verb, past(verb)] for verb in dict.fromkeys([*verbs, *irregular])],
        "gerund": [[verb, _inflected(verb, "VBG")] for verb in verbs],
        "plural": [[word, plural] for word, plural in plurals if plural.endswith("s") and plural != word],
        "digits": [[number, values[number]] for number in numbers],
        "two sum": _of_two(TWO_SUM, ((spell(a), spell(b)) for a in range(100) for b in range(1, 100 - a))),
        "modular": _of_two(MODULAR, ((str(a), str(b)) for a in range(100) for b in range(1, 104))),
        "two sum plus one": _of_two(TWO_SUM_PLUS_ONE, ((str(a), str(b)) for a in range(99) for b in range(1, 99 - a))),
    }


def invented(count: int) -> list[str]:
    """Return different words of one or two syllables; a word that may be asked about is not among them."""
    dice = Dice(0)
    onsets, nuclei, codas = (text.split() for text in (_ONSETS, _NUCLEI, _CODAS))
    found: dict[str, None] = {}
    while len(found) < count:
        syllables = range(dice.choose((1, 2)))
        word = "".join(dice.choose(onsets) + dice.choose(nuclei) for _ in syllables) + dice.choose(codas)
        if on_side(word, "demonstrations"):
            found[word] = None
    return list(found)


def _inflected(word: str, tag: str) -> str:
    from lemminflect import getInflection

    return str(getInflection(word, tag)[0])


def _taught(kind: str, ranges: Ranges) -> list[str]:
    known = KINDS[kind]
    return [operand for operand in known.pool(ranges) if on_side(known.key(operand), "demonstrations")]


def _of_two(task: Simple, pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    taught = (pair for pair in pairs if on_side(" ".join(pair), "demonstrations"))
    return [[" ".join(pair), *task.rule(pair)] for pair in taught]


def main() -> None:
    """Write the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"operands": operands(), "facts": facts()}), encoding="utf-8")


if __name__ == "__main__":
    main()
