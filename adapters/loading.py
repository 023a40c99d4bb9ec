"""Loading from transformers: safetensors only, remote code never, and one line for whatever goes wrong."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..harness.errors import UserError
from .diagnosis import diagnose, diagnose_tokenizer, quantisation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FILES = ("config.json", "preprocessor_config.json", "processor_config.json", "model*.safetensors*")
LOCAL = {"local_files_only": True, "trust_remote_code": False}
"""Arguments of every ``from_pretrained``."""
_LEAST_VOCABULARY = 100
"""Words of a tokenizer that has been read from no file: transformers makes an empty one where there is none."""
_INSTALL = "pip install 'adaptbench[torch]'"
_OURS = ("torch", "transformers", "huggingface_hub", "accelerate")
"""What that installs."""
_CODES = re.compile(r"scale|zero|quant|absmax|g_idx")
"""In the names of tensors without which quantised weights are numbers of another meaning."""


def checkpoint(path: str, revision: str | None = None, files: Sequence[str] = _FILES) -> Path:
    """Return the folder of a checkpoint.

    Args:
        path: Folder that ``save_pretrained`` wrote, or hub id such as ``facebook/dinov2-small``. What the hub has of
            it now is downloaded; without network the local cache of the hub is enough.
        revision: Branch, tag or commit of a hub id.
        files: Patterns of the files that are wanted from the hub.

    Raises:
        UserError: There is no such folder, or the hub does not give it.
    """
    folder, where = Path(path).expanduser(), f"hf:{path}"
    if folder.is_dir():
        return folder
    if path.startswith(("/", ".", "~")) or path.count("/") > 1:
        raise UserError("there is no such folder", where=where, todo="name a folder that save_pretrained wrote")
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(path, revision=revision, allow_patterns=list(files)))
    except ImportError as error:
        raise UserError(f"cannot import huggingface_hub: {error}", where=where, todo=_INSTALL) from error
    except (OSError, ValueError) as error:
        todo = "check the hub id and the network, or give the path of a local folder"
        raise UserError(f"cannot download it: {_first_line(error)}", where=where, todo=todo) from error


def check_choices(options: Mapping[str, str], choices: Mapping[str, Sequence[str]], where: str) -> None:
    """Refuse an option that is not one of its choices."""
    for kind, known in choices.items():
        if options[kind] not in known:
            raise UserError(f"unknown {kind} {options[kind]!r}", where=where, todo=f"choose from {', '.join(known)}")


def load_tokenizer(folder: Path, where: str, **named: str) -> Any:
    """Load the tokenizer of a checkpoint.

    Args:
        folder: Of the checkpoint.
        where: Which checkpoint, for messages.
        named: ``gguf_file``, if it is in one.

    Raises:
        UserError: There is none, or it cannot be loaded.
    """
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **named, **LOCAL)
    except Exception as error:
        what, todo = diagnose_tokenizer(folder, _first_line(error))
        raise UserError(what, where=where, todo=todo) from error
    files = getattr(tokenizer, "vocab_files_names", {}).values()
    ordinary = len(tokenizer) - len(tokenizer.added_tokens_encoder)
    if files and ordinary < _LEAST_VOCABULARY and not any((folder / file).is_file() for file in files):
        what, todo = diagnose_tokenizer(folder, f"what transformers makes of it knows {ordinary} words")
        raise UserError(what, where=where, todo=todo)
    return tokenizer


def check_whole(report: Mapping[str, Any], model: Any, where: str) -> None:
    """Refuse a model whose weights are not those of the checkpoint, whatever transformers made of them.

    Args:
        report: What transformers says of loading: the names of parameters that were missing, unexpected or mismatched.
        model: What it loaded.
        where: Which checkpoint, for messages.

    Raises:
        UserError: Some parameters are missing, or quantised codes were loaded as weights.
    """
    own = dict(model.named_parameters())
    for name, found, wanted in sorted(report["mismatched_keys"]):
        raise UserError(
            f"its weights {name} are {list(found)}, and {list(wanted)} by its config",
            where=where,
            todo="fix config.json, or save the whole model again",
        )
    how = quantisation(model.config.to_dict()) if getattr(model, "hf_quantizer", None) is None else ""
    codes = [name for name in sorted(report["unexpected_keys"]) if _is_code(name, own)]
    if how or codes:
        told = how or f"{codes[0]} is stored beside them"
        raise UserError(
            f"its weights are quantised ({told}), and transformers does not know how to read them",
            where=where,
            todo="name the checkpoint that they were made of",
        )
    for missing in sorted(report["missing_keys"]):
        raise UserError(f"its weights lack {missing}", where=where, todo="save the whole model")


def _is_code(name: str, known: Mapping[str, Any]) -> bool:
    """Whether a tensor that the model has no place for says how to read one that it has, as a scale does."""
    parent, _, own = name.rpartition(".")
    return bool(_CODES.search(own)) and f"{parent}.weight" in known


@contextmanager
def loading(path: str, folder: Path | None = None, todo: str = "") -> Iterator[None]:
    """Turn what transformers raises about a checkpoint into a `UserError`, and keep its reports from the user.

    Args:
        path: Local folder or hub id, for the message.
        folder: Where its files are, if it has one of its own.
        todo: What helps if it has none.
    """
    where = f"hf:{path}"
    try:
        with quiet():
            yield
    except UserError:
        raise
    except Exception as error:  # what a config or a file leads to may go wrong in any way
        what, helps = _told(error, folder)
        raise UserError(what, where=where, todo=helps or todo) from error


def _told(error: Exception, folder: Path | None) -> tuple[str, str]:
    """What went wrong, and what to do about it."""
    if isinstance(error, ImportError) and (error.name in _OURS or folder is None):
        return f"cannot import what it needs: {error}", _INSTALL
    from huggingface_hub.errors import StrictDataclassError

    if isinstance(error, StrictDataclassError):
        return f"transformers refuses its config: {_first_line(error.__cause__ or error)}", "fix config.json"
    if folder is None:
        return f"cannot load it: {_first_line(error)}", ""
    if isinstance(error, ImportError):
        return diagnose(folder, _first_line(error), "install what it asks for")
    return diagnose(folder, _first_line(error))


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings and progress bars of transformers."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: BaseException) -> str:
    lines = [line.strip().rstrip(".:") for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
