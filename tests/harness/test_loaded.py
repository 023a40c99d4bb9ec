"""Models that are let go make room for the next one where memory is short."""

from __future__ import annotations

import gc
import weakref

import pytest
from adaptbench.harness import loaded


class Model:
    """Refers to itself, so that only a collection lets go of it."""

    def __init__(self):
        self.itself = self


class Bound:
    """Stands for a planned model."""

    def base(self):
        return Model()

    def common(self, base):
        return base

    def on(self, common):
        return common


@pytest.mark.parametrize(("free", "collected"), [(10**15, False), (1, True)])
def test_garbage_is_collected_before_the_next_model_only_where_memory_is_short(monkeypatch, free, collected):
    monkeypatch.setattr(loaded, "free_memory", lambda: free)
    models = loaded.LoadedModels()
    gc.disable()
    try:
        first = weakref.ref(models.get(Bound(), "first"))
        models.get(Bound(), "second")
        assert (first() is None) is collected
    finally:
        gc.enable()
