"""Checkpoints of LLaVA's own code, loaded as the same model in transformers' classes.

Their config keeps the language model's sizes on top, their tensors have other names, and the tower may be missing: then
it is that of the hub id or folder that the config names. They have no image token; one is put behind the vocabulary,
with a row of embeddings that is never read and no logit, so that it cannot be an answer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..harness.errors import UserError
from ..harness.measure.configs import is_original_llava, standard_config, tower_of_llava
from .loading import LOCAL, checkpoint, load_tokenizer

NAMES = {
    r"^model\.mm_projector\.0\.": "model.multi_modal_projector.linear_1.",
    r"^model\.mm_projector\.2\.": "model.multi_modal_projector.linear_2.",
    r"^model\.vision_tower\.vision_tower\.(vision_model\.)?": "model.vision_tower.",
    r"^model\.(?=(embed_tokens|layers|norm)\.)": "model.language_model.",
}
"""Beginnings of names in such a checkpoint -> beginnings in transformers' LLaVA."""
_TOWER = "model.vision_tower."
_IMAGE = "<image>"
_FILES = ("config.json", "preprocessor_config.json", "model*.safetensors*")


def is_original(folder: Path) -> bool:
    """Whether a folder holds a checkpoint of LLaVA's own code."""
    config = _fields(folder)
    return config is not None and is_original_llava(config)


def tower_folder(folder: Path) -> Path:
    """Return the folder of the tower that a checkpoint names.

    Raises:
        UserError: It is not found, or the checkpoint has no safetensors, with which a tower would be of no use.
    """
    if not any(folder.glob("*.safetensors")):
        what = "it has no *.safetensors, and weights in other formats, such as *.bin, are not read"
        raise UserError(what, where=f"hf:{folder}", todo="save its weights as safetensors")
    return checkpoint(tower_of_llava(_fields(folder) or {}), None, _FILES)


def stated_tower(config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the config of the tower that a config names, if that is a local folder."""
    folder = Path(tower_of_llava(config)).expanduser()
    return _vision(_fields(folder)) if folder.is_dir() else None


def standard(folder: Path, where: str) -> Any:
    """Return the config of a checkpoint as transformers has it, with the id of the image token.

    Raises:
        UserError: As `tower_folder`, or it has parts that transformers' LLaVA lacks.
    """
    import transformers

    config = _fields(folder) or {}
    given = standard_config(config, where, _vision(_fields(tower_folder(folder))))
    rest = {name: value for name, value in given.items() if name != "model_type"}
    made = transformers.LlavaConfig(**rest)
    made.image_token_index = made.image_token_id = len(_tokenizer(folder, where)) - 1
    return made


def processor(folder: Path, config: Any, where: str) -> Any:
    """Return the processor of images and text of a checkpoint."""
    import transformers

    from . import installed

    own = (folder / "preprocessor_config.json").is_file()
    images = installed.image_processor(folder if own else tower_folder(folder), where)
    return transformers.LlavaProcessor(
        images,
        _tokenizer(folder, where),
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        image_token=_IMAGE,
        num_additional_image_tokens=int(config.vision_config.model_type == "clip_vision_model"),
    )


def completed(model: Any, report: dict[str, Any], folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return a loaded model with its tower and a row for the image token, and the report of what is still missing."""
    import torch

    missing = set(report["missing_keys"])
    if any(name.startswith(_TOWER) for name in missing):
        kind = model.model.vision_tower
        model.model.vision_tower = type(kind).from_pretrained(
            tower_folder(folder), config=kind.config, use_safetensors=True, dtype=model.dtype, **LOCAL
        )
        missing = {name for name in missing if not name.startswith(_TOWER)}
    table = model.get_input_embeddings()
    more = model.config.image_token_id + 1 - len(table.weight)
    if more > 0:
        rows = torch.nn.functional.pad(table.weight.data, (0, 0, 0, more))
        height, width = rows.shape
        model.set_input_embeddings(torch.nn.Embedding(height, width, _weight=rows))
    return model, {**report, "missing_keys": missing}


def _tokenizer(folder: Path, where: str) -> Any:
    """The tokenizer, with an image token as its last one."""
    tokenizer = load_tokenizer(folder, where)
    tokenizer.add_tokens([_IMAGE], special_tokens=True)
    if tokenizer.convert_tokens_to_ids(_IMAGE) != len(tokenizer) - 1:
        raise UserError(f"its tokenizer has {_IMAGE} among its words", where=where, todo="take it out")
    return tokenizer


def _vision(config: dict[str, Any] | None) -> dict[str, Any] | None:
    """The fields of the tower of images of a config."""
    part = (config or {}).get("vision_config")
    if not isinstance(part, dict):
        return config
    return {"model_type": f"{(config or {}).get('model_type')}_vision_model", **part}


def _fields(folder: Path) -> dict[str, Any] | None:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
