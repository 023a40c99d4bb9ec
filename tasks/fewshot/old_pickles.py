"""Pickles of published data sets: arrays, numbers and texts, and nothing that runs code."""

from __future__ import annotations

import _codecs
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from ...harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

_REBUILDERS: dict[str, Any] = {
    "_reconstruct": np.empty(0).__reduce__()[0],
    "_frombuffer": np.empty(0).__reduce_ex__(5)[0],
    "scalar": np.float64(0).__reduce__()[0],
}
"""NumPy's own, whose modules were renamed in NumPy 2."""

_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _codecs.encode,
} | {
    (f"numpy.{core}.{module}", name): _REBUILDERS[name]
    for core in ("core", "_core")
    for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer"))
}

# What the unpickler, and NumPy in it, raise for bytes that are damaged.
_DAMAGED = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    MemoryError,
)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        found: Callable[..., Any] = _ALLOWED[module, name]
        return found


def load_pickle(path: str) -> Any:
    """Read a pickle of any protocol, also of Python 2.

    Only what arrays are made of is looked up by name, so that no pickle can call anything else.

    Raises:
        UserError: It cannot be read, is damaged, or asks for something else.
    """
    try:
        with open(path, "rb") as stream:  # noqa: PTH123
            return _Unpickler(stream, encoding="latin1").load()
    except OSError as error:
        raise UserError(f"cannot read it: {error.strerror}", where=path, todo="restore the file") from error
    except _DAMAGED as error:
        todo = "restore the file, or convert it to a folder of images"
        raise UserError(f"not a pickle of arrays: {error}", where=path, todo=todo) from error
