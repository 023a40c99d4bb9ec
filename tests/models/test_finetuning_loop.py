"""The training loop: it goes on where it was stopped, keeps the best weights, and stops at what is not finite."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch
from adaptbench.harness.errors import UserError
from adaptbench.models.finetuning.asked import same
from adaptbench.models.finetuning.loop import Loop, fit

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("one_thread", "without_collection")


class Line(torch.nn.Module):
    """Fits y = w x + b."""

    def __init__(self, stop_at: int = 0) -> None:
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.zeros(())), torch.nn.Parameter(torch.zeros(()))
        self.stop_at, self.calls = stop_at, 0

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        return {"loss": (self.weight * x + self.bias - y).square().mean()}


class Points:
    def __init__(self, count: int, broken: int = -1) -> None:
        self.count, self.broken = count, broken

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        if not 0 <= number < self.count:
            raise IndexError(number)
        x = torch.randn(8, generator=torch.Generator().manual_seed(number))
        return {"x": x, "y": 3 * x + 1 if number != self.broken else x * torch.nan}


def weights(model: torch.nn.Module) -> list[float]:
    return [part.item() for part in model.parameters()]


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def by_hand(model: Line, loop: Loop) -> Line:
    optimizer = torch.optim.SGD(model.parameters(), lr=loop.rate, momentum=loop.momentum, weight_decay=loop.decay)
    points = Points(loop.steps)
    for step in range(loop.steps):
        optimizer.zero_grad()
        model(**points[step])["loss"].backward()
        optimizer.step()
    return model


def test_it_is_the_plain_loop(tmp_path: Path) -> None:
    loop, model = Loop(6, 0.05, decay=0.1), Line()
    fit(model, Points(6), loop, tmp_path)
    assert weights(model) == weights(by_hand(Line(), loop))


def test_a_training_that_was_stopped_goes_on_to_the_same_end(tmp_path: Path) -> None:
    loop = Loop(7, 0.1, optimizer="adamw", schedule="cosine", warmup=0.3, save_every=2, log_every=1, validate_every=3)
    found = {}
    for name, stop_at in (("whole", 0), ("torn", 6)):
        model, out = Line(stop_at), tmp_path / name
        score = lambda: -abs(model.weight.item() - 1)  # noqa: B023, E731 - asked in this turn alone
        if stop_at:
            with pytest.raises(KeyboardInterrupt):
                fit(model, Points(7), loop, out, score)
            (out / "checkpoints" / "checkpoint-5").mkdir()  # of which nothing was written yet
            model = Line()
        fit(model, Points(7), loop, out, score)
        found[name] = (weights(model), log(out), model.calls)
    assert found["whole"][:2] == found["torn"][:2]
    assert (found["whole"][2], found["torn"][2]) == (7, 3)  # four steps were saved
    model = Line()
    fit(model, Points(7), loop, tmp_path / "torn", lambda: 0.0)
    assert (weights(model), model.calls) == (found["torn"][0], 0)


def test_it_ends_with_the_weights_of_the_best_validation(tmp_path: Path) -> None:
    model, seen = Line(), []

    def validate() -> float:
        seen.append(weights(model))
        return [0.1, 0.7, 0.7, 0.2][len(seen) - 1]

    fit(model, Points(7), Loop(7, 0.05, validate_every=2), tmp_path, validate)
    assert weights(model) == seen[1]
    scored = [(line["step"], line["score"]) for line in log(tmp_path) if "score" in line]
    assert scored == [(2, 0.1), (4, 0.7), (6, 0.7), (7, 0.2)]


def test_parameters_may_have_rates_of_their_own(tmp_path: Path) -> None:
    model = Line()
    fit(model, Points(3), Loop(3, 0.1, rates={"bias": 0.0}), tmp_path)
    assert model.weight.item() != 0
    assert model.bias.item() == 0


def test_a_loss_that_is_not_finite_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the loss is not finite") as caught:
        fit(Line(), Points(6, broken=4), Loop(6, 0.1, save_every=2), tmp_path)
    assert caught.value.where == "step 5, after the last checkpoint"
    assert (tmp_path / "checkpoints" / "checkpoint-4" / "model.safetensors").exists()


def test_no_checkpoint_holds_a_weight_that_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a weight is not finite") as caught:
        fit(Line(), Points(4), Loop(4, 1e38, save_every=1), tmp_path)
    assert caught.value.where in {"step 1", "step 2, after the last checkpoint"}
    with pytest.raises(UserError, match="the score is not finite"):
        fit(Line(), Points(2), Loop(2, 0.1), tmp_path / "other", lambda: float("nan"))


@pytest.mark.parametrize("content", ["", "[1]", "null", '{"rate": 1'])
def test_a_recipe_that_cannot_be_read_is_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(UserError, match="cannot read it"):
        same(tmp_path, {"rate": 1})


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    same(tmp_path / "new", {"rate": 1, "seed": 0})
    same(tmp_path / "new", {"rate": 1, "seed": 0})
    with pytest.raises(UserError, match="another training is there, with rate 1"):
        same(tmp_path / "new", {"rate": 2, "seed": 0})
