"""How a message becomes the text that a chat model was trained to read: conversations, as data.

The message is the image placeholders, each with a newline, then the user's text (LLaVA, ``conversation.py`` and
``eval/model_vqa_loader.py``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..harness.contracts import Prompt

TEMPLATE = "chat-template"
"""The processor's own chat template."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What stands around a message.

    Attributes:
        before: Text before it.
        between: Text after the placeholder of each image.
        after: Text after it; the answer follows.
        images: Images that a message may have, at most.
    """

    before: str = ""
    between: str = "\n"
    after: str = ""
    images: int = 1000


CONVERSATIONS = {
    "vicuna_v1": Conversation(
        before="A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions. USER: ",
        after=" ASSISTANT:",
        images=1,
    ),
    "plain": Conversation(),
    "prefix": Conversation(between=""),
}
NAMES = ("auto", TEMPLATE, *CONVERSATIONS)
_VICUNA = re.compile(r"vicuna|llava-?v?1\.5", re.IGNORECASE)


def choose(name: str, path: str, processor: Any, kind: str) -> str:
    """Return the name of the conversation that a checkpoint is asked in.

    Args:
        name: What the user asked for; ``auto`` is the processor's chat template, but ``vicuna_v1`` for a LLaVA that is
            named so (LLaVA-1.5: its template leaves out the system sentence) or that has no template, and ``prefix``
            for a PaliGemma, which holds no conversations.
        path: Folder or hub id.
        processor: Of the checkpoint.
        kind: Its model type.

    Raises:
        UserError: The template is wanted and there is none.
    """
    has_template = bool(getattr(processor, "chat_template", None))
    if name == "auto":
        named = _VICUNA.search(path.rstrip("/").rpartition("/")[2])
        usual = {"llava": "vicuna_v1" if named or not has_template else TEMPLATE, "paligemma": "prefix"}
        name = usual.get(kind, TEMPLATE)
    if name == TEMPLATE and not has_template:
        raise UserError(
            "its processor has no chat template",
            where=f"hf:{path}",
            todo=f"choose conversation={' or '.join(CONVERSATIONS)}",
        )
    return name


def render(name: str, prompt: Prompt, processor: Any) -> str:
    """Return the text that a prompt becomes, with one placeholder for each image.

    A placeholder that stands in the user's text is taken out of it: it would ask for an image that is not there.

    Raises:
        UserError: The conversation does not allow so many images, or makes another number of placeholders.
    """
    count = len(prompt.images)
    rendered = _rendered(name, _without(prompt.text, _placeholders(processor)), count, processor)
    found = rendered.count(processor.image_token)
    if found != count:
        raise UserError(
            f"its conversation {name} makes {found} placeholders for {count} images", todo="choose another conversation"
        )
    return rendered


def _placeholders(processor: Any) -> list[str]:
    """What stands for images, videos and sound, in a text and in what a processor makes of it."""
    names = ("image_token", "video_token", "audio_token")
    found = {getattr(part, name, None) for part in (processor, processor.tokenizer) for name in names}
    return [token for token in found if isinstance(token, str) and token]


def _without(text: str, parts: Iterable[str]) -> str:
    """Take texts out of a text until none is left: what stood around one may be another."""
    while any(part in text for part in parts):
        for part in parts:
            text = text.replace(part, "")
    return text


def _rendered(name: str, text: str, count: int, processor: Any) -> str:
    if name == TEMPLATE:
        content = [{"type": "image"}] * count + [{"type": "text", "text": text}]
        rendered: str = processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        return rendered
    conversation = CONVERSATIONS[name]
    if count > conversation.images:
        raise UserError(
            f"the conversation {name} takes {conversation.images} image a message, and this one has {count}",
            todo=f"choose conversation=plain or {TEMPLATE}",
        )
    images: str = (processor.image_token + conversation.between) * count
    return conversation.before + images + text + conversation.after


def tokenize(text: str, tokenizer: Any) -> list[int]:
    """Return the ids of a rendered text; a template that writes the first token itself does not get a second one."""
    first = tokenizer.bos_token
    ids: list[int] = tokenizer(text, add_special_tokens=not (first and text.startswith(first))).input_ids
    return ids
