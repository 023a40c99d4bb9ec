"""What holds for every test."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# Before NumPy and torch are imported: matrices are small here, and threads that wait for each other burn time.
os.environ.setdefault("OMP_NUM_THREADS", "1")


settings.register_profile("campaign", max_examples=2000, deadline=None)  # for ci/campaigns.py


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of a file to one worker, and those of packaging, so that what they share is made once."""
    for item in items:
        name = "packaging" if item.path.parent.name == "packaging" else item.path.stem
        item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture(scope="session", autouse=True)
def timed_briefly() -> Iterator[None]:
    """Repeat what is timed twice, not for 0.4 s: the tests of timing itself say how often."""
    from adaptbench.harness.measure.timing import Effort

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Effort.__init__, "__defaults__", (2, 0.0))
        yield


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
