"""Templates of prompts that name a class; a text centroid is the mean over them (dissertation, A.7.1)."""

from __future__ import annotations

from ...harness.errors import UserError

CLIP = (
    "a photo of a {}",
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
"""Eight of CLIP's, for tieredImageNet; the slip in the fourth is CLIP's own."""
PHOTO = ("a photo of a {}",)
"""For DomainNet."""
_KNOWN = {"clip": CLIP, "photo": PHOTO}


def prompt_templates(text: str, *, where: str) -> tuple[str, ...]:
    """Return the templates that a text names: ``clip``, ``photo``, or templates themselves with ``|`` between them.

    Raises:
        UserError: A template has no place for the name, or several.
    """
    if text in _KNOWN:
        return _KNOWN[text]
    templates = tuple(part.strip() for part in text.split("|") if part.strip())
    if not templates or any(template.count("{}") != 1 for template in templates):
        todo = f'choose {", ".join(_KNOWN)}, or write templates such as "a drawing of a {{}} | a {{}}"'
        raise UserError(f"templates={text!r} does not say where the name goes", where=where, todo=todo)
    return templates
