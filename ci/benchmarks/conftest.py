"""What the benchmarks share: easyfsl, the encoder, two contestants side by side, and the table at the end.

Everything runs on one thread, so that other work on the machine slows both contestants alike.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

sys.path.append(str(Path(__file__).parents[1]))  # what benchmarks share with other measurements
from random_llava import write as random_llava_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from adaptbench.tasks.fewshot.task import FewShot

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy and torch are imported

ROWS = pytest.StashKey[list[tuple[str, str, str, str]]]()


@pytest.fixture(scope="session")
def easyfsl() -> Any:
    """easyfsl's methods and its ``evaluate``.

    It imports torchvision for backbones and plots that are not used here. torchvision does not work beside every build
    of torch and then breaks transformers, so it is not installed: empty names stand in for it during the import.
    """
    names = ("torchvision", "torchvision.models", "torchvision.models.resnet")
    modules = {name: ModuleType(name) for name in names}
    for name in ("BasicBlock", "Bottleneck", "conv1x1", "conv3x3"):
        setattr(modules["torchvision.models.resnet"], name, object)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        from easyfsl import methods, utils
    return SimpleNamespace(
        PrototypicalNetworks=methods.PrototypicalNetworks, SimpleShot=methods.SimpleShot, evaluate=utils.evaluate
    )


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Model spec of the shipped ViT; where its weights are not there, of one of the same shape with random weights."""
    from adaptbench.models.reference.vit_glyphs import WEIGHTS

    if WEIGHTS.is_dir():
        return "vit-glyphs"
    import torch
    from adaptbench.models.reference.train_vit_glyphs import _CONFIG
    from transformers import ViTImageProcessorPil, ViTModel

    folder = tmp_path_factory.mktemp("encoder") / "random-vit"
    torch.manual_seed(0)
    ViTModel(_CONFIG, add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return f"hf:{folder}"


@pytest.fixture(scope="session")
def random_llava(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a LLaVA with random weights, and a word of its own for each token; return its folder.

    It takes the tower's config, the language model's, both as keyword arguments, and further words. The tower sees
    24 x 24 patches.
    """

    def write(vision: dict[str, int], text: dict[str, int], words: str = "") -> Path:
        return random_llava_folder(tmp_path_factory.mktemp("llava") / "random-vicuna", vision, text, words)

    return write


@pytest.fixture(scope="session")
def build(encoder: str) -> Callable[[], Any]:
    """Load the encoder."""
    from adaptbench.harness.planned_models import plan_model
    from adaptbench.harness.plugins import load_plugins
    from adaptbench.harness.specs import parse

    step = plan_model(load_plugins().registry, parse(encoder)).base
    return lambda: step.entry.factory()(**step.entry.bind(step.call))


@pytest.fixture(scope="session")
def task() -> Callable[[str], FewShot]:
    """Spec -> task, with its images and episodes drawn."""
    from adaptbench.harness.planning import Request, plan_tasks
    from adaptbench.harness.plugins import load_plugins

    known: dict[str, FewShot] = {}

    def get(spec: str) -> FewShot:
        if spec not in known:
            planned = plan_tasks(load_plugins().registry, Request((), (spec,)))[0].step
            known[spec] = planned.entry.factory()(**planned.entry.bind(planned.call))
            _ = known[spec].samples
        return known[spec]

    return get


@pytest.fixture
def without_costs(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make cells leave out the trace that counts FLOPs and what is timed: products of their own."""
    from adaptbench.harness.costs import Costs, Counted

    def switch_off() -> None:
        monkeypatch.setattr(Costs, "count", lambda *_: Counted(None, "not asked for", None))
        monkeypatch.setattr(Costs, "times", lambda *_: (None, None))

    return switch_off


@dataclass(frozen=True)
class Times:
    """Seconds of two contestants in each round, what each returned in the last one, and the clock that timed them."""

    ours: list[float]
    theirs: list[float]
    our_result: Any
    their_result: Any
    clock: Callable[[], float]

    def ratio(self, scale: float = 1.0) -> float:
        """Median over rounds of theirs / ours; ``scale`` tells how much more work theirs stands for."""
        return statistics.median(scale * b / a for a, b in zip(self.ours, self.theirs, strict=True))

    def time(self, call: Callable[[], object]) -> float:
        """The best of as many turns of a call as there were rounds, for a bound to stand beside the ratio."""
        seconds = []
        for _ in self.ours:
            start = self.clock()
            call()
            seconds.append(self.clock() - start)
        return min(seconds)


@pytest.fixture
def side_by_side(benchmark: Any) -> Callable[..., Times]:
    """Run ``theirs`` and ``ours`` in turn for ``rounds`` rounds; pytest-benchmark's own table shows ``ours``.

    Theirs may be done by another ``process``: where the clock is the processor's, what that has used is added.
    """

    def compare(
        ours: Callable[[], Any], theirs: Callable[[], Any], *, rounds: int, process: int | None = None
    ) -> Times:
        clock = benchmark._timer  # the one that ours is timed by, see --benchmark-timer
        seconds, results = [], []

        def now() -> float:
            if process is None or clock is not time.process_time:
                return clock()
            return clock() + time.clock_gettime(~process << 3 | 2)  # Linux's number for the clock of a process

        def other() -> None:
            gc.collect()  # each begins without what the other left; where torch is imported, that takes half a second
            start = now()
            results.append(theirs())
            seconds.append(now() - start)
            gc.collect()

        own = benchmark.pedantic(ours, setup=other, rounds=rounds)
        return Times(list(benchmark.stats.stats.data), seconds, own, results[-1], clock)

    return compare


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Add a row to the table at the end: what is compared, ours, theirs, and the ratio."""
    rows: list[tuple[str, str, str, str]] = request.config.stash.setdefault(ROWS, [])
    return lambda what, ours, theirs, ratio: rows.append((what, ours, theirs, ratio))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table."""
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    from adaptbench.harness.measure.hardware import machine

    table = [("side by side", "AdaptBench", "the other", "ratio"), *rows]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    clock = config.getoption("benchmark_timer")
    terminalreporter.section(f"on {machine()}, {time.strftime('%Y-%m-%d')}, timed by {clock}")
    for row in table:
        terminalreporter.line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
