"""Cards are data that is checked."""

from __future__ import annotations

import pytest
from adaptbench import MethodCard, Metric, ModelCard, TaskCard
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("card", "fields"),
    [
        (ModelCard, {"capabilities": ("embed",)}),
        (MethodCard, {}),
        (TaskCard, {"capability": "embed"}),
        (Metric, {"name": "accuracy"}),
    ],
)
class TestEveryCard:
    def test_refuses_a_misspelt_field(self, card, fields):
        with pytest.raises(ValidationError, match="licenze"):
            card(**fields, licenze="MIT")

    def test_cannot_be_changed(self, card, fields):
        made = card(**fields)
        with pytest.raises(ValidationError):
            made.summary = "another"

    def test_is_the_same_after_json(self, card, fields):
        made = card(**fields)
        assert card.model_validate_json(made.model_dump_json()) == made


def test_a_model_has_a_capability():
    with pytest.raises(ValidationError, match="capabilities"):
        ModelCard(capabilities=())


@pytest.mark.parametrize("capability", ["embedd", "", 1, None])
def test_a_capability_is_one_that_exists(capability):
    with pytest.raises(ValidationError):
        TaskCard(capability=capability)
    with pytest.raises(ValidationError):
        ModelCard(capabilities=(capability,))


def test_the_first_metric_of_a_task_is_accuracy_by_default():
    card = TaskCard(capability="embed")
    assert [(m.name, m.unit, m.better) for m in card.metrics] == [("accuracy", "%", "higher")]


def test_equal_sets_of_names_are_equal_bytes():
    names = "abcdefgh"
    cards = [ModelCard(capabilities=("embed",), offers=frozenset(some)) for some in (names, reversed(names))]
    assert all(card.model_dump(mode="json")["offers"] == list(names) for card in cards)
