"""Loading from transformers: safetensors only, remote code never, and one line for whatever goes wrong."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def loading(path: str) -> Iterator[None]:
    """Turn what transformers raises about a checkpoint into a `UserError`.

    Args:
        path: Local folder or hub id, for the message.
    """
    logging.getLogger("transformers").setLevel(logging.ERROR)
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        raise UserError(f"cannot import transformers: {error}", todo="pip install 'adaptbench[torch]'") from error
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        todo = (
            "it needs config.json, preprocessor_config.json and model.safetensors, as save_pretrained writes them"
            if Path(path).expanduser().is_dir()
            else "check the hub id and the network, or give the path of a local folder"
        )
        raise UserError(f"cannot load it: {_first_line(error)}", where=f"hf:{path}", todo=todo) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
