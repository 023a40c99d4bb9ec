"""Checkpoints of models that read images and text: what identifies one, and how it is loaded."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..harness.contracts import Prompt
from ..harness.errors import UserError
from ..harness.hashing import sha256_file, sha256_hex
from . import conversations, decoding, original_llava, placement
from .diagnosis import TOKENIZERS
from .loading import LOCAL, check_choices, check_whole, checkpoint, loading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

STEERED = {
    "llava": "llava", "llava_next": "llava-next", "qwen2_vl": "qwen-vl", "qwen2_5_vl": "qwen-vl",
    "qwen3_vl": "qwen-vl", "internvl": "internvl",
}  # fmt: skip
"""Model type -> the name of what steers its decoder."""
_A = {
    "llava": "a LLaVA", "llava_next": "a LLaVA-NeXT", "qwen2_vl": "a Qwen2-VL, Qwen2.5-VL or Qwen3-VL",
    "internvl": "an InternVL",
}  # fmt: skip
_FILES = (
    "*config.json", "model*.safetensors*", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*",
    "merges.txt", "chat_template*",
)  # fmt: skip
_HASHED = (".json", ".safetensors", ".model", ".jinja", ".txt")
_CHOICES = {
    "dtype": ("float32", "bfloat16", "float16"),
    "attention": ("sdpa", "eager"),
    "conversation": conversations.NAMES,
    "decoding": decoding.CHOICES,
}


class Checkpoint(NamedTuple):
    """A loaded checkpoint.

    Attributes:
        model: In evaluation mode, on its device.
        processor: Of images and text.
        conversation: The name of the conversation that it is asked in.
        system: The system prompt that comes first; empty for the conversation's own.
        decoding: How its answers are decoded.
    """

    model: Any
    processor: Any
    conversation: str
    system: str
    decoding: decoding.Decoding

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of its answers must know."""
        said = conversations.notes(self.processor) if self.conversation == conversations.TEMPLATE else ()
        return (*self.decoding.notes, *said)

    def with_model(self, model: Any) -> Checkpoint:
        """The same around a model of the same kind with other weights."""
        return self._replace(model=model.eval(), decoding=self.decoding.around(model))

    def render(self, prompt: Prompt) -> str:
        """Return the text that a prompt becomes, with one placeholder for each image."""
        return conversations.render(self.conversation, prompt, self.processor, self.system)

    def encode(self, prompt: Prompt) -> tuple[int, ...]:
        """Return a prompt's token ids, with one placeholder for each image.

        Raises:
            UserError: Its conversation has other placeholders than there are images, or they are not tokens.
        """
        ids = conversations.tokenize(self.render(prompt), self.processor.tokenizer)
        found = ids.count(self.model.config.image_token_id)
        if found != len(prompt.images):
            raise UserError(
                f"its tokenizer makes {found} image tokens of {len(prompt.images)} placeholders",
                todo="check image_token_id in config.json against its tokenizer",
            )
        return tuple(ids)


def fingerprint(path: str, revision: str | None = None) -> str:
    """Identify a checkpoint without loading it: hash of a folder's files, or the commit of a hub id."""
    folder = checkpoint(path, revision, _FILES)
    if not Path(path).expanduser().is_dir():
        return f"hub:{path}@{folder.name}"
    folders = [folder, original_llava.tower_folder(folder)] if original_llava.is_original(folder) else [folder]
    files = [file for own in folders for file in sorted(own.iterdir()) if file.suffix in _HASHED]
    return "files:" + sha256_hex(*(part.encode() for file in files for part in (file.name, sha256_file(file))))


