"""What holds for every test."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Before NumPy and torch are imported: matrices are small here, and threads that wait for each other burn time.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def nothing_deprecated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test makes transformers say that something is deprecated; it says so once, in a log that is often silenced.

    What it warns of is an error by the settings of pytest.
    """
    if "transformers" not in sys.modules:
        yield
        return
    said: list[str] = []

    def note(_: Any, message: str, *__: Any, **___: Any) -> None:
        said.append(str(message))

    monkeypatch.setattr(logging.Logger, "warning_once", note)
    yield
    assert not [message for message in said if "deprecated" in message]
