"""GGUF files: llama.cpp's checkpoints, weights and tokenizer in one file, which transformers dequantises."""

from __future__ import annotations

import io
from contextlib import contextmanager, redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..harness.errors import UserError
from ..harness.hashing import sha256_file
from . import loading as checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterator

_WHOLE = {"F64", "F32", "F16", "BF16"}
"""Types of tensors that are numbers as they stand."""


def is_gguf(path: str) -> bool:
    """Whether a path names a GGUF file, be it there or not."""
    return path.lower().endswith(".gguf")


def gguf_file(path: str) -> Path:
    """Return the file that a path names.

    Raises:
        UserError: There is none, or the library that reads it is not installed.
    """
    file, where = Path(path).expanduser(), f"hf-lm:{path}"
    if not file.is_file():
        raise UserError("there is no such file", where=where, todo="download the GGUF file and give its path")
    if find_spec("gguf") is None:
        raise UserError("GGUF files need the package gguf", where=where, todo="pip install 'adaptbench[gguf]'")
    return file


def fingerprint(path: str) -> str:
    """Identify a file by its content."""
    return f"file:{sha256_file(gguf_file(path))}"


@contextmanager
def loading(path: str) -> Iterator[None]:
    """Do as `loading.loading`, and keep the progress of dequantising from the user, which transformers always draws."""
    todo = "give a whole GGUF file of an architecture that transformers reads"
    with checkpoints.loading(path, todo=todo), redirect_stderr(io.StringIO()):
        yield


def dequantised(file: Path, dtype: str) -> tuple[str, ...]:
    """Return what a reader of a model's answers must know of its weights: how they were quantised, if they were."""
    from gguf import GGUFReader

    kinds = sorted({tensor.tensor_type.name for tensor in GGUFReader(file).tensors} - _WHOLE)
    return (f"GGUF weights ({', '.join(kinds)}) dequantised to {dtype}",) if kinds else ()
