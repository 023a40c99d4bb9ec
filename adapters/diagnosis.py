"""Why a checkpoint cannot be loaded: what its folder holds instead, and what helps.

It is asked after transformers has refused a folder, so that nothing is refused which could be loaded.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

WEIGHTS = "model.safetensors"
_INDEX = f"{WEIGHTS}.index.json"
_PICKLES = ("pytorch_model*.bin", "*.bin", "*.pt", "*.pth", "*.ckpt")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "*.model", "*.tiktoken", "tekken.json")
"""Files of which a tokenizer can be made."""
_OTHERS = {"*.h5": "TensorFlow", "*.msgpack": "Flax", "*.onnx": "ONNX"}
_POINTER = b"version https://git-lfs"
_AGAIN = "copy or download the checkpoint again"
_SAVED = "name a folder that save_pretrained wrote"


class Diagnosis(NamedTuple):
    """What is wrong with a checkpoint, as a sentence, and what to do about it."""

    what: str
    todo: str


def diagnose(folder: Path, said: str, todo: str = "load it with transformers alone to see more") -> Diagnosis:
    """Tell why the model in a folder could not be loaded.

    Args:
        folder: Of the checkpoint.
        said: What was raised about it, in one line.
        todo: What helps if the folder does not show what is wrong.
    """
    return next(_seen(folder, said, todo))


def diagnose_tokenizer(folder: Path, said: str) -> Diagnosis:
    """Tell why the tokenizer in a folder could not be loaded; arguments as those of `diagnose`."""
    found = [name for pattern in TOKENIZERS for name in _names(folder, pattern)]
    if "AutoTokenizer" in _fields(folder / "tokenizer_config.json").get("auto_map", ()):
        return Diagnosis(
            "its tokenizer is defined by code that comes with the checkpoint, and such code is never run",
            "name a version of it that has a tokenizer.json",
        )
    if not found:
        return Diagnosis("it has no tokenizer: none of " + ", ".join(TOKENIZERS), "save its tokenizer too")
    needed = "sentencepiece protobuf" if found[0].endswith(".model") else "tiktoken"
    if found[0] != "tokenizer.json" and "tiktoken" in said:
        return Diagnosis(f"{found[0]} cannot be read without {needed.split(maxsplit=1)[0]}", f"pip install {needed}")
    return Diagnosis(f"its tokenizer cannot be loaded: {said}", "save it again with its save_pretrained")


def quantisation(config: Mapping[str, Any]) -> str:
    """Return how a checkpoint's weights were quantised, by its ``config.json``: ``gptq, 4 bits``; empty if not."""
    parts = [part for part in (config, config.get("text_config")) if isinstance(part, dict)]
    for part, name in itertools.product(parts, ("quantization_config", "compression_config", "quantization")):
        found = part.get(name)
        if isinstance(found, dict):
            method = found.get("quant_method") or ("MLX" if "quantization" in part else "a method it does not name")
            bits = 4 if found.get("load_in_4bit") else 8 if found.get("load_in_8bit") else found.get("bits")
            return f"{method}, {bits} bits" if isinstance(bits, int | float) else str(method)
    return ""


def _seen(folder: Path, said: str, todo: str) -> Iterator[Diagnosis]:
    """What there is to say, what explains most first."""
    file = folder / "config.json"
    if not file.is_file():
        yield _without_config(folder)
        return
    config = _fields(file)
    if not config:
        yield Diagnosis("its config.json is not a JSON object of fields", _AGAIN)
        return
    yield from _kind(config)
    yield from _weights(folder)
    how = quantisation(config)
    if how:
        yield Diagnosis(
            f"its weights are quantised ({how}): {said}",
            "install what loads them, if this machine can run it, or name the checkpoint that they were made of",
        )
    if "image processor" in said and not _names(folder, "*processor_config.json"):
        yield Diagnosis("it has no preprocessor_config.json", "save its image processor too")
    yield Diagnosis(f"cannot load it: {said}", todo)