def version(path: str) -> tuple[tuple[str, int, int], ...]:
    """Identify a checkpoint without reading it, by the times and sizes of its files."""
    files = sorted(checkpoint(path, None, _FILES).glob("*.safetensors"))
    return tuple((str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files)


def load(
    path: str, revision: str | None, device: str, options: Mapping[str, str], *, kinds: Sequence[str] = ()
) -> Checkpoint:
    """Load a checkpoint.

    Args:
        path: Folder that ``save_pretrained`` wrote, or hub id.
        revision: Branch, tag or commit of a hub id.
        device: Where it runs.
        options: ``dtype``, ``attention``, ``conversation``, ``decoding``, and ``system``, a system prompt or nothing;
            ``device_map`` and ``offload_folder`` as `placement.arguments` takes them.
        kinds: Model types of which one will do, with a decoder that can be steered; none for any.

    Raises:
        UserError: An option is unknown, or the checkpoint is of something else or lacks a part.
    """
    where = f"hf:{path}"
    check_choices(options, _CHOICES, where)
    split = placement.arguments(options.get("device_map", ""), options.get("offload_folder", ""), where)
    folder = checkpoint(path, revision, _FILES)
    with loading(path, folder):
        import torch
        import transformers

        original = original_llava.is_original(folder)
        if original:
            config = original_llava.standard(folder, where)
            processor = original_llava.processor(folder, config, where)
        else:
            config = transformers.AutoConfig.from_pretrained(folder, **LOCAL)
            processor = None
        auto = _auto_class(config, where, kinds)
        processor = processor or _processor(folder, config, where)
        conversation = conversations.choose(options["conversation"], path, processor, config.model_type)
        model, report = getattr(transformers, auto).from_pretrained(
            folder, config=config, use_safetensors=True, dtype=getattr(torch, options["dtype"]),
            attn_implementation=options["attention"], output_loading_info=True, ignore_mismatched_sizes=True,
            key_mapping=original_llava.NAMES if original else None, **split, **LOCAL,
        )  # fmt: skip
        if original:
            model, report = original_llava.completed(model, report, folder)
    check_whole(report, model, where)
    model = (model if split else model.to(device)).eval()
    rule = decoding.Decoding(model, processor.tokenizer, options["decoding"], where)
    loaded = Checkpoint(model, processor, conversation, options["system"], rule)
    if loaded.system:
        loaded.render(Prompt(""))  # which refuses one that has no place
    return loaded


def image_token(config: Any) -> int | None:
    """Return the id of the token at which a model reads an image, ``None`` if its config names none."""
    for part in (config, getattr(config, "vision_config", None)):
        token: int | None = getattr(part, "image_token_id", None)
        if token is not None:
            return token
    return None


def _auto_class(config: Any, where: str, kinds: Sequence[str]) -> str:
    """Return the name of the Auto class that loads a model; refuse other kinds than are wanted."""
    from . import installed
    from .decoder_blocks import SUPPORTED

    kind = config.model_type
    names = ("AutoModelForImageTextToText", "AutoModelForMultimodalLM")
    name = next((name for name in names if installed.builds(name, config)), None)
    if name is None or image_token(config) is None or config.is_encoder_decoder:  # whose answers continue no prompt
        raise UserError(f"a {kind} is not a chat model of images and text", where=where, todo="name one")
    if kinds and kind not in kinds:
        todo = f"name it {STEERED[kind]}:PATH" if kind in STEERED else "run it as a general model of images and text"
        raise UserError(f"{kind} is not {_A[kinds[0]]}", where=where, todo=todo)
    if kinds and config.text_config.model_type not in SUPPORTED:
        raise UserError(
            f"its language model is a {config.text_config.model_type}, and this takes {', '.join(SUPPORTED)}",
            where=where,
            todo="run it as a general model of images and text",
        )
    return name


def _processor(folder: Path, config: Any, where: str) -> Any:
    from . import installed

    for what, files in (
        ("image processor", ("preprocessor_config.json", "processor_config.json")),
        ("tokenizer", TOKENIZERS),
    ):
        if not any(any(folder.glob(file)) for file in files):
            raise UserError(f"it has no {what}: none of {', '.join(files)}", where=where, todo="save its processor too")
    return installed.processor(folder, config, where)


def with_parameters(model: Any, tower: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    """Copy a model's structure, its tower and all parameters that are not given aside: those are shared."""
    import torch

    known = dict(model.named_parameters(remove_duplicate=False))
    seen = {id(parameter) for parameter in tower.parameters()}
    memo: dict[int, Any] = {id(tower): tower} | {id(parameter): parameter for parameter in known.values()}
    for name, tensor in tensors.items():
        old = known.get(name)
        if old is None or id(old) in seen:
            raise UserError(f"its language model and projector have no {name}", todo="give weights of this model")
        if old.shape != tensor.shape:
            raise UserError(
                f"its {name} is {tuple(old.shape)}, and {tuple(tensor.shape)} is given",
                todo="give weights of this model",
            )
        memo[id(old)] = torch.nn.Parameter(tensor.to(old), requires_grad=old.requires_grad)
    return copy.deepcopy(model, memo)
