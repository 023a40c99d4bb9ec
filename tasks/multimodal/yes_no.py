"""How each rule reads yes or no out of an answer (POPE, MME).

Every function takes any text and returns ``"yes"``, ``"no"`` or ``"other"``; none raises.
"""

from __future__ import annotations

from .normalise import REPAIRED_STOP, without_punctuation


def pope_official(text: str) -> str:
    """Read an answer as POPE's script does: ``no`` if the first sentence has the word No, no or not, else ``yes``.

    Words are split at single blanks, so a ``No!`` or a ``No`` before a line end is not the word ``No``.
    """
    words = text.split(".", maxsplit=1)[0].replace(",", "").split(" ")
    return "no" if {"No", "not", "no"} & set(words) else "yes"


def pope_lmms_eval(text: str) -> str:
    """Read an answer as lmms-eval does for POPE: nothing but the word itself counts."""
    word = text.lower().strip()
    return word if word in {"yes", "no"} else "other"


def mme_official(text: str) -> str:
    """Read an answer as MME's script does: ``yes`` or else ``no`` within the first four characters, blanks included."""
    return _within(text.lower()[:4])


def mme_lmms_eval(text: str) -> str:
    """Read an answer as lmms-eval does for MME: outer blanks and full stops go first, and y and n count."""
    answer = text.lower().strip().replace(".", "")
    return {"y": "yes", "n": "no"}.get(answer) or _within(answer[:4])


def vlmevalkit(text: str) -> str:
    """Read an answer as VLMEvalKit does: the words yes and no are looked for anywhere; with both or none, ``other``."""
    found = {"yes", "no"} & set(without_punctuation(text.lower(), REPAIRED_STOP).split())
    return found.pop() if len(found) == 1 else "other"


def _within(start: str) -> str:
    return next((word for word in ("yes", "no") if word in start), "other")
