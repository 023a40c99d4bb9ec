"""How a message becomes the text that a chat model was trained to read: chat templates, and conversations as data.

To a LLaVA, the message is the image placeholders, each with a newline, then the user's text (LLaVA, ``conversation.py``
and ``eval/model_vqa_loader.py``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from ..harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..harness.contracts import Prompt

TEMPLATE = "chat-template"
"""The processor's own chat template."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What stands around a message.

    Attributes:
        system: What comes first, unless another system prompt is given; ``None`` if there is no place for one.
        before: Text before the message.
        between: Text after the placeholder of each image.
        after: Text after it; the answer follows.
        images: Images that a message may have, at most.
    """

    system: str | None = None
    before: str = ""
    between: str = "\n"
    after: str = ""
    images: int = 1000


CONVERSATIONS = {
    "vicuna_v1": Conversation(
        system="A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions.",
        before=" USER: ",
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
        name: What the user asked for; ``auto`` is the processor's chat template, but ``vicuna_v1`` for a LLaVA or
            LLaVA-NeXT that is named so (LLaVA-1.5, 1.6 with Vicuna: their templates leave out the system sentence) and
            for a LLaVA that has no template, and ``prefix`` for a PaliGemma, which holds no conversations.
        path: Folder or hub id.
        processor: Of the checkpoint.
        kind: Its model type.

    Raises:
        UserError: The template is wanted and there is none.
    """
    has_template = bool(getattr(processor, "chat_template", None))
    if name == "auto":
        vicuna = _VICUNA.search(path.rstrip("/").rpartition("/")[2]) or (kind == "llava" and not has_template)
        usual = {"paligemma": "prefix"} | dict.fromkeys(("llava", "llava_next"), "vicuna_v1" if vicuna else TEMPLATE)
        name = usual.get(kind, TEMPLATE)
    if name == TEMPLATE and not has_template:
        raise UserError(
            "its processor has no chat template",
            where=f"hf:{path}",
            todo=f"choose conversation={' or '.join(CONVERSATIONS)}",
        )
    return name


def render(name: str, prompt: Prompt, processor: Any, system: str = "") -> str:
    """Return the text that a prompt becomes, with one placeholder for each image.

    Placeholders in the user's text are removed: they would ask for images that do not exist.

    Args:
        name: Of the conversation.
        prompt: What is asked.
        processor: Of the checkpoint.
        system: A system prompt; empty for the conversation's own.

    Raises:
        UserError: The conversation does not allow that many images, makes another number of placeholders, or has no
            place for a system prompt.
    """
    count, placeholders = len(prompt.images), _placeholders(processor)
    text, system = _without(prompt.text, placeholders), _without(system, placeholders)
    rendered = _rendered(name, text, count, processor, system)
    found = rendered.count(processor.image_token)
    if found != count:
        raise UserError(
            f"its conversation {name} makes {found} placeholders for {count} images", todo="choose another conversation"
        )
    return rendered


def _placeholders(processor: Any) -> list[str]:
    """Placeholders of images, videos and sound, in a text and in a processor's output."""
    names = ("image_token", "video_token", "audio_token")
    found = {getattr(part, name, None) for part in (processor, processor.tokenizer) for name in names}
    return [token for token in found if isinstance(token, str) and token]


def _without(text: str, parts: Iterable[str]) -> str:
    """Take texts out of a text until none is left: what stood around one may be another."""
    while any(part in text for part in parts):
        for part in parts:
            text = text.replace(part, "")
    return text


def _rendered(name: str, text: str, count: int, processor: Any, system: str) -> str:
    if name == TEMPLATE:
        content = [{"type": "image"}] * count + [{"type": "text", "text": text}]
        return in_chat(content, processor, system)
    conversation = CONVERSATIONS[name]
    if count > conversation.images:
        raise UserError(
            f"the conversation {name} takes {conversation.images} image per message, and this one has {count}",
            todo=f"choose conversation=plain or {TEMPLATE}",
        )
    if system and conversation.system is None:
        raise UserError(f"the conversation {name} has no system prompt", todo=f"choose conversation={TEMPLATE}")
    images = (processor.image_token + conversation.between) * count
    return f"{system or conversation.system or ''}{conversation.before}{images}{text}{conversation.after}"


def in_chat(message: str | list[dict[str, str]], speaker: Any, system: str = "") -> str:
    """Return a message of the user's as a checkpoint's own chat template writes it, for the assistant to answer.

    Args:
        message: A text, or parts of text and images.
        speaker: The checkpoint's tokenizer or processor.
        system: A system prompt; empty for whatever the template itself says.

    Raises:
        UserError: There is no template, or it takes no system prompt.
    """
    first = system if isinstance(message, str) else [{"type": "text", "text": system}]
    asked = [{"role": "system", "content": first}] if system else []
    text = in_template([*asked, {"role": "user", "content": message}], speaker)
    if system.strip() not in text:
        raise UserError("its chat template leaves the system prompt out", todo="put it into the questions")
    return text


def in_template(messages: Sequence[Mapping[str, Any]], speaker: Any, *, reply: bool = True) -> str:
    """Return messages, each with its ``role`` and ``content``, as a checkpoint's own chat template writes them.

    Args:
        messages: Of a conversation.
        speaker: The checkpoint's tokenizer or processor.
        reply: The assistant's answer follows; else the last message is its own, to be gone on with.

    Raises:
        UserError: There is no template, or it takes no such messages.
    """
    if not getattr(speaker, "chat_template", None):
        raise UserError("it has no chat template", todo="ask it without, as base models are asked")
    try:
        text: str = speaker.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=reply, continue_final_message=not reply
        )
    except (TemplateError, TypeError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        todo = "leave the system prompt out" if messages[0]["role"] == "system" else "ask it without"
        raise UserError(f"its chat template cannot be applied: {said}", todo=todo) from error
    return text


def notes(speaker: Any) -> tuple[str, ...]:
    """Return what a reader must know of answers in a checkpoint's own chat template."""
    dated = "strftime_now" in str(speaker.chat_template)
    return ("its chat template writes the date of the day into every prompt",) if dated else ()


def tokenize(text: str, tokenizer: Any) -> list[int]:
    """Return the ids of a rendered text; a template that writes the first token itself does not get a second one."""
    first = tokenizer.bos_token
    ids: list[int] = tokenizer(text, add_special_tokens=not (first and text.startswith(first))).input_ids
    return ids
