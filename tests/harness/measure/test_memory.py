"""Peak memory of a call, on top of what was held before."""

from __future__ import annotations

import pytest
import torch
from adaptbench.harness.measure.memory import peak_memory

MEGABYTE = 1_000_000
SLACK = 4096


def ones(megabytes: int) -> torch.Tensor:
    return torch.ones(megabytes * MEGABYTE, dtype=torch.uint8)


def test_tensors_held_together_add_up() -> None:
    def call() -> list[torch.Tensor]:
        return [ones(1), ones(2), ones(3)]

    assert peak_memory(call) == pytest.approx(6 * MEGABYTE, abs=SLACK)


def test_what_was_let_go_does_not_count_again() -> None:
    def call() -> None:
        for _ in range(5):
            x = ones(2)
            del x

    assert peak_memory(call) == pytest.approx(2 * MEGABYTE, abs=SLACK)


def test_the_peak_is_kept_after_it_has_passed() -> None:
    def call() -> torch.Tensor:
        big = ones(8)
        small = ones(1)
        del big
        return small

    assert peak_memory(call) == pytest.approx(9 * MEGABYTE, abs=SLACK)


def test_what_was_there_before_is_not_the_calls_own() -> None:
    before = ones(4)
    assert peak_memory(before.view(2, -1)[0].t) <= SLACK


def test_a_view_is_no_new_memory_and_a_copy_is() -> None:
    before = ones(4)
    assert peak_memory(lambda: (before[1:], before.reshape(2, -1), before.clone())) == pytest.approx(
        4 * MEGABYTE, abs=SLACK
    )


def test_a_repetition_gives_the_same_figure() -> None:
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True).eval()
    x = torch.rand(4, 16, 32)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return layer(x)

    first = peak_memory(call)
    assert first == peak_memory(call) > 4 * 16 * 32 * 4


def test_measuring_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    peak_memory(lambda: ones(1))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_gpu_reports_its_allocators_peak_after_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    state = {"held": 100, "peak": 900, "queued": 0}

    def synchronize(*_: object) -> None:
        state["peak"] = max(state["peak"], state["held"] + state["queued"])
        state["queued"] = 0

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda *_: state["held"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda *_: state.update(peak=state["held"]))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda *_: state["peak"])
    assert peak_memory(lambda: state.update(queued=40), "cuda") == 40
