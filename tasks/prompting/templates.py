"""Templates: from sentences to a prompt with one mask, as in LM-BFF (Gao et al., 2021; dissertation A.6.3).

A template is a text with ``{mask}`` once, ``{s1}``, and for pairs ``{s2}``. Each sentence and each text between them is
a piece that is tokenised by itself. A blank before a sentence goes with the sentence; a blank before the mask goes with
the label word. ``{s1-}`` leaves out the last character of the first sentence, its full stop. The second sentence begins
with a small letter.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...harness.contracts import MaskedPrompt, Piece

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MASK = "{mask}"
_PART = re.compile(r"( ?\{s1-?\}| ?\{s2\})")


def masked_prompt(
    template: str,
    sentences: Sequence[str],
    words: tuple[str, ...],
    *,
    first_limit: int | None = None,
    max_tokens: int = 128,
) -> MaskedPrompt:
    """Fill a template.

    Args:
        template: See above.
        sentences: One, or two.
        words: Label word of each class.
        first_limit: Tokens of the first sentence that are read.
        max_tokens: Of the whole prompt.
    """
    before, _, after = template.partition(_MASK)
    return MaskedPrompt(
        tuple(_pieces(before.removesuffix(" "), sentences, first_limit)),
        tuple(_pieces(after, sentences, first_limit)),
        words,
        max_tokens,
    )


def filled(template: str, sentences: Sequence[str], word: str) -> str:
    """Return the text of a prompt with a word in the place of its mask."""
    prompt = masked_prompt(template, sentences, ())
    before, after = ("".join(piece.text for piece in pieces) for pieces in (prompt.before, prompt.after))
    return f"{before} {word}{after}".strip()


def _pieces(part: str, sentences: Sequence[str], first_limit: int | None) -> Iterator[Piece]:
    for text in filter(None, _PART.split(part)):
        if not _PART.fullmatch(text):
            yield Piece(text)
        elif "{s2}" in text:
            second = sentences[1]
            yield Piece(_blank(text) + second[:1].lower() + second[1:])
        else:
            yield Piece(_blank(text) + (sentences[0][:-1] if "-" in text else sentences[0]), first_limit)


def _blank(text: str) -> str:
    return " " if text.startswith(" ") else ""