def _without_config(folder: Path) -> Diagnosis:
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        todo = "merge it into its base model (peft: merge_and_unload, then save_pretrained) and name what that gives"
        return Diagnosis("it is an adapter, not a model: adapter_config.json and no config.json", todo)
    gguf = _names(folder, "*.gguf")
    if gguf:
        return Diagnosis("it has no config.json but GGUF files", f"name one of them: hf-lm:{folder / gguf[0]}")
    return Diagnosis("it has no config.json", _SAVED)


def _kind(config: Mapping[str, Any]) -> Iterator[Diagnosis]:
    import transformers

    kind = config.get("model_type")
    if not isinstance(kind, str):
        yield Diagnosis("its config.json names no model_type", "save it again with transformers' save_pretrained")
    elif kind not in transformers.CONFIG_MAPPING:
        if config.get("auto_map"):
            yield Diagnosis(
                f"a {kind} is defined by code that comes with the checkpoint, and such code is never run",
                "name a version of it for transformers' own classes; on the hub its name often ends in -hf",
            )
        else:
            yield Diagnosis(
                f"transformers {transformers.__version__} knows no model type {kind!r}",
                "install a newer transformers, or fix model_type in config.json",
            )


def _weights(folder: Path) -> Iterator[Diagnosis]:
    """What is wrong with the files that hold the weights."""
    shards = _names(folder, "model-*-of-*.safetensors")
    if (folder / _INDEX).is_file():
        places = _fields(folder / _INDEX).get("weight_map")
        wanted = sorted(set(map(str, places.values()))) if isinstance(places, dict) else []
        if not wanted:
            yield Diagnosis(f"its {_INDEX} names no files", _AGAIN)
            return
        gone = [name for name in wanted if not (folder / name).is_file()]
        if gone:
            others = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
            yield Diagnosis(f"of its {len(wanted)} files of weights {gone[0]}{others} is missing", _AGAIN)
            return
        shards = wanted
    elif (folder / WEIGHTS).is_file():
        shards = [WEIGHTS]
    elif shards:
        yield Diagnosis(f"it has {len(shards)} files of weights and no {_INDEX}, which says what is in them", _AGAIN)
        return
    else:
        yield _without_weights(folder)
        return
    yield from (fault for name in shards for fault in _unreadable(folder / name))


def _without_weights(folder: Path) -> Diagnosis:
    lack = f"it has no {WEIGHTS}"
    pickles = next(filter(None, (_names(folder, pattern) for pattern in _PICKLES)), ())
    if pickles:
        return Diagnosis(
            f"{lack}, only pickled weights ({pickles[0]}), which can run code and are never opened",
            "if you trust them, load it with transformers, save_pretrained it into a new folder, and name that",
        )
    tensors = _names(folder, "*.safetensors")
    if tensors:
        if tensors[0].startswith("adapter"):
            return Diagnosis(f"{lack}, only an adapter ({tensors[0]})", "merge it into its base model and name that")
        return Diagnosis(
            f"{lack}, but {tensors[0]}, which is of another layout or precision",
            f"name the version of it in transformers' format; if {tensors[0]} is in it, rename it to {WEIGHTS}",
        )
    gguf = _names(folder, "*.gguf")
    if gguf:
        return Diagnosis(f"{lack} but GGUF files", f"name one of them: hf-lm:{folder / gguf[0]}")
    for pattern, framework in _OTHERS.items():
        if _names(folder, pattern):
            return Diagnosis(f"{lack}, only weights of {framework}", "save it from PyTorch with save_pretrained")
    return Diagnosis(f"{lack}, and no other weights", _AGAIN)


def _unreadable(file: Path) -> Iterator[Diagnosis]:
    try:
        with safe_open(file, framework="np"):
            return
    except SafetensorError as error:
        with file.open("rb") as content:
            if content.read(len(_POINTER)) == _POINTER:
                yield Diagnosis(f"its {file.name} is a Git LFS pointer, not the weights", "run git lfs pull in it")
                return
        yield Diagnosis(f"its {file.name} is cut off or spoilt: {error}", _AGAIN)


def _fields(file: Path) -> dict[str, Any]:
    """The fields of a JSON file; none if there is no such file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _names(folder: Path, pattern: str) -> list[str]:
    return sorted(file.name for file in folder.glob(pattern))
