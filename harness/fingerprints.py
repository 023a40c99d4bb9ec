"""Telling code, files and Python objects apart by their content."""

from __future__ import annotations

import functools
import inspect
import sys
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import UserError
from .hashing import array_digest, canonical_json, package_source_digest, sha256_file, sha256_hex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .contracts import Json

_IMMUTABLE = 1 << 8
"""Flag of classes that are written in C: their objects may hold more than their attributes."""


def source_digest(thing: Any) -> str:
    """Hash of the Python source that a function or class comes from: all of its package, or its file if it has none.

    Raises:
        UserError: There is no source file, as in a notebook.
    """
    while isinstance(thing, functools.partial):
        thing = thing.func
    module = inspect.getmodule(inspect.unwrap(thing))
    digest = None if module is None else _module_digest(module)
    if digest is None:
        raise UserError(
            f"cannot tell which version of {thing!r} this is: it has no source file",
            todo="give it a `fingerprint` (see harness.identity), or define it in a file",
        )
    return digest


@functools.cache
def _module_digest(module: ModuleType) -> str | None:
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    if top.__name__ == __name__.partition(".")[0]:
        return package_source_digest()
    folders = [Path(folder) for folder in getattr(top, "__path__", ())]
    files = {path.relative_to(folder).as_posix(): path for folder in folders for path in folder.rglob("*.py")}
    if not folders and getattr(module, "__file__", None):
        source = Path(inspect.getsourcefile(module) or "")
        files = {"": source} if source.is_file() else {}  # a program that is piped to Python is called <stdin>
    parts = (part for name in sorted(files) for part in (name.encode(), files[name].read_bytes()))
    return sha256_hex(*parts) if files else None


def named_files(arguments: Mapping[str, Any]) -> list[str]:
    """Hashes of the files, and of all files in the folders, that arguments name."""
    digests = []
    for value in arguments.values():
        if not isinstance(value, str) or not value:
            continue
        path = Path(value).expanduser()
        try:
            files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        except OSError:  # too long to be a path
            continue
        digests += [sha256_file(file) for file in files]
    return digests


def object_digest(value: Any) -> str | None:
    """Hash of an object's class, with its source, and of all that its attributes hold, bit by bit.

    ``None`` if unknown: it holds something written in another language, or its source cannot be found.
    """
    try:
        return sha256_hex(canonical_json(_state(value, frozenset())))
    except (UserError, TypeError, ValueError, RuntimeError):  # also: an empty cell, a tensor without data, a deep tree
        return None


def _state(value: Any, around: frozenset[int]) -> Json:
    """A value as JSON, so that what can be told apart has another text; ``around`` are the ids of what holds it."""
    leaf = _leaf(value)
    if leaf is not None:
        return leaf
    if id(value) in around:
        return "..."
    around |= {id(value)}
    if isinstance(value, set | frozenset):
        return ["set", *sorted(canonical_json(_state(item, around)).decode() for item in value)]
    inner = _inside(value)
    if inner is not None:
        return [_state(item, around) for item in inner]
    kind = type(value)
    if any(cls.__flags__ & _IMMUTABLE for cls in kind.__mro__[:-1]):
        raise TypeError(f"a {kind.__name__} keeps its state to itself")
    return [_state(kind, around), _state(vars(value), around)]


def _leaf(value: Any) -> Json | None:
    """A value that holds no others as JSON; ``None`` if it is not such a one."""
    torch = sys.modules.get("torch")
    if value is None or isinstance(value, bool | int | float | str | bytes | Path):
        return repr(value)
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
        return array_digest(np.asarray(value))
    if torch is not None and isinstance(value, torch.Tensor):
        bits = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return [str(value.dtype), list(value.shape), array_digest(bits)]
    if torch is not None and isinstance(value, torch.dtype | torch.device):
        return repr(value)
    return _global_name(value)


def _global_name(value: Any) -> Json | None:
    """What a module, a class or a function written in C is called, if that says all about it."""
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, ModuleType | type | None):
        return [value.__module__, value.__qualname__]
    if isinstance(value, type) and "<" not in value.__qualname__:
        return [value.__qualname__, value.__module__ if value.__flags__ & _IMMUTABLE else source_digest(value)]
    return None


def _inside(value: Any) -> list[Any] | None:
    """What makes up a container, a function, a method, a partial call or a class within a function, else ``None``."""
    if isinstance(value, list | tuple):
        return [type(value).__name__, *value]
    if isinstance(value, dict):
        return [type(value).__name__, *value.items()]
    if isinstance(value, FunctionType):
        place = repr(list(value.__code__.co_positions()))  # tells two lambdas in one line apart
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return [value.__qualname__, source_digest(value), place, value.__defaults__, value.__kwdefaults__, *cells]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    return [value.__qualname__, source_digest(value), _captured(value)] if isinstance(value, type) else None


def _captured(cls: type) -> list[Any]:
    """What the methods of a class that was defined within a function took from there."""
    functions = [f for base in cls.__mro__ if "<" in base.__qualname__ for f in vars(base).values()]
    cells = [cell for f in functions if isinstance(f, FunctionType) for cell in f.__closure__ or ()]
    return [cell.cell_contents for cell in cells if cell.cell_contents is not cls]
