"""The checks that a user can run: each passes as things are, and fails where the thing that it checks is broken."""

from __future__ import annotations

import pytest
import torch
from adaptbench.harness.errors import UserError
from adaptbench.harness.measure import selfcheck
from adaptbench.harness.measure.savings import Saving, judge_saving
from adaptbench.harness.measure.selfcheck import check_costs


def test_every_check_passes() -> None:
    checks = list(check_costs())
    assert len(checks) == 7
    assert [check for check in checks if not check.ok] == []
    assert all(check.name and check.detail for check in checks)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (lambda module, states: 105, "One multiply-accumulate is two FLOPs"),
        (lambda module, states: 0, "A layer that runs but is not read counts"),
        (lambda module, states: 128, "A router that only steers what runs counts"),
    ],
)
def test_a_counter_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch, wrong: object, name: str) -> None:
    monkeypatch.setattr(selfcheck, "_count", wrong)
    monkeypatch.setattr(selfcheck, "_time", lambda: (True, ""))
    assert name in {check.name for check in check_costs() if not check.ok}


def test_an_architecture_that_does_not_agree_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise UserError("they differ", where="layers.0.mlp")

    class Named:
        source = "my-model"

    monkeypatch.setattr("adaptbench.harness.measure.reconcile.reconcile", refuse)
    monkeypatch.setattr(selfcheck, "_time", lambda: (True, ""))
    last = list(check_costs([Named()]))[-1]
    assert (last.name, last.ok, last.detail) == ("closed form: my-model", False, "layers.0.mlp: they differ")


@pytest.mark.parametrize(("planned", "counted", "real"), [(0.5, 0.5, True), (0.5, 0.52, True), (0.5, 1.0, False)])
def test_a_saving_is_held_to_its_plan(planned: float, counted: float, real: bool) -> None:
    saving = Saving(planned, counted)
    assert saving.real is real
    assert ("masked" in saving.reason) is not real


def test_a_saving_is_counted_on_both_modules() -> None:
    base, half = (torch.nn.Sequential(*(torch.nn.Linear(8, 8, bias=False) for _ in range(n))) for n in (4, 2))
    saving = judge_saving(base, half, {"input": torch.ones(1, 8)}, planned=0.5)
    assert (saving.counted, saving.real) == (0.5, True)
