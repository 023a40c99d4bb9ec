"""A pytest plugin: the gate as a fixture, for projects whose CI is pytest.

    def test_nothing_changed(adaptbench_gate):
        adaptbench_gate.check("gate.yaml", plugins=["my_model.py"])

    def test_not_slower(adaptbench_gate):
        adaptbench_gate.not_slower(old, new)

It is loaded by every pytest that sees AdaptBench, so it imports nothing until the fixture is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .verdict import Verdict


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that renews baselines."""
    group = parser.getgroup("adaptbench")
    group.addoption("--adaptbench-update", action="store_true", help="Renew the baselines that tests check.")


@pytest.fixture
def adaptbench_gate(request: pytest.FixtureRequest) -> GateFixture:
    """The gate of AdaptBench."""
    return GateFixture(request.config.rootpath, update=request.config.getoption("--adaptbench-update"))


class GateFixture:
    """What the fixture offers. A check that does not pass fails the test, with the gate's table as its message.

    Args:
        root: Folder of the project; paths are relative to it.
        update: Renew baselines instead of checking them.
    """

    def __init__(self, root: Path, *, update: bool = False) -> None:
        self._root, self._update = root, update

    def check(
        self,
        suite: str | Path,
        *,
        plugins: Sequence[str | Path] = (),
        baselines: str | Path = "ci/baselines",
        margin: float = 0.02,
    ) -> Verdict:
        """Run a suite and compare it with its baseline: what must be exact, and accuracy.

        Args:
            suite: Suite file, or the name of a suite.
            plugins: Files and modules to load.
            baselines: Folder of the baselines.
            margin: Loss of accuracy that must be ruled out.
        """
        from .accuracy import AccuracyRule
        from .check import Gate, Rules

        name = self._path(suite) if str(suite).endswith((".yaml", ".yml")) else str(suite)
        loaded = [self._path(plugin) if str(plugin).endswith(".py") else str(plugin) for plugin in plugins]
        gate = Gate(name, loaded, Path(self._path(baselines)), Rules(AccuracyRule(margin)))
        head = gate.run()
        if self._update:
            gate.renew(head)
        return _passed(gate.against_baseline(head))

    def not_slower(
        self, base: Callable[[], Any], head: Callable[[], Any], *, name: str = "head", **rule: Any
    ) -> Verdict:
        """Call two functions in turn, in this process, and compare their times.

        Args:
            base: What ``head`` must not be slower than; it returns when it is done.
            head: The other one.
            name: What it is called.
            rule: Fields of a `harness.gate.clock.TimeRule`: ``pairs``, ``seconds``, ``slower``, ``clock``.
        """
        from .clock import TimeRule
        from .timings import in_this_process, judged
        from .verdict import Verdict

        asked = TimeRule(processes=1, **rule)
        return _passed(Verdict(suite=name, findings=tuple(judged([in_this_process(name, base, head, asked)], asked))))

    def _path(self, path: str | Path) -> str:
        return str(self._root / path)


def _passed(verdict: Verdict) -> Verdict:
    from .summary import text

    if verdict.exit_code:
        pytest.fail(text(verdict), pytrace=False)
    return verdict
